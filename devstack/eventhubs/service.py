"""What all connections of one server share."""

from dataclasses import dataclass, field

from .faults import Faults
from .hub import Namespace

MAX_MESSAGE_SIZE = 1 << 20  # bytes; the service's limit for a message, and so for a batch
MAX_FRAME_SIZE = 1 << 20  # bytes


@dataclass(slots=True)
class Statistics:
    """Counts since the server started."""

    connections: int = 0  # accepted
    messages_received: int = 0  # transfers to a hub; a batch is one
    events_stored: int = 0
    events_delivered: int = 0
    connections_failed: int = 0  # ended because the peer broke the protocol


@dataclass(slots=True)
class Service:
    """The hubs, the faults, the counts, and the limits in bytes."""

    namespace: Namespace
    faults: Faults = field(default_factory=Faults)
    statistics: Statistics = field(default_factory=Statistics)
    max_frame_size: int = MAX_FRAME_SIZE
    max_message_size: int = MAX_MESSAGE_SIZE
