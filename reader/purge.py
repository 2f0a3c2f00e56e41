"""Old jobs out of both tables.

The rule: whole jobs, and nothing that changes meanwhile. A job's tasks go first, a hundred in a transaction, bucket by
bucket, then its partial sums, its published row last; so a purge that was broken off is found by that row, and ended by
the next one. Every row is deleted under the ETag it was read with; and before each page of tasks, published row, layout
and partial sums must be as they were at the beginning, which whoever counts or publishes changes. A job that did change
is left.

The layout of a job of several buckets stays: an instance that still knows the job counts a late record in the bucket
that it gives, with nothing else there to conflict with; by another layout, that would be where nobody looks.

`purge` is a generator of steps of bounded size: whoever has little time takes as many as there is time for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import batched, islice
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceModifiedError
from azure.data.tables import TableServiceClient

from processors import limits
from processors.azure_errors import storage_errors
from processors.columns import JOBS, TASKS
from processors.errors import UnreadableRow
from processors.rollups import LAYOUT_KEY, SHARD_RANGE, read_layout
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
    except UnreadableRow as error:
        yield Step(job, purging.deleted, left=f"nobody knows where all its tasks are: {error}")
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
        self._buckets = job_key(job)

    def transactions(self) -> Iterator[None]:
        """Delete the job, a transaction between two steps. Raises _Changed, and UnreadableRow for its layout."""
        published = self._published()
        sums = self._sums([self._buckets.key.partition()])
        partitions = self._partitions(sums)
        if len(partitions) > 1:
            sums = self._sums(partitions)
        self._require(published is not None and published.row.get("lastEndTime") == self._job.last_end_time)
        assert published is not None
        for partition_key in partitions:
            while page := self._first_tasks(partition_key):
                now = self._published()
                self._require(now is not None and now.etag == published.etag and self._sums(partitions) == sums)
                for some in batched(page, limits.OPERATIONS_A_TRANSACTION, strict=False):
                    self.deleted += _delete(self._service, TASKS, some)
                    yield
        stays = LAYOUT_KEY if len(partitions) > 1 else None
        while remaining := [row for row in self._sums(partitions) if row.row["RowKey"] != stays]:
            self._require(all(row in sums for row in remaining))
            for transaction in _transactions(remaining):
                _delete(self._service, TASKS, transaction)
                yield
        _delete(self._service, JOBS, [published])

    def _published(self) -> Stored | None:
        return stored_row(self._service, JOBS, *self._buckets.key)

    def _partitions(self, sums: Sequence[Stored]) -> list[str]:
        """The PartitionKeys of all buckets, as many as published row or layout say. Raises UnreadableRow.

        The two differ only where a purge was broken off and the job has begun anew.
        """
        layout = (read_layout(stored.row) for stored in sums if stored.row["RowKey"] == LAYOUT_KEY)
        return self._buckets._replace(buckets=max(self._buckets.buckets, *layout, 1)).partitions()

    def _sums(self, partitions: Sequence[str]) -> list[Stored]:
        """Layout and partial sums by their keys and ETags."""
        return list(stored_rows(self._service, TASKS, partitions, *SHARD_RANGE, (*_KEYS, "bucketCount")))

    def _first_tasks(self, partition_key: str) -> list[Stored]:
        tasks = stored_rows(self._service, TASKS, [partition_key], "", SHARD_RANGE[0], _KEYS)
        return list(islice(tasks, _PAGE_TRANSACTIONS * limits.OPERATIONS_A_TRANSACTION))

    def _require(self, unchanged: bool) -> None:
        if not unchanged:
            raise _Changed


def _transactions(rows: Sequence[Stored]) -> Iterator[Sequence[Stored]]:
    """Rows of several partitions as transactions, of which each is of one."""
    by_partition: dict[str, list[Stored]] = {}
    for stored in rows:
        by_partition.setdefault(str(stored.row["PartitionKey"]), []).append(stored)
    for some in by_partition.values():
        yield from batched(some, limits.OPERATIONS_A_TRANSACTION, strict=False)


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
