"""A connection: the handshake, then frames to their sessions. No I/O: a `Wire` carries the bytes.

The handshake, client first: SASL header ↔ SASL header, ← mechanisms, init →, ← outcome; AMQP header ↔ AMQP header;
open ↔ open. A client may leave the SASL part out. Any mechanism and any credentials will do.

Rules:
- A peer that breaks the protocol is told so in a close, and is cut off; nobody else notices.
- A peer can bind only so much: a handshake within `HANDSHAKE_SECONDS` and in short frames, frames of at most the
  size it was told, `MAX_UNFINISHED` bytes of messages that it has begun to send.
"""

import logging
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Protocol

from .encoding import encode_symbols
from .errors import AmqpDecodeError, Condition, ProtocolError
from .frames import (
    AMQP_HEADER,
    EMPTY_FRAME,
    MIN_MAX_FRAME_SIZE,
    SASL_HEADER,
    Frame,
    FrameReader,
    FrameType,
    encode_frame,
    heartbeat_seconds,
)
from .links import Link
from .performatives import (
    Attach,
    Begin,
    Close,
    Detach,
    Disposition,
    End,
    Flow,
    Open,
    Performative,
    SaslInit,
    SaslMechanisms,
    SaslOutcome,
    Transfer,
    amqp_error,
    decode_performative,
)
from .service import Service
from .session import Session

logger = logging.getLogger(__name__)

CONTAINER_ID = "devstack-eventhubs"
HANDSHAKE_SECONDS = 30.0
HANDSHAKE_FRAME_SIZE = 16 * 1024  # bytes; the specification allows 512, clients are not that strict
MAX_UNFINISHED = 16 << 20  # bytes
CHANNEL_MAX = 4999
_MECHANISMS = ("ANONYMOUS", "PLAIN", "EXTERNAL", "MSSBCBS")


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """Let it not come."""


