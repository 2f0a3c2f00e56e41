"""What a process knows in the place of reads: what it saves, and that what is untrue in it does no harm."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import limits
from processors.columns import JOBS, TASKS
from processors.errors import StorageUnavailable
from processors.events import Execution
from processors.metrics import Sums
from processors.plan import Stored, by_job
from processors.recent import Place, Recent, Turns
from processors.rollups import JobKey
from processors.write import Written, write_job
from tests.core.examples import an_execution, differences
from tests.core.interleaving import Turns as Order
from tests.core.strategies import deliveries, distinct
from tests.memory_storage import Call, MemoryTables, Moment


def tasks(first: int, count: int, job_id: str = "job") -> list[Execution]:
    return [an_execution(number, job_id=job_id, task_id=f"t{number}") for number in range(first, first + count)]


class Requests:
    """A hook that notes what storage is asked for."""

    def __init__(self) -> None:
        self.made: list[str] = []

    async def hook(self, call: Call) -> None:
        if call.moment is Moment.BEFORE:
            self.made.append(f"{call.method} {call.table}")


async def written(tables: MemoryTables, recent: Recent, some: list[Execution], shard: str = "0") -> Written:
    (job,) = by_job(some)
    return await write_job(tables, recent, job, shard)


def requests(tables: MemoryTables, recent: Recent, some: list[Execution], shard: str = "0") -> list[str]:
    noted = Requests()
    asyncio.run(written(tables.through(noted.hook), recent, some, shard))
    return noted.made


WRITE, PUBLISH = f"commit {TASKS}", f"commit {JOBS}"

# --- what it saves ---------------------------------------------------------------------------------------------------


def test_a_new_job_takes_two_requests_and_so_does_what_follows() -> None:
    tables, recent = MemoryTables(), Recent()
    for batch in range(3):
        assert requests(tables, recent, tasks(batch * 10, 10)) == [WRITE, PUBLISH]
    assert differences(tables, tasks(0, 30)) == []


def test_another_partition_of_a_process_takes_two_requests_too() -> None:
    tables, recent = MemoryTables(), Recent()
    for number, shard in enumerate(("0", "1", "2", "0", "1")):
        assert requests(tables, recent, tasks(10 * number, 5), shard) == [WRITE, PUBLISH]


def test_a_redelivery_reads_its_rows_and_writes_nothing() -> None:
    tables, recent = MemoryTables(), Recent()
    requests(tables, recent, tasks(0, 10))
    before = tables.rows(TASKS) | tables.rows(JOBS)
    assert requests(tables, recent, tasks(0, 10)) == [WRITE, f"query {TASKS}", f"get {TASKS}"]
    assert tables.rows(TASKS) | tables.rows(JOBS) == before
    assert requests(tables, recent, tasks(10, 1)) == [WRITE, PUBLISH]


def test_a_process_that_knows_nothing_learns_what_it_needs() -> None:
    tables = MemoryTables()
    requests(tables, Recent(), tasks(0, 10))
    recent = Recent()
    asked = requests(tables, recent, tasks(10, 10))
    assert asked == [WRITE, f"get {TASKS}", f"get {TASKS}", WRITE, f"get {JOBS}", f"query {TASKS}", PUBLISH]
    assert requests(tables, recent, tasks(20, 10)) == [WRITE, PUBLISH]
    assert differences(tables, tasks(0, 30)) == []


def test_many_partitions_of_a_process_publish_for_each_other() -> None:
    """One hot job on 32 partitions: without that, each of them would publish, and conflict with the others."""
    tables, recent, noted = MemoryTables(), Recent(), Requests()
    order = Order(1)

    async def hook(call: Call) -> None:
        await noted.hook(call)
        await order.hook(call)

    asyncio.run(
        order.run(*(written(tables.through(hook), recent, tasks(10 * shard, 10), str(shard)) for shard in range(32)))
    )
    assert noted.made.count(PUBLISH) < 16
    assert noted.made.count(WRITE) == 32
    assert differences(tables, tasks(0, 320)) == []


# --- what is untrue in it --------------------------------------------------------------------------------------------


@given(st.data(), distinct(8), st.integers(0, 2**32), st.sampled_from((1, 3)))
def test_writers_that_remember_interleaved_at_every_call_write_the_rows_of_the_model(
    data: st.DataObject, executions: list[Execution], seed: int, buckets: int
) -> None:
    """Two processes, in each of which two invocations are at work at the same time, all on the same jobs."""
    tables, order = MemoryTables(), Order(seed)

    async def invocations(recent: Recent, delivered: list[tuple[str, list[Execution]]]) -> None:
        for shard, some in delivered:
            for job in by_job(some):
                await write_job(tables.through(order.hook), recent, job, shard)

    first, second = Recent(buckets), Recent(buckets)
    delivered = [(recent, data.draw(deliveries(executions))) for recent in (first, first, second, second)]
    work = [invocations(*each) for each in delivered]  # type: ignore[arg-type]
    asyncio.run(order.run(*work))
    assert differences(tables, executions) == []


# --- bounds ----------------------------------------------------------------------------------------------------------


@contextmanager
def bounded(jobs: int, shards: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "JOBS_REMEMBERED", jobs)
        patch.setattr(limits, "SHARDS_REMEMBERED", shards)
        yield


def test_only_the_jobs_written_last_are_remembered() -> None:
    tables, recent = MemoryTables(), Recent()
    with bounded(2, 100):
        for job in ("a", "b", "a", "c"):
            requests(tables, recent, [an_execution(len(tables.rows(TASKS)), job_id=job)])
        assert requests(tables, recent, tasks(50, 1, "a")) == [WRITE, PUBLISH]
        assert len(requests(tables, recent, tasks(50, 1, "b"))) > 2


def test_so_are_their_shards() -> None:
    tables, recent = MemoryTables(), Recent()
    with bounded(100, 5):
        for shard in range(4):
            for job in ("a", "b"):
                requests(tables, recent, tasks(shard * 10, 1, job), str(shard))
        assert recent.shards <= 6
        assert requests(tables, recent, tasks(99, 1, "b"), "3") == [WRITE, PUBLISH]


def test_what_is_remembered_of_a_job_that_has_left_is_not_counted_any_more() -> None:
    recent = Recent()
    with bounded(1, 100):
        left = recent.job(JobKey("a", "one"))
        left.committed(Place(0, "s"), None, Stored(Sums(), "1"), Sums())
        recent.job(JobKey("a", "other"))
        left.committed(Place(0, "t"), None, Stored(Sums(), "2"), Sums())
        assert recent.shards == 0
        assert recent.job(JobKey("a", "one")) is not left


# --- turns -----------------------------------------------------------------------------------------------------------


def test_those_that_wait_fail_with_the_one_they_wait_for() -> None:
    """With storage away, each would else spend all its tries after the other's."""
    tries: list[int] = []

    async def work() -> list[object]:
        turns = Turns()

        async def one(number: int) -> None:
            async with turns.next("publishing"):
                tries.append(number)
                await asyncio.sleep(0)
                if number in (0, 9):
                    raise StorageUnavailable("away")

        first = await asyncio.gather(*(one(number) for number in range(5)), return_exceptions=True)
        return [*first, *await asyncio.gather(one(5), one(6), return_exceptions=True)]

    outcomes = asyncio.run(work())
    assert tries == [0, 5, 6]
    assert [str(outcome) for outcome in outcomes[:2]] == [
        "away",
        "publishing: another invocation that was at it failed",
    ]
    assert outcomes[5:] == [None, None]
