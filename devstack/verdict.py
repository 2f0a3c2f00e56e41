"""What the tables hold after a run: compared with what was published, and shown.

The rule: the comparison is exact, row by row and column by column, dead letters included; what is shown is read from
the tables, never from what was published.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from rich.console import Console
from rich.table import Table

from devstack.oracle import differences, expected_job_rows, expected_task_rows
from devstack.workload import Execution, Message

_JOBS_SHOWN = 10
_DEAD_LETTERS = "dead-letters"
_MESSAGE = "-message.json"

type Row = dict[str, Any]


class Tables:
    """Everything in the rollup tables and the dead letters of one account, read once."""

    def __init__(self, storage_connection: str) -> None:
        with TableServiceClient.from_connection_string(storage_connection) as service:
            self.jobs = _rows(service, "JobRollups")
            self.tasks = _rows(service, "TaskRollups")
        with BlobServiceClient.from_connection_string(storage_connection) as blobs:
            container = blobs.get_container_client(_DEAD_LETTERS)
            self.dead_letters = set(container.list_blob_names()) if container.exists() else set()


def _rows(service: TableServiceClient, table: str) -> list[Row]:
    with closing(service.get_table_client(table)) as client:
        try:
            return [dict(entity) for entity in client.list_entities(results_per_page=1000)]
        except ResourceNotFoundError:
            return []


def disagreements(tables: Tables, executions: Iterable[Execution], dead_letters: set[str]) -> list[str]:
    """A line for everything in which the tables differ from the executions, or the dead letters from those expected."""
    known = list(executions)
    return [
        *differences(expected_job_rows(known), tables.jobs),
        *differences(expected_task_rows(known), tables.tasks),
        *(f"dead letter {name} is missing" for name in sorted(dead_letters - tables.dead_letters)),
        *(f"dead letter {name} is not expected" for name in sorted(tables.dead_letters - dead_letters)),
    ]


class ExpectedDeadLetters:
    """Names the dead letters that messages must cause, as they are sent to an empty hub, in order, one by one."""

    def __init__(self, hub: str) -> None:
        self.names: set[str] = set()
        self._hub = hub
        self._sent: dict[str, int] = {}

    def watch(self, messages: Iterable[Message]) -> Iterator[Message]:
        """The same messages, each noted."""
        for message in messages:
            assert message.partition is not None  # else its position would be the hub's choice
            sequence_number = self._sent.get(message.partition, 0)
            self._sent[message.partition] = sequence_number + 1
            self.names.update(_names(self._hub, message.partition, sequence_number, _bad_items(message)))
            yield message


class SentMessages:
    """What was sent, known by its bytes, so that what a hub holds can be told from that.

    The rule: nothing is assumed of where a message is stored, nor how often. A sender that repeats itself after a lost
    answer shifts all that follows; the hub itself then says which dead letters must be there, and under which names.
    """

    def __init__(self, hub: str) -> None:
        self.sent = 0
        self.stored = 0
        self.names: set[str] = set()
        self.strangers: list[str] = []
        """Events that were never sent."""
        self._hub = hub
        self._bad_items: dict[bytes, tuple[str, ...]] = {}
        self._awaited: set[bytes] = set()
        self._bodies: dict[str, bytes] = {}

    def watch(self, messages: Iterable[Message]) -> Iterator[Message]:
        """The same messages, each noted."""
        for message in messages:
            digest = hashlib.sha256(message.body).digest()
            self.sent += 1
            self._bad_items[digest] = _bad_items(message)
            self._awaited.add(digest)
            yield message

    def find(self, partition: str, sequence_number: int, body: bytes) -> None:
        """Take note of an event in the hub."""
        digest = hashlib.sha256(body).digest()
        self.stored += 1
        self._awaited.discard(digest)
        if digest not in self._bad_items:
            self.strangers.append(f"{self._hub}/{partition}/{sequence_number}")
            return
        for name in _names(self._hub, partition, sequence_number, self._bad_items[digest]):
            self.names.add(name)
            self._bodies[name] = body

    def disagreements(self, letters: Mapping[str, bytes]) -> list[str]:
        """A line for everything that went astray on its way to the hub, or from there into a letter's body."""
        lines = [f"event {stranger} was never sent" for stranger in self.strangers]
        if self._awaited:
            lines.append(f"{len(self._awaited):,} messages never reached the hub")
        for name, body in sorted(letters.items()):
            sent = self._bodies.get(name)
            whole = name.endswith(_MESSAGE)
            if sent is not None and (body != sent if whole else body not in sent):
                lines.append(f"dead letter {name} does not hold the bytes that were sent")
        return lines


