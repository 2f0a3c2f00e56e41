"""`Rollups`: questions to the tables, filtered by the server where it can, and streamed.

The rule: a job of a million tasks is never in memory as a whole, and no query asks for a column that it does not need.
Table Storage knows no order but its keys': what is sorted by anything else is sorted by whoever asks.

A job's tasks are in one partition or in several, its buckets; whoever asks for them sees one list, in the order of the
tasks' keys. How many there are is in the job's row: `job_key` makes of a job that was read what its tasks are asked by.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

from azure.data.tables import TableServiceClient
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from processors import limits
from processors.columns import CONTRACT_VERSION, JOB_COLUMNS, JOBS, TASK_COLUMNS, TASKS
from processors.errors import AmbiguousJob, BadRequest, NotFound, UnreadableRow
from processors.events import key
from processors.rollups import JobKey, bucket_of
from processors.table_http import CONTINUATION, text
from reader.models import Job, Node, Task
from reader.table_requests import JsonRow, table_requests

JOB_LIST_COLUMNS = (
    "account",
    "jobId",
    "taskCount",
    "succeededTasks",
    "failedTasks",
    "completionCount",
    "retryCount",
    "requeueCount",
    "p50DurationSeconds",
    "p95DurationSeconds",
    "maxDurationSeconds",
    "durationSeconds",
    "slotSeconds",
    "firstStartTime",
    "lastEndTime",
    "spanSeconds",
    "meanConcurrency",
)
"""What a list of jobs shows: numbers and times. The maps of a row are most of its bytes."""

PAGE = 1000
"""Rows an answer, at most. Table service: 1,000."""

_LAST = "~"
"""Sorts after every character of a task's or job's key."""


class JobFilter(BaseModel):
    """Which jobs; each field that is set narrows it down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: str | None = Field(default=None, description="Batch account, without case")
    since: datetime | None = Field(default=None, description="last task ended at this time or later")
    until: datetime | None = Field(default=None, description="last task ended before this time")
    failed: bool | None = Field(default=None, description="true: with failed tasks; false: without any")
    prefix: str = Field(default="", description="job id begins with this, without case")

    def odata(self) -> str:
        """As the server's filter. Times without an offset are UTC."""
        conditions = []
        if self.account is not None:
            conditions.append(f"PartitionKey eq {text(key(self.account))}")
        if self.prefix:
            start = key(self.prefix)
            conditions.append(f"RowKey ge {text(start)} and RowKey lt {text(start + _LAST)}")
        if self.since is not None:
            conditions.append(f"lastEndTime ge {_time(self.since)}")
        if self.until is not None:
            conditions.append(f"lastEndTime lt {_time(self.until)}")
        if self.failed is not None:
            conditions.append(f"failedTasks {'gt' if self.failed else 'eq'} 0L")
        return " and ".join(conditions)


