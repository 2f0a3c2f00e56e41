"""What Microsoft's worker library takes to hand an event to a function: `python -m benchmarks.conversion`.

A process of its own, because the library keeps its app in module globals. The function reads its events as the app
does, and does nothing with them; what the host does before is not counted. On stdout comes one number: microseconds of
CPU an event, one record a message, the median of some batches.
"""

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, cast

from azure.eventhub import EventData
from azure.eventhub.amqp import AmqpMessageBodyType

from benchmarks.workload import in_turn, messages
from devstack.functions_host.bindings import read_triggers
from devstack.functions_host.event_hub_batch import Partition, trigger_data, trigger_metadata
from devstack.functions_host.worker import Worker
from devstack.stack import SAMPLE_SETTINGS
from tests.core.examples import ENQUEUED

APP = Path(__file__).with_name("empty_app")
_ROOT = Path(__file__).parents[1]
_MESSAGES, _BATCHES = 200, 15


@dataclass
class _Event:
    """As much of the SDK's EventData as the host reads."""

    body: list[bytes]
    sequence_number: int
    offset: str
    body_type: AmqpMessageBodyType = AmqpMessageBodyType.DATA
    enqueued_time: datetime = ENQUEUED
    partition_key: bytes | None = None
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Partition:
    fully_qualified_namespace: str = "namespace.servicebus.windows.net"
    eventhub_name: str = "hub"
    consumer_group: str = "group"
    partition_id: str = "0"


async def _measure() -> float:
    worker = await Worker.start(APP)
    (trigger,) = read_triggers(worker.functions).event_hub
    partition: Partition = _Partition()
    costs = []
    for turn in range(_BATCHES):
        bodies = messages(_MESSAGES, in_turn(1), 1, first=turn * _MESSAGES)
        events = cast(list[EventData], [_Event([body], number, str(number)) for number, body in enumerate(bodies)])
        data, metadata = trigger_data(events), trigger_metadata(events, partition)
        before = time.process_time()
        outcome = await worker.invoke(trigger.function, trigger.argument, data, metadata)
        costs.append(time.process_time() - before)
        assert outcome.succeeded
    return median(costs) / _MESSAGES * 1e6


def measured() -> float:
    """The number that a process of this module prints."""
    settings = {**os.environ, **json.loads(SAMPLE_SETTINGS.read_text())["Values"]}
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.conversion"],
        cwd=_ROOT, env=settings, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return float(run.stdout)


if __name__ == "__main__":
    output, sys.stdout = sys.stdout, sys.stderr
    logging.getLogger().setLevel(logging.ERROR)  # the library warns of what concerns no trigger
    print(asyncio.run(_measure()), file=output, flush=True)
    os._exit(0)  # the library's threads would wait
