"""Records → executions. The task complete event: its fields, defaults and bounds.

The rule: `execution` gives an `Execution` or a list with every field's error, never an exception. Times are integers,
microseconds since 1970-01-01 UTC, so that nothing downstream rounds. Source of the fields: Batch's "Task complete
event"; of the widths: Batch's REST types (counts are 32 bits wide, `systemTaskVersion` 64).
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple, Required, TypedDict

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

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
    resource = member(record.fields, "resourceId")
    read = _validated(resource, properties)
    if isinstance(read, list) or not _took_all(properties, read["properties"]):
        read = _validated(resource, _known_case(properties, _Event))
    if isinstance(read, list):
        return read
    problem = _key_problem(read["resourceId"], read["properties"])
    return _execution(read["resourceId"], read["properties"]) if problem is None else [problem]


def newest_time(records: Iterable[Record]) -> int | None:
    """The latest `time` of the records in microseconds since 1970 UTC, None where none has one that can be read.

    Times are compared as text, and one is read: a message's are written alike. Where they are not, it is one of them.
    """
    texts = {time for record in records if isinstance(time := member(record.fields, "time"), str)}
    for text in sorted(texts, reverse=True):
        try:
            return parse_time(text)
        except PydanticCustomError:
            continue
    return None


# --- times -----------------------------------------------------------------------------------------------------------

_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,7})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
_NO_TIME = "not a time such as 2026-11-22T09:00:00.1234567Z"
_IS_TIME = re.compile(_TIME).fullmatch
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def parse_time(value: Any) -> int:
    """ISO 8601 with 0 to 7 fractional digits, `T` or a space, `Z`, an offset or nothing (UTC).

    Microseconds since 1970 UTC; a seventh digit is cut off. Raises PydanticCustomError.
    """
    if not isinstance(value, str) or not _IS_TIME(value):
        raise PydanticCustomError("time", _NO_TIME)
    return _microseconds(value)


def _microseconds(time_text: str) -> int:
    """Of a text in the form of a time. Raises PydanticCustomError."""
    try:
        time = datetime.fromisoformat(time_text)
        since = (time if time.tzinfo is not None else time.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError) as error:
        raise PydanticCustomError("time", "not a time: {error}", {"error": str(error)}) from None
    micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if not _EARLIEST <= micros <= _LATEST:
        raise PydanticCustomError("time", "not between the years 1601 and 9999, which Table Storage can hold")
    return micros


def to_datetime(micros: int) -> datetime:
    """The UTC datetime of microseconds since 1970."""
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def from_datetime(time: datetime) -> int:
    """Microseconds since 1970 of an aware datetime."""
    return (time - _EPOCH) // _MICROSECOND


_EARLIEST = from_datetime(datetime.fromisoformat(limits.EARLIEST_TIME))
_LATEST = from_datetime(datetime.max.replace(tzinfo=UTC))


# --- keys ------------------------------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[a-z0-9_:\-]+")
_ESCAPE = re.compile(r"[^a-z0-9_:\-]")


@lru_cache(maxsize=16_384)  # each is asked for several times, a job's by every task
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


_WORST_KEY = 12
"""What a character of an id takes at most as a part of a key: four bytes of UTF-8, `=XX` each."""
_ROOM = limits.KEY_UNITS - len("|") - limits.BUCKET_UNITS


def _key_problem(account: str, event: "_Event") -> str | None:
    """Why Table Storage could not take the keys, None where it can."""
    if _WORST_KEY * (len(account) + len(event["jobId"])) < _ROOM and _WORST_KEY * len(event["id"]) < _ROOM:
        return None
    for field, length in (
        ("properties.jobId", len(key(account)) + len("|") + len(key(event["jobId"])) + limits.BUCKET_UNITS),
        ("properties.id", len(key(event["id"]))),
    ):
        if length > limits.KEY_UNITS:
            return f"{field}: as a key it takes {length} characters, Table Storage allows {limits.KEY_UNITS}"
    return None


# --- the event's fields ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)  # every record of an account has the same
def _account(resource_id: str) -> str:
    account = next((part for part in reversed(resource_id.split("/")) if part), "")
    if not 1 <= len(account) <= limits.ID_LENGTH:
        raise PydanticCustomError("account", "names no Batch account in its last segment")
    return account


def cut(text: str | None, units: int) -> str:
    """At most `units` UTF-16 units of `text`, "" for None; a cut text ends with an ellipsis."""
    if not text:
        return ""
    if 2 * len(text) <= units:  # a character has two at most
        return text
    encoded = text.encode("utf-16-le")
    if len(encoded) <= 2 * units:
        return text
    return encoded[: 2 * (units - 1)].decode("utf-16-le", "ignore") + "…"


class _TimeText:
    """A text in the form of a time; becomes its microseconds. (The form is held to where it costs least.)"""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(pattern=f"^(?:{_TIME})$", strict=True)
        told = core_schema.custom_error_schema(text, custom_error_type="time", custom_error_message=_NO_TIME)
        return core_schema.no_info_after_validator_function(_microseconds, told)


_INT32, _INT64 = 2**31 - 1, 2**63 - 1
_Id = Annotated[str, Field(min_length=1, max_length=limits.ID_LENGTH)]
_Name = Annotated[str, Field(max_length=limits.ID_LENGTH)]
_Text = Annotated[str, Field(max_length=limits.MESSAGE_BYTES)]  # no bound, but the reason to look for surrogates
_Count = Annotated[int, Field(ge=0, le=_INT32)]
_Int32 = Annotated[int, Field(ge=-_INT32 - 1, le=_INT32)]
_Limit = Annotated[int, Field(ge=-1, le=_INT32)]
_Version = Annotated[int, Field(ge=-_INT64 - 1, le=_INT64)]
_Time = Annotated[int, _TimeText]


# JSON objects of the event, under the event's own names; a key that is left out or null has its field's default, which
# `_execution` gives. (Models would take twice as long.) They are read strictly: a number in quotes is a mistake.


class _SchedulingError(TypedDict, total=False):
    category: _Text | None
    code: _Text | None
    message: _Text | None
    details: Any


class _NodeInfo(TypedDict, total=False):
    poolId: _Name | None
    nodeId: _Name | None


class _MultiInstanceSettings(TypedDict, total=False):
    numberOfInstances: _Count | None


class _Constraints(TypedDict, total=False):
    maxTaskRetryCount: _Limit | None


class _ExecutionInfo(TypedDict, total=False):
    startTime: _Time | None
    endTime: Required[_Time]
    exitCode: _Int32 | None
    retryCount: _Count | None
    requeueCount: _Count | None
    result: _Text | None
    schedulingError: _SchedulingError | None


class _Event(TypedDict, total=False):
    jobId: Required[_Id]
    id: Required[_Id]
    taskType: _Text | None
    systemTaskVersion: _Version | None
    requiredSlots: _Count | None
    nodeInfo: _NodeInfo | None
    multiInstanceSettings: _MultiInstanceSettings | None
    constraints: _Constraints | None
    executionInfo: Required[_ExecutionInfo]


class _Record(TypedDict):
    resourceId: Annotated[_Text, AfterValidator(_account)]
    properties: _Event


_RECORD = TypeAdapter(_Record).validator
_MISSING = "Field required"  # also where it is null
_MESSAGES = {"string_unicode": "holds half of a surrogate pair"}  # which JSON can spell, and no bytes can store

_PARTS: dict[str, type] = {
    "nodeInfo": _NodeInfo,
    "multiInstanceSettings": _MultiInstanceSettings,
    "constraints": _Constraints,
    "executionInfo": _ExecutionInfo,
    "schedulingError": _SchedulingError,
}
_NAMES = {part: frozenset(part.__annotations__) for part in (_Event, *_PARTS.values())}
_BY_LOWER = {part: {name.lower(): name for name in names} for part, names in _NAMES.items()}
_OBJECTS: tuple[Literal["executionInfo", "nodeInfo", "multiInstanceSettings", "constraints"], ...] = (
    "executionInfo",
    "nodeInfo",
    "multiInstanceSettings",
    "constraints",
)
_WITHIN = {part: [(name, _PARTS[name]) for name in names & _PARTS.keys()] for part, names in _NAMES.items()}


def _validated(resource: Any, properties: Any) -> "_Record | list[str]":
    """What is told, or what is wrong with it."""
    try:
        read: _Record = _RECORD.validate_python({"resourceId": resource, "properties": properties}, strict=True)
    except ValidationError as error:
        return [
            f"{'.'.join(map(str, each['loc']))}: "
            + (_MISSING if each["input"] is None else _MESSAGES.get(each["type"], each["msg"]))
            for each in error.errors(include_url=False)
        ]
    return read


def _took_all(told: dict[str, Any], read: _Event) -> bool:
    """Whether every key of the event was one that it is read for, as nearly always: the others may differ in case."""
    if len(told) != len(read):
        return False
    for name in _OBJECTS:
        held = read.get(name)
        if held is not None and len(told[name]) != len(held):
            return False
    error = read["executionInfo"].get("schedulingError")
    return error is None or len(told["executionInfo"]["schedulingError"]) == len(error)


def _known_case(value: Any, part: type) -> Any:
    """`value` with the keys of `part` (and of the objects in it) in the documented case. An exact key wins."""
    if not isinstance(value, dict):
        return value
    names, by_lower = _NAMES[part], _BY_LOWER[part]
    known: dict[str, Any] = {}
    for name, held in value.items():
        if name in names:
            known[name] = held
        elif (meant := by_lower.get(name.lower())) is not None and meant not in value:
            known[meant] = held
    for name, within in _WITHIN[part]:
        if name in known:
            known[name] = _known_case(known[name], within)
    return known


_NO_NODE: _NodeInfo = {}
_NO_SETTINGS: _MultiInstanceSettings = {}
_NO_CONSTRAINTS: _Constraints = {}
_NO_ERROR: _SchedulingError = {}


def _execution(account: str, event: _Event) -> Execution:
    info = event["executionInfo"]
    node = event.get("nodeInfo") or _NO_NODE
    error = info.get("schedulingError") or _NO_ERROR
    result = info.get("result")
    exit_code = info.get("exitCode")
    return Execution(
        account,
        event["jobId"],
        event["id"],
        cut(event.get("taskType"), limits.CODE_UNITS),
        node.get("poolId") or "",
        node.get("nodeId") or "",
        info.get("startTime"),
        info["endTime"],
        event.get("requiredSlots") or 1,
        (event.get("multiInstanceSettings") or _NO_SETTINGS).get("numberOfInstances") or 1,
        result.lower() == "success" if result else exit_code == 0,
        exit_code,
        cut(error.get("category"), limits.CODE_UNITS),
        cut(error.get("code"), limits.CODE_UNITS),
        cut(error.get("message"), limits.TEXT_UNITS),
        info.get("retryCount") or 0,
        info.get("requeueCount") or 0,
        (event.get("constraints") or _NO_CONSTRAINTS).get("maxTaskRetryCount") or 0,
        event.get("systemTaskVersion") or 0,
    )
