"""`Rollups`: questions to the tables, filtered by the server where it can, and streamed.

The rule: a job of a million tasks is never in memory as a whole, and no query asks for a column that it does not need.
Table Storage knows no order but its keys': what is sorted by anything else is sorted by whoever asks.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from azure.data.tables import TableServiceClient
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from processors.columns import JOB_COLUMNS, JOBS, TASK_COLUMNS, TASKS
from processors.errors import AmbiguousJob, BadRequest, NotFound, UnreadableRow
from processors.events import key
from processors.rollups import JobKey
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

    def odata(self, job: JobKey) -> str:
        """As the server's filter on the job's partition, its partial sums left out."""
        conditions = [f"PartitionKey eq {text(job.partition)}"]
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


class TaskPage(NamedTuple):
    """Some of a job's tasks, in the order of their keys."""

    tasks: list[Task]
    continuation: str | None
    """What the next page is asked for with; None at the end. A page may be empty and yet have a next one."""


class Rollups:
    """The tables of one account. Every method may raise StorageUnavailable, and UnreadableRow for a row not ours."""

    def __init__(self, service: TableServiceClient) -> None:
        self._requests = table_requests(service)

    def jobs(self, where: JobFilter = ALL_JOBS, columns: Sequence[str] | None = JOB_LIST_COLUMNS) -> Iterator[Job]:
        """Jobs by account and id, with these columns and their keys; with None, all columns."""
        for row in self._requests.rows(JOBS, where.odata(), _selection(columns, JOB_COLUMNS)):
            yield _read(Job, row)

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
        return _read(Job, found[0])

    def tasks(self, job: JobKey, where: TaskFilter = ALL_TASKS, columns: Sequence[str] | None = None) -> Iterator[Task]:
        """A job's tasks in the order of their keys, with these columns and their keys; with None, all columns."""
        for row in self._requests.rows(TASKS, where.odata(job), _selection(columns, TASK_COLUMNS)):
            yield _read(Task, row)

    def task_page(
        self,
        job: JobKey,
        where: TaskFilter = ALL_TASKS,
        columns: Sequence[str] | None = None,
        limit: int = PAGE,
        continuation: str | None = None,
    ) -> TaskPage:
        """At most `limit` (1 to PAGE) of what `tasks` gives, from a continuation on. Raises BadRequest."""
        if not 1 <= limit <= PAGE:
            raise BadRequest(f"limit is {limit}; it may be 1 to {PAGE:,}")
        page = self._requests.page(
            TASKS,
            where.odata(job),
            _selection(columns, TASK_COLUMNS),
            limit,
            _decode_continuation(continuation, job),
        )
        return TaskPage([_read(Task, row) for row in page.rows], _encode_continuation(page.following))

    def task(self, job: JobKey, task_id: str) -> Task:
        """One task, its id in any case. Raises NotFound."""
        row = self._requests.row(TASKS, job.partition, key(task_id))
        if row is None:
            raise NotFound(f"there is no task {task_id} in job {job.job} of account {job.account}")
        return _read(Task, row)

    def nodes(self, job: JobKey) -> list[Node]:
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


def job_key(job: Job) -> JobKey:
    """The keys of a job that was read."""
    return JobKey(job.partition_key, job.row_key)


# --- rows ------------------------------------------------------------------------------------------------------------


def _read[M: (Job, Task)](model: type[M], row: JsonRow) -> M:
    try:
        return model.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = f"{row.get('PartitionKey')!r} / {row.get('RowKey')!r}"
        column = ".".join(str(part) for part in first["loc"])
        raise UnreadableRow(f"stored row {where} is not as written: {column}: {first['msg']}") from None


def _selection(columns: Sequence[str] | None, known: Mapping[str, Any]) -> list[str] | None:
    """The columns to ask for, keys and Timestamp with them. Raises BadRequest for one that is none."""
    if columns is None:
        return None
    if unknown := [column for column in columns if column not in known]:
        raise BadRequest(f"there is no column {unknown[0]}; the columns are {', '.join(known)}")
    return list(dict.fromkeys(["PartitionKey", "RowKey", "Timestamp", *columns]))


def _encode_continuation(following: Mapping[str, str]) -> str | None:
    if not following:
        return None
    return base64.urlsafe_b64encode(json.dumps([following.get(name) for name in CONTINUATION]).encode()).decode()


def _decode_continuation(continuation: str | None, job: JobKey) -> dict[str, str] | None:
    if continuation is None:
        return None
    try:
        partition, row = json.loads(base64.urlsafe_b64decode(continuation))
        return {name: value + "" for name, value in zip(CONTINUATION, (partition, row), strict=True) if value}
    except (ValueError, TypeError) as error:
        raise BadRequest(f"the continuation is none of job {job.job}; ask for the first page again") from error


# --- the server's filters --------------------------------------------------------------------------------------------


def _time(time: datetime) -> str:
    utc = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    return f"datetime'{utc:%Y-%m-%dT%H:%M:%S.%fZ}'"


def _double(number: float) -> str:
    return repr(float(number))  # with a point or an exponent: else it would be an integer
