"""A job spread over several partitions of TaskRollups: every task in its one bucket, whoever founds the job."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import limits
from processors.columns import JOBS, TASKS
from processors.errors import StorageUnavailable
from processors.events import Execution
from processors.plan import by_bucket, by_job
from processors.recent import Recent
from processors.rollups import LAYOUT_KEY, JobKey, bucket_of, read_layout
from processors.write import write_job
from tests.core.examples import (
    AN_EXECUTION,
    an_execution,
    differences,
    job_rows,
    task_rows,
    write,
    write_all,
)
from tests.core.interleaving import Turns
from tests.core.strategies import deliveries, distinct
from tests.memory_storage import Call, MemoryTables, Moment

JOB = JobKey("myaccount", "job-1")
buckets = st.sampled_from((1, 2, 3, limits.BUCKETS_A_JOB))
seeds = st.integers(0, 2**32)


def tasks(count: int) -> list[Execution]:
    return [an_execution(number, task_id=f"t{number}", succeeded=number % 2 == 0) for number in range(count)]


def check_places(tables: MemoryTables) -> None:
    """Every task is in the bucket that its job's layout gives it."""
    rows = tables.rows(TASKS)
    for partition_key, row_key in task_rows(tables):
        account, job, *bucket = partition_key.split("|")
        layout = read_layout(rows[f"{account}|{job}", LAYOUT_KEY])
        assert bucket_of(row_key, layout) == int("".join(bucket) or 0)


def layout_of(tables: MemoryTables) -> int:
    return read_layout(tables.rows(TASKS)[JOB.partition(), LAYOUT_KEY])


# --- where a task lives ----------------------------------------------------------------------------------------------


def test_a_bucket_is_the_same_for_good() -> None:
    """Another function would look for the tasks of every stored job elsewhere, and count them once more."""
    assert [bucket_of(row_key, 8) for row_key in ("task-1", "task-2", "a=2Fb", "=7Ejob=7E0")] == [7, 5, 5, 0]
    assert {bucket_of(f"t{number}", 1) for number in range(99)} == {0}


def test_tasks_are_spread_evenly() -> None:
    found = Counter(bucket_of(f"sample_{number:05}_L001", 8) for number in range(8_000))
    assert all(800 < count < 1_200 for count in found.values())
    assert len(found) == 8


def test_a_jobs_tasks_by_bucket_keep_their_order() -> None:
    (job,) = by_job(tasks(50))
    parts = by_bucket(job.tasks, 4)
    assert sorted(task.row_key for part in parts.values() for task in part) == [task.row_key for task in job.tasks]
    assert all(part == sorted(part, key=lambda task: task.row_key) for part in parts.values())


def test_partitions_of_two_jobs_are_never_the_same() -> None:
    assert JobKey("a", "j").partition(1) == "a|j|1"
    assert JobKey("a", "j").partition(0) == JobKey("a", "j").partition() == "a|j"


# --- the same rows ---------------------------------------------------------------------------------------------------


@given(st.data(), distinct(), buckets)
def test_any_order_and_batching_over_buckets_writes_the_rows_of_the_model(
    data: st.DataObject, executions: list[Execution], count: int
) -> None:
    tables = MemoryTables()
    write_all(tables, data.draw(deliveries(executions)), count)
    assert differences(tables, executions) == []
    check_places(tables)


@given(st.data(), distinct(8), seeds, buckets, buckets)
def test_two_writers_of_different_settings_agree(
    data: st.DataObject, executions: list[Execution], seed: int, one: int, other: int
) -> None:
    """As while a setting is being changed: whoever writes the layout first decides, and the other follows."""
    tables, turns = MemoryTables(), Turns(seed)
    mine, others = data.draw(deliveries(executions)), data.draw(deliveries(executions))

    async def writer(delivered: list[tuple[str, list[Execution]]], count: int) -> None:
        for shard, some in delivered:
            await write(tables.through(turns.hook), some, shard, count)

    asyncio.run(turns.run(writer(mine, one), writer(others, other)))  # type: ignore[arg-type]
    assert differences(tables, executions) == []
    check_places(tables)


def test_buckets_change_nothing_of_a_job_but_how_it_is_kept() -> None:
    plain, spread = MemoryTables(), MemoryTables()
    write_all(plain, [("0", tasks(300))])
    write_all(spread, [("0", tasks(300))], 4)
    assert job_rows(spread) == job_rows(plain)
    (row,) = spread.rows(JOBS).values()
    assert (row["bucketCount"], row["shardCount"]) == (4, 1)
    assert len({key[0] for key in task_rows(spread)}) == 4


# --- who decides -----------------------------------------------------------------------------------------------------


