"""Links: one direction of messages between a client and an address of this server.

    ConsumerLink  events of one partition, to a consumer
    ProducerLink  events to a hub or one of its partitions, from a producer
    RequestLink   requests to $cbs or $management
    ReplyLink     their replies

Rules:
- A message is sent only on credit, which the receiving side grants; everything sent is settled (never to be answered).
- A producer's message is answered when it is stored: accepted, or rejected with an error and nothing stored.
- What a peer can make this server hold is bounded: one unfinished message a link (at most the message size limit),
  `MAX_PENDING_REPLIES` replies a link.
"""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from .errors import AmqpDecodeError, Condition, LinkRefusedError, ProtocolError
from .faults import Delay, LostAck, Role, ServerBusy
from .hub import Hub, Partition
from .management import answer
from .messages import delivery_annotations, with_delivery_annotations
from .performatives import ACCEPTED, Flow, Transfer, rejected
from .values import Encoded, Long, Timestamp

if TYPE_CHECKING:
    from .session import Session

CREDIT = 1000  # messages that a client may send ahead; granted again when half is used
CHUNK = 256 * 1024  # bytes written before other links and connections have their turn
MAX_PENDING_REPLIES = 100
BUSY = "The server is busy. Please retry the operation."

_UINT32 = 1 << 32


class Link:
    """What all links have: the client's handle and the address."""

    role: ClassVar[Role | None] = None  # None for $cbs and $management

    def __init__(self, session: "Session", handle: int, address: str) -> None:
        self.session = session
        self.handle = handle
        self.address = address
        self.delivery_count = 0
        self.credit = 0

    def start(self) -> None:
        """The client has been told that the link is open."""

    def on_flow(self, flow: Flow) -> None:
        """The client updates its side of the link."""

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        """The client sends a message, or a part of one."""
        raise LinkRefusedError(
            Condition.NOT_ALLOWED,
            f"A transfer of {len(payload)} bytes to the handle {transfer.handle}, on which the client receives.",
        )

    def wake(self) -> None:
        """There may be something to send now."""

    def on_gone(self) -> None:
        """The link is no more."""


class _SendingLink(Link):
    """A link on which this server sends."""

    def __init__(self, session: "Session", handle: int, address: str) -> None:
        super().__init__(session, handle, address)
        self._is_awake = False
        self._is_gone = False
        self._drain = False

    def on_flow(self, flow: Flow) -> None:
        if flow.link_credit is not None:
            credit = ((flow.delivery_count or 0) + flow.link_credit - self.delivery_count) % _UINT32
            self.credit = credit if credit < _UINT32 // 2 else 0  # a count that is behind, in serial arithmetic
        self._drain = flow.drain
        self.wake()

    def wake(self) -> None:
        if not self._is_awake:
            self._is_awake = True
            self.session.soon(self._pump)

    def on_gone(self) -> None:
        self._is_gone = True

    def _pump(self) -> None:
        self._is_awake = False
        if self._is_gone or not self.session.is_writable:
            return  # when the connection is writable again, it wakes its links
        sent = self.session.deliver(self.handle, self._next_messages(self.credit)) if self.credit else 0
        if sent:
            self.delivery_count = (self.delivery_count + sent) % _UINT32
            self.credit -= sent
            self._on_sent(sent)
            self.wake()
        elif self._drain and self.credit:  # nothing left to send: the credit is to be used up all the same
            self.delivery_count = (self.delivery_count + self.credit) % _UINT32
            self.credit = 0
            self.session.send_flow(self, drain=True)

    def _next_messages(self, most: int) -> Sequence[bytes]:
        """What is next, at most so many messages; they are not yet sent."""
        raise NotImplementedError

    def _on_sent(self, count: int) -> None:
        """So many of those are."""
        raise NotImplementedError


class ConsumerLink(_SendingLink):
    """Events of one partition, from a position on. `position`: the sequence number that is next."""

    role = Role.CONSUMER

    def __init__(
        self,
        session: "Session",
        handle: int,
        address: str,
        partition: Partition,
        *,
        position: int,
        group: str,
        epoch: int | None,
        reports_last_enqueued: bool,
    ) -> None:
        super().__init__(session, handle, address)
        self._partition = partition
        self._position = position
        self._reports_last_enqueued = reports_last_enqueued
        self._group = group
        self._epoch = epoch

    @property
    def group(self) -> str:
        """See `hub.Reader`."""
        return self._group

    @property
    def epoch(self) -> int | None:
        """See `hub.Reader`."""
        return self._epoch

    def start(self) -> None:
        self.wake()

    def displace(self, description: str) -> None:
        """See `hub.Reader`."""
        self.session.detach(self, Condition.STOLEN, description)

    def rewind(self, events: int) -> None:
        """Deliver the last so many events again."""
        self._position = max(self._partition.log.first, self._position - events)
        self.wake()

    def on_gone(self) -> None:
        super().on_gone()
        self._partition.leave(self)

    def _next_messages(self, most: int) -> Sequence[bytes]:
        service = self.session.service
        if service.faults.is_stalled(self.address):
            return ()
        log = self._partition.log
        self._position = max(self._position, log.first)  # the retention took what was next: go on with what is left
        messages = log.read(self._position, most, CHUNK)
        if messages and self._reports_last_enqueued:
            section = self._last_enqueued()
            return [with_delivery_annotations(message, section) for message in messages]
        return messages

    def _on_sent(self, count: int) -> None:
        self._position += count
        self.session.service.statistics.events_delivered += count

    def _last_enqueued(self) -> bytes:
        bounds = self._partition.log.bounds
        return delivery_annotations(
            {
                "last_enqueued_sequence_number": Long(bounds.last_sequence_number),
                "last_enqueued_offset": bounds.last_offset,
                "last_enqueued_time_utc": Timestamp(bounds.last_enqueued_ms),
                "runtime_info_retrieval_time_utc": Timestamp(self.session.service.namespace.clock()),
            }
        )


