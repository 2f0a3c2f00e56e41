"""Executions and stored rows → one entity group transaction.

The rule that counts every execution once: a transaction holds the rows of some tasks *and* the partial sums that these
tasks add to. A new task row is inserted, a changed one and the sums are replaced under the ETag they were read with. So
either all of it happens, on the rows it was computed from, or nothing does. An execution that a row already has is
dropped here, and with it its share of the sums.

Rows that were not read are taken as absent: if one is there after all, the insert fails, and the plan is made again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from processors import limits
from processors.columns import Row
from processors.events import Execution, key
from processors.metrics import Sums
from processors.rollups import (
    Earlier,
    Identity,
    JobKey,
    Task,
    bucket_of,
    identity,
    job_of,
    layout_row,
    shard_row,
    task_row,
    units,
)


class Stored[T](NamedTuple):
    """What a row says, and the ETag it was read with."""

    value: T
    etag: str


class Insert(NamedTuple):
    """A row that must not exist yet."""

    row: Row


class Replace(NamedTuple):
    """A row that must still have this ETag."""

    row: Row
    etag: str


type Operation = Insert | Replace


class TaskExecutions(NamedTuple):
    """Executions of one task that arrived, in any order, duplicates included."""

    row_key: str
    executions: list[Execution]


@dataclass(slots=True)
class JobExecutions:
    """What arrived for one job, by task, in the order of the row keys."""

    job: JobKey
    tasks: list[TaskExecutions]


class Rejected(NamedTuple):
    """An execution that cannot be counted, and why."""

    execution: Execution
    reason: str


@dataclass(slots=True)
class Plan:
    """One transaction, and what it takes care of."""

    operations: list[Operation] = field(default_factory=list)
    """Task rows in the order of `tasks`, the shard, and the layout if asked for; empty where nothing changes."""
    tasks: list[TaskExecutions] = field(default_factory=list)
    """The tasks that `operations` writes, one each."""
    handled: int = 0
    """How many of the pending tasks the plan settles, from the first on."""
    added: Sums = field(default_factory=Sums)
    """What the transaction adds to the shard's sums."""
    sums: Sums = field(default_factory=Sums)
    """The shard's sums once the transaction is committed."""
    duplicates: int = 0
    rejected: list[Rejected] = field(default_factory=list)


def by_job(executions: Iterable[Execution]) -> list[JobExecutions]:
    """The executions of a batch, grouped by job and task (compared without case)."""
    jobs: dict[JobKey, dict[str, list[Execution]]] = {}
    for execution in executions:
        jobs.setdefault(job_of(execution), {}).setdefault(key(execution.task_id), []).append(execution)
    return [
        JobExecutions(job, [TaskExecutions(row_key, tasks[row_key]) for row_key in sorted(tasks)])
        for job, tasks in jobs.items()
    ]


def by_bucket(tasks: Sequence[TaskExecutions], buckets: int) -> dict[int, list[TaskExecutions]]:
    """A job's tasks by the bucket that they live in, in the order that they have."""
    found: dict[int, list[TaskExecutions]] = {}
    for task in tasks:
        found.setdefault(bucket_of(task.row_key, buckets), []).append(task)
    return found


def plan(
    job: JobKey,
    shard: str,
    sums: Stored[Sums] | None,
    pending: Sequence[TaskExecutions],
    known: Mapping[str, Stored[Task]],
    bucket: int = 0,
    *,
    founding: bool = False,
) -> Plan:
    """The next transaction: as many of the `pending` tasks as it can hold. All are of one of the job's buckets.

    `sums` is the stored shard, None where there is none; `known` the task rows that were read and exist, by row key.
    `founding`: the transaction is to write the layout of a job of one bucket too, which must not have one yet.
    Tasks without anything new count too: did the plan reach beyond them, to rows not read, one conflict would lead to
    the next, and a large enough redelivery would never get to its end.
    """
    result = Plan()
    partition_key = job.partition(bucket)
    accepted: list[Execution] = []
    new: list[Execution] = []
    added = Sums()
    room = limits.TRANSACTION_BYTES - _SHARD_BYTES
    for task in pending[: limits.OPERATIONS_A_TRANSACTION - (2 if founding else 1)]:
        stored = known.get(task.row_key)
        fold = add_executions(stored.value if stored else None, task.executions)
        if fold.task is not None and fold.accepted:
            row = task_row(fold.task, partition_key)
            size = row_bytes(row) if fold.task.earlier or fold.task.latest.failure_message else _PLAIN_ROW_BYTES
            if size > room:
                break
            room -= size
            result.operations.append(Replace(row, stored.etag) if stored else Insert(row))
            result.tasks.append(task)
            accepted += fold.accepted
            if stored is None:
                new.append(fold.task.latest)
            else:
                added.change_task(stored.value.latest, fold.task.latest)
        result.handled += 1
        result.duplicates += fold.duplicates
        result.rejected += fold.rejected
    added.add(*accepted)
    added.add_tasks(*new)
    result.added = added
    result.sums = sums.value.merge(added) if sums else added
    if result.operations:
        row = shard_row(job, shard, result.sums, bucket)
        result.operations.append(Replace(row, sums.etag) if sums else Insert(row))
        if founding:
            result.operations.append(Insert(layout_row(job, 1)))
    return result


