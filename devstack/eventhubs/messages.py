"""Messages: the sections of an event, a batch and a request (part 3.2 of the specification). Pure.

A message is a row of sections, each `00 53 <code> <value>`, in this order, most of them optional:

    70 header  71 delivery annotations  72 message annotations  73 properties  74 application properties
    75 data (may repeat) | 76 sequence | 77 value  78 footer

The service adds its own message annotations to an event when it stores it: sequence number, offset, enqueued time,
partition key. A batch (message format 0x80013700) is a message whose data sections are one encoded event each.

Rule: an event is never decoded to be stored. Its sections are walked by their lengths, which proves that a consumer
can walk them too, and the annotations are spliced in; body and properties stay as the producer encoded them.
"""

import struct
from collections.abc import Mapping
from typing import NamedTuple

from .decoding import decode, skip
from .encoding import compound, encode
from .errors import AmqpDecodeError
from .values import UINT32, Symbol, Value

BATCH_FORMAT = 0x80013700

_HEADER, _DELIVERY_ANNOTATIONS, _MESSAGE_ANNOTATIONS, _PROPERTIES, _APPLICATION, _DATA, _VALUE = (
    0x70,
    0x71,
    0x72,
    0x73,
    0x74,
    0x75,
    0x77,
)
_BINARY8, _BINARY32, _MAP8, _MAP32 = 0xA0, 0xB0, 0xC1, 0xD1

_SEQUENCE_NUMBER = encode(Symbol("x-opt-sequence-number"))
_OFFSET = encode(Symbol("x-opt-offset"))
_ENQUEUED_TIME = encode(Symbol("x-opt-enqueued-time"))
_PARTITION_KEY = encode(Symbol("x-opt-partition-key"))
_SYSTEM_KEYS = frozenset((_SEQUENCE_NUMBER, _OFFSET, _ENQUEUED_TIME, _PARTITION_KEY))

# The annotations of every stored event, in one piece: sequence number (long), enqueued time (timestamp), and the
# start of the offset (string of up to 255 bytes).
_NUMBERS = struct.Struct(f">{len(_SEQUENCE_NUMBER)}scq{len(_ENQUEUED_TIME)}scq{len(_OFFSET)}scB")


class Event(NamedTuple):
    """An event as a producer sent it, cut for storing."""

    header: bytes  # the header section, or nothing
    partition_key: bytes  # encoded string, or nothing
    annotations: bytes  # encoded keys and values of the producer's own message annotations
    annotation_items: int  # how many of both
    body: bytes  # the sections from the properties on


def read_event(message: bytes) -> Event:
    """Cut a message.

    Raises:
        AmqpDecodeError: its sections cannot be walked to its end, or its annotations are no map.
    """
    header = partition_key = annotations = b""
    items = at = 0
    start = -1
    size = len(message)
    while at < size:
        code = _section_code(message, at)
        end = skip(message, at + 3)
        if start < 0:
            if code == _HEADER:
                header = message[at:end]
            elif code == _MESSAGE_ANNOTATIONS:
                partition_key, annotations, items = _read_annotations(message, at + 3, end)
            elif code != _DELIVERY_ANNOTATIONS:
                start = at
        at = end
    return Event(header, partition_key, annotations, items, message[start:] if start >= 0 else b"")


def read_batch(message: bytes) -> tuple[bytes, list[bytes]]:
    """The partition key of a batch (as `Event.partition_key`) and its events, each an encoded message.

    Raises:
        AmqpDecodeError: its sections cannot be walked to its end.
    """
    partition_key = b""
    events: list[bytes] = []
    at, size = 0, len(message)
    while at < size:
        code = _section_code(message, at)
        end = skip(message, at + 3)
        if code == _DATA:
            events.append(_data_content(message, at + 3, end))
        elif code == _MESSAGE_ANNOTATIONS:
            partition_key, _, _ = _read_annotations(message, at + 3, end)
        at = end
    return partition_key, events


