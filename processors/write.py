"""Executions → tables: the protocol that counts every execution once, job by job.

    found    the job's layout: how many buckets its tasks are spread over, decided once
    apply    for each bucket: plan ─▶ commit one transaction ─┬─▶ until nothing is pending
                               ▲                              │
                               └── conflict: read the rows in question, then the shard
    publish  read the published row's ETag ─▶ read all shards ─▶ write their sum under that ETag; on a conflict again

A job is published after its transactions are committed, also where all was duplicate: a crash between commit and
publish is healed by the redelivery. Reading the ETag *before* the shards is what keeps a slow publisher from putting
older sums over newer ones. Of one job, a process publishes once at a time, and with that for all that wait.

What this process knows of a job (`Recent`), or supposes of one that it does not know (that it is new), is used in the
place of reads: it is only ever put under a condition, so that what is untrue costs a conflict and a read, and nothing
else.

A transaction whose answer was lost is tried again like any other: its inserts then conflict, the rows are read, and
what is found there is a duplicate. Nothing here knows Azure: storage is a `Tables`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Protocol

from processors import limits
from processors.columns import JOBS, TASKS, StoredRow
from processors.errors import Conflict, NewerContract, RowRefused, StorageUnavailable, UnreadableRow
from processors.metrics import Sums, total
from processors.plan import (
    Insert,
    JobExecutions,
    Operation,
    Plan,
    Rejected,
    Replace,
    Stored,
    TaskExecutions,
    by_bucket,
    plan,
)
from processors.recent import Place, Published, Recent, RecentJob
from processors.rollups import (
    LAYOUT_KEY,
    SHARD_RANGE,
    JobKey,
    Task,
    job_row,
    layout_row,
    read_layout,
    read_shard,
    read_task,
    shard_key,
)


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


# --- one job ---------------------------------------------------------------------------------------------------------


async def write_job(tables: Tables, recent: Recent, job: JobExecutions, shard: str) -> Written:
    """Apply and publish one job. Raises StorageUnavailable."""
    written = Written()
    known = recent.job(job.job)
    try:
        ends = await _apply(tables, recent, known, job, shard, written)
        try:
            if not known.covers(ends):
                await _publish(tables, known, job.job, ends, written)
        except NewerContract:
            raise
        except (UnreadableRow, RowRefused) as error:
            written.unpublished = str(error)
    except NewerContract as error:
        raise StorageUnavailable(str(error), transient=False) from None
    return written


async def _apply(
    tables: Tables, recent: Recent, known: RecentJob, job: JobExecutions, shard: str, written: Written
) -> dict[Place, str | None]:
    """Count a job's executions; the ETags of the shards in which they are, None where there is no shard."""
    ends: dict[Place, str | None] = {}
    pending: Sequence[TaskExecutions] = job.tasks
    founds = recent.buckets == 1
    for _ in range(limits.CONFLICTS_A_JOB):
        if known.buckets is None and not founds:
            try:
                await _found(tables, recent.buckets, known, job.job, written)
            except UnreadableRow as error:
                _reject(written, pending, str(error))
                return ends
        buckets = known.buckets or 1
        applications = [
            _Application(tables, known, job.job, bucket, buckets, shard, tasks, written, founds=founds)
            for bucket, tasks in by_bucket(pending, buckets).items()
        ]
        await in_parallel(_Application.run, applications, limits.CONCURRENT_BUCKETS)
        ends |= {each.place: each.etag for each in applications}
        pending = list(chain.from_iterable(each.pending for each in applications))
        if not pending:
            return ends
    raise StorageUnavailable(f"job {job.job.partition()}: its layout changed {limits.CONFLICTS_A_JOB} times in a row")


async def _found(tables: Tables, buckets: int, known: RecentJob, job: JobKey, written: Written) -> None:
    """Decide how many buckets the job has, unless that is decided: by its layout or, without one, by its shards.

    Whoever founds a job of one bucket does so in its first transaction instead. Raises UnreadableRow.
    """
    for _ in range(limits.CONFLICTS_A_JOB):
        rows = await tables.query(TASKS, job.partition(), *SHARD_RANGE, limit=1)
        if rows and rows[0].row["RowKey"] == LAYOUT_KEY:
            known.buckets = read_layout(rows[0].row)
            return
        try:
            await tables.commit(TASKS, [Insert(layout_row(job, 1 if rows else buckets))])
        except Conflict:
            written.conflicts += 1
        else:
            known.buckets = 1 if rows else buckets
            return
    raise StorageUnavailable(f"job {job.partition()}: its layout met {limits.CONFLICTS_A_JOB} conflicts in a row")


def _reject(written: Written, tasks: Iterable[TaskExecutions], reason: str) -> None:
    written.rejected += [Rejected(execution, reason) for task in tasks for execution in task.executions]


