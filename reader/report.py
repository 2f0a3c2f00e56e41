"""A job as one HTML file that opens anywhere, without a network: the page of `web/`, with the job and its tasks in it.

The rule: tasks are streamed, from the table into the file, some thousand of them in memory at a time; the file appears
whole or not at all. No id can act in it: data stand in it as JSON without `<`, the page makes no markup of data, and
its policy allows no script but its own.

The tasks are blocks of columns. Of texts that repeat (pools, nodes, failures) the blocks have numbers, and the end of
the file the texts; times are milliseconds since the job's start.
"""

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import batched
from pathlib import Path
from typing import IO, Any, NamedTuple

from processors.errors import SettingsError
from reader.api import WEB
from reader.models import Job, Task
from reader.queries import Rollups, job_key

BLOCK = 5_000
"""Tasks in a block."""
MESSAGES = 5_000
"""Distinct failure messages that a report tells; of a failure beyond them it has the code alone."""
MESSAGE_LENGTH = 500
"""Characters of a failure message that a report tells."""
_LEFT_OUT = "(left out of this report: too many distinct messages)"

COLUMNS = (
    "taskId",
    "poolId",
    "nodeId",
    "startTime",
    "endTime",
    "durationSeconds",
    "succeeded",
    "exitCode",
    "failureCode",
    "failureMessage",
    "retryCount",
    "requeueCount",
    "completionCount",
)
"""What a report needs of a task."""

_UNKNOWN, _SUCCEEDED, _FAILED = range(3)


class Written(NamedTuple):
    """A report that was written."""

    path: Path
    tasks: int
    bytes: int


def write_report(
    rollups: Rollups, job: Job, path: Path, made: datetime, progress: Callable[[int], None] = lambda _: None
) -> Written:
    """Write the report of a job (all its columns read) to `path`; `progress` is told how many more tasks were written.

    What was at `path` is replaced. Raises SettingsError where the page is not built, OSError where it cannot be
    written, StorageUnavailable and UnreadableRow.
    """
    parts = _parts(job)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    data = _Data(job, made)
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            for name, text in parts:
                if name == "data":
                    for piece in data.pieces(rollups.tasks(job_key(job), columns=COLUMNS), progress):
                        file.write(piece)
                else:
                    file.write(text)
            _sync(file)
        size = partial.stat().st_size
        partial.replace(path)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()
    return Written(path, data.tasks, size)


def _sync(file: IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())


# --- the page --------------------------------------------------------------------------------------------------------


def _parts(job: Job) -> Iterable[tuple[str, str]]:
    """The file's parts in their order: those of the template, and one called `data` for what comes out of the table."""
    try:
        template, style, script = (
            (WEB / name).read_text(encoding="utf-8") for name in ("report.html", "report.css", "report.js")
        )
    except FileNotFoundError as error:
        raise SettingsError("the report's page is not built here: run `make web`, then try again") from error
    texts = {
        "policy": (
            f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        ),
        "title": html.escape(f"{job.job_id} · Batch rollups"),
        "style": style,
        "script": script,
        "data": "",
    }
    pieces = re.split(r"\{\{(\w+)\}\}", template)
    return [(name, texts.get(name, name)) for name in pieces]


def _digest(text: str) -> str:
    """What a content security policy calls an inline script or style by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


# --- the data --------------------------------------------------------------------------------------------------------


def script_json(value: Any) -> str:
    """JSON that can stand in a script element: nothing in it ends the element or begins a comment."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _element(value: Any, attribute: str) -> str:
    return f'<script type="application/json" {attribute}>{script_json(value)}</script>\n'


class _Data:
    """The data of one report, as the elements of its page."""

    def __init__(self, job: Job, made: datetime) -> None:
        self.job = job
        self.made = made
        self.tasks = 0
        start = job.first_start_time or job.last_end_time or made
        self._start = start.replace(microsecond=0)
        self._texts: dict[str, int] = {}
        self._messages: dict[str, int] = {}

    def pieces(self, tasks: Iterable[Task], progress: Callable[[int], None]) -> Iterator[str]:
        yield _element({"job": self.job.columns()}, 'id="job"')
        for block in batched(tasks, BLOCK, strict=False):
            yield _element(self._block(block), 'class="tasks"')
            self.tasks += len(block)
            progress(len(block))
        about = {
            "made": self.made.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "start": round(self._start.timestamp() * 1000),
            "tasks": self.tasks,
            "texts": list(self._texts),
        }
        yield _element(about, 'id="about"')

    def _block(self, tasks: Iterable[Task]) -> dict[str, list[Any]]:
        rows = [
            (
                task.task_id,
                self._text(task.pool_id),
                self._text(task.node_id),
                self._time(task.start_time),
                self._time(task.end_time),
                None if task.duration_seconds is None else _short(task.duration_seconds),
                _UNKNOWN if task.succeeded is None else _SUCCEEDED if task.succeeded else _FAILED,
                task.exit_code,
                self._text(task.failure_code),
                self._message(task.failure_message),
                task.retry_count,
                task.requeue_count,
                task.completion_count,
            )
            for task in tasks
        ]
        return {name: list(column) for name, column in zip(COLUMNS, zip(*rows, strict=True), strict=True)}

    def _text(self, text: str) -> int:
        return self._texts.setdefault(text, len(self._texts))

    def _message(self, message: str) -> int:
        told = message[:MESSAGE_LENGTH]
        if told and told not in self._messages:
            if len(self._messages) == MESSAGES:
                return self._text(_LEFT_OUT)
            self._messages[told] = len(self._messages)
        return self._text(told)

    def _time(self, time: datetime | None) -> int | None:
        return None if time is None else round((time - self._start) / timedelta(milliseconds=1))


def _short(seconds: float) -> float | int:
    """To the millisecond, in the fewest digits; what is shorter than one keeps its microseconds."""
    rounded = round(seconds, 3 if seconds >= 1 else 6)
    return int(rounded) if rounded == int(rounded) else rounded
