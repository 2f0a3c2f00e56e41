"""What the blocking SDK uses of the service: sending, receiving, positions, properties."""

import threading
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any

import pytest
from azure.eventhub import EventData, EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

from .running import HUB, PATIENCE, RunningServer
from .sdk import Receiving, body, consumer, producer, receive, send, together


def test_properties_before_and_after_the_first_event(server: RunningServer) -> None:
    with producer(server) as client:
        hub = client.get_eventhub_properties()
        assert hub["eventhub_name"] == HUB
        assert hub["partition_ids"] == ["0", "1", "2", "3"]
        assert hub["created_at"] <= datetime.now(UTC)

        empty = client.get_partition_properties("2")
        assert empty["is_empty"]
        assert (empty["beginning_sequence_number"], empty["last_enqueued_sequence_number"]) == (0, -1)
        assert empty["last_enqueued_offset"] == "-1"

        send(client, "one", "two", partition_id="2")
        filled = client.get_partition_properties("2")
        assert not filled["is_empty"]
        assert (filled["beginning_sequence_number"], filled["last_enqueued_sequence_number"]) == (0, 1)
        assert int(filled["last_enqueued_offset"]) > 0
        assert filled["last_enqueued_time_utc"] >= hub["created_at"]


def test_every_kind_of_event_arrives_as_it_was_sent(server: RunningServer) -> None:
    rich = EventData("rich")
    rich.properties = {"number": 3, "text": "größer", "float": 1.5, "flag": True}
    rich.message_id, rich.correlation_id, rich.content_type = "m1", "c1", "application/json"
    with producer(server) as client:
        batch = client.create_batch(partition_id="1")
        batch.add(rich)
        batch.add(EventData("x" * 300))
        client.send_batch(batch)
        client.send_event(EventData(b"\x00\x53\x75 like a section"), partition_id="1")
        client.send_event(EventData(b""), partition_id="1")
        client.send_batch([EventData("in a list")], partition_id="1")
    events = [event for _, event in receive(consumer(server), 5, partition_id="1")]

    assert [event.sequence_number for event in events] == [0, 1, 2, 3, 4]
    offsets = [int(event.offset or -1) for event in events]
    assert offsets[0] == 0
    assert offsets == sorted(set(offsets))
    assert events[0].properties == {b"number": 3, b"text": "größer".encode(), b"float": 1.5, b"flag": True}
    assert (events[0].message_id, events[0].correlation_id) == ("m1", "c1")
    assert events[0].content_type == "application/json"
    assert [body(event) for event in events] == [
        b"rich", b"x" * 300, b"\x00\x53\x75 like a section", b"", b"in a list",
    ]  # fmt: skip


def test_a_partition_key_keeps_events_together(server: RunningServer) -> None:
    with producer(server) as client:
        for number in range(12):
            batch = client.create_batch(partition_key=f"key {number}")
            batch.add(EventData("a"))
            batch.add(EventData("b"))
            client.send_batch(batch)
        client.send_event(EventData("single"), partition_key="key 0")
        client.send_batch([EventData("listed")], partition_key="key 0")
    events = receive(consumer(server), 26)
    partitions: dict[str, set[str]] = {}
    for partition_id, event in events:
        key = event.partition_key
        assert isinstance(key, bytes)
        partitions.setdefault(key.decode(), set()).add(partition_id)
    assert len(partitions) == 12
    assert all(len(ids) == 1 for ids in partitions.values())
    assert len(set.union(*partitions.values())) > 1


def test_partitions_take_turns_and_every_group_of_the_hub_sees_all(server: RunningServer) -> None:
    with producer(server, "other") as other, producer(server, "EH1") as client:
        send(other, "elsewhere")
        for number in range(8):
            client.send_event(EventData(str(number)))
    groups = ("cg1", "CG2", "$Default")
    for events in together(*(partial(receive, consumer(server, group), 8) for group in groups)):
        assert Counter(partition_id for partition_id, _ in events) == dict.fromkeys("0123", 2)
        assert {event.body_as_str() for _, event in events} == set("01234567")


def test_every_start_position() -> None:
    ticks = count(1_700_000_000_000, 1000)  # every event a second after the one before
    with RunningServer(clock=lambda: next(ticks)) as server, producer(server) as client:
        with Receiving(consumer(server), partition_id="0", starting_position="@latest") as latest:
            server.until_consumers(1)
            send(client, *"01234")
            reference = [event for _, event in latest.wait(5)]
        offset, time = reference[2].offset, reference[2].enqueued_time
        assert time is not None
        cases: list[tuple[Any, bool, str]] = [
            ("-1", False, "01234"), (offset, False, "34"), (offset, True, "234"), (1, False, "234"),
            (1, True, "1234"), (time, False, "34"), (time, True, "234"), ("@latest", True, "4"),
        ]  # fmt: skip

        def bodies(case: tuple[Any, bool, str]) -> list[str]:
            position, inclusive, expected = case
            where = {"starting_position": position, "starting_position_inclusive": inclusive}
            group = "cg2" if inclusive else "cg1"  # five receivers may share a group
            events = receive(consumer(server, group), len(expected), partition_id="0", **where)
            return [event.body_as_str() for _, event in events]

        found = together(*(partial(bodies, case) for case in cases))
        assert found == [list(expected) for _, _, expected in cases]


