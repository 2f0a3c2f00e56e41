"""The Event Hub trigger: receive, invoke, retry, checkpoint.

The rules, which are the host's (Microsoft Learn, "Azure Event Hubs trigger" and "Azure Functions reliable event
processing"):

- One invocation at a time for a partition; partitions side by side.
- A checkpoint is written for the last event of a batch whose invocation has ended: whether or not it succeeded
  when there is no retry policy; with one, when it succeeded or the retries are used up.
- A partition that another instance took meanwhile is neither retried nor checkpointed.

So an event is skipped only after its function has had it, and everything else is delivered again.
Partitions are shared among processes through blobs by the SDK's load balancing.
"""

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from azure.core.exceptions import AzureError
from azure.eventhub import CloseReason, EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore

from devstack.functions_host.batching import Batching
from devstack.functions_host.bindings import EventHubTrigger
from devstack.functions_host.errors import HostError
from devstack.functions_host.event_hub_batch import trigger_data, trigger_metadata
from devstack.functions_host.host_json import EventHubOptions
from devstack.functions_host.worker import Retry, Worker

logger = logging.getLogger(__name__)

CHECKPOINT_CONTAINER = "azure-webjobs-eventhub"
_START_OF_PARTITION = "-1"
_END_OF_PARTITION = "@latest"
# How often a batch that waits for more events is looked at when none arrive, in seconds.
_BATCH_CHECK = 0.5


@dataclass(frozen=True)
class LoadBalancing:
    """Seconds: how often an instance looks for partitions to take, and when one that fell silent loses its own.

    The defaults let two instances settle within a few seconds; Azure's own are 10 and 30.
    """

    interval: float = 1.0
    ownership_expiration: float = 6.0


@dataclass
class _Lease:
    """One partition from the moment this instance receives from it until it no longer does."""

    context: PartitionContext
    batching: Batching[EventData]
    lost: bool = False
    retries_over: asyncio.Event = field(default_factory=asyncio.Event)
    batches_since_checkpoint: int = 0
    last_completed: EventData | None = None

    def lose(self) -> None:
        self.lost = True
        self.retries_over.set()


