"""The pipeline: the design's table of failures, row by row, and what a batch of anything at all does."""

import asyncio
import base64
import contextlib
import gc
import json
import logging
import tracemalloc
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import limits
from processors.columns import JOBS, TASKS
from processors.dead_letters import DeadLetter
from processors.errors import RowRefused, StorageUnavailable
from processors.events import Execution
from processors.ingest import Batch, Message, ingest
from tests.core.examples import (
    AN_EXECUTION,
    ENQUEUED,
    NOON,
    NOW,
    SECOND,
    an_execution,
    batch,
    differences,
    letters,
    message,
    record,
    run,
    task_rows,
)
from tests.core.strategies import distinct, many_executions
from tests.core.test_records import any_bytes
from tests.memory_storage import Call, MemoryDeadLetters, MemoryStorage, Moment, no_hook

GOOD = [an_execution(number, task_id=f"t{number}") for number in range(3)]


def bad_record(**properties: Any) -> dict[str, Any]:
    """A task complete event without its job id."""
    fields = record()
    fields["properties"] = {**fields["properties"], "jobId": None, **properties}
    return fields


# --- messages and records that are bad -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"hello", b'{"records": []}', b'{"records": [{"oper', b"[" * 10_000, b"\xff\xfe"]
)
def test_a_message_that_holds_no_record_is_a_dead_letter_and_the_others_count(body: bytes) -> None:
    storage = MemoryStorage()
    bodies = [message(record(GOOD[0])), body, message(record(GOOD[1]))]
    (summary,) = run(storage, batch(*bodies, partition="3", first=40))
    assert differences(storage.tables, GOOD[:2]) == []
    assert summary.dead_letters == 1
    ((name, letter),) = letters(storage).items()
    assert name == "hub/3/00000000000000000041-message.json"
    assert letter.record_index is None
    assert letter.body == body
    assert len(letter.errors) == 1


def test_an_invalid_completion_is_a_dead_letter_with_every_fields_error_and_its_neighbours_count() -> None:
    storage = MemoryStorage()
    bad = bad_record(id=7)
    raw = b'{"x": "\xc3\xa9" ,' + json.dumps(bad).encode()[1:]
    good = [json.dumps(record(execution)).encode() for execution in GOOD]
    body = b'{"records": [' + good[0] + b", " + raw + b" , " + good[1] + b"]}"
    (summary,) = run(storage, batch(body, message(record(GOOD[2])), first=7))
    assert differences(storage.tables, GOOD) == []
    assert (summary.records, summary.executions, summary.counted, summary.dead_letters) == (4, 3, 3, 1)
    assert letters(storage) == {
        "hub/0/00000000000000000007-00001.json": DeadLetter(
            hub="hub",
            partition="0",
            sequence_number=7,
            record_index=1,
            enqueued_time=ENQUEUED.isoformat(),
            errors=("properties.jobId: Field required", "properties.id: Input should be a valid string"),
            body=raw,
        )
    }


def test_what_is_no_record_among_records_is_a_dead_letter_of_its_own() -> None:
    storage = MemoryStorage()
    run(storage, batch(message(1, record(GOOD[0]), {"x": 1})))
    assert {name: (letter.body, letter.errors) for name, letter in letters(storage).items()} == {
        "hub/0/00000000000000000000-00000.json": (b"1", ("not a record: a JSON number",)),
        "hub/0/00000000000000000000-00002.json": (b'{"x": 1}', ("not a record: operationName is missing",)),
    }


def test_a_redelivery_writes_the_same_letters_again() -> None:
    storage = MemoryStorage()
    again = batch(message(bad_record(), record(), 1), b"oops")
    run(storage, again)
    first = {name: letter.content() for name, letter in letters(storage).items()}
    run(storage, again)
    assert {name: letter.content() for name, letter in letters(storage).items()} == first
    assert len(first) == 3


def test_a_letter_is_json_that_gives_the_original_bytes_back() -> None:
    storage = MemoryStorage()
    run(storage, batch(b"\xff\x00", 'caf\u00e9 "'.encode()))
    binary, text = (json.loads(letters(storage)[name].content()) for name in sorted(letters(storage)))
    assert (binary["encoding"], base64.b64decode(binary["body"])) == ("base64", b"\xff\x00")
    assert (text["encoding"], text["body"]) == ("utf-8", 'caf\u00e9 "')
    assert text["sequenceNumber"] == 1
    assert text["enqueuedTime"] == ENQUEUED.isoformat()
    assert (text["eventHub"], text["partition"], text["recordIndex"]) == ("hub", "0", None)


