"""What a task event costs on its way into the tables: each stage, the whole of `ingest`, and the naive function beside.

CPU of this process, in microseconds an event; storage is an Azurite of its own. The stages are the best of several
runs, the rest is one run each, with 100 jobs and 100 records a message unless a row says otherwise.
"""

import argparse
import asyncio
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

from azure.core.pipeline.transport import AioHttpTransport
from azure.data.tables.aio import TableServiceClient
from rich.console import Console
from rich.table import Table

from benchmarks import naive
from devstack.azurite import Azurite
from processors.events import execution, newest_time
from processors.ingest import Batch, Message, ingest
from processors.plan import by_job, plan
from processors.records import decode
from processors.services import Services
from processors.settings import load_storage
from processors.table_wire import transaction_body
from tests.core.examples import ENQUEUED, an_execution, message, record

_RECORDS = 100


class Figure(NamedTuple):
    """What was measured, and what it may be at most."""

    name: str
    value: float
    unit: str = "µs"
    target: str = ""


def messages(count: int, jobs: int = 100, records: int = _RECORDS, first: int = 0) -> Iterator[bytes]:
    """Messages of distinct tasks, spread evenly over the jobs; every tenth failed."""
    for number in range(count):
        start = first + number * records
        yield message(*(_record(task, task % jobs) for task in range(start, start + records)))


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


def stages() -> list[Figure]:
    """The pure stages, on one transaction's worth of tasks of one job."""
    (body,) = messages(1, jobs=1, records=99)
    records = decode(body).records
    executions = [found for found in map(execution, records) if not isinstance(found, list)]
    (job,) = by_job(executions)
    planned = plan(job.job, "0", None, job.tasks, {})
    work: dict[str, Callable[[], object]] = {
        "bytes → records": lambda: decode(body),
        "records → executions": lambda: (newest_time(records), [execution(each) for each in records]),
        "executions → jobs": lambda: by_job(executions),
        "jobs → transaction": lambda: plan(job.job, "0", None, job.tasks, {}),
        "transaction → bytes": lambda: transaction_body("http://a", "TaskRollups", planned.operations, "x" * 32),
    }
    return [Figure(name, _best(run) / 99) for name, run in work.items()]


def _best(run: Callable[[], object], times: int = 30) -> float:
    """Microseconds of CPU, of the quickest run."""
    best = float("inf")
    for _ in range(times):
        before = time.process_time()
        run()
        best = min(best, time.process_time() - before)
    return best * 1e6


async def _cpu(work: Awaitable[object]) -> float:
    before = time.process_time()
    await work
    return (time.process_time() - before) * 1e6


async def _ingested(services: Services, bodies: Iterator[bytes], first: int = 0) -> float:
    batch = Batch("hub", "0", [Message(body, first + n, ENQUEUED) for n, body in enumerate(bodies)])
    return await _cpu(ingest(batch, services.storage(), time.time))


async def whole(connection: str, *, quick: bool) -> list[Figure]:
    """`ingest` into Azurite in several shapes, and the naive function."""
    services = Services(load_storage({"RollupStorage": connection}))
    count = 100
    big = 20_000 if quick else 200_000
    figures = []
    try:
        await _ingested(services, messages(1, first=10**7))
        events = count * _RECORDS
        first = await _ingested(services, messages(count)) / events
        again = await _ingested(services, messages(count)) / events
        figures += [
            Figure("ingest, first delivery", first, target="≤ 40"),
            Figure("ingest, everything again", again),
            Figure("again ÷ first", again / first, "", "≤ 2"),
        ]
        single = await _ingested(services, messages(200, jobs=1, records=1, first=2 * 10**7)) / 200
        figures.append(Figure("ingest, one record a message, 200 a batch", single, target="≤ 60"))
        figures += await _flat(services, big)
        own = await _naive(connection, 2 if quick else 5)
        figures += [Figure("the naive function", own), Figure("naive ÷ ingest", own / first, "", "≥ 80")]
    finally:
        await services.close()
    return figures


async def _flat(services: Services, tasks: int) -> list[Figure]:
    """One job that grows: the cost of an event at its beginning and at its end."""
    size = 10_000
    costs = []
    for start in range(0, tasks, size):
        bodies = messages(size // _RECORDS, jobs=1, first=3 * 10**7 + start)
        costs.append(await _ingested(services, bodies, start) / size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        Figure("ingest, the first 10,000 tasks of one job", costs[0]),
        Figure(f"ingest, the last 10,000 of {tasks:,}", costs[-1], target="within 10%"),
        Figure("this process's most memory", peak, "MB", "< 300"),
    ]


async def _naive(connection: str, count: int) -> float:
    transport = AioHttpTransport(use_env_settings=False)  # as the app has it
    async with TableServiceClient.from_connection_string(connection, transport=transport) as service:
        for table in ("NaiveTasks", "NaiveJobs"):
            await service.create_table_if_not_exists(table)
        handled = 0

        async def all_of_them() -> None:
            nonlocal handled
            for body in messages(count):
                handled += await naive.handle(service, body)

        return await _cpu(all_of_them()) / handled


def cold_start() -> Figure:
    """Seconds of CPU that importing the app's own code takes, beyond starting Python; the best of five."""

    def cpu(code: str) -> float:
        script = f"import time\n{code}\nprint(time.process_time())"
        runs = [subprocess.run([sys.executable, "-c", script], capture_output=True, check=True) for _ in range(5)]
        return min(float(run.stdout) for run in runs)

    app = "import processors.ingest, processors.services, processors.settings, reader.hosted, azure.functions"
    return Figure("importing what function_app imports", cpu(app) - cpu("pass"), "s", "< 0.5")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.writing", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="in well under a minute, the large job a small one")
    quick = parser.parse_args().quick
    figures = [*stages(), cold_start()]
    with Azurite() as azurite:
        figures += asyncio.run(whole(azurite.connection_string, quick=quick))
    table = Table("figure", "measured", "target")
    for figure in figures:
        table.add_row(figure.name, f"{figure.value:,.2f} {figure.unit}".strip(), figure.target)
    Console().print(table)


if __name__ == "__main__":
    main()
