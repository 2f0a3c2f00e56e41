"""`purge` against Azurite: what goes, what stays, and what becomes of a purge that is broken off or disturbed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest
from azure.data.tables import TableServiceClient

from devstack.azurite import Azurite
from processors.columns import JOBS, TASKS
from processors.events import Execution
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


def rows(service: TableServiceClient) -> dict[str, int]:
    """Rows of both tables by PartitionKey."""
    counts: dict[str, int] = {}
    for table in (JOBS, TASKS):
        for row in service.get_table_client(table).list_entities(select=["PartitionKey"]):
            counts[row["PartitionKey"]] = counts.get(row["PartitionKey"], 0) + 1
    return counts


def job(service: TableServiceClient, job_id: str = "old") -> Job:
    return Rollups(service).job(job_id)


def last(steps: Iterator[Step]) -> Step:
    *_, step = steps
    return step


def test_old_jobs_go_from_both_tables_and_others_stay(connection: str, service: TableServiceClient) -> None:
    fill(connection, [*old(), *old("Other", tasks=3), *new()], partition="0")
    fill(connection, old(), partition="1")  # duplicates: no second partial sums
    fill(connection, [an_execution(1 - LONG_AGO * DAY, account="acct", job_id="old", task_id="more")], partition="1")
    assert [(each.job_id, each.task_count) for each in old_jobs(service, CUTOFF)] == [("old", 251), ("Other", 3)]
    steps = list(purge(service, CUTOFF))
    assert [(step.job.job_id, step.deleted) for step in steps if step.done] == [("old", 251), ("Other", 3)]
    assert max(later.deleted - former.deleted for former, later in pairwise(steps)) <= 100
    assert rows(service) == {"acct": 1, "acct|new": 6}
    assert verify(service, job_key(job(service, "new"))).differences == ()
    assert list(purge(service, CUTOFF)) == []


def test_one_account_only(connection: str, service: TableServiceClient) -> None:
    fill(connection, [*old(tasks=2), *old("other", "fabrikam", tasks=2)])
    assert [step.job.job_id for step in purge(service, CUTOFF, "FABRIKAM") if step.done] == ["other"]
    assert rows(service) == {"acct": 1, "acct|old": 3}


def test_a_purge_that_is_broken_off_is_finished_by_the_next(connection: str, service: TableServiceClient) -> None:
    """Whatever the step: the job is found again by its published row, which goes last."""
    fill(connection, old())
    steps = len(list(purge(service, CUTOFF)))
    assert steps == 5  # three transactions of tasks, one of sums, the published row
    for taken in range(1, steps):
        fill(connection, old())
        list(islice(purge(service, CUTOFF), taken))
        left = rows(service)
        assert left["acct"] == 1
        assert left.get("acct|old", 0) == [151, 51, 1, 0][taken - 1]
        assert last(purge(service, CUTOFF)).done
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
        assert verify(service, job_key(job(service))).differences == ()


def test_a_purged_job_that_comes_again_starts_anew(connection: str, service: TableServiceClient) -> None:
    fill(connection, old(tasks=5))
    list(purge(service, CUTOFF))
    fill(connection, old(tasks=2))
    assert job(service).task_count == 2
    assert verify(service, job_key(job(service))).differences == ()


def test_two_purges_at_a_time(connection: str, service: TableServiceClient) -> None:
    fill(connection, old())
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
