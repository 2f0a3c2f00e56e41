"""Archived diagnostic logs → tables, through the code that counts what comes from the hub.

    sources ─▶ bytes ─▶ whole lines, cut into messages ─▶ batches ─▶ ingest ─▶ noted in the journal

The rule: nothing here counts. A batch is given to `ingest` as if a hub had delivered it, with a name of its own for its
partial sums; so a replay may run beside the live function, be killed, and be repeated: what was counted is a duplicate.
The journal only saves time: it is written after a batch is counted, and a source that has changed is read again.

How a source is cut depends on its bytes alone, whatever came before. So a bad record is the same dead letter at every
replay: its partition is named for the source, its sequence number is the byte at which its message begins.

A source is JSON Lines, as a diagnostic setting writes to a storage account: a record a line, or an envelope of records;
or gzip of that. In memory are one batch and one chunk, whatever the size of the source.
"""

import asyncio
import hashlib
import json
import re
import sys
import zlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

from azure.storage.blob.aio import ContainerClient

from processors import limits
from processors.attempts import Attempts
from processors.azure_errors import storage_errors
from processors.columns import StoredRow
from processors.dead_letters import DeadLetter, DeadLetters
from processors.errors import BadRequest, StorageUnavailable
from processors.ingest import Batch, Message, Storage, ingest
from processors.plan import Operation
from processors.recent import Recent
from processors.write import Tables

HUB = "replay"
"""What dead letters have for their hub."""
SHARD = "replay"
"""The partial sums that replays add to."""

MESSAGE_BYTES = 256 * 1024
"""Lines are packed into messages up to this size; a longer line is a message of its own, up to limits.MESSAGE_BYTES."""
BATCH_BYTES = 8 * 1024 * 1024
"""A batch is counted once it has as much: the larger, the fewer transactions, and the more memory."""
CHUNK_BYTES = 4 * 1024 * 1024

_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds between tries of a batch, beyond those within `ingest`: storage that is busy must not end a long replay."""
ROLE = "Storage Blob Data Reader"
_SUFFIXES = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")


# --- sources ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """Something to replay."""

    name: str
    """The same wherever it is read from, as far as it can be: it names dead letters."""
    version: str | None
    """Another one once it has changed; None where that cannot be told, and nothing is noted."""
    size: int | None
    """Bytes to read, None where unknown."""
    chunks: Callable[[int], AsyncGenerator[bytes]]
    """Its bytes from an offset on."""

    @property
    def partition(self) -> str:
        """What its dead letters have for their partition: readable, without a slash, one for every source."""
        readable = re.sub(r"[^A-Za-z0-9_.=-]+", "-", self.name)[-80:].strip("-.")
        return f"{readable}-{hashlib.sha256(self.name.encode()).hexdigest()[:12]}"


def local_sources(paths: Iterable[str], stdin: BinaryIO | None = None) -> list[Source]:
    """Files, and the files of folders, by name; `-` is standard input. Raises BadRequest for one that is not there."""
    found: list[Source] = []
    for path in paths:
        if path == "-":
            found.append(_stdin(stdin or sys.stdin.buffer))
        else:
            found += [_file(each) for each in _files(Path(path))]
    return found


async def blob_sources(container: ContainerClient, prefix: str) -> list[Source]:
    """The logs of a container whose names begin so, by name. Raises BadRequest and StorageUnavailable."""

    async def listed() -> list[Source]:
        with storage_errors(f"listing container {container.container_name}", ROLE):
            return [
                Source(
                    _name(f"{container.container_name}/{blob.name}"),
                    blob.etag,
                    blob.size,
                    _blob_chunks(container, blob.name, blob.size),
                )
                async for blob in container.list_blobs(name_starts_with=prefix)
                if blob.name.endswith(_SUFFIXES)
            ]

    found = await Attempts().of(listed)
    if not found:
        raise BadRequest(
            f"container {container.container_name} has nothing under {prefix or 'its root'} that is named "
            f"{', '.join(_SUFFIXES)}"
        )
    return found


def _name(path: str) -> str:
    """The path from the folder or container on that holds the log; `resourceId=` is where a log's own path begins."""
    before, mark, after = path.replace("\\", "/").partition("resourceId=")
    return before.rstrip("/").rpartition("/")[2] + "/" + mark + after if mark else before


def _files(path: Path) -> list[Path]:
    try:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.name.endswith(_SUFFIXES) and file.is_file())
            if not found:
                raise BadRequest(f"{path} has no file named {', '.join(_SUFFIXES)}")
            return found
        path.stat()
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror or error}") from error
    return [path]


