"""`python -m devstack start | publish | run`, as a user types them."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from rich.console import Console

from devstack.cli import judge
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
        yield json.loads(ready.read_text())
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Ready. Ctrl-C stops." in output
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
