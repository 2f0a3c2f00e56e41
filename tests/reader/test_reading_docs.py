"""docs/reading.md is true: its Python, run from top to bottom against the filled account, prints what it says.

So is the filter in docs/tables.md that finds all buckets of a job, and of no other.
"""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables import TableServiceClient

from processors.rollups import JobKey
from reader.queries import JobBuckets, Rollups, job_key
from tests.core.examples import an_execution
from tests.reader.commands import ROOT
from tests.reader.filled import fill

TABLES = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
ALL_BUCKETS = re.compile(r"^  ```text\n  (PartitionKey ge .*)\n  ```$", re.MULTILINE)
JOB = "nightly-42"
NEIGHBOURS = (
    "nightly-4",
    "nightly-420",
    "nightly-42-again",
    "nightly-42:a",
    "nightly-42_a",
    "nightly-42|1",
    "nightly-42~",
)
"""Ids of jobs whose keys are near."""

PAGE = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
SNIPPET = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<printed>.*?)^```\n)?", re.MULTILINE | re.DOTALL)
"""Code, and what it prints where it prints anything."""


def _lines(text: str) -> list[str]:
    """pandas pads its lines; the page need not."""
    return [line.rstrip() for line in text.splitlines()]


@pytest.mark.parametrize("jobs", ["connection", "spread_connection"])
def test_the_python_prints_what_the_page_shows(
    jobs: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over however many buckets the jobs are spread."""
    monkeypatch.setenv("RollupStorage", request.getfixturevalue(jobs))
    monkeypatch.chdir(tmp_path)
    snippets = list(SNIPPET.finditer(PAGE))
    assert len(snippets) == len(re.findall(r"^```python$", PAGE, re.MULTILINE)) > 0
    names: dict[str, Any] = {"__name__": "reading"}  # later snippets use what earlier ones defined
    for snippet in snippets:
        line = PAGE.count("\n", 0, snippet.start()) + 1
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            # Moved down, so that a traceback names the page's own lines.
            exec(compile("\n" * line + snippet["code"], "docs/reading.md", "exec"), names)  # noqa: S102 - our own page
        assert _lines(printed.getvalue()) == _lines(snippet["printed"] or ""), f"docs/reading.md, line {line}"


def test_the_filter_for_all_buckets_finds_them_and_no_other_jobs(empty_connection: str) -> None:
    executions = [
        an_execution(number, account=account, job_id=job, task_id=f"t{number}")
        for account, job in (("myaccount2", JOB), *(("myaccount", job) for job in (JOB, *NEIGHBOURS)))
        for number in range(12)
    ]
    fill(empty_connection, executions, buckets=3)
    (filter_,) = ALL_BUCKETS.findall(TABLES)
    with TableServiceClient.from_connection_string(empty_connection) as service:
        rollups = Rollups(service)
        table = service.get_table_client("TaskRollups")
        for job in (JOB, "nightly-4", "nightly-420"):
            asked = filter_.replace("|nightly-42", f"|{job}")
            found = [(row["PartitionKey"], row["RowKey"]) for row in table.query_entities(asked)]
            assert {partition for partition, _ in found} == {*JobBuckets(JobKey("myaccount", job), 3).partitions()}
            tasks = rollups.tasks(job_key(rollups.job(job, "myaccount")))
            assert sorted(found) == sorted((task.partition_key, task.row_key) for task in tasks)
            assert len(found) == 12