def _file(path: Path) -> Source:
    known = path.stat()
    version = f"{known.st_size}-{known.st_mtime_ns}"

    async def chunks(offset: int) -> AsyncGenerator[bytes]:
        left = known.st_size - offset
        try:
            file = await asyncio.to_thread(path.open, "rb")
            with file:
                file.seek(offset)
                while left > 0 and (chunk := await asyncio.to_thread(file.read, min(CHUNK_BYTES, left))):
                    left -= len(chunk)
                    yield chunk
        except OSError as error:
            raise _Unreadable(f"it cannot be read: {error.strerror or error}") from error

    return Source(_name(path.resolve().as_posix()), version, known.st_size, chunks)


def _stdin(stream: BinaryIO) -> Source:
    async def chunks(offset: int) -> AsyncGenerator[bytes]:
        assert offset == 0  # without a version, nothing is noted
        while chunk := await asyncio.to_thread(stream.read, CHUNK_BYTES):
            yield chunk

    return Source("-", None, None, chunks)


def _blob_chunks(container: ContainerClient, name: str, size: int) -> Callable[[int], AsyncGenerator[bytes]]:
    """Reads what there was when the blob was listed: an append blob may have grown since."""

    async def chunk(start: int) -> bytes:
        with storage_errors(f"reading blob {name}", ROLE):
            blob = await container.download_blob(name, start, min(CHUNK_BYTES, size - start))
            return await blob.readall()

    async def chunks(offset: int) -> AsyncGenerator[bytes]:
        for start in range(offset, size, CHUNK_BYTES):
            yield await Attempts().of(partial(chunk, start))

    return chunks


# --- bytes → messages ------------------------------------------------------------------------------------------------


class Piece(NamedTuple):
    """Whole lines of a source."""

    offset: int
    """Of the first byte, in what the source holds (of gzip, what is in it)."""
    end: int
    """Of the first byte after it."""
    body: bytes
    """Without the last line's end. Of a line that no message can hold, only the beginning."""


class Cutter:
    """Bytes, in chunks of any size, → pieces: as many whole lines each as fit, at least one."""

    def __init__(self, offset: int = 0) -> None:
        self._offset = offset
        self._buffer = bytearray()
        self._dropped = 0
        """Bytes of the line at hand that are left out of the buffer."""

    def feed(self, chunk: bytes) -> Iterator[Piece]:
        """The pieces that are known to be complete."""
        self._buffer += chunk
        while (length := self._length()) is not None:
            yield self._take(length)
        excess = len(self._buffer) - _HEAD
        if excess > 0:  # one line, without its end: only its beginning is kept
            del self._buffer[_HEAD:]
            self._dropped += excess

    def end(self) -> Iterator[Piece]:
        """What is left at the end of the source."""
        while self._buffer:
            yield self._take(self._length() or len(self._buffer))

    def _length(self) -> int | None:
        """Of the next piece, None where more has to be seen."""
        if len(self._buffer) <= MESSAGE_BYTES:
            return None
        newline = self._buffer.rfind(b"\n", 0, MESSAGE_BYTES)
        if newline < 0:
            newline = self._buffer.find(b"\n", MESSAGE_BYTES)
        return None if newline < 0 else newline + 1

    def _take(self, length: int) -> Piece:
        end = self._offset + length + self._dropped
        body = bytes(self._buffer[:length]).rstrip(b"\r\n")[:_HEAD]
        piece = Piece(self._offset, end, body)
        del self._buffer[:length]
        self._offset, self._dropped = end, 0
        return piece


_HEAD = limits.MESSAGE_BYTES + 1
"""Bytes kept of a line that is too long: one more than `decode` takes, so that it says what is wrong."""

_GZIP = b"\x1f\x8b"


class _Part(NamedTuple):
    """A piece of a source, or its end."""

    source: Source
    piece: Piece | None
    read: int
    """Bytes of the source that have been read, for a progress bar."""


class _Unreadable(Exception):  # noqa: N818 - names what was found
    """A source cannot be read; the text says why."""


async def _parts(source: Source, offset: int) -> AsyncGenerator[_Part]:
    """What the source holds from `offset` on, which is where a piece begins. Raises _Unreadable, StorageUnavailable."""
    async with aclosing(source.chunks(0)) as chunks:
        first = await anext(chunks, b"")
        unpack = _Gunzip(offset) if first.startswith(_GZIP) else None
        if offset == 0 or unpack is not None:
            async for part in _cut(source, first, chunks, Cutter(offset), unpack):
                yield part
            return
    async with aclosing(source.chunks(offset)) as chunks:
        async for part in _cut(source, b"", chunks, Cutter(offset), None, read=offset):
            yield part


