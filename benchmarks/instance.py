"""One instance of the app as the scaling benchmarks start it: `ingest` in a process of its own, against any account.

    python -m benchmarks.instance grow    one process through many tasks: cost and memory along the way
    python -m benchmarks.instance share   some of a hub's partitions, side by side as the trigger serves them

The rule: standard output is lines of JSON and nothing else; `share` makes its messages, says `"ready"`, and begins when
a line comes on standard input, so that several begin together.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

from benchmarks.processes import peak_megabytes, resident_megabytes
from benchmarks.whole import Run, ingested, services_of
from benchmarks.workload import RECORDS, JobOf, batch, in_turn, messages, one_after_the_other
from processors.ingest import Batch
from processors.services import Services

SMALL = 1_000
"""Tasks in a job that counts as small."""
_APART = 10**7
"""Task numbers from one use to the next."""


async def grow(environment: dict[str, str], tasks: int, tasks_a_job: int, step: int, turns: int) -> AsyncIterator[Any]:
    """Ingest `tasks` tasks, a step of them at a time: (tasks so far, µs an event, MB in use) after each.

    Then, in turn, as often as `turns`: one more step, and what it is compared with; (µs an event of both). Where there
    is one job, that is as many tasks of a new job that has `SMALL` tasks; else, as many of 100 jobs.
    """
    job_of = one_after_the_other(tasks_a_job)
    async with services_of(environment) as services:
        await ingested(services, batch(messages(1, in_turn(1), first=9 * _APART)))  # connections, imports
        for first in range(0, tasks, step):
            cost = await _cost(services, messages(step // RECORDS, job_of, first=first), step)
            yield first + step, cost, resident_megabytes(os.getpid())
        small = min(step, SMALL)
        for turn in range(turns):
            if tasks_a_job < tasks:
                size, other = step, messages(step // RECORDS, in_turn(100), first=2 * _APART + turn * step)
                job_of = one_after_the_other(tasks_a_job)
            else:
                size = small
                new = _only(turn + 1)
                await _cost(services, messages(SMALL // RECORDS, new, first=2 * _APART), SMALL)
                other = messages(size // RECORDS, new, first=3 * _APART)
                job_of = _only(0)
            compared = await _cost(services, other, size)
            own = await _cost(services, messages(size // RECORDS, job_of, first=tasks + turn * size), size)
            yield own, compared
        yield peak_megabytes(os.getpid())


def _only(job: int) -> JobOf:
    return lambda _: job


async def _cost(services: Services, bodies: Iterable[bytes], events: int) -> float:
    """Microseconds of CPU an event."""
    return (await ingested(services, batch(bodies))).cpu / events * 1e6


async def share(environment: dict[str, str], jobs: int, partitions: list[int], batches: int, size: int) -> Any:
    """Ingest batches of `size` messages on each partition, one after the other; partitions side by side."""
    work = {
        partition: [
            batch(messages(size, in_turn(jobs), first=(partition * batches + n) * size * RECORDS), str(partition))
            for n in range(batches)
        ]
        for partition in partitions
    }
    async with services_of(environment) as services:
        await ingested(services, batch(messages(1, in_turn(1), first=9 * _APART + partitions[0] * RECORDS), "warm"))
        print('"ready"', flush=True)
        await asyncio.to_thread(sys.stdin.readline)

        async def serve(batches: list[Batch]) -> list[Run]:
            return [await ingested(services, each) for each in batches]

        cpu, started = time.process_time(), time.perf_counter()
        runs = await asyncio.gather(*map(serve, work.values()))
        summaries = [run.summary for served in runs for run in served]
        return {
            "cpu": time.process_time() - cpu,
            "seconds": time.perf_counter() - started,
            "events": sum(summary.counted for summary in summaries),
            "invocations": len(summaries),
            "conflicts": sum(summary.conflicts for summary in summaries),
            "requests": sum(summary.storage_requests for summary in summaries),
        }


async def _print_all(lines: AsyncIterator[Any]) -> None:
    async for line in lines:
        print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instance", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=("grow", "share"))
    parser.add_argument("--environment", type=json.loads, required=True, help="the app's settings, as a JSON object")
    parser.add_argument("--tasks", type=int, default=0)
    parser.add_argument("--tasks-a-job", type=int, default=0)
    parser.add_argument("--step", type=int, default=0, help="tasks ingested at a time")
    parser.add_argument("--turns", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--partitions", type=json.loads, default=[])
    parser.add_argument("--batches", type=int, default=1, help="batches a partition")
    parser.add_argument("--size", type=int, default=1, help="messages a batch")
    given = parser.parse_args()
    if given.what == "grow":
        asyncio.run(_print_all(grow(given.environment, given.tasks, given.tasks_a_job, given.step, given.turns)))
    else:
        done = asyncio.run(share(given.environment, given.jobs, given.partitions, given.batches, given.size))
        print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()
