"""Lists of jobs, tasks and nodes: which columns, in which order, how many rows.

The rule: only as many rows are held as are shown. A list that is not sorted is written as it is read; of a sorted one
with a limit, the best rows so far are kept and no others.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from rich.table import Table
from rich.text import Text

from processors.errors import BadRequest
from reader.cli import output
from reader.cli.output import Column, Format
from reader.models import Job, Node, PoolShare, Task
from reader.text import json_text

NONE = "(none)"
"""In place of an empty name, such as the pool of a task that never ran."""

ROWS_SHOWN = 50
"""Rows of a table where no limit is given: what fits on a screen."""


@dataclass(frozen=True, slots=True)
class Listing[R: Job | Task | Node]:
    """One kind of list."""

    model: type[R]
    noun: str
    """What the rows are, in the plural."""
    shown: Sequence[Column[R]]
    """For people."""
    written: Sequence[str]
    """The columns for programs; those that `shown` shows are made of them."""
    hidden: Sequence[str] = ()
    """Columns of the model that are not in the tables' contract."""
    order: str | None = None
    """What it is sorted by where nothing else is asked for, as `--sort` has it; None: as it is read."""

    def names(self) -> list[str]:
        """Every column there is."""
        aliases = (info.alias or name for name, info in self.model.model_fields.items())
        return [alias for alias in aliases if alias not in self.hidden]


@dataclass(slots=True)
class View[R: Job | Task | Node]:
    """A list as it was asked for."""

    listing: Listing[R]
    format_: Format
    columns: Sequence[str] | None
    """None: the listing's own."""
    sort: str | None
    descending: bool
    limit: int
    """0: all."""
    read: int = field(default=0, init=False)
    """Rows so far, shown or not."""

    def needed(self) -> list[str]:
        """The tables' columns that have to be read for it."""
        columns = self.listing.written if self.columns is None else self.columns
        return list(dict.fromkeys([*columns, *([self.sort] if self.sort else [])]))

    def write(self, rows: Iterable[R]) -> None:
        """Sort, cut and write the rows."""
        chosen = self._chosen(self._counted(rows))
        if self.format_ is not Format.TABLE:
            written = self.listing.written if self.columns is None else self.columns
            output.write_rows((row.columns() for row in chosen), self.format_, written)
            return
        columns = self.listing.shown if self.columns is None else [*map(self._plain_column, self.columns)]
        to = output.console()
        shown = output.write_table(to, columns, chosen)
        if not shown:
            to.print(f"No {self.listing.noun} match." if self.read == 0 else f"No {self.listing.noun} shown.")
        elif self.read > shown:
            known = f"{shown:,} of {self.read:,} {self.listing.noun}" if self.sort else f"The first {shown:,}"
            to.print(f"{known}; --limit 0 shows all", style="dim")

    def _counted(self, rows: Iterable[R]) -> Iterator[R]:
        for row in rows:
            self.read += 1
            yield row

    def _chosen(self, rows: Iterable[R]) -> Iterable[R]:
        if self.sort:
            return ordered(rows, value_of(self.listing.model, self.sort), self.limit, descending=self.descending)
        return self._first(rows) if self.limit else rows

    def _first(self, rows: Iterable[R]) -> Iterator[R]:
        """Up to the limit, and a look at whether there is more."""
        remaining = iter(rows)
        yield from islice(remaining, self.limit)
        next(remaining, None)

    def _plain_column(self, name: str) -> Column[R]:
        value, kind = value_of(self.listing.model, name), kind_of(self.listing.model, name)
        return Column(
            name, lambda row: plain(name, value(row)), right=bool(kind & {int, float}), elastic=not kind & _NARROW
        )


