"""Values to AMQP 1.0 bytes (part 1 of the specification). Pure.

Rules: a value is written in the shortest form that azure-eventhub reads; an `Encoded` is written as it is.
"""

import struct
from collections.abc import Callable, Iterable
from uuid import UUID

from .values import NUMBERS, UINT32, Char, DecimalBits, Described, Encoded, Symbol, UInt, ULong


def encode(value: object) -> bytes:
    """The bytes of a value.

    Raises:
        ValueError: a number out of its type's range.
        TypeError: a Python type that stands for no AMQP type.
    """
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        raise TypeError(f"no AMQP type for {type(value).__name__}")
    try:
        return encoder(value)
    except struct.error as error:
        raise ValueError(f"{type(value).__name__} {value!r}: {error}") from error


def encode_list(items: Iterable[bytes]) -> bytes:
    """A list of values that are already encoded. Never the empty form 45, which azure-eventhub cannot read."""
    parts = list(items)
    return compound(b"".join(parts), len(parts), 0xC0, 0xD0)


def encode_symbols(names: Iterable[str]) -> Encoded:
    """An array of symbols of up to 255 characters."""
    raw = [name.encode("ascii") for name in names]
    body = b"".join(bytes((len(name),)) + name for name in raw)
    return Encoded(compound(b"\xa3" + body, len(raw), 0xE0, 0xF0))


def compound(body: bytes, count: int, small: int, large: int) -> bytes:
    """A list, map or array: its items' bytes under the shorter constructor that holds them."""
    size = len(body)
    if size < 255 and count < 256:
        return bytes((small, size + 1, count)) + body
    return b"".join((bytes((large,)), UINT32.pack(size + 4), UINT32.pack(count), body))


def _fixed(code: int, layout: str) -> Callable[[object], bytes]:
    packed, prefix = struct.Struct(layout), bytes((code,))
    return lambda value: prefix + packed.pack(value)


def _unsigned(zero: int, small: int, wide: Callable[[object], bytes]) -> Callable[[int], bytes]:
    def write(value: int) -> bytes:
        if value == 0:
            return bytes((zero,))
        return bytes((small, value)) if 0 < value < 256 else wide(value)

    return write


def _sized(raw: bytes, small: int, large: int) -> bytes:
    size = len(raw)
    return bytes((small, size)) + raw if size < 256 else bytes((large,)) + UINT32.pack(size) + raw


def _encode_map(value: dict[object, object]) -> bytes:
    body = b"".join(encode(key) + encode(item) for key, item in value.items())
    return compound(body, 2 * len(value), 0xC1, 0xD1)


_FIXED_ENCODERS = {kind: _fixed(code, layout) for code, layout, kind in reversed(NUMBERS)}
_ENCODERS: dict[type, Callable[..., bytes]] = {
    **_FIXED_ENCODERS,
    type(None): lambda _: b"\x40",
    bool: lambda value: b"\x41" if value else b"\x42",
    UInt: _unsigned(0x43, 0x52, _FIXED_ENCODERS[UInt]),
    ULong: _unsigned(0x44, 0x53, _FIXED_ENCODERS[ULong]),
    Encoded: bytes,
    Char: lambda value: b"\x73" + value.encode("utf-32-be"),
    UUID: lambda value: b"\x98" + value.bytes,
    DecimalBits: lambda value: bytes(({4: 0x74, 8: 0x84, 16: 0x94}[len(value)],)) + value,
    bytes: lambda value: _sized(value, 0xA0, 0xB0),
    str: lambda value: _sized(value.encode(), 0xA1, 0xB1),
    Symbol: lambda value: _sized(value.encode("ascii"), 0xA3, 0xB3),
    list: lambda value: encode_list(map(encode, value)),
    dict: _encode_map,
    Described: lambda value: b"\x00" + encode(value.descriptor) + encode(value.value),
}
