"""Rows: written and read back without loss, bounded, within the service's limits; and rows that someone edited."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import limits
from processors.columns import JOBS, TASKS, Row
from processors.errors import UnreadableRow
from processors.events import Execution, job_key
from processors.metrics import Sums, total
from processors.plan import add_executions, by_job, plan, row_bytes
from processors.rollups import (
    OTHER,
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
from tests.core.examples import AN_EXECUTION, an_execution
from tests.core.strategies import distinct, executions, many_executions
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


@pytest.mark.parametrize("missing", ["account", "endTime", "requiredSlots", "completionCount"])
def test_a_task_row_without_a_column_is_unreadable(missing: str) -> None:
    with pytest.raises(UnreadableRow):
        read_task({name: value for name, value in A_TASK_ROW.items() if name != missing})


def test_columns_of_others_are_left_out_of_it() -> None:
    assert read_task({**A_TASK_ROW, "note": "ours", "durationSeconds": "x"}) == read_task(A_TASK_ROW)
    assert read_task(task_row(Task(AN_EXECUTION))) == Task(AN_EXECUTION)
