"""The protocol without a network: what a client gets for what it does, also one that means harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.eventhubs.config import HubConfig
from devstack.eventhubs.connection import HANDSHAKE_FRAME_SIZE, MAX_UNFINISHED
from devstack.eventhubs.decoding import decode, skip
from devstack.eventhubs.frames import AMQP_HEADER, EMPTY_FRAME, SASL_HEADER, FrameType, encode_frame
from devstack.eventhubs.links import CREDIT, MAX_PENDING_REPLIES
from devstack.eventhubs.performatives import (
    ACCEPTED,
    NULL,
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    End,
    Flow,
    Open,
    SaslInit,
    Transfer,
)
from devstack.eventhubs.service import MAX_MESSAGE_SIZE, Service
from devstack.eventhubs.values import Symbol, Value

from .wire import Client, error_text, event, section, service


def _last_sequence_number(of: Service, partition_id: str = "0") -> int:
    return of.namespace.hub("eh1").partition(partition_id).log.bounds.last_sequence_number


def test_the_handshake_with_sasl_byte_by_byte() -> None:
    client = Client(service(), opened=False)
    init = encode_frame(SaslInit("ANONYMOUS"), frame_type=FrameType.SASL)
    for byte in SASL_HEADER + init + AMQP_HEADER + encode_frame(Open("me")):
        client.connection.receive(bytes((byte,)))
    assert client.wire.written.startswith(SASL_HEADER)
    assert AMQP_HEADER in client.wire.written
    assert client.wire.timers[0].is_cancelled
    assert not client.wire.is_closed


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"AMQP\x00\x00\x09\x01",
        SASL_HEADER + encode_frame(Open("me")),
        SASL_HEADER + (HANDSHAKE_FRAME_SIZE + 1).to_bytes(4, "big") + b"\x02\x01\x00\x00",
        AMQP_HEADER + b"\xff\xff\xff\xff\x02\x00\x00\x00",
        AMQP_HEADER + encode_frame(Begin()),
        AMQP_HEADER + b"\x00\x00\x00\x0c\x02\x00\x00\x00junk",
    ],
)
def test_a_bad_handshake_ends_the_connection(data: bytes) -> None:
    to = service()
    client = Client(to, opened=False)
    client.connection.receive(data)
    assert client.wire.is_closed
    assert to.statistics.connections_failed == 1
    client.connection.receive(AMQP_HEADER)  # what comes afterwards is not even looked at
    assert not Client(to).wire.is_closed


def test_an_unfinished_handshake_is_given_up() -> None:
    client = Client(service(), opened=False)
    client.connection.receive(SASL_HEADER)
    client.wire.timers[0].callback()
    assert client.wire.is_aborted


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=5), st.booleans())
def test_any_frames_end_at_most_their_own_connection(bodies: list[bytes], has_descriptor: bool) -> None:
    client = Client(service())
    client.attach_sender()
    client.attach_receiver()
    for body in bodies:
        whole = b"\x00\x53" + body if has_descriptor else body
        client.connection.receive((len(whole) + 8).to_bytes(4, "big") + b"\x02\x00\x00\x00" + whole)
        client.wire.run()


@given(st.binary(max_size=200), st.sampled_from((0, 0x80013700)))
def test_any_message_is_accepted_or_rejected(message: bytes, message_format: int) -> None:
    to = service()
    client = Client(to)
    client.attach_sender()
    client.received()
    client.transfer(message, message_format=message_format)
    (disposition,) = client.received()
    assert isinstance(disposition, Disposition)
    assert not client.wire.is_closed
    if disposition.state != ACCEPTED:
        assert _last_sequence_number(to) == -1
    client.attach_receiver()
    client.grant(1000)
    for performative, payload in client.frames():
        if isinstance(performative, Transfer):  # whatever is stored, a consumer can take apart
            at = 0
            while at < len(payload):
                assert payload[at : at + 2] == b"\x00\x53"
                at = skip(payload, at + 3)


def test_a_frame_too_long_is_told_and_ends_the_connection() -> None:
    client = Client(service())
    client.connection.receive((1 << 31).to_bytes(4, "big") + b"\x02\x00\x00\x00")
    (close,) = client.received()
    assert "amqp:connection:framing-error" in error_text(close)
    assert client.wire.is_closed


def test_unfinished_messages_are_bounded() -> None:
    client = Client(service())
    client.attach_sender()
    client.received()
    client.transfer(b"x" * (MAX_MESSAGE_SIZE // 2), more=True)
    assert client.received() == []
    client.transfer(b"x" * (MAX_MESSAGE_SIZE // 2), more=True)
    client.transfer(b"x", more=True)
    (detach,) = client.received()
    assert "message-size-exceeded" in error_text(detach)
    client.transfer(b"x")  # sent before the client knew
    assert client.received() == []

    for handle in range(2 * MAX_UNFINISHED // MAX_MESSAGE_SIZE):
        client.attach_sender(handle=handle)
    client.received()
    for handle in range(2 * MAX_UNFINISHED // MAX_MESSAGE_SIZE):
        client.send(Transfer(handle, 0, b"tag", more=True))
        body_room = MAX_MESSAGE_SIZE - 1000
        frame = encode_frame(Transfer(handle, more=True))
        size = (len(frame) + body_room).to_bytes(4, "big")
        client.connection.receive(size + frame[4:] + b"x" * body_room)
    assert isinstance(client.received()[-1], Close)
    assert client.wire.is_closed


def test_an_aborted_message_is_forgotten() -> None:
    to = service()
    client = Client(to)
    client.attach_sender()
    client.transfer(event()[:5], more=True)
    client.send(Transfer(0, aborted=True))
    client.transfer(event(), number=1)
    assert _last_sequence_number(to) == 0
    assert client.received()[-1] == Disposition(is_receiver=True, first=1, last=1, settled=True, state=ACCEPTED)


def test_a_producer_is_kept_in_credit() -> None:
    client = Client(service())
    client.attach_sender()
    flow = client.received()[-1]
    assert isinstance(flow, Flow)
    assert flow.link_credit == CREDIT
    for number in range(CREDIT // 2):
        client.transfer(event(), number=number)
    flows = [item for item in client.received() if isinstance(item, Flow)]
    assert [(item.delivery_count, item.link_credit) for item in flows] == [(CREDIT // 2, CREDIT)]


def test_a_batch_is_stored_whole_or_not_at_all() -> None:
    to = service()
    client = Client(to)
    client.attach_sender()
    client.received()
    client.transfer(event(event()) + event(b"no message"), message_format=0x80013700)
    (disposition,) = client.received()
    assert "amqp:decode-error" in error_text(disposition)
    assert _last_sequence_number(to) == -1
    client.transfer(event(event()) + event(event()), message_format=0x80013700, number=1)
    assert _last_sequence_number(to) == 1


def test_a_refused_link_is_answered_without_the_clients_node() -> None:
    client = Client(service(HubConfig("eh1", 2)))
    client.attach_sender("nowhere")
    client.attach_receiver("eh1/ConsumerGroups/$Default/Partitions/7")
    sender, sender_end, receiver, receiver_end = client.received()
    assert isinstance(sender, Attach)
    assert (sender.target, sender.is_receiver) == (NULL, True)
    assert sender.source != NULL
    assert isinstance(receiver, Attach)
    assert (receiver.source, receiver.is_receiver) == (NULL, False)
    assert receiver.target != NULL
    assert "'nowhere' could not be found" in error_text(sender_end)
    assert "argument-out-of-range" in error_text(receiver_end)


@pytest.mark.parametrize(
    "address",
    ["amqps://localhost:1/eh1/Partitions/1", "EH1/partitions/1", "/eh1/Partitions/1/", "eh1/Partitions/%31?x=1"],
)
def test_addresses(address: str) -> None:
    to = service(HubConfig("eh1", 2))
    client = Client(to)
    client.attach_sender(address)
    client.transfer(event())
    assert _last_sequence_number(to, "1") == 0


def test_events_go_out_on_credit_and_within_the_window() -> None:
    client = Client(service(), window=3)
    client.attach_sender()
    for number in range(10):
        client.transfer(event(b"%d" % number), number=number)
    client.attach_receiver()
    client.received()
    client.grant(0)
    assert client.received() == []
    client.send(Flow(0, 3, 0, 0, 1, 0, 5))
    assert [payload[-1:] for _, payload in client.frames()] == [b"0", b"1", b"2"]
    client.send(Flow(3, 100, 0, 0))
    assert [payload[-1:] for _, payload in client.frames()] == [b"3", b"4"]
    client.grant(100, drain=True, seen=5)
    *rest, flow = client.received()
    assert len(rest) == 5
    assert isinstance(flow, Flow)
    assert (flow.delivery_count, flow.link_credit, flow.drain) == (105, 0, True)


def test_a_client_that_does_not_keep_up_is_waited_for() -> None:
    client = Client(service())
    client.attach_sender()
    client.attach_receiver()
    client.grant(10)
    client.connection.set_writable(is_writable=False)
    client.transfer(event())
    assert not any(isinstance(item, Transfer) for item in client.received())
    client.connection.set_writable(is_writable=True)
    assert any(isinstance(item, Transfer) for item in client.received())


def test_replies_that_nobody_takes_end_their_link() -> None:
    client = Client(service())
    client.attach_sender("$cbs")
    client.attach_receiver("$cbs")
    request = section(0x73, ["id"]) + section(0x74, {"operation": "put-token"})
    for number in range(MAX_PENDING_REPLIES + 1):
        client.transfer(request, number=number)
    assert any(isinstance(item, Detach) for item in client.received())


def test_management_answers_what_it_does_not_know() -> None:
    client = Client(service())
    client.attach_sender("$management")
    client.attach_receiver("$management")
    client.grant(10)
    client.received()
    requests: list[tuple[dict[Value, Value], int]] = [
        ({"operation": "DELETE"}, 501),
        ({"operation": "READ", "name": "eh1", "type": "com.microsoft:planet"}, 400),
        ({"operation": "READ", "name": "eh2", "type": "com.microsoft:eventhub"}, 404),
    ]
    for number, (application, status) in enumerate(requests):
        client.transfer(section(0x73, ["id"]) + section(0x74, application), number=number)
        (reply,) = [payload for item, payload in client.frames() if isinstance(item, Transfer)]
        properties, at = decode(reply, 3)
        head, _ = decode(reply, at + 3)
        assert properties == [None] * 5 + ["id"]
        assert isinstance(head, dict)
        assert head["status-code"] == status
        assert isinstance(head["error-condition"], Symbol)


def test_ends_are_answered_and_late_frames_passed_over() -> None:
    client = Client(service())
    client.attach_sender()
    client.received()
    client.send(Detach(0, closed=True), Detach(0, closed=True), End(), Detach(0), End())
    assert client.received() == [Detach(0, closed=True), End()]
    client.send(Begin(), channel=3)
    assert client.received() == [Begin(3, 0, 0x7FFFFFFF, 0x7FFFFFFF, 255)]
    client.send(Flow(0, 9, 0, 9, echo=True), channel=3)
    assert isinstance(client.received()[0], Flow)
    client.send(Close())
    assert client.received() == [Close()]
    assert client.wire.is_closed


@pytest.mark.parametrize("fault", ["a handle twice", "a channel twice", "no session"])
def test_what_breaks_the_protocol_ends_the_connection(fault: str) -> None:
    client = Client(service())
    client.attach_sender()
    client.received()
    match fault:
        case "a handle twice":
            client.attach_sender()
        case "a channel twice":
            client.send(Begin())
        case _:
            client.send(Attach("link", 1, True), channel=9)
    assert isinstance(client.received()[-1], Close)
    assert client.wire.is_closed


def test_heartbeats_for_a_client_that_wants_them() -> None:
    client = Client(service(), opened=False)
    client.connection.receive(AMQP_HEADER + encode_frame(Open("me", idle_time_out=1000)))
    assert client.wire.written.endswith(EMPTY_FRAME)
    client.wire.written = b""
    client.wire.timers[-1].callback()
    assert client.wire.written == EMPTY_FRAME
    client.connection.receive(EMPTY_FRAME)
    client.connection.on_lost()
    assert client.wire.timers[-1].is_cancelled
