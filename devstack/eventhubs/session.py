"""A session: links side by side on one channel of a connection, with frame windows in both directions.

Rules:
- Transfer frames go out only while the client's incoming window is open; the message that closes it goes out whole,
  so a message of several frames can overshoot the window by those.
- A link is answered for before anything is sent on it. A refused link is answered with an attach that lacks the
  client's own node, then a detach with the error; otherwise azure-eventhub uses the link it was refused.
- Frames for a link that is gone are passed over: the client sent them before it knew.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .attach import open_link
from .errors import Condition, LinkRefusedError, ProtocolError
from .frames import append_delivery
from .links import Link, ReplyLink
from .performatives import (
    NULL,
    Attach,
    Begin,
    Detach,
    Disposition,
    Flow,
    Performative,
    Transfer,
    amqp_error,
)
from .service import Service
from .values import Encoded

if TYPE_CHECKING:
    from .connection import Connection

HANDLE_MAX = 255
WINDOW = 0x7FFFFFFF  # transfer frames that the client may send ahead: credit is what limits it
_UINT32 = 1 << 32


class Session:
    """One session of a connection."""

    def __init__(self, connection: "Connection", channel: int, begin: Begin) -> None:
        self._connection = connection
        self._channel = channel
        self._next_incoming_id = begin.next_outgoing_id
        self._remote_window = begin.incoming_window
        self._next_outgoing_id = 0
        self._next_delivery_id = 0
        self.links: dict[int, Link] = {}
        self.send(
            Begin(
                remote_channel=channel,
                next_outgoing_id=0,
                incoming_window=WINDOW,
                outgoing_window=WINDOW,
                handle_max=HANDLE_MAX,
            )
        )

    # ------------------------------------------------------------ from the client

    def on_attach(self, attach: Attach) -> None:
        """Open a link, or refuse it."""
        if attach.handle > HANDLE_MAX or attach.handle in self.links:
            raise ProtocolError(Condition.NOT_ALLOWED, f"The handle {attach.handle} is in use, or too high.")
        try:
            link = open_link(self, attach)
        except LinkRefusedError as refusal:
            self._answer(attach, refused=True)
            self._send_detach(attach.handle, amqp_error(refusal.condition, refusal.description))
            return
        self.links[attach.handle] = link
        self._answer(attach, refused=False)
        link.start()

    def on_flow(self, flow: Flow) -> None:
        """Take the client's window, and its credit for a link."""
        window = ((flow.next_incoming_id or 0) + flow.incoming_window - self._next_outgoing_id) % _UINT32
        self._remote_window = window if window < _UINT32 // 2 else 0
        link = None if flow.handle is None else self.links.get(flow.handle)
        if link is not None:
            link.on_flow(flow)
        if flow.handle is None:
            self.wake()
        if flow.echo:
            self.send_flow(link)

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        """A message, or a part of one."""
        self._next_incoming_id = (self._next_incoming_id + 1) % _UINT32
        link = self.links.get(transfer.handle)
        if link is None:
            return
        try:
            link.on_transfer(transfer, payload)
        except LinkRefusedError as refusal:
            self.detach(link, refusal.condition, refusal.description)

    def on_detach(self, detach: Detach) -> None:
        """The client ends a link, or answers to the end of one."""
        link = self.links.pop(detach.handle, None)
        if link is not None:
            link.on_gone()
            self._send_detach(detach.handle, NULL)

    def on_gone(self) -> None:
        """The session is no more."""
        for link in list(self.links.values()):
            link.on_gone()
        self.links.clear()

    # ------------------------------------------------------------ for links

    @property
    def service(self) -> Service:
        """What all connections share."""
        return self._connection.service

    @property
    def is_writable(self) -> bool:
        """Whether the client keeps up with what is sent to it."""
        return self._connection.is_writable

    def soon(self, callback: Callable[[], None]) -> None:
        """Call when everything that is going on now is done."""
        self._connection.wire.soon(callback)

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call after a time."""
        self._connection.wire.later(seconds, callback)

    def hold(self, size: int) -> None:
        """Account for bytes of an unfinished message; see `Connection.hold`."""
        self._connection.hold(size)

    def abort_connection(self) -> None:
        """Break the connection."""
        self._connection.abort()

    def deliver(self, handle: int, messages: Sequence[bytes]) -> int:
        """Send settled messages while the window is open; how many were sent."""
        out: list[bytes] = []
        sent = frames = 0
        limit, channel = self._connection.max_frame_size_out, self._channel
        delivery_id, window = self._next_delivery_id, self._remote_window
        for message in messages:
            if frames >= window:
                break
            frames += append_delivery(out, channel, handle, (delivery_id + sent) % _UINT32, message, limit)
            sent += 1
        if sent:
            self._next_delivery_id = (delivery_id + sent) % _UINT32
            self._next_outgoing_id = (self._next_outgoing_id + frames) % _UINT32
            self._remote_window = max(0, window - frames)
            self._connection.write(b"".join(out))
        return sent

    def settle(self, delivery_id: int, state: Encoded) -> None:
        """Answer for a message of the client's."""
        self.send(Disposition(is_receiver=True, first=delivery_id, last=delivery_id, settled=True, state=state))

    def send_flow(self, link: Link | None, *, drain: bool = False) -> None:
        """Tell the client this side's window, and the credit of a link."""
        self.send(
            Flow(
                next_incoming_id=self._next_incoming_id,
                incoming_window=WINDOW,
                next_outgoing_id=self._next_outgoing_id,
                outgoing_window=WINDOW,
                handle=link.handle if link else None,
                delivery_count=link.delivery_count if link else None,
                link_credit=link.credit if link else None,
                drain=drain,
            )
        )

    def detach(self, link: Link, condition: str, description: str) -> None:
        """End a link with an error."""
        if self.links.get(link.handle) is link:
            del self.links[link.handle]
            link.on_gone()
            self._send_detach(link.handle, amqp_error(condition, description))

    def reply_link(self, node: str, reply_to: str) -> ReplyLink | None:
        """Where a reply of a node goes: the link with that address, or else the first of the node's."""
        candidates = [link for link in self.links.values() if isinstance(link, ReplyLink) and link.address == node]
        named = [link for link in candidates if reply_to and link.reply_to == reply_to]
        return next(iter(named or candidates), None)

    def wake(self) -> None:
        """There may be room to send now."""
        for link in self.links.values():
            link.wake()

    def send(self, performative: Performative) -> None:
        """Send a frame on this session's channel."""
        self._connection.send(performative, self._channel)

    # ------------------------------------------------------------

    def _answer(self, attach: Attach, *, refused: bool) -> None:
        self.send(
            Attach(
                name=attach.name,
                handle=attach.handle,
                is_receiver=not attach.is_receiver,
                snd_settle_mode=attach.snd_settle_mode,
                rcv_settle_mode=attach.rcv_settle_mode,
                source=NULL if refused and attach.is_receiver else attach.source,
                target=NULL if refused and not attach.is_receiver else attach.target,
                initial_delivery_count=0 if attach.is_receiver else None,
                max_message_size=self.service.max_message_size,
            )
        )

    def _send_detach(self, handle: int, error: Encoded) -> None:
        self.send(Detach(handle=handle, closed=True, error=error))
