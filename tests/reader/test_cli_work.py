"""`rollups export | verify | purge | replay`, as a user types them."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from azure.data.tables import EdmType, EntityProperty, TableServiceClient, UpdateMode
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from devstack.azurite import Azurite
from processors.columns import JOBS
from reader import purge
from reader.cli import app
from reader.queries import Rollups
from tests.core.examples import an_execution, record
from tests.reader.commands import rollups
from tests.reader.filled import EXECUTIONS, fill

ROOT = Path(__file__).parents[2]


def run(connection: str | None, *arguments: str) -> int:
    """Run the command in this process; its exit status."""
    storage = [] if connection is None else ["--storage", connection]
    with pytest.raises(SystemExit) as ended:
        app([*arguments, *storage], prog_name="rollups")
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def other(empty_connection: str) -> str:
    """An account of a test's own, with the same jobs."""
    fill(empty_connection, EXECUTIONS)
    return empty_connection


# --- export ----------------------------------------------------------------------------------------------------------


def test_tasks_into_a_parquet_file(connection: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tasks.parquet"
    assert run(connection, "export", "tasks", "-o", str(path)) == 0
    assert capsys.readouterr() == ("", f"204 tasks in {path}\n")
    assert pq.read_table(path).num_rows == 204
    assert run(connection, "export", "tasks", "NIGHTLY-42", "contoso/weekly", "-o", str(path), "--failed") == 0
    assert capsys.readouterr().err == f"20 tasks in {path}\n"
    assert set(pq.read_table(path)["jobId"].to_pylist()) == {"Nightly-42"}


def test_jobs_of_a_newer_contract_version_are_not_judged(other: str, capsys: pytest.CaptureFixture[str]) -> None:
    with TableServiceClient.from_connection_string(other) as tables:
        client = tables.get_table_client(JOBS)
        row = dict(client.get_entity("contoso", "weekly"))
        client.upsert_entity(row | {"contractVersion": EntityProperty(2, EdmType.INT64)}, UpdateMode.REPLACE)
        assert run(other, "verify", "contoso/weekly") == 2
        assert "the row is of contract version 2, this reader knows 1: upgrade it" in capsys.readouterr().err
        client.upsert_entity(
            row | {"contractVersion": EntityProperty(2, EdmType.INT64), "failures": 1}, UpdateMode.REPLACE
        )
        assert run(other, "jobs") == 0
        assert run(other, "job", "contoso/weekly") == 2
        assert "failures: " in (told := capsys.readouterr().err)
        assert "this reader knows 1: upgrade it" in told


@pytest.mark.parametrize(
    "arguments",
    [
        ("tasks", "nightly-42", "--format", "tsv"),
        ("tasks", "nightly-42", "--failed", "--limit", "3", "--format", "table"),
        ("tasks", "nightly-42", "--sort", "-durationSeconds", "--limit", "3", "--columns", "taskId,durationSeconds"),
        ("task", "nightly-42", "frame-0000", "--format", "table"),
        ("nodes", "nightly-42"),
        ("export", "tasks", "--columns", "jobId,taskId,endTime"),
        ("export", "tasks", "weekly", "--account", "contoso", "--columns", "jobId,taskId"),
        ("export", "jobs", "--columns", "jobId,taskCount,exitCodes"),
        ("verify",),
    ],
    ids=" ".join,
)
def test_a_job_of_several_buckets_is_shown_as_one_of_one(
    connection: str, spread_connection: str, arguments: tuple[str, ...]
) -> None:
    def written(storage: str) -> str:
        ran = rollups(storage, *arguments)
        assert ran.exit_code == 0, ran.output
        return re.sub(r"Timestamp .*", "", ran.output)

    assert written(spread_connection) == written(connection)


def test_jobs_to_standard_output(connection: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "reader", "export", "jobs", "--columns", "jobId,longestTaskId"],
        cwd=ROOT, env=os.environ | {"RollupStorage": connection}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stderr == ""  # no bar where there is no terminal
    rows = list(csv.reader(io.StringIO(ran.stdout)))
    assert rows[0] == ["jobId", "longestTaskId"]
    assert ["<b>'=1+1'</b>", "'=cmd|' /C calc'!A0"] in rows
    packed = subprocess.run(
        [sys.executable, "-m", "reader", "export", "jobs", "--format", "parquet"],
        cwd=ROOT, env=os.environ | {"RollupStorage": connection}, capture_output=True, check=True,
    )  # fmt: skip
    assert pq.read_table(io.BytesIO(packed.stdout)).num_rows == 4


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["jobs", "--failed"], ["Nightly-42"]),
        (["jobs", "--account", "fabrikam"], ["weekly"]),
        (["jobs", "nightly-42", "fabrikam/weekly"], ["Nightly-42", "weekly"]),
        (["jobs", "--since", "2026-11-24"], ["weekly"]),
        (["jobs", "--until", "2026-11-22T12:00:11"], ["<b>'=1+1'</b>"]),
        (["tasks", "--since", "2026-11-23T12:00:11Z"], ["weekly"]),
        (["tasks", "--account", "contoso", "--since", "2026-11-23T12:00:05Z"], ["Nightly-42", "Weekly"]),
        (["tasks", "--until", "2026-11-22T12:00:11Z"], ["<b>'=1+1'</b>", "Nightly-42"]),
        (["tasks", "weekly", "--account", "Contoso", "--succeeded"], ["Weekly"]),
    ],
)
def test_what_is_exported(connection: str, tmp_path: Path, arguments: list[str], found: list[str]) -> None:
    path = tmp_path / "found.ndjson"
    assert run(connection, "export", *arguments, "--output", str(path), "--columns", "jobId") == 0
    assert sorted({json.loads(line)["jobId"] for line in path.read_text().splitlines()}) == found


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["export", "jobs", "-o", "jobs.xlsx"], "no format is known by that name"),
        (["export", "tasks", "nothing", "-o", "t.csv"], "there is no job nothing"),
        (["export", "jobs", "--columns", "name"], "there is no column name"),
        (["export", "jobs", "weekly", "--failed"], "not both"),
        (["verify", "weekly"], "several accounts have a job weekly"),
        (["verify", "nightly-42", "--since", "1d"], "not both"),
        (["purge", "--older-than", "soon"], "is no time"),
        (["replay", "nothing.json"], "nothing.json cannot be read"),
        (["replay", "https://account.blob.core.windows.net"], "names no container"),
    ],
)
def test_what_cannot_be_done_says_so(
    connection: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    assert run(connection, *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert "Traceback" not in err
    assert [each.name for each in tmp_path.iterdir() if each.name != "home"] == []


# --- verify ----------------------------------------------------------------------------------------------------------


def test_verify(other: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(other, "verify", "--format", "json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == []
    summary, bounds = err.splitlines()
    assert summary == "4 jobs with 204 tasks verified: 0 jobs with differences"
    assert bounds.startswith("Tasks ended several times in 1 job: by bounds only, account, jobId, retryCount,")
    with TableServiceClient.from_connection_string(other) as tables:
        tables.get_table_client(JOBS).update_entity(
            {"PartitionKey": "contoso", "RowKey": "nightly-42", "failedTasks": EntityProperty(7, EdmType.INT64)},
            UpdateMode.MERGE,
        )
    for arguments in ([], ["Nightly-42"], ["--account", "contoso"], ["--since", "2026-11-22"]):
        assert run(other, "verify", *arguments) == 1
        head, *lines = capsys.readouterr().out.splitlines()
        assert head == "account\tjobId\tcolumn\tpublished\trecomputed\tsource"
        assert lines == [
            "CONTOSO\tNightly-42\tfailedTasks\t7\t20\tpartial sums",
            "CONTOSO\tNightly-42\tfailedTasks\t7\t20\ttask rows",
        ]
    assert run(other, "verify", "--format", "table") == 1
    table = capsys.readouterr().out
    assert "recomputed" in table.splitlines()[0]
    assert "failedTasks" in table
    assert run(other, "verify", "fabrikam/weekly") == 0


# --- purge -----------------------------------------------------------------------------------------------------------


def test_purge(other: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    old = ["purge", "--older-than", "2026-11-23T12:00:10.5Z"]
    lines = [
        "account\tjobId\ttaskCount\tcompletionCount\tlastEndTime",
        "contoso\t<b>'=1+1'</b>\t1\t1\t2026-11-22T12:00:10Z",
        "CONTOSO\tNightly-42\t201\t202\t2026-11-23T12:00:10Z",
        "CONTOSO\tWeekly\t1\t1\t2026-11-23T12:00:10Z",
    ]
    for _ in range(2):  # the first has changed nothing
        assert run(other, *old) == 0
        out, err = capsys.readouterr()
        assert out.splitlines() == lines
        assert err == "3 jobs with 203 tasks would be purged. This was a dry run: add --yes to do it.\n"
    assert run(other, *old, "--account", "fabrikam") == 0
    assert capsys.readouterr().err.startswith("0 jobs with 0 tasks would be purged.")

    delete = purge._delete  # noqa: SLF001 - between two transactions

    def disturbed(service: TableServiceClient, *rest: object) -> int:
        monkeypatch.setattr(purge, "_delete", delete)
        fill(other, [an_execution(5, account="contoso", job_id="<b>'=1+1'</b>", task_id="=cmd|' /C calc'!A0")])
        return delete(service, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(purge, "_delete", disturbed)
    assert run(other, *old, "--yes") == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [lines[0], *lines[2:]]
    assert err == "2 jobs with 202 tasks purged\njob <b>'=1+1'</b> is left: it changed meanwhile\n"
    assert run(other, *old, "--yes", "--format", "table") == 0
    out, err = capsys.readouterr()
    assert "<b>'=1+1'</b>" in out
    assert err == "1 job with 1 task purged\n"
    assert run(other, "jobs") == 0
    assert [line.split("\t")[1] for line in capsys.readouterr().out.splitlines()[1:]] == ["weekly"]


# --- replay ----------------------------------------------------------------------------------------------------------


def test_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    log = tmp_path / "log.json"
    start = record() | {"operationName": "TaskStartEvent"}
    log.write_text("".join(json.dumps(each) + "\n" for each in (record(), record(), start, {"operationName": 1})))
    size = f"{log.stat().st_size / 1e6:,.1f} MB"
    assert run(None, "replay", str(log), "--dry-run") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"1 source, {size}, 3 records",
        "2 executions, duplicates not told apart",
        "1 record of other operations ignored",
        "1 dead letter",
        "This was a dry run: nothing is written.",
    ]
    with Azurite() as azurite:
        told = [
            "1 execution counted, 1 duplicate",
            "1 record of other operations ignored",
            "1 dead letter",
        ]
        assert run(azurite.connection_string, "replay", str(log)) == 0
        assert capsys.readouterr() == ("\n".join([f"1 source, {size}, 3 records", *told, ""]), "")
        assert run(azurite.connection_string, "replay", str(log)) == 0
        assert "0 sources, 0.0 MB, 0 records; 1 more were done before" in capsys.readouterr().out
        assert run(azurite.connection_string, "replay", str(log), "--restart") == 0
        assert "0 executions counted, 2 duplicates" in capsys.readouterr().out
        with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
            for table in ("JobRollups", "TaskRollups"):
                tables.delete_table(table)
        # Nothing is in the tables: what was noted is not believed.
        assert run(azurite.connection_string, "replay", str(log)) == 0
        assert "1 execution counted" in capsys.readouterr().out
    assert len(list((tmp_path / "home").rglob("*.ndjson"))) == 1


def test_a_replay_spreads_new_jobs_as_the_environment_or_the_local_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_connection: str
) -> None:
    """Wherever the account is named."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JobBuckets", "3")

    def replayed(job: str, storage: str | None) -> int:
        log = Path(f"{job}.json")
        log.write_text(json.dumps(record(an_execution(job_id=job))) + "\n")
        assert run(storage, "replay", str(log)) == 0
        with TableServiceClient.from_connection_string(empty_connection) as tables:
            return Rollups(tables).job(job).bucket_count

    assert replayed("by-option", empty_connection) == 3
    monkeypatch.setenv("RollupStorage", empty_connection)
    assert replayed("by-environment", None) == 3
    monkeypatch.delenv("RollupStorage")
    settings = {"Values": {"RollupStorage": empty_connection, "JobBuckets": "2"}}
    Path("local.settings.json").write_text(json.dumps(settings))
    assert replayed("by-both", None) == 3
    monkeypatch.delenv("JobBuckets")
    assert replayed("by-local-settings", None) == 2
    assert replayed("by-option-alone", empty_connection) == 1
    monkeypatch.setenv("JobBuckets", "many")
    assert run(empty_connection, "replay", "by-both.json") == 2


def test_a_container_by_its_url(empty_connection: str, capsys: pytest.CaptureFixture[str]) -> None:
    with BlobServiceClient.from_connection_string(empty_connection) as service:
        with service.create_container("logs") as container:
            for day in (1, 2):
                container.upload_blob(f"resourceId=/S/d={day}/PT1H.json", json.dumps(record(an_execution(day))))
        key = service.credential.account_key
        may = ContainerSasPermissions(read=True, list=True)
        until = datetime.now(UTC) + timedelta(hours=1)
        signature = generate_container_sas("devstoreaccount1", "logs", account_key=key, permission=may, expiry=until)
        url = f"{service.url.rstrip('/')}/logs"
    assert run(None, "replay", f"{url}?{signature}", "--dry-run") == 0
    assert "2 executions" in capsys.readouterr().out
    assert run(None, "replay", f"{url}/resourceId=/S/d=2?{signature}", "--dry-run") == 0
    assert "1 execution," in capsys.readouterr().out
    assert run(None, "replay", f"{url}/resourceId=/S/d=3?{signature}", "--dry-run") == 2
    assert "has nothing under resourceId=/S/d=3" in capsys.readouterr().err
    assert run(None, "replay", url, "--dry-run") == 2
    assert "takes a shared access signature in the URL, or --from-storage" in capsys.readouterr().err


def test_a_replay_of_something_unreadable_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json.gz").write_bytes(b"\x1f\x8b nonsense")
    assert run(None, "replay", str(tmp_path), "--dry-run") == 1
    out, err = capsys.readouterr()
    assert "0 sources" in out
    assert "a.json.gz: it cannot be unpacked: " in err
