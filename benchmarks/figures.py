"""Figures beside what they are compared with, as a table for the terminal and as Markdown."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from rich.table import Table


class Limit(NamedTuple):
    """What a figure has to be, and how that is said."""

    text: str
    holds: Callable[[float], bool]


def at_most(value: float) -> Limit:
    return Limit(f"≤ {value:g}", lambda measured: measured <= value)


def at_least(value: float) -> Limit:
    return Limit(f"≥ {value:g}", lambda measured: measured >= value)


class Figure(NamedTuple):
    """What was measured, and its limit where there is one."""

    name: str
    value: float
    unit: str = "µs"
    limit: Limit | None = None
    digits: int = 1

    @property
    def missed(self) -> bool:
        return self.limit is not None and not self.limit.holds(self.value)

    @property
    def measured(self) -> str:
        return f"{self.value:,.{self.digits}f} {self.unit}".strip()


type Sections = dict[str, list[Figure]]
"""Figures under their headings."""


def table(sections: Sections) -> Table:
    """For the terminal; what misses its limit in red."""
    made = Table(title="What a task event costs", title_justify="left")
    made.add_column("figure")
    for column in ("measured", "limit"):
        made.add_column(column, justify="right")
    for heading, figures in sections.items():
        made.add_section()
        made.add_row(heading, style="bold")
        for figure in figures:
            limit = figure.limit.text if figure.limit else ""
            made.add_row(f"  {figure.name}", figure.measured, limit, style="red" if figure.missed else None)
    return made


def markdown(sections: Sections) -> str:
    """The same for a page."""
    return "\n".join(_markdown_lines(sections))


def _markdown_lines(sections: Sections) -> Iterable[str]:
    yield "| figure | measured | limit |"
    yield "|---|---:|---:|"
    for heading, figures in sections.items():
        yield f"| **{heading}** | | |"
        for figure in figures:
            limit = figure.limit.text if figure.limit else ""
            yield f"| {figure.name} | {figure.measured} | {limit}{' (missed)' if figure.missed else ''} |"
    yield ""
