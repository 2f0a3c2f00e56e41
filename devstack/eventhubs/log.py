"""A partition's log: its events in order, in memory and, if wanted, in a file.

Every event has a sequence number (0, 1, 2…), an offset (the sum of the sizes of the events before it, so that it
grows in jumps, as the service's does) and an enqueued time (ms since 1970, UTC; never before its predecessor's).

Rules:
- What is appended together is stored together or not at all; it is on its way to the disk (handed to the operating
  system) before `append` returns. That outlives the process, also a killed one, but not a power cut.
- An event is never changed. With a retention, the oldest go as soon as the rest exceeds it; the last one stays, so
  that the numbers go on from it.

The file is a head, then a record an event, each with a checksum. A record that is cut off, as a kill in the middle of
a write leaves it, ends the log: it and anything behind it is cut off when the log is opened.
"""

import contextlib
import logging
import os
import struct
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from .errors import Condition, DataError, LinkRefusedError
from .messages import Event, stored_event
from .positions import BEGINNING, LATEST, Measure, StartPosition

logger = logging.getLogger(__name__)

NO_TIME = -62135596800000  # 0001-01-01, the service's enqueued time where there is no event

_HEAD = struct.Struct(">8sq")  # magic, when the partition was created (ms since 1970)
_MAGIC = b"EHLOG\x00\x00\x01"
_RECORD = struct.Struct(">II")  # payload length, checksum of what follows
_NUMBERS = struct.Struct(">qqq")  # sequence number, offset, enqueued time; the payload is next
_COMPACT_SLACK = 1 << 20  # bytes of dropped events that a file may hold beyond as much as is retained


class Bounds(NamedTuple):
    """What the service tells of a partition: -1, "-1" and year 1 where there is no event."""

    first_sequence_number: int
    last_sequence_number: int
    last_offset: str
    last_enqueued_ms: int
    is_empty: bool


