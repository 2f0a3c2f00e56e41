"""The API and the dashboard over HTTP, from this machine and for it: the standard library's server around `api`.

The rule: it answers whoever reaches it, without a key. So it listens on this machine only unless it is told otherwise,
and a page of another site cannot read it through a name of its own that it points here (DNS rebinding): then the Host
header is that name, and the request is refused.
"""

import ipaddress
import logging
import socket
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from processors.errors import SettingsError
from reader.api import DASHBOARD, Request, Response, Source, error_response, respond

_IDLE_SECONDS = 75.0
"""A connection may wait so long for its next request."""
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

logger = logging.getLogger(__name__)


class Server(ThreadingHTTPServer):
    """Serves one account. `url` is where; `shutdown` from another thread ends `serve_forever`."""

    daemon_threads = True

    def __init__(self, source: Source, host: str, port: int) -> None:
        """Listen. Raises SettingsError where that cannot be done."""
        self.source = source
        self._names = {*_LOOPBACK_NAMES, host} if is_loopback(host) else None
        try:
            ((self.address_family, *_, address), *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            super().__init__((str(address[0]), port), _Handler)
        except OSError as error:
            raise SettingsError(
                f"cannot listen on port {port} of {host}: {error.strerror}; choose others by --port and --host"
            ) from error
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.server_port}"

    def is_meant(self, host_header: str) -> bool:
        """Whether a request with this Host header may be answered."""
        return self._names is None or _host_name(host_header) in self._names

    def server_bind(self) -> None:
        """Without the name look-up of the base class, which may take seconds."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if self.allow_reuse_address:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no error."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True  # else each answer on a kept connection waits 40 ms for the one before it

    def version_string(self) -> str:
        """The Server header: no versions."""
        return "rollups"

    def _handle(self) -> None:
        if "transfer-encoding" in self.headers or self.headers.get("content-length", "0") != "0":
            self.close_connection = True  # the body is not read, and what follows it cannot be found
        self._send(self._response())

    def __getattr__(self, name: str) -> Any:
        """The base class looks for a `do_` and the method: they are all answered in one place."""
        if name.startswith("do_"):
            return self._handle
        raise AttributeError(name)

    def _response(self) -> Response:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers)
        if not self.server.is_meant(headers.get("host", "")):
            message = f"this is {self.server.url}, for this machine only; open it under that address"
            return error_response(request, HTTPStatus.FORBIDDEN, "forbidden", message)
        if self.path == "/" and self.command in ("GET", "HEAD"):
            return Response(HTTPStatus.FOUND, {"Location": DASHBOARD}, b"")
        return respond(request, self.server.source)

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(response.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """One line a request is for who debugs this."""
        logger.debug(format, *args)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is for this machine only."""
    if host in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_name(header: str) -> str:
    """The name in a Host header, without its port."""
    name, _, port = header.rpartition(":")
    if not name or not port.isdigit():
        name = header
    return name.strip("[]").lower()
