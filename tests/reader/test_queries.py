"""`Rollups` against Azurite: what is found, what the server filters, how pages follow each other."""

from datetime import UTC, datetime, timedelta

import pytest
from azure.data.tables import TableServiceClient

from processors.columns import JOB_COLUMNS, TASK_COLUMNS
from processors.errors import AmbiguousJob, BadRequest, NotFound, StorageUnavailable, UnreadableRow
from processors.events import key
from reader.models import Job, Task
from reader.queries import JobFilter, Rollups, TaskFilter, job_key
from tests.core.examples import NOON
from tests.reader.filled import EXECUTIONS

NOON_TIME = datetime.fromtimestamp(NOON / 1_000_000, UTC)
HOSTILE_JOB = "<b>'=1+1'</b>"


def nightly(rollups: Rollups, **where: object) -> list[str]:
    """Ids of the tasks of Nightly-42 that a filter leaves."""
    job = job_key(rollups.job("nightly-42"))
    return [task.task_id for task in rollups.tasks(job, TaskFilter.model_validate(where))]


def test_the_models_have_every_column_of_the_contract() -> None:
    for model, columns in ((Job, JOB_COLUMNS), (Task, TASK_COLUMNS)):
        assert {field.alias for field in model.model_fields.values()} == {*columns, "Timestamp"}


def test_jobs_of_all_accounts(rollups: Rollups) -> None:
    found = [(job.account, job.job_id) for job in rollups.jobs()]
    assert sorted(found) == [
        ("CONTOSO", "Nightly-42"), ("CONTOSO", "Weekly"), ("Fabrikam", "weekly"), ("contoso", HOSTILE_JOB),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "jobs"),
    [
        (JobFilter(account="contoso"), {"Nightly-42", "Weekly", HOSTILE_JOB}),
        (JobFilter(account="nobody's"), set()),
        (JobFilter(failed=True), {"Nightly-42"}),
        (JobFilter(failed=False, account="Contoso"), {"Weekly", HOSTILE_JOB}),
        (JobFilter(since=NOON_TIME + timedelta(days=2)), {"weekly"}),
        (JobFilter(until=NOON_TIME + timedelta(seconds=11)), {HOSTILE_JOB}),
        (JobFilter(until=(NOON_TIME + timedelta(seconds=11)).replace(tzinfo=None)), {HOSTILE_JOB}),
        (JobFilter(prefix="NIGHT"), {"Nightly-42"}),
        (JobFilter(prefix="<b>"), {HOSTILE_JOB}),
    ],
)
def test_which_jobs(rollups: Rollups, where: JobFilter, jobs: set[str]) -> None:
    assert {job.job_id for job in rollups.jobs(where)} == jobs


def test_a_list_of_jobs_reads_only_its_columns(rollups: Rollups) -> None:
    (job,) = rollups.jobs(JobFilter(prefix="nightly"), columns=["taskCount", "jobId"])
    assert job.columns().keys() == {"PartitionKey", "RowKey", "Timestamp", "taskCount", "jobId"}
    assert job.task_count == 201


def test_one_job_in_any_case_with_all_its_columns(rollups: Rollups) -> None:
    job = rollups.job("NIGHTLY-42")
    assert rollups.job("nightly-42", "contoso") == job
    assert (job.task_count, job.completion_count, job.failed_tasks) == (201, 202, 20)
    assert job.exit_codes == {"0": 181, "137": 20, "none": 1}
    assert job.pools["pool1"].completions == 100
    assert job.completions_over_time is not None
    assert sum(job.completions_over_time.counts) == 202
    assert job.timestamp is not None
    assert job.columns()["pools"]["pool1"]["completions"] == 100


def test_a_job_that_is_not_there(rollups: Rollups) -> None:
    with pytest.raises(NotFound, match=r"there is no job nightly-43$"):
        rollups.job("nightly-43")
    with pytest.raises(NotFound, match="there is no job nightly-42 in account fabrikam"):
        rollups.job("nightly-42", "fabrikam")


def test_a_job_of_two_accounts_has_to_be_told_apart(rollups: Rollups) -> None:
    with pytest.raises(AmbiguousJob, match="CONTOSO, Fabrikam; name the account") as raised:
        rollups.job("WEEKLY")
    assert raised.value.accounts == ("CONTOSO", "Fabrikam")
    assert rollups.job("weekly", "FABRIKAM").account == "Fabrikam"


def test_all_tasks_without_the_partial_sums(rollups: Rollups) -> None:
    assert nightly(rollups) == [*(f"Frame-{number:04}" for number in range(200)), "never-ran"]