class _Application:
    """One job's executions of one bucket on their way into its task rows and its shard.

    It ends with some of them pending if the job turns out to have another number of buckets.
    """

    def __init__(
        self,
        tables: Tables,
        known: RecentJob,
        job: JobKey,
        bucket: int,
        buckets: int,
        shard: str,
        tasks: Sequence[TaskExecutions],
        written: Written,
        *,
        founds: bool,
    ) -> None:
        self.place = Place(bucket, shard_key(shard))
        self.pending = tasks
        self._tables = tables
        self._recent = known
        self._job = job
        self._partition = job.partition(bucket)
        self._buckets = buckets
        self._founds = founds
        self._shard = shard
        self._written = written
        self._known: dict[str, Stored[Task]] = {}
        self._sums = known.shards.get(self.place)

    @property
    def etag(self) -> str | None:
        """Of a shard in which everything is counted that came through it; None where there is no shard.

        Rows are read before the shard for its sake: what a row has, the shard then has too. (The other way round,
        another owner of the partition may write both in between, and what it counted would be taken for published.)
        """
        return None if self._sums is None else self._sums.etag

    async def run(self) -> None:
        """Settle the tasks, transaction by transaction."""
        try:
            while self.pending and await self._next_transaction():
                pass
        except NewerContract:
            raise
        except (UnreadableRow, RowRefused) as error:
            self._reject(self.pending, str(error))

    async def _next_transaction(self) -> bool:
        """Settle the first of the pending tasks, as many as one transaction holds, planning again on conflicts.

        False where the job may have another number of buckets.
        """
        for conflicts in range(limits.CONFLICTS_A_JOB):
            known = self._recent.buckets
            if known is None and self._founds and self._buckets == 1:
                async with self._recent.founding.next(f"founding job {self._job.partition()}"):
                    if self._recent.buckets is not None:
                        continue
                    settled = await self._try(again=conflicts >= limits.RANGES_A_TRANSACTION, founding=True)
            elif known == self._buckets:
                settled = await self._try(again=conflicts >= limits.RANGES_A_TRANSACTION, founding=False)
            else:
                return False
            if settled:
                return True
        raise StorageUnavailable(f"job {self._job.partition()}: {limits.CONFLICTS_A_JOB} conflicts in a row")

    async def _try(self, *, again: bool, founding: bool) -> bool:
        """One transaction; False where it met a conflict, and is to be planned again."""
        planned = plan(
            self._job, self._shard, self._sums, self.pending, self._known, self.place.bucket, founding=founding
        )
        try:
            if planned.operations:
                await self._commit(planned, founding=founding)
        except Conflict as conflict:
            self._written.conflicts += 1
            if founding:
                await self._read_layout()
            if conflict.index <= len(planned.tasks):  # else it is the layout's alone
                await self._read_tasks(planned.tasks[conflict.index :], again=again)
                await self._read_shard()
            return False
        except RowRefused as refused:
            if refused.index is None or refused.index >= len(planned.tasks):
                raise
            self._reject([planned.tasks[refused.index]], str(refused))
        else:
            self._settle(planned)
        return True

    async def _commit(self, planned: Plan, *, founding: bool) -> None:
        etags = await self._tables.commit(TASKS, planned.operations)
        base, self._sums = self.etag, Stored(planned.sums, etags[len(planned.tasks)])
        if founding:
            self._recent.found()
        self._recent.committed(self.place, base, self._sums, planned.added)

    def _settle(self, planned: Plan) -> None:
        settled, self.pending = self.pending[: planned.handled], self.pending[planned.handled :]
        arrived = sum(len(task.executions) for task in settled)
        self._written.counted += arrived - planned.duplicates - len(planned.rejected)
        self._written.duplicates += planned.duplicates
        self._written.rejected += planned.rejected

    def _reject(self, tasks: Sequence[TaskExecutions], reason: str) -> None:
        rejected = {task.row_key for task in tasks}
        self.pending = [task for task in self.pending if task.row_key not in rejected]
        _reject(self._written, tasks, reason)

    async def _read_shard(self) -> None:
        before = self._recent.shards.get(self.place)
        found = await self._tables.get(TASKS, self._partition, self.place.row_key)
        self._sums = None
        if found is not None:
            self._sums = Stored(read_shard(found.row), found.etag)
        self._recent.read(self.place, before, self._sums)

    async def _read_layout(self) -> None:
        found = await self._tables.get(TASKS, self._job.partition(), LAYOUT_KEY)
        if found is not None and self._recent.buckets is None:
            self._recent.buckets = read_layout(found.row)

    async def _read_tasks(self, tasks: Sequence[TaskExecutions], *, again: bool) -> None:
        """Bring `known` up to date for `tasks`, the first of which is known to conflict.

        Where one row conflicts, its neighbours often do (a redelivered batch is nothing else), so one query reads
        from it to the last. In a huge job the tasks may lie far apart: the query is cut, and if there is a conflict
        `again` and again, the rows are read one by one.
        """
        if not tasks:
            return
        if again:
            await in_parallel(self._read_task, tasks, limits.CONCURRENT_READS)
            return
        wanted = {task.row_key: task for task in tasks}
        rows = await self._tables.query(
            TASKS, self._partition, tasks[0].row_key, tasks[-1].row_key + _NEXT, limit=limits.ROWS_A_READ
        )
        found = {str(stored.row["RowKey"]): stored for stored in rows}
        for row_key in found.keys() & wanted.keys():
            self._learn(wanted[row_key], found[row_key])
        if tasks[0].row_key not in found:
            self._learn(tasks[0], None)

    async def _read_task(self, task: TaskExecutions) -> None:
        self._learn(task, await self._tables.get(TASKS, self._partition, task.row_key))

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


