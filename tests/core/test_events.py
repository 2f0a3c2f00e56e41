"""Records → executions: fields, defaults, bounds, times and keys."""

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from processors import limits
from processors.events import (
    Execution,
    cut,
    execution,
    is_task_complete,
    job_key,
    key,
    newest_time,
    parse_time,
    to_datetime,
    unkey,
)
from processors.records import Record, decode
from processors.rollups import SHARD_RANGE, shard_key
from processors.rollups import units as utf16_units
from tests.core.examples import AN_EXECUTION, NOON, message, record, time_text
from tests.core.strategies import executions, ids, times
from tests.memory_storage import check_value

type Path = tuple[str, ...]

INFO = ("properties", "executionInfo")
ABSENT = object()


def read(fields: dict[str, Any]) -> Execution | list[str]:
    return execution(Record(0, "TaskCompleteEvent", fields))


def edited(path: Path, value: Any) -> dict[str, Any]:
    """A valid record with one member changed, or taken away."""
    fields = record()
    part = fields
    for name in path[:-1]:
        part = part[name]
    if value is ABSENT:
        part.pop(path[-1], None)
    else:
        part[path[-1]] = value
    return fields


def value_of(fields: dict[str, Any]) -> Execution:
    found = read(fields)
    assert isinstance(found, Execution), found
    return found


def errors_of(fields: dict[str, Any]) -> list[str]:
    found = read(fields)
    assert isinstance(found, list), found
    return found


@given(executions())
def test_what_a_record_tells_is_read(told: Execution) -> None:
    assert read(record(told)) == told


@given(executions())
def test_what_a_message_tells_is_read(told: Execution) -> None:
    (found,) = decode(message(record(told))).records
    assert execution(found) == told


@pytest.mark.parametrize("operation", ["TaskCompleteEvent", "taskcompleteevent", "TASKCOMPLETEEVENT"])
def test_the_operation_is_compared_without_case(operation: str) -> None:
    assert is_task_complete(Record(0, operation, {}))


@pytest.mark.parametrize("operation", ["TaskFailEvent", "TaskStartEvent", "TaskCompleteEvent ", "x"])
def test_other_operations_are_no_completions(operation: str) -> None:
    assert not is_task_complete(Record(0, operation, {}))


# --- tolerated -------------------------------------------------------------------------------------------------------


def upper_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {name.upper(): upper_keys(held) for name, held in value.items()}
    return value


def test_keys_in_another_case_are_the_same() -> None:
    assert read(upper_keys(record())) == AN_EXECUTION


def test_an_exact_key_wins_over_one_in_another_case() -> None:
    fields = record()
    fields["properties"] |= {"JOBID": "other", "ID": "other"}
    assert read(fields) == AN_EXECUTION
    assert read({"PROPERTIES": 7, "RESOURCEID": "other", **fields}) == AN_EXECUTION


def test_properties_may_be_json_text_with_raw_control_characters() -> None:
    told = AN_EXECUTION._replace(failure_message="one\ntwo")
    fields = record(told)
    fields["properties"] = json.dumps(fields["properties"]).replace("\\n", "\n")
    assert read(fields) == told


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{'jobId': 'x'}", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ("[" * 100_000, "nested too deeply"),
    ],
    ids=["quotes", "empty", "deep"],
)
def test_properties_that_are_broken_text_are_an_error(text: str, why: str) -> None:
    assert errors_of(edited(("properties",), text)) == [f"properties: not JSON: {why}"]


def test_extra_fields_are_ignored() -> None:
    fields = record() | {"Tenant": "x", "level": None}
    fields["properties"] |= {"new": {"deep": [1]}}
    fields["properties"]["executionInfo"]["schedulingError"]["details"] = [{"name": "x", "value": 1}]
    assert read(fields) == AN_EXECUTION


@pytest.mark.parametrize("account", ["a", "x" * limits.ID_LENGTH])
def test_an_account_has_one_to_256_characters(account: str) -> None:
    assert value_of(edited(("resourceId",), f"/A/B/{account}")).account == account


@pytest.mark.parametrize("resource", ["/A/B/acc/", "/A/B/acc", "acc", "acc///", "//acc"])
def test_the_account_is_the_last_segment_that_is_not_empty(resource: str) -> None:
    assert value_of(edited(("resourceId",), resource)).account == "acc"


