"""What storage does, held on the model and on Azurite alike, so that the model cannot drift from the real thing.

The rule: a test here says nothing about which of the two it runs on. What only the model does (limits that Azurite does
not enforce) is in tests/core/test_memory_storage.py. Each test has a job, and so a partition, of its own.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Protocol

import pytest
from azure.storage.blob.aio import BlobServiceClient

from devstack.azurite import Azurite
from processors import limits
from processors.attempts import Attempts
from processors.clients import AzureStorage
from processors.columns import JOBS, TASKS, Int64, Row, StoredRow
from processors.dead_letter_blobs import CONTAINER, AzureDeadLetters
from processors.dead_letters import DeadLetter
from processors.errors import Conflict
from processors.ingest import Storage
from processors.metrics import Sums
from processors.plan import Insert, Operation, Replace
from processors.recent import Recent
from processors.rollups import Earlier, Identity, JobKey, Task, job_row, shard_row, task_row
from processors.services import Services
from processors.settings import load_storage
from processors.tables import AzureTables
from tests.core.examples import AN_EXECUTION, NOON, an_execution
from tests.memory_storage import MemoryStorage


class Subject(Protocol):
    """A storage account under test, kept from one `run` to the next."""

    def run[T](self, work: Callable[[Storage], Awaitable[T]]) -> T:
        """Do something with a client of it."""

    def letter(self, name: str) -> bytes:
        """What a dead letter holds."""


@dataclass
class Model:
    storage: MemoryStorage = field(default_factory=MemoryStorage)

    def run[T](self, work: Callable[[Storage], Awaitable[T]]) -> T:
        return asyncio.run(_awaited(work(self.storage)))

    def letter(self, name: str) -> bytes:
        return self.storage.dead_letters.letters[name].content()


@dataclass
class Real:
    connection_string: str

    def run[T](self, work: Callable[[Storage], Awaitable[T]]) -> T:
        async def connected() -> T:
            services = Services(load_storage({"RollupStorage": self.connection_string}))
            attempts = Attempts(sleep=_no_sleep)
            tables = AzureTables(services.clients.table_account, attempts)
            try:
                letters = AzureDeadLetters(lambda: services.clients.blob_service, attempts)
                return await work(AzureStorage(tables, letters, attempts, Recent()))
            finally:
                await services.close()

        return asyncio.run(connected())

    def letter(self, name: str) -> bytes:
        async def download() -> bytes:
            async with BlobServiceClient.from_connection_string(self.connection_string) as blobs:
                return await (await blobs.get_blob_client(CONTAINER, name).download_blob()).readall()

        return asyncio.run(download())


async def _awaited[T](work: Awaitable[T]) -> T:
    return await work


async def _no_sleep(_: float) -> None:
    """Nothing passes by waiting here: what is missing is there at once."""


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    with Azurite() as started:
        yield started


@pytest.fixture(params=["model", "azurite"])
def subject(request: pytest.FixtureRequest) -> Subject:
    """Without any table or container at first, on Azurite: the first test to write finds them missing."""
    if request.param == "model":
        return Model()
    return Real(request.getfixturevalue("azurite").connection_string)


@dataclass
class Job:
    """The partition of one test."""

    subject: Subject
    name: str

    @property
    def partition(self) -> str:
        return f"myaccount|{self.name}"

    def row(self, task_id: str, exit_code: int = 0) -> Row:
        return task_row(Task(an_execution(job_id=self.name, task_id=task_id, exit_code=exit_code)))

    def shard(self, shard: str = "0") -> Row:
        sums = Sums()
        sums.add(an_execution(job_id=self.name))
        return shard_row(JobKey("myaccount", self.name), shard, sums)

    def commit(self, *operations: Operation) -> list[str]:
        return self.subject.run(lambda storage: storage.tables.commit(TASKS, operations))

    def get(self, row_key: str) -> StoredRow | None:
        return self.subject.run(lambda storage: storage.tables.get(TASKS, self.partition, row_key))

    def query(self, first: str, end: str, limit: int | None = None) -> list[str]:
        rows = self.subject.run(lambda storage: storage.tables.query(TASKS, self.partition, first, end, limit))
        return [str(stored.row["RowKey"]) for stored in rows]

    def exit_codes(self) -> dict[str, object]:
        rows = self.subject.run(lambda storage: storage.tables.query(TASKS, self.partition, "!", "~"))
        return {str(stored.row["RowKey"]): stored.row["exitCode"] for stored in rows}

    def conflict(self, *operations: Operation) -> int:
        """The index of the operation that conflicts; nothing else has happened."""
        before = self.exit_codes()
        with pytest.raises(Conflict) as raised:
            self.commit(*operations)
        assert self.exit_codes() == before
        return raised.value.index


@pytest.fixture
def job(subject: Subject, request: pytest.FixtureRequest) -> Job:
    return Job(subject, request.function.__name__[:60].replace("_", "-"))


def test_a_missing_table_is_empty_to_a_reader_and_created_for_a_writer(job: Job) -> None:
    assert job.get("t") is None
    (etag,) = job.commit(Insert(job.row("t")))
    assert etag
    assert job.query("a", "z") == ["t"]


def test_a_row_reads_back_as_it_was_written_every_type_of_it(job: Job) -> None:
    older = tuple(Identity(NOON - number, NOON - 60 - number) for number in range(3))
    execution = an_execution(
        job_id=job.name,
        exit_code=-(2**31),
        max_task_retry_count=2**31 - 1,
        system_task_version=-(2**63),
        failure_message='it\'s "é" 🎉\n\t',
        end=NOON + 10_123_456,
    )
    row = task_row(Task(execution, (Earlier(Identity(NOON, NOON - 1), None, succeeded=False),), older))
    job.commit(Insert(row), Insert(job.shard()))
    for written in (row, job.shard()):
        stored = job.get(str(written["RowKey"]))
        assert stored is not None
        assert stored.row == written
        for name, value in written.items():
            wanted = int if isinstance(value, Int64) else type(value)
            found = stored.row[name]
            assert isinstance(found, datetime) if wanted is datetime else type(found) is wanted


def test_a_published_row_reads_back_as_it_was_written(job: Job) -> None:
    sums = Sums()
    sums.add(AN_EXECUTION)
    row = job_row(JobKey("myaccount", job.name), sums, 1)
    job.subject.run(lambda storage: storage.tables.commit(JOBS, [Insert(row)]))
    stored = job.subject.run(lambda storage: storage.tables.get(JOBS, "myaccount", job.name))
    assert stored is not None
    assert stored.row == row


def test_a_row_that_is_not_there_is_none(job: Job) -> None:
    job.commit(Insert(job.row("t")))
    assert job.get("u") is None


def test_rows_are_read_in_their_order_from_the_first_to_before_the_end(job: Job) -> None:
    job.commit(*(Insert(job.row(name)) for name in ("d", "b", "B-2", "/", "10", "9", "c")), Insert(job.shard()))
    assert job.query("!", "~~") == ["10", "9", "=2F", "b", "b-2", "c", "d", "~job~0"]
    assert job.query("b", "d") == ["b", "b-2", "c"]
    assert job.query("~job~", "~job~~") == ["~job~0"]
    assert job.query("x", "y") == []


def test_rows_of_another_partition_are_not_read(job: Job) -> None:
    other = Job(job.subject, f"{job.name}x")
    job.commit(Insert(job.row("t")))
    other.commit(Insert(other.row("u")))
    assert (job.query("a", "z"), other.query("a", "z")) == (["t"], ["u"])


@pytest.mark.parametrize("limit", [1, 3, 4])
def test_a_limit_gives_the_first_rows_of_the_range(job: Job, limit: int) -> None:
    names = ["a", "b", "c", "d"]
    for name in names:
        if job.get(name) is None:
            job.commit(Insert(job.row(name)))
    assert job.query("a", "z", limit) == names[:limit]


@pytest.mark.parametrize("index", range(3))
def test_an_insert_of_a_row_that_is_there_conflicts_by_its_index(job: Job, index: int) -> None:
    name = f"there-{index}"
    job.commit(Insert(job.row(name)))
    rows = [Insert(job.row(f"new-{index}-{number}")) for number in range(2)]
    assert job.conflict(*rows[:index], Insert(job.row(name, 1)), *rows[index:]) == index
    assert job.conflict(Insert(job.row(name, 1))) == 0


@pytest.mark.parametrize("index", range(3))
def test_a_replace_under_a_stale_etag_conflicts_by_its_index(job: Job, index: int) -> None:
    name = f"there-{index}"
    (stale,) = job.commit(Insert(job.row(name)))
    job.commit(Replace(job.row(name, 1), stale))
    rows = [Insert(job.row(f"new-{index}-{number}")) for number in range(2)]
    assert job.conflict(*rows[:index], Replace(job.row(name, 2), stale), *rows[index:]) == index
    assert job.conflict(Replace(job.row(name, 2), stale)) == 0


@pytest.mark.parametrize("index", range(2))
def test_a_replace_of_a_row_that_is_not_there_conflicts_by_its_index(job: Job, index: int) -> None:
    (etag,) = job.commit(Insert(job.row(f"there-{index}")))
    operations: list[Operation] = [Insert(job.row(f"new-{index}")), Insert(job.row(f"newer-{index}"))]
    operations[index] = Replace(job.row("gone"), etag)
    assert job.conflict(*operations) == index
    assert job.conflict(Replace(job.row("gone"), etag)) == 0


def test_a_transaction_that_conflicts_changes_nothing_and_leaves_the_etags_as_they_were(job: Job) -> None:
    etags = job.commit(Insert(job.row("a")), Insert(job.row("b")))
    operations: list[Operation] = [Replace(job.row("a", 7), etags[0]), Insert(job.row("c")), Insert(job.row("b", 7))]
    assert job.conflict(*operations) == 2
    assert [stored.etag for name in "ab" if (stored := job.get(name)) is not None] == etags
    job.commit(*operations[:2])
    assert job.exit_codes() == {"a": 7, "b": 0, "c": 0}


def test_the_etags_of_a_commit_are_its_rows_in_their_order_and_good_for_the_next(job: Job) -> None:
    first = job.commit(Insert(job.row("a")), Insert(job.row("b")), Insert(job.shard()))
    assert len(set(first)) == len(first) == 3
    second = job.commit(Replace(job.row("b", 1), first[1]), Replace(job.row("a", 2), first[0]))
    (third,) = job.commit(Replace(job.row("a", 3), second[1]))
    assert [stored.etag for name in "ab" if (stored := job.get(name)) is not None] == [third, second[0]]
    assert job.exit_codes() == {"a": 3, "b": 1}


def test_a_replace_leaves_nothing_of_the_former_row(job: Job) -> None:
    without = {name: value for name, value in job.row("a").items() if name != "exitCode"}
    (etag,) = job.commit(Insert(job.row("a")))
    job.commit(Replace(without, etag))
    stored = job.get("a")
    assert stored is not None
    assert stored.row == without


def test_a_transaction_holds_a_hundred_operations(job: Job) -> None:
    rows = [Insert(job.row(f"t{number:03}")) for number in range(limits.OPERATIONS_A_TRANSACTION)]
    etags = job.commit(*rows)
    assert job.query("a", "z") == [f"t{number:03}" for number in range(100)]
    assert job.conflict(*rows) == 0
    assert len(job.commit(*(Replace(insert.row, etag) for insert, etag in zip(rows, etags, strict=True)))) == 100


def test_a_dead_letter_overwrites_one_of_its_name(subject: Subject) -> None:
    for body in (b'{"a much longer one": "than the next"}', "caf\u00e9".encode(), b"\xff\x00"):
        letter = DeadLetter("hub", "0", 7, 1, None, ("wrong",), body)
        subject.run(partial(_put, letter=letter))
        held = subject.letter(letter.name)
        assert held == letter.content()
        assert json.loads(held)["sequenceNumber"] == 7


async def _put(storage: Storage, letter: DeadLetter) -> None:
    await storage.dead_letters.put(letter)
