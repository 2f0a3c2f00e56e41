"""Rows: written and read back without loss, bounded, within the service's limits; and rows that someone edited."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import limits
from processors.columns import JOBS, TASKS, Int64, Row
from processors.errors import UnreadableRow
from processors.events import Execution, job_key, to_datetime
from processors.metrics import Sums, sketch_bucket, total
from processors.plan import add_executions, by_job, plan, row_bytes
from processors.rollups import (
    NO_START,
    OTHER,
    Earlier,
    Identity,
    JobKey,
    Task,
    identity,
    job_of,
    job_row,
    read_shard,
    read_task,
    shard_row,
    task_row,
)
from tests.core.examples import AN_EXECUTION, NOON, SECOND, an_execution
from tests.core.strategies import EARLIEST, LATEST, distinct, executions, many_executions
from tests.memory_storage import check_row, wire_bytes

JOB = JobKey("myaccount", "job-1")


def task_of(some: list[Execution], task: Task | None = None) -> Task:
    folded = add_executions(task, some).task
    assert folded is not None
    return folded


def sums_of(some: list[Execution]) -> Sums:
    sums = Sums()
    for execution in some:
        sums.add(execution)
    return sums


def of_one_task(some: list[Execution]) -> list[Execution]:
    same = [execution._replace(account="a", job_id="j", task_id="t") for execution in some]
    return list({identity(execution): execution for execution in same}.values())


# --- there and back --------------------------------------------------------------------------------------------------


@given(distinct())
def test_a_task_is_read_back_as_it_was_written(some: list[Execution]) -> None:
    task = task_of(of_one_task(some))
    row = task_row(task)
    check_row(TASKS, row)
    assert read_task(row) == task


@given(st.lists(executions(), min_size=1, max_size=20))
def test_sums_are_read_back_as_they_were_written(some: list[Execution]) -> None:
    sums = sums_of(some)
    row = shard_row(JOB, "7", sums)
    check_row(TASKS, row)
    assert read_shard(row) == sums


@given(st.lists(executions(), min_size=1, max_size=20), st.integers(0, 20))
def test_a_published_row_keeps_the_services_limits(some: list[Execution], shards: int) -> None:
    check_row(JOBS, job_row(JOB, sums_of(some), shards))


# --- many executions of one task -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 100, 101, 102, 350, 4_000])
def test_a_task_does_not_depend_on_the_order_of_its_executions(count: int) -> None:
    some = many_executions(count)
    task = task_of(some)
    assert task.completions == count
    assert task_of(some[::-1]) == task
    assert task_of(some[count // 2 :], task_of(some[: count // 2]) if count > 1 else None) == task
    row = task_row(task)
    check_row(TASKS, row)
    assert read_task(row) == task
    assert wire_bytes(row) <= row_bytes(row)
    again = add_executions(read_task(row), some)
    assert (again.accepted, again.duplicates, again.rejected) == ([], count, [])


def test_a_task_lists_its_latest_earlier_executions_and_counts_the_others() -> None:
    row = task_row(task_of(many_executions(130)))
    listed = json.loads(str(row["executions"]))
    assert len(listed) == limits.EXECUTIONS_LISTED + 1
    assert listed[-1] == {OTHER: 29}
    ends = [item["endTime"] for item in listed[:-1]]
    assert ends == sorted(ends, reverse=True)
    assert row["completionCount"] == 130


def test_a_task_beyond_what_its_row_can_tell_apart_takes_no_more() -> None:
    some = many_executions(limits.EXECUTIONS_A_TASK + 2)
    fold = add_executions(None, some)
    assert len(fold.accepted) == limits.EXECUTIONS_A_TASK
    assert [rejected.execution for rejected in fold.rejected] == some[-2:]
    assert "4000 executions already" in fold.rejected[0].reason
    again = add_executions(fold.task, some)
    assert (again.accepted, again.duplicates, len(again.rejected)) == ([], limits.EXECUTIONS_A_TASK, 2)


# --- bounded maps ----------------------------------------------------------------------------------------------------

_names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.lists(_names, min_size=1, max_size=20), st.integers(1, 8), st.integers(1, 40))
def test_bounded_maps_keep_the_sum_of_their_counts_and_fit(names: list[str], parts: int, stretch: int) -> None:
    some = [
        an_execution(
            number,
            pool_id=(name * stretch)[:256] + str(number % 150),
            failure_code=(name * stretch)[:200] + str(number % 130),
            exit_code=number % 140 - 70,
            succeeded=False,
        )
        for number, name in enumerate(names * 30)
    ]
    shards = [shard_row(JOB, str(part), sums_of(some[part::parts])) for part in range(parts) if some[part::parts]]
    row = job_row(JOB, total(map(read_shard, shards)), len(shards))
    for written, table in [*((shard, TASKS) for shard in shards), (row, JOBS)]:
        check_row(table, written)
        for column in ("exitCodes", "failures", "pools"):
            assert len(json.loads(str(written[column]))) <= limits.MAP_KEYS + 1
    assert sum(json.loads(str(row["exitCodes"])).values()) == len(some)
    assert sum(json.loads(str(row["failures"])).values()) == len(some)
    pools = json.loads(str(row["pools"])).values()
    assert sum(pool["completions"] for pool in pools) == sum(pool["failed"] for pool in pools) == len(some)
    assert round(sum(pool["durationSeconds"] for pool in pools)) == 10 * len(some)


def test_a_map_of_the_longest_names_fits_its_column() -> None:
    some = [
        an_execution(
            number, pool_id="🎉" * 253 + f"{number:03}", failure_code="é" * 253 + f"{number:03}", succeeded=False
        )
        for number in range(400)
    ]
    row = shard_row(JOB, "0", sums_of(some))
    check_row(TASKS, row)
    assert wire_bytes(row) < 700 * 1024
    assert read_shard(row).completions == 400


def test_a_map_names_its_weightiest_keys() -> None:
    some = [an_execution(number, exit_code=min(number, 200)) for number in range(1_000)]
    exit_codes = json.loads(str(job_row(JOB, sums_of(some), 1)["exitCodes"]))
    assert exit_codes["200"] == 800
    assert exit_codes[OTHER] == 101


def exit_codes_of(counts: dict[int, int]) -> dict[str, int]:
    """The published map of so many executions of each exit code."""
    codes = [code for code, count in counts.items() for _ in range(count)]
    row = job_row(JOB, sums_of([an_execution(number, exit_code=code) for number, code in enumerate(codes)]), 1)
    found: dict[str, int] = json.loads(str(row["exitCodes"]))
    return found


def test_a_map_names_a_hundred_keys_and_sums_what_is_beyond() -> None:
    hundred = {str(code): 1 for code in sorted(range(100), key=str)}
    assert list(exit_codes_of(dict.fromkeys(range(100), 1)).items()) == list(hundred.items())
    found = exit_codes_of(dict.fromkeys(range(102), 1))
    last = sorted(map(str, range(102)))[-2:]
    assert len(found) == limits.MAP_KEYS + 1
    assert found[OTHER] == 2
    assert found.keys().isdisjoint(last)
    assert list(found) == [*sorted(found.keys() - {OTHER}), OTHER]


def test_a_map_takes_as_much_of_its_column_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key is counted as a map of its own: seven characters here."""
    counts = {1: 2, 2: 3, 3: 4}
    monkeypatch.setattr(limits, "MAP_UNITS", 3 * len('{"1":2}'))
    assert exit_codes_of(counts) == {"1": 2, "2": 3, "3": 4}
    monkeypatch.setattr(limits, "MAP_UNITS", 3 * len('{"1":2}') - 1)
    assert exit_codes_of(counts) == {"2": 3, "3": 4, OTHER: 2}
    monkeypatch.setattr(limits, "MAP_UNITS", len('{"1":2}'))
    assert exit_codes_of(counts) == {"3": 4, OTHER: 5}


