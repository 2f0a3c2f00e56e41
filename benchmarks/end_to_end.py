"""`make run`'s path: SDK → Event Hubs server → worker library → Azurite, for the app and for the naive function.

The rule: all is published before the instance starts, so that what is timed is consuming alone, from the first delivery
to the last checkpoint; the CPU of every process is taken over that time. Both apps go the same way, one after the
other, each with a local Azure of its own.
"""

import asyncio
import json
import re
import tempfile
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import cpu_seconds, peak_megabytes
from benchmarks.workload import RECORDS, in_turn, messages
from devstack.consumption import wait_until_consumed
from devstack.publish import FileMessage, publish
from devstack.stack import APP, Stack

NAIVE_APP = Path(__file__).with_name("naive_app")
_INVOCATION = re.compile(r"^(\S+ \S+) INFO .*: ingested (\{.*\})$", re.MULTILINE)
_LOG_TIME = "%Y-%m-%d %H:%M:%S,%f"


class Consumed(NamedTuple):
    """An instance's way through what was published."""

    events: int
    seconds: float
    """From the first delivery to the last checkpoint."""
    cpu: dict[str, float]
    """Seconds of CPU by process, meanwhile."""
    peak: float
    """The instance's memory at most, megabytes."""

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds

    def busy(self, process: str) -> float:
        """How much of one core the process had."""
        return self.cpu[process] / self.seconds


AZURITE, HUB, INSTANCE = "Azurite", "Event Hubs server", "host and worker"


def of_the_app(count: int, records: int = RECORDS) -> Consumed:
    """So many messages through the app."""
    return _consumed(APP, messages(count, in_turn(100), records), count * records)


def of_the_naive_function(count: int) -> Consumed:
    """So many messages of `RECORDS` records through the naive function."""
    return _consumed(NAIVE_APP, messages(count, in_turn(100)), count * RECORDS)


def _consumed(app: Path, bodies: Iterable[bytes], events: int) -> Consumed:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Stack(instances=0, logs=Path(folder)) as stack:
        sending = publish(stack.event_hub_connection, stack.event_hub_name, map(FileMessage, bodies), lambda _: None)
        asyncio.run(sending)
        before = {AZURITE: _cpu(stack.azurite.pid), HUB: _cpu(stack.event_hubs.pid)}
        host = stack.add_host(app=app)
        before[INSTANCE] = _cpu(host.pid)
        wait_until_consumed(stack)
        ended = time.time()
        after = {AZURITE: _cpu(stack.azurite.pid), HUB: _cpu(stack.event_hubs.pid), INSTANCE: _cpu(host.pid)}
        assert host.pid is not None
        peak = peak_megabytes(host.pid)
        started = _first_delivery((Path(folder) / f"{host.name}.log").read_text())
    return Consumed(events, ended - started, {name: after[name] - before[name] for name in after}, peak)


def _cpu(pid: int | None) -> float:
    assert pid is not None  # `wait_until_consumed` would have said so
    return cpu_seconds(pid)


def _first_delivery(log: str) -> float:
    """When the first invocation began, in seconds since 1970, by the lines that invocations end with."""
    starts: list[float] = []
    for moment, summary in _INVOCATION.findall(log):
        ended = datetime.strptime(moment, _LOG_TIME).astimezone()
        starts.append(ended.timestamp() - json.loads(summary)["milliseconds"] / 1000)
    return min(starts)