def test_a_job_keeps_the_buckets_it_began_with() -> None:
    tables = MemoryTables()
    write_all(tables, [("0", tasks(20))], 3)
    write_all(tables, [("1", tasks(40))], 1)
    write_all(tables, [("2", tasks(60))], 8)
    assert layout_of(tables) == 3
    assert differences(tables, tasks(60)) == []
    check_places(tables)


@pytest.mark.parametrize("setting", [1, 4])
def test_a_job_of_before_layouts_has_one_bucket(setting: int) -> None:
    """Its shards say so: a layout of several would have its tasks looked for elsewhere."""
    tables = MemoryTables()
    write_all(tables, [("0", tasks(20))])
    del tables.stored[TASKS][JOB.partition()][LAYOUT_KEY]
    write_all(tables, [("1", tasks(40))], setting)
    assert layout_of(tables) == 1
    assert differences(tables, tasks(40)) == []


@pytest.mark.parametrize("setting", [1, 4])
def test_a_spoiled_layout_gives_letters_for_its_job_alone(setting: int) -> None:
    tables = MemoryTables()
    write_all(tables, [("0", tasks(3))])
    tables.put(TASKS, {"PartitionKey": JOB.partition(), "RowKey": LAYOUT_KEY, "bucketCount": 1_000})
    other = AN_EXECUTION._replace(job_id="other")
    first, second = asyncio.run(write(tables, [an_execution(9, task_id="new"), other], "1", setting))
    assert [rejected.execution.task_id for rejected in first.rejected] == ["new"]
    assert "bucketCount is 1000, and may be 1 to 32" in first.rejected[0].reason
    assert (second.counted, second.rejected) == (1, [])


def test_a_job_that_is_purged_while_it_is_written_is_founded_anew() -> None:
    for setting in (1, 3):
        tables, recent, purges = MemoryTables(), Recent(setting), 0

        async def purge(call: Call, tables: MemoryTables = tables) -> None:
            nonlocal purges
            if purges < 1 and (call.method, call.moment, call.table) == ("commit", Moment.BEFORE, TASKS):
                purges += 1
                tables.stored[TASKS].clear()
                tables.stored[JOBS].clear()

        async def before_and_after(tables: MemoryTables = tables, recent: Recent = recent) -> None:
            (first,), (second,) = by_job(tasks(10)), by_job([an_execution(99, task_id="later")])
            await write_job(tables, recent, first, "0")
            await write_job(tables.through(purge), recent, second, "0")

        asyncio.run(before_and_after())
        assert purges == 1
        assert differences(tables, [an_execution(99, task_id="later")]) == []
        check_places(tables)
        purges = 0


def test_a_late_task_of_a_purged_job_is_counted_where_it_is_found() -> None:
    """In a bucket that this process has not written yet, nothing conflicts with what it remembers of the job."""
    some = tasks(40)
    tables, recent = MemoryTables(), Recent(4)
    early = [execution for execution in some if bucket_of(execution.task_id, 4) < 2]
    late = [execution for execution in some if bucket_of(execution.task_id, 4) == 2]

    async def before_and_after() -> None:
        (first,), (second,) = by_job(early), by_job(late)
        await write_job(tables, recent, first, "0")
        layout = tables.rows(TASKS)[JOB.partition(), LAYOUT_KEY]
        for table in (TASKS, JOBS):
            tables.stored[table].clear()
        tables.put(TASKS, layout)  # as a purge leaves it
        await write_job(tables, recent, second, "0")

    asyncio.run(before_and_after())
    assert differences(tables, late) == []
    check_places(tables)


# --- versions of the contract ----------------------------------------------------------------------------------------


def test_sums_of_a_newer_contract_are_left_alone_and_hold_the_partition() -> None:
    """What is new in them would be lost if they were replaced; as dead letters, a day's events would be."""
    tables = MemoryTables()
    write_all(tables, [("0", tasks(3))])
    (key,) = [key for key in tables.rows(TASKS) if key[1] == "~job~0"]
    newer = {**tables.rows(TASKS)[key], "contractVersion": 2, "newColumn": 7}
    tables.put(TASKS, newer)
    for shard in ("0", "1"):
        with pytest.raises(StorageUnavailable, match="contract version 2, this app knows 1: deploy the newer app"):
            asyncio.run(write(tables, tasks(5), shard))
    assert tables.rows(TASKS)[key] == newer


def test_sums_without_a_version_are_of_the_first() -> None:
    tables = MemoryTables()
    write_all(tables, [("0", tasks(3))])
    (key,) = [key for key in tables.rows(TASKS) if key[1] == "~job~0"]
    tables.put(TASKS, {name: value for name, value in tables.rows(TASKS)[key].items() if name != "contractVersion"})
    write_all(tables, [("0", tasks(5))])
    assert differences(tables, tasks(5)) == []
    assert tables.rows(TASKS)[key]["contractVersion"] == 1
