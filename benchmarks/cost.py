"""What a million task events take of what Azure bills, in units that do not age: the table of docs/cost.md.

Counted in the summaries of `ingest`, whose storage is an Azurite of its own, for batches of several shapes. The first
batch of every partition is left out: it creates the tables and reads what a process then remembers. Each partition has
a process's clients and memory of its own, as if every instance had one.
"""

import argparse
import asyncio
import itertools
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import NamedTuple

from benchmarks.workload import in_turn, messages
from devstack.azurite import Azurite
from processors.ingest import Batch, Message, Summary, ingest
from processors.services import Services
from processors.settings import load_storage
from tests.core.examples import ENQUEUED

_MILLION = 1_000_000
_EVENTS = 3_000
"""Of a shape and partition, at least, unless that is more batches than:"""
_ROUNDS = 30


_COLUMNS = ("messages a batch", "records a message", "jobs", "partitions",
            "executions", "table transactions", "seconds", "log line")  # fmt: skip


class Shape(NamedTuple):
    """How events come: what a batch of one partition is made of, and over how many partitions the jobs are spread."""

    messages: int
    records: int
    jobs: int
    partitions: int = 1
    again: bool = False
    """Whether everything is delivered a second time, which is what is counted."""

    @property
    def events(self) -> int:
        """In one batch."""
        return self.messages * self.records

    @property
    def rounds(self) -> int:
        return min(_ROUNDS, math.ceil(_EVENTS / self.events))


SHAPES = (
    Shape(1, 1, 1),
    Shape(1, 10, 1),
    Shape(1, 100, 1),
    Shape(1, 100, 100),
    Shape(10, 100, 1),
    Shape(10, 100, 100),
    Shape(10, 100, 100, partitions=4),
    Shape(100, 1, 1),
    Shape(100, 100, 1),
    Shape(100, 100, 100),
    Shape(100, 100, 100, again=True),
)


@dataclass(slots=True)
class Bill:
    """What was counted of a shape."""

    events: int = 0
    executions: int = 0
    """Of the function."""
    requests: int = 0
    seconds: float = 0.0
    """Of function executions, each at least the one second that is billed of it, in steps of 0.1."""
    log_bytes: int = 0

    def add(self, summary: Summary) -> None:
        self.events += summary.executions
        self.executions += 1
        self.requests += summary.storage_requests
        self.seconds += max(1.0, math.ceil(summary.milliseconds / 100) / 10)
        self.log_bytes += len(f"ingested {json.dumps(asdict(summary))}")

    def a_million(self, amount: float) -> float:
        """The amount for a million events."""
        return amount * _MILLION / self.events


async def measure(connection: str, shape: Shape, numbers: Iterator[int]) -> Bill:
    """Ingest batches of this shape, all partitions at a time; `numbers` gives tasks that nobody has seen."""
    instances = [Services(load_storage({"RollupStorage": connection})) for _ in range(shape.partitions)]
    bill = Bill()
    try:
        for number in range(1 + shape.rounds):
            batches = [_batch(shape, str(partition), next(numbers)) for partition in range(shape.partitions)]
            work = list(zip(batches, instances, strict=True))
            if shape.again:
                await _together(work)
            summaries = await _together(work)
            if number:
                for summary in summaries:
                    bill.add(summary)
    finally:
        for services in instances:
            await services.close()
    return bill


async def _together(work: list[tuple[Batch, Services]]) -> list[Summary]:
    return await asyncio.gather(
        *(ingest(batch, services.storage(), time.time) for batch, services in work)
    )  # fmt: skip


def _batch(shape: Shape, partition: str, number: int) -> Batch:
    first = number * max(each.events for each in SHAPES)
    bodies = messages(shape.messages, in_turn(shape.jobs), shape.records, first)
    return Batch("hub", partition, [Message(body, position, ENQUEUED) for position, body in enumerate(bodies)])


def main() -> None:
    """Measure and print, as Markdown."""
    argparse.ArgumentParser(prog="python -m benchmarks.cost", description=(__doc__ or "").split("\n")[0]).parse_args()
    print(f"| {' | '.join(_COLUMNS)} |\n{'|---:' * len(_COLUMNS)}|")
    numbers = itertools.count()
    with Azurite() as azurite:
        for shape in SHAPES:
            bill = asyncio.run(measure(azurite.connection_string, shape, numbers))
            print(
                f"| {shape.messages} | {shape.records} | {shape.jobs:,}{', again' if shape.again else ''} "
                f"| {shape.partitions} | {bill.a_million(bill.executions):,.0f} | {bill.a_million(bill.requests):,.0f} "
                f"| {bill.a_million(bill.seconds):,.0f} | {bill.a_million(bill.log_bytes) / 1e6:,.2f} MB |"
            )


if __name__ == "__main__":
    main()
