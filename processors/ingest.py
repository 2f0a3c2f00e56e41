"""The pipeline: one batch of Event Hub messages → tables and dead letters.

    messages ─▶ records ─▶ executions ─▶ jobs ─▶ written, job by job, in parallel
                   └──── bad ────┴──────────────────┴─▶ dead letters, in parallel

The rule: when `ingest` returns, every execution of the batch is counted and every bad record is a dead letter. If
storage keeps that from happening it raises StorageUnavailable, and nothing else; the batch then comes again.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple, Protocol

from processors import limits
from processors.dead_letters import DeadLetter, DeadLetters
from processors.errors import StorageUnavailable
from processors.events import Execution, execution, is_task_complete, newest_time
from processors.plan import by_job
from processors.recent import Recent
from processors.records import BadInput, Decoded, decode, raw_records
from processors.rollups import OTHER
from processors.write import Tables, Written, in_parallel, write_job

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    """One Event Hub message."""

    body: bytes
    sequence_number: int
    enqueued_time: datetime | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of one partition of one hub, as the trigger delivers them."""

    hub: str
    partition: str
    messages: list[Message]


class Storage(Protocol):
    """Storage as one invocation uses it."""

    @property
    def tables(self) -> Tables: ...

    @property
    def dead_letters(self) -> DeadLetters: ...

    @property
    def recent(self) -> Recent:
        """What this process last saw of the jobs, for as long as these tables are written."""

    @property
    def requests(self) -> int:
        """Requests made so far, repeated ones included."""

    @property
    def seconds(self) -> float:
        """Seconds that these requests took, summed over requests, of which many run at a time."""


@dataclass(slots=True)
class Summary:
    """What one invocation did: its log line."""

    partition: str
    messages: int
    records: int = 0
    executions: int = 0
    """Task complete records that are valid, duplicates included."""
    counted: int = 0
    duplicates: int = 0
    ignored: dict[str, int] = field(default_factory=dict)
    """Other operations, by name."""
    dead_letters: int = 0
    jobs: int = 0
    conflicts: int = 0
    storage_requests: int = 0
    storage_seconds: float = 0.0
    """Summed over requests, of which many run at a time: mostly more than `milliseconds`."""
    newest_record_age_seconds: float | None = None
    """From the newest record's own time to the start of the invocation."""
    newest_record_delivery_seconds: float | None = None
    """The part of that age which was over when Event Hubs took the record: from its own time to its enqueued time."""
    milliseconds: float = 0.0


async def ingest(batch: Batch, storage: Storage, clock: Callable[[], float]) -> Summary:
    """Count the batch. `clock` gives seconds since 1970. Raises StorageUnavailable, and says so in the log."""
    try:
        return await _ingest(batch, storage, clock)
    except Exception as error:  # any other than StorageUnavailable is a fault of ours
        # Where the host sends OpenTelemetry, this line is all that tells of a failed invocation.
        failed = json.dumps({"partition": batch.partition, "error": str(error) or repr(error)})
        logger.error("invocation failed %s", failed)  # noqa: TRY400 - the host has the traceback
        raise


async def _ingest(batch: Batch, storage: Storage, clock: Callable[[], float]) -> Summary:
    started = clock()
    summary = Summary(batch.partition, len(batch.messages))
    try:
        read = _read(batch, summary)
        jobs = by_job(read.executions)
        # No closure: an SDK's errors keep the frames that they came through, and those the batch, until collected.
        write = partial(write_job, storage.tables, storage.recent, shard=batch.partition)
        written = await in_parallel(write, jobs, limits.CONCURRENT_JOBS)
        _add(summary, written)
        for job, outcome in zip(jobs, written, strict=True):
            if outcome.unpublished is not None:
                logger.error("job %s is counted but not published: %s", job.job.partition(), outcome.unpublished)
            for rejected in outcome.rejected:
                read.reject(rejected.execution, rejected.reason)
        letters = await in_parallel(
            storage.dead_letters.put, _dead_letters(batch, read), limits.CONCURRENT_DEAD_LETTERS
        )
    except asyncio.CancelledError as error:
        # Let out, it would leave the Functions host without an answer.
        raise StorageUnavailable("the invocation was cancelled") from error
    summary.jobs = len(jobs)
    summary.dead_letters = len(letters)
    summary.storage_requests = storage.requests
    summary.storage_seconds = round(storage.seconds, 3)
    if read.newest is not None:
        summary.newest_record_age_seconds = round(started - read.newest / 1_000_000, 3)
        if read.enqueued is not None:
            summary.newest_record_delivery_seconds = round(_seconds(read.enqueued) - read.newest / 1_000_000, 3)
    summary.milliseconds = round((clock() - started) * 1000, 1)
    logger.info("ingested %s", json.dumps(asdict(summary)))
    return summary


