"""The protocol that counts every execution once, with other writers in between, lost answers, and storage away."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import limits
from processors.columns import JOBS, TASKS
from processors.errors import Conflict, RowRefused, StorageUnavailable
from processors.events import Execution
from processors.ingest import ingest
from processors.plan import by_job
from processors.recent import Recent
from processors.rollups import JobKey, job_row, read_shard, shard_key
from processors.write import in_parallel, write_job
from tests.core.examples import (
    AN_EXECUTION,
    NOW,
    an_execution,
    batch,
    differences,
    job_rows,
    merged_shards,
    message,
    record,
    task_rows,
    told,
    write,
    write_all,
)
from tests.core.interleaving import Turns
from tests.core.strategies import Delivery, deliveries, distinct
from tests.memory_storage import Call, MemoryStorage, MemoryTables, Moment

seeds = st.integers(0, 2**32)
PARTITION, JOB = "myaccount|job-1", "job-1"


@dataclass
class Fault:
    """Raises `error` once, at the call of number `at` (its moments counted one by one) of those that `when` picks."""

    at: int
    error: Callable[[], Exception]
    when: Callable[[Call], bool] = lambda _: True
    seen: int = field(default=0, init=False)

    async def hook(self, call: Call) -> None:
        if self.when(call):
            self.seen += 1
            if self.seen == self.at + 1:
                raise self.error()

    @property
    def struck(self) -> bool:
        return self.seen > self.at


def away() -> StorageUnavailable:
    """What leaves the invocation at once."""
    return StorageUnavailable("away", transient=False)


def passing() -> StorageUnavailable:
    """What the next attempt gets past."""
    return StorageUnavailable("no answer")


def some_executions(count: int = 5) -> list[Execution]:
    return [an_execution(number, task_id=f"t{number}", succeeded=number % 2 == 0) for number in range(count)]


def is_commit(call: Call) -> bool:
    return call.method == "commit" and call.moment is Moment.BEFORE


# --- two writers -----------------------------------------------------------------------------------------------------


@given(st.data(), distinct(8), seeds, st.booleans())
def test_two_writers_interleaved_at_every_call_write_the_rows_of_the_model(
    data: st.DataObject, executions: list[Execution], seed: int, same_shard: bool
) -> None:
    """As after a rebalance: two instances process one partition, or two partitions share jobs."""
    tables = MemoryTables()
    turns = Turns(seed)
    mine, others = data.draw(deliveries(executions)), data.draw(deliveries(executions))

    async def writer(delivered: list[Delivery], shard: str) -> None:
        for _, some in delivered:
            await write(tables.through(turns.hook), some, shard)

    asyncio.run(turns.run(writer(mine, "0"), writer(others, "0" if same_shard else "1")))
    assert differences(tables, executions) == []


@given(distinct(8), seeds)
def test_invocations_with_parallel_jobs_interleaved_write_the_rows_of_the_model(
    executions: list[Execution], seed: int
) -> None:
    storage = MemoryStorage()
    turns = Turns(seed)
    half = len(executions) // 2

    async def invocation(some: list[Execution], partition: str) -> None:
        body = message(*map(record, some))
        await ingest(batch(body, partition=partition), storage.through(turns.hook), lambda: NOW)

    asyncio.run(turns.run(invocation(executions, "0"), invocation(executions[half:], "1"), invocation(executions, "0")))
    assert differences(storage.tables, executions) == []


@pytest.mark.parametrize("moment", list(Moment))
@pytest.mark.parametrize("method", ["commit", "get", "query"])
def test_what_another_owner_counted_but_did_not_publish_is_published(method: str, moment: Moment) -> None:
    """It died in between: whoever finds its executions counted has the checkpoint, and with it the duty."""
    executions = some_executions()
    tables, recent = MemoryTables(), Recent()
    intruded = False

    async def hook(call: Call) -> None:
        nonlocal intruded
        if not intruded and (call.method, call.moment, call.table) == (method, moment, TASKS):
            intruded = True
            with pytest.raises(StorageUnavailable):
                await write(tables.through(no_publishing), executions)

    async def no_publishing(call: Call) -> None:
        if call.table == JOBS:
            raise away()

    async def both_batches() -> None:
        (first,), (second,) = by_job(executions[:1]), by_job(executions)
        await write_job(tables, recent, first, "0")
        await write_job(tables.through(hook), recent, second, "0")

    asyncio.run(both_batches())
    assert intruded
    assert differences(tables, executions) == []


@pytest.mark.parametrize("shard", ["0", "1"])
@pytest.mark.parametrize("intruded", range(12))
def test_a_batch_written_by_another_between_two_calls_is_counted_once(intruded: int, shard: str) -> None:
    """Whatever the position, in the tasks or in the sums, the conflict ends in the model's rows."""
    executions = some_executions()
    tables, calls = MemoryTables(), 0
    write_all(tables, [("0", executions[:2])])

    async def hook(_: Call) -> None:
        nonlocal calls
        calls += 1
        if calls == intruded + 1:
            await write(tables, [*executions[1:], an_execution(99, task_id="t0")], shard)

    asyncio.run(write(tables.through(hook), executions))
    assert calls > intruded or intruded >= 10
    if calls <= intruded:
        write_all(tables, [(shard, [an_execution(99, task_id="t0")])])
    assert differences(tables, [*executions, an_execution(99, task_id="t0")]) == []


