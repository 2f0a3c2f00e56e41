"""The local Azure as a whole: Azurite, the Event Hubs server, and the Functions host with the app, each a process.

The rule: the parts start in the order in which they need each other and stop in the reverse one, so that no part sees
storage or the hub go away in an orderly stop. A hub and its checkpoints belong together: with a data folder both are
kept, without one both are new.
"""

import json
import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from devstack.azurite import Azurite, AzuriteError
from devstack.child import Child, StackError
from devstack.eventhubs import connection_string

APP = Path(__file__).resolve().parent.parent
CONFIG = Path(__file__).with_name("config.json")
SAMPLE_SETTINGS = APP / "local.settings.sample.json"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the parts listen on 127.0.0.1. The defaults are those of Microsoft's emulators; 0 is a free one."""

    event_hubs: int = 5672
    control: int = 0
    """The Event Hubs server's fault commands."""
    blob: int = 10000
    queue: int = 10001
    table: int = 10002
    http: int = 7071


FREE_PORTS = Ports(0, 0, 0, 0, 0, 0)


class Stack:
    """A context manager: entered, all parts are ready. Raises StackError."""

    def __init__(
        self,
        ports: Ports = FREE_PORTS,
        data: Path | None = None,
        instances: int = 1,
        logs: Path | None = None,
        config: Path = CONFIG,
    ) -> None:
        self._ports = ports
        self._data = data
        self._instances = instances
        self._logs = logs
        self._config = config
        self._folder: Path
        self._parts = ExitStack()
        self._values: dict[str, str] = json.loads(SAMPLE_SETTINGS.read_text())["Values"]
        self.azurite: Azurite
        self.event_hubs: Child
        self.hosts: list[Child] = []
        self.event_hub_connection = ""
        self.control_port = 0
        self.http_url = ""

    @property
    def event_hub_name(self) -> str:
        return self._values["EventHubName"]

    @property
    def consumer_group(self) -> str:
        return self._values["EventHubConsumerGroup"]

    @property
    def storage_connection(self) -> str:
        return self.azurite.connection_string

    def __enter__(self) -> Self:
        try:
            self._folder = self._data or Path(
                self._parts.enter_context(tempfile.TemporaryDirectory(prefix="devstack-"))
            )
            self._start_azurite(self._folder / "azurite" if self._data else None)
            self._start_event_hubs(self._folder / "eventhubs" if self._data else None)
            for _ in range(self._instances):
                self.add_host()
        except BaseException:
            self._parts.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.close()

    def check(self) -> None:
        """Raises StackError where a part has ended by itself."""
        if self.azurite.pid is None:
            raise StackError("Azurite ended by itself")
        for part in (self.event_hubs, *self.hosts):
            part.check()

    def _start_azurite(self, data: Path | None) -> None:
        self.azurite = Azurite(self._ports.blob, self._ports.queue, self._ports.table, data)
        try:
            self._parts.enter_context(self.azurite)
        except AzuriteError as error:
            raise StackError(str(error)) from error

    def _start_event_hubs(self, data: Path | None) -> None:
        arguments = ["--config", str(self._config), "--port", str(self._ports.event_hubs)]
        arguments += ["--control-port", str(self._ports.control)]
        arguments += ["--data", str(data)] if data else []
        self.event_hubs = Child("Event Hubs", "devstack.eventhubs", arguments, log=self._log("eventhubs"))
        ready = self._start(self.event_hubs)
        self.event_hub_connection = connection_string(ready["port"])
        self.control_port = ready["controlPort"]

    def add_host(self, consumer_group: str | None = None) -> Child:
        """Start one more instance of the app, by default in the consumer group of the others: it shares their work."""
        number = len(self.hosts)
        name = f"instance-{number}"
        settings = self._folder / f"{name}.settings.json"
        self._write_settings(settings, consumer_group or self.consumer_group)
        http_port = self._ports.http if number == 0 else 0
        arguments = ["--app", str(APP), "--settings", str(settings), "--http-port", str(http_port), "--instance", name]
        environment = {name: value for name, value in os.environ.items() if name not in self._values}
        host = Child(name, "devstack.functions_host", arguments, environment=environment, log=self._log(name))
        self.hosts.append(host)
        ready = self._start(host)
        if number == 0:
            self.http_url = f"http://127.0.0.1:{ready['httpPort']}"
        return host

    def _start(self, child: Child) -> dict[str, int]:
        self._parts.callback(child.stop)
        return child.start()

    def _log(self, name: str) -> Path | None:
        return self._logs / f"{name}.log" if self._logs else None

    def _write_settings(self, path: Path, consumer_group: str) -> None:
        """The sample's settings with this stack's addresses."""
        values = self._values | {
            "AzureWebJobsStorage": self.storage_connection,
            "RollupStorage": self.storage_connection,
            "EventHubConnection": self.event_hub_connection,
            "EventHubConsumerGroup": consumer_group,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"IsEncrypted": False, "Values": values}, indent=2))
