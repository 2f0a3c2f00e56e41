"""Records → executions. The task complete event: its fields, defaults and bounds.

The rule: `execution` gives an `Execution` or a list with every field's error, never an exception. Times are integers,
microseconds since 1970-01-01 UTC, so that nothing downstream rounds. Source of the fields: Batch's "Task complete
event"; of the widths: Batch's REST types (counts are 32 bits wide, `systemTaskVersion` 64).
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, Required, TypedDict

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from processors import limits
from processors.records import Record, lenient_json, member

TASK_COMPLETE = "taskcompleteevent"
"""The one operation that is counted, in lower case. `TaskFailEvent` comes in addition to it."""


class Execution(NamedTuple):
    """One task execution, as it ended. Ids keep the spelling of the event."""

    account: str
    job_id: str
    task_id: str
    task_type: str
    pool_id: str
    node_id: str
    start: int | None
    """Microseconds since 1970 UTC; None for a task that failed before it ran."""
    end: int
    required_slots: int
    number_of_instances: int
    succeeded: bool
    exit_code: int | None
    failure_category: str
    failure_code: str
    failure_message: str
    retry_count: int
    requeue_count: int
    max_task_retry_count: int
    """-1 means unlimited."""
    system_task_version: int


def is_task_complete(record: Record) -> bool:
    """Whether the record claims to be a task complete event (compared without case)."""
    return record.operation.lower() == TASK_COMPLETE


def execution(record: Record) -> Execution | list[str]:
    """The execution in a task complete record, or what is wrong with it: a line a field, `path: reason`."""
    properties = member(record.fields, "properties")
    if isinstance(properties, str):
        try:
            properties = lenient_json(properties)
        except ValueError as error:
            return [f"properties: not JSON: {error}"]
    try:
        read: _Record = _RECORD.validate_python(
            {"resourceId": member(record.fields, "resourceId"), "properties": _known_case(properties, _Event)},
            strict=True,
        )
    except ValidationError as error:
        return [
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False, include_input=False)
        ]
    return _execution(read) if (problem := _key_problem(read)) is None else [problem]


def record_time(record: Record) -> int | None:
    """The record's own `time` in microseconds since 1970 UTC, None where it has none that can be read."""
    value = member(record.fields, "time")
    try:
        return parse_time(value)
    except PydanticCustomError:
        return None


# --- times -----------------------------------------------------------------------------------------------------------

_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,7})?(?:Z|[+-]\d\d:?\d\d)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def parse_time(value: Any) -> int:
    """ISO 8601 with 0 to 7 fractional digits, `T` or a space, `Z`, an offset or nothing (UTC).

    Microseconds since 1970 UTC; a seventh digit is cut off. Raises PydanticCustomError.
    """
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise PydanticCustomError("time", "not a time such as 2026-11-22T09:00:00.1234567Z")
    try:
        time = datetime.fromisoformat(value)
        if time.tzinfo is None:
            time = time.replace(tzinfo=UTC)
        micros = (time - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError) as error:
        raise PydanticCustomError("time", "not a time: {error}", {"error": str(error)}) from None
    if not _EARLIEST <= micros <= _LATEST:
        raise PydanticCustomError("time", "not between the years 1601 and 9999, which Table Storage can hold")
    return micros


def to_datetime(micros: int) -> datetime:
    """The UTC datetime of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=micros)


def from_datetime(time: datetime) -> int:
    """Microseconds since 1970 of an aware datetime."""
    return (time - _EPOCH) // _MICROSECOND


_EARLIEST = from_datetime(datetime.fromisoformat(limits.EARLIEST_TIME))
_LATEST = from_datetime(datetime.max.replace(tzinfo=UTC))


# --- keys ------------------------------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[a-z0-9_:\-]+")
_ESCAPE = re.compile(r"[^a-z0-9_:\-]")


@lru_cache(maxsize=4_096)  # each is asked for several times, a job's by every task
def key(id_: str) -> str:
    """A Batch id as a part of a key: lower case (ids are case-insensitive), all but [a-z0-9_:-] as `=XX` of its UTF-8.

    Keys may not hold / \\ # ? and control characters; `%` is mistreated by clients; `|`, `~` and `=` are ours.
    """
    lowered = id_.lower()
    if _PLAIN.fullmatch(lowered):
        return lowered
    return _ESCAPE.sub(lambda found: "".join(f"={byte:02X}" for byte in found[0].encode()), lowered)


def unkey(part: str) -> str:
    """The lower-cased id that `key` made `part` of."""
    return re.sub(rb"=([0-9A-F]{2})", lambda found: bytes.fromhex(found[1].decode()), part.encode()).decode()


def job_key(account: str, job_id: str) -> str:
    """The partition key of a job's task rows."""
    return f"{key(account)}|{key(job_id)}"


def _key_problem(read: "_Record") -> str | None:
    """Why Table Storage could not take the keys, None where it can. Only ids far from Batch's own rules get here."""
    for field, made in (
        ("properties.jobId", job_key(read["resourceId"], read["properties"]["jobId"])),
        ("properties.id", key(read["properties"]["id"])),
    ):
        if len(made) > limits.KEY_UNITS:
            return f"{field}: as a key it takes {len(made)} characters, Table Storage allows {limits.KEY_UNITS}"
    return None


# --- the event's fields ----------------------------------------------------------------------------------------------


