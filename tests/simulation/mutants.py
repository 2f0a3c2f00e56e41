"""The rules that exactly-once rests on, each broken on its own: a simulation worth its time finds every one.

The rule: a mutant replaces names of the running code, for the length of a `with`; the sources stay as they are. It
breaks one rule only, in the way of someone who had not thought of it.
"""

# ruff: noqa: SLF001 - what is replaced here is private to those that do not mean to break it

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest import mock

from processors import ingest as pipeline
from processors import plan, rollups, write
from processors.columns import JOBS, StoredRow
from processors.dead_letters import DeadLetter
from processors.errors import Conflict, StorageUnavailable
from processors.events import Execution
from processors.ingest import Batch, Storage, Summary, ingest
from processors.metrics import Sums, total
from processors.plan import Fold, Insert, JobExecutions, Operation, Plan, Replace, Stored, TaskExecutions
from processors.recent import Place, Published, Recent, RecentJob
from processors.rollups import NO_START, Identity, JobKey, Task, read_shard
from processors.write import Tables, Written
from tests.memory_storage import MemoryDeadLetters, MemoryTables, Request
from tests.simulation import world


class Mutant(NamedTuple):
    """One rule, broken."""

    broken: str
    """What is done, against the rule."""
    changes: Sequence[tuple[object, str, object]]
    """Where, which name, and what it stands for."""


# --- the conditions of a write ---------------------------------------------------------------------------------------

_fits, _attempt, _commit = MemoryTables.fits, MemoryTables._attempt, MemoryTables.commit


def _is_shard(operation: Operation) -> bool:
    return str(operation.row["RowKey"]).startswith("~job~")


def _is_task(operation: Operation) -> bool:
    return "taskId" in operation.row


def _is_published(operation: Operation) -> bool:
    return "shardCount" in operation.row


def _upserts(row: str, which: Callable[[Operation], bool]) -> Mutant:
    def fits(tables: MemoryTables, operation: Operation, stored: StoredRow | None) -> bool:
        return (isinstance(operation, Insert) and which(operation)) or _fits(tables, operation, stored)

    return Mutant(f"a new {row} row is upserted, not inserted", [(MemoryTables, "fits", fits)])


def _ignores_etag(row: str, which: Callable[[Operation], bool]) -> Mutant:
    def fits(tables: MemoryTables, operation: Operation, stored: StoredRow | None) -> bool:
        replaces = isinstance(operation, Replace) and which(operation)
        return stored is not None if replaces else _fits(tables, operation, stored)

    return Mutant(f"a changed {row} row is replaced without its ETag", [(MemoryTables, "fits", fits)])


async def _commit_in_two(tables: MemoryTables, table: str, operations: Sequence[Operation]) -> list[str]:
    parts = [part for part in (operations[:-1], operations[-1:]) if part]
    return [etag for part in parts for etag in await _commit(tables, table, part)]


async def _attempt_overwriting[T](tables: MemoryTables, request: Request, work: Callable[[], T]) -> object:
    def whatever_is_there() -> object:
        rows = tables.stored[request.table][str(request.operations[0].row["PartitionKey"])]
        forced = [
            Replace(operation.row, "*") if operation.row["RowKey"] in rows else Insert(operation.row)
            for operation in request.operations
        ]
        return tables._transaction(request.table, forced)

    try:
        return await tables.send(request, work)
    except StorageUnavailable:
        return await _attempt(tables, request, whatever_is_there if request.operations else work)


# --- executions ------------------------------------------------------------------------------------------------------

_with = plan._with


def _keeps_duplicates_within_a_batch(task: Task | None, arrived: Iterable[Execution]) -> Fold:
    seen = set(task.identities()) if task else set()
    accepted = [execution for execution in arrived if rollups.identity(execution) not in seen]
    return Fold(_with(task, accepted) if accepted else task, accepted)


