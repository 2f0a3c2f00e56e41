"""Publishing: what files become, and what a hub takes."""

import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext
from rich.console import Console

from devstack.publish import (
    MESSAGE_BYTES,
    Counts,
    PublishError,
    messages_from_files,
    publish,
    shown_progress,
)
from devstack.workload import Workload
from tests.workload.reading import records_in

LINE = b'{"operationName":"TaskCompleteEvent","n":%d}'


def bodies(*paths: Path) -> list[bytes]:
    return [message.body for message in messages_from_files(paths)]


def test_lines_are_packed_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "PT1H.json"
    lines = [LINE % number + b" " * (number % 3) for number in range(20_000)]
    file.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines) + b"\n\n")
    packed = bodies(file)
    assert len(packed) > 1
    assert all(MESSAGE_BYTES // 2 < len(body) <= MESSAGE_BYTES for body in packed[:-1])
    assert b"\n".join(packed).split(b"\n") == [line.strip() for line in lines]


def test_bad_lines_travel_alone_and_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "PT1H.json"
    lines = [LINE % 1, b"no JSON", LINE % 2, b'{"cut":', LINE % 3, b'{"not UTF-8": "\xff"}', LINE % 4]
    file.write_bytes(b"\n".join(lines))
    assert bodies(file) == lines


@pytest.mark.parametrize("first", [b"garbage", b'{"cut": "of'])
def test_a_bad_first_line_does_not_hide_the_others(tmp_path: Path, first: bytes) -> None:
    file = tmp_path / "PT1H.json"
    file.write_bytes(first + b"\n" + LINE % 1 + b"\n" + LINE % 2)
    assert bodies(file) == [first, LINE % 1 + b"\n" + LINE % 2]


def test_documents_are_sent_as_they_are(tmp_path: Path) -> None:
    written = {
        "array.json": b'[\n {"n": 1},\n {"n": 2}\n]',
        "envelope.json": b'{"records": [{"n": 3}]}',
        "pretty.json": b'{\n  "Records": [\n    {"n": 4}\n  ]\n}',
    }
    for name, body in written.items():
        (tmp_path / name).write_bytes(body)
    assert bodies(tmp_path) == [written[name] for name in sorted(written)]


def test_envelopes_one_a_line_stay_apart(tmp_path: Path) -> None:
    file = tmp_path / "capture.jsonl"
    file.write_bytes(b'{"records":[{"n":1}]}\n{"records":[{"n":2}]}\n')
    assert bodies(file) == [b'{"records":[{"n":1}]}', b'{"records":[{"n":2}]}']


@pytest.mark.parametrize("indent", [None, 1])
def test_a_large_document_is_sent_as_its_records(tmp_path: Path, indent: int | None) -> None:
    records = [{"n": number, "text": "ü" * 500} for number in range(2_000)]
    file = tmp_path / "large.json"
    file.write_text(json.dumps([{"records": records[:5]}, {"records": records[5:]}], indent=indent))
    packed = bodies(file)
    assert len(packed) > 2
    assert all(len(body) <= MESSAGE_BYTES for body in packed)
    assert [record for body in packed for record in records_in(body)] == records


def test_folders_and_gzip(tmp_path: Path) -> None:
    deep = tmp_path / "y=2026" / "m=11"
    deep.mkdir(parents=True)
    (deep / "PT1H.json").write_bytes(LINE % 1)
    (tmp_path / "z.json.gz").write_bytes(gzip.compress(LINE % 2))
    (tmp_path / "notes.txt").write_bytes(b"not of the log")
    assert bodies(tmp_path) == [LINE % 1 + b"\n" + LINE % 2]


def test_what_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match=r"nowhere does not exist"):
        messages_from_files([tmp_path / "nowhere"])
    with pytest.raises(PublishError, match=r"holds no file named \*\.json"):
        messages_from_files([tmp_path])


def test_files_that_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b" \n\n")
    with pytest.raises(PublishError, match=r"nothing to send: .*a\.json is empty"):
        bodies(tmp_path)
    (tmp_path / "b.json").write_bytes(b"")
    with pytest.raises(PublishError, match=r"nothing to send: all 2 files are empty"):
        bodies(tmp_path)


def test_a_broken_gzip_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.json.gz"
    file.write_bytes(gzip.compress(LINE % 1 * 100)[:-9])
    with pytest.raises(PublishError, match=r"a\.json\.gz cannot be read"):
        bodies(file)


def test_progress_without_a_terminal_is_a_line_every_few_seconds() -> None:
    text = StringIO()
    with shown_progress(Console(file=text, width=200)) as progress:
        for tenths in range(120):
            progress(Counts(messages=tenths, bytes=tenths * 1_000, seconds=tenths / 10))
    assert text.getvalue().splitlines() == [
        "So far 50 messages, 0.1 MB in 5.0 s: 10 messages/s, 0.0 MB/s",
        "So far 100 messages, 0.1 MB in 10.0 s: 10 messages/s, 0.0 MB/s",
        "Sent 119 messages, 0.1 MB in 11.9 s: 10 messages/s, 0.0 MB/s",
    ]