# --- defaults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [ABSENT, None])
@pytest.mark.parametrize(
    ("path", "field", "default"),
    [
        (("properties", "requiredSlots"), "required_slots", 1),
        (("properties", "taskType"), "task_type", ""),
        (("properties", "systemTaskVersion"), "system_task_version", 0),
        (("properties", "nodeInfo"), "pool_id", ""),
        (("properties", "nodeInfo"), "node_id", ""),
        (("properties", "nodeInfo", "poolId"), "pool_id", ""),
        (("properties", "nodeInfo", "nodeId"), "node_id", ""),
        (("properties", "multiInstanceSettings"), "number_of_instances", 1),
        (("properties", "multiInstanceSettings", "numberOfInstances"), "number_of_instances", 1),
        (("properties", "constraints"), "max_task_retry_count", 0),
        (("properties", "constraints", "maxTaskRetryCount"), "max_task_retry_count", 0),
        ((*INFO, "startTime"), "start", None),
        ((*INFO, "exitCode"), "exit_code", None),
        ((*INFO, "retryCount"), "retry_count", 0),
        ((*INFO, "requeueCount"), "requeue_count", 0),
        ((*INFO, "schedulingError"), "failure_code", ""),
        ((*INFO, "schedulingError", "category"), "failure_category", ""),
        ((*INFO, "schedulingError", "code"), "failure_code", ""),
        ((*INFO, "schedulingError", "message"), "failure_message", ""),
    ],
)
def test_what_is_absent_or_null_has_its_default(path: Path, value: object, field: str, default: object) -> None:
    assert getattr(value_of(edited(path, value)), field) == default


def test_zero_slots_and_zero_instances_are_one() -> None:
    assert value_of(edited(("properties", "multiInstanceSettings", "numberOfInstances"), 0)).number_of_instances == 1
    assert value_of(edited(("properties", "requiredSlots"), 0)).required_slots == 1


@pytest.mark.parametrize("value", [ABSENT, None])
@pytest.mark.parametrize(
    "path",
    [
        ("resourceId",),
        ("properties",),
        ("properties", "jobId"),
        ("properties", "id"),
        INFO,
        (*INFO, "endTime"),
    ],
)
def test_what_is_required_is_named_when_it_is_missing(path: Path, value: object) -> None:
    (error,) = errors_of(edited(path, value))
    assert error.startswith(".".join(path) + ": ")


# --- outcome ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "exit_code", "succeeded"),
    [
        ("Success", 0, True),
        ("success", 1, True),
        ("SUCCESS", None, True),
        ("Failure", 0, False),
        ("failure", None, False),
        ("Succeeded", 0, False),
        (None, 0, True),
        (ABSENT, 0, True),
        ("", 0, True),
        (ABSENT, 1, False),
        (ABSENT, -1, False),
        (ABSENT, None, False),
        (None, ABSENT, False),
    ],
)
def test_succeeded_by_the_result_where_there_is_one_else_by_the_exit_code(
    result: object, exit_code: object, succeeded: bool
) -> None:
    fields = edited((*INFO, "result"), result)
    info = fields["properties"]["executionInfo"]
    info["exitCode"] = exit_code
    if exit_code is ABSENT:
        del info["exitCode"]
    assert value_of(fields).succeeded is succeeded


# --- wrong types and bounds ------------------------------------------------------------------------------------------

_COUNTS = (
    ("properties", "requiredSlots"),
    ("properties", "multiInstanceSettings", "numberOfInstances"),
    (*INFO, "retryCount"),
    (*INFO, "requeueCount"),
)
_INTEGERS = (
    *_COUNTS,
    ("properties", "systemTaskVersion"),
    ("properties", "constraints", "maxTaskRetryCount"),
    (*INFO, "exitCode"),
)
_TEXTS = (
    ("resourceId",),
    ("properties", "jobId"),
    ("properties", "id"),
    ("properties", "taskType"),
    ("properties", "nodeInfo", "poolId"),
    ("properties", "nodeInfo", "nodeId"),
    (*INFO, "result"),
    (*INFO, "schedulingError", "category"),
    (*INFO, "schedulingError", "code"),
    (*INFO, "schedulingError", "message"),
)
_OBJECTS = (
    ("properties",),
    ("properties", "nodeInfo"),
    ("properties", "multiInstanceSettings"),
    ("properties", "constraints"),
    INFO,
    (*INFO, "schedulingError"),
)
_TIMES = ((*INFO, "startTime"), (*INFO, "endTime"))


def each(paths: Iterable[Path], *values: Any) -> list[tuple[Path, Any]]:
    return [(path, value) for path in paths for value in values]


WRONG = [
    *each(_INTEGERS, "1", 1.0, 1.5, True, [], {}, float("nan"), "9" * 5000, 10**400),
    *each(_COUNTS, -1, 2**31, float("inf")),
    *each(_TEXTS, 1, True, [], {}, "\ud800", "x\udfff" * 3_000),
    *each(_OBJECTS, 1, True, [], [1]),
    *each(_OBJECTS[1:], "{}", "x"),
    *each(_TIMES, 1, "", "x", [], "\ud800"),
    (("properties", "constraints", "maxTaskRetryCount"), -2),
    (("properties", "constraints", "maxTaskRetryCount"), 2**31),
    ((*INFO, "exitCode"), 2**31),
    ((*INFO, "exitCode"), -(2**31) - 1),
    (("properties", "systemTaskVersion"), 2**63),
    (("properties", "systemTaskVersion"), -(2**63) - 1),
    (("properties", "jobId"), ""),
    (("properties", "id"), ""),
    (("properties", "jobId"), "x" * 257),
    (("properties", "id"), "x" * 257),
    (("properties", "nodeInfo", "poolId"), "x" * 257),
    (("resourceId",), ""),
    (("resourceId",), "///"),
    (("resourceId",), "/a/" + "x" * 257),
]


