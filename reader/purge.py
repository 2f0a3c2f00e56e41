"""Old jobs out of both tables.

The rule: whole jobs, and nothing that changes meanwhile. A job's tasks go first, a hundred in a transaction, then its
partial sums, its published row last; so a purge that was broken off is found by that row, and finished, by the next
one. Every row is deleted under the ETag it was read with; and before each page of tasks, published row and partial sums
must be as they were at the beginning, which whoever counts or publishes changes. A job that did change is left.

`purge` is a generator of steps of bounded size: whoever has little time takes as many as there is time for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import batched
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceModifiedError
from azure.data.tables import TableServiceClient

from processors import limits
from processors.azure_errors import storage_errors
from processors.columns import JOBS, TASKS
from processors.rollups import SHARD_RANGE, JobKey
from reader.models import Job
from reader.queries import JobFilter, Rollups, job_key
from reader.rows import ROLE, Stored, stored_row, stored_rows

_KEYS = ("PartitionKey", "RowKey")
_PAGE_TRANSACTIONS = 10
"""Transactions between two looks at whether the job has changed."""
_CHANGED, _GONE = 412, 404


@dataclass(frozen=True, slots=True)
class Step:
    """Where the purge of one job is."""

    job: Job
    deleted: int
    """Task rows deleted so far, in this purge."""
    done: bool = False
    left: str | None = None
    """Why the job was left as it is; None where it was not."""


def old_jobs(service: TableServiceClient, before: datetime, account: str | None = None) -> Iterator[Job]:
    """The jobs whose last task ended before this time. Raises StorageUnavailable."""
    return Rollups(service).jobs(JobFilter(account=account, until=before))


def purge(service: TableServiceClient, before: datetime, account: str | None = None) -> Iterator[Step]:
    """Delete the jobs whose last task ended before this time, a transaction a step. Raises StorageUnavailable.

    Every job's last step is `done` or `left`.
    """
    for job in old_jobs(service, before, account):
        yield from purge_job(service, job)


def purge_job(service: TableServiceClient, job: Job) -> Iterator[Step]:
    """Delete one job as it was read: if it has changed since, it is left. Raises StorageUnavailable."""
    purging = _JobPurge(service, job)
    try:
        for _ in purging.transactions():
            yield Step(job, purging.deleted)
    except _Changed:
        tasks = f"; {purging.deleted:,} of its tasks are deleted already" if purging.deleted else ""
        yield Step(job, purging.deleted, left=f"it changed meanwhile{tasks}")
    else:
        yield Step(job, purging.deleted, done=True)


class _Changed(Exception):  # noqa: N818 - names what was found
    """Somebody wrote to the job while it was being deleted."""


class _JobPurge:
    """One job on its way out."""

    def __init__(self, service: TableServiceClient, job: Job) -> None:
        self.deleted = 0
        self._service = service
        self._job = job
        self._key = job_key(job)

    def transactions(self) -> Iterator[None]:
        """Delete the job, a transaction between two steps. Raises _Changed."""
        published = stored_row(self._service, JOBS, self._key.account, self._key.job)
        shards = self._shards()
        self._require(published is not None and published.row.get("lastEndTime") == self._job.last_end_time)
        assert published is not None
        while page := _first_tasks(self._service, self._key):
            now = stored_row(self._service, JOBS, self._key.account, self._key.job)
            self._require(now is not None and now.etag == published.etag and self._shards() == shards)
            for some in batched(page, limits.OPERATIONS_A_TRANSACTION, strict=False):
                self.deleted += _delete(self._service, TASKS, some)
                yield
        while remaining := self._shards():
            self._require(all(shard in shards for shard in remaining))
            _delete(self._service, TASKS, remaining[: limits.OPERATIONS_A_TRANSACTION])
            yield
        _delete(self._service, JOBS, [published])

    def _shards(self) -> list[Stored]:
        """The partial sums by their keys and ETags."""
        return list(stored_rows(self._service, TASKS, self._key.partition, *SHARD_RANGE, _KEYS))

    def _require(self, unchanged: bool) -> None:
        if not unchanged:
            raise _Changed


def _first_tasks(service: TableServiceClient, job: JobKey) -> list[Stored]:
    tasks = stored_rows(service, TASKS, job.partition, "", SHARD_RANGE[0], _KEYS)
    most = _PAGE_TRANSACTIONS * limits.OPERATIONS_A_TRANSACTION
    return [task for task, _ in zip(tasks, range(most), strict=False)]


def _delete(service: TableServiceClient, table: str, rows: Sequence[Stored]) -> int:
    """Delete the rows if all are as they were read; how many. Raises _Changed, and StorageUnavailable.

    Where one is gone, another purge or this one's own request, whose answer was lost, has deleted it: 0, read again.
    """
    unchanged: dict[str, Any] = {"match_condition": MatchConditions.IfNotModified}
    client = service.get_table_client(table)
    with storage_errors(f"deleting rows of {table}", ROLE):
        try:
            client.submit_transaction(
                [
                    ("delete", {key: stored.row[key] for key in _KEYS}, unchanged | {"etag": stored.etag})
                    for stored in rows
                ]
            )
        except HttpResponseError as error:
            if isinstance(error, ResourceModifiedError) or error.status_code == _CHANGED:
                raise _Changed from error
            if error.status_code == _GONE:
                return 0
            raise
    return len(rows)
