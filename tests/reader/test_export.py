"""Files of jobs and tasks: what is in them, what a program reads back, what they leave behind when they fail."""

import builtins
import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from processors.errors import BadRequest, StorageUnavailable
from reader import export
from reader.accounts import Account
from reader.export import (
    EXPORTED_JOB_COLUMNS,
    EXPORTED_TASK_COLUMNS,
    FileFormat,
    format_of,
    frame,
    known_columns,
    write,
    write_file,
)
from reader.models import Job, Task
from reader.queries import ALL_JOBS, Rollups, job_key

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="module", params=["filled", "spread"])
def either(request: pytest.FixtureRequest) -> Rollups:
    """The same jobs, in one bucket each and in several."""
    opened: Account = request.getfixturevalue(request.param)
    return Rollups(opened.tables)


@pytest.fixture(scope="module")
def tasks(either: Rollups) -> list[Task]:
    """All tasks of all jobs."""
    return [task for job in either.jobs() for task in either.tasks(job_key(job))]


@pytest.fixture(scope="module")
def jobs(either: Rollups) -> list[Job]:
    return list(either.jobs(ALL_JOBS, None))


def written[M: (Job, Task)](models: list[M], file_format: FileFormat, *columns: str) -> bytes:
    known = EXPORTED_JOB_COLUMNS if isinstance(models[0], Job) else EXPORTED_TASK_COLUMNS
    to = io.BytesIO()
    count = write(iter(models), known_columns(columns or None, known), file_format, to)
    assert count == len(models)
    return to.getvalue()


def test_ndjson_has_every_row_as_it_was_read(tasks: list[Task]) -> None:
    lines = written(tasks, FileFormat.NDJSON).decode().splitlines()
    assert [json.loads(line) for line in lines] == [task.columns() for task in tasks]


def test_csv_has_every_column_and_begins_no_formula(tasks: list[Task]) -> None:
    rows = list(csv.DictReader(io.StringIO(written(tasks, FileFormat.CSV).decode(), newline="")))
    assert list(rows[0]) == list(EXPORTED_TASK_COLUMNS)
    hostile = next(row for row in rows if row["poolId"] == "<i>")
    assert hostile["taskId"] == "'=cmd|' /C calc'!A0"
    twice = next(row for row in rows if row["completionCount"] == "2")
    assert json.loads(twice["executions"])[0]["exitCode"] == 137
    never = next(row for row in rows if row["taskId"] == "never-ran")
    assert (never["startTime"], never["durationSeconds"], never["endTime"]) == ("", "", "2026-11-22T12:00:10Z")


def test_parquet_has_types(tasks: list[Task], jobs: list[Job]) -> None:
    table = pq.read_table(io.BytesIO(written(tasks, FileFormat.PARQUET)))
    assert table.column_names == list(EXPORTED_TASK_COLUMNS)
    for column, wanted in {
        "taskId": pa.string(), "startTime": pa.timestamp("us", "UTC"), "durationSeconds": pa.float64(),
        "exitCode": pa.int32(), "systemTaskVersion": pa.int64(), "succeeded": pa.bool_(), "executions": pa.string(),
        "olderExecutions": pa.binary(), "Timestamp": pa.timestamp("us", "UTC"),
    }.items():  # fmt: skip
        assert table.schema.field(column).type == wanted
    rows = {row["taskId"]: row for row in table.to_pylist()}
    assert len(rows) == len({task.task_id for task in tasks})
    assert rows["Frame-0001"]["startTime"] == NOON.replace(second=1)
    assert rows["never-ran"]["startTime"] is rows["never-ran"]["exitCode"] is None
    assert rows["=cmd|' /C calc'!A0"]["poolId"] == "<i>"  # no spreadsheet reads it: as it is
    jobs_read = pq.read_table(io.BytesIO(written(jobs, FileFormat.PARQUET))).to_pylist()
    nightly = next(row for row in jobs_read if row["jobId"] == "Nightly-42")
    assert json.loads(nightly["exitCodes"]) == {"0": 181, "137": 20, "none": 1}
    assert json.loads(nightly["pools"])["pool1"] == {"completions": 100, "failed": 0, "durationSeconds": 1060.0}


