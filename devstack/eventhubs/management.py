"""The two nodes that answer requests: `$cbs` (tokens) and `$management` (properties). Pure.

A request is a message with application properties; the reply carries `status-code` and `status-description`, and the
request's message id as its correlation id.

Rule: every request is answered. Any token is accepted: who can reach this server is on the same machine.
"""

from typing import NamedTuple

from .errors import Condition, LinkRefusedError
from .hub import Hub, Namespace, Partition
from .messages import encode_reply, read_request
from .values import Long, Symbol, Timestamp, Value

CBS = "$cbs"
MANAGEMENT = "$management"
NODES = frozenset((CBS, MANAGEMENT))

_HUB_TYPE = "com.microsoft:eventhub"
_PARTITION_TYPE = "com.microsoft:partition"


class Reply(NamedTuple):
    """A reply and the address it is wanted at; "" where the request names none."""

    reply_to: str
    message: bytes


class _Answer(NamedTuple):
    status: int  # as HTTP's
    description: str
    condition: str | None = None
    body: dict[Value, Value] | None = None


def answer(namespace: Namespace, node: str, message: bytes) -> Reply:
    """The reply to a request that was sent to a node of `NODES`.

    Raises:
        AmqpDecodeError: the request is no message.
    """
    request = read_request(message)
    result = _Answer(202, "Accepted") if node == CBS else _manage(namespace, request.application)
    head: dict[Value, Value] = {"status-code": result.status, "status-description": result.description}
    if result.condition is not None:
        head["error-condition"] = Symbol(result.condition)
    return Reply(request.reply_to, encode_reply(request.message_id, head, result.body))


def _manage(namespace: Namespace, request: dict[Value, Value]) -> _Answer:
    if request.get("operation") != "READ":
        return _Answer(501, f"The operation {request.get('operation')!r} is not known.", Condition.NOT_IMPLEMENTED)
    try:
        hub = namespace.hub(str(request.get("name")))
        match request.get("type"):
            case t if t == _HUB_TYPE:
                return _Answer(200, "OK", body=_hub_properties(hub))
            case t if t == _PARTITION_TYPE:
                partition = hub.partition(str(request.get("partition")))
                return _Answer(200, "OK", body=_partition_properties(hub, partition))
            case other:
                return _Answer(400, f"The type {other!r} is not known.", Condition.ARGUMENT_ERROR)
    except LinkRefusedError as refusal:
        status = 404 if refusal.condition == Condition.NOT_FOUND else 400
        return _Answer(status, refusal.description, refusal.condition)


def _hub_properties(hub: Hub) -> dict[Value, Value]:
    return {
        "name": hub.name,
        "type": _HUB_TYPE,
        "created_at": Timestamp(hub.created_ms),
        "partition_count": len(hub.partitions),
        "partition_ids": list(hub.partitions),
    }


def _partition_properties(hub: Hub, partition: Partition) -> dict[Value, Value]:
    bounds = partition.log.bounds
    return {
        "name": hub.name,
        "type": _PARTITION_TYPE,
        "partition": partition.id,
        "begin_sequence_number": Long(bounds.first_sequence_number),
        "last_enqueued_sequence_number": Long(bounds.last_sequence_number),
        "last_enqueued_offset": bounds.last_offset,
        "last_enqueued_time_utc": Timestamp(bounds.last_enqueued_ms),
        "is_partition_empty": bounds.is_empty,
    }
