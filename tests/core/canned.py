"""An HTTP server that notes what it is asked and answers as told: how storage answers on its bad days."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

KEY = "a2V5"


class Request(NamedTuple):
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Answer(NamedTuple):
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}


@dataclass
class Canned:
    """What was asked, and what is answered: the answers in turn, the last one again and again; None hangs up."""

    answers: list[Answer | None]
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    @property
    def connection(self) -> str:
        """The connection string of an account `a` at this server."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey={KEY};"
            f"TableEndpoint=http://127.0.0.1:{self.port}/a;BlobEndpoint=http://127.0.0.1:{self.port}/b;"
        )

    def next_answer(self) -> Answer | None:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def canned(*answers: Answer | None) -> Iterator[Canned]:
    """A running server on a free port."""
    script = Canned(list(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            script.requests.append(Request(self.command, self.path, dict(self.headers), body))
            answer = script.next_answer()
            if answer is None:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if answer.status != 204:
                self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = handle_any  # noqa: N815 - the standard library's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    script.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
