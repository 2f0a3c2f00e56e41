"""The retention timer in the app, under Microsoft's worker library: old jobs go when it fires, and new ones stay."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.data.tables import TableServiceClient

from devstack.stack import Stack
from devstack.workload import Execution
from reader.queries import Rollups
from tests.functions_host.harness import request
from tests.integration.harness import envelope, process, record

NOW = datetime.now(UTC)
DAYS = {"RetentionDays": "30"}


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def stack(logs: Path) -> Iterator[Stack]:
    with Stack(instances=0, logs=logs) as running:
        yield running


def execution(job: str, days: float, task: str = "t") -> Execution:
    end = NOW - timedelta(days=days)
    return Execution("acct", job, task, end - timedelta(minutes=1), end)


def jobs(stack: Stack) -> set[str]:
    with TableServiceClient.from_connection_string(stack.storage_connection) as tables:
        return {job.job_id for job in Rollups(tables).jobs()}


def fire(stack: Stack) -> None:
    """Have the timer run, as the host's admin endpoint does."""
    port = urlsplit(stack.http_url).port
    assert port is not None
    assert request(port, "/admin/functions/retention", "POST", b"{}").status == 202


def end(stack: Stack) -> None:
    """Stop the instance in order, which waits for its timer."""
    for host in stack.hosts:
        host.stop()
    stack.hosts.clear()


def runs(log: Path) -> list[dict[str, Any]]:
    lines = [line.partition(" reader.retention: retention ")[2] for line in log.read_text().splitlines()]
    return [json.loads(line) for line in lines if line]


@pytest.mark.parametrize("buckets", ["1", "3"])
def test_old_jobs_go_and_new_ones_stay(stack: Stack, logs: Path, buckets: str) -> None:
    stack.add_host(settings={"JobBuckets": buckets})
    old = [record(execution("old", 31, f"t{number:03}")) for number in range(120)]
    process(stack, envelope(*old, record(execution("new", 29)), record(execution("grown", 400))))
    process(stack, envelope(record(execution("grown", 1, "later"))))
    assert jobs(stack) == {"old", "new", "grown"}

    fire(stack)  # without RetentionDays: nothing happens
    end(stack)
    assert jobs(stack) == {"old", "new", "grown"}
    assert runs(logs / "instance-0.log") == []

    stack.add_host(settings=DAYS)
    fire(stack)
    end(stack)
    assert jobs(stack) == {"new", "grown"}
    (did,) = runs(logs / "instance-1.log")
    assert did | {"jobs": 1, "tasks": 120, "left": 0, "complete": True} == did
    assert datetime.fromisoformat(did["before"]) < datetime.now(UTC) - timedelta(days=30)
    with TableServiceClient.from_connection_string(stack.storage_connection) as tables:
        rows = tables.get_table_client("TaskRollups").query_entities("RowKey ne '~job~'", select=["PartitionKey"])
        assert not any("old" in row["PartitionKey"] for row in rows)


def test_a_run_that_storage_ends_says_what_it_did(stack: Stack, logs: Path) -> None:
    """The invocation fails, which the host reports; the next run goes on."""
    stack.add_host(settings=DAYS)
    stack.azurite.kill()
    fire(stack)
    end(stack)
    log = logs / "instance-0.log"
    (did,) = runs(log)
    assert did | {"jobs": 0, "tasks": 0, "complete": False} == did
    assert "Function retention failed" in log.read_text()
