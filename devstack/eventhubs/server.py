"""The server: sockets, and the life of everything behind them. All of the package's I/O on sockets is here and in
`control.py`.

Rule: it listens on 127.0.0.1 only; and a client that does not take what is written to it is not read from either, so
that answers cannot pile up.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .config import HubConfig
from .connection import Connection
from .control import Control
from .faults import parse_command
from .folder import DataFolder
from .hub import Namespace, now_ms
from .service import MAX_FRAME_SIZE, Service

HOST = "127.0.0.1"
MAX_CONNECTIONS = 5000  # as a namespace of the service
_WRITE_AHEAD = 4 << 20  # bytes written to a client before it is waited for


def connection_string(port: int) -> str:
    """What to give the SDK (`from_connection_string`) to reach a server on this machine's `port`."""
    return (
        f"Endpoint=sb://localhost:{port};SharedAccessKeyName=RootManageSharedAccessKey;"
        "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
    )


class EventHubsServer:
    """An Event Hubs namespace on this machine. Everything in it belongs to the event loop that calls `start`.

    Args:
        hubs: the event hubs; their names differ.
        port: AMQP port; 0 takes a free one, which `port` tells after `start`.
        control_port: HTTP control port, likewise; None for no control port.
        data: folder to keep events in; None keeps them in memory only.
        retention_bytes: let go of a partition's oldest events beyond this; None keeps all.
        max_frame_size: bytes; what clients are told.
        clock: ms since 1970, for enqueued times.
    """

    def __init__(
        self,
        hubs: Sequence[HubConfig],
        *,
        port: int = 0,
        control_port: int | None = None,
        data: Path | None = None,
        retention_bytes: int | None = None,
        max_frame_size: int = MAX_FRAME_SIZE,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self.port = port
        self.control_port = control_port
        self._hubs = tuple(hubs)
        self._data = data
        self._retention_bytes = retention_bytes
        self._max_frame_size = max_frame_size
        self._clock = clock
        self._connections: set[Connection] = set()
        self._listeners: list[asyncio.Server] = []
        self._folder: DataFolder | None = None
        self._namespace: Namespace | None = None
        self._control: Control | None = None

    async def start(self) -> None:
        """Load the data and listen.

        Raises:
            ConfigError: two hubs of one name.
            DataError: the data folder is in use, or not this server's.
            OSError: a port is taken, or the data folder cannot be used.
        """
        try:
            if self._data is not None:
                self._folder = DataFolder(self._data)
            self._namespace = Namespace(
                self._hubs, folder=self._folder, retention_bytes=self._retention_bytes, clock=self._clock
            )
            service = Service(self._namespace, max_frame_size=self._max_frame_size)
            self._control = Control(service, self._connections)
            loop = asyncio.get_running_loop()
            amqp = await loop.create_server(lambda: _Socket(service, self._connections), HOST, self.port)
            self._listeners.append(amqp)
            self.port = amqp.sockets[0].getsockname()[1]
            if self.control_port is not None:
                http = await asyncio.start_server(self._control.serve, HOST, self.control_port)
                self._listeners.append(http)
                self.control_port = http.sockets[0].getsockname()[1]
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Break every connection, hand everything to the disk, and let go of ports and folder."""
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            connection.abort()
        for listener in self._listeners:
            listener.abort_clients()
            await listener.wait_closed()
        self._listeners.clear()
        if self._namespace is not None:
            self._namespace.close()
            self._namespace = None
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def command(self, document: Mapping[str, object]) -> int:
        """Carry out one control command (see `faults.py`); how many connections or links it touched.

        Raises:
            CommandError: the command is unknown or malformed.
        """
        assert self._control is not None, "the server was not started"
        return self._control.run(parse_command(dict(document)))

    def status(self) -> dict[str, object]:
        """What the control port tells (see `control.py`)."""
        assert self._control is not None, "the server was not started"
        return self._control.status()


class _Socket(asyncio.Protocol):
    """Ties a socket to a `Connection`, as its `Wire`."""

    def __init__(self, service: Service, connections: set[Connection]) -> None:
        self._service = service
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._connection: Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if len(self._connections) >= MAX_CONNECTIONS:
            transport.abort()
            return
        transport.set_write_buffer_limits(high=_WRITE_AHEAD)
        self._connection = Connection(self, self._service)
        self._connections.add(self._connection)

    def data_received(self, data: bytes) -> None:
        if self._connection is not None:
            self._connection.receive(data)

    def pause_writing(self) -> None:
        if self._connection is not None and self._transport is not None:
            self._transport.pause_reading()
            self._connection.set_writable(is_writable=False)

    def resume_writing(self) -> None:
        if self._connection is not None and self._transport is not None:
            self._transport.resume_reading()
            self._connection.set_writable(is_writable=True)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # a connection that breaks is nothing to report
        if self._connection is not None:
            self._connections.discard(self._connection)
            self._connection.on_lost()

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback)

    def later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return self._loop.call_later(seconds, callback)