def test_a_short_key_is_named_where_a_weightier_long_one_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAP_UNITS", 2 * len('{"1":2}'))
    assert exit_codes_of({-2_000_000_000: 3, 2: 2, 1: 1}) == {"1": 1, "2": 2, OTHER: 3}


def test_what_other_counts_already_stays_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a shard's map was bounded before it is merged; a pool may also be called so."""
    monkeypatch.setattr(limits, "MAP_KEYS", 2)
    pools = ["other", "other", "a", "b", "b", "c", "c", "c"]
    some = [an_execution(number, pool_id=pool, succeeded=pool != "a") for number, pool in enumerate(pools)]
    found = json.loads(str(job_row(JOB, sums_of(some), 1)["pools"]))
    assert found == {
        "b": {"completions": 2, "failed": 0, "durationSeconds": 20.0},
        "c": {"completions": 3, "failed": 0, "durationSeconds": 30.0},
        OTHER: {"completions": 3, "failed": 1, "durationSeconds": 30.0},
    }


# --- a row, column by column -----------------------------------------------------------------------------------------

AN_EMPTY_TIME = {"firstStartTime", "spanSeconds", "meanConcurrency"}
DURATIONS = {"minDurationSeconds", "maxDurationSeconds", "meanDurationSeconds", "longestTaskId"}
PERCENTILES = {"p50DurationSeconds", "p90DurationSeconds", "p95DurationSeconds", "p99DurationSeconds"}


