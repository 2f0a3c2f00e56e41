"""Plans: what one transaction writes, under which conditions, and where it ends."""

import pytest

from processors import limits
from processors.events import Execution, key
from processors.metrics import Sums
from processors.plan import (
    Insert,
    JobExecutions,
    Plan,
    Rejected,
    Replace,
    Stored,
    TaskExecutions,
    add_executions,
    by_job,
    plan,
    row_bytes,
)
from processors.rollups import Earlier, JobKey, Task, identity, read_shard, read_task, shard_row, task_row
from tests.core.examples import AN_EXECUTION, an_execution
from tests.core.strategies import many_executions
from tests.memory_storage import wire_bytes

JOB = JobKey("myaccount", "job-1")
SHARD_BYTES = 700 * 1024
PLAIN_ROW_BYTES = 30_208
"""Room that every transaction keeps for the sums."""


def pending(*executions: Execution) -> list[TaskExecutions]:
    (job,) = by_job(executions)
    return job.tasks


def new_tasks(count: int) -> list[Execution]:
    return [an_execution(number, task_id=f"t{number:03}") for number in range(count)]


def counted(*executions: Execution) -> Sums:
    """The sums of executions of different tasks."""
    sums = Sums()
    for execution in executions:
        sums.add(execution)
        sums.add_tasks(execution)
    return sums


def planned(*executions: Execution) -> Plan:
    return plan(JOB, "0", None, pending(*executions), {})


def test_executions_are_grouped_in_the_order_of_the_row_keys() -> None:
    b, a, other = an_execution(1, task_id="B"), an_execution(2, task_id="a"), an_execution(3, job_id="j2", task_id="a")
    again = an_execution(4, task_id="b")
    assert by_job([b, a, other, again]) == [
        JobExecutions(JOB, [TaskExecutions("a", [a]), TaskExecutions("b", [b, again])]),
        JobExecutions(JobKey("myaccount", "j2"), [TaskExecutions("a", [other])]),
    ]


def test_nothing_pending_is_no_transaction() -> None:
    assert plan(JOB, "0", None, [], {}) == Plan()


def test_new_tasks_and_new_sums_are_inserted() -> None:
    a, b = new_tasks(2)
    made = planned(a, b, b)
    assert made.operations == [
        Insert(task_row(Task(a))),
        Insert(task_row(Task(b))),
        Insert(shard_row(JOB, "0", counted(a, b))),
    ]
    assert made.tasks == pending(a, b, b)
    assert (made.handled, made.duplicates, made.rejected) == (2, 1, [])
    assert made.sums == counted(a, b)


def test_changed_tasks_and_sums_are_replaced_under_their_etags() -> None:
    stored, later = an_execution(0, succeeded=False), an_execution(1)
    sums = Stored(counted(stored), "sums' etag")
    made = plan(JOB, "0", sums, pending(later), {key("Task-1"): Stored(Task(stored), "task's etag")})
    task = Task(later, (Earlier(identity(stored), 0, succeeded=False),))
    expected = counted(stored)
    expected.add(later)
    expected.change_task(stored, later)
    assert made.operations == [
        Replace(task_row(task), "task's etag"),
        Replace(shard_row(JOB, "0", expected), "sums' etag"),
    ]
    assert (made.sums.tasks, made.sums.succeeded_tasks, made.sums.failed_tasks) == (1, 1, 0)
    assert made.sums == expected
    assert sums.value == counted(stored)


def test_a_task_without_anything_new_is_settled_and_not_written() -> None:
    a, b = new_tasks(2)
    sums = Stored(counted(a), "e")
    made = plan(JOB, "0", sums, pending(a, b), {"t000": Stored(Task(a), "e")})
    assert [operation.row["RowKey"] for operation in made.operations] == ["t001", "~job~0"]
    assert made.tasks == pending(b)
    assert (made.handled, made.duplicates) == (2, 1)
    made = plan(JOB, "0", sums, pending(a, a), {"t000": Stored(Task(a), "e")})
    assert made == Plan(handled=1, duplicates=2, sums=sums.value)


