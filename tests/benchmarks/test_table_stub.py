"""The benchmarks' Table service held to Azurite: the same random operations have the same outcome on both.

Through `AzureTables`, as the benchmarks use it; creating a table, through the SDK.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from azure.data.tables import TableServiceClient

from benchmarks.table_stub import PAGE_ROWS, TableStub
from devstack.azurite import Azurite
from processors.attempts import Attempts
from processors.columns import Int64, Row
from processors.errors import Conflict
from processors.plan import Insert, Operation, Replace
from processors.services import Services
from processors.settings import load_storage
from processors.tables import AzureTables
from reader.table_requests import TableRequests

TABLE = "Rows"
KEYS = ("a", "b", "it's", "x y", "=2F", "c:1", "d", "~job~0")
STEPS = 300


class Step(NamedTuple):
    """One call, with ETags by the version of the row that they stand for."""

    kind: str
    partition: str
    keys: tuple[str, ...]
    versions: tuple[int | None, ...] = ()
    """For each row of a commit: None to insert it, else which of its former ETags it is replaced under."""
    limit: int | None = None


def steps(chance: random.Random, count: int) -> list[Step]:
    made = []
    for _ in range(count):
        partition = chance.choice(("job|1", "o'job|2"))
        match chance.choice(("commit", "commit", "commit", "get", "query")):
            case "commit":
                keys = tuple(chance.sample(KEYS, chance.choice((1, 2, 5))))
                versions = tuple(chance.choice((None, -1, -1, -1, -2)) for _ in keys)
                made.append(Step("commit", partition, keys, versions))
            case "get":
                made.append(Step("get", partition, (chance.choice(KEYS),)))
            case _:
                ends = tuple(sorted(chance.sample(("!", "=", "a", "b", "q", "z", "~~"), 2)))
                made.append(Step("query", partition, ends, limit=chance.choice((None, 1, 3))))
    return made


def row(partition: str, key: str, number: int) -> Row:
    odd: Row = {"text": '"RowKey":"no"\r\n\r\n{é', "when": datetime(2026, 1, 1, tzinfo=UTC), "n": Int64(2**40)}
    return {"PartitionKey": partition, "RowKey": key, "number": number, **(odd if number % 3 == 0 else {})}


class Subject:
    """One of the two, with the ETags that it gave each row."""

    def __init__(self, tables: AzureTables) -> None:
        self._tables = tables
        self._etags: dict[tuple[str, str], list[str]] = {}

    async def outcome(self, number: int, step: Step) -> object:
        match step.kind:
            case "get":
                stored = await self._tables.get(TABLE, step.partition, step.keys[0])
                return stored and stored.row
            case "query":
                first, end = step.keys
                rows = await self._tables.query(TABLE, step.partition, first, end, step.limit)
                # More than the limit may come where Azurite's pages are shorter.
                return [each.row for each in rows][: step.limit]
            case _:
                return await self._commit(number, step)

    async def _commit(self, number: int, step: Step) -> str:
        operations = [
            self._operation(row(step.partition, key, number), version)
            for key, version in zip(step.keys, step.versions, strict=True)
        ]
        try:
            etags = await self._tables.commit(TABLE, operations)
        except Conflict as conflict:
            return f"conflict at {conflict.index}"
        for key, etag in zip(step.keys, etags, strict=True):
            self._etags.setdefault((step.partition, key), []).append(etag)
        return f"{len(etags)} written"

    def _operation(self, row: Row, version: int | None) -> Operation:
        former = self._etags.get((str(row["PartitionKey"]), str(row["RowKey"])), [])
        if version is None or not former:
            return Insert(row)
        return Replace(row, former[max(version, -len(former))])


async def with_tables[T](connections: list[str], work: Callable[[list[AzureTables]], Awaitable[T]]) -> T:
    async with AsyncExitStack() as opened:
        tables = []
        for connection in connections:
            services = Services(load_storage({"RollupStorage": connection}))
            opened.push_async_callback(services.close)
            tables.append(AzureTables(services.clients.table_account, Attempts(_no_sleep)))
        return await work(tables)


async def _no_sleep(_: float) -> None:
    """A missing table is there at once."""


def test_random_operations_have_the_outcome_that_they_have_on_azurite() -> None:
    wanted = steps(random.Random(5), STEPS)

    async def compare(tables: list[AzureTables]) -> set[str]:
        real, stub = map(Subject, tables)
        seen = set()
        for number, step in enumerate(wanted):
            outcomes = [await subject.outcome(number, step) for subject in (real, stub)]
            assert outcomes[1] == outcomes[0], step
            seen.add(str(outcomes[0]))
        return seen

    with Azurite() as azurite, TableStub() as stub:
        seen = asyncio.run(with_tables([azurite.connection_string, stub.connection_string], compare))
    assert {"5 written", "1 written", "conflict at 0", "conflict at 3", "None"} <= seen


@pytest.fixture(scope="module")
def stub() -> Iterator[TableStub]:
    with TableStub() as started:
        yield started


def test_a_large_answer_comes_in_pages_and_columns(stub: TableStub) -> None:
    count = PAGE_ROWS + 250

    async def fill(tables: list[AzureTables]) -> int:
        for first in range(0, count, 100):
            await tables[0].commit(
                "Large", [Insert(row("p", f"k{number:05}", number)) for number in range(first, min(first + 100, count))]
            )
        return len(await tables[0].query("Large", "p", "k", "l"))

    before = stub.usage()
    assert asyncio.run(with_tables([stub.connection_string], fill)) == count
    after = stub.usage()
    assert after.rows_written - before.rows_written == count
    assert after.cpu_seconds > before.cpu_seconds
    assert after.requests > before.requests
    with TableServiceClient.from_connection_string(stub.connection_string) as service:
        page = TableRequests(service).page("Large", "PartitionKey eq 'p' and RowKey gt 'k01248'", ["RowKey", "number"])
    assert page.rows == [{"RowKey": "k01249", "number": 1249}]


def test_what_else_the_sdk_asks_for(stub: TableStub) -> None:
    with TableServiceClient.from_connection_string(stub.connection_string) as service:
        service.create_table_if_not_exists("Mine")
        table = service.create_table_if_not_exists("Mine")
        entities = [{"PartitionKey": "p", "RowKey": key, "text": "é"} for key in ("a", "b")]
        table.submit_transaction([("create", entity) for entity in entities])
        table.delete_entity("p", "a")
        assert [dict(entity) for entity in table.query_entities("PartitionKey eq 'p'")] == entities[1:]
