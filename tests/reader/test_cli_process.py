"""`rollups` as a process: pipes, terminals, exit statuses, signals, a shell's completion, storage that is not there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reader.commands import ROOT, start

AWAY = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint=http://127.0.0.1:9/a"


def run(connection: str | None, *arguments: str, cwd: Path = ROOT) -> tuple[int, str, str]:
    process = start(connection, *arguments, cwd=cwd)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_a_pipe_gets_tsv_and_the_exit_status_says_what_was_found(connection: str) -> None:
    status, out, err = run(connection, "job", "nightly-42", "--columns", "jobId,failedTasks", "--check")
    assert (status, out, err) == (1, "jobId\tfailedTasks\nNightly-42\t20\n", "")


def test_the_entry_point_is_the_same(connection: str) -> None:
    process = subprocess.run(
        [Path(sys.executable).parent / "rollups", "--version"], capture_output=True, text=True, check=True
    )
    status, out, _ = run(connection, "--version")
    assert (status, out) == (0, process.stdout)
    assert out.startswith("rollups 0.")


@pytest.mark.parametrize("format_", ["json", "table"])
def test_a_closed_pipe_is_no_error(connection: str, format_: str) -> None:
    most = ["tasks", "nightly-42", "--columns", "all", "--limit", "200"]  # more than a pipe holds
    process = start(connection, *most, "--format", format_, more={"COLUMNS": "1000"})
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.wait(60) == 141


def test_no_storage_is_named(tmp_path: Path) -> None:
    status, out, err = run(None, cwd=tmp_path)
    assert (status, out) == (2, "")
    assert err.startswith("rollups: no storage account is named; give --storage (a connection string,")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        (AWAY, "reading JobRollups: no answer"),
        ("what is this", "--storage what is this is no connection string, no account's name and no endpoint"),
        ("AccountName=only", "the connection string is not usable"),
    ],
)
def test_storage_that_cannot_be_read(storage: str, said: str) -> None:
    status, out, err = run(None, "--storage", storage)
    assert (status, out) == (2, "")
    assert err.startswith(f"rollups: {said}")
    assert err.count("\n") == 1


def test_a_wrong_key(connection: str) -> None:
    wrong = ";".join("AccountKey=a2V5" if part.startswith("AccountKey") else part for part in connection.split(";"))
    status, _, err = run(wrong, "job", "nightly-42")
    assert status == 2
    assert "HTTP 403" in err
    assert "Check the key in" in err
    assert "Traceback" not in err


def test_the_local_settings_name_the_account(connection: str, tmp_path: Path) -> None:
    settings = '{"Values": {"AzureWebJobsStorage": "' + connection + '"}}'
    (tmp_path / "local.settings.json").write_text(settings)
    status, out, _ = run(None, "jobs", "--columns", "jobId", "--limit", "1", cwd=tmp_path)
    assert (status, out) == (0, "jobId\nweekly\n")


def test_a_command_that_there_is_none_of(connection: str) -> None:
    status, _, err = run(connection, "jbos")
    assert status == 2
    assert "Did you mean 'jobs'?" in err


def test_a_shell_completes_commands_options_and_job_ids(connection: str) -> None:
    def completed(words: str, storage: str = connection) -> list[str]:
        asked = {"_ROLLUPS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        return start(storage, more=asked).communicate(timeout=120)[0].split()

    assert completed("rollups n") == ["nodes"]
    assert completed("rollups tasks --min") == ["--min-duration"]
    assert completed("rollups job NIGHT") == ["NIGHTly-42"]
    assert completed("rollups tasks fabrikam/W") == ["fabrikam/Weekly"]
    assert completed("rollups job night", AWAY) == []


# --- on a terminal ---------------------------------------------------------------------------------------------------


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, connection: str, *arguments: str) -> None:
        pty = pytest.importorskip("pty")
        self.leader, follower = pty.openpty()
        self.process = start(connection, *arguments, terminal=follower)
        os.close(follower)
        self.shown = ""

    def read_until(self, text: str, times: int = 1) -> None:
        while self.shown.count(text) < times:
            self.shown += os.read(self.leader, 65_536).decode()

    def end(self) -> int:
        try:
            while more := os.read(self.leader, 65_536):
                self.shown += more.decode()
        except OSError:  # Linux says so when the other end is closed
            pass
        os.close(self.leader)
        return self.process.wait(60)


def test_a_terminal_gets_a_table(connection: str) -> None:
    terminal = Terminal(connection, "jobs", "--failed")
    assert terminal.end() == 0
    assert "───" in terminal.shown
    assert "\x1b[32m" in terminal.shown  # colour
    assert "Nightly-42" in terminal.shown


def test_watching_a_job_on_a_terminal_until_it_is_interrupted(connection: str) -> None:
    terminal = Terminal(connection, "watch", "nightly-42", "--interval", "0.1")
    terminal.read_until("Ctrl-C ends this", times=3)
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert "181 succeeded" in terminal.shown
    assert "Traceback" not in terminal.shown


def test_an_interrupt_is_no_traceback(connection: str) -> None:
    process = start(connection, "watch", "nightly-42", "--format", "ndjson", "--interval", "60")
    assert process.stdout is not None
    assert "Nightly-42" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")
