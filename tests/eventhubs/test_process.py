"""The server as a process: its one line of JSON, its ends, its errors, and what survives a kill."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

from devstack.eventhubs import connection_string

from .running import PATIENCE
from .sdk import QUICK, receive

CONFIG = {
    "UserConfig": {
        "NamespaceConfig": [
            {
                "Type": "EventHub",
                "Name": "emulatorNs1",
                "Entities": [{"Name": "eh1", "PartitionCount": "2", "ConsumerGroups": [{"Name": "cg1"}]}],
            }
        ],
        "LoggingConfig": {"Type": "File"},
    }
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    return path


def _command(config: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "devstack.eventhubs", "--config", str(config), *more]


@contextmanager
def _process(config: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, int]]]:
    command = _command(config, "--port", "0", "--control-port", "0", *more)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def _producer(ports: dict[str, int], **options: Any) -> EventHubProducerClient:
    return EventHubProducerClient.from_connection_string(
        connection_string(ports["port"]), eventhub_name="eh1", **{**QUICK, **options}
    )


def _bodies(ports: dict[str, int], number: int) -> list[str]:
    client = EventHubConsumerClient.from_connection_string(
        connection_string(ports["port"]), "cg1", eventhub_name="eh1", **QUICK
    )
    return [event.body_as_str() for _, event in receive(client, number, partition_id="1")]


def _http(ports: dict[str, int], body: bytes | None = None) -> dict[str, object]:
    url = f"http://127.0.0.1:{ports['controlPort']}/"
    with urlopen(Request(url, data=body), timeout=PATIENCE) as response:
        answer: dict[str, object] = json.load(response)
    return answer


def test_what_was_acknowledged_before_a_kill_is_there_after_it(config: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    acknowledged: list[str] = []
    with _process(config, "--data", str(data)) as (process, ports):
        with _producer(ports, retry_total=0) as client:

            def send_until_it_is_gone() -> None:
                while True:
                    body = f"{len(acknowledged)} " + "x" * 1000
                    client.send_event(EventData(body), partition_id="1")
                    acknowledged.append(body)
                    if len(acknowledged) == 200:
                        process.kill()

            with pytest.raises(EventHubError):
                send_until_it_is_gone()
        process.wait(PATIENCE)
    with (data / "eh1" / "1.log").open("ab") as log:
        log.write(b"\x00\x00\x04\x00 a record that a kill cut off")
    with _process(config, "--data", str(data)) as (process, ports):
        with _producer(ports) as client:
            stored = client.get_partition_properties("1")["last_enqueued_sequence_number"] + 1
            client.send_event(EventData("afterwards"), partition_id="1")
        assert len(acknowledged) >= 200
        assert stored - len(acknowledged) in (0, 1)  # the last was perhaps stored, but not acknowledged
        bodies = _bodies(ports, stored + 1)
        assert bodies[: len(acknowledged)] == acknowledged
        assert bodies[-1] == "afterwards"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_the_control_port_answers_commands_and_refuses_nonsense(config: Path) -> None:
    with _process(config) as (process, ports):
        status = _http(ports)
        assert status["status"] == "ok"
        empty = {"firstSequenceNumber": 0, "lastSequenceNumber": -1}
        assert status["hubs"] == {"eh1": {"0": empty, "1": empty}}
        assert _http(ports, b'{"command": "server-busy", "times": 3}') == {"affected": 0}
        assert _http(ports)["armedFaults"] == 3
        refusals = {
            b"{": "the body is not JSON",
            b"[]": "expected an object with a 'command'",
            b'{"command": "explode"}': "unknown command 'explode'",
            b'{"command": "rewind"}': "'events' is missing",
            b'{"command": "drop", "when": "now"}': "unknown key 'when'",
            b'{"command": "delay", "seconds": -1}': "'seconds' must be a number from 0 to 3600",
        }
        for body, reason in refusals.items():
            with pytest.raises(HTTPError) as refusal:
                _http(ports, body)
            assert refusal.value.code == 400
            assert reason in json.load(refusal.value)["error"]
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert process.stdout is not None
        assert process.stdout.read() == ""  # the one line was all


def test_what_it_cannot_use_is_one_line_and_status_1(config: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"UserConfig": {"NamespaceConfig": [{"Entities": [{"Name": "eh1"}]}]}}')
    data = str(tmp_path / "data")
    with _process(config, "--data", data) as (_, ports):
        cases = {
            "NamespaceConfig[0].Entities[0].PartitionCount: missing": _command(bad),
            "cannot be read": _command(tmp_path / "none.json"),
            "address already in use": _command(config, "--port", str(ports["port"])),
            "another server is using this data folder": _command(config, "--port", "0", "--data", data),
        }
        for reason, command in cases.items():
            ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
            assert ended.returncode == 1, command
            assert ended.stdout == ""
            assert ended.stderr.count("\n") == 1
            assert reason in ended.stderr
