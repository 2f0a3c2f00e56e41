"""`rollups purge`: old jobs out of the tables."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

import typer

from reader.cli import options, output
from reader.cli.output import Column, Format
from reader.cli.progress import Advance, progress
from reader.models import Job
from reader.purge import Step, old_jobs
from reader.purge import purge as purge_jobs

_COLUMNS = ("account", "jobId", "taskCount", "completionCount", "lastEndTime")


@dataclass(slots=True)
class _Summary:
    jobs: int = 0
    tasks: int = 0
    left: list[str] = field(default_factory=list)

    def add(self, tasks: int) -> None:
        self.jobs += 1
        self.tasks += tasks


def purge(
    older_than: Annotated[
        datetime,
        typer.Option(
            "--older-than",
            metavar="TIME",
            parser=options.parse_time,
            help="Jobs whose last task ended before then: 365d, 52w, 2026-01-01, ISO 8601.",
        ),
    ],
    account: options.AccountOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete them. Without it, they are listed and kept.")] = False,
    format_: options.FormatOption = None,
    storage: options.Storage = None,
) -> None:
    """Delete jobs with all their tasks, from both tables; without --yes, list them. There is no way back."""
    summary = _Summary()
    with options.open_account(storage) as opened, progress("tasks deleted", None) as advance:
        if yes:
            jobs = _purged(purge_jobs(opened.tables, older_than, account), summary, advance)
        else:
            jobs = _listed(old_jobs(opened.tables, older_than, account), summary)
        _write(jobs, output.chosen(format_))
    what = f"{output.counted(summary.jobs, 'job')} with {output.counted(summary.tasks, 'task')}"
    typer.echo(
        f"{what} purged" if yes else f"{what} would be purged. This was a dry run: add --yes to do it.", err=True
    )
    for line in summary.left:
        typer.echo(line, err=True)
    if summary.left:
        raise typer.Exit(options.FAILED)


def _listed(jobs: Iterator[Job], summary: _Summary) -> Iterator[Job]:
    for job in jobs:
        summary.add(job.task_count)
        yield job


def _purged(steps: Iterator[Step], summary: _Summary, advance: Advance) -> Iterator[Job]:
    """The jobs that are gone, as they go."""
    before = 0
    for step in steps:
        advance(step.deleted - before)
        before = step.deleted
        if step.done:
            summary.add(step.deleted)
            yield step.job
        elif step.left is not None:
            summary.left.append(f"job {output.printable(step.job.job_id)} is left: {step.left}")
        if step.done or step.left is not None:
            before = 0


def _write(jobs: Iterator[Job], format_: Format) -> None:
    if format_ is not Format.TABLE:
        output.write_rows((job.columns() for job in jobs), format_, _COLUMNS)
        return
    columns: list[Column[Job]] = [
        Column("job", lambda job: job.job_id, elastic=True),
        Column("account", lambda job: job.account),
        Column("tasks", lambda job: output.count(job.task_count), right=True),
        Column("last end", lambda job: output.time(job.last_end_time)),
    ]
    output.write_table(output.console(), columns, jobs)
