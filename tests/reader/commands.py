"""`rollups` as the tests call it: in this process, or as one of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from typer.testing import CliRunner, Result

from reader.cli import app

ROOT = Path(__file__).resolve().parent.parent.parent


def rollups(connection: str, *arguments: str, width: int = 120) -> Result:
    """Run in this process, with this account named by the environment, on a terminal of this width."""
    environment = {"RollupStorage": connection, "COLUMNS": str(width), "NO_COLOR": "1"}
    result = CliRunner(env=environment).invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def lines(connection: str, *arguments: str, width: int = 120) -> list[str]:
    """What it writes, line by line. Raises AssertionError where it does not end with 0."""
    result = rollups(connection, *arguments, width=width)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def start(
    connection: str | None,
    *arguments: str,
    cwd: Path = ROOT,
    terminal: int | None = None,
    more: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a process of its own, on pipes or on a terminal; `more` is for its environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RollupStorage", "Azure"))}
    if connection is not None:
        environment["RollupStorage"] = connection
    return subprocess.Popen(
        [sys.executable, "-m", "reader", *arguments],
        stdin=terminal,
        stdout=subprocess.PIPE if terminal is None else terminal,
        stderr=subprocess.PIPE if terminal is None else terminal,
        text=True,
        cwd=cwd,
        env=environment | {"COLUMNS": "100", "TERM": "xterm", "PYTHONPATH": str(ROOT)} | dict(more or {}),
    )
