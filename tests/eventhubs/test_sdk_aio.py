"""The asynchronous SDK against the server, in one event loop with it."""

import asyncio
from collections.abc import Sequence

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient, PartitionContext
from azure.eventhub.amqp import AmqpAnnotatedMessage

from devstack.eventhubs import EventHubsServer, HubConfig, connection_string

from .running import HUBS, PATIENCE
from .sdk import QUICK


async def _exchange(number: int) -> None:
    server = EventHubsServer(HUBS)
    await server.start()
    producer = EventHubProducerClient.from_connection_string(
        connection_string(server.port), eventhub_name="eh1", **QUICK
    )
    consumer = EventHubConsumerClient.from_connection_string(
        connection_string(server.port), "cg1", eventhub_name="eh1", load_balancing_interval=0.5, **QUICK
    )
    bodies: list[str] = []
    errors: list[Exception] = []
    changed = asyncio.Condition()

    async def on_batch(_context: PartitionContext, events: list[EventData]) -> None:
        async with changed:
            bodies.extend(event.body_as_str() for event in events)
            changed.notify_all()

    async def on_error(_context: PartitionContext, error: Exception) -> None:
        errors.append(error)

    async def wait(count: int) -> None:
        async with asyncio.timeout(PATIENCE), changed:
            await changed.wait_for(lambda: len(bodies) >= count)

    async with producer, consumer:
        assert (await producer.get_eventhub_properties())["partition_ids"] == ["0", "1", "2", "3"]
        batch = await producer.create_batch()
        for index in range(number):
            batch.add(EventData(str(index)))
        await producer.send_batch(batch)
        receiving = asyncio.create_task(
            consumer.receive_batch(
                on_batch, on_error=on_error, starting_position="-1", max_wait_time=0.2, max_batch_size=2000
            )
        )
        await wait(number)
        server.command({"command": "drop"})
        await producer.send_event(EventData(str(number)), partition_key="key")
        await wait(number + 1)
        properties = [await producer.get_partition_properties(name) for name in "0123"]
    await receiving
    await server.stop()
    assert set(bodies) == {str(index) for index in range(number + 1)}
    assert sum(item["last_enqueued_sequence_number"] + 1 for item in properties) == number + 1
    assert not errors


def test_sending_receiving_and_recovering() -> None:
    asyncio.run(_exchange(3000))


def test_buffered_mode_stores_everything_once() -> None:
    async def run() -> None:
        server = EventHubsServer([HubConfig("eh1", 2)])
        await server.start()
        stored: list[EventData | AmqpAnnotatedMessage] = []

        async def on_success(events: Sequence[EventData | AmqpAnnotatedMessage], _partition: str | None) -> None:
            stored.extend(events)

        async def on_error(
            _events: Sequence[EventData | AmqpAnnotatedMessage], _partition: str | None, error: Exception
        ) -> None:
            raise error

        producer = EventHubProducerClient.from_connection_string(
            connection_string(server.port),
            eventhub_name="eh1",
            buffered_mode=True,
            on_success=on_success,
            on_error=on_error,
            max_wait_time=0.2,
            **QUICK,
        )
        async with producer:
            for index in range(100):
                await producer.send_event(EventData(str(index)), partition_key=str(index))
            await producer.flush()
        statistics = server.status()["statistics"]
        await server.stop()
        assert isinstance(statistics, dict)
        assert statistics["eventsStored"] == len(stored) == 100

    asyncio.run(run())
