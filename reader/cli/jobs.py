"""`rollups jobs`: what ran, newest first."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.text import Text

from reader.cli import options, output
from reader.cli.listing import Listing, view
from reader.cli.output import Column
from reader.models import Job
from reader.queries import JOB_LIST_COLUMNS, JobFilter

FRESH = timedelta(minutes=10)
"""A row that was written within this time belongs to a job that is still being counted."""


def outcome(job: Job) -> Text:
    """A job's tasks as a bar."""
    return output.bar(job.succeeded_tasks, job.failed_tasks)


def failures(failed: int) -> Text:
    """A number of failures, red where there are any."""
    return Text(output.count(failed), style="red" if failed else "dim")


def freshness(job: Job, now: datetime) -> Text:
    """How long ago the last task ended; with a dot where the row was written just now."""
    fresh = job.timestamp is not None and now - job.timestamp < FRESH
    return Text("● " if fresh else "  ", style="green") + Text(output.ago(job.last_end_time, now))


def listing(now: datetime) -> Listing[Job]:
    """The list of jobs, as seen at this time."""
    return Listing(
        Job,
        "jobs",
        [
            Column("job", lambda job: job.job_id, by="jobId", elastic=True),
            Column("account", lambda job: job.account, priority=4, by="account"),
            Column("tasks", lambda job: output.count(job.task_count), right=True, by="taskCount"),
            Column("outcome", outcome, priority=3),
            Column("failed", lambda job: failures(job.failed_tasks), right=True, by="failedTasks"),
            Column("retries", lambda job: output.count(job.retry_count), right=True, priority=5, by="retryCount"),
            Column("p50", lambda job: output.duration(job.p50_duration_seconds), True, 6, "p50DurationSeconds"),
            Column("p95", lambda job: output.duration(job.p95_duration_seconds), True, 2, "p95DurationSeconds"),
            Column("max", lambda job: output.duration(job.max_duration_seconds), True, 7, "maxDurationSeconds"),
            Column("span", lambda job: output.duration(job.span_seconds), True, 1, "spanSeconds"),
            Column("conc.", lambda job: output.decimal(job.mean_concurrency), True, 9, "meanConcurrency"),
            Column("slot-h", lambda job: output.decimal(job.slot_seconds / 3600), True, 8, "slotSeconds"),
            Column("last end", lambda job: freshness(job, now), by="lastEndTime"),
        ],
        JOB_LIST_COLUMNS,
        order="-lastEndTime",
    )


@dataclass(slots=True)
class _Failures:
    """Whether any of the jobs that pass has failed tasks."""

    found: bool = False

    def watch(self, jobs: Iterable[Job]) -> Iterator[Job]:
        for job in jobs:
            self.found |= job.failed_tasks > 0
            yield job


def jobs(
    since: options.SinceOption = None,
    until: options.UntilOption = None,
    account: options.AccountOption = None,
    failed: Annotated[
        bool | None, typer.Option("--failed/--succeeded", help="Only jobs with failed tasks; only jobs without.")
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Only jobs whose id begins so.")] = "",
    sort: options.SortOption = None,
    reverse: options.ReverseOption = False,
    limit: options.LimitOption = None,
    columns: options.ColumnsOption = None,
    check: options.CheckOption = False,
    format_: options.FormatOption = None,
    storage: options.Storage = None,
) -> None:
    """List jobs, newest first: outcome, durations, span, concurrency, slot-hours."""
    shown = view(listing(datetime.now(UTC)), format_, columns, sort, limit, reverse=reverse)
    where = JobFilter(account=account, since=since, until=until, failed=failed, prefix=prefix)
    failures = _Failures()
    with options.open_rollups(storage) as rollups:
        found = rollups.jobs(where, options.stored([*shown.needed(), *(["failedTasks"] if check else [])]))
        shown.write(failures.watch(found))
    options.check_failed(failures.found, wanted=check)
