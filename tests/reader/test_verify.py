"""`verify` against Azurite: nothing is found where nothing is wrong, and every seeded corruption is."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.data.tables import EdmType, EntityProperty, TableServiceClient, UpdateMode

import reader.verify
from devstack.azurite import Azurite
from processors.columns import JOB_COLUMNS, JOBS, TASKS
from processors.errors import NotFound
from processors.limits import EXECUTIONS_LISTED
from processors.rollups import JobKey
from reader.accounts import Account
from reader.queries import Rollups, job_key
from reader.rows import Stored, stored_rows
from reader.verify import Source, Verdict, verify
from tests.core.examples import an_execution
from tests.reader.filled import fill

SINGLE = JobKey("acct", "single")
SEVERAL = JobKey("acct", "several")
MANY = JobKey("acct", "many")

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


@pytest.mark.parametrize(("job", "tasks"), [(SINGLE, 20), (SEVERAL, 20), (MANY, 1)])
def test_nothing_is_found_where_nothing_is_wrong(service: TableServiceClient, job: JobKey, tasks: int) -> None:
    verdict = checked(service, job)
    assert (verdict.differences, verdict.tasks, verdict.settled) == ((), tasks, True)
    assert bool(verdict.by_bounds) == (job != SINGLE)


def test_all_jobs_of_the_filled_account_add_up(rollups: Rollups, filled: Account) -> None:
    for job in rollups.jobs():
        assert verify(filled.tables, job_key(job)).differences == ()


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


@pytest.mark.parametrize("job", [SINGLE, SEVERAL, MANY])
def test_every_column_of_the_published_row_is_checked(service: TableServiceClient, job: JobKey) -> None:
    before = service.get_table_client(JOBS).get_entity(job.account, job.job)
    for column in JOB_COLUMNS.keys() - {"PartitionKey", "RowKey"}:
        with Corruption(service, JOBS, job.account, job.job) as change:
            change(**{column: _other(before[column])})
            found = {
                difference.source for difference in checked(service, job).differences if difference.column == column
            }
            assert Source.SUMS in found, column
            exact = column not in {"shardCount", "slotSeconds", "retryCount", "requeueCount", "retriesExhausted"}
            if exact or (job == SINGLE and column != "shardCount"):
                assert Source.TASKS in found, column
    assert checked(service, job).differences == ()


def test_a_column_that_is_missing_or_too_much(service: TableServiceClient) -> None:
    with Corruption(service, JOBS, *SINGLE) as change:
        change(failures=None, color="red")
        found = [each for each in checked(service, SINGLE).differences if each.source is Source.SUMS]
        assert [(each.column, each.published) for each in found] == [("failures", ""), ("color", "red")]


def test_a_changed_shard_differs_from_what_is_published(service: TableServiceClient) -> None:
    with Corruption(service, TASKS, SINGLE.partition, "~job~0") as change:
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
    shard = service.get_table_client(TASKS).get_entity(SINGLE.partition, "~job~0")["retryCount"].value
    with (
        Corruption(service, TASKS, SINGLE.partition, "~job~0") as of_shard,
        Corruption(service, JOBS, *SINGLE) as of_job,
    ):
        of_shard(retryCount=EntityProperty(shard + 1, EdmType.INT64))
        of_job(retryCount=EntityProperty(retries + 1, EdmType.INT64))
        (difference,) = checked(service, SINGLE).differences
        assert (difference.column, difference.source) == ("retryCount", Source.TASKS)
        assert (difference.published, difference.recomputed) == (str(retries + 1), str(retries))


@pytest.mark.parametrize("job", [SINGLE, SEVERAL])
def test_a_task_row_that_is_gone(service: TableServiceClient, job: JobKey) -> None:
    corruption = Corruption(service, TASKS, job.partition, "t7")
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
@pytest.mark.parametrize("job", [SINGLE, SEVERAL])
def test_a_changed_task_row(service: TableServiceClient, job: JobKey, changes: dict[str, Any], column: str) -> None:
    with Corruption(service, TASKS, job.partition, "t7") as change:
        change(**changes)
        assert column in {each.column for each in checked(service, job).differences}


def test_many_wrong_task_rows_are_counted(service: TableServiceClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reader.verify.TASKS_NAMED", 1)
    with (
        Corruption(service, TASKS, SINGLE.partition, "t7") as seventh,
        Corruption(service, TASKS, SINGLE.partition, "t8") as eighth,
    ):
        seventh(slotSeconds=1.0)
        eighth(slotSeconds=1.0)
        found = checked(service, SINGLE).differences
        assert [each.recomputed for each in found] == ["10.0", "1 more are wrong in themselves"]


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
        with Corruption(service, TASKS, SINGLE.partition, "~job~0") as touch:
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
        with Corruption(service, TASKS, SINGLE.partition, "~job~0") as touch:
            touch()
            verdict = checked(service, SINGLE)
            assert verdict.settled
            assert {each.column for each in verdict.differences} == {"failedTasks"}
