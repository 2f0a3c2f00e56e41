"""Records → executions. The task complete event: its fields, defaults and bounds.

The rule: `execution` gives an `Execution` or a list with every field's error, never an exception. Times are integers,
microseconds since 1970-01-01 UTC, so that nothing downstream rounds. Source of the fields: Batch's "Task complete
event"; of the widths: Batch's REST types (counts are 32 bits wide, `systemTaskVersion` 64).
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
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
        read = _Record.model_validate(
            {"resourceId": member(record.fields, "resourceId"), "properties": _known_case(properties, _Event)}
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
        ("properties.jobId", job_key(read.resource_id, read.properties.job_id)),
        ("properties.id", key(read.properties.id)),
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
    if 2 * len(text) <= units or len(text.encode("utf-16-le")) // 2 <= units:
        return text
    return text.encode("utf-16-le")[: 2 * (units - 1)].decode("utf-16-le", "ignore") + "…"


_INT32, _INT64 = 2**31 - 1, 2**63 - 1
_Id = Annotated[str, Field(min_length=1, max_length=limits.ID_LENGTH)]
_Name = Annotated[str, Field(max_length=limits.ID_LENGTH)]
_Text = Annotated[str, AfterValidator(_unicode)]
_Count = Annotated[int, Field(ge=0, le=_INT32)]
_Int32 = Annotated[int, Field(ge=-_INT32 - 1, le=_INT32)]
_Time = Annotated[int, BeforeValidator(parse_time)]


class _Part(BaseModel):
    """A JSON object of the event. Strict: a number in quotes is a mistake that should be seen."""

    model_config = ConfigDict(strict=True, alias_generator=to_camel)


class _SchedulingError(_Part):
    category: _Text = ""
    code: _Text = ""
    message: _Text = ""


class _NodeInfo(_Part):
    pool_id: _Name = ""
    node_id: _Name = ""


class _MultiInstanceSettings(_Part):
    number_of_instances: _Count = 1


class _Constraints(_Part):
    max_task_retry_count: Annotated[int, Field(ge=-1, le=_INT32)] = 0


class _ExecutionInfo(_Part):
    start_time: _Time | None = None
    end_time: _Time
    exit_code: _Int32 | None = None
    retry_count: _Count = 0
    requeue_count: _Count = 0
    result: _Text = ""
    scheduling_error: _SchedulingError = _SchedulingError()


class _Event(_Part):
    job_id: _Id
    id: _Id
    task_type: _Text = ""
    system_task_version: Annotated[int, Field(ge=-_INT64 - 1, le=_INT64)] = 0
    required_slots: _Count = 1
    node_info: _NodeInfo = _NodeInfo()
    multi_instance_settings: _MultiInstanceSettings = _MultiInstanceSettings()
    constraints: _Constraints = _Constraints()
    execution_info: _ExecutionInfo


class _Record(_Part):
    resource_id: Annotated[_Text, AfterValidator(_account)]
    properties: _Event


_PARTS: dict[str, type[_Part]] = {
    "nodeInfo": _NodeInfo,
    "multiInstanceSettings": _MultiInstanceSettings,
    "constraints": _Constraints,
    "executionInfo": _ExecutionInfo,
    "schedulingError": _SchedulingError,
}
_ALL: tuple[type[_Part], ...] = (_Event, *_PARTS.values())
_NAMES = {part: frozenset(field.alias or name for name, field in part.model_fields.items()) for part in _ALL}
_BY_LOWER = {part: {name.lower(): name for name in names} for part, names in _NAMES.items()}


def _known_case(value: Any, part: type[_Part]) -> Any:
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
    for name in known.keys() & _PARTS.keys():
        known[name] = _known_case(known[name], _PARTS[name])
    return known


def _execution(read: _Record) -> Execution:
    event, info = read.properties, read.properties.execution_info
    error = info.scheduling_error
    return Execution(
        account=read.resource_id,
        job_id=event.job_id,
        task_id=event.id,
        task_type=cut(event.task_type, limits.CODE_UNITS),
        pool_id=event.node_info.pool_id,
        node_id=event.node_info.node_id,
        start=info.start_time,
        end=info.end_time,
        required_slots=event.required_slots or 1,
        number_of_instances=event.multi_instance_settings.number_of_instances or 1,
        succeeded=info.result.lower() == "success" if info.result else info.exit_code == 0,
        exit_code=info.exit_code,
        failure_category=cut(error.category, limits.CODE_UNITS),
        failure_code=cut(error.code, limits.CODE_UNITS),
        failure_message=cut(error.message, limits.TEXT_UNITS),
        retry_count=info.retry_count,
        requeue_count=info.requeue_count,
        max_task_retry_count=event.constraints.max_task_retry_count,
        system_task_version=event.system_task_version,
    )
