"""Every order, repetition and grouping of the same executions writes the same rows, and they are the model's."""

from hypothesis import given
from hypothesis import strategies as st

from processors.columns import TASKS
from processors.events import Execution
from processors.metrics import Sums
from tests.core.examples import (
    batch,
    differences,
    job_rows,
    letters,
    merged_shards,
    message,
    record,
    run,
    task_rows,
    write_all,
)
from tests.core.strategies import deliveries, distinct, many_executions
from tests.memory_storage import MemoryStorage, MemoryTables


@given(st.data(), distinct())
def test_any_delivery_writes_the_rows_of_the_model(data: st.DataObject, executions: list[Execution]) -> None:
    tables = MemoryTables()
    write_all(tables, data.draw(deliveries(executions)))
    assert differences(tables, executions) == []


@given(st.data(), distinct())
def test_any_two_deliveries_write_identical_rows(data: st.DataObject, executions: list[Execution]) -> None:
    one, other = MemoryTables(), MemoryTables()
    write_all(one, data.draw(deliveries(executions)))
    write_all(other, data.draw(deliveries(executions)))
    assert task_rows(one) == task_rows(other)
    assert job_rows(one) == job_rows(other)
    assert merged_shards(one) == merged_shards(other)


@given(st.data(), distinct())
def test_merged_shards_are_the_sums_of_the_executions(data: st.DataObject, executions: list[Execution]) -> None:
    tables = MemoryTables()
    write_all(tables, data.draw(deliveries(executions)))
    added: dict[str, Sums] = {}
    for execution in executions:
        added.setdefault(_partition(tables, execution), Sums()).add(execution)
    for partition, sums in merged_shards(tables).items():
        rows = [row for key, row in task_rows(tables).items() if key[0] == partition]
        expected = added[partition]
        expected.tasks = len(rows)
        expected.succeeded_tasks = sum(row["succeeded"] is True for row in rows)
        expected.failed_tasks = sum(row["succeeded"] is False for row in rows)
        assert sums == expected


def _partition(tables: MemoryTables, execution: Execution) -> str:
    """The partition of the execution's job, found by its ids."""
    ids = execution.account.lower(), execution.job_id.lower()
    return next(
        key[0]
        for key, row in task_rows(tables).items()
        if (str(row["account"]).lower(), str(row["jobId"]).lower()) == ids
    )


@given(st.data(), distinct(8))
def test_delivering_all_again_changes_nothing(data: st.DataObject, executions: list[Execution]) -> None:
    tables = MemoryTables()
    write_all(tables, data.draw(deliveries(executions)))
    tasks, jobs = tables.rows(TASKS), job_rows(tables)
    write_all(tables, data.draw(deliveries(executions)))
    assert tables.rows(TASKS) == tasks
    assert job_rows(tables) == jobs


@given(st.data(), distinct(12))
def test_messages_of_any_size_in_any_batches_write_the_rows_of_the_model(
    data: st.DataObject, executions: list[Execution]
) -> None:
    storage = MemoryStorage()
    for partition, delivered in data.draw(deliveries(executions)):
        size = data.draw(st.integers(1, len(delivered)))
        bodies = [message(*map(record, delivered[start : start + size])) for start in range(0, len(delivered), size)]
        (summary,) = run(storage, batch(*bodies, partition=partition))
        assert summary.executions == len(delivered) == summary.counted + summary.duplicates
    assert differences(storage.tables, executions) == []
    assert letters(storage) == {}


def test_over_a_hundred_executions_of_a_task_are_listed_up_to_the_bound() -> None:
    executions = many_executions(130)
    one, other = MemoryTables(), MemoryTables()
    write_all(one, [("0", executions)])
    write_all(other, [(str(n % 3), [execution]) for n, execution in enumerate(reversed(executions))])
    assert task_rows(one) == task_rows(other)
    assert job_rows(one) == job_rows(other)
    assert differences(one, executions) == []


def test_a_task_with_all_the_executions_it_can_hold_drops_every_duplicate_in_any_order() -> None:
    executions = many_executions(4_000)
    one, other = MemoryTables(), MemoryTables()
    write_all(one, [("0", executions)])
    write_all(other, [("1", executions[start : start + 700]) for start in range(3_500, -1, -700)])
    write_all(other, [("0", executions)])
    assert task_rows(one) == task_rows(other)
    assert job_rows(one) == job_rows(other)
    assert differences(one, executions) == []
