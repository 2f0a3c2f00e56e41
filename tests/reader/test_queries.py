"""`Rollups` against Azurite: what is found, what the server filters, how pages follow each other."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.data.tables import EdmType, EntityProperty, TableServiceClient, UpdateMode

from devstack.azurite import Azurite
from processors.columns import CONTRACT_VERSION, JOB_COLUMNS, JOBS, TASK_COLUMNS
from processors.errors import AmbiguousJob, BadRequest, NotFound, StorageUnavailable, UnreadableRow
from processors.events import key
from processors.rollups import JobKey, bucket_of
from reader.accounts import Account
from reader.models import Job, Task
from reader.queries import JobBuckets, JobFilter, Rollups, TaskFilter, TaskPage, job_key
from reader.table_requests import JsonRow, RowPage, TableRequests
from tests.core.examples import NOON
from tests.reader.conftest import BUCKETS
from tests.reader.filled import EXECUTIONS, fill

NOON_TIME = datetime.fromtimestamp(NOON / 1_000_000, UTC)
HOSTILE_JOB = "<b>'=1+1'</b>"


@pytest.fixture(params=["filled", "spread"])
def rollups(request: pytest.FixtureRequest) -> Rollups:
    """The same jobs, in one bucket each and in several."""
    opened: Account = request.getfixturevalue(request.param)
    return Rollups(opened.tables)


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
    always = {"PartitionKey", "RowKey", "Timestamp", "bucketCount", "contractVersion"}
    assert job.columns().keys() == always | {"taskCount", "jobId"}
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


@pytest.mark.parametrize("limit", [1, 2, 5, 19, 20, 21])
def test_pages_of_any_size_join_to_one_list(rollups: Rollups, limit: int) -> None:
    job = job_key(rollups.job("nightly-42"))
    where = TaskFilter(failed=True)
    pages = list(pages_of(rollups, job, where, limit))
    assert [len(page.tasks) for page in pages] == [limit] * (20 // limit) + ([20 % limit] if 20 % limit else [])
    assert [task for page in pages for task in page.tasks] == list(rollups.tasks(job, where))


@pytest.mark.parametrize(("limit", "number"), [(50, 5), (67, 3), (200, 2), (201, 1), (1000, 1)])
def test_the_last_page_says_that_it_is_the_last(rollups: Rollups, limit: int, number: int) -> None:
    job = job_key(rollups.job("nightly-42"))
    pages = list(pages_of(rollups, job, TaskFilter(), limit))
    assert len(pages) == number
    assert [task for page in pages for task in page.tasks] == list(rollups.tasks(job))


def pages_of(rollups: Rollups, job: JobBuckets, where: TaskFilter, limit: int) -> Iterator[TaskPage]:
    continuation = None
    while True:
        page = rollups.task_page(job, where, limit=limit, continuation=continuation)
        yield page
        if (continuation := page.continuation) is None:
            return


def encoded(*texts: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(texts).encode()).decode()


@pytest.mark.parametrize("continuation", ["?", "bm9uZQ==", "WzEsMl0=", "e30=", "NQ=="])
def test_a_continuation_that_is_none(rollups: Rollups, continuation: str) -> None:
    with pytest.raises(BadRequest, match="ask for the first page again"):
        rollups.task_page(job_key(rollups.job("nightly-42")), continuation=continuation)


@pytest.mark.parametrize(
    "continuation",
    [
        encoded("contoso|nightly-43", "frame-0010"),
        encoded("contoso|nightly-42|1", "frame-0010"),
        encoded("contoso|nightly-42", "Frame 10"),
        encoded("contoso|nightly-42", "x" * 513),
        encoded("contoso|nightly-42", ""),
        encoded("contoso|nightly-42", None),
        encoded("contoso|nightly-42"),
    ],
)
def test_a_continuation_that_is_not_of_this_job_of_several_buckets(spread: Account, continuation: str) -> None:
    rollups = Rollups(spread.tables)
    with pytest.raises(BadRequest, match="the continuation is none of job nightly-42; ask for the first page again"):
        rollups.task_page(job_key(rollups.job("nightly-42")), continuation=continuation)


def test_the_continuation_of_one_bucket_is_none_of_several(filled: Account, spread: Account) -> None:
    one, several = Rollups(filled.tables), Rollups(spread.tables)
    page = one.task_page(job_key(one.job("nightly-42")), limit=5)
    with pytest.raises(BadRequest, match="ask for the first page again"):
        several.task_page(job_key(several.job("nightly-42")), continuation=page.continuation)


def test_where_the_tasks_of_a_job_of_several_buckets_are(spread: Account) -> None:
    rollups = Rollups(spread.tables)
    job = rollups.job("nightly-42")
    assert (job.bucket_count, job.contract_version, job.shard_count) == (BUCKETS, CONTRACT_VERSION, 2)
    tasks = list(rollups.tasks(job_key(job), columns=["taskId"]))
    assert {task.partition_key for task in tasks} == {
        "contoso|nightly-42", "contoso|nightly-42|1", "contoso|nightly-42|2",
    }  # fmt: skip
    for task in tasks:
        bucket = bucket_of(task.row_key, BUCKETS)
        assert task.partition_key == "contoso|nightly-42" + (f"|{bucket}" if bucket else "")


def test_how_many_requests_are_made(filled: Account, spread: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of one bucket takes none for the sake of those with several."""
    made: list[Any] = []
    page, row = TableRequests.page, TableRequests.row

    def counted_page(self: TableRequests, *which: Any, **how: Any) -> RowPage:
        made.append(which)
        return page(self, *which, **how)

    def counted_row(self: TableRequests, *which: Any) -> JsonRow | None:
        made.append(which)
        return row(self, *which)

    def requests(work: Any) -> int:
        made.clear()
        work()
        return len(made)

    monkeypatch.setattr(TableRequests, "page", counted_page)
    monkeypatch.setattr(TableRequests, "row", counted_row)
    for opened, buckets in ((filled, 1), (spread, BUCKETS)):
        rollups = Rollups(opened.tables)
        job = job_key(rollups.job("nightly-42"))
        assert requests(lambda: list(rollups.tasks(job))) == buckets  # noqa: B023 - called at once
        assert requests(lambda: rollups.task_page(job, limit=1000)) == buckets  # noqa: B023
        assert requests(lambda: rollups.task_page(job, limit=100)) <= 2 * buckets - 1  # noqa: B023
        assert requests(lambda: rollups.task(job, "frame-0001")) == 1  # noqa: B023
        assert requests(lambda: rollups.job("nightly-42", "contoso")) == 1  # noqa: B023


