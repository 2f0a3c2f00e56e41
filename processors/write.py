"""Executions → tables: the protocol that counts every execution once, job by job.

    apply    read the shard ─▶ plan ─▶ commit one transaction ─┬─▶ until nothing is pending
                 ▲                                             │
                 └── conflict: read the rows in question ──────┘
    publish  read the published row's ETag ─▶ read all shards ─▶ write their sum under that ETag; on a conflict again

A job is published after its transactions are committed, also where all was duplicate: a crash between commit and
publish is healed by the redelivery. Reading the ETag *before* the shards is what keeps a slow publisher from putting
older sums over newer ones.

What this process knows of a job from its last writes is used in the place of reads (`Recent`): it is only ever put
under an ETag, so that what has become untrue costs a conflict and a read, and nothing else.

A transaction whose answer was lost is tried again like any other: its inserts then conflict, the rows are read, and
what is found there is a duplicate. Nothing here knows Azure: storage is a `Tables`.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Protocol

from processors import limits
from processors.columns import JOBS, TASKS, StoredRow
from processors.errors import Conflict, RowRefused, StorageUnavailable, UnreadableRow
from processors.metrics import Sums, total
from processors.plan import Insert, JobExecutions, Operation, Plan, Rejected, Replace, Stored, TaskExecutions, plan
from processors.rollups import SHARD_RANGE, JobKey, Task, job_row, read_shard, read_task, shard_key


class Tables(Protocol):
    """What the protocol needs of Table Storage. Every method may raise StorageUnavailable, after bounded retries."""

    async def get(self, table: str, partition_key: str, row_key: str) -> StoredRow | None:
        """One row, None where there is none."""

    async def query(
        self, table: str, partition_key: str, first: str, end: str, limit: int | None = None
    ) -> list[StoredRow]:
        """The partition's rows with first <= RowKey < end, in their order; at most `limit` of them."""

    async def commit(self, table: str, operations: Sequence[Operation]) -> list[str]:
        """All operations, which are in one partition, or none; the rows' new ETags. Raises Conflict, RowRefused."""


@dataclass(slots=True)
class Written:
    """What became of one job's executions: each is counted, a duplicate, or rejected."""

    counted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: list[Rejected] = field(default_factory=list)
    unpublished: str | None = None
    """Why the job's published row could not be brought up to date, though all is counted; None where it was."""


@dataclass(slots=True)
class RecentJob:
    """One job as this process last saw it."""

    shards: dict[str, Stored[Sums]] = field(default_factory=dict)
    """Those that this process writes."""
    published: str | None = None
    """The ETag of the published row."""
    covered: dict[str, str] = field(default_factory=dict)
    """Shard → its ETag when a published row last took it in. Every later publisher has read it, or a newer one."""