# --- publishing ------------------------------------------------------------------------------------------------------


async def _publish(
    tables: Tables, known: RecentJob, job: JobKey, ends: Mapping[Place, str | None], written: Written
) -> None:
    """See that the published row has what is in the shards by now. Raises StorageUnavailable.

    Whoever waits for another's turn is often covered by it.
    """
    async with known.publishing.next(f"publishing job {job.partition()}"):
        for _ in range(limits.CONFLICTS_A_JOB):
            if known.covers(ends):
                return
            try:
                if known.published is None:
                    await _publish_what_is_read(tables, known, job)
                    return
                await _publish_what_is_known(tables, known, job, known.published)
            except Conflict:
                written.conflicts += 1
            else:
                if not known.covers(ends):  # another invocation is at work on the same shards
                    known.lose_track()
    raise StorageUnavailable(f"job {job.partition()}: publishing met {limits.CONFLICTS_A_JOB} conflicts in a row")


async def _publish_what_is_known(tables: Tables, known: RecentJob, job: JobKey, published: Published) -> None:
    """Publish from memory: nobody else has, since this process did, or the ETag conflicts. Raises Conflict."""
    news, known.news = known.news, Sums()
    ends = {place: stored.etag for place, stored in known.shards.items()}
    now = Published(published.etag, published.sums.merge(news), published.places | ends.keys())
    try:
        etag = await _put(tables, job, now, known.buckets or 1)
    except BaseException:
        known.lose_track()
        raise
    if known.published is published:
        known.published = now._replace(etag=etag)
    known.covered |= ends


async def _publish_what_is_read(tables: Tables, known: RecentJob, job: JobKey) -> None:
    """Publish what the shards are after the published row's ETag was read. Raises Conflict, UnreadableRow."""
    known.begin_reading()
    try:
        row = await tables.get(JOBS, job.account, job.job)
        buckets, rows = await _read_shards(tables, job)
        if not rows:
            known.lose_track()
            return  # all was rejected, or the job was purged meanwhile
        shards = {place: Stored(read_shard(stored.row), stored.etag) for place, stored in rows.items()}
        sums = total(stored.value for stored in shards.values())
        now = Published(None if row is None else row.etag, sums, frozenset(shards))
        etag = await _put(tables, job, now, buckets)
    except BaseException:
        known.lose_track()
        raise
    known.end_reading(buckets, shards, now._replace(etag=etag))


async def _put(tables: Tables, job: JobKey, published: Published, buckets: int) -> str:
    """Write the published row in the place of the one with its ETag; the new ETag. Raises Conflict."""
    row = job_row(job, published.sums, len({place.row_key for place in published.places}), buckets)
    (etag,) = await tables.commit(JOBS, [Insert(row) if published.etag is None else Replace(row, published.etag)])
    return etag


async def _read_shards(tables: Tables, job: JobKey) -> tuple[int, dict[Place, StoredRow]]:
    """The job's number of buckets, and all shards in them. Raises UnreadableRow."""
    buckets = 1
    found: dict[Place, StoredRow] = {}

    async def read(bucket: int) -> list[StoredRow]:
        return await tables.query(TASKS, job.partition(bucket), *SHARD_RANGE)

    def note(bucket: int, rows: list[StoredRow]) -> None:
        for stored in rows:
            if (row_key := str(stored.row["RowKey"])) != LAYOUT_KEY:
                found[Place(bucket, row_key)] = stored

    first = await read(0)
    note(0, first)
    if first and first[0].row["RowKey"] == LAYOUT_KEY:
        buckets = read_layout(first[0].row)
    for bucket, rows in enumerate(await in_parallel(read, range(1, buckets), limits.CONCURRENT_BUCKETS), start=1):
        note(bucket, rows)
    return buckets, found


async def in_parallel[T, R](work: Callable[[T], Awaitable[R]], items: Iterable[T], bound: int) -> list[R]:
    """`work` on every item, at most `bound` at a time; their results in order. Items may be made as their turn comes.

    All are ended when it returns. The first failure is raised once the others have ended, and no further item is begun.
    """
    begun = iter(items)
    first = list(islice(begun, bound))
    if len(first) == 1 < bound:
        return [await work(first[0])]
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