def test_last_enqueued_event_properties(server: RunningServer) -> None:
    with producer(server) as client:
        client.send_event(EventData("with a header"), partition_key="key")  # a key makes the SDK send one
        partition_id = next(name for name in "0123" if not client.get_partition_properties(name)["is_empty"])
        send(client, "1", "2", partition_id=partition_id)
        with Receiving(
            consumer(server), partition_id=partition_id, track_last_enqueued_event_properties=True
        ) as receiving:
            receiving.wait(3)
    assert receiving.last_enqueued["sequence_number"] == 2
    assert receiving.last_enqueued["offset"] == receiving.events[-1][1].offset
    assert receiving.last_enqueued["enqueued_time"] == receiving.events[-1][1].enqueued_time
    assert receiving.last_enqueued["retrieval_time"] >= receiving.last_enqueued["enqueued_time"]


def test_a_higher_epoch_steals_and_a_lower_one_is_refused(server: RunningServer) -> None:
    with producer(server) as client:
        send(client, "0")
    first = Receiving(consumer(server, retry_total=0), partition_id="0", owner_level=1)
    second = Receiving(consumer(server, retry_total=0), partition_id="0", owner_level=2)
    third = Receiving(consumer(server, retry_total=0), partition_id="0", owner_level=1)
    elsewhere = Receiving(consumer(server, "cg1", retry_total=0), partition_id="0", owner_level=1)
    with first:
        first.wait(1)
        with second:
            second.wait(1)
            assert "stolen" in str(first.wait_for_error())
            with third:
                assert "stolen" in str(third.wait_for_error())
            with elsewhere:
                elsewhere.wait(1)
        assert not second.errors


def test_at_most_five_receivers_without_epoch(server: RunningServer) -> None:
    refused = threading.Event()

    def run(number: int) -> str:
        if number == 5:
            server.until_consumers(5)
        with Receiving(consumer(server, retry_total=0), partition_id="0") as receiving:
            if number == 5:
                error = str(receiving.wait_for_error())
                refused.set()
                return error
            assert refused.wait(PATIENCE)
            return "".join(map(str, receiving.errors))

    *others, sixth = together(*(partial(run, number) for number in range(6)))
    assert "maximum number of 5" in sixth
    assert not any(others)


def test_what_does_not_exist_is_refused(server: RunningServer) -> None:
    nowhere = producer(server, "nowhere", retry_total=0)
    with nowhere, pytest.raises(EventHubError, match="Status code: 404"):
        nowhere.get_eventhub_properties()
    with producer(server, retry_total=0) as client:
        with pytest.raises(EventHubError, match="Status code: 400"):
            client.get_partition_properties("9")
        with pytest.raises(EventHubError, match="Invalid partition 9"):
            client.send_event(EventData("x"), partition_id="9")

    def error(group: str, position: str) -> str:
        options = {"partition_id": "0", "starting_position": position}
        with Receiving(consumer(server, group, retry_total=0), **options) as receiving:
            return str(receiving.wait_for_error())

    no_group, no_offset = together(partial(error, "nobody", "-1"), partial(error, "cg1", "999999"))
    assert "group 'nobody'" in no_group
    assert "offset '999999'" in no_offset


def _send_large(client: EventHubProducerClient) -> int:
    client.send_event(EventData(b"x" * 900_000), partition_id="0")
    batch = client.create_batch(partition_id="0")
    assert batch.max_size_in_bytes == 1 << 20
    for _ in range(5):
        batch.add(EventData(b"y" * 200_000))
    with pytest.raises(ValueError, match="has reached its size limit"):
        batch.add(EventData(b"y" * 200_000))
    client.send_batch(batch)
    return len(batch)


@pytest.mark.parametrize("max_frame_size", [1 << 20, 64 * 1024])
def test_large_messages_in_one_frame_and_in_many(max_frame_size: int) -> None:
    with RunningServer(max_frame_size=max_frame_size) as server, producer(server, retry_total=0) as client:
        number = _send_large(client)
        with pytest.raises(EventHubError):
            client.send_event(EventData(b"z" * 1_200_000), partition_id="0")
        events = receive(consumer(server), 1 + number, partition_id="0")
    assert body(events[0][1]) == b"x" * 900_000
    assert {body(event) for _, event in events[1:]} == {b"y" * 200_000}