@pytest.mark.parametrize("position", range(6))
def test_a_duplicate_at_any_position_of_a_transaction_is_found_and_the_rest_counted(position: int) -> None:
    executions = some_executions(6)
    tables = MemoryTables()
    write_all(tables, [("1", [executions[position]])])
    (written,) = asyncio.run(write(tables, executions, "0"))
    assert (written.counted, written.duplicates, written.conflicts) == (5, 1, 1)
    assert differences(tables, executions) == []


def test_a_transaction_of_nothing_but_duplicates_takes_one_conflict() -> None:
    executions = some_executions(90)
    tables = MemoryTables()
    write_all(tables, [("1", executions)])
    (written,) = asyncio.run(write(tables, executions, "1"))
    assert (written.counted, written.duplicates, written.conflicts) == (0, 90, 1)
    assert differences(tables, executions) == []


def test_a_duplicate_within_a_batch_is_counted_once() -> None:
    tables = MemoryTables()
    (written,) = asyncio.run(write(tables, [AN_EXECUTION, AN_EXECUTION, AN_EXECUTION]))
    assert (written.counted, written.duplicates) == (1, 2)
    assert differences(tables, [AN_EXECUTION]) == []


def test_a_new_execution_of_a_stored_task_is_counted_while_another_adds_one_too() -> None:
    """Both change the same row: the ETag of a changed task row keeps both."""
    for seed in range(20):
        tables, turns = MemoryTables(), Turns(seed)
        write_all(tables, [("0", [an_execution(0)])])
        one, other = tables.through(turns.hook), tables.through(turns.hook)
        asyncio.run(turns.run(write(one, [an_execution(1)], "0"), write(other, [an_execution(2)], "1")))
        assert differences(tables, [an_execution(number) for number in range(3)]) == []


def test_new_tasks_of_two_writers_through_one_partition_are_both_in_its_sums() -> None:
    """They share no task row: the ETag of the sums keeps both."""
    for seed in range(20):
        tables, turns = MemoryTables(), Turns(seed)
        write_all(tables, [("0", [an_execution(0)])])
        one, other = tables.through(turns.hook), tables.through(turns.hook)
        new = [an_execution(number, task_id=f"t{number}") for number in (1, 2)]
        asyncio.run(turns.run(write(one, new[:1], "0"), write(other, new[1:], "0")))
        assert differences(tables, [an_execution(0), *new]) == []


