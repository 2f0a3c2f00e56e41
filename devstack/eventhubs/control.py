"""The control port: health, statistics and faults over a small HTTP, and carrying commands out.

    GET /     200, the status: {"status": "ok", "connections", "consumers", "producers", "armedFaults", "stalled",
              "statistics": {…}, "hubs": {hub: {partition: {"firstSequenceNumber", "lastSequenceNumber"}}}}
    POST /    one command (`faults.py` lists them): 200, {"affected": connections or links that it touched}

Rule: whatever is asked gets an HTTP answer, an unusable request 4xx with {"error": what is wrong}; a client that
dawdles is cut off.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import assert_never

from .connection import Connection
from .errors import CommandError
from .faults import (
    Clear,
    Command,
    Delay,
    Detach,
    Drop,
    LostAck,
    Resume,
    Rewind,
    Role,
    ServerBusy,
    Stall,
    parse_command,
)
from .links import ConsumerLink, Link
from .service import Service

MAX_BODY = 64 * 1024  # bytes
REQUEST_SECONDS = 10.0


class Control:
    """Carries commands out on a server's connections."""

    def __init__(self, service: Service, connections: Iterable[Connection]) -> None:
        self._service = service
        self._connections = connections

    def run(self, command: Command) -> int:
        """Carry a command out; how many connections or links it touched."""
        faults = self._service.faults
        match command:
            case Drop():
                connections = list(self._connections)
                for connection in connections:
                    connection.abort()
                return len(connections)
            case Detach():
                links = [link for link in self._links(command.match) if command.role in (None, link.role)]
                for link in links:
                    link.session.detach(link, command.condition, command.description)
                return len(links)
            case Rewind():
                consumers = [link for link in self._links(command.match) if isinstance(link, ConsumerLink)]
                for consumer in consumers:
                    consumer.rewind(command.events)
                return len(consumers)
            case ServerBusy() | LostAck() | Delay():
                faults.arm(command)
            case Stall():
                faults.stall(command.match)
            case Resume() | Clear():
                faults.resume() if isinstance(command, Resume) else faults.clear()
                for link in self._links():
                    link.wake()
            case _:
                assert_never(command)
        return 0

    def status(self) -> dict[str, object]:
        """What GET answers with."""
        roles = [link.role for link in self._links()]
        statistics = self._service.statistics
        return {
            "status": "ok",
            "connections": len(list(self._connections)),
            "consumers": roles.count(Role.CONSUMER),
            "producers": roles.count(Role.PRODUCER),
            "armedFaults": self._service.faults.armed,
            "stalled": self._service.faults.is_any_stalled,
            "statistics": {
                "connections": statistics.connections,
                "connectionsFailed": statistics.connections_failed,
                "messagesReceived": statistics.messages_received,
                "eventsStored": statistics.events_stored,
                "eventsDelivered": statistics.events_delivered,
                "faultsHappened": self._service.faults.happened,
            },
            "hubs": {
                hub.name: {
                    partition.id: {
                        "firstSequenceNumber": partition.log.bounds.first_sequence_number,
                        "lastSequenceNumber": partition.log.bounds.last_sequence_number,
                    }
                    for partition in hub.partitions.values()
                }
                for hub in self._service.namespace.hubs.values()
            },
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one HTTP request and close; a handler for `asyncio.start_server`."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                try:
                    status, answer = await self._answer(reader)
                except CommandError as error:
                    status, answer = HTTPStatus.BAD_REQUEST, {"error": str(error)}
                writer.write(_response(status, answer))
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            pass  # nobody is there to be answered
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[HTTPStatus, dict[str, object]]:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.LimitOverrunError as error:
            raise CommandError("the head of the request is too long") from error
        request, *lines = head.split("\r\n")
        match request.split():
            case ["GET", "/", _]:
                return HTTPStatus.OK, self.status()
            case ["POST", "/", _]:
                body = await reader.readexactly(_content_length(lines))
                return HTTPStatus.OK, {"affected": self.run(parse_command(_json(body)))}
            case ["GET" | "POST", _, _]:
                return HTTPStatus.NOT_FOUND, {"error": "there is only /"}
            case [_, _, _]:
                return HTTPStatus.METHOD_NOT_ALLOWED, {"error": "GET and POST only"}
        raise CommandError(f"not an HTTP request: {request[:100]!r}")

    def _links(self, match: str = "") -> Iterator[Link]:
        """The links to hubs whose address contains `match`; a list, as commands end links."""
        links = [link for connection in self._connections for link in connection.links()]
        return (link for link in links if link.role is not None and match in link.address)


def _content_length(lines: list[str]) -> int:
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-length":
            value = value.strip()
            if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value) <= MAX_BODY):
                raise CommandError(f"Content-Length must be a number up to {MAX_BODY}, got {value[:100]!r}")
            return int(value)
    raise CommandError("a POST needs a Content-Length")


def _json(body: bytes) -> object:
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"the body is not JSON: {error}") from error
    return document


def _response(status: HTTPStatus, answer: dict[str, object]) -> bytes:
    body = json.dumps(answer).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