def test_parquet_of_nothing_is_a_file_with_columns() -> None:
    to = io.BytesIO()
    assert write(iter(()), EXPORTED_JOB_COLUMNS, FileFormat.PARQUET, to) == 0
    assert pq.read_table(to).column_names == list(EXPORTED_JOB_COLUMNS)


@pytest.mark.parametrize(("limit", "value"), [("ROW_GROUP_ROWS", 50), ("ROW_GROUP_CHARACTERS", 3_000)])
def test_parquet_is_written_in_groups(
    tasks: list[Task], monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    """The rows of one group are what is in memory: no row is asked for before the group in front of it is full."""
    monkeypatch.setattr(export, limit, value)
    file = pq.ParquetFile(io.BytesIO(written(tasks, FileFormat.PARQUET)))
    sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert len(sizes) > 3
    assert max(sizes) <= 50
    assert sum(sizes) == len(tasks)


def test_only_the_columns_asked_for(jobs: list[Job]) -> None:
    text = written(jobs, FileFormat.CSV, "JOBID", "failedTasks").decode()
    assert text.splitlines()[0] == "jobId,failedTasks"
    assert "Nightly-42,20" in text
    with pytest.raises(BadRequest, match="there is no column failed; the columns are PartitionKey,"):
        known_columns(["failed"], EXPORTED_JOB_COLUMNS)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("a.CSV", FileFormat.CSV), ("b.jsonl", FileFormat.NDJSON), ("c.d/e.parquet", FileFormat.PARQUET)],
)
def test_the_suffix_names_the_format(name: str, wanted: FileFormat) -> None:
    assert format_of(name) is wanted


def test_a_suffix_that_names_none() -> None:
    with pytest.raises(BadRequest, match=r"x\.xlsx: no format is known by that name; end it in \.csv,"):
        format_of("x.xlsx")


def test_a_file_is_whole_or_as_it_was(tasks: list[Task], tmp_path: Path) -> None:
    path = tmp_path / "tasks.csv"
    path.write_text("the old one")

    def broken_off() -> Iterator[Task]:
        yield tasks[0]
        raise StorageUnavailable("away")

    with pytest.raises(StorageUnavailable):
        write_file(broken_off(), EXPORTED_TASK_COLUMNS, FileFormat.CSV, path)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("tasks.csv", "the old one")]
    assert write_file(tasks, EXPORTED_TASK_COLUMNS, FileFormat.CSV, path) == len(tasks)
    assert [each.name for each in tmp_path.iterdir()] == ["tasks.csv"]
    assert len(path.read_text().splitlines()) == len(tasks) + 1


def test_a_file_that_cannot_be_written(tasks: list[Task], tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot be written: No such file or directory"):
        write_file(tasks, EXPORTED_TASK_COLUMNS, FileFormat.CSV, tmp_path / "none" / "tasks.csv")


def test_frames(tasks: list[Task], jobs: list[Job]) -> None:
    table = frame(tasks, Task)
    assert len(table) == len(tasks)
    assert str(table["startTime"].dtype) == "datetime64[us, UTC]"
    assert table[table["taskId"] == "never-ran"]["exitCode"].isna().all()
    assert table["failureCode"].value_counts()["BlobNotFound"] == 1
    assert table["durationSeconds"].sum() == sum(task.duration_seconds or 0 for task in tasks)
    assert frame(jobs, Job, ["jobId", "failedTasks"])["failedTasks"].sum() == 20
    assert list(frame([], Job, ["jobId"]).columns) == ["jobId"]


@pytest.mark.parametrize("package", ["pyarrow", "pandas"])
def test_a_package_that_is_not_there_is_named(tasks: list[Task], monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == package:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    extra = {"pyarrow": "parquet", "pandas": "pandas"}[package]
    with pytest.raises(BadRequest, match=rf"pip install 'batch-rollups\[{extra}\]'"):
        frame(tasks, Task) if package == "pandas" else written(tasks, FileFormat.PARQUET)