def test_a_job_row_of_one_execution() -> None:
    execution = an_execution(
        0,
        end=NOON + 90 * SECOND,
        exit_code=3,
        succeeded=False,
        required_slots=2,
        number_of_instances=3,
        retry_count=4,
        requeue_count=5,
        max_task_retry_count=4,
    )
    sums = sums_of([execution])
    sums.add_tasks(execution)
    assert job_row(JOB, sums, 7) == {
        "PartitionKey": "myaccount",
        "RowKey": "job-1",
        "account": "myaccount",
        "jobId": "Job-1",
        "taskCount": 1,
        "succeededTasks": 0,
        "failedTasks": 1,
        "completionCount": 1,
        "retryCount": 4,
        "requeueCount": 5,
        "retriesExhausted": 1,
        "durationCount": 1,
        "durationSeconds": 90.0,
        "minDurationSeconds": 90.0,
        "maxDurationSeconds": 90.0,
        "meanDurationSeconds": 90.0,
        **dict.fromkeys(PERCENTILES, 90.0),
        "slotSeconds": 540.0,
        "firstStartTime": to_datetime(NOON),
        "lastEndTime": to_datetime(NOON + 90 * SECOND),
        "spanSeconds": 90.0,
        "meanConcurrency": 1.0,
        "longestTaskId": "Task-1",
        "exitCodes": '{"3":1}',
        "failures": '{"FailureExitCode":1}',
        "pools": '{"pool":{"completions":1,"failed":1,"durationSeconds":90.0}}',
        "shardCount": 7,
        "bucketCount": 1,
        "contractVersion": 1,
        "durationHistogram": '{"128":1}',
        "completionsOverTime": '{"start":"2026-11-22T12:01:00Z","widthSeconds":60,"counts":[1]}',
    }


def test_minutes_in_which_nothing_ended_count_nothing() -> None:
    row = job_row(JOB, sums_of([an_execution(0), an_execution(180), an_execution(180, start=None)]), 1)
    assert row["completionsOverTime"] == '{"start":"2026-11-22T12:00:00Z","widthSeconds":60,"counts":[1,0,0,2]}'


def test_names_are_written_as_they_are_not_escaped() -> None:
    """An escape would take six units of a column's bounded size."""
    some = [an_execution(0, pool_id='é🎉"', failure_code="Ü", succeeded=False)]
    row = job_row(JOB, sums_of(some), 1)
    assert row["failures"] == '{"Ü":1}'
    assert row["pools"] == '{"é🎉\\"":{"completions":1,"failed":1,"durationSeconds":10.0}}'


def test_what_is_unknown_of_a_job_is_absent() -> None:
    never_ran = job_row(JOB, sums_of([an_execution(0, start=None)]), 1)
    assert never_ran.keys() & (AN_EMPTY_TIME | DURATIONS | PERCENTILES) == set()
    backwards = job_row(JOB, sums_of([an_execution(0, end=NOON - 1)]), 1)
    assert backwards.keys() & (AN_EMPTY_TIME | DURATIONS | PERCENTILES) == {"firstStartTime"}
    at_once = job_row(JOB, sums_of([an_execution(0, end=NOON)]), 1)
    assert at_once.keys() & (AN_EMPTY_TIME | DURATIONS | PERCENTILES) == {
        *("firstStartTime", "spanSeconds"),
        *DURATIONS,
        *PERCENTILES,
    }
    assert (at_once["spanSeconds"], at_once["maxDurationSeconds"], at_once["p99DurationSeconds"]) == (0, 0, 0)