@pytest.mark.parametrize(("bad", "number"), [(2_000, 2_000), (2_001, 1)])
def test_over_two_thousand_bad_records_in_a_message_are_one_letter(bad: int, number: int) -> None:
    storage = MemoryStorage()
    body = message(record(GOOD[0]), *[{"operationName": "TaskCompleteEvent"}] * bad, record(GOOD[1]))
    (summary,) = run(storage, batch(body))
    assert summary.dead_letters == len(letters(storage)) == number
    assert differences(storage.tables, GOOD[:2]) == []
    if number == 1:
        (letter,) = letters(storage).values()
        assert letter.record_index is None
        assert letter.body == body
        assert letter.errors[0].startswith("2001 of its records are bad; the first is 1: ")


def test_a_task_with_more_executions_than_its_row_can_tell_apart_gives_letters() -> None:
    storage = MemoryStorage()
    some = many_executions(limits.EXECUTIONS_A_TASK + 2)
    bodies = [message(*map(record, some[start : start + 1_000])) for start in range(0, len(some), 1_000)]
    (summary,) = run(storage, batch(*bodies))
    assert (summary.counted, summary.dead_letters) == (limits.EXECUTIONS_A_TASK, 2)
    assert differences(storage.tables, some[:-2]) == []
    assert [(letter.sequence_number, letter.record_index) for letter in letters(storage).values()] == [(4, 0), (4, 1)]


@pytest.mark.parametrize("edit", [{"completionCount": 9}, {"executions": "["}, {"requiredSlots": "x"}])
def test_an_unreadable_task_row_gives_letters_for_its_task_alone(edit: dict[str, Any]) -> None:
    storage = MemoryStorage()
    run(storage, batch(message(record(GOOD[0]))))
    ((key, row),) = task_rows(storage.tables).items()
    storage.tables.put(TASKS, {**row, **edit})
    (summary,) = run(storage, batch(message(*map(record, GOOD)), first=1))
    assert (summary.counted, summary.dead_letters) == (2, 1)
    (letter,) = letters(storage).values()
    assert letter.record_index == 0
    assert "is not as written" in letter.errors[0]
    assert storage.tables.rows(TASKS)[key] == {**row, **edit}


NO_COUNTS = '{"start": "2026-11-22T12:00:00Z", "widthSeconds": 60, "counts": []}'


