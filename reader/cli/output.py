"""Rows for people and for programs: tables, JSON, CSV and TSV.

The rule: rows are written as they come, whatever their number; and no text out of the tables can act: not on a terminal
(control characters are escaped), not in a spreadsheet (a CSV cell never begins a formula).

What people read are durations, counts and times in UTC, marked with a Z; what programs read, the columns' own values.
"""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain, islice
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from reader.text import csv_cell, json_text, tsv_cell


class Format(StrEnum):
    """What `--format` takes."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    TSV = "tsv"


def chosen(format_: Format | None) -> Format:
    """The format asked for, or the one that fits where standard output goes."""
    return format_ or (Format.TABLE if sys.stdout.isatty() else Format.TSV)


class _Console(Console):
    """Rich ends the process with status 1 when a pipe is closed; here that is decided in one place for all output."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """For people. Text is shown as it is: no markup, no emoji codes, no guessing what is a number."""
    return _Console(stderr=stderr, highlight=False, emoji=False, markup=False)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say on a terminal's standard error what takes its time, for as long as it does."""
    with console(stderr=True).status(Text(printable(what))):
        yield


# --- for programs ----------------------------------------------------------------------------------------------------


def write_rows(rows: Iterable[Mapping[str, Any]], format_: Format, columns: Sequence[str]) -> None:
    """Stream rows (`model.columns()`) to standard output; only these columns, in this order. Not for `table`.

    `json` is one array, `ndjson` an object a line; a column that a row lacks is absent in them, empty in CSV and TSV,
    which begin with a line of names and have maps and lists as JSON.
    """
    rows = _begun(rows)
    match format_:
        case Format.JSON:
            between = "[\n"
            for row in rows:
                sys.stdout.write(between + json_text(_only(row, columns)))
                between = ",\n"
            sys.stdout.write("[]\n" if between == "[\n" else "\n]\n")
        case Format.NDJSON:
            for row in rows:
                sys.stdout.write(json_text(_only(row, columns)) + "\n")
        case Format.CSV:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(columns)
            for row in rows:
                writer.writerow([csv_cell(row.get(column)) for column in columns])
        case Format.TSV:
            sys.stdout.write("\t".join(columns) + "\n")
            for row in rows:
                sys.stdout.write("\t".join(tsv_cell(row.get(column)) for column in columns) + "\n")
        case Format.TABLE:
            raise AssertionError("write_table is for people")


def _begun[R](rows: Iterable[R]) -> Iterator[R]:
    """The same rows, the first of them read: what fails at once fails before anything is written."""
    remaining = iter(rows)
    return chain([*islice(remaining, 1)], remaining)


def write_row(row: Mapping[str, Any], format_: Format, columns: Sequence[str]) -> None:
    """One row: as JSON a single object, indented; else as `write_rows`."""
    if format_ is Format.JSON:
        sys.stdout.write(json_text(_only(row, columns), indent=2) + "\n")
    else:
        write_rows([row], format_, columns)


