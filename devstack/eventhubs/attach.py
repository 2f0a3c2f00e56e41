"""How an attach becomes a link: which address it names, and whether the client may have it.

    $cbs, $management                                     either direction
    hub                                                   to send, the hub chooses the partition
    hub/Partitions/0                                      to send to one partition
    hub/ConsumerGroups/$Default/Partitions/0              to receive

The SDK writes an address as a URL (`amqps://localhost:5672/hub/…`); only its path counts.

Rule: `open_link` returns a link that may go on, or raises `LinkRefusedError` and leaves nothing behind.
"""

from typing import TYPE_CHECKING
from urllib.parse import unquote

from .decoding import decode
from .errors import Condition, LinkRefusedError
from .faults import Role
from .links import BUSY, ConsumerLink, Link, ProducerLink, ReplyLink, RequestLink
from .management import NODES
from .performatives import Attach
from .positions import parse_position
from .values import Described, Encoded

if TYPE_CHECKING:
    from .session import Session

_EPOCH = "com.microsoft:epoch"
_REPORT_LAST_ENQUEUED = "com.microsoft:enable-receiver-runtime-metric"


def open_link(session: "Session", attach: Attach) -> Link:
    """The link that an attach asks for.

    Raises:
        LinkRefusedError: with what the client is to be told.
    """
    address = _path(terminus_address(attach.source if attach.is_receiver else attach.target))
    if address in NODES:
        if attach.is_receiver:
            return ReplyLink(session, attach.handle, address, terminus_address(attach.target))
        return RequestLink(session, attach.handle, address)
    role = Role.CONSUMER if attach.is_receiver else Role.PRODUCER
    if session.service.faults.on_attach(address, role):
        raise LinkRefusedError(Condition.SERVER_BUSY, BUSY)
    if role is Role.CONSUMER:
        return _open_consumer(session, attach, address)
    return _open_producer(session, attach.handle, address)


def _path(address: str) -> str:
    _, scheme, rest = address.partition("://")
    path = rest.partition("/")[2] if scheme else address
    return unquote(path.partition("?")[0].strip("/"))


def _not_found(address: str) -> LinkRefusedError:
    return LinkRefusedError(Condition.NOT_FOUND, f"The messaging entity '{address[:300]}' could not be found.")


def _open_producer(session: "Session", handle: int, address: str) -> ProducerLink:
    match address.split("/"):
        case [name]:
            return ProducerLink(session, handle, address, session.service.namespace.hub(name), None)
        case [name, word, partition_id] if word.lower() == "partitions":
            hub = session.service.namespace.hub(name)
            return ProducerLink(session, handle, address, hub, hub.partition(partition_id))
    raise _not_found(address)


def _open_consumer(session: "Session", attach: Attach, address: str) -> ConsumerLink:
    match address.split("/"):
        case [name, first, group_name, second, partition_id] if (
            first.lower() == "consumergroups" and second.lower() == "partitions"
        ):
            hub = session.service.namespace.hub(name)
        case _:
            raise _not_found(address)
    group = hub.group(group_name)
    partition = hub.partition(partition_id)
    texts = [text for text in source_filters(attach.source) if isinstance(text, str)]
    epoch = (attach.properties or {}).get(_EPOCH)
    capabilities = attach.desired_capabilities
    link = ConsumerLink(
        session,
        attach.handle,
        address,
        partition,
        position=partition.log.sequence_number_at(parse_position(texts[0] if texts else None)),
        group=group,
        epoch=epoch if isinstance(epoch, int) else None,
        reports_last_enqueued=_REPORT_LAST_ENQUEUED
        in (capabilities if isinstance(capabilities, list) else [capabilities]),
    )
    partition.admit(link)
    return link


def terminus_address(terminus: Encoded) -> str:
    """The address of an attach's source or target; "" where there is none."""
    address = _terminus_field(terminus, 0)
    return address if isinstance(address, str) else ""


def source_filters(source: Encoded) -> list[object]:
    """The filters in an attach's source, without their names and descriptors."""
    filters = _terminus_field(source, 7)
    if not isinstance(filters, dict):
        return []
    return [item.value if isinstance(item, Described) else item for item in filters.values()]


def _terminus_field(terminus: Encoded, index: int) -> object:
    value, _ = decode(terminus)
    if not isinstance(value, Described) or not isinstance(value.value, list):
        return None
    return value.value[index] if index < len(value.value) else None
