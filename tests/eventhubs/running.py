"""A server in a thread of its own, so that tests can use the blocking SDK against it."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from devstack.eventhubs import EventHubsServer, HubConfig, connection_string

HUB = "eh1"
HUBS = (HubConfig(HUB, 4, ("cg1", "cg2")), HubConfig("other", 1))
PATIENCE = 30.0  # seconds until a test gives up on a condition


class RunningServer:
    """Starts with the `with` block or `start`, and stops at its end."""

    def __init__(
        self,
        hubs: tuple[HubConfig, ...] = HUBS,
        *,
        data: Path | None = None,
        retention_bytes: int | None = None,
        **options: Any,
    ) -> None:
        self.server = EventHubsServer(hubs, control_port=0, data=data, retention_bytes=retention_bytes, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.call(self.server.start())
        except BaseException:
            self._end_loop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.call(self.server.stop())
        self._end_loop()

    @property
    def connection_string(self) -> str:
        return connection_string(self.server.port)

    def call[T](self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    def command(self, command: str, **values: object) -> int:
        """Carry out a control command."""

        async def run() -> int:
            return self.server.command({"command": command, **values})

        return self.call(run())

    def status(self) -> dict[str, Any]:
        """What the control port would tell."""

        async def read() -> dict[str, object]:
            return self.server.status()

        return self.call(read())

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until the status fulfils a condition."""

        async def watch() -> None:
            async with asyncio.timeout(PATIENCE):
                while not condition(self.server.status()):  # noqa: ASYNC110 - the status has no event to wait for
                    await asyncio.sleep(0.01)

        self.call(watch())

    def until_consumers(self, number: int) -> None:
        """Wait until so many consumers are attached."""
        self.until(lambda status: status["consumers"] == number)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()
