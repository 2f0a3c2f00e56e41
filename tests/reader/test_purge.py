"""`purge` against Azurite: what goes, what stays, and what becomes of a purge that is broken off or disturbed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest
from azure.data.tables import TableServiceClient, UpdateMode

from devstack.azurite import Azurite
from processors.columns import JOBS, TASKS
from processors.events import Execution
from processors.rollups import bucket_of
from reader import purge as module
from reader.models import Job
from reader.purge import Step, old_jobs, purge, purge_job
from reader.queries import Rollups, job_key
from reader.verify import verify
from tests.core.examples import NOON, an_execution
from tests.reader.filled import fill

DAY = 86_400
LONG_AGO = 400
"""Days before NOON."""
BUCKETS = 3
CUTOFF = datetime.fromtimestamp(NOON / 1_000_000, UTC) - timedelta(days=LONG_AGO - 1)
TASKS_A_JOB = 250


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    with Azurite() as running:
        yield running


@pytest.fixture
def connection(azurite: Azurite) -> str:
    """An account without rows."""
    with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        for table in list(tables.list_tables()):
            tables.delete_table(table.name)
    return azurite.connection_string


@pytest.fixture
def service(connection: str) -> Iterator[TableServiceClient]:
    with TableServiceClient.from_connection_string(connection) as tables:
        yield tables


def old(job: str = "old", account: str = "acct", tasks: int = TASKS_A_JOB) -> list[Execution]:
    return [
        an_execution(number - LONG_AGO * DAY, account=account, job_id=job, task_id=f"t{number:03}")
        for number in range(tasks)
    ]


def new(job: str = "new") -> list[Execution]:
    return [an_execution(number, account="acct", job_id=job, task_id=f"t{number}") for number in range(5)]


@pytest.fixture(params=[1, BUCKETS])
def buckets(request: pytest.FixtureRequest) -> int:
    """That the jobs are spread over."""
    count: int = request.param
    return count


def rows(service: TableServiceClient) -> dict[str, int]:
    """Rows of both tables but layouts by PartitionKey, of all buckets of a job together."""
    counts: dict[str, int] = {}
    for table in (JOBS, TASKS):
        for row in service.get_table_client(table).query_entities("RowKey ne '~job~'", select=["PartitionKey"]):
            whole = "|".join(row["PartitionKey"].split("|")[:2])
            counts[whole] = counts.get(whole, 0) + 1
    return counts


def layouts(service: TableServiceClient) -> set[str]:
    """The partitions that have a layout."""
    found = service.get_table_client(TASKS).query_entities("RowKey eq '~job~'")
    return {row["PartitionKey"] for row in found}


def job(service: TableServiceClient, job_id: str = "old") -> Job:
    return Rollups(service).job(job_id)


def last(steps: Iterator[Step]) -> Step:
    *_, step = steps
    return step


def test_old_jobs_go_from_both_tables_and_others_stay(
    connection: str, service: TableServiceClient, buckets: int
) -> None:
    fill(connection, [*old(), *old("Other", tasks=3), *new()], partition="0", buckets=buckets)
    fill(connection, old(), partition="1")  # duplicates: no second partial sums
    fill(connection, [an_execution(1 - LONG_AGO * DAY, account="acct", job_id="old", task_id="more")], partition="1")
    assert [(each.job_id, each.task_count) for each in old_jobs(service, CUTOFF)] == [("old", 251), ("Other", 3)]
    steps = list(purge(service, CUTOFF))
    assert [(step.job.job_id, step.deleted) for step in steps if step.done] == [("old", 251), ("Other", 3)]
    assert max(later.deleted - former.deleted for former, later in pairwise(steps)) <= 100
    sums = len({bucket_of(each.task_id, buckets) for each in new()})
    assert rows(service) == {"acct": 1, "acct|new": 5 + sums}  # tasks, partial sums
    assert layouts(service) == ({"acct|new"} if buckets == 1 else {"acct|new", "acct|old", "acct|other"})
    assert verify(service, job_key(job(service, "new")).key).differences == ()
    assert list(purge(service, CUTOFF)) == []


def test_one_account_only(connection: str, service: TableServiceClient) -> None:
    fill(connection, [*old(tasks=2), *old("other", "fabrikam", tasks=2)])
    assert [step.job.job_id for step in purge(service, CUTOFF, "FABRIKAM") if step.done] == ["other"]
    assert rows(service) == {"acct": 1, "acct|old": 3}


def test_a_purge_that_is_broken_off_is_finished_by_the_next(connection: str, service: TableServiceClient) -> None:
    """Whatever the step: the job is found again by its published row, which goes last."""
    fill(connection, old())
    steps = len(list(purge(service, CUTOFF)))
    assert steps == 5  # three transactions of tasks, one of sums and layout, the published row
    for taken in range(1, steps):
        fill(connection, old())
        list(islice(purge(service, CUTOFF), taken))
        left = rows(service)
        assert left["acct"] == 1
        assert left.get("acct|old", 0) == [151, 51, 1, 0][taken - 1]
        assert last(purge(service, CUTOFF)).done
        assert rows(service) == {}


def test_a_purge_of_several_buckets_that_is_broken_off(connection: str, service: TableServiceClient) -> None:
    """The layout is always there: by it, whatever comes late is counted where it is found."""
    executions = [*old(tasks=30), *old("oldest", tasks=3)]
    fill(connection, executions, buckets=BUCKETS)
    steps = len(list(purge_job(service, job(service))))
    assert steps == 2 * BUCKETS + 1  # a transaction of tasks in each bucket, one of sums, the published row
    for taken in range(1, steps):
        fill(connection, executions, buckets=BUCKETS)
        list(islice(purge_job(service, job(service)), taken))
        left = {
            (row["PartitionKey"], row["RowKey"])
            for row in service.get_table_client(TASKS).query_entities(f"PartitionKey ge 'acct|old' and {OLD_BUCKETS}")
        }
        assert ("acct|old", "~job~") in left
        tasks = [row_key for _, row_key in left if not row_key.startswith("~")]
        assert len(tasks) <= max(0, 30 - 5 * taken) if taken < BUCKETS else tasks == []
        assert last(purge_job(service, job(service))).done
        assert rows(service).keys() == {"acct", "acct|oldest"}


OLD_BUCKETS = "(PartitionKey eq 'acct|old' or PartitionKey ge 'acct|old|') and PartitionKey lt 'acct|old}'"


def test_a_job_that_began_anew_with_other_buckets_goes_as_a_whole(connection: str, service: TableServiceClient) -> None:
    """A purge was broken off before it got to the published row, and nobody has published since."""
    for before, now in ((1, BUCKETS), (BUCKETS, 1)):
        fill(connection, old(tasks=30), buckets=before)
        list(islice(purge(service, CUTOFF), 2 * before))
        published = dict(service.get_table_client(JOBS).get_entity("acct", "old"))
        fill(connection, old(tasks=30), buckets=now)
        service.get_table_client(JOBS).upsert_entity(published, UpdateMode.REPLACE)
        assert last(purge(service, CUTOFF)).done
        assert rows(service) == {}


def test_a_job_whose_layout_cannot_be_read_is_left(connection: str, service: TableServiceClient) -> None:
    fill(connection, old(tasks=30), buckets=BUCKETS)
    before = rows(service)
    service.get_table_client(TASKS).upsert_entity(
        {"PartitionKey": "acct|old", "RowKey": "~job~", "bucketCount": "three"}, UpdateMode.REPLACE
    )
    (step,) = purge(service, CUTOFF)
    assert step.left is not None
    assert "'acct|old' / '~job~' is not as written" in step.left
    assert rows(service) == before


@pytest.mark.parametrize("bucket", range(BUCKETS))
@pytest.mark.parametrize("partition", ["0", "1"])
def test_a_job_of_several_buckets_that_changes_meanwhile_is_left(
    connection: str, service: TableServiceClient, monkeypatch: pytest.MonkeyPatch, bucket: int, partition: str
) -> None:
    """Whichever bucket a late execution is in, and whether its partial sums are there or new."""
    monkeypatch.setattr(module, "_PAGE_TRANSACTIONS", 1)
    (late,) = [
        an_execution(account="acct", job_id="old", task_id=name)
        for name in ("late-0", "late-3", "late-4")
        if bucket_of(name, BUCKETS) == bucket
    ]
    for taken in (1, BUCKETS + 1, 2 * BUCKETS - 1, 2 * BUCKETS):  # among tasks, among sums
        fill(connection, old(tasks=30), buckets=BUCKETS)
        steps = purge_job(service, job(service))
        list(islice(steps, taken))
        fill(connection, [late], partition=partition)
        step = last(steps)
        assert step.left is not None, taken
        assert service.get_table_client(TASKS).get_entity("acct|old", "~job~")  # with it every task is found again
        assert Rollups(service).task(job_key(job(service)), late.task_id).task_id == late.task_id
        assert last(purge(service, datetime.now(UTC))).done
        assert rows(service) == {}


@pytest.mark.parametrize("taken", [0, 1, 3, 4])
@pytest.mark.parametrize("duplicate", [False, True])
def test_a_job_that_changes_meanwhile_is_left(
    connection: str, service: TableServiceClient, monkeypatch: pytest.MonkeyPatch, taken: int, duplicate: bool
) -> None:
    """An execution arrives, new or again, before the first step or between two."""
    monkeypatch.setattr(module, "_PAGE_TRANSACTIONS", 1)
    fill(connection, old())
    steps = purge_job(service, job(service))
    list(islice(steps, taken))
    arrived = old()[-1] if duplicate else an_execution(account="acct", job_id="old", task_id="late")
    fill(connection, [arrived])
    if duplicate and taken == 0:
        assert last(steps).done  # nothing is different, and it had not begun
        return
    step = last(steps)
    assert step.left is not None
    assert step.left.startswith("it changed meanwhile")
    assert (f"{step.deleted:,} of its tasks are deleted already" in step.left) == (step.deleted > 0)
    found = {row["RowKey"] for row in service.get_table_client(TASKS).list_entities(select=["RowKey"])}
    assert arrived.task_id in found
    if taken == 4:  # all was gone: the job has begun anew
        assert job(service).task_count == 1
        assert verify(service, job_key(job(service)).key).differences == ()


def test_a_purged_job_that_comes_again_starts_anew(connection: str, service: TableServiceClient) -> None:
    fill(connection, old(tasks=5))
    list(purge(service, CUTOFF))
    fill(connection, old(tasks=2), buckets=BUCKETS)
    assert (job(service).task_count, job(service).bucket_count) == (2, BUCKETS)
    assert verify(service, job_key(job(service)).key).differences == ()


def test_two_purges_at_a_time(connection: str, service: TableServiceClient, buckets: int) -> None:
    fill(connection, old(), buckets=buckets)
    found = job(service)
    first, second = purge_job(service, found), purge_job(service, found)
    ends = []
    for one, other in zip(first, second, strict=False):
        ends = [one, other]
    ends += [*first, *second]
    assert any(step.done for step in ends)
    assert rows(service) == {}


def test_an_account_without_tables(empty_connection: str) -> None:
    with TableServiceClient.from_connection_string(empty_connection) as tables:
        assert list(purge(tables, CUTOFF)) == []