@dataclass(slots=True)
class _Read:
    """What a batch's messages hold. A message is named by its position in the batch."""

    executions: list[Execution] = field(default_factory=list)
    origins: dict[int, tuple[int, int]] = field(default_factory=dict)
    """id of an execution → its message and its record's index."""
    rejected: dict[int, list[BadInput]] = field(default_factory=dict)
    """Message in which anything is bad → those of its executions that cannot be counted.

    The rest of what is bad is read again when its letters are written: all of a batch would take too much memory.
    """
    newest: int | None = None
    """The newest record's time, microseconds since 1970."""
    enqueued: datetime | None = None
    """When its message was enqueued; None where the trigger did not say."""

    def reject(self, rejected: Execution, reason: str) -> None:
        """Take a valid execution that cannot be counted for a bad record."""
        message, index = self.origins[id(rejected)]
        self.rejected.setdefault(message, []).append(BadInput(index, (reason,)))


def _read(batch: Batch, summary: Summary) -> _Read:
    read = _Read()
    ignored: Counter[str] = Counter()
    names: dict[str, str] = {}  # operations are compared without case; the first spelling counts
    for position, message in enumerate(batch.messages):
        decoded = decode(message.body)
        time = newest_time(decoded.records)
        if time is not None and (read.newest is None or time > read.newest):
            read.newest, read.enqueued = time, message.enqueued_time
        completions = _completions(decoded)
        for operation in completions.others:
            ignored[names.setdefault(operation.lower(), _name(operation, ignored))] += 1
        for index, found in completions.executions:
            read.executions.append(found)
            read.origins[id(found)] = (position, index)
        if completions.bad:
            read.rejected[position] = []
        summary.records += len(decoded.records)
    summary.executions = len(read.executions)
    summary.ignored = dict(ignored)
    return read


class _Completions(NamedTuple):
    """The task complete records of one message."""

    executions: list[tuple[int, Execution]]
    """Each with its record's index."""
    bad: list[BadInput]
    """Those that are bad, and all else in the message that is."""
    others: list[str]
    """The operations of all other records."""


def _completions(decoded: Decoded) -> _Completions:
    found = _Completions([], list(decoded.bad), [])
    for record in decoded.records:
        if not is_task_complete(record):
            found.others.append(record.operation)
            continue
        read = execution(record)
        if isinstance(read, list):
            found.bad.append(BadInput(record.index, tuple(read)))
        else:
            found.executions.append((record.index, read))
    return found


def _name(operation: str, ignored: Counter[str]) -> str:
    """The name that an ignored operation is counted under; a log line has no room for every name one can invent."""
    return operation if len(operation) <= limits.ID_LENGTH and len(ignored) < limits.OPERATION_NAMES else OTHER


def _seconds(moment: datetime) -> float:
    """Seconds since 1970. The worker may leave out that a time is in UTC."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _add(summary: Summary, written: list[Written]) -> None:
    for job in written:
        summary.counted += job.counted
        summary.duplicates += job.duplicates
        summary.conflicts += job.conflicts


def _dead_letters(batch: Batch, read: _Read) -> Iterator[DeadLetter]:
    """All letters of the batch; only those of one message are in memory at a time."""
    for position, rejected in read.rejected.items():
        message = batch.messages[position]
        bad = _bounded([*_completions(decode(message.body)).bad, *rejected])
        bodies = (
            raw_records(message.body, indexes) if (indexes := {i.index for i in bad if i.index is not None}) else {}
        )
        for item in bad:
            yield DeadLetter(
                hub=batch.hub,
                partition=batch.partition,
                sequence_number=message.sequence_number,
                record_index=item.index,
                enqueued_time=None if message.enqueued_time is None else message.enqueued_time.isoformat(),
                errors=item.errors,
                body=message.body if item.index is None else bodies.get(item.index, message.body),
            )


def _bounded(bad: list[BadInput]) -> list[BadInput]:
    """What is bad in one message, or the message as a whole where that is too much."""
    if len(bad) <= limits.BAD_RECORDS_A_MESSAGE:
        return bad
    first = min(bad, key=lambda item: item.index or 0)
    why = f"{len(bad)} of its records are bad; the first is {first.index}: {'; '.join(first.errors)}"
    return [BadInput(None, (why,))]