@pytest.mark.parametrize("edit", [{"taskCount": "x"}, {"completionsOverTime": NO_COUNTS}])
def test_unreadable_sums_give_letters_for_their_job_alone(
    edit: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    storage = MemoryStorage()
    run(storage, batch(message(record(GOOD[0]))))
    ((key, row),) = [item for item in storage.tables.rows(TASKS).items() if item[0][1] == "~job~0"]
    storage.tables.put(TASKS, {**row, **edit})
    another = an_execution(job_id="another")
    (summary,) = run(storage, batch(message(record(GOOD[1]), record(another)), first=1))
    assert (summary.counted, summary.dead_letters) == (1, 1)
    assert ("myaccount", "another") in storage.tables.rows(JOBS)
    assert storage.tables.rows(TASKS)[key] == {**row, **edit}
    assert "is counted but not published" in caplog.text


def test_a_refused_row_is_a_letter_with_storages_reason() -> None:
    async def hook(call: Call) -> None:
        if call.method == "commit" and call.table == TASKS and call.moment is Moment.BEFORE:
            raise RowRefused(0, "PropertyValueTooLarge")

    storage = MemoryStorage().through(hook)
    (summary,) = run(storage, batch(message(*map(record, GOOD))))
    assert (summary.counted, summary.dead_letters) == (0, 3)
    assert {letter.errors for letter in letters(storage).values()} == {("PropertyValueTooLarge",)}


# --- storage away ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "query", "commit", "put"])
@pytest.mark.parametrize("moment", list(Moment))
def test_storage_or_letters_away_fail_the_invocation_and_the_redelivery_makes_it_good(
    method: str, moment: Moment
) -> None:
    async def hook(call: Call) -> None:
        if (call.method, call.moment) == (method, moment):
            raise StorageUnavailable("away", transient=False)

    storage = MemoryStorage()
    before = an_execution(99, task_id="another")
    run(storage.through(no_hook), batch(message(record(before))))  # so that there is something to read
    held = batch(message(*map(record, GOOD), bad_record()))
    with pytest.raises(StorageUnavailable, match="away"):
        run(storage.through(hook), held)
    run(storage, held)
    assert differences(storage.tables, [before, *GOOD]) == []
    assert len(letters(storage)) == 1


def test_a_failed_invocation_leaves_nothing_to_the_garbage_collector() -> None:
    """In an outage one follows the other for hours; kept until a collection, their batches would fill the memory."""

    async def hook(_: Call) -> None:
        await asyncio.sleep(0)  # so that all are on their way
        error = OSError()  # leads to itself by way of its traceback, as those of the SDKs do
        try:
            raise error
        except OSError as cause:
            raise StorageUnavailable("away", transient=False) from cause

    async def invoke() -> None:
        held = batch(message(*(record(an_execution(job_id=f"j{number}")) for number in range(9))), b"oops")
        with contextlib.suppress(StorageUnavailable):
            await ingest(held, MemoryStorage().through(hook), lambda: NOW)

    gc.collect()
    known = {id(one) for one in gc.get_objects()}
    gc.disable()
    try:
        asyncio.run(invoke())
        new = [one for one in gc.get_objects() if id(one) not in known]
        assert [one for one in new if isinstance(one, Batch | StorageUnavailable)] == []
    finally:
        gc.enable()


def test_a_cancelled_invocation_is_storage_unavailable_after_all_its_work_has_ended() -> None:
    begun = asyncio.Event()
    ended = 0

    async def hook(_: Call) -> None:
        nonlocal ended
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended += 1

    async def cancelled() -> None:
        bodies = batch(message(*(record(an_execution(job_id=f"j{number}")) for number in range(40))))
        invocation = asyncio.create_task(ingest(bodies, MemoryStorage().through(hook), lambda: NOW))
        await begun.wait()
        await asyncio.sleep(0)
        invocation.cancel()
        with pytest.raises(StorageUnavailable, match="cancelled"):
            await invocation

    asyncio.run(cancelled())
    assert ended == limits.CONCURRENT_JOBS


# --- anything at all -------------------------------------------------------------------------------------------------


@given(st.lists(any_bytes, max_size=5), distinct(3))
def test_any_bytes_end_as_letters_and_their_neighbours_count(bodies: list[bytes], some: list[Execution]) -> None:
    storage = MemoryStorage()
    run(storage, batch(*bodies, message(*map(record, some))))
    assert differences(storage.tables, some) == []
    for letter in letters(storage).values():
        assert letter.content().decode()
        assert letter.body in bodies[letter.sequence_number]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@given(st.data())
def test_records_with_anything_in_any_place_are_counted_or_letters(data: st.DataObject) -> None:
    def spoil(value: Any) -> Any:
        if data.draw(st.integers(0, 12)) == 0:
            return data.draw(_VALUES)
        return members(value) if isinstance(value, dict) else value

    def members(value: dict[str, Any]) -> dict[str, Any]:
        return {name: spoil(held) for name, held in value.items()}

    storage = MemoryStorage()
    spoiled = [members(record(execution)) for execution in GOOD]
    (summary,) = run(storage, batch(message(*spoiled, record(an_execution(job_id="good")))))
    assert ("myaccount", "good") in storage.tables.rows(JOBS)
    assert summary.counted + summary.duplicates + summary.dead_letters + sum(summary.ignored.values()) == 4


# --- a flood of bad input --------------------------------------------------------------------------------------------


def test_a_flood_of_letters_is_written_in_bounded_parallel() -> None:
    writing, most = 0, 0

    async def hook(call: Call) -> None:
        nonlocal writing, most
        if call.method == "put":
            writing += 1 if call.moment is Moment.BEFORE else -1
            most = max(most, writing)
            await asyncio.sleep(0)

    storage = MemoryStorage().through(hook)
    bodies = [b"oops"] * 99 + [message(*[bad_record()] * 200, *map(record, GOOD))]
    (summary,) = run(storage, batch(*bodies))
    assert (summary.counted, summary.dead_letters, len(letters(storage))) == (3, 299, 299)
    assert differences(storage.tables, GOOD) == []
    assert most == limits.CONCURRENT_DEAD_LETTERS


@pytest.mark.parametrize(
    "junk", [b"1,", b"{},", b'{"operationName":"TaskCompleteEvent"},'], ids=["numbers", "objects", "no events"]
)
def test_a_flood_of_full_messages_takes_no_more_memory_than_one(junk: bytes) -> None:
    """What is bad in a message is kept as one reason where it is too much for a letter each."""
    storage = MemoryStorage()
    full = b"[" + junk * (100_000 // len(junk)) + json.dumps(record()).encode() + b"]"
    one, many = peaks(storage, [full], [full] * 10)
    assert many < 1.5 * one + 1_000_000
    assert len(letters(storage)) == 10


class Dropped(MemoryDeadLetters):
    """Letters that are counted and forgotten."""

    letters_written = 0

    def _keep(self, letter: DeadLetter) -> None:
        assert letter.record_index is not None
        self.letters_written += 1


def test_a_flood_of_letters_takes_no_more_memory_than_those_of_one_message() -> None:
    """Letters, and what is wrong with each, are in memory only as long as their message's are being written."""
    dropped = Dropped()
    storage = MemoryStorage(dead_letters=dropped)
    full = message(*[bad_record(id=7, taskType=7, systemTaskVersion="", nodeInfo=7)] * 500)
    one, many = peaks(storage, [full], [full] * 10)
    assert many < 1.5 * one
    assert dropped.letters_written == 11 * 500


def peaks(storage: MemoryStorage, *batches: list[bytes]) -> list[int]:
    """The memory that each batch takes while it is ingested, at its peak."""
    found = []
    tracemalloc.start()
    try:
        for bodies in batches:
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            run(storage, batch(*bodies))
            found.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    return found


def test_an_empty_batch_does_nothing() -> None:
    storage = MemoryStorage()
    (summary,) = run(storage, Batch("hub", "0", []))
    assert (summary.messages, summary.jobs, summary.storage_requests) == (0, 0, 0)


# --- ids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task_id", ["~job~0", "~job~", "a/b#c?d\\e%f", "\x00\x1f\x7f\x9f", "|", "=7E", "É🎉", " "])
def test_any_id_is_a_task_of_its_own_beside_the_sums(task_id: str) -> None:
    storage = MemoryStorage()
    some = [an_execution(task_id=task_id, job_id=task_id), an_execution(1, task_id="x", job_id=task_id)]
    run(storage, batch(message(*map(record, some))))
    assert differences(storage.tables, some) == []


def test_ids_that_differ_in_case_alone_are_one_task() -> None:
    storage = MemoryStorage()
    some = [an_execution(0, job_id="JOB", task_id="T"), an_execution(1, job_id="job", task_id="t", account="MYACCOUNT")]
    run(storage, batch(message(*map(record, some))))
    assert len(task_rows(storage.tables)) == 1
    assert differences(storage.tables, some) == []


# --- the summary -----------------------------------------------------------------------------------------------------


def test_other_operations_are_counted_by_name_without_case_and_otherwise_ignored() -> None:
    others = [record() | {"operationName": name} for name in ("TaskFailEvent", "TaskStartEvent", "TASKFAILEVENT")]
    storage = MemoryStorage()
    (summary,) = run(storage, batch(message(record(), *others)))
    assert summary.ignored == {"TaskFailEvent": 2, "TaskStartEvent": 1}
    assert differences(storage.tables, [AN_EXECUTION]) == []


def test_the_names_of_other_operations_are_bounded() -> None:
    names = [f"op{number}" for number in range(500)] + ["x" * 1_000, "op3", "\ud800"]
    (summary,) = run(MemoryStorage(), batch(message(*({"operationName": name} for name in names))))
    assert len(summary.ignored) <= limits.OPERATION_NAMES + 1
    assert summary.ignored["op3"] == 2
    assert summary.ignored["other"] == 503 - 51
    assert sum(summary.ignored.values()) == 503


def test_the_summary_is_the_log_line(caplog: pytest.LogCaptureFixture) -> None:
    storage = MemoryStorage()
    with caplog.at_level(logging.INFO, "processors.ingest"):
        (summary,) = run(storage, batch(message(record(), record(), bad_record(), {"operationName": "X"}), b"?"))
    line = json.loads(caplog.messages[-1].removeprefix("ingested "))
    assert line["counted"] == summary.counted == 1
    assert line | {"milliseconds": 0, "storage_seconds": 0} == {
        "partition": "0",
        "messages": 2,
        "records": 4,
        "executions": 2,
        "counted": 1,
        "duplicates": 1,
        "ignored": {"X": 1},
        "dead_letters": 2,
        "jobs": 1,
        "conflicts": 0,
        "storage_requests": 2,
        "storage_seconds": 0,
        "newest_record_age_seconds": NOW - NOON / SECOND - 10,
        "newest_record_delivery_seconds": 290,
        "milliseconds": 0,
    }


def test_the_delivery_is_that_of_the_newest_record() -> None:
    """Of two messages, the second has the newest record, and a time that leaves out that it is in UTC."""
    late = message(record(an_execution(100)), record(an_execution(50)))
    messages = [
        Message(message(record()), 0, ENQUEUED + timedelta(hours=1)),
        Message(late, 1, ENQUEUED.replace(tzinfo=None)),
    ]
    (summary,) = run(MemoryStorage(), Batch("hub", "0", messages))
    assert summary.newest_record_age_seconds == 490
    assert summary.newest_record_delivery_seconds == 190


def test_without_an_enqueued_time_the_delivery_is_unknown() -> None:
    (summary,) = run(MemoryStorage(), Batch("hub", "0", [Message(message(record()), 0, None)]))
    assert summary.newest_record_age_seconds == 590
    assert summary.newest_record_delivery_seconds is None


def test_the_time_of_storage_is_that_of_its_requests() -> None:
    storage = MemoryStorage()
    storage.tables.attempts.seconds = 1.23456  # what its requests took before the end
    (summary,) = run(storage, batch(message(record())))
    assert summary.storage_seconds == pytest.approx(1.235, abs=0.1)


def test_a_failed_invocation_says_so_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def hook(_: Call) -> None:
        raise StorageUnavailable("away", transient=False)

    with pytest.raises(StorageUnavailable):
        run(MemoryStorage().through(hook), batch(message(record()), partition="7"))
    assert [(line.levelname, line.message) for line in caplog.records] == [
        ("ERROR", 'invocation failed {"partition": "7", "error": "away"}')
    ]


def test_a_message_without_an_enqueued_time_still_gives_a_letter() -> None:
    storage = MemoryStorage()
    run(storage, Batch("hub", "0", [Message(b"?", 2**63 - 1, None)]))
    ((name, letter),) = letters(storage).items()
    assert name == "hub/0/09223372036854775807-message.json"
    assert letter.enqueued_time is None


# --- size ------------------------------------------------------------------------------------------------------------


def test_ten_thousand_tiny_jobs_in_one_batch() -> None:
    some = [an_execution(number, job_id=f"j{number}") for number in range(10_000)]
    storage = MemoryStorage()
    bodies = [message(*map(record, some[start : start + 1_000])) for start in range(0, 10_000, 1_000)]
    (summary,) = run(storage, batch(*bodies))
    assert (summary.jobs, summary.counted, summary.conflicts) == (10_000, 10_000, 0)
    assert differences(storage.tables, some) == []


def deep_properties(depth: int) -> bytes:
    fields = record() | {"extra": "HERE"}
    return json.dumps({"records": [fields]}).replace('"HERE"', "[" * depth + "]" * depth).encode()


def long_text(length: int) -> bytes:
    return message(record(AN_EXECUTION._replace(failure_message="x" * length)))


@pytest.mark.parametrize(
    "body",
    [
        deep_properties(100),
        deep_properties(5_000),
        long_text(1_000_000),
        message(record() | {"extra": {str(number): None for number in range(50_000)}}),
        message(record()).replace(b'"ServiceLog"', b"9" * 5_000),
        message(record()).replace(b'"ServiceLog"', b"NaN"),
        message(record()).replace(b'"ServiceLog"', b'"\\ud800"'),
        message(record()).replace(b'"jobId":', b'"jobId": 7, "jobId":'),
    ],
    ids=[
        "deep",
        "very deep",
        "a long text",
        "many keys",
        "a huge number",
        "no number",
        "half a character",
        "a key twice",
    ],
)
def test_what_is_odd_beside_the_events_fields_is_tolerated(body: bytes) -> None:
    storage = MemoryStorage()
    (summary,) = run(storage, batch(body))
    assert (summary.counted, summary.dead_letters) == (1, 0)