@pytest.mark.parametrize(
    ("where", "tasks"),
    [
        ({"failed": True}, [f"Frame-{number:04}" for number in range(10, 200, 10)] + ["never-ran"]),
        ({"failed": True, "retried": False}, ["never-ran"]),
        ({"retried": True, "node": "tvm-3"}, [f"Frame-{number:04}" for number in range(15, 200, 20)]),
        ({"pool": "pool1", "min_duration": 11}, ["Frame-0077"]),
        ({"max_duration": 10, "prefix": "frame-019"}, [f"Frame-019{number}" for number in range(10)]),
        ({"exit_code": 137, "node": "tvm-0", "prefix": "Frame-00"}, [f"Frame-00{number}0" for number in (2, 4, 6, 8)]),
        ({"failure_code": "BlobNotFound"}, ["never-ran"]),
        ({"requeued": True}, []),
        ({"pool": "it's"}, []),
        ({"since": NOON_TIME + timedelta(hours=1)}, ["Frame-0000"]),
        ({"until": NOON_TIME + timedelta(seconds=12)}, ["Frame-0001", "never-ran"]),
    ],
)
def test_which_tasks(rollups: Rollups, where: dict[str, object], tasks: list[str]) -> None:
    assert nightly(rollups, **where) == tasks


def test_one_task_with_its_earlier_executions(rollups: Rollups) -> None:
    job = job_key(rollups.job("nightly-42"))
    task = rollups.task(job, "FRAME-0000")
    assert (task.succeeded, task.exit_code, task.completion_count) == (True, 0, 2)
    (earlier,) = task.executions
    assert (earlier.succeeded, earlier.exit_code, earlier.start_time) == (False, 137, NOON_TIME)
    with pytest.raises(NotFound, match="there is no task frame-9 in job nightly-42 of account contoso"):
        rollups.task(job, "frame-9")


def test_ids_that_need_escapes(rollups: Rollups) -> None:
    job = rollups.job(HOSTILE_JOB)
    (task,) = rollups.tasks(job_key(job))
    assert rollups.task(job_key(job), task.task_id) == task


def test_nodes(rollups: Rollups) -> None:
    nodes = rollups.nodes(job_key(rollups.job("nightly-42")))
    assert [(node.pool_id, node.node_id, node.tasks, node.failed) for node in nodes] == [
        ("pool0", "tvm-0", 50, 9), ("pool0", "tvm-2", 50, 10), ("pool1", "tvm-1", 50, 0), ("pool1", "tvm-3", 50, 0),
    ]  # fmt: skip
    assert nodes[2].busy_seconds == 49 * 10 + 70
    assert nodes[3].retries == 10
    assert nodes[3].first_start_time == NOON_TIME + timedelta(seconds=3)


def test_pages_follow_each_other(rollups: Rollups) -> None:
    job = job_key(rollups.job("nightly-42"))
    found, continuation = [], None
    while True:
        page = rollups.task_page(job, TaskFilter(failed=True), ["taskId"], limit=7, continuation=continuation)
        assert len(page.tasks) <= 7
        found += [task.task_id for task in page.tasks]
        continuation = page.continuation
        if continuation is None:
            break
    assert found == nightly(rollups, failed=True)


@pytest.mark.parametrize("continuation", ["?", "bm9uZQ==", "WzEsMl0="])
def test_a_continuation_that_is_none(rollups: Rollups, continuation: str) -> None:
    with pytest.raises(BadRequest, match="ask for the first page again"):
        rollups.task_page(job_key(rollups.job("nightly-42")), continuation=continuation)


def test_requests_that_cannot_be_answered(rollups: Rollups) -> None:
    job = job_key(rollups.job("nightly-42"))
    with pytest.raises(BadRequest, match="limit is 1001; it may be 1 to 1,000"):
        rollups.task_page(job, limit=1001)
    with pytest.raises(BadRequest, match="there is no column nodeID; the columns are PartitionKey,"):
        list(rollups.tasks(job, columns=["nodeID"]))


def test_an_account_without_tables(empty_connection: str) -> None:
    with TableServiceClient.from_connection_string(empty_connection) as tables:
        empty = Rollups(tables)
        assert list(empty.jobs()) == []
        with pytest.raises(NotFound):
            empty.job("any")
        with pytest.raises(NotFound):
            empty.job("any", "account")


def test_a_row_of_somebody_else(empty_connection: str) -> None:
    with TableServiceClient.from_connection_string(empty_connection) as tables:
        tables.create_table("JobRollups").create_entity(
            {"PartitionKey": "a", "RowKey": "b", "jobId": "b", "taskCount": "some"}
        )
        with pytest.raises(UnreadableRow, match="stored row 'a' / 'b' is not as written: taskCount: "):
            list(Rollups(tables).jobs())


def test_storage_that_is_away() -> None:
    away = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint=http://127.0.0.1:9/a"
    with TableServiceClient.from_connection_string(away, retry_total=0) as tables, pytest.raises(StorageUnavailable):
        list(Rollups(tables).jobs())


def test_every_task_row_is_read_as_it_was_counted(rollups: Rollups) -> None:
    counted = {key(execution.task_id) for execution in EXECUTIONS if key(execution.job_id) == "nightly-42"}
    job = job_key(rollups.job("nightly-42"))
    assert {task.row_key for task in rollups.tasks(job)} == counted