def _only(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    return {column: row[column] for column in columns if row.get(column) is not None}


# --- for people ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column[R]:
    """A column of a table for people."""

    heading: str
    cell: Callable[[R], Text | str]
    right: bool = False
    priority: int = 0
    """0 stays on the narrowest terminal; of the others the highest goes first."""
    by: str = ""
    """The tables' column that it is sorted by."""
    elastic: bool = False
    """For ids and long texts: folded where they need more than ELASTIC_WIDTH and there is no room."""


@dataclass(frozen=True, slots=True)
class _Wide:
    """A table that is not cropped where it needs more than the terminal has: the terminal wraps it."""

    table: Table
    least: int

    def __rich_console__(self, to: Console, options: ConsoleOptions) -> RenderResult:
        yield from to.render(self.table, options.update(width=max(self.least, options.max_width)))


ELASTIC_WIDTH = 40
_CHUNK = 1_000
_GAP = 2
"""Characters between two columns."""


def write_table[R](to: Console, columns: Sequence[Column[R]], rows: Iterable[R]) -> int:
    """Write rows as a table and say how many. Less important columns are left out where the terminal is narrow.

    What fits is decided by the first thousand rows; every thousand is written before the next is asked for.
    """
    remaining = iter(rows)
    total, widths, shown = 0, [0] * len(columns), None
    while chunk := list(islice(remaining, _CHUNK)):
        cells = [[_text(column.cell(row)) for column in columns] for row in chunk]
        widths = [max(old, *(row[i].cell_len for row in cells)) for i, old in enumerate(widths)]
        first = shown is None
        if shown is None:
            widths = [max(width, len(column.heading)) for width, column in zip(widths, columns, strict=True)]
            shown = _fitting(columns, widths, to.width)
        table = Table(
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, show_header=first, padding=(0, _GAP - 1, 0, 0)
        )
        for i in shown:
            column = columns[i]
            table.add_column(
                column.heading,
                justify="right" if column.right else "left",
                no_wrap=not column.elastic,
                overflow="fold",
                min_width=_needed(column, widths[i]),
                header_style="bold",
            )
        for row in cells:
            table.add_row(*(row[i] for i in shown))
        least = sum(_needed(columns[i], widths[i]) for i in shown) + _GAP * (len(shown) - 1)
        to.print(_Wide(table, least), crop=False)
        total += len(chunk)
    return total


def _fitting[R](columns: Sequence[Column[R]], widths: Sequence[int], width: int) -> list[int]:
    """Which columns a terminal of this width has room for."""
    shown = list(range(len(columns)))
    needed = [_needed(column, natural) for natural, column in zip(widths, columns, strict=True)]
    while sum(needed[i] for i in shown) + _GAP * (len(shown) - 1) > width:
        least = max(shown, key=lambda i: columns[i].priority)
        if columns[least].priority == 0:
            break
        shown.remove(least)
    return shown


def _needed[R](column: Column[R], natural: int) -> int:
    return min(natural, ELASTIC_WIDTH) if column.elastic else natural


def sheet(*, bold: bool = True) -> Table:
    """A page of lines, each with a name and what there is to say: `sheet().add_row(name, text)`."""
    page = Table.grid(padding=(0, 2))
    page.add_column(style="bold" if bold else "", no_wrap=True)
    return page


def _text(cell: Text | str) -> Text:
    return Text(printable(cell)) if isinstance(cell, str) else cell


def printable(text: str) -> str:
    """Safe on a terminal: what does not print, such as escape sequences and changes of direction, is spelled out."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def counted(number: int, noun: str) -> str:
    """`1 job`, `2 jobs`; `noun` is in the singular."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def decimal(number: float | None) -> str:
    return "" if number is None else f"{number:,.1f}"


def percent(part: float, whole: float) -> str:
    """`part` of `whole`; never 0% or 100% unless it is."""
    if not whole:
        return ""
    share = 100 * part / whole
    return f"{share:.0f}%" if share in {0, 100} else f"{min(max(share, 0.1), 99.9):.1f}%"


def duration(seconds: float | None) -> str:
    """In the two largest units that matter: `8.0 s`, `4m 05s`, `13h 19m`, `9d 03h`."""
    if seconds is None:
        return ""
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds == 0 or seconds >= 0.05 else f"{seconds * 1000:.1f} ms"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours < 48 else f"{hours // 24:,}d {hours % 24:02}h"


def time(when: datetime | None) -> str:
    """In UTC, to the second: `2026-11-22 12:00:00Z`."""
    return "" if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def ago(when: datetime | None, now: datetime) -> str:
    """How long ago: `3m 05s ago`."""
    if when is None:
        return ""
    seconds = (now - when).total_seconds()
    if seconds < -60:
        return f"in {duration(-seconds)}"
    return "now" if seconds < 1 else f"{duration(seconds)} ago" if seconds >= 60 else f"{seconds:.0f} s ago"


def bar(succeeded: int, failed: int, width: int = 10) -> Text:
    """Succeeded and failed as shares of a bar; without colour they differ by their shading."""
    whole = succeeded + failed
    if not whole:
        return Text("")
    red = min(max(round(width * failed / whole), int(failed > 0)), width - int(succeeded > 0))
    return Text("█" * (width - red), style="green") + Text("░" * red, style="red")
