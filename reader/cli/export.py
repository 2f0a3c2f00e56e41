"""`rollups export`: jobs and tasks into files."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from processors.columns import Edm
from reader.cli import options
from reader.cli.output import console, counted
from reader.cli.progress import Advance, progress
from reader.export import (
    EXPORTED_JOB_COLUMNS,
    EXPORTED_TASK_COLUMNS,
    FileFormat,
    format_of,
    known_columns,
    write,
    write_file,
)
from reader.models import Job, Task
from reader.queries import ALL_TASKS, JobFilter, Rollups, TaskFilter, job_key

_STDOUT = "-"

export = typer.Typer(help="Write jobs or tasks into a CSV, NDJSON or Parquet file.", no_args_is_help=True)

_Output = Annotated[
    str,
    typer.Option("--output", "-o", metavar="FILE", help="Its suffix names the format; `-` is standard output."),
]
_FileFormat = Annotated[
    FileFormat | None,
    typer.Option("--format", case_sensitive=False, help="Default: by the file's suffix; csv on standard output."),
]
_Failed = Annotated[
    bool | None, typer.Option("--failed/--succeeded", help="Only with failed tasks, or failed; only without, or not.")
]


@export.command("jobs")
def export_jobs(
    jobs: options.JobArguments = None,
    output: _Output = _STDOUT,
    file_format: _FileFormat = None,
    account: options.AccountOption = None,
    since: options.SinceOption = None,
    until: options.UntilOption = None,
    failed: _Failed = None,
    columns: options.ColumnsOption = None,
    storage: options.Storage = None,
) -> None:
    """Write jobs: those named, or those that the filters leave, or all."""
    if jobs and not (since is None and until is None and failed is None):
        raise typer.BadParameter("name jobs, or choose them by --since, --until, --failed; not both")
    known = known_columns(_names(columns), EXPORTED_JOB_COLUMNS)
    chosen = _format(output, file_format)
    where = JobFilter(account=account, since=since, until=until, failed=failed)
    with options.open_rollups(storage) as rollups, progress("jobs", len(jobs) if jobs else None) as advance:
        found: Iterable[Job]
        if jobs:
            found = (options.find_job(rollups, job, account) for job in jobs)
        else:
            found = rollups.jobs(where, options.stored(list(known)))
        written = _write(_advancing(found, advance), known, chosen, output)
    _tell(output, counted(written, "job"))


@export.command("tasks")
def export_tasks(
    jobs: options.JobArguments = None,
    output: _Output = _STDOUT,
    file_format: _FileFormat = None,
    account: options.AccountOption = None,
    since: options.SinceOption = None,
    until: options.UntilOption = None,
    failed: _Failed = None,
    columns: options.ColumnsOption = None,
    storage: options.Storage = None,
) -> None:
    """Write tasks: of the jobs named, or of all; those that the filters leave."""
    known = known_columns(_names(columns), EXPORTED_TASK_COLUMNS)
    chosen = _format(output, file_format)
    where = TaskFilter(since=since, until=until, failed=failed)
    with options.open_rollups(storage) as rollups:
        named = [options.find_job(rollups, job, account) for job in jobs or ()]

        def theirs() -> Iterable[Job]:
            """The jobs that may have such tasks."""
            return named or rollups.jobs(JobFilter(account=account, since=since), ["taskCount"])

        # Counting them takes another look at the jobs, which only a bar is worth.
        worthwhile = console(stderr=True).is_terminal and where == ALL_TASKS
        total = sum(job.task_count for job in theirs()) if worthwhile else None
        with progress("tasks", total) as advance:
            found = _tasks(rollups, theirs(), where, list(known))
            written = _write(_advancing(found, advance), known, chosen, output)
    _tell(output, counted(written, "task"))


def _tasks(rollups: Rollups, jobs: Iterable[Job], where: TaskFilter, columns: list[str]) -> Iterator[Task]:
    for job in jobs:
        yield from rollups.tasks(job_key(job), where, options.stored(columns))


def _advancing[M: (Job, Task)](models: Iterable[M], advance: Advance) -> Iterator[M]:
    for model in models:
        yield model
        advance(1)


def _names(text: str | None) -> list[str] | None:
    """The columns that a list with commas names; None for all."""
    names = [name for part in (text or "all").split(",") if (name := part.strip())]
    return None if names == ["all"] else list(dict.fromkeys(names))


def _format(output: str, chosen: FileFormat | None) -> FileFormat:
    if chosen is not None:
        return chosen
    return FileFormat.CSV if output == _STDOUT else format_of(output)


def _write[M: (Job, Task)](models: Iterable[M], known: Mapping[str, Edm], file_format: FileFormat, output: str) -> int:
    if output != _STDOUT:
        return write_file(models, known, file_format, Path(output))
    if file_format is FileFormat.PARQUET and sys.stdout.isatty():
        raise typer.BadParameter("Parquet is nothing for a terminal; name a file with --output")
    return write(models, known, file_format, sys.stdout.buffer)


def _tell(output: str, what: str) -> None:
    if output != _STDOUT:
        typer.echo(f"{what} in {output}", err=True)
