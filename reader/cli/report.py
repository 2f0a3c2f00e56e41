"""`rollups report`: a job as one HTML file."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from reader.cli.options import AccountOption, JobArgument, Storage, find_job, open_rollups
from reader.cli.progress import progress
from reader.report import write_report


def report(
    job: JobArgument,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", dir_okay=False, help="Replaces what is there."),
    ] = Path("report.html"),
    account: AccountOption = None,
    storage: Storage = None,
) -> None:
    """Write a job's report: one HTML file with charts, timeline and all tasks, that opens without a network."""
    with open_rollups(storage) as rollups:
        found = find_job(rollups, job, account)
        with progress("Reading tasks", found.task_count) as advance:
            written = write_report(rollups, found, output, datetime.now(UTC), advance)
    typer.echo(f"{written.path.resolve()}: {written.tasks:,} tasks, {written.bytes / 1e6:.1f} MB")
