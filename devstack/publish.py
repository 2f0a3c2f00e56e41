"""Sending messages to an Event Hub: those of a workload, or those that files of records make.

Messages of one partition are sent in their order, each exactly as it is; several partitions are sent to at a time.
Memory is bounded: a partition holds one batch on its way and a few waiting messages.

Files are packed line by line without looking into the lines, so that a bad line reaches the function unchanged.
"""

import asyncio
import gzip
import io
import json
import re
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, cycle
from pathlib import Path
from typing import BinaryIO, Protocol

from azure.eventhub import EventData, EventDataBatch
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.exceptions import EventHubError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

MESSAGE_BYTES = 250_000
"""Lines are packed into messages up to this size."""

_WAITING = 8  # messages of a partition, beside the batch on its way
_LINE_SECONDS = 5.0
_FILES = ("*.json", "*.json.gz", "*.jsonl", "*.jsonl.gz", "*.ndjson", "*.ndjson.gz")
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_ENVELOPE = re.compile(rb'\s*(?:\[|\{\s*"records"\s*:)', re.IGNORECASE)


class PublishError(Exception):
    """What was to be sent is not there, or the hub does not take it; the text says which."""


class Outgoing(Protocol):
    """What can be sent: a body, and the partition it goes to (None: any)."""

    @property
    def body(self) -> bytes: ...

    @property
    def partition(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class FileMessage:
    """A message made of lines of files."""

    body: bytes
    partition: str | None = None


@dataclass(slots=True)
class Counts:
    """What the hub has taken so far."""

    messages: int = 0
    bytes: int = 0
    seconds: float = 0.0
    partitions: Counter[str] = field(default_factory=Counter)
    """Messages by partition."""

    def __str__(self) -> str:
        seconds = self.seconds or 1e-9
        megabytes = self.bytes / 1e6
        return (
            f"{self.messages:,} messages, {megabytes:,.1f} MB in {self.seconds:,.1f} s: "
            f"{self.messages / seconds:,.0f} messages/s, {megabytes / seconds:,.1f} MB/s"
        )


type Shown = Callable[[Counts], None]


async def publish(
    connection: str,
    hub: str,
    messages: Iterable[Outgoing],
    progress: Shown,
    *,
    rate: float | None = None,
) -> Counts:
    """Sends the messages, at most `rate` a second, and tells the progress of it after every batch."""
    try:
        client = EventHubProducerClient.from_connection_string(connection, eventhub_name=hub)
    except ValueError as error:
        raise PublishError(f"this connection string does not lead to an Event Hub: {error}") from error
    try:
        async with client as producer:
            partitions = await producer.get_partition_ids()
            return await _Publication(producer, hub, partitions, progress, rate).run(messages)
    except EventHubError as error:
        reason = str(error).partition("\n")[0]
        raise PublishError(f"the hub {hub} cannot be sent to: {reason}") from error


@contextmanager
def shown_progress(console: Console, total: int | None = None) -> Iterator[Shown]:
    """A progress bar on a terminal, a line every few seconds elsewhere; once all is sent, the throughput.

    The total is of messages, if it is known.
    """
    lines = _Lines(console)
    if console.is_terminal:
        columns = (TextColumn("Sending"), BarColumn(), TextColumn("{task.fields[sent]}"), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=total, sent="")

            def move(counts: Counts) -> None:
                lines.last = counts
                bar.update(task, completed=counts.messages, sent=str(counts))

            yield move
    else:
        yield lines.show
    lines.end()


class _Lines:
    """Progress where there is no terminal, and its last line everywhere."""

    def __init__(self, console: Console) -> None:
        self.last = Counts()
        self._console = console
        self._due = _LINE_SECONDS

    def show(self, counts: Counts) -> None:
        self.last = counts
        if counts.seconds >= self._due:
            self._due = counts.seconds + _LINE_SECONDS
            self._console.print(f"So far {counts}", highlight=False)

    def end(self) -> None:
        self._console.print(f"Sent {self.last}", highlight=False)


class _Publication:
    """One run of publish: a queue and a sender for every partition."""

    def __init__(
        self,
        producer: EventHubProducerClient,
        hub: str,
        partitions: list[str],
        progress: Shown,
        rate: float | None,
    ) -> None:
        self._producer = producer
        self._hub = hub
        self._progress = progress
        self._rate = rate
        self._counts = Counts()
        self._started = time.perf_counter()
        self._queues: dict[str, asyncio.Queue[bytes | None]] = {
            partition: asyncio.Queue(_WAITING) for partition in partitions
        }

    async def run(self, messages: Iterable[Outgoing]) -> Counts:
        try:
            async with asyncio.TaskGroup() as group:
                for partition, queue in self._queues.items():
                    group.create_task(self._send(partition, queue))
                await self._distribute(messages)
        except ExceptionGroup as failed:
            raise _first(failed) from failed
        self._counts.seconds = time.perf_counter() - self._started
        return self._counts

    async def _distribute(self, messages: Iterable[Outgoing]) -> None:
        turns = cycle(self._queues)
        for number, message in enumerate(messages):
            if self._rate is not None:
                await asyncio.sleep(self._started + number / self._rate - time.perf_counter())
            partition = next(turns) if message.partition is None else message.partition
            queue = self._queues.get(partition)
            if queue is None:
                known = ", ".join(self._queues)
                raise PublishError(f"the hub {self._hub} has no partition {partition}, only {known}")
            await queue.put(message.body)
        for queue in self._queues.values():
            await queue.put(None)

    async def _send(self, partition: str, queue: asyncio.Queue[bytes | None]) -> None:
        """Sends what the queue brings until its end: in batches as full as they get, at a rate as soon as it comes."""
        batch = await self._producer.create_batch(partition_id=partition)
        sizes: list[int] = []

        async def deliver() -> None:
            nonlocal batch, sizes
            await self._producer.send_batch(batch)
            self._took(partition, sizes)
            batch, sizes = await self._producer.create_batch(partition_id=partition), []

        while (body := await queue.get()) is not None:
            while not _added(batch, body):
                await deliver()
            sizes.append(len(body))
            if self._rate is not None and queue.empty():
                await deliver()
        if sizes:
            await deliver()

    def _took(self, partition: str, sizes: list[int]) -> None:
        counts = self._counts
        counts.messages += len(sizes)
        counts.bytes += sum(sizes)
        counts.partitions[partition] += len(sizes)
        counts.seconds = time.perf_counter() - self._started
        self._progress(counts)


def _added(batch: EventDataBatch, body: bytes) -> bool:
    """Whether the message still fits, and is in the batch. Raises PublishError where it fits into none."""
    try:
        batch.add(EventData(body))
    except ValueError:
        if len(batch):
            return False
        limit = batch.max_size_in_bytes
        raise PublishError(f"a message of {len(body):,} bytes: the hub takes {limit:,} at most") from None
    return True


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def messages_from_files(paths: Iterable[Path]) -> Iterator[FileMessage]:
    """The messages that files make, and the files of folders: lines of records, arrays or envelopes, or gz of them.

    The paths are looked at before anything is sent: one that does not exist or has no file raises PublishError at once;
    that the files hold nothing is known, and raised, at their end.
    """
    files = [file for path in paths for file in _files(path)]
    return _messages(files)


def _messages(files: list[Path]) -> Iterator[FileMessage]:
    sent = False
    for body in _packed(chain.from_iterable(_pieces(file) for file in files)):
        sent = True
        yield FileMessage(body)
    if not sent:
        raise PublishError(f"nothing to send: {_listed(files)} empty")


def _listed(files: list[Path]) -> str:
    if len(files) == 1:
        return f"{files[0]} is"
    return f"all {len(files)} files are"


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise PublishError(f"{path} does not exist")
    found = sorted({file for pattern in _FILES for file in path.rglob(pattern) if file.is_file()})
    if not found:
        raise PublishError(f"{path} holds no file named {' or '.join(_FILES[:4])}")
    return found


@dataclass(frozen=True, slots=True)
class _Piece:
    """Something of a file: a line, which may share a message, or a document, which may not."""

    body: bytes
    alone: bool


def _packed(pieces: Iterable[_Piece]) -> Iterator[bytes]:
    lines: list[bytes] = []
    size = 0
    for piece in pieces:
        if lines and (piece.alone or size + len(piece.body) > MESSAGE_BYTES):
            yield b"\n".join(lines)
            lines, size = [], 0
        if piece.alone:
            yield piece.body
        else:
            lines.append(piece.body)
            size += len(piece.body) + 1
    if lines:
        yield b"\n".join(lines)


def _pieces(file: Path) -> Iterator[_Piece]:
    """What a file holds: lines, or a document over several lines."""
    try:
        with _opened(file) as stream:
            first = b""
            while not first.strip():
                first = stream.readline()
                if not first:
                    return
            first = first.removeprefix(_BOM)
            if _begins_document(first):
                document = first + stream.read()
                yield from _of_document(document) if _is_json(document) else _of_lines(document.split(b"\n"))
            else:
                yield from _of_lines(chain([first], stream))
    except (OSError, EOFError, zlib.error) as error:
        raise PublishError(f"{file} cannot be read: {error}") from error


def _opened(file: Path) -> BinaryIO:
    with file.open("rb") as stream:
        packed = stream.read(2) == _GZIP
    return io.BufferedReader(gzip.GzipFile(file)) if packed else file.open("rb")


def _begins_document(line: bytes) -> bool:
    """Whether a file's first line opens something that it does not close."""
    return line.lstrip().startswith((b"{", b"[")) and not _is_json(line)


def _of_lines(lines: Iterable[bytes]) -> Iterator[_Piece]:
    """The lines, unchanged. An envelope is alone, and so is what is no object at a glance: its dead letter then
    holds nothing else."""
    for line in lines:
        body = line.strip()
        if not body:
            continue
        if not _ENVELOPE.match(body):
            yield _Piece(body, alone=not _is_object_at_a_glance(body))
        elif _is_json(body):
            yield from _of_document(body)
        else:
            yield _Piece(body, alone=True)


def _is_object_at_a_glance(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return line.startswith(b"{") and line.endswith(b"}")


def _of_document(document: bytes) -> Iterator[_Piece]:
    """A document as it is; one that is too large for a message as the records in it, one a line."""
    if len(document) <= MESSAGE_BYTES:
        yield _Piece(document, alone=True)
        return
    for record in _records(json.loads(document, strict=False)):
        yield _Piece(json.dumps(record, separators=(",", ":")).encode(), alone=False)


def _records(value: object) -> Iterator[object]:
    if isinstance(value, list):
        for item in value:
            yield from _records(item)
        return
    held = None
    if isinstance(value, dict):
        held = next((item for key, item in value.items() if key.lower() == "records"), None)
    if isinstance(held, list):
        yield from _records(held)
    else:
        yield value


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True
