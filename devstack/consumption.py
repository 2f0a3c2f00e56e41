"""How far the function has come with the hub: its checkpoints beside what the partitions hold.

A checkpoint is written after the invocation, so a partition whose checkpoint is at its last event is in the tables.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext
from azure.storage.blob import BlobServiceClient

from devstack.child import StackError
from devstack.functions_host.event_hub_trigger import CHECKPOINT_CONTAINER
from devstack.stack import Stack

_POLL_SECONDS = 0.2
_FROM_START = "-1"
_ANY_GROUP = "$Default"  # every hub has it, and no function reads with it


def wait_until_consumed(
    stack: Stack,
    progress: Callable[[int], None] = lambda _: None,
    consumer_group: str | None = None,
    stalled_after: float = 180.0,
) -> None:
    """Until every event in the hub is processed; tells `progress` how many are.

    Raises StackError where a part of the stack ends, or nothing moves for `stalled_after` seconds.
    """
    group = consumer_group or stack.consumer_group
    last = stack.last_sequence_numbers()
    moved, done = time.monotonic(), -1
    with BlobServiceClient.from_connection_string(stack.storage_connection) as service:
        while True:
            checkpoints = _checkpoints(service, stack.event_hub_name, group)
            now_done = sum(min(checkpoints.get(partition, -1), end) + 1 for partition, end in last.items())
            progress(now_done)
            if all(checkpoints.get(partition, -1) >= end for partition, end in last.items()):
                return
            if now_done != done:
                moved, done = time.monotonic(), now_done
            elif time.monotonic() - moved > stalled_after:
                raise StackError(f"no progress for {stalled_after:.0f} s at {done} of {sum(last.values()) + len(last)}")
            stack.check()
            time.sleep(_POLL_SECONDS)


def checkpoints(stack: Stack) -> dict[str, int]:
    """Sequence number of the last processed event, by partition, now. Raises AzureError while storage is away."""
    with BlobServiceClient.from_connection_string(stack.storage_connection, retry_total=0) as service:
        return _checkpoints(service, stack.event_hub_name, stack.consumer_group)


def backlog(stack: Stack) -> int:
    """How many events of the hub are not yet processed, now. Raises AzureError while storage is away."""
    processed = checkpoints(stack)
    return sum(end - processed.get(partition, -1) for partition, end in stack.last_sequence_numbers().items())


def read_hub(stack: Stack, visit: Callable[[str, int, bytes], None]) -> None:
    """Show `visit` every event that the hub holds: its partition, sequence number and body. In order in a partition."""
    asyncio.run(_read_hub(stack, visit))


async def _read_hub(stack: Stack, visit: Callable[[str, int, bytes], None]) -> None:
    client = EventHubConsumerClient.from_connection_string(
        stack.event_hub_connection, _ANY_GROUP, eventhub_name=stack.event_hub_name
    )

    async def read(partition: str, end: int) -> None:
        at_end = asyncio.Event()

        async def show(_: PartitionContext, events: list[EventData]) -> None:
            for event in events:
                assert event.sequence_number is not None  # Event Hubs numbers every event
                visit(partition, event.sequence_number, _body(event))
                if event.sequence_number >= end:
                    at_end.set()

        receiving = asyncio.create_task(
            client.receive_batch(show, partition_id=partition, starting_position=_FROM_START)
        )
        await at_end.wait()
        receiving.cancel()
        await asyncio.wait({receiving})

    async with client, asyncio.TaskGroup() as group:
        for partition, end in stack.last_sequence_numbers().items():
            if end >= 0:
                group.create_task(read(partition, end))


def _body(event: EventData) -> bytes:
    sections: Any = event.body  # of bytes, as they were sent
    return b"".join(sections)


def _checkpoints(service: BlobServiceClient, hub: str, group: str) -> dict[str, int]:
    """Sequence number of the last processed event, by partition, as the SDKs' blob checkpoint stores keep it."""
    container = service.get_container_client(CHECKPOINT_CONTAINER)
    if not container.exists():
        return {}
    marker = f"/{hub}/{group}/checkpoint/"
    found: dict[str, int] = {}
    for blob in container.list_blobs(include=["metadata"]):
        _, is_checkpoint, partition = blob.name.partition(marker)
        metadata: dict[str, Any] = blob.metadata or {}
        if is_checkpoint and metadata.get("sequencenumber"):
            found[partition] = int(metadata["sequencenumber"])
    return found
