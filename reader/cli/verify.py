"""`rollups verify`: do the rows add up?"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import typer

from processors.errors import NotFound
from reader.cli import UNABLE, options, output
from reader.cli.output import Column, Format
from reader.cli.progress import Advance, progress
from reader.models import Job
from reader.queries import JobFilter, Rollups, job_key
from reader.verify import Difference, Verdict
from reader.verify import verify as compare

_COLUMNS = ("account", "jobId", "column", "published", "recomputed", "source")
_LONGEST_SHOWN = 120


@dataclass(frozen=True, slots=True)
class _Finding:
    """A difference, and of which job."""

    job: Job
    difference: Difference

    def columns(self) -> dict[str, str]:
        found = self.difference
        return {
            "account": self.job.account,
            "jobId": self.job.job_id,
            "column": found.column,
            "published": found.published,
            "recomputed": found.recomputed,
            "source": found.source,
        }


@dataclass(slots=True)
class _Summary:
    jobs: int = 0
    tasks: int = 0
    wrong: int = 0
    unsettled: list[str] = field(default_factory=list)
    by_bounds: int = 0
    bounded: tuple[str, ...] = ()

    def add(self, job: Job, verdict: Verdict) -> None:
        self.jobs += 1
        self.tasks += verdict.tasks
        self.wrong += bool(verdict.differences)
        if not verdict.settled:
            self.unsettled.append(job.job_id)
        if verdict.by_bounds:
            self.by_bounds += 1
            self.bounded = verdict.by_bounds

    def lines(self) -> Iterator[str]:
        read = f"{output.counted(self.jobs, 'job')} with {output.counted(self.tasks, 'task')} verified"
        yield f"{read}: {output.counted(self.wrong, 'job')} with differences"
        if self.by_bounds:
            columns = ", ".join(self.bounded)
            yield f"Tasks ended several times in {output.counted(self.by_bounds, 'job')}: by bounds only, {columns}"
        for job_id in self.unsettled:
            yield f"{output.printable(job_id)} changes faster than it can be read: verify it later"


def verify(
    jobs: options.JobArguments = None,
    account: options.AccountOption = None,
    since: options.SinceOption = None,
    format_: options.FormatOption = None,
    storage: options.Storage = None,
) -> None:
    """Recompute jobs from their task rows and partial sums; exit status 1 if what was published differs."""
    if jobs and since is not None:
        raise typer.BadParameter("name jobs, or choose them by --since; not both")
    summary = _Summary()
    with options.open_account(storage) as opened:
        rollups = Rollups(opened.tables)
        chosen: Iterable[Job]
        if jobs:
            chosen = [options.find_job(rollups, job, account) for job in jobs]
        else:
            chosen = rollups.jobs(JobFilter(account=account, since=since), ["account", "jobId"])

        def findings(advance: Advance) -> Iterator[_Finding]:
            for job in chosen:
                try:
                    verdict = compare(opened.tables, job_key(job).key)
                except NotFound:
                    continue  # purged since it was listed
                summary.add(job, verdict)
                advance(1)
                yield from (_Finding(job, difference) for difference in verdict.differences)

        with progress("jobs", len(jobs) if jobs else None) as advance:
            _write(findings(advance), output.chosen(format_))
    for line in summary.lines():
        typer.echo(line, err=True)
    if summary.wrong:
        raise typer.Exit(options.FAILED)
    if summary.unsettled:
        raise typer.Exit(UNABLE)


def _write(findings: Iterator[_Finding], format_: Format) -> None:
    if format_ is not Format.TABLE:
        output.write_rows((finding.columns() for finding in findings), format_, _COLUMNS)
        return
    first = next(findings, None)
    if first is None:
        return

    def all_of_them() -> Iterator[_Finding]:
        yield first
        yield from findings

    columns: list[Column[_Finding]] = [
        Column("job", lambda finding: finding.job.job_id, elastic=True),
        Column("account", lambda finding: finding.job.account, priority=2),
        Column("column", lambda finding: finding.difference.column, elastic=True),
        Column("published", lambda finding: _cut(finding.difference.published), elastic=True),
        Column("recomputed", lambda finding: _cut(finding.difference.recomputed), elastic=True),
        Column("from", lambda finding: finding.difference.source, priority=1),
    ]
    output.write_table(output.console(), columns, all_of_them())


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