def test_a_row_that_goes_away_between_reading_and_writing_is_written_anew() -> None:
    """As when an operator purges a job. What was counted before is gone with it."""
    tables = MemoryTables()
    write_all(tables, [("0", [an_execution(0)])])

    async def purge(call: Call) -> None:
        if is_commit(call) and call.table == TASKS:
            tables.stored[TASKS].clear()
            tables.stored[JOBS].clear()

    asyncio.run(write(tables.through(purge), [an_execution(1)]))
    assert differences(tables, [an_execution(1)]) == []


# --- storage away, answers lost --------------------------------------------------------------------------------------


def _calls(executions: list[Execution]) -> int:
    """How many moments of storage calls writing takes, one after another."""
    count = Fault(10**9, away)
    asyncio.run(write(MemoryTables(count.hook), executions))
    return count.seen


@pytest.mark.parametrize("error", [away, passing])
def test_an_error_before_or_after_any_call_loses_and_doubles_nothing(error: Callable[[], Exception]) -> None:
    """Before: nothing happened. After a commit: it is committed, and the answer is lost."""
    executions = [*some_executions(4), an_execution(50, task_id="t0")]
    for at in range(_calls(executions)):
        tables, fault = MemoryTables(), Fault(at, error)
        if error is away:
            with pytest.raises(StorageUnavailable):
                asyncio.run(write(tables.through(fault.hook), executions))
            write_all(tables, [("0", executions)])
        else:
            asyncio.run(write(tables.through(fault.hook), executions))
        assert fault.struck
        assert differences(tables, executions) == []


@given(distinct(8), st.lists(st.tuples(st.integers(0, 12), st.sampled_from((away, passing))), max_size=4), seeds)
def test_any_faults_with_redelivery_until_it_succeeds_write_the_rows_of_the_model(
    executions: list[Execution], faults: list[tuple[int, Callable[[], Exception]]], seed: int
) -> None:
    storage = MemoryStorage()
    turns = Turns(seed)

    async def invocations(partition: str, some: list[Execution]) -> None:
        while True:
            at, error = faults.pop() if faults else (10**9, away)
            fault = Fault(at, error)

            async def hook(call: Call, fault: Fault = fault) -> None:
                await turns.hook(call)
                await fault.hook(call)

            try:
                bodies = batch(message(*map(record, some)), partition=partition)
                await ingest(bodies, storage.through(hook), lambda: NOW)
            except StorageUnavailable:
                continue
            return

    asyncio.run(turns.run(invocations("0", executions), invocations("1", executions[::-1])))
    assert differences(storage.tables, executions) == []


def test_storage_that_stays_away_is_tried_a_bounded_number_of_times() -> None:
    async def hook(_: Call) -> None:
        raise passing()

    storage = MemoryStorage().through(hook)
    with pytest.raises(StorageUnavailable):
        asyncio.run(ingest(batch(message(record())), storage, lambda: NOW))
    assert storage.requests == limits.ATTEMPTS


def test_conflicts_without_end_become_storage_unavailable() -> None:
    """Another writer that always comes first: the invocation gives up, the trigger's retry goes on."""

    async def applying(call: Call) -> None:
        if is_commit(call) and call.table == TASKS:
            raise Conflict(0)

    async def publishing(call: Call) -> None:
        if is_commit(call) and call.table == JOBS:
            raise Conflict(0)

    for hook in (applying, publishing):
        with pytest.raises(StorageUnavailable, match="conflicts in a row"):
            asyncio.run(write(MemoryTables(hook), [AN_EXECUTION]))


# --- publishing ------------------------------------------------------------------------------------------------------


def test_a_crash_between_commit_and_publish_is_healed_by_the_redelivery() -> None:
    executions = some_executions()
    tables = MemoryTables()
    fault = Fault(0, away, when=lambda call: call.table == JOBS)
    with pytest.raises(StorageUnavailable):
        asyncio.run(write(tables.through(fault.hook), executions))
    assert len(task_rows(tables)) == 5
    assert job_rows(tables) == {}
    (written,) = asyncio.run(write(tables, executions))
    assert written.duplicates == 5
    assert differences(tables, executions) == []