def test_a_percentile_is_between_the_shortest_and_the_longest() -> None:
    """However far off its bucket's middle is."""
    for micros in (1, 7, 999_983, 10**9 + 7):
        row = job_row(JOB, sums_of([an_execution(0, end=NOON + micros)]), 1)
        assert {row[name] for name in PERCENTILES} == {micros / SECOND}


def test_the_earlier_executions_of_a_task_are_listed_with_what_is_known_of_them() -> None:
    task = Task(
        an_execution(9),
        (
            Earlier(Identity(NOON + 1, NOON), None, succeeded=False),
            Earlier(Identity(NOON, NO_START), -1, succeeded=True),
        ),
    )
    assert json.loads(str(task_row(task)["executions"])) == [
        {
            "startTime": "2026-11-22T12:00:00.000000Z",
            "endTime": "2026-11-22T12:00:00.000001Z",
            "exitCode": None,
            "succeeded": False,
        },
        {"endTime": "2026-11-22T12:00:00.000000Z", "exitCode": -1, "succeeded": True},
    ]
    assert "olderExecutions" not in task_row(task)
    assert "executions" not in task_row(Task(AN_EXECUTION))


def test_a_tasks_total_duration_leaves_out_what_is_unknown() -> None:
    """No start, or an end before it."""
    earlier = [(NOON + 5 * SECOND, NOON), (NOON, NOON), (NOON, NOON + SECOND), (NOON, NO_START)]
    task = Task(an_execution(9), tuple(Earlier(Identity(*times), 0, succeeded=True) for times in earlier))
    assert task_row(task)["totalDurationSeconds"] == 15.0
    assert task_row(task)["completionCount"] == 5


def test_older_executions_are_pairs_of_end_and_start() -> None:
    task = Task(an_execution(9), older=(Identity(1, -2), Identity(0, NO_START)))
    binary = b"".join(number.to_bytes(8, "big", signed=True) for number in (1, -2, 0, NO_START))
    assert task_row(task)["olderExecutions"] == binary


# --- plans -----------------------------------------------------------------------------------------------------------


@given(st.lists(executions(), min_size=1, max_size=20))
def test_executions_are_grouped_by_job_and_task_without_case(some: list[Execution]) -> None:
    jobs = by_job(some)
    assert sum(len(task.executions) for job in jobs for task in job.tasks) == len(some)
    assert len({job.job for job in jobs}) == len(jobs) == len({job_key(e.account, e.job_id) for e in some})
    for job in jobs:
        assert [task.row_key for task in job.tasks] == sorted({task.row_key for task in job.tasks})
        assert all(job_of(execution) == job.job for task in job.tasks for execution in task.executions)


def test_nothing_new_is_no_transaction() -> None:
    assert plan(JOB, "0", None, [], {}).operations == []


# --- rows edited by hand ---------------------------------------------------------------------------------------------

A_TASK_ROW = task_row(task_of([an_execution(number) for number in range(110)]))
A_SHARD_ROW = shard_row(JOB, "0", sums_of([an_execution(number, succeeded=number > 2) for number in range(9)]))

EDITS: list[tuple[str, Any]] = [
    ("completionCount", 7),
    ("completionCount", True),
    ("account", "another"),
    ("jobId", 7),
    ("endTime", "yesterday"),
    ("firstStartTime", "yesterday"),
    ("taskCount", "many"),
    ("taskId", "another"),
    ("requiredSlots", "x" * 9),
    ("succeeded", 1),
    ("exitCode", "0"),
    ("executions", "["),
    ("executions", "7"),
    ("executions", '["other text"]'),
    ("executions", "[" * 30_000),
    ("executions", '[{"endTime": "x", "exitCode": 0, "succeeded": true}]'),
    ("olderExecutions", b"odd"),
    ("olderExecutions", "text"),
    ("durationMicroseconds", "9" * 400),
    ("durationMicroseconds", "x"),
    ("slotMicroseconds", "-1"),
    ("durationCount", 10**9),
    ("maxDurationMicroseconds", "x"),
    *((name, "{}") for name in ("exitCodes", "pools", "durationSketch", "durationHistogram", "completionsOverTime")),
    *((name, "[" * 30_000) for name in ("exitCodes", "failures", "pools", "durationSketch", "completionsOverTime")),
    *((name, '{"1": "x"}') for name in ("exitCodes", "failures", "pools", "durationSketch", "durationHistogram")),
    *((name, '{"1": 9.5}') for name in ("exitCodes", "failures", "durationSketch", "durationHistogram")),
    ("durationSketch", '{"99999999": 9}'),
    ("durationHistogram", '{"3": 9}'),
    ("pools", '{"": {"completions": 9, "failed": 0, "durationMicroseconds": "9"}}'),
    ("completionsOverTime", '{"start": "2026-11-22T12:00:00Z", "widthSeconds": 0, "counts": [9]}'),
    ("completionsOverTime", '{"start": "2026-11-22T12:00:00Z", "widthSeconds": 61, "counts": [9]}'),
    ("completionsOverTime", '{"start": "2026-11-22T12:00:00Z", "widthSeconds": 60, "counts": [0]}'),
    ("completionsOverTime", '{"start": "2026-11-22T12:00:00", "widthSeconds": 60, "counts": [9]}'),
]


