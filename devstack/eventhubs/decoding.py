"""AMQP 1.0 bytes to values (part 1 of the specification). Pure.

A value on the wire is a constructor byte, then its content. The constructor's high nibble gives the content's width:
4x none, 5x to 9x fixed (1, 2, 4, 8, 16 bytes), Ax and Bx a size then bytes, Cx and Dx a size, a count and items,
Ex and Fx the same for items that share one constructor. 00 precedes a described value: a descriptor, then the value.

Rules: any bytes give a value or one `AmqpDecodeError`, in memory proportional to their length (an item count beyond
the bytes that are there is refused, and nesting is bounded); an array decodes to a list.
"""

import struct
from collections.abc import Callable
from typing import NoReturn
from uuid import UUID

from .errors import AmqpDecodeError
from .values import NUMBERS, UINT32, Char, DecimalBits, Described, Symbol, UInt, ULong, Value

MAX_DEPTH = 32  # nested values; what the SDKs send stays below 6

type _Decoder = Callable[[bytes, int, int], tuple[Value, int]]  # (data, position of the content, depth)

_TOO_DEEP = f"values nest deeper than {MAX_DEPTH}"
_DECODE_FAILURES = (IndexError, struct.error, UnicodeDecodeError, ValueError, OverflowError)

# ---------------------------------------------------------------- skipping

_UNKNOWN, _SMALL, _LARGE = -1, -2, -3


def _content_width(code: int) -> int:
    if code not in _DECODERS:
        return _UNKNOWN
    high = code >> 4
    if high in (0xA, 0xC, 0xE):
        return _SMALL
    if high in (0xB, 0xD, 0xF):
        return _LARGE
    return 0 if high == 4 else 1 << (high - 5)


def skip(data: bytes, at: int) -> int:
    """The position after the value that starts at `at`, without decoding it.

    Raises:
        AmqpDecodeError: no value starts there, or it ends beyond the data.
    """
    end = at
    pending = 1  # values still to pass: a described value is two
    try:
        while pending:
            code = data[end]
            end += 1
            if code == 0:
                pending += 1
                continue
            width = _WIDTHS[code]
            if width >= 0:
                end += width
            elif width == _SMALL:
                end += 1 + data[end]
            elif width == _LARGE:
                end += 4 + UINT32.unpack_from(data, end)[0]
            else:
                _unknown(code)
            pending -= 1
    except _DECODE_FAILURES:
        end = len(data) + 1
    if end > len(data):
        raise AmqpDecodeError(f"the value at byte {at} is cut off")
    return end


# ---------------------------------------------------------------- decoding


def decode(data: bytes, at: int = 0) -> tuple[Value, int]:
    """The value that starts at `at`, and the position after it.

    Raises:
        AmqpDecodeError: the bytes there are no AMQP value.
    """
    try:
        return _decode(data, at, 0)
    except _DECODE_FAILURES as error:
        raise AmqpDecodeError(f"the value at byte {at} is malformed: {error}") from error