class Recent:
    """The jobs that a process wrote last, at most `JOBS_REMEMBERED` of them."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[JobKey, RecentJob] = OrderedDict()

    def job(self, job: JobKey) -> RecentJob:
        """What is known of the job: nothing, for one that was not written lately."""
        found = self._jobs.setdefault(job, RecentJob())
        self._jobs.move_to_end(job)
        if len(self._jobs) > limits.JOBS_REMEMBERED:
            self._jobs.popitem(last=False)
        return found


async def write_job(tables: Tables, recent: Recent, job: JobExecutions, shard: str) -> Written:
    """Apply and publish one job. Raises StorageUnavailable."""
    written = Written()
    known = recent.job(job.job)
    etag = await _Application(tables, known, job, shard, written).run()
    try:
        if etag is None or known.covered.get(shard) != etag:
            await _publish(tables, known, job.job, shard, written)
    except (UnreadableRow, RowRefused) as error:
        written.unpublished = str(error)
    return written


class _Application:
    """One job's executions on their way into its task rows and its shard."""

    def __init__(self, tables: Tables, recent: RecentJob, job: JobExecutions, shard: str, written: Written) -> None:
        self._tables = tables
        self._recent = recent
        self._job = job.job
        self._shard = shard
        self._written = written
        self._pending: Sequence[TaskExecutions] = job.tasks
        self._known: dict[str, Stored[Task]] = {}
        self._sums = recent.shards.get(shard)

    async def run(self) -> str | None:
        """The ETag of a shard in which everything is counted that came through it; None where there is no shard.

        Rows are therefore read before the shard: what a row has, the shard then has too. (The other way round, another
        owner of the partition may write both in between, and what it counted would be taken for published.)
        """
        try:
            if self._sums is None:
                await self._read_shard()
            while self._pending:
                await self._next_transaction()
        except (UnreadableRow, RowRefused) as error:
            self._reject(self._pending, str(error))
        return None if self._sums is None else self._sums.etag

    async def _next_transaction(self) -> None:
        """Settle the first of the pending tasks, as many as one transaction holds, planning again on conflicts."""
        conflicts = 0
        while conflicts < limits.CONFLICTS_A_JOB:
            planned = plan(self._job, self._shard, self._sums, self._pending, self._known)
            try:
                if planned.operations:
                    etags = await self._tables.commit(TASKS, planned.operations)
                    self._learn_shard(Stored(planned.sums, etags[-1]))
            except Conflict as conflict:
                conflicts += 1
                self._written.conflicts += 1
                await self._read_tasks(planned.tasks[conflict.index :], again=conflicts > 1)
                await self._read_shard()
            except RowRefused as refused:
                if refused.index is None or refused.index >= len(planned.tasks):
                    raise
                self._reject([planned.tasks[refused.index]], str(refused))
            else:
                self._settle(planned)
                return
        raise StorageUnavailable(f"job {self._job.partition}: {limits.CONFLICTS_A_JOB} conflicts in a row")

    def _settle(self, planned: Plan) -> None:
        settled, self._pending = self._pending[: planned.handled], self._pending[planned.handled :]
        arrived = sum(len(task.executions) for task in settled)
        self._written.counted += arrived - planned.duplicates - len(planned.rejected)
        self._written.duplicates += planned.duplicates
        self._written.rejected += planned.rejected

    def _reject(self, tasks: Sequence[TaskExecutions], reason: str) -> None:
        rejected = {task.row_key for task in tasks}
        self._pending = [task for task in self._pending if task.row_key not in rejected]
        self._written.rejected += [Rejected(execution, reason) for task in tasks for execution in task.executions]

    async def _read_shard(self) -> None:
        stored = await self._tables.get(TASKS, self._job.partition, shard_key(self._shard))
        self._learn_shard(None)
        if stored is not None:
            self._learn_shard(Stored(read_shard(stored.row), stored.etag))

    def _learn_shard(self, stored: Stored[Sums] | None) -> None:
        self._sums = stored
        if stored is None:
            self._recent.shards.pop(self._shard, None)
        else:
            self._recent.shards[self._shard] = stored

    async def _read_tasks(self, tasks: Sequence[TaskExecutions], *, again: bool) -> None:
        """Bring `known` up to date for `tasks`, the first of which is known to conflict.

        Where one row conflicts, its neighbours often do (a redelivered batch is nothing else), so one query reads
        from it to the last. In a huge job the tasks may lie far apart: the query is cut at one page, and if there is a
        conflict `again`, the rows are read one by one.
        """
        if not tasks:
            return
        if again:
            await in_parallel(self._read_task, tasks, limits.CONCURRENT_READS)
            return
        wanted = {task.row_key: task for task in tasks}
        rows = await self._tables.query(
            TASKS, self._job.partition, tasks[0].row_key, tasks[-1].row_key + _NEXT, limit=limits.ROWS_A_READ
        )
        found = {str(stored.row["RowKey"]): stored for stored in rows}
        for row_key in found.keys() & wanted.keys():
            self._learn(wanted[row_key], found[row_key])
        if tasks[0].row_key not in found:
            self._learn(tasks[0], None)

    async def _read_task(self, task: TaskExecutions) -> None:
        self._learn(task, await self._tables.get(TASKS, self._job.partition, task.row_key))

    def _learn(self, task: TaskExecutions, stored: StoredRow | None) -> None:
        """Note what the task's row is; where it is unreadable, its executions are rejected."""
        try:
            if stored is None:
                self._known.pop(task.row_key, None)
            else:
                self._known[task.row_key] = Stored(read_task(stored.row), stored.etag)
        except UnreadableRow as error:
            self._reject([task], str(error))


_NEXT = "!"
"""Sorts before every character of a key: a key with it appended follows the key itself, and nothing is between."""


async def _publish(tables: Tables, recent: RecentJob, job: JobKey, shard: str, written: Written) -> None:
    for _ in range(limits.CONFLICTS_A_JOB):
        if recent.published is None:
            published = await tables.get(JOBS, job.account, job.job)
            recent.published = None if published is None else published.etag
        etag = recent.published
        shards = await tables.query(TASKS, job.partition, *SHARD_RANGE)
        if not shards:
            return  # all was rejected, or the job was purged meanwhile
        row = job_row(job, total(read_shard(stored.row) for stored in shards), len(shards))
        try:
            (recent.published,) = await tables.commit(JOBS, [Replace(row, etag) if etag else Insert(row)])
        except Conflict:
            written.conflicts += 1
            recent.published = None
        else:
            for stored in shards:
                if stored.row["RowKey"] == shard_key(shard):
                    recent.covered[shard] = stored.etag
            return
    raise StorageUnavailable(f"job {job.partition}: publishing met {limits.CONFLICTS_A_JOB} conflicts in a row")


async def in_parallel[T, R](work: Callable[[T], Awaitable[R]], items: Iterable[T], bound: int) -> list[R]:
    """`work` on every item, at most `bound` at a time; their results in order. Items may be made as their turn comes.

    All are ended when it returns. The first failure is raised once the others have ended, and no further item is begun.
    """
    begun = iter(items)
    first = list(islice(begun, bound))
    waiting = enumerate(chain(first, begun))
    results: dict[int, R] = {}
    failures: list[BaseException] = []

    async def lane() -> None:
        for position, item in waiting:
            if failures:
                return
            try:
                results[position] = await work(item)
            except Exception as error:  # noqa: BLE001 - raised again below, after the other lanes
                failures[:] = failures or [error]

    await asyncio.gather(*(lane() for _ in first))
    if failures:
        # A failure left in here, where its own traceback leads, would stay until the garbage collector comes by.
        raise failures.pop()
    return [results[position] for position in range(len(results))]