def view[R: Job | Task | Node](
    listing: Listing[R],
    format_: Format | None,
    columns: str | None,
    sort: str | None,
    limit: int | None,
    *,
    reverse: bool,
) -> View[R]:
    """A list as the options have it. Raises BadRequest for a column that there is none of."""
    chosen = output.chosen(format_)
    sort = sort or listing.order
    name = None if sort is None else _sort_column(listing, sort.removeprefix("-"))
    return View(
        listing,
        chosen,
        None if columns is None else _columns(listing, columns),
        name,
        descending=(sort or "").startswith("-") != reverse,
        limit=(ROWS_SHOWN if chosen is Format.TABLE else 0) if limit is None else limit,
    )


def ordered[R](rows: Iterable[R], value: Callable[[R], Any], limit: int, *, descending: bool) -> list[R]:
    """The first `limit` rows by a value (0: all of them); rows without it come last either way, equals as they came."""

    def place(row: R) -> tuple[bool, Any]:
        found = value(row)
        return (found is None) != descending, found.casefold() if isinstance(found, str) else found

    if not limit:
        return sorted(rows, key=place, reverse=descending)
    return (heapq.nlargest if descending else heapq.nsmallest)(limit, rows, key=place)


# --- columns ---------------------------------------------------------------------------------------------------------

_NARROW = frozenset({int, float, bool, datetime})


def kind_of(model: type[BaseModel], name: str) -> set[Any]:
    """The types of a column's values."""
    annotation = model.model_fields[_field(model, name)].annotation
    return {*get_args(annotation)} if get_origin(annotation) in {UnionType, Union} else {annotation}


def value_of(model: type[BaseModel], name: str) -> Callable[[Any], Any]:
    """What reads a column from a row."""
    field_name = _field(model, name)
    return lambda row: getattr(row, field_name)


def _field(model: type[BaseModel], name: str) -> str:
    return next(field_name for field_name, info in model.model_fields.items() if (info.alias or field_name) == name)


def _columns[R: Job | Task | Node](listing: Listing[R], text: str) -> list[str]:
    """The columns that a list with commas names."""
    names = [name for part in text.split(",") if (name := part.strip())]
    if names == ["all"]:
        return listing.names()
    if not names:
        raise BadRequest(f"--columns names none; for example --columns {','.join(listing.written[:3])}")
    return list(dict.fromkeys(_column(listing, name) for name in names))


def _column[R: Job | Task | Node](listing: Listing[R], text: str) -> str:
    """A column, by its name or by a heading of the table, in any case."""
    known = {column.heading.lower(): column.by for column in listing.shown if column.by}
    known |= {name.lower(): name for name in listing.names()}
    if (name := known.get(text.lower())) is None:
        raise BadRequest(f"there is no column {text}; the columns are {', '.join(listing.names())}")
    return name


def _sort_column[R: Job | Task | Node](listing: Listing[R], text: str) -> str:
    name = _column(listing, text)
    if not kind_of(listing.model, name) & {*_NARROW, str}:
        raise BadRequest(f"{name} has no order; sort by another column")
    return name


def sheet(row: Job | Task | Node, names: Iterable[str]) -> Table:
    """One row for people: a line for each of these columns that has a value."""
    page = output.sheet()
    for name in names:
        if text := plain(name, value_of(type(row), name)(row)):
            page.add_row(name, Text(output.printable(text), overflow="fold"))
    return page


def plain(name: str, value: Any) -> str:
    """A column's value for people, by what its name and type say."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return output.time(value)
        case int() if name == "exitCode":
            return str(value)  # a code, not a number of things
        case int():
            return output.count(value)
        case float() if name.endswith("Seconds"):
            return output.duration(value)
        case float():
            return output.decimal(value)
        case str():
            return value
        case bytes():
            return f"{len(value):,} bytes"
        case PoolShare():
            return f"{value.completions:,} ({value.failed:,} failed)"
        case dict():
            return ", ".join(f"{key or NONE}: {plain(name, part)}" for key, part in value.items())
        case list():
            return ", ".join(plain(name, part) for part in value)
        case BaseModel():
            return json_text(value.model_dump(mode="json", by_alias=True, exclude_unset=True))
        case _:
            return str(value)