def _decode(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    if depth > MAX_DEPTH:
        raise AmqpDecodeError(_TOO_DEEP)
    code = data[at]
    if code == 0:
        descriptor, at = _decode(data, at + 1, depth + 1)
        value, at = _decode(data, at, depth + 1)
        return Described(descriptor, value), at
    return _decoder(code)(data, at + 1, depth)


def _decoder(code: int) -> _Decoder:
    decoder = _DECODERS.get(code)
    if decoder is None:
        _unknown(code)
    return decoder


def _unknown(code: int) -> NoReturn:
    raise AmqpDecodeError(f"no AMQP type has the constructor {code:#04x}")


def _constant(value: Value) -> _Decoder:
    return lambda _data, at, _depth: (value, at)


def _empty_list(_data: bytes, at: int, _depth: int) -> tuple[Value, int]:
    return [], at


def _number(layout: str, make: Callable[[int | float], Value] | None = None) -> _Decoder:
    packed = struct.Struct(layout)
    size = packed.size

    def read(data: bytes, at: int, _depth: int) -> tuple[Value, int]:
        value: Value = packed.unpack_from(data, at)[0]
        return value, at + size

    def read_as(data: bytes, at: int, _depth: int) -> tuple[Value, int]:
        assert make is not None
        return make(packed.unpack_from(data, at)[0]), at + size

    return read if make is None else read_as


def _boolean(data: bytes, at: int, _depth: int) -> tuple[Value, int]:
    if data[at] > 1:
        raise AmqpDecodeError(f"a boolean of {data[at]:#04x}")
    return data[at] == 1, at + 1


def _char(data: bytes, at: int, _depth: int) -> tuple[Value, int]:
    return Char(_take(data, at, 4).decode("utf-32-be")), at + 4


def _uuid(data: bytes, at: int, _depth: int) -> tuple[Value, int]:
    return UUID(bytes=_take(data, at, 16)), at + 16


def _decimal(width: int) -> _Decoder:
    return lambda data, at, _depth: (DecimalBits(_take(data, at, width)), at + width)


def _variable(size_width: int, make: Callable[[bytes], Value]) -> _Decoder:
    def read(data: bytes, at: int, _depth: int) -> tuple[Value, int]:
        size = data[at] if size_width == 1 else UINT32.unpack_from(data, at)[0]
        at += size_width
        return make(_take(data, at, size)), at + size

    return read


def _take(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise AmqpDecodeError(f"{size} bytes from byte {at} on are cut off")
    return data[at : at + size]


def _string(raw: bytes) -> Value:
    return raw.decode()


def _symbol(raw: bytes) -> Value:
    return Symbol(raw.decode("ascii"))


def _compound_bounds(data: bytes, at: int, size_width: int) -> tuple[int, int, int]:
    """(number of items, position of the first, position after the last); the size counts from after itself."""
    if size_width == 1:
        size, count = data[at], data[at + 1]
    else:
        size, count = UINT32.unpack_from(data, at)[0], UINT32.unpack_from(data, at + 4)[0]
    start = at + 2 * size_width
    end = at + size_width + size
    if not start <= end <= len(data):
        raise AmqpDecodeError(f"a list, map or array of {size} bytes at byte {at} is cut off")
    if count > end - start:
        raise AmqpDecodeError(f"{count} items in {end - start} bytes")
    return count, start, end


def _items(data: bytes, at: int, size_width: int, depth: int) -> tuple[list[Value], int]:
    count, at, end = _compound_bounds(data, at, size_width)
    items: list[Value] = []
    for _ in range(count):
        value, at = _decode(data, at, depth + 1)
        items.append(value)
    _check_end(at, end)
    return items, end


def _check_end(at: int, end: int) -> None:
    if at != end:
        raise AmqpDecodeError(f"the items of a list, map or array end at byte {at}, not at {end}")


def _list(size_width: int) -> _Decoder:
    return lambda data, at, depth: _items(data, at, size_width, depth)


def _map(size_width: int) -> _Decoder:
    def read(data: bytes, at: int, depth: int) -> tuple[Value, int]:
        items, end = _items(data, at, size_width, depth)
        if len(items) % 2:
            raise AmqpDecodeError("a map with a key that has no value")
        try:
            return dict(zip(items[::2], items[1::2], strict=True)), end
        except TypeError as error:
            raise AmqpDecodeError("a map with a list or a map as a key") from error

    return read


def _array(size_width: int) -> _Decoder:
    def read(data: bytes, at: int, depth: int) -> tuple[Value, int]:
        if depth > MAX_DEPTH:  # an array in an array is not read through _decode
            raise AmqpDecodeError(_TOO_DEEP)
        count, at, end = _compound_bounds(data, at, size_width)
        if at == end:
            return [], end
        descriptors: list[Value] = []
        while data[at] == 0:
            if len(descriptors) == MAX_DEPTH:
                raise AmqpDecodeError(_TOO_DEEP)
            descriptor, at = _decode(data, at + 1, depth + 1)
            descriptors.append(descriptor)
        read_item = _decoder(data[at])
        at += 1
        items: list[Value] = []
        for _ in range(count):
            value, at = read_item(data, at, depth + 1)
            for descriptor in reversed(descriptors):
                value = Described(descriptor, value)
            items.append(value)
        _check_end(at, end)
        return items, end

    return read


_DECODERS: dict[int, _Decoder] = {
    0x40: _constant(None),
    0x41: _constant(True),
    0x42: _constant(False),
    0x43: _constant(UInt(0)),
    0x44: _constant(ULong(0)),
    0x45: _empty_list,
    0x56: _boolean,
    0x73: _char,
    0x74: _decimal(4),
    0x84: _decimal(8),
    0x94: _decimal(16),
    0x98: _uuid,
    0xA0: _variable(1, bytes),
    0xA1: _variable(1, _string),
    0xA3: _variable(1, _symbol),
    0xB0: _variable(4, bytes),
    0xB1: _variable(4, _string),
    0xB3: _variable(4, _symbol),
    0xC0: _list(1),
    0xC1: _map(1),
    0xD0: _list(4),
    0xD1: _map(4),
    0xE0: _array(1),
    0xF0: _array(4),
    **{code: _number(layout, None if kind in (int, float) else kind) for code, layout, kind in NUMBERS},
}
_WIDTHS = tuple(_content_width(code) for code in range(256))
