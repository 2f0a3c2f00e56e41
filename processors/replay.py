"""Dead letters → counted: a letter's original bytes through `ingest` once more.

The rule: after a replay, tables and letters are as if the bytes had come today. A letter without anything bad is
removed; one record that is still bad keeps its letter's name, with today's errors; a message of which some records are
bad leaves a letter for each of them. What was counted before is a duplicate, as at any delivery, so a replay may be
repeated, broken off, or run beside the live function.

A rehearsal runs the same code on tables whose changes stay in memory, and leaves the letters alone.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from processors import limits
from processors.columns import Row, StoredRow
from processors.dead_letter_blobs import AzureDeadLetters
from processors.dead_letters import DeadLetter
from processors.errors import Conflict, UnreadableLetter
from processors.ingest import Batch, Message, ingest
from processors.plan import Insert, Operation
from processors.recent import Recent
from processors.write import Tables, in_parallel


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one letter, or would."""

    name: str
    counted: int = 0
    duplicates: int = 0
    ignored: int = 0
    """Records of other operations."""
    bad: tuple[DeadLetter, ...] = ()
    """What is still bad, as the letters that stay or come."""
    failure: str | None = None
    """Why the letter could not be replayed, or is left as it is; None where it was settled."""

    @property
    def solved(self) -> bool:
        return not self.bad and self.failure is None


class Storage(Protocol):
    """Storage as a replay uses it."""

    @property
    def tables(self) -> Tables: ...

    @property
    def dead_letters(self) -> AzureDeadLetters: ...

    @property
    def recent(self) -> Recent: ...


class Replay:
    """One run over any number of letters. With `rehearse`, nothing is written."""

    def __init__(self, storage: Storage, clock: Callable[[], float], *, rehearse: bool) -> None:
        self._letters = storage.dead_letters
        self._tables = _Rehearsal(storage.tables) if rehearse else storage.tables
        self._recent = storage.recent
        self._clock = clock
        self._rehearse = rehearse

    async def of(self, name: str) -> Outcome:
        """Replay one letter. Raises StorageUnavailable."""
        stored = await self._letters.get(name)
        if stored is None:
            return Outcome(name, failure="there is no such letter")
        try:
            letter = DeadLetter.read(name, stored.content)
        except UnreadableLetter as error:
            return Outcome(name, failure=f"{error}; correct the blob or delete it")
        outcome = await self._ingest(letter)
        if self._rehearse or await self._settle(letter, stored.etag, outcome.bad):
            return outcome
        return replace(outcome, failure="the letter was changed meanwhile and is left as it is; replay it again")

    async def _ingest(self, letter: DeadLetter) -> Outcome:
        enqueued = None if letter.enqueued_time is None else datetime.fromisoformat(letter.enqueued_time)
        message = Message(letter.body, letter.sequence_number, enqueued)
        # What a rehearsal commits is not there: it is not to be remembered, nor that a job was founded.
        recent = Recent(self._recent.buckets) if self._rehearse else self._recent
        storage = _Counting(self._tables, recent)
        summary = await ingest(Batch(letter.hub, letter.partition, [message]), storage, self._clock)
        bad = _still_bad(letter, storage.dead_letters.letters)
        return Outcome(letter.name, summary.counted, summary.duplicates, sum(summary.ignored.values()), bad)

    async def _settle(self, letter: DeadLetter, etag: str, bad: Sequence[DeadLetter]) -> bool:
        """Write what is bad, then remove or correct the letter; False where it has changed since it was read."""
        kept = None
        for found in bad:
            if found.name == letter.name:
                kept = found
            else:
                await self._letters.put(found)
        if kept is None:
            return await self._letters.remove(letter.name, etag)
        return kept == letter or await self._letters.replace(kept, etag)


def _still_bad(letter: DeadLetter, found: Sequence[DeadLetter]) -> tuple[DeadLetter, ...]:
    """The letters of a replayed message as they are; those of a replayed record as the record's own letter."""
    if letter.record_index is None or not found:
        return tuple(found)
    return (replace(letter, errors=tuple(error for each in found for error in each.errors)),)


@dataclass
class _Collected:
    """`dead_letters.DeadLetters` in memory: what is bad is decided by the replay."""

    letters: list[DeadLetter] = field(default_factory=list)

    async def put(self, letter: DeadLetter) -> None:
        self.letters.append(letter)


@dataclass
class _Counting:
    """`ingest.Storage` of one replayed letter."""

    tables: Tables
    recent: Recent
    dead_letters: _Collected = field(default_factory=_Collected)
    requests: int = 0
    seconds: float = 0.0


class _Rehearsal:
    """`write.Tables` that reads the real ones and keeps what is committed to itself."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._changed: dict[tuple[str, str], dict[str, StoredRow]] = defaultdict(dict)
        """Table and PartitionKey → RowKey → row."""

    async def get(self, table: str, partition_key: str, row_key: str) -> StoredRow | None:
        changed = self._changed[table, partition_key].get(row_key)
        return changed or await self._tables.get(table, partition_key, row_key)

    async def query(
        self, table: str, partition_key: str, first: str, end: str, limit: int | None = None
    ) -> list[StoredRow]:
        stored = await self._tables.query(table, partition_key, first, end, limit)
        rows = {_row_key(each.row): each for each in stored} | self._changed[table, partition_key]
        return [rows[row_key] for row_key in sorted(rows) if first <= row_key < end][:limit]

    async def commit(self, table: str, operations: Sequence[Operation]) -> list[str]:
        partition_key = str(operations[0].row["PartitionKey"])

        async def exists(operation: Operation) -> bool:
            if not isinstance(operation, Insert):
                return False
            return await self.get(table, partition_key, _row_key(operation.row)) is not None

        taken = await in_parallel(exists, operations, limits.CONCURRENT_READS)
        if True in taken:
            raise Conflict(taken.index(True))
        rehearsed = {_row_key(operation.row): StoredRow(operation.row, "rehearsed") for operation in operations}
        self._changed[table, partition_key].update(rehearsed)
        return [stored.etag for stored in rehearsed.values()]


def _row_key(row: Row) -> str:
    return str(row["RowKey"])