class ReplyLink(_SendingLink):
    """Replies of `$cbs` or `$management`. `reply_to`: the address under which the client takes them."""

    def __init__(self, session: "Session", handle: int, address: str, reply_to: str) -> None:
        super().__init__(session, handle, address)
        self.reply_to = reply_to
        self._pending: deque[bytes] = deque()

    def reply(self, message: bytes) -> None:
        """Send a reply as soon as there is credit for it.

        Raises:
            LinkRefusedError: the client asks and asks but takes no reply.
        """
        if len(self._pending) == MAX_PENDING_REPLIES:
            raise LinkRefusedError(Condition.RESOURCE_LIMIT_EXCEEDED, f"{MAX_PENDING_REPLIES} replies are not taken.")
        self._pending.append(message)
        self.wake()

    def _next_messages(self, most: int) -> Sequence[bytes]:
        return [self._pending[index] for index in range(min(most, len(self._pending)))]

    def _on_sent(self, count: int) -> None:
        for _ in range(count):
            self._pending.popleft()


class _ReceivingLink(Link):
    """A link on which the client sends: puts its messages together and keeps it in credit."""

    def __init__(self, session: "Session", handle: int, address: str) -> None:
        super().__init__(session, handle, address)
        self.credit = CREDIT
        self._first: Transfer | None = None  # of the message that is being received
        self._parts: list[bytes] = []
        self._size = 0

    def start(self) -> None:
        self.session.send_flow(self)

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        first = self._first or transfer
        self._size += len(payload)
        if self._size > self.session.service.max_message_size:
            raise LinkRefusedError(
                Condition.MESSAGE_SIZE_EXCEEDED,
                f"The message is larger than {self.session.service.max_message_size} bytes.",
            )
        if transfer.more and not transfer.aborted:
            self.session.hold(len(payload))
            self._first = first
            self._parts.append(payload)
            return
        message = b"".join((*self._parts, payload)) if self._parts else payload
        self._forget_parts()
        self.delivery_count = (self.delivery_count + 1) % _UINT32
        self.credit -= 1
        if self.credit <= CREDIT // 2:
            self.credit = CREDIT
            self.session.send_flow(self)
        if not transfer.aborted:
            if first.delivery_id is None:
                raise ProtocolError(Condition.NOT_ALLOWED, "A message without a delivery-id.")
            delivery_id = None if first.settled or transfer.settled else first.delivery_id
            self._on_message(message, first.message_format or 0, delivery_id)

    def on_gone(self) -> None:
        self._forget_parts()

    def _forget_parts(self) -> None:
        self.session.hold(-sum(map(len, self._parts)))
        self._first, self._parts, self._size = None, [], 0

    def _on_message(self, message: bytes, message_format: int, delivery_id: int | None) -> None:
        """A message is complete. `delivery_id`: what to answer, None if the client wants no answer."""
        raise NotImplementedError

    def _settle(self, delivery_id: int | None, state: Encoded = ACCEPTED) -> None:
        if delivery_id is not None:
            self.session.settle(delivery_id, state)


class ProducerLink(_ReceivingLink):
    """Events to a hub; to one partition, or None to let the hub choose."""

    role = Role.PRODUCER

    def __init__(self, session: "Session", handle: int, address: str, hub: Hub, partition: Partition | None) -> None:
        super().__init__(session, handle, address)
        self._hub = hub
        self._partition = partition

    def _on_message(self, message: bytes, message_format: int, delivery_id: int | None) -> None:
        service = self.session.service
        service.statistics.messages_received += 1
        fault = service.faults.on_send(self.address)
        if isinstance(fault, ServerBusy):
            self._settle(delivery_id, rejected(Condition.SERVER_BUSY, BUSY))
            return
        try:
            stored = self._hub.publish(message, message_format, self._partition, service.namespace.clock())
        except AmqpDecodeError as error:
            self._settle(delivery_id, rejected(error.condition, error.description))
            return
        except OSError as error:
            self._settle(delivery_id, rejected(Condition.INTERNAL_ERROR, f"The events could not be kept: {error}"))
            return
        service.statistics.events_stored += stored
        match fault:
            case LostAck():
                self.session.abort_connection()
            case Delay(seconds=seconds):
                self.session.later(seconds, lambda: self._settle(delivery_id))
            case _:
                self._settle(delivery_id)


class RequestLink(_ReceivingLink):
    """Requests to `$cbs` or `$management`."""

    def _on_message(self, message: bytes, message_format: int, delivery_id: int | None) -> None:
        del message_format  # a request is always a plain message
        try:
            reply = answer(self.session.service.namespace, self.address, message)
        except AmqpDecodeError as error:
            self._settle(delivery_id, rejected(error.condition, error.description))
            return
        self._settle(delivery_id)
        link = self.session.reply_link(self.address, reply.reply_to)
        if link is not None:
            link.reply(reply.message)