# --- one task --------------------------------------------------------------------------------------------------------


class Fold(NamedTuple):
    """A task after more executions arrived."""

    task: Task | None
    accepted: Sequence[Execution] = ()
    duplicates: int = 0
    rejected: Sequence[Rejected] = ()


def add_executions(task: Task | None, arrived: Sequence[Execution]) -> Fold:
    """`task` with those of the `arrived` executions that it does not have yet, in whatever order they come."""
    if task is None and len(arrived) == 1:  # as nearly always
        return Fold(Task(arrived[0]), arrived)
    seen = set(task.identities()) if task else set()
    accepted: list[Execution] = []
    duplicates = 0
    rejected: list[Rejected] = []
    for execution in arrived:
        which = identity(execution)
        if which in seen:
            duplicates += 1
        elif len(seen) >= limits.EXECUTIONS_A_TASK:
            reason = f"its task has {limits.EXECUTIONS_A_TASK} executions already, all that its row can tell apart"
            rejected.append(Rejected(execution, reason))
        else:
            seen.add(which)
            accepted.append(execution)
    return Fold(_with(task, accepted) if accepted else task, accepted, duplicates, rejected)


def _with(task: Task | None, accepted: Sequence[Execution]) -> Task:
    latest = max((*accepted, *((task.latest,) if task else ())), key=identity)
    earlier = sorted(
        (
            *_earlier(accepted, latest),
            *(_earlier((task.latest,), latest) if task else ()),
            *(task.earlier if task else ()),
        ),
        key=lambda earlier: earlier.identity,
        reverse=True,
    )
    # The listed ones are always the latest: nothing moves up again, because executions never go away.
    listed, unlisted = earlier[: limits.EXECUTIONS_LISTED], earlier[limits.EXECUTIONS_LISTED :]
    older: list[Identity] = sorted((*(task.older if task else ()), *(item.identity for item in unlisted)), reverse=True)
    return Task(latest, tuple(listed), tuple(older))


def _earlier(executions: Iterable[Execution], latest: Execution) -> Iterator[Earlier]:
    for execution in executions:
        if execution is not latest:
            yield Earlier(identity(execution), execution.exit_code, execution.succeeded)


# --- sizes -----------------------------------------------------------------------------------------------------------

_SHARD_BYTES = 700 * 1024
"""More than a shard's row takes on the wire: seven bounded JSON columns of at most 64 KiB, quotes escaped."""

_ROW_OVERHEAD = 4_096
"""More than the wire's own share of a row: MIME headers, URL, column names and types, numbers and times."""

_WORST_UNIT = 6
"""Bytes that one UTF-16 unit takes at most in a JSON body (as \\uXXXX)."""


_PLAIN_ROW_BYTES = _ROW_OVERHEAD + _WORST_UNIT * (
    5 * 2 * limits.ID_LENGTH + 3 * limits.CODE_UNITS + 2 * limits.KEY_UNITS
)
"""An upper bound for a task's row without a failure message or earlier executions: ids, codes and keys at their
longest. 99 of them fit a transaction."""


def row_bytes(row: Row) -> int:
    """An upper bound of the bytes that a row takes in a transaction's body."""
    size = _ROW_OVERHEAD
    for value in row.values():
        if type(value) is str:
            size += _WORST_UNIT * (len(value) if value.isascii() else units(value))
        elif type(value) is bytes:
            size += 2 * len(value)  # base64
    return size
