"""`rollups serve` as a process: what a user starts, reaches and stops."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from devstack.azurite import account_connection_string
from reader.accounts import Account
from reader.api import Source
from reader.serve import Server, is_loopback


@dataclass
class Serving:
    """A running command, and the first line that it printed."""

    process: subprocess.Popen[str]
    address: str

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 0


def command(connection: str, *options: str) -> Sequence[str]:
    return [sys.executable, "-m", "reader", "serve", "--storage", connection, *options]


@contextmanager
def serving(connection: str, *options: str) -> Iterator[Serving]:
    """The command at a free port."""
    process = subprocess.Popen(
        command(connection, "--port", "0", *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"http://\S+", line)
        assert address, process.communicate()
        yield Serving(process, address[0])
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def served(connection: str) -> Iterator[Serving]:
    with serving(connection) as running:
        yield running


def ask(
    connection: http.client.HTTPConnection, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
    response = connection.getresponse()
    return response.status, response.headers, response.read()


@contextmanager
def connected(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def test_it_says_where_the_dashboard_is(served: Serving) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/api/dashboard", served.address)
    with connected(served.port) as connection:
        status, headers, _ = ask(connection, "/")
        assert (status, headers["Location"]) == (302, "/api/dashboard")
        assert ask(connection, "/api/dashboard")[0] in (200, 503)  # 503: not built


def test_one_connection_serves_many_requests(served: Serving) -> None:
    with connected(served.port) as connection:
        status, headers, body = ask(connection, "/api/jobs?limit=1")
        first = connection.sock
        assert (status, headers["Server"]) == (200, "rollups")
        assert json.loads(body)["total"] == 4
        assert ask(connection, "/api/jobs/contoso/nope")[0] == 404
        assert ask(connection, "/api/jobs", if_none_match="*")[0::2] == (304, b"")
        status, headers, body = ask(connection, "/api/jobs", "HEAD")
        assert (status, body) == (200, b"")
        assert int(headers["Content-Length"]) > 1000
        assert ask(connection, "/api/jobs/contoso/%3Cb%3E'=1+1'%3C%2Fb%3E")[0] == 200
        assert connection.sock is first


@pytest.mark.parametrize("method", ["POST", "DELETE", "QUERY"])
def test_a_request_that_would_change_something_is_refused(served: Serving, method: str) -> None:
    with connected(served.port) as connection:
        status, headers, _ = ask(connection, "/api/jobs", method, b"GET /api/jobs HTTP/1.1\r\n\r\n")
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
        # What was its body is not taken for a request.
        assert headers["Connection"] == "close"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:8642", "[::1]:80", "[::1]"])
def test_this_machine_may_be_called_by_its_names(served: Serving, host: str) -> None:
    with connected(served.port) as connection:
        assert ask(connection, "/api/health", host=host)[0] == 200


@pytest.mark.parametrize("host", ["attacker.example", "attacker.example:80", "localhost.attacker.example", "", "::2"])
@pytest.mark.parametrize("path", ["/", "/api/jobs", "/api/dashboard"])
def test_a_name_that_was_pointed_here_is_refused(served: Serving, path: str, host: str) -> None:
    """DNS rebinding: a page of another site asks this server as if it were its own."""
    with connected(served.port) as connection:
        status, _, body = ask(connection, path, host=host)
    assert status == 403
    assert json.loads(body)["error"]["code"] == "forbidden"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly(connection: str, number: signal.Signals) -> None:
    with serving(connection) as running, connected(running.port) as client:
        assert ask(client, "/api/health")[0] == 200  # and the connection stays open
        running.process.send_signal(number)
        _, errors = running.process.communicate(timeout=60)
        assert (running.process.returncode, errors) == (0, "")


def test_who_listens_for_everybody_is_told(connection: str) -> None:
    with serving(connection, "--host", "0.0.0.0") as running, connected(running.port) as client:  # noqa: S104
        assert ask(client, "/api/health", host="my-machine:80")[0] == 200
        running.process.send_signal(signal.SIGINT)
        assert "without a key" in running.process.communicate(timeout=60)[1]


def failed(connection: str, *options: str) -> str:
    """What the command says as it gives up."""
    ended = subprocess.run(command(connection, *options), capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_a_port_that_is_taken_is_said(connection: str, served: Serving) -> None:
    said = failed(connection, "--port", str(served.port))
    assert f"cannot listen on port {served.port} of 127.0.0.1" in said
    assert "--port" in said


def test_an_account_that_does_not_answer_is_said_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert "reading JobRollups: no answer" in failed(account_connection_string(port, port, port), "--port", "0")


def test_open_opens_the_page(connection: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    browser = tmp_path_factory.mktemp("browser") / "browser"
    opened = browser.with_name("opened")
    browser.write_text(f'#!/bin/sh\necho "$1" > "{opened}.part" && mv "{opened}.part" "{opened}"\n')
    browser.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "BROWSER", str(browser))
        with serving(connection, "--open") as running:
            # The page is opened before the first request is answered.
            with connected(running.port) as client:
                assert ask(client, "/api/health")[0] == 200
            assert opened.read_text().strip() == running.address


@pytest.mark.parametrize(("host", "loopback"), [("127.0.0.5", True), ("::1", True), ("0.0.0.0", False), ("me", False)])  # noqa: S104
def test_what_is_this_machine_only(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_ipv6(filled: Account) -> None:
    with Server(Source(filled), "::1", 0) as server:
        assert re.fullmatch(r"http://\[::1\]:\d+", server.url)
