"""What the host's tests are built from: the host as a process, the Event Hubs server as one, and the Conductor.

The Conductor is the other end of the sample app's questions: it hears of every invocation and decides how that
goes on, so that a test waits for what it wants to see and never for time to pass.
"""

import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from azure.eventhub import EventData, EventHubProducerClient

from devstack.eventhubs import connection_string

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLE_APP = Path(__file__).resolve().parent / "sample_app"
# Long, because only a broken host uses it up.
PATIENCE = 60.0

Record = dict[str, Any]


class Conductor:
    """Listens on a port of 127.0.0.1 for the sample app's questions."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._changed = threading.Condition()
        self._answer: Callable[[Record], str | None] = lambda _: "ok"
        conductor = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                line = self.rfile.readline()
                if line:
                    self.wfile.write(conductor.decide(json.loads(line)).encode() + b"\n")

        socketserver.ThreadingTCPServer.daemon_threads = True
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.answer(lambda _: "ok")
        self._server.shutdown()
        self._server.server_close()

    def answer(self, decide: Callable[[Record], str | None]) -> None:
        """From now on `decide` answers every question, also those that are held; None holds one."""
        with self._changed:
            self._answer = decide
            self._changed.notify_all()

    def decide(self, record: Record) -> str:
        with self._changed:
            self._records.append(record)
            self._changed.notify_all()
            while True:
                answer = self._answer(record)
                if answer is not None:
                    record["answer"] = answer
                    self._changed.notify_all()
                    return answer
                self._changed.wait()

    def records(self, function: str) -> list[Record]:
        with self._changed:
            return [record for record in self._records if record["function"] == function]

    def bodies(self, function: str, answer: str = "ok") -> list[str]:
        """Of every event whose invocation got `answer`, in that order."""
        answered = [record for record in self.records(function) if record.get("answer") == answer]
        return [body for record in answered for body in record["bodies"]]

    def wait_for(self, what: Callable[[], bool]) -> None:
        """Wait until `what` is true; it is asked anew after every question and answer."""
        with self._changed:
            assert self._changed.wait_for(what, PATIENCE), f"never happened; heard: {self._records}"


@dataclass
class Process:
    """A child process of which the first line on stdout is JSON; what it writes to stderr is kept."""

    popen: subprocess.Popen[str]
    errors: list[str] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _ended: bool = False

    @classmethod
    def start(cls, arguments: list[str], environment: Mapping[str, str] | None = None) -> Self:
        popen = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=REPOSITORY,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        process = cls(popen)
        assert popen.stderr is not None
        threading.Thread(target=process._follow, args=(popen.stderr,), daemon=True).start()
        return process

    def ready(self) -> Any:
        """The line of JSON, parsed."""
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        assert line, "ended before it was ready:\n" + "".join(self.errors)
        return json.loads(line)

    def wait_for_log(self, text: str) -> None:
        with self._changed:
            found = self._changed.wait_for(lambda: self._ended or any(text in line for line in self.errors), PATIENCE)
            assert found, f"{text!r} is not in the log:\n" + "".join(self.errors)
            assert any(text in line for line in self.errors), "".join(self.errors)

    def log(self) -> str:
        with self._changed:
            return "".join(self.errors)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal, wait for the end, and return the exit status."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        try:
            status = self.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError("did not end:\n" + self.log()) from None
        with self._changed:
            self._changed.wait_for(lambda: self._ended, PATIENCE)
        return status

    def _follow(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    self.errors.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Stage:
    """Everything one test needs: an Event Hubs server with its own hubs, settings, and the hosts it starts."""

    def __init__(self, folder: Path, storage: str, partitions: int = 1) -> None:
        self._folder = folder
        self._processes: list[Process] = []
        self._clients: dict[str, EventHubProducerClient] = {}
        self.conductor = Conductor()
        # Checkpoints outlive a test in the shared storage account, so no two tests may use the same hub.
        self.hubs = {kind: f"{kind}-{folder.name}" for kind in ("held", "limited", "plain")}
        entities = [
            {"Name": hub, "PartitionCount": str(partitions), "ConsumerGroups": [{"Name": "cg1"}]}
            for hub in self.hubs.values()
        ]
        namespace = {"Type": "EventHub", "Name": "emulatorns1", "Entities": entities}
        config = folder / "eventhubs.json"
        config.write_text(json.dumps({"UserConfig": {"NamespaceConfig": [namespace]}}), encoding="utf-8")
        server = self._run(["devstack.eventhubs", "--config", str(config), "--port", "0", "--control-port", "0"])
        self.event_hubs = connection_string(server.ready()["port"])
        self.settings = {
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "AzureWebJobsStorage": storage,
            "EVENTHUB": self.event_hubs,
            "TEST_PORT": str(self.conductor.port),
            **{f"{kind.upper()}_HUB": hub for kind, hub in self.hubs.items()},
        }

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        for process in self._processes:
            process.end(signal.SIGKILL)
        self.conductor.close()

    def host(
        self,
        *arguments: str,
        app: Path = SAMPLE_APP,
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Start a host; `ready()` of what is returned waits for it."""
        path = self._folder / f"settings-{len(self._processes)}.json"
        values = self.settings if settings is None else settings
        path.write_text(json.dumps({"IsEncrypted": False, "Values": dict(values)}), encoding="utf-8")
        command = ["devstack.functions_host", "--app", str(app), "--settings", str(path), "--http-port", "0"]
        return self._run([*command, *arguments], environment)

    def send(self, kind: str, bodies: list[str], partition: int = 0, key: str | None = None) -> None:
        """Publish one event a body, with the property `number`, to a partition or under a partition key."""
        if kind not in self._clients:
            self._clients[kind] = EventHubProducerClient.from_connection_string(
                self.event_hubs, eventhub_name=self.hubs[kind]
            )
        client = self._clients[kind]
        batch = client.create_batch(partition_id=None if key else str(partition), partition_key=key)
        for number, body in enumerate(bodies):
            event = EventData(body.encode("latin-1"))
            event.properties = {"number": number}
            batch.add(event)
        client.send_batch(batch)

    def _run(self, arguments: list[str], environment: Mapping[str, str] | None = None) -> Process:
        process = Process.start(arguments, environment)
        self._processes.append(process)
        return process


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


def request(
    port: int, path: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """An HTTP request to a host; every status is an answer."""
    message = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data=body, headers=dict(headers or {}), method=method
    )
    try:
        with urllib.request.urlopen(message, timeout=PATIENCE) as response:  # noqa: S310
            return Answer(response.status, response.getheaders(), response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, list(error.headers.items()), error.read())
