"""One of the stack's own processes: a module of this package, run by this Python.

The rule: a child says on its standard output, in one line of JSON, that it is ready and where it listens; before that
line it is not there, and if it ends first, its own words are the error. It is stopped by its process id.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any


class StackError(Exception):
    """The local Azure cannot be started or did not stay up; the text says which part and why."""


class Child:
    """A process of `python -m MODULE ARGUMENTS`. Its standard error goes to `log`, or to ours where that is None."""

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
        start_timeout: float = 60.0,
        stop_grace: float = 30.0,
    ) -> None:
        self.name = name
        self._command = [sys.executable, "-m", module, *arguments]
        self._environment = environment
        self._log = log
        self._start_timeout = start_timeout
        self._stop_grace = stop_grace
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    def resident_bytes(self) -> int:
        """Its memory in use (VmRSS). Raises StackError where it does not run, or the system has no /proc."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
            (kibibytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
        except (OSError, ValueError) as error:
            raise StackError(f"{self.name}: its memory cannot be measured") from error
        return int(kibibytes) * 1024

    def start(self) -> dict[str, Any]:
        """Start it; what its ready line says. Raises StackError."""
        error_output = self._open_log()
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=error_output,
                text=True,
                env=None if self._environment is None else dict(self._environment),
                cwd=Path(__file__).parent.parent,
                # Ctrl-C in a terminal reaches the whole foreground group; the stack stops its parts in order.
                start_new_session=True,
            )
        finally:
            if error_output is not None:
                error_output.close()
        # Once it says that it is ready, it has no more to say there.
        timer = threading.Timer(self._start_timeout, self.kill)
        timer.start()
        try:
            assert self._process.stdout is not None
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        try:
            ready: dict[str, Any] = json.loads(line)
        except ValueError:
            self.stop()
            raise StackError(f"{self.name} did not start{self._last_words()}") from None
        return ready

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where it does not end within its grace. Harmless when not running."""
        if self._process is None:
            return
        if self.pid is not None:
            os.kill(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(self._stop_grace)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        if self._process is not None:
            self._process.kill()

    def freeze(self) -> None:
        """SIGSTOP, as a machine that hangs: it does nothing, and what it waits for is not told. Until `thaw`."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on where it was, and does not know how late it is. Harmless when not frozen or running."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGCONT)

    def check(self) -> None:
        """Raises StackError where the process has ended by itself."""
        if self._process is not None and (status := self._process.poll()) is not None:
            raise StackError(f"{self.name} ended with status {status}{self._last_words()}")

    def _open_log(self) -> IO[bytes] | None:
        if self._log is None:
            return None
        self._log.parent.mkdir(parents=True, exist_ok=True)
        return self._log.open("ab")

    def _last_words(self) -> str:
        if self._log is None or not self._log.exists():
            return "; its log is above"
        lines = self._log.read_text(errors="replace").strip().splitlines()[-20:]
        return ":\n" + "\n".join(f"  {line}" for line in lines)