class EventHubListener:
    """Feeds one function from its event hub. Make it, `start` and `stop` it on the same event loop.

    Making it raises HostError when the connection string is none.
    """

    def __init__(
        self,
        trigger: EventHubTrigger,
        worker: Worker,
        options: EventHubOptions,
        storage_connection_string: str,
        load_balancing: LoadBalancing,
    ) -> None:
        self._trigger = trigger
        self._worker = worker
        self._options = options
        # The SDK's own waits, 15 s and more, would let a partition whose checkpoint is due stand still for as long.
        self._store = BlobCheckpointStore.from_connection_string(
            storage_connection_string, CHECKPOINT_CONTAINER, initial_backoff=1, increment_base=1, random_jitter_range=1
        )
        try:
            self._client = EventHubConsumerClient.from_connection_string(
                trigger.connection_string,
                trigger.consumer_group,
                eventhub_name=trigger.event_hub_name,
                checkpoint_store=self._store,
                load_balancing_interval=load_balancing.interval,
                partition_ownership_expiration_interval=load_balancing.ownership_expiration,
            )
        except ValueError as error:
            raise HostError(f"function {trigger.function.name}: the event hub's connection string: {error}") from error
        self._leases: dict[str, _Lease] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._receiving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to claim partitions and to receive, in the background."""
        name = f"receive for {self._trigger.function.name}"
        self._receiving = asyncio.create_task(self._receive(), name=name)
        self._receiving.add_done_callback(self._on_receiving_ended)

    async def stop(self, grace: float) -> bool:
        """Stop receiving, let the running invocations end, checkpoint them, release the partitions.

        Returns whether all of them ended within `grace` seconds; those that did not are not checkpointed.
        """
        self._stopping = True
        for lease in self._leases.values():
            lease.retries_over.set()
        if self._work:
            await asyncio.wait(self._work, timeout=grace)
        unfinished = len(self._work)
        if unfinished:
            logger.warning("%s: %d invocations did not end in time", self._trigger.function.name, unfinished)
        for lease in list(self._leases.values()):
            if lease.batches_since_checkpoint and not lease.lost:
                await self._write_checkpoint(lease)
            lease.lose()
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.wait({self._receiving})
        await self._client.close()
        await self._store.close()
        return not unfinished

    async def _receive(self) -> None:
        options = self._options
        await self._client.receive_batch(
            self._on_events,
            max_batch_size=options.max_event_batch_size,
            max_wait_time=_BATCH_CHECK if options.min_event_batch_size > 1 else None,
            prefetch=options.prefetch_count,
            starting_position=(_START_OF_PARTITION if options.initial_offset == "fromStart" else _END_OF_PARTITION),
            on_partition_initialize=self._on_partition_initialize,
            on_partition_close=self._on_partition_close,
            on_error=self._on_error,
        )

    def _on_receiving_ended(self, receiving: asyncio.Task[None]) -> None:
        # The SDK keeps trying whatever happens; should it ever give up, the function must not fall silent unnoticed.
        if not receiving.cancelled() and receiving.exception() is not None:
            logger.critical("%s: no longer receives", self._trigger.function.name, exc_info=receiving.exception())

    async def _on_partition_initialize(self, context: PartitionContext) -> None:
        self._leases[context.partition_id] = _Lease(context, Batching(self._options))
        self._turns.setdefault(context.partition_id, asyncio.Lock())
        logger.info("%s: partition %s is owned", self._trigger.function.name, context.partition_id)

    async def _on_partition_close(self, context: PartitionContext, reason: CloseReason) -> None:
        lease = self._leases.pop(context.partition_id, None)
        if lease is not None:
            lease.lose()
        logger.info("%s: partition %s is given up: %s", self._trigger.function.name, context.partition_id, reason.name)

    async def _on_error(self, context: PartitionContext | None, error: Exception) -> None:
        where = "load balancing" if context is None else f"partition {context.partition_id}"
        logger.warning("%s: %s: %s", self._trigger.function.name, where, error)

    async def _on_events(self, context: PartitionContext, events: list[EventData]) -> None:
        """Called by the SDK for one partition at a time; the next events come when it has returned."""
        lease = self._leases.get(context.partition_id)
        if lease is None:
            return
        for batch in lease.batching.add(events, time.monotonic()):
            if self._stopping:
                # Returning would fetch the next events. The SDK cancels this wait when the client is closed.
                await asyncio.Event().wait()
            work = asyncio.create_task(self._process(lease, batch))
            self._work.add(work)
            work.add_done_callback(self._work.discard)
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                # The partition was taken away. The function goes on to its end, as in Azure; no more than that.
                lease.lose()
                raise

    async def _process(self, lease: _Lease, events: Sequence[EventData]) -> None:
        # A lease that was lost and won again may find the former one's invocation still running.
        async with self._turns[lease.context.partition_id]:
            if lease.lost:
                return
            if not await self._invoke_until_ended(lease, events):
                # A later batch must not be checkpointed over the one that was left.
                lease.lose()
            if lease.lost:
                return
            lease.last_completed = events[-1]
            lease.batches_since_checkpoint += 1
            if lease.batches_since_checkpoint >= self._options.batch_checkpoint_frequency:
                await self._write_checkpoint(lease)

    async def _invoke_until_ended(self, lease: _Lease, events: Sequence[EventData]) -> bool:
        """Invoke, and again as the retry policy says. Whether the batch is over, for better or worse."""
        function, argument = self._trigger.function, self._trigger.argument
        policy = function.retry_policy
        partition_id = lease.context.partition_id
        data = trigger_data(events)
        metadata = trigger_metadata(events, lease.context)
        outcome = await self._worker.invoke(function, argument, data, metadata)
        if policy is None:
            return True
        retry = 0
        while not outcome.succeeded:
            retry += 1
            if not policy.allows(retry):
                logger.error("%s: partition %s: the retries are used up", function.name, partition_id)
                return True
            delay = policy.delay(retry, random.random())
            logger.warning("%s: partition %s: retry %d in %.1f s", function.name, partition_id, retry, delay)
            if not await _still_held_after(lease, delay):
                return False
            context = Retry(retry, policy.max_retry_count, outcome.exception)
            outcome = await self._worker.invoke(function, argument, data, metadata, context)
        return True

    async def _write_checkpoint(self, lease: _Lease) -> None:
        try:
            await lease.context.update_checkpoint(lease.last_completed)
        except AzureError as error:
            # Nothing is lost: the next checkpoint covers this one, and until then the events come again.
            logger.warning(
                "%s: partition %s: no checkpoint: %s",
                self._trigger.function.name,
                lease.context.partition_id,
                error,
            )
        else:
            lease.batches_since_checkpoint = 0


async def _still_held_after(lease: _Lease, delay: float) -> bool:
    """Wait `delay` seconds, or less when the partition is lost or the host stops: then False."""
    if lease.retries_over.is_set():  # with a delay of 0, wait_for would not look
        return False
    try:
        await asyncio.wait_for(lease.retries_over.wait(), delay)
    except TimeoutError:
        return True
    return False