def _account(resource_id: str) -> str:
    account = next((part for part in reversed(resource_id.split("/")) if part), "")
    if not 1 <= len(account) <= limits.ID_LENGTH:
        raise PydanticCustomError("account", "names no Batch account in its last segment")
    return account


def _unicode(text: str) -> str:
    """JSON can spell half of a surrogate pair, which has no bytes to be stored as."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("text", "holds half of a surrogate pair") from None
    return text


def cut(text: str, units: int) -> str:
    """At most `units` UTF-16 units of `text`; a cut text ends with an ellipsis."""
    encoded = text.encode("utf-16-le")
    if len(encoded) <= 2 * units:
        return text
    return encoded[: 2 * (units - 1)].decode("utf-16-le", "ignore") + "…"


_INT32, _INT64 = 2**31 - 1, 2**63 - 1
_Id = Annotated[str, Field(min_length=1, max_length=limits.ID_LENGTH)]
_Name = Annotated[str, Field(max_length=limits.ID_LENGTH)]
_Text = Annotated[str, AfterValidator(_unicode)]
_Count = Annotated[int, Field(ge=0, le=_INT32)]
_Int32 = Annotated[int, Field(ge=-_INT32 - 1, le=_INT32)]
_Limit = Annotated[int, Field(ge=-1, le=_INT32)]
_Version = Annotated[int, Field(ge=-_INT64 - 1, le=_INT64)]
_Time = Annotated[int, BeforeValidator(parse_time)]


# JSON objects of the event, under the event's own names; a key that is left out has its field's default, which
# `_execution` gives. (Models would take twice as long.) They are read strictly: a number in quotes is a mistake.


class _SchedulingError(TypedDict, total=False):
    category: _Text
    code: _Text
    message: _Text


class _NodeInfo(TypedDict, total=False):
    poolId: _Name
    nodeId: _Name


class _MultiInstanceSettings(TypedDict, total=False):
    numberOfInstances: _Count


class _Constraints(TypedDict, total=False):
    maxTaskRetryCount: _Limit


class _ExecutionInfo(TypedDict, total=False):
    startTime: _Time
    endTime: Required[_Time]
    exitCode: _Int32
    retryCount: _Count
    requeueCount: _Count
    result: _Text
    schedulingError: _SchedulingError


class _Event(TypedDict, total=False):
    jobId: Required[_Id]
    id: Required[_Id]
    taskType: _Text
    systemTaskVersion: _Version
    requiredSlots: _Count
    nodeInfo: _NodeInfo
    multiInstanceSettings: _MultiInstanceSettings
    constraints: _Constraints
    executionInfo: Required[_ExecutionInfo]


class _Record(TypedDict):
    resourceId: Annotated[_Text, AfterValidator(_account)]
    properties: _Event


_RECORD = TypeAdapter(_Record).validator

_PARTS: dict[str, type] = {
    "nodeInfo": _NodeInfo,
    "multiInstanceSettings": _MultiInstanceSettings,
    "constraints": _Constraints,
    "executionInfo": _ExecutionInfo,
    "schedulingError": _SchedulingError,
}
_NAMES = {part: frozenset(part.__annotations__) for part in (_Event, *_PARTS.values())}
_BY_LOWER = {part: {name.lower(): name for name in names} for part, names in _NAMES.items()}
_WITHIN = {part: names & _PARTS.keys() for part, names in _NAMES.items()}


def _known_case(value: Any, part: type) -> Any:
    """`value` with the keys of `part` (and of the objects in it) in the documented case. An exact key wins.

    Keys with null are left out: in the event, null is the same as absent.
    """
    if not isinstance(value, dict):
        return value
    names, by_lower = _NAMES[part], _BY_LOWER[part]
    known: dict[str, Any] = {}
    for name, held in value.items():
        if held is None:
            continue
        if name in names:
            known[name] = held
        elif (meant := by_lower.get(name.lower())) is not None and meant not in value:
            known[meant] = held
    for name in _WITHIN[part]:
        if name in known:
            known[name] = _known_case(known[name], _PARTS[name])
    return known


def _execution(record: _Record) -> Execution:
    event = record["properties"]
    info = event["executionInfo"]
    node = event.get("nodeInfo", _NodeInfo())
    error = info.get("schedulingError", _SchedulingError())
    result = info.get("result", "")
    exit_code = info.get("exitCode")
    return Execution(
        account=record["resourceId"],
        job_id=event["jobId"],
        task_id=event["id"],
        task_type=cut(event.get("taskType", ""), limits.CODE_UNITS),
        pool_id=node.get("poolId", ""),
        node_id=node.get("nodeId", ""),
        start=info.get("startTime"),
        end=info["endTime"],
        required_slots=event.get("requiredSlots", 1) or 1,
        number_of_instances=event.get("multiInstanceSettings", _MultiInstanceSettings()).get("numberOfInstances", 1)
        or 1,
        succeeded=result.lower() == "success" if result else exit_code == 0,
        exit_code=exit_code,
        failure_category=cut(error.get("category", ""), limits.CODE_UNITS),
        failure_code=cut(error.get("code", ""), limits.CODE_UNITS),
        failure_message=cut(error.get("message", ""), limits.TEXT_UNITS),
        retry_count=info.get("retryCount", 0),
        requeue_count=info.get("requeueCount", 0),
        max_task_retry_count=event.get("constraints", _Constraints()).get("maxTaskRetryCount", 0),
        system_task_version=event.get("systemTaskVersion", 0),
    )
