"""How the cost of an event changes: with the tasks in a job, with the number of jobs, with the number of instances.

Instances are processes of their own (`benchmarks.instance`), against a stub that each scenario starts anew: Azurite
would be what is measured, and takes over 8 minutes for a job of a million tasks. The stub keeps every row, some 1.2 KB
each.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.processes import cpu_seconds
from benchmarks.table_stub import TableStub

_ROOT = Path(__file__).parents[1]


class Step(NamedTuple):
    """One instance along its way."""

    tasks: int
    cost: float
    """Microseconds an event, of the tasks since the last step."""
    megabytes: float


class Growth(NamedTuple):
    """One instance through many tasks."""

    steps: list[Step]
    last: float
    """Microseconds an event at the end, the median of some turns."""
    compared: float
    """The same of what it is compared with, in turn with it."""
    peak: float
    """Megabytes."""
    stub: float
    """Microseconds of the stub's CPU a row."""


class Shared(NamedTuple):
    """Several instances that shared the partitions."""

    instances: int
    buckets: int | None
    cost: float
    """Microseconds of the instances' CPU an event."""
    conflicts: float
    """A invocation."""
    requests: float
    """A invocation."""
    rate: float
    """Events a second of all, on this machine's cores."""
    stub: float
    """The stub's CPU, as a share of one core."""


def one_job(tasks: int, step: int, turns: int) -> Growth:
    """One job that grows, compared with small ones."""
    return _growth(tasks, tasks * 2, step, turns)


def many_jobs(tasks: int, tasks_a_job: int, step: int, turns: int) -> Growth:
    """One job after the other, compared with 100 jobs in turn."""
    return _growth(tasks, tasks_a_job, step, turns)


def _growth(tasks: int, tasks_a_job: int, step: int, turns: int) -> Growth:
    with TableStub() as stub:
        options = {"tasks": tasks, "tasks-a-job": tasks_a_job, "step": step, "turns": turns}
        process = _instance("grow", stub, {}, options)
        lines: list[Any] = [json.loads(line) for line in _output(process)]
        _check(process)
        usage = stub.usage()
    turned = lines[tasks // step : -1]
    return Growth(
        [Step(*line) for line in lines[: tasks // step]],
        median(own for own, _ in turned),
        median(other for _, other in turned),
        lines[-1],
        usage.cpu_seconds / usage.rows_written * 1e6,
    )


def shared(
    instances: int, partitions: int, jobs: int, batches: int, size: int, *, buckets: int | None = None
) -> Shared:
    """Instances that share a hub's partitions, each of which brings some batches of `size` messages.

    `buckets` is what the setting JobBuckets is given, None for its default.
    """
    settings = {} if buckets is None else {"JobBuckets": str(buckets)}
    with TableStub() as stub:
        processes = [
            _instance(
                "share",
                stub,
                settings,
                {
                    "jobs": jobs,
                    "partitions": json.dumps(list(range(first, partitions, instances))),
                    "batches": batches,
                    "size": size,
                },
            )
            for first in range(instances)
        ]
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline().strip() != '"ready"':
                _check(process)
        assert stub.pid is not None
        before = cpu_seconds(stub.pid)
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        results: list[dict[str, float]] = [json.loads(next(_output(process))) for process in processes]
        used = cpu_seconds(stub.pid) - before
        for process in processes:
            _check(process)
    total = {name: sum(result[name] for result in results) for name in results[0]}
    seconds = max(result["seconds"] for result in results)
    return Shared(
        instances,
        buckets,
        total["cpu"] / total["events"] * 1e6,
        total["conflicts"] / total["invocations"],
        total["requests"] / total["invocations"],
        total["events"] / seconds,
        used / seconds,
    )


def _instance(
    what: str, stub: TableStub, settings: Mapping[str, str], options: Mapping[str, object]
) -> subprocess.Popen[str]:
    environment = json.dumps({"RollupStorage": stub.connection_string, **settings})
    given = [f"--{name}={value}" for name, value in options.items()]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.instance", what, f"--environment={environment}", *given],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    )


def _output(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    return iter(process.stdout)


def _check(process: subprocess.Popen[str]) -> None:
    """Raises CalledProcessError where it failed; its own words are on standard error."""
    process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, "benchmarks.instance")