def test_progress_on_a_terminal_is_a_bar() -> None:
    text = StringIO()
    with shown_progress(Console(file=text, width=200, force_terminal=True), total=10) as progress:
        progress(Counts(messages=5, bytes=5_000, seconds=1))
    assert "Sending" in text.getvalue()
    assert "Sent 5 messages" in text.getvalue()


@dataclass(frozen=True)
class Body:
    body: bytes
    partition: str | None = None


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The repository's own Event Hubs, with one hub of two partitions."""
    config = tmp_path_factory.mktemp("hubs") / "config.json"
    hub = {"Name": "logs", "PartitionCount": 2, "ConsumerGroups": [{"Name": "readers"}]}
    namespace = {"Type": "EventHub", "Name": "emulatorNs1", "Entities": [hub]}
    config.write_text(json.dumps({"UserConfig": {"NamespaceConfig": [namespace]}}))
    command = [
        sys.executable,
        "-m",
        "devstack.eventhubs",
        "--config",
        str(config),
        "--port",
        "0",
        "--control-port",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as server:
        try:
            assert server.stdout is not None
            port = json.loads(server.stdout.readline())["port"]
            key = "SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=key"
            yield f"Endpoint=sb://localhost:{port};{key};UseDevelopmentEmulator=true;"
        finally:
            server.terminate()


async def read(connection: str, count: int) -> dict[str, list[bytes]]:
    """The bodies in each partition, once there are as many."""
    found: dict[str, list[bytes]] = {}
    complete = asyncio.Event()

    async def keep(partition: PartitionContext, events: list[EventData]) -> None:
        found.setdefault(partition.partition_id, []).extend(body_of(event) for event in events)
        if sum(map(len, found.values())) >= count:
            complete.set()

    async with EventHubConsumerClient.from_connection_string(connection, "readers", eventhub_name="logs") as client:
        receiving = asyncio.create_task(client.receive_batch(keep, starting_position="-1", prefetch=3_000))
        await asyncio.wait_for(complete.wait(), 30)
    # Closed, it would still sleep until it balances its load the next time.
    receiving.cancel()
    return found


def body_of(event: EventData) -> bytes:
    parts: Any = event.body
    return b"".join(parts)


def test_the_hub_holds_what_is_sent_in_each_partition_in_order(connection: str) -> None:
    workload = Workload(seed=1, tasks=600, partitions=2)
    messages = list(workload.messages())
    text = StringIO()
    with shown_progress(Console(file=text, width=200), len(messages)) as progress:
        counts = asyncio.run(publish(connection, "logs", messages, progress))
    assert (counts.messages, counts.bytes) == (len(messages), sum(len(message.body) for message in messages))
    assert text.getvalue().splitlines()[-1].startswith(f"Sent {len(messages)} messages, ")
    held = asyncio.run(read(connection, len(messages)))
    for partition, found in held.items():
        assert found == [message.body for message in messages if message.partition == partition]
        assert counts.partitions[partition] == len(found)


def test_messages_without_a_partition_go_to_all_of_them(connection: str) -> None:
    counts = asyncio.run(publish(connection, "logs", [Body(b"{}")] * 8, lambda _: None))
    assert counts.partitions == {"0": 4, "1": 4}


@pytest.mark.timeout(60)
def test_at_a_rate_nothing_waits_for_a_batch_to_fill(connection: str) -> None:
    """Else a stream of few messages would be nothing for hours and then a megabyte."""

    class DeliveredError(Exception):
        pass

    def told(counts: Counts) -> None:
        assert counts.messages == 1
        raise DeliveredError

    with pytest.raises(DeliveredError):
        asyncio.run(publish(connection, "logs", [Body(b"{}")] * 2, told, rate=0.001))


def test_a_partition_that_the_hub_does_not_have(connection: str) -> None:
    with pytest.raises(PublishError, match="no partition 9, only 0, 1"):
        asyncio.run(publish(connection, "logs", [Body(b"{}", "9")], lambda _: None))


def test_a_message_that_is_too_large(connection: str) -> None:
    with pytest.raises(PublishError, match=r"1,200,000 bytes: the hub takes [\d,]+ at most"):
        asyncio.run(publish(connection, "logs", [Body(b"x" * 1_200_000)], lambda _: None))


def test_a_connection_string_that_is_none() -> None:
    with pytest.raises(PublishError, match="connection string"):
        asyncio.run(publish("Endpoint", "logs", [], lambda _: None))


def test_nothing_in_the_files_is_told_by_publish_too(connection: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\n")
    with pytest.raises(PublishError, match="nothing to send"):
        asyncio.run(publish(connection, "logs", messages_from_files([tmp_path]), lambda _: None))