class PartitionLog:
    """One partition's events.

    `first` is the sequence number of the oldest event that is held, `end` the one that the next event gets.

    Raises (when made):
        DataError: the file is not one of this server's.
        OSError: the file cannot be opened.
    """

    def __init__(self, created_ms: int, path: Path | None = None, retention_bytes: int | None = None) -> None:
        self.created_ms = created_ms
        self.first = 0
        self._payloads: list[bytes] = []
        self._offsets: list[int] = []
        self._times: list[int] = []
        self._size = 0  # bytes of the payloads
        self._next_offset = 0
        self._retention = retention_bytes
        self._path = path
        self._file: FileIO | None = None
        self._file_size = 0
        if path is not None:
            self._open(path)
            self._trim()

    @property
    def end(self) -> int:
        """The sequence number that the next event gets."""
        return self.first + len(self._payloads)

    @property
    def bounds(self) -> Bounds:
        """The first and last event's numbers."""
        if not self._payloads:
            return Bounds(self.first, self.end - 1, BEGINNING, NO_TIME, is_empty=True)
        return Bounds(self.first, self.end - 1, str(self._offsets[-1]), self._times[-1], is_empty=False)

    def read(self, sequence_number: int, most: int, most_bytes: int) -> Sequence[bytes]:
        """Stored messages from a held sequence number on: at most `most`, and no more once `most_bytes` is reached."""
        start = sequence_number - self.first
        size = 0
        for index in range(start, min(start + most, len(self._payloads))):
            size += len(self._payloads[index])
            if size >= most_bytes:
                return self._payloads[start : index + 1]
        return self._payloads[start : start + most]

    def append(self, events: Sequence[Event], partition_key: bytes, now_ms: int) -> None:
        """Store events. `partition_key`: the encoded key they were sent with, or nothing.

        Raises:
            OSError: the file cannot take them; nothing is stored.
        """
        enqueued_ms = max(now_ms, self._times[-1]) if self._times else now_ms
        offset, sequence_number = self._next_offset, self.end
        payloads: list[bytes] = []
        offsets: list[int] = []
        for event in events:
            key = partition_key or event.partition_key
            payload = stored_event(event, sequence_number, offset, enqueued_ms, key)
            payloads.append(payload)
            offsets.append(offset)
            offset += len(payload)
            sequence_number += 1
        times = [enqueued_ms] * len(payloads)
        if self._file is not None:
            self._write(_records(self.end, offsets, times, payloads))
        self._payloads += payloads
        self._offsets += offsets
        self._times += times
        self._size += offset - self._next_offset
        self._next_offset = offset
        self._trim()

    def sequence_number_at(self, position: StartPosition) -> int:
        """Where a consumer that asks for this position begins.

        Raises:
            LinkRefusedError: the position is beyond the last event.
        """
        find: Callable[[list[int], int], int] = bisect_left if position.inclusive else bisect_right
        if position.value == LATEST:
            return max(self.first, self.end - 1) if position.inclusive else self.end
        if position.measure is Measure.OFFSET and position.value == BEGINNING:
            return self.first
        value = int(position.value)
        match position.measure:
            case Measure.ENQUEUED_TIME:
                return self.first + find(self._times, value)
            case Measure.SEQUENCE_NUMBER:
                self._check(value, self.end, self.end - 1, "sequence number")
                return max(self.first, value if position.inclusive else value + 1)
            case Measure.OFFSET:
                last = self._offsets[-1] if self._offsets else -1
                self._check(value, max(last, 0), last, "offset")
                return self.first + find(self._offsets, value)

    def close(self) -> None:
        """Hand everything to the disk itself, and let go of the file."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    @staticmethod
    def _check(value: int, limit: int, last: int, what: str) -> None:
        if value > limit:
            raise LinkRefusedError(
                Condition.ARGUMENT_ERROR,
                f"The supplied {what} '{value}' is invalid. The last {what} in the system is '{last}'",
            )

    # ------------------------------------------------------------ retention

    def _trim(self) -> None:
        """Let go of the oldest events, a tenth of the retention at a time: a list is slow to shorten at its start."""
        if self._retention is None or self._size <= self._retention * 11 // 10:
            return
        drop = 0
        while self._size > self._retention and drop < len(self._payloads) - 1:
            self._size -= len(self._payloads[drop])
            drop += 1
        self.first += drop
        for column in (self._payloads, self._offsets, self._times):
            del column[:drop]
        if self._file is not None and self._file_size > 2 * self._size + _COMPACT_SLACK:
            self._compact()

    # ------------------------------------------------------------ the file

    def _open(self, path: Path) -> None:
        held = b""
        with contextlib.suppress(FileNotFoundError):
            held = path.read_bytes()
        if _MAGIC.startswith(held[: len(_MAGIC)]) and len(held) < _HEAD.size:
            held = _HEAD.pack(_MAGIC, self.created_ms)  # new, or killed while it was made
            path.write_bytes(held)
        magic, self.created_ms = _HEAD.unpack_from(held)
        if magic != _MAGIC:
            raise DataError(f"{path}: not a partition log of this server")
        good = self._load(held)
        if good < len(held):
            logger.warning("%s: cut off %d bytes of a record that was never finished", path, len(held) - good)
            os.truncate(path, good)
        self._file = FileIO(path, "a")
        self._file_size = good

    def _load(self, held: bytes) -> int:
        """Take up the records; the position behind the last good one."""
        at = _HEAD.size
        while len(held) - at >= _RECORD.size + _NUMBERS.size:
            length, checksum = _RECORD.unpack_from(held, at)
            numbers_at = at + _RECORD.size
            end = numbers_at + _NUMBERS.size + length
            if end > len(held) or zlib.crc32(memoryview(held)[numbers_at:end]) != checksum:
                break
            sequence_number, offset, enqueued_ms = _NUMBERS.unpack_from(held, numbers_at)
            if not self._payloads:
                self.first = sequence_number
            self._payloads.append(held[end - length : end])
            self._offsets.append(offset)
            self._times.append(enqueued_ms)
            self._size += length
            self._next_offset = offset + length
            at = end
        return at

    def _write(self, records: bytes) -> None:
        """Write all or nothing: a part of it would hide every later record from the next start."""
        assert self._file is not None
        try:
            _write_all(self._file, records)
        except OSError:
            os.ftruncate(self._file.fileno(), self._file_size)
            raise
        self._file_size += len(records)

    def _compact(self) -> None:
        """Write the file anew with what is still held. If that fails, the old one goes on."""
        assert self._path is not None
        assert self._file is not None
        fresh_path = self._path.with_suffix(".new")
        content = _HEAD.pack(_MAGIC, self.created_ms) + _records(self.first, self._offsets, self._times, self._payloads)
        try:
            fresh = FileIO(fresh_path, "w")
            try:
                _write_all(fresh, content)
                fresh_path.replace(self._path)
            except OSError:
                fresh.close()
                raise
        except OSError as error:
            logger.warning("%s: not compacted: %s", self._path, error)
            return
        self._file.close()
        self._file, self._file_size = fresh, len(content)


def _records(first: int, offsets: Sequence[int], times: Sequence[int], payloads: Sequence[bytes]) -> bytes:
    parts: list[bytes] = []
    for index, payload in enumerate(payloads):
        numbers = _NUMBERS.pack(first + index, offsets[index], times[index])
        parts += (_RECORD.pack(len(payload), zlib.crc32(payload, zlib.crc32(numbers))), numbers, payload)
    return b"".join(parts)


def _write_all(file: FileIO, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[file.write(view) or 0 :]