def _ignores_what_the_row_has(task: Task | None, arrived: Iterable[Execution]) -> Fold:
    accepted = list({rollups.identity(execution): execution for execution in arrived}.values())
    return Fold(_with(task, accepted), accepted)


def _identity_without_start(execution: Execution) -> Identity:
    return Identity(execution.end, NO_START)


def _latest_is_the_last_to_arrive(task: Task | None, accepted: Sequence[Execution]) -> Task:
    latest = accepted[-1]
    earlier = [*plan._earlier(accepted, latest), *(plan._earlier((task.latest,), latest) if task else ())]
    return Task(latest, (*earlier, *(task.earlier if task else ())), task.older if task else ())


def _never_takes_back_an_outcome(sums: Sums, _: Execution | None, after: Execution) -> None:
    sums.add_tasks(after)


async def _takes_a_conflict_for_a_duplicate(
    application: write._Application, tasks: Sequence[TaskExecutions], *, again: bool
) -> None:
    del again
    application.pending = [task for task in application.pending if task not in tasks[:1]]


# --- buckets ---------------------------------------------------------------------------------------------------------

_apply = write._apply


async def _apply_as_the_setting_says(
    tables: Tables, recent: Recent, known: RecentJob, job: JobExecutions, shard: str, written: Written
) -> dict[Place, str | None]:
    known.buckets = recent.buckets
    return await _apply(tables, recent, known, job, shard, written)


_plan = plan.plan


def _plan_without_layout(*known: Any, founding: bool) -> Plan:
    planned = _plan(*known, founding=founding)
    if founding:
        del planned.operations[-1:]
    return planned


# --- publishing ------------------------------------------------------------------------------------------------------

_publish, _put_row, _read_shards = write._publish, write._put, write._read_shards
_committed, _read, _end_reading = RecentJob.committed, RecentJob.read, RecentJob.end_reading
_publish_what_is_read = write._publish_what_is_read


async def _publish_shards_before_etag(tables: Tables, known: RecentJob, job: JobKey) -> None:
    known.lose_track()
    buckets, rows = await _read_shards(tables, job)
    if rows:
        row = await tables.get(JOBS, job.account, job.job)
        sums = total(read_shard(stored.row) for stored in rows.values())
        await _put_row(tables, job, Published(None if row is None else row.etag, sums, frozenset(rows)), buckets)


async def _publish_news_only(
    tables: Tables, known: RecentJob, job: JobKey, ends: Mapping[Place, str | None], written: Written
) -> None:
    if written.counted:
        await _publish(tables, known, job, ends, written)


async def _put_once(*what: Any) -> str:
    try:
        return await _put_row(*what)
    except Conflict:
        return ""


async def _publish_covering_first(
    tables: Tables, known: RecentJob, job: JobKey, ends: Mapping[Place, str | None], written: Written
) -> None:
    try:
        await _publish(tables, known, job, ends, written)
    finally:
        known.covered |= {place: etag for place, etag in ends.items() if etag is not None}


def _covers_for_good(known: RecentJob, ends: Mapping[Place, str | None]) -> bool:
    return all(place in known.covered for place in ends)


async def _publish_failing_quietly(
    tables: Tables, known: RecentJob, job: JobKey, ends: Mapping[Place, str | None], written: Written
) -> None:
    try:
        await _publish(tables, known, job, ends, written)
    except StorageUnavailable as error:
        written.unpublished = str(error)


async def _write_job_publishing_first(tables: Tables, recent: Recent, job: JobExecutions, shard: str) -> Written:
    written = Written()
    known = recent.job(job.job)
    await _publish(tables, known, job.job, {}, written)
    await _publish_what_is_read(tables, known, job.job)
    await _apply(tables, recent, known, job, shard, written)
    return written


def _keeps_track_of_others_shards(
    known: RecentJob, place: Place, before: Stored[Sums] | None, now: Stored[Sums] | None
) -> None:
    published, news = known.published, known.news
    _read(known, place, before, now)
    if known.shards:
        known.published, known.news = published, news


