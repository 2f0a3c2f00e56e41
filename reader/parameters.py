"""What the HTTP API takes in a query string: the filters, and how much of what comes back, in which order.

The rule: what is not known, given twice or of another type is refused, by its name and with what would be right.
Nothing is guessed, and nothing that Table Storage would refuse gets there.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import UnionType
from typing import Any, get_args
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from processors import limits
from processors.columns import JOB_COLUMNS, TASK_COLUMNS
from processors.errors import BadRequest
from reader.queries import JOB_LIST_COLUMNS, PAGE, JobFilter, TaskFilter

JOBS_AN_ANSWER = 10_000
"""Jobs in one answer, at most: about 6 MB of JSON, 0.6 MB compressed."""

_KEY_OF_THE_HOST = frozenset({"code", "clientId"})
"""Azure Functions takes a function key from the query string too, and leaves it there."""

_MAPS = frozenset({"exitCodes", "failures", "pools", "durationHistogram", "completionsOverTime"})
SORTABLE = tuple(column for column in JOB_COLUMNS if column not in {"PartitionKey", "RowKey", *_MAPS})

TASK_LIST_COLUMNS = tuple(
    column
    for column in TASK_COLUMNS
    if column not in {"PartitionKey", "RowKey", "executions", "olderExecutions"}  # up to 128 KiB a row
)

_ALIASES = ConfigDict(alias_generator=to_camel)


class JobsQuery(JobFilter):
    """Which jobs, and how they are listed."""

    model_config = _ALIASES

    columns: tuple[str, ...] = Field(
        default=JOB_LIST_COLUMNS,
        min_length=1,
        description="columns, with commas; the row's keys, Timestamp, bucketCount and contractVersion come with them",
        json_schema_extra={"items": {"enum": list(JOB_COLUMNS)}},
    )
    sort: str = Field(
        default="-lastEndTime",
        description="column to sort by, `-` before it for the greatest first; jobs without a value come last",
        json_schema_extra={"enum": [f"{sign}{column}" for column in SORTABLE for sign in ("", "-")]},
    )
    limit: int = Field(default=200, ge=1, le=JOBS_AN_ANSWER, description="jobs in the answer, at most")


class TasksQuery(TaskFilter):
    """Which tasks of a job, and how they are listed."""

    model_config = _ALIASES

    columns: tuple[str, ...] = Field(
        default=TASK_LIST_COLUMNS,
        min_length=1,
        description="columns, with commas; the row's keys and its Timestamp come with them",
        json_schema_extra={"items": {"enum": list(TASK_COLUMNS)}},
    )
    limit: int = Field(default=100, ge=1, le=PAGE, description="tasks in the answer, at most")
    continuation: str | None = Field(
        default=None, description="`continuation` of the answer before this one, for the tasks that follow"
    )


class NoQuery(BaseModel):
    """Of what takes no parameters."""

    model_config = ConfigDict(extra="forbid")


def parse_query[M: BaseModel](model: type[M], query: str) -> M:
    """The parameters in a query string, still percent-encoded. Raises BadRequest, naming the parameter."""
    fields = {to_camel(name): field.annotation for name, field in model.model_fields.items()}
    given: dict[str, Any] = {}
    for name, text in _pairs(query):
        if name in _KEY_OF_THE_HOST:
            continue
        if name not in fields:
            raise BadRequest(f"there is no parameter {name} here; {_names(fields)}")
        if name in given:
            raise BadRequest(f"{name} is given twice; give it once")
        given[name] = _convert(name, text, fields[name])
    try:
        query_model = model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadRequest(f"{first['loc'][0]} is {first['input']}; {_lower(first['msg'])}") from None
    if isinstance(query_model, JobsQuery):
        _check_columns(query_model.columns, JOB_COLUMNS)
        if query_model.sort.removeprefix("-") not in SORTABLE:
            raise BadRequest(f"sort is {query_model.sort}; it may be -COLUMN or COLUMN, of {', '.join(SORTABLE)}")
    elif isinstance(query_model, TasksQuery):
        _check_columns(query_model.columns, TASK_COLUMNS)
    return query_model


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise BadRequest("the query string is not UTF-8; percent-encode its texts as UTF-8") from None
    except ValueError as error:
        raise BadRequest(f"the query string cannot be read: {error}") from error


def _names(fields: Mapping[str, Any]) -> str:
    return f"the parameters are {', '.join(fields)}" if fields else "this takes no parameters"


def _check_columns(columns: tuple[str, ...], known: Mapping[str, Any]) -> None:
    for column in columns:
        if column not in known:
            raise BadRequest(f"columns has {column!r}; the columns are {', '.join(known)}")


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


# --- values ----------------------------------------------------------------------------------------------------------


def _convert(name: str, text: str, annotation: Any) -> Any:
    """A parameter's text as its field's type."""
    if isinstance(annotation, UnionType):
        annotation = get_args(annotation)[0]  # a type or None: None is what is not given
    return _CONVERSIONS.get(annotation, _columns)(name, text)


def _text(name: str, text: str) -> str:
    if len(text) > TEXT_LENGTH:
        raise BadRequest(f"{name} has {len(text):,} characters; {TEXT_LENGTH:,} is the most")
    if not re.fullmatch(TEXT_PATTERN, text):
        raise BadRequest(f"{name} has control characters; take them out")
    return text


TEXT_LENGTH = 4 * limits.ID_LENGTH
"""Of an id, a code or a continuation, which is made of two keys."""
TEXT_PATTERN = r"^[^\u0000-\u001f\u007f-\u009f]*$"
"""No control characters; as JSON Schema and Python both read it."""


def _bool(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise BadRequest(f"{name} is {text!r}; it may be true or false")
    return text == "true"


_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,18})(?:\.\d{1,18})?(?:[eE][+-]?\d{1,3})?", re.ASCII)


def _number(name: str, text: str) -> Any:
    if not _NUMBER.fullmatch(text):
        raise BadRequest(f"{name} is {text!r}; it takes a number, for example 10")
    return json.loads(text)


def _time(name: str, text: str) -> datetime:
    """A time that an Edm.DateTime can be compared with."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(
            f"{name} is {text!r}; it takes a time in ISO 8601, for example 2026-11-01, 2026-11-01T06:00:00Z or "
            "2026-11-01T06:00:00%2B01:00 (in a query string, a + is written %2B)"
        ) from None
    try:
        utc = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:  # an offset that leads out of the years 1 to 9999
        utc = _LATEST if time.year > _EARLIEST.year else _EARLIEST
    return max(utc, _EARLIEST)  # no row has an earlier one, and the server knows none


_EARLIEST = datetime.fromisoformat(limits.EARLIEST_TIME)
_LATEST = datetime.max.replace(tzinfo=UTC)


def _columns(_name: str, text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


_CONVERSIONS: Mapping[Any, Callable[[str, str], Any]] = {
    bool: _bool,
    int: _number,
    float: _number,
    datetime: _time,
    str: _text,
}
