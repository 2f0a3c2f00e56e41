"""What keeps the host from starting: a sentence on stderr that names it, nothing on stdout, exit status 1."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.functions_host.harness import REPOSITORY, SAMPLE_APP, Process

_TIMER_APP = """
import azure.functions as func
app = func.FunctionApp()

@app.timer_trigger(schedule="%SCHEDULE%", arg_name="timer", run_on_startup=True)
def tick(timer: func.TimerRequest) -> None:
    import os
    raise ValueError("schedule is " + os.environ["SCHEDULE"])
"""


def _run(app: Path, settings: object, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = folder / "settings.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    command = ["-m", "devstack.functions_host", "--app", str(app), "--settings", str(path), "--http-port", "0"]
    return subprocess.run(
        [sys.executable, *command, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _app(folder: Path, source: str, host_json: object = None) -> Path:
    app = folder / "app"
    app.mkdir()
    (app / "function_app.py").write_text(source, encoding="utf-8")
    (app / "host.json").write_text(json.dumps(host_json or {"version": "2.0"}), encoding="utf-8")
    return app


def _assert_refused(ended: subprocess.CompletedProcess[str], *sentences: str) -> None:
    assert ended.returncode == 1
    assert ended.stdout == ""
    for sentence in sentences:
        assert sentence in ended.stderr


def test_a_missing_setting_is_named_with_its_function(tmp_path: Path) -> None:
    ended = _run(SAMPLE_APP, {"Values": {"EVENTHUB": "Endpoint=sb://localhost;"}}, tmp_path)
    _assert_refused(ended, "function held needs the setting 'HELD_HUB', which is not set")


def test_a_connection_string_that_is_none_is_named_with_its_function(tmp_path: Path, storage: str) -> None:
    values = {"AzureWebJobsStorage": storage, "EVENTHUB": "nonsense"}
    values |= {"HELD_HUB": "h", "LIMITED_HUB": "l", "PLAIN_HUB": "p"}
    _assert_refused(_run(SAMPLE_APP, {"Values": values}, tmp_path), "function held: the event hub's connection string")


def test_missing_storage_is_named(tmp_path: Path) -> None:
    values = {"EVENTHUB": "Endpoint=sb://localhost;", "HELD_HUB": "h", "LIMITED_HUB": "l", "PLAIN_HUB": "p"}
    _assert_refused(_run(SAMPLE_APP, {"Values": values}, tmp_path), "needs the setting 'AzureWebJobsStorage'")


def test_an_app_that_cannot_be_imported_ends_the_host_with_the_reason(tmp_path: Path) -> None:
    app = _app(tmp_path, "import azure.functions\nraise LookupError('the app is broken')\n")
    _assert_refused(_run(app, {"Values": {}}, tmp_path), "LookupError: the app is broken", "function_app.py")


def test_a_taken_http_port_is_named(tmp_path: Path) -> None:
    app = _app(tmp_path, _TIMER_APP)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port: int = other.getsockname()[1]
        ended = _run(app, {"Values": {"SCHEDULE": "s"}}, tmp_path, "--http-port", str(port))
    _assert_refused(ended, f"cannot listen on port {port} of 127.0.0.1")


def test_the_environment_wins_over_the_file_and_a_timer_may_run_on_startup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCHEDULE", "from the environment")
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"Values": {"SCHEDULE": "from the file"}}), encoding="utf-8")
    app = _app(tmp_path, _TIMER_APP)
    arguments = ["--app", str(app), "--settings", str(settings), "--http-port", "0"]
    host = Process.start(["devstack.functions_host", *arguments])
    try:
        assert host.ready()["functions"] == [{"name": "tick", "trigger": "timer", "schedule": "from the environment"}]
        host.wait_for_log("ValueError: schedule is from the environment")
    finally:
        assert host.end() == 0
