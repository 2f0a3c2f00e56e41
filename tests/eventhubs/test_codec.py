"""AMQP values: round trips, and any bytes at all."""

import math
import struct
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.eventhubs.decoding import MAX_DEPTH, decode, skip
from devstack.eventhubs.encoding import encode, encode_symbols
from devstack.eventhubs.errors import AmqpDecodeError
from devstack.eventhubs.values import (
    Byte,
    Char,
    DecimalBits,
    Described,
    Encoded,
    Float32,
    Long,
    Short,
    Symbol,
    Timestamp,
    UByte,
    UInt,
    ULong,
    UShort,
)


def _signed(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1)


def _unsigned(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, (1 << bits) - 1)


_TEXT = st.text(max_size=300)
_SYMBOLS = st.text(st.characters(codec="ascii"), max_size=300).map(Symbol)
_SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    _signed(32),
    _unsigned(8).map(UByte),
    _unsigned(16).map(UShort),
    _unsigned(32).map(UInt),
    _unsigned(64).map(ULong),
    _signed(8).map(Byte),
    _signed(16).map(Short),
    _signed(64).map(Long),
    _signed(64).map(Timestamp),
    st.floats(allow_nan=False),
    st.floats(allow_nan=False, width=32).map(Float32),
    st.characters(codec="utf-8").map(Char),
    st.sampled_from((4, 8, 16)).flatmap(lambda width: st.binary(min_size=width, max_size=width)).map(DecimalBits),
    st.uuids(),
    st.binary(max_size=300),
    _TEXT,
    _SYMBOLS,
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.dictionaries(_TEXT, inner, max_size=6),
        st.builds(Described, st.one_of(_unsigned(64).map(ULong), _SYMBOLS), inner),
    ),
    max_leaves=12,
)


def _types(value: Any) -> Any:
    """The value with the type of everything in it."""
    if isinstance(value, Described):
        return Described, _types(value.descriptor), _types(value.value)
    if isinstance(value, list):
        return [_types(item) for item in value]
    if isinstance(value, dict):
        return {key: _types(item) for key, item in value.items()}
    return type(value), value


@given(_VALUES, st.binary(max_size=5))
def test_what_is_encoded_decodes_to_the_same_value_of_the_same_type(value: Any, more: bytes) -> None:
    encoded = encode(value)
    decoded, end = decode(encoded + more)
    assert _types(decoded) == _types(value)
    assert end == skip(encoded + more, 0) == len(encoded)


@given(st.binary(max_size=400))
def test_any_bytes_give_a_value_or_one_decode_error(data: bytes) -> None:
    for read in (decode, skip):
        with suppress(AmqpDecodeError):
            read(data, 0)


@given(_VALUES, st.data())
def test_damaged_bytes_give_a_value_or_one_decode_error(value: Any, data: st.DataObject) -> None:
    damaged = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(AmqpDecodeError):
        decode(bytes(damaged))


@given(_VALUES)
def test_a_value_that_is_cut_off_is_a_decode_error(value: Any) -> None:
    encoded = encode(value)
    with pytest.raises(AmqpDecodeError):
        decode(encoded[:-1])
    with pytest.raises(AmqpDecodeError):
        skip(encoded[:-1], 0)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\x43", UInt(0)), (b"\x52\x07", UInt(7)), (b"\x44", ULong(0)), (b"\x53\x07", ULong(7)),
        (b"\x54\xff", -1), (b"\x55\xff", Long(-1)), (b"\x56\x01", True), (b"\x45", []),
        (b"\xd0\x00\x00\x00\x05\x00\x00\x00\x01\x40", [None]), (b"\xe0\x01\x00", []),
        (b"\xe0\x04\x02\x50\x01\x02", [UByte(1), UByte(2)]),
        (b"\xe0\x05\x01\x00\x53\x09\x41", [Described(ULong(9), True)]),
    ],
)  # fmt: skip
def test_the_forms_that_are_read_but_never_written(data: bytes, value: Any) -> None:
    assert decode(data) == (value, len(data))
    assert skip(data, 0) == len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x3f", b"\x56\x02", b"\xa3\x01\xff", b"\xa1\x01\xff", b"\x73\xff\xff\xff\xff",
        b"\xc0\x01\x02", b"\xc0\x03\x01\x40\x40", b"\xc1\x02\x01\x40", b"\xc1\x03\x02\x45\x40", b"\x98\x00",
        b"\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x40",  # four thousand million nulls in one byte
        b"\xd0\x7f\xff\xff\xff\x00\x00\x00\x01\x40",
        b"\x00" * 100_000,
        b"\xf0\x00\x00\xff\xff\x00\x00\x00\x01" * 5_000,
    ],
)  # fmt: skip
def test_malformed_values_are_decode_errors(data: bytes) -> None:
    with pytest.raises(AmqpDecodeError):
        decode(data)


def test_nesting_is_bounded() -> None:
    array = b"\x40"
    for _ in range(MAX_DEPTH + 2):
        array = b"\xf0" + struct.pack(">II", len(array) + 4, 1) + array
    with pytest.raises(AmqpDecodeError, match="nest deeper"):
        decode(array)
    value: Any = None
    for _ in range(MAX_DEPTH):
        value = [value]
    assert decode(encode(value))[0] == value
    with pytest.raises(AmqpDecodeError, match="nest deeper"):
        decode(encode([value]))


def test_what_stands_for_no_amqp_value_is_an_error() -> None:
    with pytest.raises(ValueError, match="2147483648"):
        encode(1 << 31)
    with pytest.raises(TypeError, match="set"):
        encode(set())
    assert encode([]) == b"\xc0\x01\x00"  # never 45, which azure-eventhub cannot read
    assert encode(Encoded(b"\x41")) == b"\x41"
    assert decode(encode_symbols(["a", "bc" * 99, "d" * 99]))[0] == ["a", "bc" * 99, "d" * 99]
    assert math.isnan(decode(encode(math.nan))[0])  # type: ignore[arg-type]
    assert decode(encode(UUID(int=5)))[0] == UUID(int=5)
