"""The host of one app: settings, worker, triggers and HTTP server, from start to a clean stop.

The rule of the order: settings before the app is imported; everything that can be wrong with the app is said
before anything is received; on the way out receiving ends first, and partitions are released last.
"""

import asyncio
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from azure.core.exceptions import AzureError, ResourceExistsError
from azure.storage.blob.aio import ContainerClient

from devstack.functions_host import host_json, settings
from devstack.functions_host.bindings import read_triggers
from devstack.functions_host.errors import HostError
from devstack.functions_host.event_hub_trigger import CHECKPOINT_CONTAINER, EventHubListener, LoadBalancing
from devstack.functions_host.http_server import HttpServer, describe
from devstack.functions_host.worker import Worker

logger = logging.getLogger(__name__)

_STORAGE = "AzureWebJobsStorage"


@dataclass(frozen=True)
class Options:
    """`grace` is in seconds: how long running invocations may go on after the host was asked to stop."""

    app: Path
    settings: Path
    http_port: int
    instance: str
    load_balancing: LoadBalancing
    grace: float


class Host:
    """One running app. `functions` describes them; `http_port` is the port in use."""

    def __init__(
        self, http: HttpServer, http_port: int, listeners: list[EventHubListener], functions: list[dict[str, Any]]
    ) -> None:
        self.http_port = http_port
        self.functions = functions
        self._http = http
        self._listeners = listeners

    @classmethod
    async def start(cls, options: Options) -> Self:
        """Index the app and begin to serve it. Raises HostError when that cannot be done."""
        app_folder = options.app.resolve()
        settings.load_into_environment(options.settings)
        # As `func start` sets them for the app to see.
        os.environ.setdefault("AZURE_FUNCTIONS_ENVIRONMENT", "Development")
        os.environ.setdefault("AzureWebJobsScriptRoot", str(app_folder))
        configuration = host_json.load(app_folder)
        worker = await Worker.start(app_folder)
        triggers = read_triggers(worker.functions)
        http = HttpServer(
            triggers,
            worker,
            route_prefix=configuration.route_prefix,
            instance=options.instance,
            grace=options.grace,
        )
        listeners: list[EventHubListener] = []
        if triggers.event_hub:
            storage = settings.require_storage(_STORAGE, "the Event Hub trigger (for its checkpoints)")
            await _create_checkpoint_container(storage)
            listeners = [
                EventHubListener(trigger, worker, configuration.event_hubs, storage, options.load_balancing)
                for trigger in triggers.event_hub
            ]
        port = await http.start(options.http_port)
        for trigger in triggers.timer:
            if trigger.run_on_startup:
                http.run_in_background(trigger)
        for listener in listeners:
            listener.start()
        return cls(http, port, listeners, describe(triggers))

    async def stop(self, grace: float) -> bool:
        """Stop cleanly; whether every invocation ended within `grace` seconds."""
        ended = await asyncio.gather(self._http.stop(), *(listener.stop(grace) for listener in self._listeners))
        return all(ended)


async def _create_checkpoint_container(connection_string: str) -> None:
    try:
        async with ContainerClient.from_connection_string(connection_string, CHECKPOINT_CONTAINER) as container:
            await container.create_container()
    except ResourceExistsError:
        return
    except (AzureError, ValueError) as error:
        raise HostError(f"{_STORAGE} cannot be reached, and checkpoints are kept there: {error}") from error