class Paged(TableRequests):
    """Requests that are answered by pages at hand, by filter: row keys, in as many pages as there are."""

    def __init__(self, pages: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._pages = pages
        self.asked: list[str] = []

    def page(
        self,
        table: str,  # noqa: ARG002 - as it is called
        filter_: str,
        columns: Sequence[str] | None = None,  # noqa: ARG002
        limit: int | None = None,  # noqa: ARG002
        continuation: Mapping[str, str] | None = None,
    ) -> RowPage:
        number = int((continuation or {"page": "0"})["page"])
        self.asked.append(f"{filter_}{number}")
        if self._pages[filter_][number] == "!":
            raise StorageUnavailable("down")
        following = {"page": str(number + 1)} if number + 1 < len(self._pages[filter_]) else {}
        return RowPage([{"RowKey": row_key} for row_key in self._pages[filter_][number]], following)


SCATTERED = {
    "a": ["bd", "", "", "k", ""],
    "b": [""],
    "c": ["", "", "ac", "eg", "hz"],
    "d": ["f"],
}


@pytest.mark.parametrize("size", [None, 1, 2])
def test_pages_of_several_buckets_are_merged_however_short_they_are(size: int | None) -> None:
    """The server may end a page before it has found anything."""
    merged = Paged(SCATTERED).merged("T", list(SCATTERED), size=size)
    assert "".join(row["RowKey"] for row in merged) == "abcdefghkz"
    alone = Paged(SCATTERED)
    assert "".join(row["RowKey"] for row in alone.merged("T", ["c"], size=size)) == "aceghz"
    assert list(Paged(SCATTERED).merged("T", [], size=size)) == []


def test_whoever_takes_some_rows_asks_for_no_more_pages_than_they_are_in() -> None:
    pages = {"a": ["ab", "cd", "ef"], "b": ["gh", "ij"]}
    some = Paged(pages)
    rows = some.merged("T", ["a", "b"], size=2)
    assert [next(rows)["RowKey"], next(rows)["RowKey"], next(rows)["RowKey"]] == ["a", "b", "c"]
    rows.close()
    assert sorted(some.asked) == ["a0", "a1", "b0"]


@pytest.mark.parametrize("bucket", ["!", "a!", "ab!c"])
def test_a_bucket_that_cannot_be_read_is_an_error_and_no_shorter_list(bucket: str) -> None:
    with pytest.raises(StorageUnavailable):
        list(Paged(SCATTERED | {"e": list(bucket)}).merged("T", ["a", "e", "b"]))


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


# --- contract versions -----------------------------------------------------------------------------------------------


type Change = Callable[..., None]
"""Gives the row of the job weekly other columns than it was written with; None takes one away."""


@pytest.fixture(scope="module")
def weekly() -> Iterator[tuple[Rollups, Change]]:
    """An account with this one job, whose row may be changed."""
    with Azurite() as azurite, TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        fill(azurite.connection_string, EXECUTIONS[-1:])
        client = tables.get_table_client(JOBS)
        before = dict(client.get_entity("fabrikam", "weekly"))

        def change(**columns: Any) -> None:
            row = {name: value for name, value in (before | columns).items() if value is not None}
            client.upsert_entity(row, UpdateMode.REPLACE)

        yield Rollups(tables), change


def int64(number: int) -> EntityProperty:
    return EntityProperty(number, EdmType.INT64)


def test_a_row_that_was_written_before_there_were_buckets(weekly: tuple[Rollups, Change]) -> None:
    rollups, change = weekly
    change(bucketCount=None, contractVersion=None)
    for job in (rollups.job("weekly"), *rollups.jobs()):
        assert (job.bucket_count, job.contract_version) == (1, 1)
        assert "bucketCount" not in job.columns()
        assert job_key(job) == JobBuckets(JobKey("fabrikam", "weekly"), 1)
        assert [task.task_id for task in rollups.tasks(job_key(job))] == ["only"]


@pytest.mark.parametrize("count", [0, 33, 2**40])
def test_a_row_with_a_number_of_buckets_that_no_job_has(weekly: tuple[Rollups, Change], count: int) -> None:
    rollups, change = weekly
    change(bucketCount=int64(count))
    with pytest.raises(UnreadableRow, match=r"bucketCount: Input should be [a-z0-9 ]+$"):
        rollups.job("weekly")


NEWER = int64(CONTRACT_VERSION + 1)
TOLD = rf"\(the row is of contract version {NEWER.value}, this reader knows {CONTRACT_VERSION}: upgrade it to "


def test_what_is_new_in_a_row_of_a_newer_contract_version_is_left_alone(weekly: tuple[Rollups, Change]) -> None:
    rollups, change = weekly
    change()
    before = rollups.job("weekly").columns() | {"contractVersion": NEWER.value, "Timestamp": None}
    change(contractVersion=NEWER, gpuSeconds=7.5, p50DurationSeconds=None)
    job = rollups.job("weekly")
    del before["p50DurationSeconds"]  # may be unknown
    assert job.columns() | {"Timestamp": None} == before
    assert [task.task_id for task in rollups.tasks(job_key(job))] == ["only"]


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("failures", 7.5, "failures: JSON input should be string"),
        ("taskCount", "many", "taskCount: Input should be a valid integer"),
        ("bucketCount", int64(64), "bucketCount: Input should be less than or equal to 32"),
        ("taskCount", None, "taskCount: is absent"),
        ("exitCodes", None, "exitCodes: is absent"),
        ("jobId", None, "jobId: is absent"),
    ],
)
def test_a_newer_contract_version_is_the_reason_where_a_row_cannot_be_read(
    weekly: tuple[Rollups, Change], column: str, value: Any, why: str
) -> None:
    rollups, change = weekly
    change(contractVersion=NEWER, **{column: value})
    told = rf"stored row 'fabrikam' / 'weekly' is not as written: {why}.* {TOLD}"
    with pytest.raises(UnreadableRow, match=told):
        rollups.job("weekly")
    with pytest.raises(UnreadableRow, match=told):
        list(rollups.jobs(columns=[column]))
    if column != "bucketCount":  # which is always asked for
        assert [job.failed_tasks for job in rollups.jobs(columns=["failedTasks"])] == [0]


def test_the_version_is_no_reason_where_it_is_the_readers_own(weekly: tuple[Rollups, Change]) -> None:
    rollups, change = weekly
    change(failures=7.5)
    with pytest.raises(UnreadableRow, match=r"failures: JSON input should be string, bytes or bytearray$"):
        rollups.job("weekly")