@pytest.mark.parametrize(("tasks", "settled"), [(98, 98), (99, 99), (100, 99), (250, 99)])
def test_a_transaction_holds_99_tasks_and_the_sums(tasks: int, settled: int) -> None:
    made = planned(*new_tasks(tasks))
    assert len(made.operations) == settled + 1 <= limits.OPERATIONS_A_TRANSACTION
    assert made.handled == len(made.tasks) == made.sums.tasks == settled


def test_tasks_without_anything_new_count_towards_the_99() -> None:
    """Else one conflict would lead to the next: the rows beyond were not read."""
    some = new_tasks(150)
    known = {key(execution.task_id): Stored(Task(execution), "e") for execution in some}
    made = plan(JOB, "0", Stored(counted(*some), "e"), pending(*some), known)
    assert (made.operations, made.handled, made.duplicates) == ([], 99, 99)


@pytest.mark.parametrize(("room", "settled"), [(-1, 2), (0, 3), (1, 3)])
def test_a_transaction_ends_before_the_task_that_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, room: int, settled: int
) -> None:
    some = [execution._replace(failure_message="it broke") for execution in new_tasks(5)]
    size = row_bytes(task_row(Task(some[0])))
    monkeypatch.setattr(limits, "TRANSACTION_BYTES", SHARD_BYTES + 3 * size + room)
    made = planned(*some)
    assert made.handled == len(made.tasks) == made.sums.tasks == len(made.operations) - 1 == settled


def test_99_tasks_without_a_message_fit_a_transaction_however_long_their_ids_are() -> None:
    longest = an_execution(
        account="🎉" * 256,
        job_id="🎉" * 256,
        task_id="t" * 256,
        pool_id="🎉" * 256,
        node_id="\x7f" * 256,
        task_type="é" * 256,
        failure_category="é" * 256,
        failure_code="é" * 256,
    )
    row = {**task_row(Task(longest)), "PartitionKey": "=" * 512, "RowKey": "=" * 512}
    assert wire_bytes(row) <= row_bytes(row) <= PLAIN_ROW_BYTES
    assert 99 * PLAIN_ROW_BYTES <= limits.TRANSACTION_BYTES - SHARD_BYTES


def test_what_a_task_cannot_take_is_rejected_beside_what_others_take() -> None:
    full = add_executions(None, many_executions(limits.EXECUTIONS_A_TASK)).task
    assert full is not None
    beyond, b = an_execution(10**6), an_execution(1, task_id="u")
    made = plan(JOB, "0", None, pending(beyond, b), {"task-1": Stored(full, "e")})
    reason = "its task has 4000 executions already, all that its row can tell apart"
    assert made.rejected == [Rejected(beyond, reason)]
    assert made.tasks == pending(b)
    assert made.handled == 2


def test_nothing_that_arrives_leaves_a_task_as_it_is() -> None:
    task = Task(AN_EXECUTION)
    fold = add_executions(task, [])
    assert (fold.task, fold.accepted, fold.duplicates, fold.rejected) == (task, [], 0, [])
    assert add_executions(None, []).task is None
    assert add_executions(task, [AN_EXECUTION]).task is task


def test_an_execution_that_arrives_late_goes_to_its_place_in_time() -> None:
    """With its own outcome, and the latest one stays what the row shows."""
    first, second, third = (an_execution(number, exit_code=number) for number in range(3))
    task = add_executions(add_executions(None, [third, first]).task, [second]).task
    assert task == Task(
        third,
        (Earlier(identity(second), 1, succeeded=True), Earlier(identity(first), 0, succeeded=True)),
    )


def test_written_rows_are_read_back_as_what_was_planned() -> None:
    a, b = new_tasks(2)
    *tasks, shard = (operation.row for operation in planned(a, b).operations)
    assert [read_task(row) for row in tasks] == [Task(a), Task(b)]
    assert read_shard(shard) == counted(a, b)


def test_a_rows_size_is_that_of_its_worst_spelling() -> None:
    """A UTF-16 unit may become `\\uXXXX`, three bytes four characters of base64."""
    bare = row_bytes({"number": 1})
    assert bare == row_bytes({}) >= 4_096
    assert row_bytes({"text": "aé🎉"}) == bare + 6 * 4
    assert row_bytes({"binary": b"abc"}) >= bare + 4
    assert row_bytes({"text": "a", "more": "b", "binary": b"abc", "again": b"d"}) == bare + 2 * 6 + 2 * 4