def _bad_items(message: Message) -> tuple[str, ...]:
    """How the names of the dead letters that a message must cause end."""
    whole = () if message.bad is None else (_MESSAGE,)
    return (*whole, *(f"-{bad.index:05}.json" for bad in message.bad_records))


def _names(hub: str, partition: str, sequence_number: int, bad_items: tuple[str, ...]) -> Iterator[str]:
    return (f"{hub}/{partition}/{sequence_number:020}{item}" for item in bad_items)


def dead_letter_bodies(storage_connection: str) -> dict[str, bytes]:
    """The original bytes in every dead letter, by its name."""
    bodies = {}
    with BlobServiceClient.from_connection_string(storage_connection) as service:
        container = service.get_container_client(_DEAD_LETTERS)
        for name in container.list_blob_names() if container.exists() else ():
            letter = json.loads(container.download_blob(name).readall())
            body: str = letter["body"]
            bodies[name] = base64.b64decode(body) if letter["encoding"] == "base64" else body.encode()
    return bodies


def show_jobs(console: Console, jobs: list[Row]) -> None:
    """The largest jobs as a table."""
    table = Table(
        title=f"JobRollups: {len(jobs):,} jobs, the {min(_JOBS_SHOWN, len(jobs))} largest", title_justify="left"
    )
    table.add_column("account", no_wrap=True)
    table.add_column("job", no_wrap=True, max_width=26)
    for column in ("tasks", "failed", "runs", "retries", "p50", "p95", "max", "span", "concurrency", "slot-hours"):
        table.add_column(column, justify="right", no_wrap=True)
    for job in sorted(jobs, key=lambda job: -_int(job["taskCount"]))[:_JOBS_SHOWN]:
        table.add_row(
            job["account"],
            job["jobId"],
            *(f"{_int(job[column]):,}" for column in ("taskCount", "failedTasks", "completionCount", "retryCount")),
            *(_duration(job.get(f"{which}DurationSeconds")) for which in ("p50", "p95", "max")),
            _duration(job.get("spanSeconds")),
            f"{job['meanConcurrency']:,.1f}" if "meanConcurrency" in job else "",
            f"{job['slotSeconds'] / 3600:,.1f}",
        )
    console.print(table)


def show_totals(console: Console, tables: Tables) -> None:
    """Sums over all jobs."""

    def total(column: str) -> int:
        return sum(_int(job[column]) for job in tables.jobs)

    failures: dict[str, int] = {}
    for job in tables.jobs:
        for code, count in json.loads(job["failures"]).items():
            failures[code] = failures.get(code, 0) + count
    console.print(
        f"{total('taskCount'):,} tasks, {total('succeededTasks'):,} succeeded, {total('failedTasks'):,} failed; "
        f"{total('completionCount'):,} executions, {total('retryCount'):,} retries, "
        f"{total('requeueCount'):,} requeues; {len(tables.dead_letters):,} dead letters"
    )
    worst = sorted(failures.items(), key=lambda item: (-item[1], item[0]))[:5]
    console.print("failures: " + ", ".join(f"{code} {count:,}" for code, count in worst))


def _int(value: Any) -> int:
    return int(getattr(value, "value", value))


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours < 48 else f"{hours // 24}d {hours % 24:02}h"
