"""`ingest` as a whole, everything included, and the naive function beside it: microseconds of this process's CPU.

The rule: what is compared runs in turn, in one process, against one storage; the medians are compared.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import asynccontextmanager
from statistics import median
from typing import NamedTuple

from azure.core.pipeline.transport import AioHttpTransport
from azure.data.tables.aio import TableServiceClient

from benchmarks import naive
from benchmarks.workload import RECORDS, batch, in_turn, messages
from processors.ingest import Batch, Summary, ingest
from processors.services import Services
from processors.settings import load_storage


class Whole(NamedTuple):
    """Microseconds an event."""

    first: float
    """Messages of 100 records, 100 jobs."""
    again: float
    """The same messages once more."""
    single: float
    """One record a message, 200 messages a batch, of one job."""
    naive: float


class Run(NamedTuple):
    """What a call of `ingest` took and did."""

    cpu: float
    """Seconds."""
    summary: Summary


@asynccontextmanager
async def services_of(environment: Mapping[str, str]) -> AsyncIterator[Services]:
    """The app's storage clients, by its settings."""
    services = Services(load_storage(environment))
    try:
        yield services
    finally:
        await services.close()


async def ingested(services: Services, what: Batch) -> Run:
    """Ingest a batch."""
    before = time.process_time()
    summary = await ingest(what, services.storage(), time.time)
    return Run(time.process_time() - before, summary)


def run(connection: str, batches: Iterator[Batch]) -> list[Run]:
    """Ingest batches, one after the other, into an account: all in one call, for a profiler to be put around."""

    async def all_of_them() -> list[Run]:
        async with services_of({"RollupStorage": connection}) as services:
            return [await ingested(services, each) for each in batches]

    return asyncio.run(all_of_them())


def measured(connection: str, rounds: int, count: int, naive_count: int) -> Whole:
    """So many rounds of `count` messages first, then again, beside `naive_count` through the naive function."""
    return asyncio.run(_measured(connection, rounds, count, naive_count))


async def _measured(connection: str, rounds: int, count: int, naive_count: int) -> Whole:
    events = count * RECORDS
    costs: list[Whole] = []
    # As the app has it: where aiohttp looks for a proxy, it does so in threads, twice a request.
    transport = AioHttpTransport(use_env_settings=False)
    async with (
        services_of({"RollupStorage": connection}) as services,
        TableServiceClient.from_connection_string(connection, transport=transport) as theirs,
    ):
        for table in naive.TABLES:
            await theirs.create_table_if_not_exists(table)
        await ingested(services, batch(messages(1, first=10**7)))  # tables, connections, imports
        await naive.handle(theirs, next(messages(1, records=1)))
        for turn in range(rounds):
            first = (await ingested(services, batch(messages(count, first=turn * events)))).cpu
            own = await _cpu(_naive(theirs, messages(naive_count, first=turn * events)))
            again = (await ingested(services, batch(messages(count, first=turn * events)))).cpu
            single = await ingested(services, batch(messages(200, in_turn(1), 1, first=2 * 10**7 + turn * 200)))
            costs.append(Whole(first / events, again / events, single.cpu / 200, own / (naive_count * RECORDS)))
    return Whole(*(median(cost) * 1e6 for cost in zip(*costs, strict=True)))


async def _naive(service: TableServiceClient, bodies: Iterator[bytes]) -> None:
    for body in bodies:
        await naive.handle(service, body)


async def _cpu(work: Awaitable[object]) -> float:
    """Seconds."""
    before = time.process_time()
    await work
    return time.process_time() - before
