"""A progress bar for what takes long.

The rule: it is on standard error and on a terminal only, so that neither a pipe nor a log ever sees it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from reader.cli.output import console

type Advance = Callable[[int], None]
"""Told how much further it is."""


@contextmanager
def progress(what: str, total: int | None, *, in_bytes: bool = False) -> Iterator[Advance]:
    """A bar for as long as the block takes; `total` is None where it is not known."""
    amount: ProgressColumn = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = (TextColumn(what), BarColumn(), amount, TimeElapsedColumn(), TimeRemainingColumn())
    to = console(stderr=True)
    with Progress(*columns, console=to, transient=True, disable=not to.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda further: bar.advance(task, further)