@pytest.mark.parametrize(("path", "value"), WRONG, ids=lambda part: str(part)[:40].encode("ascii", "replace").decode())
def test_a_wrong_field_is_named_alone(path: Path, value: Any) -> None:
    (error,) = errors_of(edited(path, value))
    assert error.startswith(".".join(path) + ": ")
    error.encode()


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (("resourceId",), "///", "names no Batch account in its last segment"),
        (("resourceId",), "/a/" + "x" * 257, "names no Batch account in its last segment"),
        (("properties", "taskType"), "x\ud800", "holds half of a surrogate pair"),
        ((*INFO, "endTime"), "noon", "not a time such as 2026-11-22T09:00:00.1234567Z"),
        ((*INFO, "endTime"), "2026-11-2\uff12T09:00:00Z", "not a time such as 2026-11-22T09:00:00.1234567Z"),
        ((*INFO, "endTime"), 1, "not a time such as 2026-11-22T09:00:00.1234567Z"),
        ((*INFO, "endTime"), "2026-11-22T25:00:00Z", "not a time: hour must be in 0..23"),
        (
            (*INFO, "endTime"),
            "1600-12-31T23:59:59Z",
            "not between the years 1601 and 9999, which Table Storage can hold",
        ),
        (("properties", "id"), "é" * 86, "as a key it takes 516 characters, Table Storage allows 512"),
        (("properties", "jobId"), "é" * 86, "as a key it takes 529 characters, Table Storage allows 512"),
    ],
    ids=lambda part: str(part)[:30].encode("ascii", "replace").decode(),
)
def test_what_we_check_ourselves_says_what_is_wrong(path: Path, value: Any, why: str) -> None:
    """An operator reads this in the dead letter."""
    assert errors_of(edited(path, value)) == [f"{'.'.join(path)}: {why}"]


def test_every_wrong_field_is_named_at_once() -> None:
    fields = edited(("resourceId",), None)
    fields["properties"] |= {"jobId": 1, "id": "", "requiredSlots": "1"}
    fields["properties"]["executionInfo"] |= {"endTime": "x", "exitCode": 1.5}
    assert {error.split(":")[0] for error in errors_of(fields)} == {
        "resourceId",
        "properties.jobId",
        "properties.id",
        "properties.requiredSlots",
        "properties.executionInfo.endTime",
        "properties.executionInfo.exitCode",
    }


@pytest.mark.parametrize(("job_id", "task_id", "field"), [("é" * 100, "t", "jobId"), ("j", "🎉" * 100, "id")])
def test_ids_that_make_no_key_are_an_error(job_id: str, task_id: str, field: str) -> None:
    (error,) = errors_of(record(AN_EXECUTION._replace(job_id=job_id, task_id=task_id)))
    assert error.startswith(f"properties.{field}: as a key it takes ")


def test_ids_may_fill_their_keys() -> None:
    task_id = "é" * 85 + "ab"
    assert len(key(task_id)) == limits.KEY_UNITS
    assert value_of(record(AN_EXECUTION._replace(task_id=task_id))).task_id == task_id


def test_long_texts_are_cut() -> None:
    told = AN_EXECUTION._replace(failure_message="🎉" * 5_000, failure_code="c" * 300, task_type="é" * 300)
    found = value_of(record(told))
    assert found.failure_message == "🎉" * ((limits.TEXT_UNITS - 1) // 2) + "…"
    assert found.failure_code == "c" * (limits.CODE_UNITS - 1) + "…"
    assert len(found.task_type) == limits.CODE_UNITS


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.integers(2, 30))
def test_a_cut_text_fits_and_is_a_beginning(text: str, units: int) -> None:
    found = cut(text, units)
    assert utf16_units(found) <= units
    assert found == text if utf16_units(text) <= units else text.startswith(found.removesuffix("…"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=4),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
        max_leaves=4,
    ),
    st.sampled_from([*_INTEGERS, *_TEXTS, *_OBJECTS, *_TIMES]),
)
def test_any_value_in_any_field_gives_an_execution_or_errors(value: Any, path: Path) -> None:
    found = read(edited(path, value))
    if isinstance(found, list):
        assert found
        assert all(error.encode() for error in found)
    else:
        for name, held in found._asdict().items():
            if isinstance(held, str):
                check_value(name, held)


