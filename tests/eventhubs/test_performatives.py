"""Performatives and frames: written in full, read tolerantly, cut anywhere."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.eventhubs.attach import source_filters, terminus_address
from devstack.eventhubs.decoding import decode
from devstack.eventhubs.encoding import encode
from devstack.eventhubs.errors import AmqpDecodeError, ProtocolError
from devstack.eventhubs.frames import AMQP_HEADER, Frame, FrameReader, append_delivery, encode_frame
from devstack.eventhubs.performatives import (
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    End,
    Flow,
    Open,
    Performative,
    Transfer,
    amqp_error,
    decode_performative,
    encode_performative,
    rejected,
)
from devstack.eventhubs.values import Described, Encoded, Symbol, UByte, UInt, ULong, UShort

_EXAMPLES: list[tuple[Performative, int]] = [
    (Open("me"), 10),
    (Begin(), 8),
    (Attach("link", 0, True), 14),
    (Flow(), 11),
    (Transfer(0), 11),
    (Disposition(True, 0), 6),
    (Detach(0), 3),
    (End(), 1),
    (Close(amqp_error("amqp:not-found", "gone")), 1),
]


def _described(code: int, fields: list[object]) -> bytes:
    return b"\x00\x53" + bytes((code,)) + encode(fields)


@pytest.mark.parametrize(("performative", "fields"), _EXAMPLES, ids=lambda item: type(item).__name__)
def test_every_field_is_written_and_read_back(performative: Performative, fields: int) -> None:
    body = encode_performative(performative)
    value, end = decode(body)
    assert isinstance(value, Described)
    assert isinstance(value.value, list)
    assert len(value.value) == fields
    assert end == len(body)
    assert decode_performative(body + b"payload") == (performative, len(body))


def test_errors_have_all_three_fields() -> None:
    for encoded in (amqp_error("amqp:not-found", "gone"), rejected("amqp:not-found", "gone")[4:]):
        body = encoded[encoded.index(b"\x00\x53\x1d") :]
        assert decode(body)[0] == Described(ULong(0x1D), [Symbol("amqp:not-found"), "gone", None])


def test_elided_fields_take_their_defaults_and_surplus_ones_are_passed_over() -> None:
    flow, _ = decode_performative(_described(0x13, [None, UInt(7)]))
    assert flow == Flow(incoming_window=7)
    assert decode_performative(b"\x00\x53\x17\x45")[0] == End()
    large = b"\x00\x80" + (0x16).to_bytes(8, "big") + encode([UInt(3), True, None, "surplus", [1]])
    assert decode_performative(large)[0] == Detach(3, closed=True)
    tagged, _ = decode_performative(_described(0x14, [UInt(0), UInt(1), b"\x40"]))
    assert tagged == Transfer(0, 1, b"\x40")  # a tag that looks like an encoded null is still a tag


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\x40", b"\x00", b"\x00\x53\x10", b"\x00\x53\x10\x40", b"\x00\xa1\x01x\x45", b"\x00\x53\x99\x45",
        b"\x00\x53\x10\xc0\x00", b"\x00\x53\x10\xd0\x00\x00\x00\x01\x00",
        _described(0x12, ["link", UInt(0)]), _described(0x12, [1, UInt(0), True]),
        _described(0x14, [True]), _described(0x11, [UInt(1 << 16)]), _described(0x18, [None])[:-1],
        b"\x00\x53\x17\xc0\x03\x01\x40\x40",
    ],
)  # fmt: skip
def test_malformed_performatives_are_decode_errors(body: bytes) -> None:
    with pytest.raises(AmqpDecodeError):
        decode_performative(body)


@given(st.sampled_from([item for item, _ in _EXAMPLES]), st.binary(min_size=1, max_size=3), st.data())
def test_damaged_performatives_are_read_or_are_decode_errors(
    performative: Performative, damage: bytes, data: st.DataObject
) -> None:
    body = bytearray(encode_performative(performative))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at : at + len(damage)] = damage
    with suppress(AmqpDecodeError):
        decode_performative(bytes(body))


def test_termini() -> None:
    filters = {Symbol("apache.org:selector-filter:string"): Described(Symbol("name"), "text"), Symbol("x"): "plain"}
    source = Encoded(_described(0x28, ["hub", None, None, None, None, None, None, filters]))
    assert terminus_address(source) == "hub"
    assert source_filters(source) == ["text", "plain"]
    nothing = Encoded(encode(None))
    assert (terminus_address(nothing), source_filters(nothing)) == ("", [])
    assert source_filters(Encoded(_described(0x28, ["hub"]))) == []


@given(st.lists(st.integers(1, 60), max_size=20))
def test_a_stream_may_be_cut_anywhere(cuts: list[int]) -> None:
    frames = [encode_frame(item, channel) for channel, (item, _) in enumerate(_EXAMPLES)]
    stream = AMQP_HEADER + b"".join(frames)
    reader = FrameReader()
    header, found = None, []
    for cut in [*cuts, len(stream)]:
        reader.feed(stream[:cut])
        stream = stream[cut:]
        header = header or reader.header()
        while header and (frame := reader.frame(512)):
            found.append(frame)
    assert header == AMQP_HEADER
    assert found == [Frame(0, channel, frame[8:]) for channel, frame in enumerate(frames)]


def test_an_extended_header_is_passed_over() -> None:
    reader = FrameReader()
    reader.feed(b"\x00\x00\x00\x0e\x03\x01\x00\x02" + b"more" + b"ok")
    assert reader.frame(512) == Frame(1, 2, b"ok")


@pytest.mark.parametrize("size", ["00000201 02", "ffffffff 02", "00000007 02", "00000008 01", "00000008 03"])
def test_absurd_frames_are_refused_by_their_head(size: str) -> None:
    reader = FrameReader()
    reader.feed(bytes.fromhex(size) + b"\x00\x00\x00")
    with pytest.raises(ProtocolError):
        reader.frame(512)


def test_what_is_no_protocol_header_is_refused_by_its_first_byte() -> None:
    reader = FrameReader()
    assert reader.header() is None
    reader.feed(b"G")
    with pytest.raises(ProtocolError):
        reader.header()


@given(st.binary(max_size=2000), st.integers(512, 700))
def test_a_delivery_is_cut_into_frames_that_the_peer_takes(message: bytes, limit: int) -> None:
    out: list[bytes] = []
    count = append_delivery(out, 3, 5, 7, message, limit)
    reader = FrameReader()
    reader.feed(b"".join(out))
    parts: list[bytes] = []
    transfers: list[Transfer] = []
    while frame := reader.frame(limit):
        transfer, payload_at = decode_performative(frame.body)
        assert isinstance(transfer, Transfer)
        assert frame.channel == 3
        transfers.append(transfer)
        parts.append(frame.body[payload_at:])
    assert b"".join(parts) == message
    assert len(transfers) == count
    assert [transfer.more for transfer in transfers] == [True] * (count - 1) + [False]
    assert {(item.handle, item.delivery_id, item.settled, item.message_format) for item in transfers} == {
        (5, 7, True, 0)
    }


def test_numbers_are_written_in_their_wire_types() -> None:
    value, _ = decode(encode_performative(Begin(remote_channel=1, handle_max=300)))
    assert isinstance(value, Described)
    assert isinstance(value.value, list)
    assert [type(item) for item in value.value[:2]] == [UShort, UInt]
    assert type(value.value[4]) is UInt
    assert encode(UByte(7)) == b"\x50\x07"
