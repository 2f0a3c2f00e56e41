"""A client without a network: performatives in, performatives out."""

from collections.abc import Callable

from devstack.eventhubs.config import HubConfig
from devstack.eventhubs.connection import Connection
from devstack.eventhubs.decoding import decode
from devstack.eventhubs.encoding import encode
from devstack.eventhubs.frames import AMQP_HEADER, FrameReader, encode_frame
from devstack.eventhubs.hub import Namespace
from devstack.eventhubs.performatives import (
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    Flow,
    Open,
    Performative,
    Transfer,
    decode_performative,
    encode_performative,
)
from devstack.eventhubs.service import Service
from devstack.eventhubs.values import Encoded, Value

WIDE = 1 << 20


def service(*hubs: HubConfig) -> Service:
    return Service(Namespace(hubs or (HubConfig("eh1", 1),)))


def section(code: int, value: Value) -> bytes:
    return b"\x00\x53" + bytes((code,)) + encode(value)


def event(body: bytes = b"body") -> bytes:
    return section(0x75, body)


def terminus(address: str) -> Encoded:
    return Encoded(section(0x28, [address]))


def error_text(performative: Performative) -> str:
    """The error in a close, a detach, or a rejecting disposition."""
    assert isinstance(performative, Close | Detach | Disposition)
    error = performative.state if isinstance(performative, Disposition) else performative.error
    return str(decode(error)[0])


class FakeTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeWire:
    """Keeps what is written; calls back when told to."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = False
        self.is_aborted = False
        self.timers: list[FakeTimer] = []
        self._soon: list[Callable[[], None]] = []

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = True

    def soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def later(self, seconds: float, callback: Callable[[], None]) -> FakeTimer:
        assert seconds > 0
        self.timers.append(FakeTimer(callback))
        return self.timers[-1]

    def run(self) -> None:
        while self._soon:
            self._soon.pop(0)()


class Client:
    """One connection to a service, with a session on channel 0 if it is opened."""

    def __init__(self, to: Service, *, opened: bool = True, window: int = WIDE, max_frame_size: int = WIDE) -> None:
        self.wire = FakeWire()
        self.connection = Connection(self.wire, to)
        self._reader = FrameReader()
        if opened:
            self.connection.receive(AMQP_HEADER)
            self.send(Open("client", max_frame_size=max_frame_size), Begin(incoming_window=window))
            assert self.wire.written.startswith(AMQP_HEADER)
            self.wire.written = self.wire.written[8:]
            assert [type(item) for item in self.received()] == [Open, Begin]

    def send(self, *performatives: Performative, channel: int = 0) -> None:
        self.connection.receive(b"".join(encode_frame(item, channel) for item in performatives))

    def transfer(self, payload: bytes, *, more: bool = False, number: int = 0, message_format: int = 0) -> None:
        body = encode_performative(Transfer(0, number, b"tag", message_format, more=more)) + payload
        self.connection.receive((len(body) + 8).to_bytes(4, "big") + b"\x02\x00\x00\x00" + body)

    def attach_sender(self, address: str = "eh1", handle: int = 0) -> None:
        self.send(Attach(f"sender {handle}", handle, False, source=terminus("me"), target=terminus(address)))

    def attach_receiver(self, address: str = "eh1/ConsumerGroups/$Default/Partitions/0", handle: int = 1) -> None:
        self.send(Attach(f"receiver {handle}", handle, True, source=terminus(address), target=terminus("me")))

    def grant(self, credit: int, handle: int = 1, *, drain: bool = False, seen: int = 0) -> None:
        """Credit for messages, of which `seen` have arrived."""
        self.send(Flow(0, WIDE, 0, WIDE, handle, seen, credit, drain=drain))

    def frames(self) -> list[tuple[Performative, bytes]]:
        """What has been sent to the client since the last call, with payloads."""
        self.wire.run()
        self._reader.feed(self.wire.written)
        self.wire.written = b""
        found = []
        while frame := self._reader.frame(WIDE):
            if frame.body:
                performative, payload_at = decode_performative(frame.body)
                found.append((performative, frame.body[payload_at:]))
        return found

    def received(self) -> list[Performative]:
        """Likewise, without payloads."""
        return [performative for performative, _ in self.frames()]
