"""`rollups watch`: a job while it runs.

The rule: on a terminal one view that refreshes itself, elsewhere a row whenever something changed. Once a first answer
has come, storage that does not answer ends nothing: the last view stays, and says so.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from processors.errors import NotFound, StorageUnavailable
from reader.cli import options, output
from reader.cli.job import heading, progress, summary
from reader.cli.jobs import listing
from reader.cli.listing import View, view
from reader.cli.output import Format
from reader.models import Job
from reader.queries import Rollups

_CHART_WIDTH = 60


class _Look(NamedTuple):
    """What one look at the job saw."""

    time: datetime
    job: Job | None
    """As last seen; None until its first task ended."""
    problem: str = ""
    """Why storage did not answer this time."""


def watch(
    job: options.JobArgument,
    interval: Annotated[
        float, typer.Option("--interval", metavar="SECONDS", min=0.1, max=86_400, help="Time between two looks.")
    ] = 5.0,
    until_tasks: Annotated[
        int | None, typer.Option("--until-tasks", metavar="N", min=1, help="End when N tasks or more have ended.")
    ] = None,
    columns: options.ColumnsOption = None,
    account: options.AccountOption = None,
    check: options.CheckOption = False,
    format_: options.FormatOption = None,
    storage: options.Storage = None,
) -> None:
    """Watch a job until Ctrl-C: a live view on a terminal, else a row for every change. It need not be there yet."""
    as_they_come = replace(listing(datetime.now(UTC)), order=None)
    shown = view(as_they_come, format_, columns, None, None, reverse=False)
    with options.open_rollups(storage) as rollups:
        looks = _looks(rollups, job, account, interval, until_tasks)
        last = _live(looks, job, until_tasks) if shown.format_ is Format.TABLE else _lines(looks, job, shown)
    options.check_failed(0 if last is None else last.failed_tasks, wanted=check)


def _looks(
    rollups: Rollups, text: str, account: str | None, interval: float, until_tasks: int | None
) -> Iterator[_Look]:
    job_id, account = options.split_job(text, account)
    look: _Look | None = None
    while True:
        now = datetime.now(UTC)
        try:
            job = rollups.job(job_id, account)
            account = job.account  # from now on one row is read, and not the whole table searched
            look = _Look(now, job)
        except NotFound:
            look = _Look(now, None)
        except StorageUnavailable as error:
            if look is None or not error.transient:
                raise
            look = _Look(now, look.job, output.printable(str(error)))
        yield look
        if until_tasks is not None and look.job is not None and look.job.task_count >= until_tasks:
            return
        time.sleep(interval)


def _live(looks: Iterator[_Look], text: str, until_tasks: int | None) -> Job | None:
    """Show the looks, one over the other."""
    to = output.console()
    first = last = None
    with Live(console=to, auto_refresh=False) if to.is_terminal else nullcontext() as live:
        for look in looks:
            last = look.job
            if first is None and look.job is not None:
                first = look
            page = _view(look, first, text, until_tasks, to.width)
            if live is None:
                to.print(page)
            else:
                live.update(page, refresh=True)
    return last


def _view(look: _Look, first: _Look | None, text: str, until_tasks: int | None, width: int) -> Group:
    state = f"{output.time(look.time)}  Ctrl-C ends this"
    parts: list[Any] = []
    if look.job is None:
        parts.append(Text(f"Waiting for the first task of {output.printable(text)} to end …"))
    else:
        parts += [heading(look.job), summary(look.job, look.time)]
        if look.job.completions_over_time is not None:
            parts.append(progress(look.job.completions_over_time, min(width, _CHART_WIDTH)))
        assert first is not None  # the first look that saw the job is this one, or came before
        parts.append(Text(pace(look.job, first, look.time, until_tasks), style="bold"))
    if look.problem:
        parts.append(Text(f"Storage did not answer, and is asked again: {look.problem}", style="yellow"))
    return Group(*parts, Text(state, style="dim"))


def pace(job: Job, first: _Look, now: datetime, until_tasks: int | None) -> str:
    """How fast tasks have ended since the first look, and when the wanted number is reached at that rate."""
    assert first.job is not None
    ended, seconds = job.task_count - first.job.task_count, (now - first.time).total_seconds()
    a_second = ended / seconds if seconds > 0 else 0.0
    text = f"{ended:,} tasks in the {output.duration(seconds)} watched, {60 * a_second:,.1f} a minute"
    if until_tasks is None:
        return text
    text += f"; {job.task_count:,} of {until_tasks:,} ({output.percent(min(job.task_count, until_tasks), until_tasks)})"
    left = until_tasks - job.task_count
    return f"{text}, about {output.duration(left / a_second)} to go" if left > 0 and a_second else text


def _lines(looks: Iterator[_Look], text: str, shown: View[Job]) -> Job | None:
    """Write a row for every look that differs from the one before in what is written."""
    last: Job | None = None

    def changed() -> Iterator[Job]:
        nonlocal last
        waiting, before = False, None
        for look in looks:
            if look.job is None:
                if not waiting:
                    typer.echo(f"rollups: waiting for the first task of {output.printable(text)} to end", err=True)
                waiting = True
                continue
            if look.problem:
                typer.echo(f"rollups: {look.problem}; asked again", err=True)
            last = look.job
            written = last.columns()
            row = [written.get(column) for column in shown.needed()]
            if row != before:
                before = row
                yield last
                sys.stdout.flush()

    shown.write(changed())
    return last
