"""The options that commands share, and what they open.

The rule: an option is spelled, explained and completed in one place, here; a command that takes it looks the same as
all others that do. What a user wrote wrongly is a usage error, with an example of what is right.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from processors import limits
from processors.errors import BatchRollupsError, NotFound
from reader.accounts import Account, account, storage_settings, table_service
from reader.cli.listing import ROWS_SHOWN
from reader.cli.output import Format
from reader.models import Job
from reader.queries import JobFilter, Rollups

FAILED = 1
"""Exit status of `--check`, and of whatever else was asked to find something and did."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(rf"(\d{{1,9}})([{''.join(_UNITS)}])")
_DURATION = re.compile(rf"(\d{{1,12}}(?:\.\d{{1,9}})?)([{''.join(_UNITS)}]?)")
_EARLIEST = datetime.fromisoformat(limits.EARLIEST_TIME)
_ACCOUNT_JOB = re.compile(r"([A-Za-z0-9]{3,24})/(.+)", re.DOTALL)
"""A Batch account's name is 3 to 24 letters and digits; a job's id has no slash by Batch's own rules."""
_COMPLETIONS = 100
"""Job ids offered to a shell, at most."""


def parse_time(text: str, now: datetime | None = None) -> datetime:
    """`2d` (that long ago; also s, m, h, w), a date, or ISO 8601; UTC where it has no offset. Raises BadParameter."""
    written = text.strip()
    try:
        ago = _AGO.fullmatch(written)
        if ago:
            time = (now or datetime.now(UTC)) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        else:
            time = datetime.fromisoformat(written)
        utc = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text!r} is no time; for example 2d, 12h, 2026-11-01, 2026-11-01T08:30Z") from error
    if utc < _EARLIEST:
        raise typer.BadParameter(f"{text!r} is too early; Table Storage knows times from {limits.EARLIEST_TIME} on")
    return utc


def parse_duration(text: str) -> float:
    """Seconds: `90`, `1.5`, or with a unit, `90s`, `5m`, `2h`, `1d`, `1w`. Raises BadParameter."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no duration; for example 90 (seconds), 1.5, 5m, 2h, 1d")
    return float(found[1]) * timedelta(**{_UNITS[found[2] or "s"]: 1}).total_seconds()


@contextmanager
def open_account(storage: str | None) -> Iterator[Account]:
    """The account that `--storage`, the environment or local.settings.json name. Raises SettingsError."""
    with account(storage_settings(storage, os.environ)) as opened:
        yield opened


@contextmanager
def open_rollups(storage: str | None) -> Iterator[Rollups]:
    """That account's tables. Raises SettingsError."""
    with table_service(storage_settings(storage, os.environ)) as tables:
        yield Rollups(tables)


def split_job(text: str, account_name: str | None) -> tuple[str, str | None]:
    """Job id and account of `JOB` or `ACCOUNT/JOB`. Where `--account` is given, the whole text is the id."""
    if account_name is None and (both := _ACCOUNT_JOB.fullmatch(text)):
        return both[2], both[1]
    return text, account_name


def find_job(rollups: Rollups, text: str, account_name: str | None) -> Job:
    """The job that an argument `JOB` or `ACCOUNT/JOB` names. Raises NotFound and AmbiguousJob."""
    try:
        return rollups.job(*split_job(text, account_name))
    except NotFound as error:
        raise NotFound(f"{error}; `rollups jobs` lists what there is") from error


def stored(columns: Iterable[str]) -> list[str]:
    """The columns that have to be asked for: Timestamp always comes."""
    return [column for column in columns if column != "Timestamp"]


def check_failed(failed_tasks: int, *, wanted: bool) -> None:
    """End with FAILED where `--check` wants it and tasks failed."""
    if wanted and failed_tasks:
        raise typer.Exit(FAILED)


def complete_job(ctx: typer.Context, incomplete: str) -> Sequence[str]:
    """Ids of jobs that begin so, from the tables; none where no storage is named or it does not answer."""
    prefix, account_name = split_job(incomplete, ctx.params.get("account"))
    before = incomplete.removesuffix(prefix)
    where = JobFilter(account=account_name, prefix=prefix.removeprefix("/"))
    try:
        with open_rollups(ctx.params.get("storage")) as rollups:
            found = (job.job_id for job, _ in zip(rollups.jobs(where, ["jobId"]), range(_COMPLETIONS), strict=False))
            # A shell takes only what begins with what was typed: ids have no case, so that what was typed stays.
            return [before + prefix + job_id[len(prefix) :] for job_id in found]
    except BatchRollupsError:
        return []


Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="ACCOUNT",
        help="Storage account: its name, its table endpoint or a connection string. "
        "Default: RollupStorage or AzureWebJobsStorage, from the environment or local.settings.json.",
    ),
]
AccountOption = Annotated[
    str | None, typer.Option("--account", metavar="NAME", help="Batch account of the job; without case.")
]
FormatOption = Annotated[
    Format | None,
    typer.Option("--format", case_sensitive=False, help="Default: table on a terminal, tsv when piped."),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns", metavar="A,B,…", help="These columns (docs/tables.md), in this order; `all` for every one."
    ),
]
SinceOption = Annotated[
    datetime | None,
    typer.Option(
        "--since", metavar="TIME", parser=parse_time, help="Ended then or later: 2d, 12h, 2026-11-01, ISO 8601."
    ),
]
UntilOption = Annotated[
    datetime | None, typer.Option("--until", metavar="TIME", parser=parse_time, help="Ended before then; as --since.")
]
SortOption = Annotated[
    str | None,
    typer.Option(
        "--sort", metavar="COLUMN", help="Sort by a column, or by a heading of the table; -COLUMN: descending."
    ),
]
ReverseOption = Annotated[bool, typer.Option("--reverse", help="The other way round.")]
LimitOption = Annotated[
    int | None,
    typer.Option(
        "--limit", metavar="N", min=0, help=f"Rows, at most; 0: all. Default: {ROWS_SHOWN} in a table, else all."
    ),
]
CheckOption = Annotated[bool, typer.Option("--check", help="Exit status 1 if there are failed tasks.")]
JobArgument = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        autocompletion=complete_job,
        show_default=False,
        help="Job id, without case; ACCOUNT/JOB where several accounts have it.",
    ),
]
JobArguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="JOB",
        autocompletion=complete_job,
        show_default=False,
        help="Job ids, without case; ACCOUNT/JOB where several accounts have one.",
    ),
]