async def _cut(
    source: Source,
    first: bytes,
    others: AsyncGenerator[bytes],
    cutter: Cutter,
    unpack: "_Gunzip | None",
    read: int = 0,
) -> AsyncGenerator[_Part]:
    chunk: bytes | None = first
    while chunk is not None:
        read += len(chunk)
        for plain in (chunk,) if unpack is None else unpack.feed(chunk):
            for piece in cutter.feed(plain):
                yield _Part(source, piece, read)
        chunk = await anext(others, None)
    if unpack is not None:
        unpack.end()
    for piece in cutter.end():
        yield _Part(source, piece, read)
    yield _Part(source, None, read)


class _Gunzip:
    """Gzip, of one or several members, → what is in it from an offset on, in chunks of bounded size."""

    def __init__(self, offset: int) -> None:
        self._skip = offset
        self._member: Any = None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What the chunk adds. Raises _Unreadable."""
        more = True
        while more:
            if self._member is None:
                if not chunk:
                    return
                self._member = zlib.decompressobj(16 + zlib.MAX_WBITS)
            try:
                plain = self._member.decompress(chunk, CHUNK_BYTES)
            except zlib.error as error:
                raise _Unreadable(f"it cannot be unpacked: {error}") from error
            chunk = self._member.unconsumed_tail
            more = bool(chunk) or len(plain) == CHUNK_BYTES
            if self._member.eof:
                chunk = self._member.unused_data.lstrip(b"\0")  # a member may be padded
                self._member, more = None, True
            dropped = min(self._skip, len(plain))
            self._skip -= dropped
            yield plain[dropped:]

    def end(self) -> None:
        """Raises _Unreadable where the last member is cut off."""
        if self._member is not None:
            raise _Unreadable("it cannot be unpacked: it ends in the middle")


# --- the journal -----------------------------------------------------------------------------------------------------


class _Note(NamedTuple):
    version: str
    offset: int
    done: bool


class Journal:
    """How far each source has been counted: a file of JSON lines, the last of a source counts.

    Losing it, or writing it from two replays at a time, costs time and nothing else. Raises BadRequest where the file
    cannot be written.
    """

    def __init__(self, path: Path | None, *, restart: bool = False) -> None:
        self._path = path
        self._notes: dict[str, _Note] = {}
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not restart:
                for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                    self._read(line)
            elif restart:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise BadRequest(
                f"the state {path} cannot be used: {error.strerror or error}; give --state FILE"
            ) from error

    def _read(self, line: str) -> None:
        try:
            note = json.loads(line)
            self._notes[str(note["source"])] = _Note(str(note["version"]), int(note["offset"]), note["done"] is True)
        except (ValueError, LookupError, TypeError):
            return  # the last line of a replay that was killed

    def offset(self, source: Source) -> int | None:
        """Where to go on; None where there is nothing left to do."""
        note = self._notes.get(source.name)
        if note is None or note.version != source.version:
            return 0
        return None if note.done else note.offset

    def note(self, parts: Sequence[_Part]) -> None:
        """That these parts, all of a batch, are counted."""
        if self._path is None:
            return
        reached: dict[str, dict[str, Any]] = {}
        for part in parts:
            if (version := part.source.version) is None:
                continue
            note = reached.setdefault(
                part.source.name, {"source": part.source.name, "version": version, "offset": 0, "done": False}
            )
            if part.piece is None:
                note["done"] = True
            else:
                note["offset"] = part.piece.end
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(note) + "\n" for note in reached.values())
        except OSError as error:
            raise BadRequest(f"the state {self._path} cannot be written: {error.strerror or error}") from error


# --- counting --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Totals:
    """What a replay did."""

    sources: int = 0
    """Read to their end."""
    skipped: int = 0
    """Done by an earlier replay."""
    bytes: int = 0
    """Of lines, unpacked."""
    records: int = 0
    executions: int = 0
    """Valid task complete records."""
    counted: int = 0
    duplicates: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    """Records of other operations, by name."""
    dead_letters: int = 0
    unreadable: list[str] = field(default_factory=list)
    """Why a source could not be read to its end; what was read is counted."""


type Shown = Callable[[int], None]
"""Told how many bytes of the sources have been dealt with since it was last called."""


class Backfill:
    """One replay. `storage` gives what an invocation of `ingest` takes; with None, nothing is written: a dry run."""

    def __init__(
        self,
        storage: Callable[[], Storage] | None,
        journal: Journal,
        clock: Callable[[], float],
        progress: Shown,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self.totals = Totals()
        self._storage = storage or _Nowhere
        self._journal = journal
        self._clock = clock
        self._progress = progress
        self._sleep = sleep
        self._shown: dict[str, int] = {}

    async def run(self, sources: Iterable[Source]) -> Self:
        """Replay the sources, one after the other. Raises BadRequest and StorageUnavailable; then run it again."""
        batch: list[_Part] = []
        room = BATCH_BYTES
        for source in sources:
            offset = self._journal.offset(source)
            if offset is None:
                self.totals.skipped += 1
                self._progress(source.size or 0)
                continue
            try:
                async with aclosing(_parts(source, offset)) as parts:
                    async for part in parts:
                        batch.append(part)
                        room -= 0 if part.piece is None else len(part.piece.body)
                        if room <= 0:
                            await self._count(batch)
                            batch, room = [], BATCH_BYTES
            except _Unreadable as unreadable:
                self.totals.unreadable.append(f"{source.name}: {unreadable}")
        if batch:
            await self._count(batch)
        return self

    async def _count(self, parts: Sequence[_Part]) -> None:
        places: list[_Place] = []
        messages = []
        for source, piece, _ in parts:
            if piece is None:
                self.totals.sources += 1
                continue
            self.totals.bytes += piece.end - piece.offset
            if piece.body.strip():
                messages.append(Message(piece.body, len(places), None))
                places.append(_Place(source.partition, piece.offset))
        if messages:
            await self._ingest(Batch(HUB, SHARD, messages), places)
        self._journal.note(parts)
        for source, _, read in parts:
            self._progress(read - self._shown.get(source.name, 0))
            self._shown[source.name] = read

    async def _ingest(self, batch: Batch, places: Sequence["_Place"]) -> None:
        for pause in (*_PAUSES, None):
            storage = self._storage()
            try:
                summary = await ingest(batch, _Placed(storage, places), self._clock)
                break
            except StorageUnavailable as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise asyncio.CancelledError from error  # which `ingest` never lets out
                if pause is None or not error.transient:
                    raise
            await self._sleep(pause)
        self.totals.records += summary.records
        self.totals.executions += summary.executions
        self.totals.counted += summary.counted
        self.totals.duplicates += summary.duplicates
        self.totals.ignored.update(summary.ignored)
        self.totals.dead_letters += summary.dead_letters


class _Place(NamedTuple):
    """Where a message comes from, as its dead letters say it."""

    partition: str
    offset: int


class _Placed:
    """`ingest.Storage` whose dead letters are named for their place in the source, not in the batch."""

    def __init__(self, storage: Storage, places: Sequence[_Place]) -> None:
        self._storage = storage
        self._places = places

    @property
    def tables(self) -> Tables:
        return self._storage.tables

    @property
    def dead_letters(self) -> DeadLetters:
        return self

    @property
    def recent(self) -> Recent:
        return self._storage.recent

    @property
    def requests(self) -> int:
        return self._storage.requests

    @property
    def seconds(self) -> float:
        return self._storage.seconds

    async def put(self, letter: DeadLetter) -> None:
        place = self._places[letter.sequence_number]
        await self._storage.dead_letters.put(
            replace(letter, partition=place.partition, sequence_number=place.offset)
        )  # fmt: skip


class _Nowhere:
    """`ingest.Storage` that is empty, and stays so: in how many buckets makes no difference."""

    requests = 0
    seconds = 0.0

    @property
    def recent(self) -> Recent:
        return Recent()

    @property
    def tables(self) -> Self:
        return self

    @property
    def dead_letters(self) -> Self:
        return self

    async def get(self, table: str, partition_key: str, row_key: str) -> StoredRow | None:  # noqa: ARG002
        return None

    async def query(
        self, table: str, partition_key: str, first: str, end: str, limit: int | None = None  # noqa: ARG002
    ) -> list[StoredRow]:  # fmt: skip
        return []

    async def commit(self, table: str, operations: Sequence[Operation]) -> list[str]:  # noqa: ARG002
        return [""] * len(operations)

    async def put(self, letter: DeadLetter) -> None:
        """Nothing."""
