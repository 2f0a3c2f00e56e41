"""The tests' own storage: it conflicts like the service, and fails where the service would refuse."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from processors import limits
from processors.columns import JOBS, TASKS, Int64, Row
from processors.errors import Conflict, StorageUnavailable
from processors.metrics import Sums
from processors.plan import Insert, Replace
from processors.rollups import JobKey, Task, job_row, task_row
from tests.core.examples import AN_EXECUTION, an_execution
from tests.memory_storage import Call, MemoryTables, Moment, check_row, check_transaction


def row(task_id: str = "t", **columns: Any) -> Row:
    return {**task_row(Task(an_execution(task_id=task_id))), **columns}


def committed(tables: MemoryTables, *operations: Insert | Replace) -> list[str]:
    return asyncio.run(tables.commit(TASKS, operations))


def conflict(tables: MemoryTables, *operations: Insert | Replace) -> int:
    before = tables.rows(TASKS)
    with pytest.raises(Conflict) as raised:
        committed(tables, *operations)
    assert tables.rows(TASKS) == before
    return raised.value.index


def test_a_transaction_happens_as_a_whole_or_not_at_all_and_names_the_first_conflict() -> None:
    tables = MemoryTables()
    (etag,) = committed(tables, Insert(row("b")))
    assert conflict(tables, Insert(row("a")), Insert(row("b")), Insert(row("c"))) == 1
    assert conflict(tables, Insert(row("a")), Replace(row("x"), etag)) == 1
    (newer,) = committed(tables, Replace(row("b"), etag))
    assert newer != etag
    assert conflict(tables, Replace(row("b"), etag)) == 0


def test_rows_are_read_in_their_order_within_a_partition() -> None:
    tables = MemoryTables()
    committed(tables, *(Insert(row(name)) for name in "dbca"))
    found = asyncio.run(tables.query(TASKS, "myaccount|job-1", "b", "d"))
    assert [stored.row["RowKey"] for stored in found] == ["b", "c"]
    assert asyncio.run(tables.query(TASKS, "myaccount|job", "a", "z")) == []
    assert len(asyncio.run(tables.query(TASKS, "myaccount|job-1", "a", "z", limit=3))) == 3
    assert asyncio.run(tables.get(TASKS, "myaccount|job-1", "x")) is None


def test_what_a_hook_raises_after_a_commit_loses_the_answer_only() -> None:
    async def hook(call: Call) -> None:
        if call.moment is Moment.AFTER:
            raise StorageUnavailable("lost", transient=False)

    tables = MemoryTables(hook)
    with pytest.raises(StorageUnavailable):
        committed(tables, Insert(row()))
    assert len(tables.rows(TASKS)) == 1


def numbered(count: int, **columns: Any) -> list[Insert | Replace]:
    return [Insert(row(f"t{number}", **columns)) for number in range(count)]


def test_a_transaction_keeps_the_services_limits() -> None:
    check_transaction(TASKS, numbered(limits.OPERATIONS_A_TRANSACTION))
    with pytest.raises(AssertionError, match="101 operations"):
        check_transaction(TASKS, numbered(limits.OPERATIONS_A_TRANSACTION + 1))
    with pytest.raises(AssertionError, match="two changes"):
        check_transaction(TASKS, [*numbered(1), *numbered(1)])
    with pytest.raises(AssertionError, match="several partitions"):
        check_transaction(TASKS, [*numbered(1), Insert(row("x", PartitionKey="other|job"))])
    with pytest.raises(AssertionError, match="no ETag"):
        check_transaction(TASKS, [Replace(row(), "")])
    with pytest.raises(AssertionError, match="a transaction of"):
        check_transaction(TASKS, numbered(24, failureMessage="é" * limits.STRING_UNITS))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("RowKey", "a/b"),
        ("RowKey", "a%b"),
        ("RowKey", "a\x7f"),
        ("RowKey", "x" * (limits.KEY_UNITS + 1)),
        ("unknown", "x"),
        ("exitCode", "0"),
        ("exitCode", True),
        ("exitCode", Int64(0)),
        ("exitCode", 2**31),
        ("systemTaskVersion", 0),
        ("systemTaskVersion", Int64(2**63)),
        ("durationSeconds", 1),
        ("durationSeconds", float("nan")),
        ("endTime", datetime(1600, 12, 31, tzinfo=UTC)),
        ("endTime", datetime(2026, 1, 1)),  # noqa: DTZ001 - without a zone is the point
        ("poolId", "x" * (limits.STRING_UNITS + 1)),
        ("poolId", "🎉" * (limits.STRING_UNITS // 2 + 1)),
        ("olderExecutions", b"x" * (limits.PROPERTY_BYTES + 1)),
    ],
)
def test_a_row_that_the_service_would_refuse_fails(column: str, value: Any) -> None:
    with pytest.raises(AssertionError):
        check_row(TASKS, row(**{column: value}))


def test_a_row_that_the_service_takes_passes() -> None:
    check_row(TASKS, row(RowKey="x" * limits.KEY_UNITS, poolId="x" * limits.STRING_UNITS))
    sums = Sums()
    sums.add(AN_EXECUTION)
    check_row(JOBS, job_row(JobKey("a", "j"), sums, 1))
