"""Frames: how a stream of bytes is cut, and how performatives are put back into one (parts 2.2 and 2.3). Pure.

A connection starts with an 8-byte protocol header. Then come frames:

    size (4, counts itself)  data offset (1, in words of 4)  type (1: 0 AMQP, 1 SASL)  channel (2)
    extended header (to the data offset)  performative  payload

Rule: a frame longer than the limit of the moment is refused on sight of its first four bytes, so that `FrameReader`
never holds more than one frame and what arrived together with it.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from .errors import Condition, ProtocolError
from .performatives import Performative, encode_performative

SASL_HEADER = b"AMQP\x03\x01\x00\x00"
AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
MIN_MAX_FRAME_SIZE = 512  # no peer may ask for less
EMPTY_FRAME = b"\x00\x00\x00\x08\x02\x00\x00\x00"  # a heartbeat

_HEAD = struct.Struct(">IBBH")


class FrameType(IntEnum):
    """What a frame belongs to."""

    AMQP = 0
    SASL = 1


class Frame(NamedTuple):
    """One frame; the body is empty in a heartbeat."""

    frame_type: int
    channel: int
    body: bytes


class FrameReader:
    """Collects what arrives and gives it back as protocol headers and frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Bytes from the peer, cut anywhere."""
        self._buffer += data

    def header(self) -> bytes | None:
        """The protocol header, or None until it is all there.

        Raises:
            ProtocolError: something else arrived.
        """
        start = bytes(self._buffer[:4])
        if start != b"AMQP"[: len(start)]:
            raise ProtocolError(Condition.FRAMING_ERROR, "no AMQP protocol header")
        if len(self._buffer) < 8:
            return None
        return self._take(8)

    def frame(self, limit: int) -> Frame | None:
        """The next frame, or None until it is all there. `limit`: the longest frame allowed, in bytes.

        Raises:
            ProtocolError: the frame is longer, or shorter than its own header.
        """
        if len(self._buffer) < 8:
            return None
        size, offset, frame_type, channel = _HEAD.unpack_from(self._buffer)
        if not 8 <= 4 * offset <= size <= limit:
            raise ProtocolError(
                Condition.FRAMING_ERROR, f"a frame of {size} bytes (limit {limit}) with data offset {offset}"
            )
        if len(self._buffer) < size:
            return None
        return Frame(frame_type, channel, self._take(size, 4 * offset))

    def _take(self, end: int, start: int = 0) -> bytes:
        taken = bytes(memoryview(self._buffer)[start:end])
        del self._buffer[:end]
        return taken


def encode_frame(performative: Performative, channel: int = 0, frame_type: FrameType = FrameType.AMQP) -> bytes:
    """The frame of one performative without payload."""
    body = encode_performative(performative)
    return _HEAD.pack(_HEAD.size + len(body), 2, frame_type, channel) + body


# A settled transfer as one structure, for this is what most bytes leave through. All 11 fields, for azure-eventhub
# takes the payload from behind the eleventh: handle (uint), delivery-id (uint), delivery-tag (4 zero bytes: one tag
# for all, since the SDK keeps every tag it sees), message-format 0, settled, more, then five nulls.
_TRANSFER = struct.Struct(">IBBH 4sBB BI BI 6s BBB 5s")
_TRANSFER_START = b"\x00\x53\x14\xc0"
_TRANSFER_LIST_SIZE = _TRANSFER.size - _HEAD.size - 5
_TAG = b"\xa0\x04\x00\x00\x00\x00"
_NULLS = b"\x40" * 5


def append_delivery(
    out: list[bytes], channel: int, handle: int, delivery_id: int, message: bytes, max_frame_size: int
) -> int:
    """Append a settled message as transfer frames to `out`; the number of frames. No frame exceeds `max_frame_size`."""
    room = max_frame_size - _TRANSFER.size
    at, total, frames = 0, len(message), 0
    while True:
        more = total - at > room
        part = message[at : at + room] if more or at else message
        out.append(
            _TRANSFER.pack(
                _TRANSFER.size + len(part), 2, FrameType.AMQP, channel, _TRANSFER_START, _TRANSFER_LIST_SIZE, 11,
                0x70, handle, 0x70, delivery_id, _TAG, 0x43, 0x41, 0x41 if more else 0x42, _NULLS,
            )
        )  # fmt: skip
        out.append(part)
        frames += 1
        at += room
        if not more:
            return frames


def heartbeat_seconds(idle_time_out: int) -> float:
    """How often to send `EMPTY_FRAME` to a peer that closes after `idle_time_out` ms of silence: twice as often."""
    return max(idle_time_out, 100) / 2000
