"""`python -m devstack start | publish | run | chaos | outage`, as a user types them."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from rich.console import Console

from devstack import chaos, outage
from devstack.cli import judge, main
from devstack.stack import APP
from devstack.verdict import Tables, disagreements
from devstack.workload import Execution
from tests.integration.harness import record

FREE = [f"--{part}-port=0" for part in ("event-hubs", "control", "blob", "queue", "table", "http")]
END = datetime(2026, 11, 22, 10, tzinfo=UTC)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "devstack", *arguments]


def status_of(url: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    connection.request("GET", "/")
    return connection.getresponse().status


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=APP, capture_output=True, text=True, check=False)


@contextmanager
def started(ready: Path, arguments: Sequence[str]) -> Iterator[dict[str, str]]:
    """What the ready file says while `start` runs; afterwards it has ended cleanly at SIGTERM."""
    process = subprocess.Popen(
        command("start", "--ready-file", str(ready), *arguments), cwd=APP, stdout=subprocess.PIPE, text=True
    )
    try:
        while not ready.exists():
            assert process.poll() is None
            time.sleep(0.1)
        yield (addresses := json.loads(ready.read_text()))
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Ready. Ctrl-C stops." in output
        assert (f"{addresses['httpUrl']}/api/dashboard" in output) is bool(addresses["httpUrl"])
    finally:
        process.kill()
        process.wait()


def test_start_publish_files_and_start_again_on_the_same_data(tmp_path: Path) -> None:
    execution = Execution("acct", "archived", "t", END - timedelta(seconds=3), END)
    archive = tmp_path / "logs" / "h=10" / "m=00" / "PT1H.json"
    archive.parent.mkdir(parents=True)
    archive.write_text("\n".join(json.dumps(record(execution)) for _ in range(3)))

    with started(tmp_path / "first.json", ["--data", str(tmp_path / "data"), *FREE]) as ready:
        assert set(ready) == {"eventHubConnection", "eventHubName", "storageConnection", "httpUrl"}
        assert status_of(ready["httpUrl"]) == 200
        hub = ["--connection", ready["eventHubConnection"], "--hub", ready["eventHubName"]]
        sent = run("publish", str(archive.parent.parent), *hub)
        assert sent.returncode == 0, sent.stderr
        assert "1 messages" in sent.stdout
        while not (tables := Tables(ready["storageConnection"])).jobs:
            time.sleep(0.1)
        assert disagreements(tables, [execution], set()) == []

    with started(tmp_path / "second.json", ["--data", str(tmp_path / "data"), *FREE, "--instances", "0"]) as ready:
        assert disagreements(Tables(ready["storageConnection"]), [execution], set()) == []


def test_run_shows_the_jobs_and_ends_with_0() -> None:
    ran = run("run", "--tasks", "200", "--seed", "9")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "JobRollups: " in ran.stdout
    assert "200 tasks, " in ran.stdout
    assert "Tables and dead letters equal what was published." in ran.stdout


@pytest.mark.parametrize("command", ["start", "publish", "run", "chaos", "outage"])
def test_help_says_what_each_option_is_by_default(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "default: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("chaos", "--instances", "0"),
        ("chaos", "--pause", "0"),
        ("chaos", "--tasks", "-1"),
        ("outage", "--seconds", "3601"),
        ("outage", "--seconds", "soon"),
        ("outage", "--rate", "0"),
        ("outage", "--times", "0"),
        ("outage", "--records", "0"),
        ("outage", "--tasks", "1"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(
    command: str, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, option, value])
    assert ended.value.code == 2
    assert option in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(("passed", "differences", "status"), [(0, [], 0), (3, [], 1), (0, ["JobRollups j: …"], 1)])
def test_an_outage_is_told_and_its_status_says_whether_all_was_held_and_counted(
    passed: int,
    differences: list[str],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def measured(plan: outage.Plan, *_: object) -> outage.Result:
        assert plan == outage.Plan(seed=4, outage=5.0, times=2, rate=7, records=3)
        away = outage.Phase("storage is away", 5.0, [100_000_000, 101_000_000, 102_000_000])
        return outage.Result([away], 90, 80, backlog=35, passed=passed, differences=differences)

    monkeypatch.setattr(outage, "run", measured)
    assert main(["outage", "--seed", "4", "--seconds", "5", "--times", "2", "--rate", "7", "--records", "3"]) == status
    told = capsys.readouterr().out
    assert "up to 35 messages waited as storage came back" in told
    assert f"{passed} were checkpointed while it was away" in told
    assert all(line in told for line in differences)


@pytest.mark.parametrize(("differences", "status"), [([], 0), (["JobRollups j: …"], 1)])
def test_chaos_tells_every_fault_and_its_status_says_whether_the_tables_are_equal(
    differences: list[str], status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def happened(plan: chaos.Plan, *_: object) -> chaos.Result:
        assert plan == chaos.Plan(seed=4, tasks=9, instances=2, pause=0.5)
        return chaos.Result(plan, Counter({chaos.Fault.KILL: 3}), executions=8, differences=differences)

    monkeypatch.setattr(chaos, "run", happened)
    assert main(["chaos", "--seed", "4", "--tasks", "9", "--instances", "2", "--pause", "0.5"]) == status
    told = capsys.readouterr().out
    assert all(fault in told for fault in chaos.Fault)
    assert "8 executions of 9 tasks" in told


def test_run_ends_with_1_where_the_tables_differ(capsys: pytest.CaptureFixture[str]) -> None:
    assert judge(Console(), ["JobRollups nightly: failedTasks is 17, expected 18"]) == 1
    assert "failedTasks is 17, expected 18" in capsys.readouterr().out


@pytest.mark.parametrize("part", ["event-hubs", "blob", "http"])
def test_a_port_that_is_taken_is_named(part: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        ports = [option for option in FREE if not option.startswith(f"--{part}-")]
        ended = run("start", *ports, f"--{part}-port={port}")
    assert ended.returncode == 1
    assert str(port) in ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_cannot_be_published_is_named(tmp_path: Path) -> None:
    missing = run("publish", str(tmp_path / "nothing.json"), "--connection", "Endpoint=sb://localhost:1;x=y")
    assert missing.returncode == 1
    assert "nothing.json" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_publishing_where_nothing_listens_is_an_error_of_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
    connection = f"Endpoint=sb://localhost:{port};SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true;"
    ended = run("publish", "--tasks", "1", "--connection", connection)
    assert ended.returncode == 1
    assert ended.stderr.startswith("devstack: ")
    assert "Traceback" not in ended.stderr
