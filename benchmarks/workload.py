"""The events that the benchmarks send: distinct tasks, spread evenly over the jobs, every tenth failed."""

from collections.abc import Iterator
from typing import Any

from processors.ingest import Batch, Message
from tests.core.examples import ENQUEUED, an_execution, message, record

RECORDS = 100
"""Records a message, where nothing else is said."""


def messages(count: int, jobs: int = 100, records: int = RECORDS, first: int = 0) -> Iterator[bytes]:
    """So many messages of tasks numbered on from `first`."""
    for number in range(count):
        start = first + number * records
        yield message(*(_record(task, task % jobs) for task in range(start, start + records)))


def batch(bodies: Iterator[bytes], partition: str = "0") -> Batch:
    """The messages as the trigger would deliver them."""
    return Batch("hub", partition, [Message(body, number, ENQUEUED) for number, body in enumerate(bodies)])


def _record(number: int, job: int) -> dict[str, Any]:
    failed = number % 10 == 0
    told = record(
        an_execution(
            number % 86_400,
            job_id=f"nightly-{job:06}",
            task_id=f"task-{number:08}",
            node_id=f"tvmps_{number % 50:08x}",
            succeeded=not failed,
            exit_code=int(failed),
        )
    )
    if not failed:  # as Batch leaves it out
        del told["properties"]["executionInfo"]["schedulingError"]
    return told
