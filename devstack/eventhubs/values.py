"""AMQP 1.0 types as Python types (part 1.6 of the specification). Pure.

Python's own types stand for the AMQP types that they resemble; the subclasses here keep the others apart, so that
what was decoded encodes to the same type again:

    None bool  int → int (32 bits)  float → double  str → string  bytes → binary  list  dict → map  UUID
    UByte UShort UInt ULong Byte Short Long Timestamp  Float32 Char Symbol DecimalBits  Described

Rule: these types hold values and nothing else; `decoding.py` and `encoding.py` know the wire.
"""

import struct
from typing import NamedTuple
from uuid import UUID


class UByte(int):
    """0 to 2^8 - 1."""


class UShort(int):
    """0 to 2^16 - 1."""


class UInt(int):
    """0 to 2^32 - 1."""


class ULong(int):
    """0 to 2^64 - 1."""


class Byte(int):
    """8 bits, signed."""


class Short(int):
    """16 bits, signed."""


class Long(int):
    """64 bits, signed."""


class Timestamp(int):
    """Milliseconds since 1970-01-01T00:00Z, signed 64 bits."""


class Float32(float):
    """An IEEE 754 binary32."""


class Char(str):
    """One Unicode character."""

    __slots__ = ()


class Symbol(str):
    """A name from a constrained domain; ASCII."""

    __slots__ = ()


class DecimalBits(bytes):
    """A decimal of 4, 8 or 16 bytes, as its bits."""


class Encoded(bytes):
    """One value that is already encoded."""


class Described(NamedTuple):
    """A value under a descriptor, which says what the value means."""

    descriptor: "Value"
    value: "Value"


type Value = bool | int | float | str | bytes | UUID | list[Value] | dict[Value, Value] | Described | None

UINT32 = struct.Struct(">I")

# (constructor, content, type): the integers and floats; the first of a type is how it is encoded.
NUMBERS: tuple[tuple[int, str, type], ...] = (
    (0x50, ">B", UByte),
    (0x51, ">b", Byte),
    (0x60, ">H", UShort),
    (0x61, ">h", Short),
    (0x70, ">I", UInt),
    (0x71, ">i", int),
    (0x72, ">f", Float32),
    (0x80, ">Q", ULong),
    (0x81, ">q", Long),
    (0x82, ">d", float),
    (0x83, ">q", Timestamp),
    (0x52, ">B", UInt),
    (0x53, ">B", ULong),
    (0x54, ">b", int),
    (0x55, ">b", Long),
)