@pytest.mark.parametrize("published_before", [False, True])
def test_a_slow_publisher_never_puts_older_sums_over_newer_ones(published_before: bool) -> None:
    """Another writer commits and publishes between any two of the publisher's calls; the row only ever grows."""
    before, first, second = [an_execution(number, task_id=f"t{number}") for number in range(3)]
    for at in range(20):
        tables, calls = MemoryTables(), 0
        published: list[int] = []
        write_all(tables, [("0", [before])] if published_before else [])

        async def hook(_: Call, at: int = at, tables: MemoryTables = tables, seen: list[int] = published) -> None:
            nonlocal calls
            calls += 1
            if calls == at + 1:
                await write(tables, [second], "1")
            seen.extend(int(str(row["completionCount"])) for row in job_rows(tables).values())

        asyncio.run(write(tables.through(hook), [first], "0"))
        if calls > at:
            assert published == sorted(published)
            assert differences(tables, [before] * published_before + [first, second]) == []


def test_the_published_row_is_the_merged_shards() -> None:
    executions = some_executions(9)
    tables = MemoryTables()
    write_all(tables, [(str(n % 3), [execution]) for n, execution in enumerate(executions)])
    (sums,) = merged_shards(tables).values()
    (row,) = tables.rows(JOBS).values()
    assert row == job_row(JobKey("myaccount", JOB), sums, 3)
    assert row["shardCount"] == 3


def test_a_published_row_that_someone_spoiled_is_written_anew() -> None:
    tables = MemoryTables()
    write_all(tables, [("0", [AN_EXECUTION])])
    tables.put(JOBS, {"PartitionKey": "myaccount", "RowKey": JOB, "taskCount": "many"})
    write_all(tables, [("0", [AN_EXECUTION])])
    assert differences(tables, [AN_EXECUTION]) == []


# --- rows that storage or we refuse ----------------------------------------------------------------------------------


def refusing(*row_keys: str) -> Callable[[MemoryTables], MemoryTables]:
    """Tables that refuse certain rows, as the service refuses what it finds invalid."""

    class Refusing(MemoryTables):
        async def commit(self, table: str, operations: object) -> list[str]:
            assert isinstance(operations, list)
            for index, operation in enumerate(operations):
                if table == TASKS and operation.row["RowKey"] in row_keys:
                    raise RowRefused(index, "PropertyValueTooLarge")
            return await super().commit(table, operations)

    return lambda tables: Refusing(stored=tables.stored)


def test_a_row_that_storage_refuses_is_rejected_and_the_others_counted() -> None:
    executions = some_executions()
    tables = MemoryTables()
    (written,) = asyncio.run(write(refusing("t1", "t3")(tables), executions))
    assert written.counted == 3
    assert [(rejected.execution.task_id, rejected.reason) for rejected in written.rejected] == [
        ("t1", "PropertyValueTooLarge"),
        ("t3", "PropertyValueTooLarge"),
    ]
    assert differences(tables, [executions[0], executions[2], executions[4]]) == []


def test_any_number_of_refused_rows_are_rejected() -> None:
    """They are no conflicts: a poisoned job must not hold its partition up."""
    executions = some_executions(300)
    tables = MemoryTables()
    names = [execution.task_id for execution in executions]
    (written,) = asyncio.run(write(refusing(*names)(tables), executions))
    assert len(written.rejected) == 300
    assert tables.rows(TASKS) == {}


@pytest.mark.parametrize("index", [None, 5, 7])
def test_where_the_sums_are_refused_or_nobody_knows_what_all_is_rejected(index: int | None) -> None:
    async def hook(call: Call) -> None:
        if is_commit(call):
            raise RowRefused(index, "RequestBodyTooLarge")

    (written,) = asyncio.run(write(MemoryTables(hook), some_executions(5)))
    assert [rejected.reason for rejected in written.rejected] == ["RequestBodyTooLarge"] * 5
    assert written.counted == 0