def edits(row: Row) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in EDITS if name in row]


@pytest.mark.parametrize(("name", "value"), edits(A_TASK_ROW), ids=lambda part: repr(part)[:30])
def test_an_edited_task_row_is_unreadable(name: str, value: Any) -> None:
    with pytest.raises(UnreadableRow, match=r"'myaccount\|job-1' / 'task-1' is not as written"):
        read_task({**A_TASK_ROW, name: value})


@pytest.mark.parametrize(
    ("name", "value"), [edit for edit in edits(A_SHARD_ROW) if edit[0] != "account"], ids=lambda part: repr(part)[:30]
)
def test_an_edited_shard_row_is_unreadable(name: str, value: Any) -> None:
    with pytest.raises(UnreadableRow, match="is not as written"):
        read_shard({**A_SHARD_ROW, name: value})


NO_COUNT = "its maps hold what is no count"
NO_SUM = "its maps do not add up to its {}"
OTHER_BUCKETS = "its completionsOverTime has other buckets than 60 s doubled k times"
TOO_LONG = "its durations cannot be this long"


def listed(exit_code: object, succeeded: object) -> str:
    return json.dumps([{"endTime": "2026-11-22T12:00:00Z", "exitCode": exit_code, "succeeded": succeeded}])


def over_time(width: int, buckets: int = 1) -> str:
    counts = [9, *[0] * (buckets - 1)]
    return json.dumps({"start": "2026-11-22T12:00:00Z", "widthSeconds": width, "counts": counts})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"completionCount": 7}, "ValueError: completionCount is 7, but it lists 110"),
        ({"completionCount": True}, "TypeError: completionCount is no Edm.Int32"),
        ({"exitCode": "0"}, "TypeError: exitCode is no Edm.Int32"),
        ({"endTime": "noon"}, "TypeError: endTime is no Edm.DateTime"),
        ({"account": "another"}, "ValueError: its ids are not those of its keys"),
        ({"taskId": "another"}, "ValueError: its ids are not those of its keys"),
        *(
            (
                {"executions": listed(*outcome)},
                "ValueError: an exit code or outcome in its executions is none",
            )
            for outcome in (("0", True), (True, True), (0.0, False), (0, 1), (None, None), ("0", 1))
        ),
    ],
)
def test_an_unreadable_task_row_says_what_is_wrong(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(UnreadableRow) as raised:
        read_task({**A_TASK_ROW, **changes})
    assert str(raised.value) == f"stored row 'myaccount|job-1' / 'task-1' is not as written: {why}"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"failures": '{"1": "x"}'}, NO_COUNT),
        ({"failures": '{"1": -1}'}, NO_COUNT),
        ({"failures": '{"1": true}'}, NO_COUNT),
        ({"exitCodes": '{"1": 10, "2": -1}'}, NO_COUNT),
        ({"durationSketch": '{"1": 10, "2": -1}'}, NO_COUNT),
        ({"durationHistogram": '{"16": 10, "8": -1}'}, NO_COUNT),
        ({"pools": '{"": {"completions": 9, "failed": -1, "durationMicroseconds": 9}}'}, NO_COUNT),
        ({"exitCodes": '{"1": 8}'}, NO_SUM.format("completionCount")),
        ({"pools": "{}"}, NO_SUM.format("completionCount")),
        ({"completionsOverTime": over_time(60).replace("9", "8")}, NO_SUM.format("completionCount")),
        ({"completionCount": Int64(10)}, NO_SUM.format("completionCount")),
        ({"durationCount": Int64(8)}, NO_SUM.format("durationCount")),
        ({"durationSketch": '{"1": 8}'}, NO_SUM.format("durationCount")),
        ({"durationHistogram": '{"16": 8}'}, NO_SUM.format("durationCount")),
        ({"minDurationMicroseconds": None}, "it has a shortest and a longest duration, or none at all"),
        ({"longestTaskId": None}, "it has a shortest and a longest duration, or none at all"),
        ({"durationSketch": '{"99999999": 9}'}, "its durationSketch has buckets that no duration falls into"),
        ({"durationSketch": '{"-2": 9}'}, "its durationSketch has buckets that no duration falls into"),
        ({"durationMicroseconds": "-1", "slotMicroseconds": "0"}, TOO_LONG),
        ({"durationMicroseconds": str(9 * (LATEST - EARLIEST) + 1)}, TOO_LONG),
        ({"slotMicroseconds": "-1"}, TOO_LONG),
        ({"slotMicroseconds": str(90 * SECOND * 2**62 + 1)}, TOO_LONG),
        ({"completionsOverTime": over_time(0)}, OTHER_BUCKETS),
        ({"completionsOverTime": over_time(61)}, OTHER_BUCKETS),
        ({"completionsOverTime": over_time(30)}, OTHER_BUCKETS),
        ({"completionsOverTime": over_time(60 << 64)}, OTHER_BUCKETS),
        ({"completionsOverTime": over_time(60, 241)}, OTHER_BUCKETS),
    ],
)
def test_an_unreadable_shard_row_says_what_is_wrong(changes: dict[str, Any], why: str) -> None:
    row = {name: value for name, value in {**A_SHARD_ROW, **changes}.items() if value is not None}
    with pytest.raises(UnreadableRow) as raised:
        read_shard(row)
    assert str(raised.value) == f"stored row 'myaccount|job-1' / '~job~0' is not as written: ValueError: {why}"