class Wire(Protocol):
    """What carries a connection's bytes, and calls back."""

    def write(self, data: bytes) -> None:
        """Send; never waits."""

    def close(self) -> None:
        """End, after what was written."""

    def abort(self) -> None:
        """End now; what is not yet sent is lost."""

    def soon(self, callback: Callable[[], None]) -> None:
        """Call when everything that is going on now is done."""

    def later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call after a time."""


class _State(Enum):
    """What is to come from the client."""

    HEADER = auto()
    SASL_INIT = auto()
    AMQP_HEADER = auto()
    OPEN = auto()
    FRAMES = auto()
    NOTHING = auto()


class Connection:
    """One client."""

    def __init__(self, wire: Wire, service: Service) -> None:
        self.wire = wire
        self.service = service
        self.is_writable = True
        self.max_frame_size_out = MIN_MAX_FRAME_SIZE
        self._state = _State.HEADER
        self._reader = FrameReader()
        self._sessions: dict[int, Session] = {}
        self._unfinished = 0
        self._timer = wire.later(HANDSHAKE_SECONDS, self._give_up)
        service.statistics.connections += 1

    # ------------------------------------------------------------ from the wire

    def receive(self, data: bytes) -> None:
        """Bytes from the client."""
        self._reader.feed(data)
        try:
            while self._advance():
                pass
        except (ProtocolError, AmqpDecodeError) as error:
            self._fail(error)

    def set_writable(self, *, is_writable: bool) -> None:
        """Whether the client takes what is written, or it piles up."""
        self.is_writable = is_writable
        if is_writable:
            for session in self._sessions.values():
                session.wake()

    def on_lost(self) -> None:
        """The wire is no more."""
        self._end()

    # ------------------------------------------------------------ for sessions, links and control

    def links(self) -> Iterator[Link]:
        """Every link, of every session."""
        for session in self._sessions.values():
            yield from session.links.values()

    def write(self, data: bytes) -> None:
        """Send bytes, unless the connection has ended."""
        if self._state is not _State.NOTHING:
            self.wire.write(data)

    def send(self, performative: Performative, channel: int = 0, frame_type: FrameType = FrameType.AMQP) -> None:
        """Send a frame."""
        self.write(encode_frame(performative, channel, frame_type))

    def abort(self) -> None:
        """Break the connection."""
        self._end()
        self.wire.abort()

    def hold(self, size: int) -> None:
        """Account for bytes (fewer if negative) of messages that are not complete.

        Raises:
            ProtocolError: they are too many.
        """
        self._unfinished += size
        if self._unfinished > MAX_UNFINISHED:
            raise ProtocolError(
                Condition.RESOURCE_LIMIT_EXCEEDED, f"More than {MAX_UNFINISHED} bytes of unfinished messages."
            )

    # ------------------------------------------------------------ the handshake

    def _advance(self) -> bool:
        """Take the next thing that has arrived; whether there was one."""
        match self._state:
            case _State.HEADER | _State.AMQP_HEADER:
                header = self._reader.header()
                if header is not None:
                    self._on_header(header)
                return header is not None
            case _State.NOTHING:
                return False
            case _State.FRAMES:
                frame = self._reader.frame(self.service.max_frame_size)
            case _:
                frame = self._reader.frame(HANDSHAKE_FRAME_SIZE)
        if frame is None:
            return False
        if frame.body:
            self._on_frame(frame)
        return True

    def _on_header(self, header: bytes) -> None:
        if header == SASL_HEADER and self._state is _State.HEADER:
            self.write(SASL_HEADER)
            self.send(SaslMechanisms(encode_symbols(_MECHANISMS)), frame_type=FrameType.SASL)
            self._state = _State.SASL_INIT
        elif header == AMQP_HEADER:
            self.write(AMQP_HEADER)
            self._state = _State.OPEN
        else:
            self.write(AMQP_HEADER)  # the specification's answer: what is spoken here
            raise ProtocolError(Condition.FRAMING_ERROR, f"The protocol {header!r} is not spoken here.")

    def _on_open(self, open_: Open) -> None:
        self._timer.cancel()
        self.max_frame_size_out = max(MIN_MAX_FRAME_SIZE, min(open_.max_frame_size, self.service.max_frame_size))
        self.send(
            Open(
                container_id=CONTAINER_ID,
                max_frame_size=self.service.max_frame_size,
                channel_max=CHANNEL_MAX,
            )
        )
        self._state = _State.FRAMES
        if open_.idle_time_out:
            self._beat(heartbeat_seconds(open_.idle_time_out))

    def _beat(self, seconds: float) -> None:
        """Keep the client from taking silence for death."""
        self.write(EMPTY_FRAME)
        self._timer = self.wire.later(seconds, lambda: self._beat(seconds))

    def _give_up(self) -> None:
        logger.info("a client did not finish the handshake")
        self.abort()

    # ------------------------------------------------------------ frames

    def _on_frame(self, frame: Frame) -> None:
        performative, payload_at = decode_performative(frame.body)
        match self._state, performative:
            case _State.SASL_INIT, SaslInit():
                self.send(SaslOutcome(code=0), frame_type=FrameType.SASL)
                self._state = _State.AMQP_HEADER
            case _State.OPEN, Open():
                self._on_open(performative)
            case _State.FRAMES, Begin():
                self._on_begin(frame.channel, performative)
            case _State.FRAMES, Close():
                self.send(Close())
                self._end()
                self.wire.close()
            case _State.FRAMES, _:
                self._on_session_frame(frame, performative, payload_at)
            case _:
                raise ProtocolError(Condition.NOT_ALLOWED, f"{type(performative).__name__} is out of place.")

    def _on_begin(self, channel: int, begin: Begin) -> None:
        if channel > CHANNEL_MAX or channel in self._sessions:
            raise ProtocolError(Condition.NOT_ALLOWED, f"The channel {channel} is in use, or too high.")
        self._sessions[channel] = Session(self, channel, begin)

    def _on_session_frame(self, frame: Frame, performative: Performative, payload_at: int) -> None:
        session = self._sessions.get(frame.channel)
        if session is None:
            if isinstance(performative, Attach):
                raise ProtocolError(Condition.NOT_ALLOWED, f"No session on channel {frame.channel}.")
            return  # azure-eventhub ends a session first and detaches its links afterwards
        match performative:
            case Transfer():
                session.on_transfer(performative, frame.body[payload_at:])
            case Flow():
                session.on_flow(performative)
            case Disposition():
                pass  # everything sent is settled
            case Attach():
                session.on_attach(performative)
            case Detach():
                session.on_detach(performative)
            case End():
                del self._sessions[frame.channel]
                session.on_gone()
                self.send(End(), frame.channel)
            case _:
                raise ProtocolError(Condition.NOT_ALLOWED, f"{type(performative).__name__} is out of place.")

    # ------------------------------------------------------------ ends

    def _fail(self, error: ProtocolError | AmqpDecodeError) -> None:
        logger.info("a client is cut off: %s", error)
        self.service.statistics.connections_failed += 1
        if self._state is _State.FRAMES:
            self.send(Close(amqp_error(error.condition, error.description)))
        self._end()
        self.wire.close()

    def _end(self) -> None:
        self._state = _State.NOTHING
        self._timer.cancel()
        for session in self._sessions.values():
            session.on_gone()
        self._sessions.clear()