def test_a_refused_published_row_leaves_the_count_right_and_says_so() -> None:
    async def hook(call: Call) -> None:
        if is_commit(call) and call.table == JOBS:
            raise RowRefused(0, "PropertyValueTooLarge")

    tables = MemoryTables()
    (written,) = asyncio.run(write(tables.through(hook), some_executions(5)))
    assert written.unpublished == "PropertyValueTooLarge"
    assert written.counted == 5
    assert read_shard(tables.rows(TASKS)[PARTITION, shard_key("0")]).completions == 5


# --- size ------------------------------------------------------------------------------------------------------------


def test_one_job_of_twenty_thousand_tasks_in_one_batch() -> None:
    executions = some_executions(20_000)
    tables = MemoryTables()
    (written,) = asyncio.run(write(tables, executions))
    assert (written.counted, written.conflicts) == (20_000, 0)
    assert differences(tables, executions) == []


@pytest.mark.parametrize("new", [[], [0], [500]])
def test_a_redelivery_gets_to_its_end_however_many_transactions_it_met_before(
    monkeypatch: pytest.MonkeyPatch, new: list[int]
) -> None:
    monkeypatch.setattr(limits, "CONFLICTS_A_JOB", limits.RANGES_A_TRANSACTION + 2)
    monkeypatch.setattr(limits, "ROWS_A_READ", 10)
    executions = some_executions(1_000)
    tables = MemoryTables()
    asyncio.run(write(tables, [execution for number, execution in enumerate(executions) if number not in new]))
    (written,) = asyncio.run(write(tables, executions, "1"))
    assert (written.counted, written.duplicates) == (len(new), len(executions) - len(new))
    assert differences(tables, executions) == []


def test_rows_of_the_greatest_size_are_spread_over_transactions_that_fit() -> None:
    """The memory tables fail where a transaction breaks the service's limits."""
    wide = "é🎉" * 128
    executions = [
        an_execution(
            number,
            task_id=f"t{number // 101}",
            account="a",
            job_id="é" * 80,
            pool_id=wide[:256],
            node_id=wide[:256],
            failure_category="é" * limits.CODE_UNITS,
            failure_code="é" * (limits.CODE_UNITS - 3) + str(number % 200),
            failure_message="é" * limits.TEXT_UNITS,
            succeeded=False,
        )
        for number in range(101 * 60)
    ]
    tables = MemoryTables()
    (written,) = asyncio.run(write(tables, executions))
    assert (written.counted, written.rejected) == (len(executions), [])
    assert {int(str(row["completionCount"])) for row in task_rows(tables).values()} == {101}


# --- in parallel -----------------------------------------------------------------------------------------------------


def test_work_in_parallel_is_bounded_ordered_and_ended_before_its_failure_is_raised() -> None:
    running, most, ended = 0, 0, []

    async def work(item: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(item % 3 + 1):
            await asyncio.sleep(0)
        running -= 1
        ended.append(item)
        if item == 13:
            raise StorageUnavailable("thirteen")
        return -item

    assert asyncio.run(in_parallel(work, range(12), 4)) == [-item for item in range(12)]
    assert most == 4
    assert asyncio.run(in_parallel(work, [], 4)) == []
    ended.clear()
    with pytest.raises(StorageUnavailable, match="thirteen"):
        asyncio.run(in_parallel(work, range(10, 100), 4))
    assert running == 0
    assert len(ended) < 12


def test_the_model_takes_the_same_executions() -> None:
    """The comparison itself can fail: a doubled execution is a difference."""
    tables = MemoryTables()
    write_all(tables, [("0", [AN_EXECUTION])])
    assert told(AN_EXECUTION) == told(an_execution())
    assert differences(tables, [AN_EXECUTION, AN_EXECUTION]) != []
    assert differences(tables, []) != []
