"""The unmodified SDK, with the back-offs of its retries made small."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient, PartitionContext

from .running import HUB, PATIENCE, RunningServer

QUICK: dict[str, Any] = {"retry_backoff_factor": 0.05, "retry_backoff_max": 0.2}
FROM_START = {"starting_position": "-1"}


def producer(server: RunningServer, hub: str = HUB, **options: Any) -> EventHubProducerClient:
    return EventHubProducerClient.from_connection_string(
        server.connection_string, eventhub_name=hub, **{**QUICK, **options}
    )


def consumer(server: RunningServer, group: str = "$Default", hub: str = HUB, **options: Any) -> EventHubConsumerClient:
    return EventHubConsumerClient.from_connection_string(
        server.connection_string, group, eventhub_name=hub, **{**QUICK, **options}
    )


def send(client: EventHubProducerClient, *bodies: str, partition_id: str = "0") -> None:
    """Send events one after the other, each acknowledged before the next."""
    for body in bodies:
        client.send_event(EventData(body), partition_id=partition_id)


class Receiving:
    """Receives in a thread of its own until the end of the `with` block."""

    def __init__(self, client: EventHubConsumerClient, **options: Any) -> None:
        self.events: list[tuple[str, EventData]] = []  # with the partition's id, in order of arrival
        self.errors: list[Exception] = []
        self.last_enqueued: dict[str, Any] = {}
        self._client = client
        self._news = threading.Condition()
        options = {"max_wait_time": 0.2, **FROM_START, **options}
        self._thread = threading.Thread(
            target=client.receive_batch, args=(self._on_batch,), kwargs={"on_error": self._on_error, **options}
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    @property
    def bodies(self) -> list[str]:
        return [event.body_as_str() for _, event in self.events]

    def wait(self, number: int) -> list[tuple[str, EventData]]:
        """Wait for so many events, and return all that have arrived."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.events) >= number, PATIENCE), (self.bodies, self.errors)
        return self.events

    def wait_for_error(self) -> Exception:
        """Wait for the first error that the SDK reports."""
        with self._news:
            assert self._news.wait_for(lambda: self.errors, PATIENCE)
        return self.errors[0]

    def _on_batch(self, context: PartitionContext, events: list[EventData]) -> None:
        with self._news:
            self.events += [(context.partition_id, event) for event in events]
            if events and context.last_enqueued_event_properties:
                self.last_enqueued = dict(context.last_enqueued_event_properties)
            self._news.notify_all()

    def _on_error(self, _context: PartitionContext, error: Exception) -> None:
        with self._news:
            self.errors.append(error)
            self._news.notify_all()


def body(event: EventData) -> bytes:
    """An event's body in one piece."""
    parts: Any = event.body
    return b"".join(parts)


def receive(client: EventHubConsumerClient, number: int, **options: Any) -> list[tuple[str, EventData]]:
    """Receive so many events and close the client."""
    with Receiving(client, **options) as receiving:
        events = receiving.wait(number)
    assert not receiving.errors
    return events


def together[T](*jobs: Callable[[], T]) -> Sequence[T]:
    """Do several things at once: a client of the SDK takes a second to open and one to close."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(lambda job: job(), jobs))