def _reads_over_news(known: RecentJob, place: Place, before: Stored[Sums] | None, now: Stored[Sums] | None) -> None:
    published, news = known.published, known.news
    _read(known, place, known.shards.get(place), now)
    if before is None and known.shards:
        known.published, known.news = published, news


def _forgets_news(known: RecentJob, place: Place, base: str | None, now: Stored[Sums], added: Sums) -> None:
    _committed(known, place, base, now, added)
    if known.published is not None and known.published.etag is not None:
        known.news = Sums()


def _takes_all_for_news(
    known: RecentJob, buckets: int, read: Mapping[Place, Stored[Sums]], published: Published
) -> None:
    commits = list(known._reading[1]) if known._reading else []
    _end_reading(known, buckets, read, published)
    if known.published is not None:
        known.news = total(commit.added for commit in commits)


def _keeps_on_reading(known: RecentJob) -> None:
    known.published, known.news = None, Sums()


# --- invocations and dead letters ------------------------------------------------------------------------------------

_put = MemoryDeadLetters.put
_background: set[asyncio.Task[object]] = set()
"""Tasks that nobody waits for must be kept from being collected."""


def _in_background(work: Awaitable[object]) -> None:
    async def quietly() -> None:
        try:
            await work
        except StorageUnavailable:
            return

    task: asyncio.Task[object] = asyncio.ensure_future(quietly())
    _background.add(task)
    task.add_done_callback(_background.discard)


async def _invoke_swallowing_failure(batch: Batch, storage: Storage, clock: Callable[[], float]) -> Summary:
    try:
        return await ingest(batch, storage, clock)
    except StorageUnavailable:
        return Summary(batch.partition, len(batch.messages))


async def _invoke_swallowing_cancellation(batch: Batch, storage: Storage, clock: Callable[[], float]) -> Summary:
    try:
        return await ingest(batch, storage, clock)
    except StorageUnavailable as error:
        if isinstance(error.__cause__, asyncio.CancelledError):
            return Summary(batch.partition, len(batch.messages))
        raise


async def _invoke_in_background(batch: Batch, storage: Storage, clock: Callable[[], float]) -> Summary:
    _in_background(ingest(batch, storage, clock))
    return Summary(batch.partition, len(batch.messages))


async def _put_failing_quietly(letters: MemoryDeadLetters, letter: DeadLetter) -> None:
    try:
        await _put(letters, letter)
    except StorageUnavailable:
        return


async def _put_in_background(letters: MemoryDeadLetters, letter: DeadLetter) -> None:
    _in_background(_put(letters, letter))


def _name_without_record(letter: DeadLetter) -> str:
    return f"{letter.hub}/{letter.partition}/{letter.sequence_number:020}-message.json"


