"""`verify` against Azurite: nothing is found where nothing is wrong, and every seeded corruption is."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.data.tables import EdmType, EntityProperty, TableServiceClient, UpdateMode

import reader.verify
from devstack.azurite import Azurite
from processors.columns import CONTRACT_VERSION, JOB_COLUMNS, JOBS, TASKS
from processors.errors import NotFound, UnreadableRow
from processors.limits import EXECUTIONS_LISTED
from processors.rollups import JobKey
from reader.accounts import Account
from reader.queries import JobBuckets, Rollups, job_key
from reader.rows import Stored, stored_rows
from reader.verify import Source, Verdict, verify
from tests.core.examples import an_execution
from tests.reader.conftest import BUCKETS
from tests.reader.filled import fill

SINGLE = JobKey("acct", "single")
SEVERAL = JobKey("acct", "several")
MANY = JobKey("acct", "many")
SPREAD = JobKey("acct", "spread")
"""As `SINGLE`, in several buckets."""

_SINGLE = [
    an_execution(
        number,
        account="acct",
        job_id="single",
        task_id=f"t{number}",
        pool_id=f"p{number % 2}",
        exit_code=number % 3,
        succeeded=number % 3 == 0,
        retry_count=number % 2,
    )
    for number in range(20)
]
_SPREAD = [each._replace(job_id="spread") for each in _SINGLE]
_SEVERAL = [
    each._replace(
        job_id="several",
        start=(each.start or 0) + again * 1000,
        end=each.end + again * 1000,
        pool_id=f"p{again}",
    )
    for each in _SINGLE
    for again in range({"t3": 3, "t4": 2}.get(each.task_id, 1))
]
_MANY = [
    an_execution(number, account="acct", job_id="many", task_id="t", exit_code=number % 2, succeeded=number % 2 == 0)
    for number in range(EXECUTIONS_LISTED + 5)
]


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    with Azurite() as running:
        for partition in range(2):
            everything = [*_SINGLE, *_SEVERAL, *_MANY]
            fill(running.connection_string, everything[partition::2], partition=str(partition))
            fill(running.connection_string, _SPREAD[partition::2], partition=str(partition), buckets=BUCKETS)
        yield running


@pytest.fixture(scope="module")
def service(azurite: Azurite) -> Iterator[TableServiceClient]:
    with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        yield tables


def checked(service: TableServiceClient, job: JobKey) -> Verdict:
    return verify(service, job, pause=lambda _: None)


class Corruption:
    """A row that is put back at the end."""

    def __init__(self, service: TableServiceClient, table: str, partition: str, row_key: str) -> None:
        self._client = service.get_table_client(table)
        self._before = dict(self._client.get_entity(partition, row_key))

    def __enter__(self) -> Callable[..., None]:
        def change(**columns: Any) -> None:
            known = {name: value for name, value in (self._before | columns).items() if value is not None}
            self._client.upsert_entity(known, UpdateMode.REPLACE)

        return change

    def __exit__(self, *_: object) -> None:
        self._client.upsert_entity(self._before, UpdateMode.REPLACE)

    def delete(self) -> None:
        self._client.delete_entity(self._before["PartitionKey"], self._before["RowKey"])


def partition_of(job: JobKey, row_key: str) -> str:
    """Where a task is."""
    return JobBuckets(job, BUCKETS if job == SPREAD else 1).partition_of(row_key)


@pytest.mark.parametrize(("job", "tasks"), [(SINGLE, 20), (SPREAD, 20), (SEVERAL, 20), (MANY, 1)])
def test_nothing_is_found_where_nothing_is_wrong(service: TableServiceClient, job: JobKey, tasks: int) -> None:
    verdict = checked(service, job)
    assert (verdict.differences, verdict.tasks, verdict.settled) == ((), tasks, True)
    assert bool(verdict.by_bounds) == (job in (SEVERAL, MANY))


def test_all_jobs_of_the_filled_accounts_add_up(filled: Account, spread: Account) -> None:
    for opened in (filled, spread):
        for job in Rollups(opened.tables).jobs():
            assert verify(opened.tables, job_key(job).key).differences == ()


def _other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, EntityProperty):
        return EntityProperty(value.value + 1, EdmType.INT64)
    if isinstance(value, str) and value.startswith("{"):
        held = json.loads(value)
        if "counts" in held:
            return json.dumps(held | {"counts": [held["counts"][0] + 1, *held["counts"][1:]]})
        return json.dumps({"0.5": 7} if not held else {name: held[name] for name in list(held)[1:]})
    if isinstance(value, str):
        return value + "x"
    return value + 1 if isinstance(value, float) else value.replace(year=2025)


@pytest.mark.parametrize("job", [SINGLE, SPREAD, SEVERAL, MANY])
def test_every_column_of_the_published_row_is_checked(service: TableServiceClient, job: JobKey) -> None:
    before = service.get_table_client(JOBS).get_entity(job.account, job.job)
    of_counts = {"shardCount", "bucketCount"}
    for column in JOB_COLUMNS.keys() - {"PartitionKey", "RowKey", "contractVersion"}:
        with Corruption(service, JOBS, job.account, job.job) as change:
            change(**{column: _other(before[column])})
            found = {
                difference.source for difference in checked(service, job).differences if difference.column == column
            }
            assert Source.SUMS in found, column
            exact = column not in {*of_counts, "slotSeconds", "retryCount", "requeueCount", "retriesExhausted"}
            if exact or (job in (SINGLE, SPREAD) and column not in of_counts):
                assert Source.TASKS in found, column
    assert checked(service, job).differences == ()


def test_a_column_that_is_missing_or_too_much(service: TableServiceClient) -> None:
    with Corruption(service, JOBS, *SINGLE) as change:
        change(failures=None, color="red")
        found = [each for each in checked(service, SINGLE).differences if each.source is Source.SUMS]
        assert [(each.column, each.published) for each in found] == [("failures", ""), ("color", "red")]


def test_a_changed_shard_differs_from_what_is_published(service: TableServiceClient) -> None:
    with Corruption(service, TASKS, SINGLE.partition(), "~job~0") as change:
        change(retryCount=EntityProperty(99, EdmType.INT64))
        verdict = checked(service, SINGLE)
        assert [(each.column, each.source) for each in verdict.differences] == [("retryCount", Source.SUMS)]
        change(exitCodes="nonsense")
        (difference,) = checked(service, SINGLE).differences
        assert difference.column == "~job~0"
        assert "is not as written" in difference.published


def test_shards_and_published_row_that_are_wrong_alike_differ_from_the_tasks(service: TableServiceClient) -> None:
    """As if an execution had been counted twice."""
    retries = service.get_table_client(JOBS).get_entity(*SINGLE)["retryCount"].value
    shard = service.get_table_client(TASKS).get_entity(SINGLE.partition(), "~job~0")["retryCount"].value
    with (
        Corruption(service, TASKS, SINGLE.partition(), "~job~0") as of_shard,
        Corruption(service, JOBS, *SINGLE) as of_job,
    ):
        of_shard(retryCount=EntityProperty(shard + 1, EdmType.INT64))
        of_job(retryCount=EntityProperty(retries + 1, EdmType.INT64))
        (difference,) = checked(service, SINGLE).differences
        assert (difference.column, difference.source) == ("retryCount", Source.TASKS)
        assert (difference.published, difference.recomputed) == (str(retries + 1), str(retries))


@pytest.mark.parametrize("job", [SINGLE, SPREAD, SEVERAL])
def test_a_task_row_that_is_gone(service: TableServiceClient, job: JobKey) -> None:
    corruption = Corruption(service, TASKS, partition_of(job, "t7"), "t7")
    with corruption:
        corruption.delete()
        found = {each.column: each for each in checked(service, job).differences}
        assert {"taskCount", "completionCount", "durationCount", "exitCodes"} <= found.keys()
        assert (found["taskCount"].published, found["taskCount"].recomputed) == ("20", "19")
        assert found["taskCount"].source is Source.TASKS


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"durationSeconds": 11.0}, "task t7: durationSeconds"),
        ({"retriesExhausted": True}, "task t7: retriesExhausted"),
        ({"exitCode": 77}, "exitCodes"),
        ({"succeeded": True}, "succeededTasks"),
        ({"poolId": "elsewhere"}, "pools"),
        ({"retryCount": 100}, "retryCount"),
        ({"requiredSlots": 50}, "slotSeconds"),
        ({"completionCount": 2}, "task t7"),
    ],
)
@pytest.mark.parametrize("job", [SINGLE, SPREAD, SEVERAL])
def test_a_changed_task_row(service: TableServiceClient, job: JobKey, changes: dict[str, Any], column: str) -> None:
    with Corruption(service, TASKS, partition_of(job, "t7"), "t7") as change:
        change(**changes)
        assert column in {each.column for each in checked(service, job).differences}


def test_many_wrong_task_rows_are_counted(service: TableServiceClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reader.verify.TASKS_NAMED", 1)
    with (
        Corruption(service, TASKS, SINGLE.partition(), "t7") as seventh,
        Corruption(service, TASKS, SINGLE.partition(), "t8") as eighth,
    ):
        seventh(slotSeconds=1.0)
        eighth(slotSeconds=1.0)
        found = checked(service, SINGLE).differences
        assert [each.recomputed for each in found] == ["10.0", "1 more are wrong in themselves"]


@pytest.mark.parametrize("there_too", [False, True])
def test_a_task_in_another_bucket_than_its_own(service: TableServiceClient, *, there_too: bool) -> None:
    """Moved, or there for a second time, as if it had been counted twice."""
    own = partition_of(SPREAD, "t7")
    (other, *_) = {*JobBuckets(SPREAD, BUCKETS).partitions()} - {own}
    client = service.get_table_client(TASKS)
    with Corruption(service, TASKS, own, "t7") as corruption:
        client.upsert_entity(dict(client.get_entity(own, "t7")) | {"PartitionKey": other})
        if not there_too:
            client.delete_entity(own, "t7")
        found = {each.column: each for each in checked(service, SPREAD).differences}
        client.delete_entity(other, "t7")
        corruption()
    wrong = found.pop("task t7: PartitionKey")
    assert (wrong.published, wrong.recomputed, wrong.source) == (other, own, Source.TASKS)
    assert ("taskCount" in found) == there_too


@pytest.mark.parametrize("bucket", range(BUCKETS))
def test_a_changed_shard_of_any_bucket(service: TableServiceClient, bucket: int) -> None:
    with Corruption(service, TASKS, SPREAD.partition(bucket), "~job~0") as change:
        change(retryCount=EntityProperty(99, EdmType.INT64))
        verdict = checked(service, SPREAD)
        assert [(each.column, each.source) for each in verdict.differences] == [("retryCount", Source.SUMS)]


def test_layout_and_published_row_that_disagree(service: TableServiceClient) -> None:
    """All buckets that either of them knows are read."""

    def numbers(job: JobKey) -> list[tuple[str, str, str]]:
        found = [each for each in checked(service, job).differences if not each.column.startswith("task")]
        return [(each.column, each.published, each.recomputed) for each in found]

    with Corruption(service, JOBS, *SPREAD) as change:
        change(bucketCount=EntityProperty(1, EdmType.INT64))
        assert numbers(SPREAD) == [("bucketCount", "1", "3")]
        change(bucketCount=None)
        assert numbers(SPREAD) == [("bucketCount", "1", "3")]
        change(bucketCount="3")
        assert numbers(SPREAD) == [("bucketCount", "3", "3")]  # a text
    for job, written, recomputed in ((SPREAD, "3", "2"), (SINGLE, "1", "2")):
        with Corruption(service, TASKS, job.partition(), "~job~") as change:
            change(bucketCount=EntityProperty(2, EdmType.INT64))
            assert numbers(job) == [("bucketCount", written, recomputed)]
            found = {each.column for each in checked(service, job).differences}
            assert any(column.endswith(": PartitionKey") for column in found)
            change(bucketCount=EntityProperty(33, EdmType.INT64))
            assert numbers(job) == [("bucketCount", written, "no layout that can be read")]
    corruption = Corruption(service, TASKS, SPREAD.partition(), "~job~")
    with corruption:
        corruption.delete()
        assert numbers(SPREAD) == [("bucketCount", "3", "1")]


def test_a_job_that_was_written_before_there_were_buckets(service: TableServiceClient) -> None:
    layout = Corruption(service, TASKS, SINGLE.partition(), "~job~")
    with (
        Corruption(service, JOBS, *SINGLE) as change,
        Corruption(service, TASKS, SINGLE.partition(), "~job~0") as change_shard,
        layout,
    ):
        change(bucketCount=None, contractVersion=None)
        change_shard(contractVersion=None)
        layout.delete()
        assert checked(service, SINGLE).differences == ()


def test_a_contract_version_that_is_not_that_of_the_sums(service: TableServiceClient) -> None:
    with Corruption(service, JOBS, *SINGLE) as change:
        for version in (EntityProperty(0, EdmType.INT64), "one"):
            change(contractVersion=version)
            assert [each.column for each in checked(service, SINGLE).differences] == ["contractVersion"]


def test_a_job_of_a_newer_contract_version_is_not_judged(service: TableServiceClient) -> None:
    places = [(JOBS, *SINGLE), (TASKS, SINGLE.partition(), "~job~0"), (TASKS, SPREAD.partition(2), "~job~1")]
    for (table, partition, row_key), job in zip(places, (SINGLE, SINGLE, SPREAD), strict=True):
        with Corruption(service, table, partition, row_key) as change:
            change(contractVersion=EntityProperty(CONTRACT_VERSION + 1, EdmType.INT64))
            with pytest.raises(
                UnreadableRow, match=rf"job {job.job} of account acct cannot be verified: .* upgrade it"
            ):
                checked(service, job)


def test_a_job_without_sums_or_tasks(service: TableServiceClient) -> None:
    service.get_table_client(JOBS).create_entity(
        {"PartitionKey": "acct", "RowKey": "hollow", "taskCount": EntityProperty(1, EdmType.INT64)}
    )
    found = checked(service, JobKey("acct", "hollow")).differences
    assert [(each.column, each.recomputed) for each in found] == [
        ("shardCount", "no partial sums"), ("taskCount", "no task rows"),
    ]  # fmt: skip
    with pytest.raises(NotFound):
        checked(service, JobKey("acct", "none"))


def test_a_job_that_is_published_meanwhile_is_read_again(service: TableServiceClient) -> None:
    """Between counting and publishing the sums are newer than the published row."""
    corruption = Corruption(service, JOBS, *SINGLE)
    with corruption as change:
        change(failedTasks=EntityProperty(0, EdmType.INT64))
        with Corruption(service, TASKS, SINGLE.partition(), "~job~0") as touch:
            touch()  # now it is newer
            waited: list[float] = []

            def publish(seconds: float) -> None:
                waited.append(seconds)
                corruption.__exit__()

            assert verify(service, SINGLE, pause=publish).differences == ()
            assert len(waited) == 1


def test_a_job_that_changes_at_every_reading_is_not_settled(
    service: TableServiceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that stays wrong is, at the last."""

    def rows_of_a_restless_job(*which: Any) -> Iterator[Stored]:
        with Corruption(service, JOBS, *SINGLE) as change:
            change(failedTasks=EntityProperty(0, EdmType.INT64))
        return stored_rows(*which)

    with Corruption(service, JOBS, *SINGLE) as change, monkeypatch.context() as restless:
        change(failedTasks=EntityProperty(0, EdmType.INT64))
        restless.setattr(reader.verify, "stored_rows", rows_of_a_restless_job)
        assert not verify(service, SINGLE, pause=lambda _: None).settled
    with Corruption(service, JOBS, *SINGLE) as change:
        change(failedTasks=EntityProperty(0, EdmType.INT64))
        with Corruption(service, TASKS, SINGLE.partition(), "~job~0") as touch:
            touch()
            verdict = checked(service, SINGLE)
            assert verdict.settled
            assert {each.column for each in verdict.differences} == {"failedTasks"}
