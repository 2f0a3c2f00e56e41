"""Commands and the control port; what the faults do to the SDK is in test_sdk_faults.py."""

import asyncio
import json
from dataclasses import fields
from typing import Any

import pytest

from devstack.eventhubs import EventHubsServer, HubConfig
from devstack.eventhubs import faults as module
from devstack.eventhubs.errors import CommandError
from devstack.eventhubs.faults import COMMANDS, Delay, Detach, Faults, LostAck, Moment, Role, ServerBusy, parse_command

from .running import PATIENCE


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_every_key_of_it_is_documented(name: str) -> None:
    command = COMMANDS[name]
    assert f"    {name} " in (module.__doc__ or "")
    assert (command.__doc__ or "").startswith(f"`{name}`: ")
    common = {"match", "times", "role", "description", "on"}
    assert all(f"`{item.name}`" in (command.__doc__ or "") for item in fields(command) if item.name not in common)


def test_keys_and_their_defaults() -> None:
    assert parse_command({"command": "detach"}) == Detach("", None, "amqp:link:detach-forced")
    assert parse_command({"command": "detach", "role": "producer", "condition": "c", "description": ""}) == Detach(
        role=Role.PRODUCER, condition="c", description=""
    )
    assert parse_command({"command": "server-busy", "on": "attach", "times": 2}) == ServerBusy(Moment.ATTACH, 2)
    assert parse_command({"command": "delay", "seconds": 1, "match": "eh1"}) == Delay(1.0, match="eh1")


@pytest.mark.parametrize(
    "document",
    [
        None, [], {}, {"command": None}, {"command": ["drop"]}, {"command": "delay"},
        {"command": "drop", "match": ""}, {"command": "rewind", "events": True}, {"command": "rewind", "events": 0},
        {"command": "lost-ack", "times": "1"}, {"command": "server-busy", "on": "monday"},
        {"command": "detach", "role": "nobody"}, {"command": "detach", "role": {}},
        {"command": "detach", "condition": "ü"}, {"command": "stall", "match": 1},
        {"command": "delay", "seconds": float("nan")},
    ],
)  # fmt: skip
def test_an_unusable_command_is_an_error(document: object) -> None:
    with pytest.raises(CommandError):
        parse_command(document)


def test_armed_faults_happen_in_order_to_those_they_concern() -> None:
    faults = Faults()
    busy, lost, delay = ServerBusy(times=2, match="eh1"), LostAck(), Delay(1.0, match="other")
    attach = ServerBusy(Moment.ATTACH, role=Role.CONSUMER)
    for fault in (busy, lost, delay, attach):
        faults.arm(fault)
    assert faults.armed == 5
    assert faults.on_attach("eh1", Role.PRODUCER) is None
    assert faults.on_attach("eh1", Role.CONSUMER) is attach
    assert [faults.on_send("eh1") for _ in range(4)] == [busy, busy, lost, None]
    assert faults.on_send("other/Partitions/1") is delay
    assert faults.armed == 0
    assert faults.happened == {"server-busy on send": 2, "server-busy on attach": 1, "lost-ack": 1, "delay": 1}


async def _ask(port: int, request: bytes) -> tuple[int, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_every_request_is_answered() -> None:
    requests = {
        b"GET / HTTP/1.1\r\n\r\n": 200,
        b"GET /other HTTP/1.1\r\n\r\n": 404,
        b"PUT / HTTP/1.1\r\n\r\n": 405,
        b"nonsense\r\n\r\n": 400,
        b"POST / HTTP/1.1\r\n\r\n": 400,
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n": 400,
        b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n": 400,
        b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}": 400,
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n\xff\xff": 400,
        b"GET / HTTP/1.1\r\n" + b"x" * 70_000 + b"\r\n\r\n": 400,
    }

    async def run() -> None:
        server = EventHubsServer([HubConfig("eh1", 1)], control_port=0)
        await server.start()
        assert server.control_port is not None
        for request, expected in requests.items():
            status, answer = await _ask(server.control_port, request)
            assert status == expected, request[:60]
            assert ("error" in answer) == (status != 200)
        _, silent = await asyncio.open_connection("127.0.0.1", server.control_port)
        _, silent_too = await asyncio.open_connection("127.0.0.1", server.port)
        await server.stop()  # does not wait for clients
        silent.close()
        silent_too.close()

    asyncio.run(run())
