"""How far the function has come with the hub: its checkpoints beside what the partitions hold.

A checkpoint is written after the invocation, so a partition whose checkpoint is at its last event is in the tables.
"""

import time
from collections.abc import Callable
from typing import Any

from azure.eventhub import EventHubConsumerClient
from azure.storage.blob import BlobServiceClient

from devstack.child import StackError
from devstack.functions_host.event_hub_trigger import CHECKPOINT_CONTAINER
from devstack.stack import Stack

_POLL_SECONDS = 0.2


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
    last = _last_sequence_numbers(stack)
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


def _last_sequence_numbers(stack: Stack) -> dict[str, int]:
    """By partition; -1 where it is empty."""
    with EventHubConsumerClient.from_connection_string(
        stack.event_hub_connection, stack.consumer_group, eventhub_name=stack.event_hub_name
    ) as client:
        properties = [client.get_partition_properties(partition) for partition in client.get_partition_ids()]
        return {held["id"]: held["last_enqueued_sequence_number"] for held in properties}


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