# --- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T12:00:00Z",
        "2026-11-22 12:00:00",
        "2026-11-22T12:00:00",
        "2026-11-22 12:00:00Z",
        "2026-11-22T12:00:00+00:00",
        "2026-11-22T14:30:00+02:30",
        "2026-11-22T14:30:00+0230",
        "2026-11-21T22:00:00.000-14:00",
        *(f"2026-11-22T12:00:00.{'0' * digits}Z" for digits in range(1, 8)),
    ],
)
def test_every_form_of_a_time_is_the_same_time(text: str) -> None:
    assert parse_time(text) == NOON


def test_fractions_have_up_to_seven_digits_of_which_six_are_kept() -> None:
    for digits in range(1, 8):
        expected = int("1234567"[:digits][:6].ljust(6, "0"))
        assert parse_time(f"2026-11-22 12:00:00.{'1234567'[:digits]}") == NOON + expected
    assert parse_time("2026-11-22T12:00:00.9999999Z") == NOON + 999_999


@given(times)
def test_a_time_is_read_as_it_was_written(micros: int) -> None:
    assert parse_time(time_text(micros)) == micros
    assert parse_time(to_datetime(micros).isoformat()) == micros


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22",
        "20261122T120000Z",
        "2026-11-22T12:00Z",
        "2026-11-22T12:00:00.12345678Z",
        "2026-11-22T12:00:00,5Z",
        "2026-02-30T12:00:00Z",
        "2026-11-22T25:00:00Z",
        "2026-11-22T12:00:60Z",
        "2026-11-22T12:00:00+24:00",
        "2026-11-22T12:00:00 Z",
        " 2026-11-22T12:00:00Z",
        "2026-11-22T12:00:00Z\n",
        "\uff12\uff10\uff12\uff16-11-22T12:00:00Z",
        "1600-12-31T23:59:59.999999Z",
        "1601-01-01T00:00:00+00:01",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59-00:01",
        "0000-01-01T00:00:00Z",
        None,
        0,
    ],
)
def test_what_is_no_time_or_none_that_storage_can_hold_is_refused(text: object) -> None:
    with pytest.raises(PydanticCustomError):
        parse_time(text)


@pytest.mark.parametrize(
    ("fields", "time"),
    [
        ({"time": time_text(NOON)}, NOON),
        ({"Time": time_text(NOON)}, NOON),
        ({"TIME": time_text(NOON + 1), "time": time_text(NOON)}, NOON),
        ({"time": "noon"}, None),
        ({"time": None}, None),
        ({"endTime": time_text(NOON)}, None),
    ],
)
def test_a_records_own_time_is_read_where_it_has_one(fields: dict[str, Any], time: int | None) -> None:
    assert newest_time([Record(0, "any", fields)]) == time


@pytest.mark.parametrize(
    ("told", "newest"),
    [
        ([], None),
        ([time_text(NOON + 1), time_text(NOON + 2), time_text(NOON)], NOON + 2),
        (["noon", time_text(NOON), "zero"], NOON),
        ([7, time_text(NOON)], NOON),
        (["2026-11-22T12:00:00Z", "9999-99-99T12:00:00Z"], NOON),
    ],
)
def test_of_a_messages_times_the_newest_that_can_be_read_counts(told: list[object], newest: int | None) -> None:
    assert newest_time([Record(index, "any", {"time": time}) for index, time in enumerate(told)]) == newest


# --- keys ------------------------------------------------------------------------------------------------------------


@given(ids)
def test_a_key_holds_legal_characters_only_and_says_the_id_again(id_: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_:\-=]+", key(id_))
    assert unkey(key(id_)) == id_.lower()


@given(ids, ids)
def test_two_ids_share_a_key_only_where_they_differ_in_case_alone(one: str, other: str) -> None:
    assert (key(one) == key(other)) == (one.lower() == other.lower())


@given(ids, ids, ids, ids)
def test_two_jobs_share_a_partition_only_where_both_ids_are_the_same(a: str, b: str, c: str, d: str) -> None:
    assert (job_key(a, b) == job_key(c, d)) == ((a.lower(), b.lower()) == (c.lower(), d.lower()))


@given(ids, ids)
def test_no_task_is_among_the_shards_and_every_shard_is(id_: str, shard: str) -> None:
    first, end = SHARD_RANGE
    assert not first <= key(id_) < end
    assert key(id_) < first
    assert first <= shard_key(shard) < end


def test_batchs_own_ids_are_their_own_keys() -> None:
    assert key("Job_1-A:7") == "job_1-a:7"
    assert key("~job~0") == "=7Ejob=7E0"
    assert key("a/b\\c#d?e%f=g|h\n") == "a=2Fb=5Cc=23d=3Fe=25f=3Dg=7Ch=0A"
