"""How received events become batches: minEventBatchSize, maxEventBatchSize and maxWaitTime of host.json. Pure.

The rule (Microsoft Learn, "Azure Event Hubs trigger and bindings", host.json settings): with a minimum of 1
whatever has arrived is a batch. With a greater one events are held back until there are that many, or until the
first of them has waited for maxWaitTime. Nothing is dropped or reordered.
"""

from collections.abc import Sequence

from devstack.functions_host.host_json import EventHubOptions


class Batching[Event]:
    """The events of one partition that wait for their batch."""

    def __init__(self, options: EventHubOptions) -> None:
        self._options = options
        self._waiting: list[Event] = []
        self._since = 0.0

    def add(self, events: Sequence[Event], now: float) -> list[list[Event]]:
        """Take `events`, perhaps none, and give the batches that are due. `now` is in seconds of any steady clock."""
        if not self._waiting:
            self._since = now
        self._waiting += events
        options = self._options
        enough = len(self._waiting) >= options.min_event_batch_size
        if not self._waiting or not (enough or now - self._since >= options.max_wait_time):
            return []
        due, self._waiting = self._waiting, []
        size = options.max_event_batch_size
        return [due[start : start + size] for start in range(0, len(due), size)]