class TaskFilter(BaseModel):
    """Which tasks of a job, by their latest execution; each field that is set narrows it down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    failed: bool | None = Field(default=None, description="true: failed; false: succeeded")
    retried: bool | None = Field(default=None, description="true: retried by Batch at least once; false: never")
    requeued: bool | None = Field(default=None, description="true: requeued by Batch at least once; false: never")
    pool: str | None = Field(default=None, description="pool id, as it is written")
    node: str | None = Field(default=None, description="node id, as it is written")
    exit_code: int | None = Field(default=None, description="exit code", ge=-(2**31), lt=2**31)
    failure_code: str | None = Field(default=None, description="code of the scheduling error, as it is written")
    min_duration: float | None = Field(default=None, description="seconds, at least", ge=0, allow_inf_nan=False)
    max_duration: float | None = Field(default=None, description="seconds, at most", ge=0, allow_inf_nan=False)
    since: datetime | None = Field(default=None, description="ended at this time or later")
    until: datetime | None = Field(default=None, description="ended before this time")
    prefix: str = Field(default="", description="task id begins with this, without case")

    def odata(self, partition_key: str, after: str | None = None) -> str:
        """As the server's filter on one of the job's partitions, its partial sums left out; `after` is a row key."""
        conditions = [f"PartitionKey eq {text(partition_key)}"]
        if after is not None:
            conditions.append(f"RowKey gt {text(after)}")
        if self.prefix:
            start = key(self.prefix)
            conditions.append(f"RowKey ge {text(start)} and RowKey lt {text(start + _LAST)}")
        else:
            conditions.append(f"RowKey lt {text(_LAST)}")
        if self.failed is not None:
            conditions.append(f"succeeded eq {str(not self.failed).lower()}")
        for column, wanted in (("retryCount", self.retried), ("requeueCount", self.requeued)):
            if wanted is not None:
                conditions.append(f"{column} {'gt' if wanted else 'eq'} 0")
        texts = {"poolId": self.pool, "nodeId": self.node, "failureCode": self.failure_code}
        conditions += [f"{column} eq {text(wanted)}" for column, wanted in texts.items() if wanted is not None]
        if self.exit_code is not None:
            conditions.append(f"exitCode eq {self.exit_code}")
        if self.min_duration is not None:
            conditions.append(f"durationSeconds ge {_double(self.min_duration)}")
        if self.max_duration is not None:
            conditions.append(f"durationSeconds le {_double(self.max_duration)}")
        if self.since is not None:
            conditions.append(f"endTime ge {_time(self.since)}")
        if self.until is not None:
            conditions.append(f"endTime lt {_time(self.until)}")
        return " and ".join(conditions)


ALL_JOBS = JobFilter()
ALL_TASKS = TaskFilter()


class JobBuckets(NamedTuple):
    """What a job's tasks are asked by: which job, and how many buckets they are spread over."""

    key: JobKey
    buckets: int

    def partitions(self) -> list[str]:
        """The PartitionKeys of all its buckets."""
        return [self.key.partition(bucket) for bucket in range(self.buckets)]

    def partition_of(self, row_key: str) -> str:
        """The PartitionKey that the task with this RowKey has."""
        return self.key.partition(bucket_of(row_key, self.buckets))


class TaskPage(NamedTuple):
    """Some of a job's tasks, in the order of their keys."""

    tasks: list[Task]
    continuation: str | None
    """What the next page is asked for with; None at the end. A page may be empty and yet have a next one, where the
    job has one bucket; where it has several, only the last page has fewer tasks than were asked for."""


