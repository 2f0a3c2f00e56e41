"""The local Azure as a whole: Azurite, the Event Hubs server, and the Functions host with the app, each a process.

The rule: the parts start in the order in which they need each other and stop in the reverse one, so that no part sees
storage or the hub go away in an orderly stop. A hub and its checkpoints belong together: with a data folder both are
kept, without one both are new.
"""

import http.client
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from devstack.azurite import Azurite, AzuriteError
from devstack.child import Child, StackError
from devstack.eventhubs import connection_string

APP = Path(__file__).resolve().parent.parent
CONFIG = Path(__file__).with_name("config.json")
SAMPLE_SETTINGS = APP / "local.settings.sample.json"
_CONTROL_SECONDS = 10.0


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
        self._hosts_started = 0
        self._http_host: Child | None = None
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

    def add_host(
        self,
        consumer_group: str | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
        app: Path = APP,
    ) -> Child:
        """Start one more instance of the app, by default in the consumer group of the others: it shares their work.

        `app` is another app's folder; `settings` replaces some of the app's. The first instance, and the next after
        that was killed, is at `http_url`.
        """
        name = f"instance-{self._hosts_started}"
        self._hosts_started += 1
        path = self._folder / f"{name}.settings.json"
        self._write_settings(path, {"EventHubConsumerGroup": consumer_group or self.consumer_group, **settings})
        is_http_host = self._http_host not in self.hosts
        http_port = self._ports.http if is_http_host else 0
        arguments = ["--app", str(app), "--settings", str(path), "--http-port", str(http_port), "--instance", name]
        environment = {name: value for name, value in os.environ.items() if name not in self._values}
        host = Child(name, "devstack.functions_host", arguments, environment=environment, log=self._log(name))
        self.hosts.append(host)
        ready = self._start(host)
        if is_http_host:
            self._http_host = host
            self.http_url = f"http://127.0.0.1:{ready['httpPort']}"
        return host

    def kill_host(self, host: Child) -> None:
        """SIGKILL an instance, as a crash, and forget it: the others go on without it."""
        self.hosts.remove(host)
        host.kill()
        host.stop()  # ends its entry in the system's process table

    def hub_status(self) -> dict[str, Any]:
        """What the Event Hubs server says of itself."""
        return self._ask_event_hubs("GET", None)

    def inject(self, command: str, **fields: object) -> int:
        """Ask the Event Hubs server for a fault; how many connections or links it touched."""
        affected: int = self._ask_event_hubs("POST", {"command": command, **fields})["affected"]
        return affected

    def last_sequence_numbers(self) -> dict[str, int]:
        """Of the hub's partitions; -1 where one is empty."""
        partitions = self.hub_status()["hubs"][self.event_hub_name]
        return {partition: numbers["lastSequenceNumber"] for partition, numbers in partitions.items()}

    def _ask_event_hubs(self, method: str, document: dict[str, object] | None) -> dict[str, Any]:
        with closing(
            http.client.HTTPConnection("127.0.0.1", self.control_port, timeout=_CONTROL_SECONDS)
        ) as connection:
            connection.request(method, "/", None if document is None else json.dumps(document))
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        if response.status != http.HTTPStatus.OK:
            raise StackError(f"Event Hubs refused {document}: {answer['error']}")
        return answer

    def _start(self, child: Child) -> dict[str, int]:
        self._parts.callback(child.stop)
        return child.start()

    def _log(self, name: str) -> Path | None:
        return self._logs / f"{name}.log" if self._logs else None

    def _write_settings(self, path: Path, own: Mapping[str, str]) -> None:
        """The sample's settings with this stack's addresses, and what is the instance's own."""
        values = self._values | {
            "AzureWebJobsStorage": self.storage_connection,
            "RollupStorage": self.storage_connection,
            "EventHubConnection": self.event_hub_connection,
            **own,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"IsEncrypted": False, "Values": values}, indent=2))