def stored_event(event: Event, sequence_number: int, offset: int, enqueued_ms: int, partition_key: bytes) -> bytes:
    """The message that consumers get: the event with the service's annotations."""
    digits = b"%d" % offset
    own = _NUMBERS.pack(
        _SEQUENCE_NUMBER, b"\x81", sequence_number, _ENQUEUED_TIME, b"\x83", enqueued_ms, _OFFSET, b"\xa1", len(digits)
    )
    key = _PARTITION_KEY + partition_key if partition_key else b""
    items = 6 + (2 if key else 0) + event.annotation_items
    annotations = compound(b"".join((own, digits, key, event.annotations)), items, _MAP8, _MAP32)
    return b"".join((event.header, b"\x00\x53\x72", annotations, event.body))


def with_delivery_annotations(stored: bytes, section: bytes) -> bytes:
    """A stored event with one more section, at its place: behind the header."""
    at = skip(stored, 3) if stored[2] == _HEADER else 0
    return b"".join((stored[:at], section, stored[at:]))


def delivery_annotations(values: Mapping[str, Value]) -> bytes:
    """The section that tells a consumer about the partition rather than about the event."""
    return _section(_DELIVERY_ANNOTATIONS, {Symbol(name): value for name, value in values.items()})


class Request(NamedTuple):
    """A message to `$cbs` or `$management`."""

    message_id: Value
    reply_to: str
    application: dict[Value, Value]


def read_request(message: bytes) -> Request:
    """Decode a request; what it has no section for is empty.

    Raises:
        AmqpDecodeError: it is no message.
    """
    message_id: Value = None
    reply_to = ""
    application: dict[Value, Value] = {}
    at = 0
    while at < len(message):
        code = _section_code(message, at)
        value, at = decode(message, at + 3)
        if code == _PROPERTIES and isinstance(value, list):
            fields = [*value, *[None] * 5]
            message_id = fields[0]
            reply_to = fields[4] if isinstance(fields[4], str) else ""
        elif code == _APPLICATION and isinstance(value, dict):
            application = value
    return Request(message_id, reply_to, application)


def encode_reply(correlation_id: Value, application: dict[Value, Value], value: dict[Value, Value] | None) -> bytes:
    """The answer to a request. Correlation id: the request's message id, of the same type."""
    properties: list[Value] = [None] * 5 + [correlation_id]
    return _section(_PROPERTIES, properties) + _section(_APPLICATION, application) + _section(_VALUE, value)


def _section_code(message: bytes, at: int) -> int:
    if message[at : at + 2] != b"\x00\x53" or at + 3 > len(message):
        raise AmqpDecodeError(f"no message section at byte {at}")
    return message[at + 2]


def _section(code: int, value: Value) -> bytes:
    return b"\x00\x53" + bytes((code,)) + encode(value)


def _data_content(message: bytes, at: int, end: int) -> bytes:
    if message[at] == _BINARY8:
        return message[at + 2 : end]
    if message[at] == _BINARY32:
        return message[at + 5 : end]
    raise AmqpDecodeError(f"the data section at byte {at} holds no binary")


def _read_annotations(message: bytes, at: int, end: int) -> tuple[bytes, bytes, int]:
    """(the partition key's encoded value, the pairs that are not the service's own, how many keys and values)."""
    if message[at] == _MAP8 and end - at >= 3:
        count, at = message[at + 2], at + 3
    elif message[at] == _MAP32 and end - at >= 9:
        count, at = UINT32.unpack_from(message, at + 5)[0], at + 9
    else:
        raise AmqpDecodeError(f"the annotations at byte {at} are no map")
    partition_key = b""
    others: list[bytes] = []
    for _ in range(count // 2):
        value_at = skip(message, at)
        next_at = skip(message, value_at)
        key = message[at:value_at]
        if key == _PARTITION_KEY:
            partition_key = _encoded_text(message[value_at:next_at])
        elif key not in _SYSTEM_KEYS:
            others.append(message[at:next_at])
        at = next_at
    if at != end or count % 2:
        raise AmqpDecodeError("the annotations' items do not end where their map ends")
    return partition_key, b"".join(others), 2 * len(others)


def _encoded_text(encoded: bytes) -> bytes:
    """A partition key as it was sent, if it is a string with something in it; else nothing."""
    value, _ = decode(encoded)
    return encoded if isinstance(value, str) and value else b""
