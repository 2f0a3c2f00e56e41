"""The namespace: hubs, their partitions, and who may read them.

Rules:
- Names of hubs and consumer groups are compared without case, as the service does.
- A partition key always goes to the same partition of a hub; without key or partition id, partitions take turns.
- For one partition and consumer group: a reader with an epoch displaces every reader of the same or a lower epoch
  and those without one; a reader below the highest epoch is refused; without epochs, five may read at once.
"""

import itertools
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Protocol

from .config import DEFAULT_GROUP, HubConfig, check_hubs
from .decoding import decode
from .errors import Condition, LinkRefusedError
from .folder import DataFolder
from .log import PartitionLog
from .messages import BATCH_FORMAT, read_batch, read_event

MAX_READERS_WITHOUT_EPOCH = 5


def now_ms() -> int:
    """The clock of enqueued times: ms since 1970, UTC."""
    return time.time_ns() // 1_000_000


class Reader(Protocol):
    """A consumer's link, as a partition sees it."""

    @property
    def group(self) -> str:
        """The consumer group, in lower case."""

    @property
    def epoch(self) -> int | None:
        """The owner level; None without one."""

    def wake(self) -> None:
        """There may be something to deliver."""

    def displace(self, description: str) -> None:
        """Another reader has taken over."""


class Partition:
    """One partition: its log and its readers."""

    def __init__(self, partition_id: str, log: PartitionLog) -> None:
        self.id = partition_id
        self.log = log
        self._readers: list[Reader] = []

    def admit(self, reader: Reader) -> None:
        """Let a reader in, displacing those that it outranks.

        Raises:
            LinkRefusedError: it is outranked, or there are too many.
        """
        others = [other for other in self._readers if other.group == reader.group]
        highest = max((other.epoch for other in others if other.epoch is not None), default=None)
        if highest is not None and (reader.epoch is None or reader.epoch < highest):
            raise LinkRefusedError(
                Condition.STOLEN,
                f"At least one receiver for the endpoint is created with epoch of '{highest}', and so a receiver "
                "with a lower epoch, or without one, is not allowed.",
            )
        if reader.epoch is not None:
            for other in others:
                other.displace(
                    f"New receiver with higher epoch of '{reader.epoch}' is created hence current receiver with "
                    f"epoch '{other.epoch}' is getting disconnected."
                )
        elif len(others) >= MAX_READERS_WITHOUT_EPOCH:
            raise LinkRefusedError(
                Condition.RESOURCE_LIMIT_EXCEEDED,
                f"Exceeded the maximum number of {MAX_READERS_WITHOUT_EPOCH} receivers without an epoch "
                "for one partition and consumer group.",
            )
        self._readers.append(reader)

    def leave(self, reader: Reader) -> None:
        """A reader is gone; no effect if it was not in."""
        if reader in self._readers:
            self._readers.remove(reader)

    def wake_readers(self) -> None:
        """Tell the readers that there is more."""
        for reader in self._readers:
            reader.wake()


class Hub:
    """One event hub."""

    def __init__(self, name: str, groups: Sequence[str], partitions: Sequence[Partition]) -> None:
        self.name = name
        self.partitions = {partition.id: partition for partition in partitions}
        self.created_ms = min(partition.log.created_ms for partition in partitions)
        self._groups = {group.lower() for group in (*groups, DEFAULT_GROUP)}
        self._in_order = list(partitions)
        self._turns = itertools.cycle(partitions)

    def partition(self, partition_id: str) -> Partition:
        """The partition of an id.

        Raises:
            LinkRefusedError: there is none.
        """
        try:
            return self.partitions[partition_id]
        except KeyError:
            raise LinkRefusedError(
                Condition.ARGUMENT_OUT_OF_RANGE,
                f"The specified partition '{partition_id}' is invalid for the event hub '{self.name}' of "
                f"{len(self.partitions)} partitions.",
            ) from None

    def group(self, name: str) -> str:
        """A consumer group's name, in lower case.

        Raises:
            LinkRefusedError: there is no such group.
        """
        if name.lower() not in self._groups:
            raise LinkRefusedError(Condition.NOT_FOUND, f"The consumer group '{name}' could not be found.")
        return name.lower()

    def publish(self, message: bytes, message_format: int, partition: Partition | None, now: int) -> int:
        """Store a message, or a batch's events; how many. `partition`: where to, or None for the hub to choose.

        Raises:
            AmqpDecodeError: the message or one of its events is malformed; nothing is stored.
            OSError: the disk cannot take it; nothing is stored.
        """
        if message_format == BATCH_FORMAT:
            partition_key, encoded = read_batch(message)
            events = [read_event(event) for event in encoded]
        else:
            events = [read_event(message)]
            partition_key = events[0].partition_key
        if partition is None:
            partition = self._choose(partition_key)
        partition.log.append(events, partition_key, now)
        partition.wake_readers()
        return len(events)

    def _choose(self, partition_key: bytes) -> Partition:
        if not partition_key:
            return next(self._turns)
        text, _ = decode(partition_key)
        return self._in_order[zlib.crc32(str(text).encode()) % len(self._in_order)]


class Namespace:
    """All the hubs of one server.

    Raises (when made):
        ConfigError: two hubs of one name.
        DataError, OSError: the data folder cannot be used.
    """

    def __init__(
        self,
        hubs: Sequence[HubConfig],
        *,
        folder: DataFolder | None = None,
        retention_bytes: int | None = None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        check_hubs(list(hubs))
        self.clock = clock
        self.hubs: dict[str, Hub] = {}
        for config in hubs:
            paths = folder.partition_paths(config) if folder else [None] * config.partition_count
            partitions = [
                Partition(str(index), PartitionLog(clock(), path, retention_bytes)) for index, path in enumerate(paths)
            ]
            self.hubs[config.name.lower()] = Hub(config.name, config.consumer_groups, partitions)

    def hub(self, name: str) -> Hub:
        """The hub of a name.

        Raises:
            LinkRefusedError: there is none.
        """
        try:
            return self.hubs[name.lower()]
        except KeyError:
            raise LinkRefusedError(Condition.NOT_FOUND, f"The messaging entity '{name}' could not be found.") from None

    def close(self) -> None:
        """Hand everything to the disk."""
        for hub in self.hubs.values():
            for partition in hub.partitions.values():
                partition.log.close()