class Rollups:
    """The tables of one account. Every method may raise StorageUnavailable, and UnreadableRow for a row not ours."""

    def __init__(self, service: TableServiceClient) -> None:
        self._requests = table_requests(service)

    def jobs(self, where: JobFilter = ALL_JOBS, columns: Sequence[str] | None = JOB_LIST_COLUMNS) -> Iterator[Job]:
        """Jobs by account and id, with these columns, their keys and what `job_key` needs; with None, all columns."""
        selection = _selection(columns, JOB_COLUMNS, _ALWAYS_OF_A_JOB)
        for row in self._requests.rows(JOBS, where.odata(), selection):
            yield _read_job(row, selection)

    def job(self, job_id: str, account: str | None = None) -> Job:
        """One job, its ids in any case. Raises NotFound, and AmbiguousJob where several accounts have one so called."""
        if account is not None:
            row = self._requests.row(JOBS, key(account), key(job_id))
            found = [] if row is None else [row]
        else:
            found = list(self._requests.rows(JOBS, f"RowKey eq {text(key(job_id))}", None))
        if not found:
            where = "" if account is None else f" in account {account}"
            raise NotFound(f"there is no job {job_id}{where}")
        if len(found) > 1:
            raise AmbiguousJob(job_id, sorted(str(row["account"]) for row in found))
        return _read_job(found[0], None)

    def tasks(
        self, job: JobBuckets, where: TaskFilter = ALL_TASKS, columns: Sequence[str] | None = None
    ) -> Iterator[Task]:
        """A job's tasks in the order of their keys, with these columns and their keys; with None, all columns."""
        filters = [where.odata(partition_key) for partition_key in job.partitions()]
        for row in self._requests.merged(TASKS, filters, _selection(columns, TASK_COLUMNS)):
            yield _read(Task, row)

    def task_page(
        self,
        job: JobBuckets,
        where: TaskFilter = ALL_TASKS,
        columns: Sequence[str] | None = None,
        limit: int = PAGE,
        continuation: str | None = None,
    ) -> TaskPage:
        """At most `limit` (1 to PAGE) of what `tasks` gives, from a continuation on. Raises BadRequest."""
        if not 1 <= limit <= PAGE:
            raise BadRequest(f"limit is {limit}; it may be 1 to {PAGE:,}")
        selection = _selection(columns, TASK_COLUMNS)
        if job.buckets > 1:
            return self._merged_page(job, where, selection, limit, continuation)
        following = None if continuation is None else _server_continuation(continuation, job)
        page = self._requests.page(TASKS, where.odata(job.key.partition()), selection, limit, following)
        names = [page.following.get(name) for name in CONTINUATION]
        return TaskPage([_read(Task, row) for row in page.rows], _encode(names) if page.following else None)

    def _merged_page(
        self, job: JobBuckets, where: TaskFilter, selection: list[str] | None, limit: int, continuation: str | None
    ) -> TaskPage:
        """A page of a job of several buckets: it goes on after a key, for their places do not fit a URL."""
        after = None if continuation is None else _last_key(continuation, job)
        filters = [where.odata(partition_key, after) for partition_key in job.partitions()]
        share = -(-(limit + 1) // job.buckets)
        # With a little more than its share, a bucket is seldom asked twice.
        found = self._requests.merged(TASKS, filters, selection, min(PAGE, share + share // 4 + 1))
        with closing(found):
            rows = list(islice(found, limit + 1))
        tasks = [_read(Task, row) for row in rows[:limit]]
        return TaskPage(tasks, _encode([job.key.partition(), tasks[-1].row_key]) if len(rows) > limit else None)

    def task(self, job: JobBuckets, task_id: str) -> Task:
        """One task, its id in any case. Raises NotFound."""
        row_key = key(task_id)
        row = self._requests.row(TASKS, job.partition_of(row_key), row_key)
        if row is None:
            raise NotFound(f"there is no task {task_id} in job {job.key.job} of account {job.key.account}")
        return _read(Task, row)

    def nodes(self, job: JobBuckets) -> list[Node]:
        """What each node did for a job, by pool and node; tasks that never ran have no node and are left out."""
        return nodes_of(self.tasks(job, columns=NODE_COLUMNS))


NODE_COLUMNS = ("poolId", "nodeId", "succeeded", "retryCount", "durationSeconds", "startTime", "endTime")
"""What `nodes_of` needs of a task."""


def nodes_of(tasks: Iterable[Task]) -> list[Node]:
    """The nodes that tasks ran on, by pool and node, with what they did there."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for task in tasks:
        if not task.node_id:
            continue
        node = found.setdefault((task.pool_id, task.node_id), {"tasks": 0, "failed": 0, "retries": 0, "busy": 0.0})
        node["tasks"] += 1
        node["failed"] += task.succeeded is False
        node["retries"] += task.retry_count
        node["busy"] += task.duration_seconds or 0.0
        if task.start_time is not None:
            node["first"] = min(node.get("first", task.start_time), task.start_time)
        if task.end_time is not None:
            node["last"] = max(node.get("last", task.end_time), task.end_time)
    return [
        Node(
            pool_id=pool,
            node_id=node_id,
            tasks=node["tasks"],
            failed=node["failed"],
            retries=node["retries"],
            busy_seconds=round(node["busy"], 6),
            first_start_time=node.get("first"),
            last_end_time=node.get("last"),
        )
        for (pool, node_id), node in sorted(found.items())
    ]


def job_key(job: Job) -> JobBuckets:
    """What the tasks of a job that was read are asked by."""
    return JobBuckets(JobKey(job.partition_key, job.row_key), job.bucket_count)


# --- rows ------------------------------------------------------------------------------------------------------------


_ALWAYS = ("PartitionKey", "RowKey", "Timestamp")
_ALWAYS_OF_A_JOB = (*_ALWAYS, "bucketCount", "contractVersion")
"""Without the first of the two, its tasks are not found; without the second, what is wrong cannot be told."""

_NEVER_ABSENT = tuple(
    str(field.alias)
    for name, field in Job.model_fields.items()
    if field.default is not None and name not in ("bucket_count", "contract_version")
)
"""The columns of a job that version 1 of the contract always has. (What may be unknown is None by default.)"""


def _read_job(row: JsonRow, columns: Sequence[str] | None) -> Job:
    """A row of JobRollups of which these columns were asked for, or all. Raises UnreadableRow."""
    try:
        job = _read(Job, row)
    except UnreadableRow as error:
        version = str(row.get("contractVersion", 1))
        if version.isdecimal() and int(version) > CONTRACT_VERSION:
            raise UnreadableRow(f"{error} ({newer(int(version))})") from None
        raise
    if job.contract_version > CONTRACT_VERSION:
        for column in _NEVER_ABSENT:
            if column not in row and (columns is None or column in columns):
                raise UnreadableRow(f"{_unreadable(row, column, 'is absent')} ({newer(job.contract_version)})")
    return job


def newer(version: int) -> str:
    """What to say of a row with a contract version that this code does not know."""
    return (
        f"the row is of contract version {version}, this reader knows {CONTRACT_VERSION}: upgrade it to the version "
        "of the app that writes"
    )


def _read[M: (Job, Task)](model: type[M], row: JsonRow) -> M:
    try:
        return model.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        column = ".".join(str(part) for part in first["loc"])
        raise UnreadableRow(_unreadable(row, column, first["msg"])) from None


def _unreadable(row: JsonRow, column: str, why: str) -> str:
    return f"stored row {row.get('PartitionKey')!r} / {row.get('RowKey')!r} is not as written: {column}: {why}"


def _selection(
    columns: Sequence[str] | None, known: Mapping[str, Any], always: Sequence[str] = _ALWAYS
) -> list[str] | None:
    """The columns to ask for, those that always come with them. Raises BadRequest for one that is none."""
    if columns is None:
        return None
    if unknown := [column for column in columns if column not in known]:
        raise BadRequest(f"there is no column {unknown[0]}; the columns are {', '.join(known)}")
    return list(dict.fromkeys([*always, *columns]))


# --- continuations ---------------------------------------------------------------------------------------------------

_ROW_KEY = re.compile(f"[a-z0-9_:=A-F-]{{1,{limits.KEY_UNITS}}}")


def _encode(texts: Sequence[str | None]) -> str:
    return base64.urlsafe_b64encode(json.dumps(texts).encode()).decode()


def _decode(continuation: str, job: JobBuckets) -> tuple[str | None, str | None]:
    try:
        first, second = json.loads(base64.urlsafe_b64decode(continuation))
    except (ValueError, TypeError) as error:
        raise _none_of(job) from error
    if not all(isinstance(text, str | None) for text in (first, second)):
        raise _none_of(job)
    return first, second


def _server_continuation(continuation: str, job: JobBuckets) -> dict[str, str]:
    """Where the server goes on in a job of one bucket. Raises BadRequest."""
    return {name: value for name, value in zip(CONTINUATION, _decode(continuation, job), strict=True) if value}


def _last_key(continuation: str, job: JobBuckets) -> str:
    """The row key after which a job of several buckets goes on. Raises BadRequest."""
    partition_key, row_key = _decode(continuation, job)
    if partition_key != job.key.partition() or row_key is None or not _ROW_KEY.fullmatch(row_key):
        raise _none_of(job)
    return row_key


def _none_of(job: JobBuckets) -> BadRequest:
    return BadRequest(f"the continuation is none of job {job.key.job}; ask for the first page again")


# --- the server's filters --------------------------------------------------------------------------------------------


def _time(time: datetime) -> str:
    utc = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return f"datetime'{utc:%Y-%m-%dT%H:%M:%S.%fZ}'"


def _double(number: float) -> str:
    return repr(float(number))  # with a point or an exponent: else it would be an integer