def test_a_shard_row_without_a_count_is_unreadable() -> None:
    """All its maps add up, to nothing."""
    empty: Row = {
        "completionCount": Int64(0),
        "durationCount": Int64(0),
        "exitCodes": "{}",
        "failures": "{}",
        "pools": "{}",
        "durationSketch": "{}",
        "durationHistogram": "{}",
        "completionsOverTime": '{"start": "2026-11-22T12:00:00Z", "widthSeconds": 60, "counts": []}',
    }
    with pytest.raises(UnreadableRow, match=NO_SUM.format("completionCount")):
        read_shard({**A_SHARD_ROW, **empty})


@pytest.mark.parametrize(
    "changes",
    [
        {"durationMicroseconds": str(9 * (LATEST - EARLIEST))},
        {"durationMicroseconds": "0", "slotMicroseconds": "0"},
        {"slotMicroseconds": str(90 * SECOND * 2**62)},
        {"durationSketch": '{"-1": 9}'},
        {"durationSketch": f'{{"{sketch_bucket(LATEST - EARLIEST)}": 9}}'},
        {"failures": '{"a": 0}'},
        {"completionsOverTime": over_time(60 << 63)},
        {"completionsOverTime": over_time(60, 240)},
    ],
)
def test_a_shard_row_may_hold_what_executions_could_add_up_to(changes: dict[str, Any]) -> None:
    assert read_shard({**A_SHARD_ROW, **changes}).completions == 9


@pytest.mark.parametrize("missing", ["account", "endTime", "requiredSlots", "completionCount"])
def test_a_task_row_without_a_column_is_unreadable(missing: str) -> None:
    with pytest.raises(UnreadableRow):
        read_task({name: value for name, value in A_TASK_ROW.items() if name != missing})


def test_columns_of_others_are_left_out_of_it() -> None:
    assert read_task({**A_TASK_ROW, "note": "ours", "durationSeconds": "x"}) == read_task(A_TASK_ROW)
    assert read_task(task_row(Task(AN_EXECUTION))) == Task(AN_EXECUTION)