MUTANTS = {
    "task-upserted": _upserts("task", _is_task),
    "shard-upserted": _upserts("shard", _is_shard),
    "published-upserted": _upserts("published", _is_published),
    "task-etag": _ignores_etag("task", _is_task),
    "shard-etag": _ignores_etag("shard", _is_shard),
    "published-etag": _ignores_etag("published", _is_published),
    "two-transactions": Mutant(
        "task rows and the shard are written one after the other", [(MemoryTables, "commit", _commit_in_two)]
    ),
    "retry-overwrites": Mutant(
        "a write whose answer was lost is repeated without its conditions",
        [(MemoryTables, "_attempt", _attempt_overwriting)],
    ),
    "conflict-is-duplicate": Mutant(
        "a task whose row conflicts is taken for a duplicate, its row not read",
        [(write._Application, "_read_tasks", _takes_a_conflict_for_a_duplicate)],
    ),
    "row-not-consulted": Mutant(
        "an execution is added to its row without looking for it there",
        [(plan, "add_executions", _ignores_what_the_row_has)],
    ),
    "duplicates-in-batch": Mutant(
        "duplicates within one batch are kept", [(plan, "add_executions", _keeps_duplicates_within_a_batch)]
    ),
    "identity-without-start": Mutant(
        "executions are told apart by their end alone",
        [(plan, "identity", _identity_without_start), (rollups, "identity", _identity_without_start)],
    ),
    "latest-by-arrival": Mutant(
        "a task's row shows the execution that arrived last", [(plan, "_with", _latest_is_the_last_to_arrive)]
    ),
    "outcome-not-taken-back": Mutant(
        "a task's further execution counts it once more as succeeded or failed",
        [(Sums, "change_task", _never_takes_back_an_outcome)],
    ),
    "buckets-by-setting": Mutant(
        "a task goes to the bucket that the setting gives it, whatever the job's layout",
        [(write, "_apply", _apply_as_the_setting_says)],
    ),
    "layout-apart": Mutant(
        "the first transaction of a job of one bucket leaves its layout out", [(write, "plan", _plan_without_layout)]
    ),
    "shards-before-etag": Mutant(
        "the shards are read before the published row's ETag",
        [(write, "_publish_what_is_read", _publish_shards_before_etag)],
    ),
    "duplicates-not-published": Mutant(
        "a job is published only if something new was counted", [(write, "_publish", _publish_news_only)]
    ),
    "publish-gives-up": Mutant("a conflict in publishing is let go", [(write, "_put", _put_once)]),
    "covered-too-early": Mutant(
        "a shard counts as published though it could not be", [(write, "_publish", _publish_covering_first)]
    ),
    "covered-for-good": Mutant(
        "a shard that was published once is not published again", [(RecentJob, "covers", _covers_for_good)]
    ),
    "publish-fails-quietly": Mutant(
        "a failure in publishing is logged only", [(write, "_publish", _publish_failing_quietly)]
    ),
    "published-first": Mutant(
        "a job is published before its executions are applied",
        [(pipeline, "write_job", _write_job_publishing_first)],
    ),
    "others-are-ours": Mutant(
        "what another instance added to a shard is taken for published",
        [(RecentJob, "read", _keeps_track_of_others_shards)],
    ),
    "reads-over-news": Mutant(
        "what was read of a shard takes the place of what was noted meanwhile", [(RecentJob, "read", _reads_over_news)]
    ),
    "news-forgotten": Mutant(
        "what is published from memory is without what was counted since", [(RecentJob, "committed", _forgets_news)]
    ),
    "news-published-twice": Mutant(
        "what was counted while the shards were read is added to them once more",
        [(RecentJob, "end_reading", _takes_all_for_news)],
    ),
    "keeps-on-reading": Mutant(
        "what was read is published from again though another shard was read meanwhile",
        [(RecentJob, "lose_track", _keeps_on_reading)],
    ),
    "failure-swallowed": Mutant(
        "StorageUnavailable ends in the invocation: the checkpoint is written",
        [(world, "invoke", _invoke_swallowing_failure)],
    ),
    "cancellation-swallowed": Mutant(
        "a cancelled invocation ends as if it had succeeded", [(world, "invoke", _invoke_swallowing_cancellation)]
    ),
    "in-background": Mutant(
        "the invocation returns while its work goes on", [(world, "invoke", _invoke_in_background)]
    ),
    "letter-fails-quietly": Mutant(
        "a dead letter that cannot be written is dropped", [(MemoryDeadLetters, "put", _put_failing_quietly)]
    ),
    "letter-in-background": Mutant(
        "dead letters are written after the invocation returns", [(MemoryDeadLetters, "put", _put_in_background)]
    ),
    "letter-name": Mutant(
        "a dead letter is named for its message, not its record",
        [(DeadLetter, "name", property(_name_without_record))],
    ),
}


@contextmanager
def mutated(name: str | None) -> Iterator[None]:
    """The code with this mutant in it; as it is for None."""
    with ExitStack() as stack:
        for target, attribute, value in MUTANTS[name].changes if name else ():
            stack.enter_context(mock.patch.object(target, attribute, value))
        yield
