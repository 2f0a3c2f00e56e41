"""Partition logs and hubs: numbers, annotations, positions, files, retention."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.eventhubs import log as log_module
from devstack.eventhubs.config import HubConfig
from devstack.eventhubs.decoding import decode
from devstack.eventhubs.encoding import encode
from devstack.eventhubs.errors import AmqpDecodeError, DataError, LinkRefusedError
from devstack.eventhubs.folder import DataFolder
from devstack.eventhubs.hub import Namespace
from devstack.eventhubs.log import NO_TIME, PartitionLog
from devstack.eventhubs.messages import delivery_annotations, read_batch, read_event, with_delivery_annotations
from devstack.eventhubs.positions import FROM_BEGINNING, parse_position
from devstack.eventhubs.service import Service
from devstack.eventhubs.values import Described, Long, Symbol, Timestamp, Value

from .wire import Client, event, section

EVERYTHING = 1 << 30


def _append(log: PartitionLog, *bodies: bytes, now_ms: int = 1000) -> None:
    log.append([read_event(event(body)) for body in bodies], b"", now_ms)


def _all(log: PartitionLog) -> list[bytes]:
    return list(log.read(log.first, EVERYTHING, EVERYTHING))


def _sections(message: bytes) -> dict[int, Value]:
    found: dict[int, Value] = {}
    at = 0
    while at < len(message):
        code = message[at + 2]
        found[code], at = decode(message, at + 3)
    return found


# ------------------------------------------------------------ messages


def test_annotations_are_spliced_in_and_the_rest_is_untouched() -> None:
    header = section(0x70, [True])
    own: dict[Value, Value] = {Symbol("x-own"): [1], Symbol("x-opt-offset"): "forged"}
    tail = section(0x73, ["id"]) + section(0x74, {"key": "x" * 300}) + event()
    log = PartitionLog(0)
    log.append([read_event(header + section(0x71, {}) + section(0x72, own) + tail)], encode("key"), 5000)
    (stored,) = _all(log)
    assert stored.startswith(header)
    assert stored.endswith(tail)
    sections = _sections(stored)
    assert list(sections) == [0x70, 0x72, 0x73, 0x74, 0x75]
    assert sections[0x72] == {
        "x-opt-sequence-number": 0,
        "x-opt-offset": "0",
        "x-opt-enqueued-time": 5000,
        "x-opt-partition-key": "key",
        "x-own": [1],
    }
    annotations = sections[0x72]
    assert isinstance(annotations, dict)
    assert type(annotations[Symbol("x-opt-sequence-number")]) is Long
    assert type(annotations[Symbol("x-opt-enqueued-time")]) is Timestamp
    more = delivery_annotations({"last": Long(3)})
    assert list(_sections(with_delivery_annotations(stored, more))) == [0x70, 0x71, 0x72, 0x73, 0x74, 0x75]
    bare = stored[len(header) :]
    assert list(_sections(with_delivery_annotations(bare, more)))[:2] == [0x71, 0x72]


def test_many_annotations_take_the_larger_map() -> None:
    own: dict[Value, Value] = {Symbol(f"x-{number}"): "y" * 20 for number in range(40)}
    log = PartitionLog(0)
    log.append([read_event(section(0x72, own) + event())], b"", 0)
    annotations = _sections(_all(log)[0])[0x72]
    assert isinstance(annotations, dict)
    assert len(annotations) == 43


@pytest.mark.parametrize(
    "message",
    [
        b"x", b"\x00\x53", event()[:-1], event() + b"\x00", section(0x72, [1]), section(0x72, {})[:-1] + b"\x01",
        b"\x00\x53\x72\xc1\x03\x02\x40\x40\x40", b"\x00\x80" + event(),
    ],
)  # fmt: skip
def test_what_is_no_message_is_a_decode_error(message: bytes) -> None:
    with pytest.raises(AmqpDecodeError):
        read_event(message)


def test_a_batch_holds_messages_in_binaries() -> None:
    key = section(0x72, {Symbol("x-opt-partition-key"): "k"})
    assert read_batch(key + event(b"a" * 300) + event(b"b")) == (encode("k"), [b"a" * 300, b"b"])
    with pytest.raises(AmqpDecodeError):
        read_batch(section(0x75, "text"))


# ------------------------------------------------------------ numbers and positions


def test_an_empty_log_says_so() -> None:
    assert PartitionLog(0).bounds == (0, -1, "-1", NO_TIME, True)


@given(st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=4), max_size=8), st.data())
def test_numbers_go_up_and_every_position_finds_its_event(batches: list[list[bytes]], data: st.DataObject) -> None:
    log = PartitionLog(0)
    for batch in batches:
        _append(log, *batch, now_ms=data.draw(st.integers(0, 3)))  # also a clock that goes back
    annotations: list[Any] = [_sections(message)[0x72] for message in _all(log)]
    numbers, offsets, times = (
        [int(item[f"x-opt-{name}"]) for item in annotations] for name in ("sequence-number", "offset", "enqueued-time")
    )
    assert numbers == list(range(sum(map(len, batches))))
    assert offsets == sorted(set(offsets))
    assert times == sorted(times)
    for name, values in (("sequence-number", numbers), ("offset", offsets), ("enqueued-time", times)):
        for value in values:
            for operator, expected in ((">=", values.index(value)), (">", len(values) - values[::-1].index(value))):
                text = f"amqp.annotation.x-opt-{name} {operator} '{value}'"
                assert log.sequence_number_at(parse_position(text)) == expected


def test_the_named_positions() -> None:
    log = PartitionLog(0)
    latest = parse_position("amqp.annotation.x-opt-offset > '@latest'")
    last = parse_position("amqp.annotation.x-opt-offset >= '@latest'")
    assert {log.sequence_number_at(position) for position in (latest, last, FROM_BEGINNING)} == {0}
    _append(log, b"", b"", b"")
    assert log.sequence_number_at(latest) == 3
    assert log.sequence_number_at(last) == 2
    assert log.sequence_number_at(parse_position(None)) == 0
    assert log.sequence_number_at(parse_position("amqp.annotation.x-opt-enqueued-time > '-1'")) == 0


@pytest.mark.parametrize(
    "text",
    [
        "", "x-opt-offset > '1'", "amqp.annotation.x-opt-offset = '1'", "amqp.annotation.x-opt-offset > 'x'",
        "amqp.annotation.x-opt-color > '1'", "amqp.annotation.x-opt-sequence-number > '@latest'",
    ],
)  # fmt: skip
def test_other_filters_are_refused(text: str) -> None:
    with pytest.raises(LinkRefusedError, match="not supported"):
        parse_position(text)


@pytest.mark.parametrize("measure", ["offset", "sequence-number"])
def test_a_position_beyond_the_end_is_refused(measure: str) -> None:
    with pytest.raises(LinkRefusedError, match="'99' is invalid"):
        PartitionLog(0).sequence_number_at(parse_position(f"amqp.annotation.x-opt-{measure} > '99'"))


def test_reading_is_bounded_by_number_and_bytes() -> None:
    log = PartitionLog(0)
    _append(log, *(b"x" * 100 for _ in range(10)))
    size = len(_all(log)[0])
    assert len(log.read(0, 3, EVERYTHING)) == 3
    assert len(log.read(0, 100, 2 * size)) == 2
    assert len(log.read(8, 100, EVERYTHING)) == 2
    assert len(log.read(10, 100, EVERYTHING)) == 0


# ------------------------------------------------------------ files


def test_a_log_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    log = PartitionLog(77, path)
    _append(log, b"a", b"b")
    bounds, messages = log.bounds, _all(log)
    log.close()
    again = PartitionLog(88, path)
    assert (again.created_ms, again.bounds, _all(again)) == (77, bounds, messages)
    _append(again, b"c")
    assert again.bounds.last_sequence_number == 2
    again.close()


def test_a_record_cut_anywhere_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    log = PartitionLog(0, path)
    _append(log, b"first")
    kept = path.stat().st_size
    _append(log, b"second")
    log.close()
    whole = path.read_bytes()
    for size in (*range(8), *range(kept, len(whole))):
        path.write_bytes(whole[:size])
        cut = PartitionLog(0, path)
        assert cut.end == (1 if size >= kept else 0)
        _append(cut, b"next")
        cut.close()
        again = PartitionLog(0, path)
        assert b"next" in _all(again)[-1]
        again.close()
    path.write_bytes(whole[:-1] + b"?")  # all there, but not what was written
    assert PartitionLog(0, path).end == 1


def test_a_foreign_file_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"something else entirely")
    with pytest.raises(DataError, match=r"0\.log: not a partition log"):
        PartitionLog(0, path)
    assert path.read_bytes() == b"something else entirely"


def test_what_the_disk_cannot_take_is_rejected_and_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to = Service(Namespace([HubConfig("eh1", 1)], folder=DataFolder(tmp_path)))
    client = Client(to)
    client.attach_sender()
    client.transfer(event(b"before"))

    def fill(file: object, content: bytes) -> None:
        monkeypatch.undo()
        write_all(file, content[: len(content) // 2])  # type: ignore[arg-type]
        raise OSError(28, "No space left on device")

    write_all = log_module._write_all  # noqa: SLF001 - a disk that fills up is not to be had otherwise
    monkeypatch.setattr(log_module, "_write_all", fill)
    client.received()
    client.transfer(event(b"lost"), number=1)
    assert "No space left" in str(client.received()[0])
    client.transfer(event(b"after"), number=2)
    held = to.namespace.hub("eh1").partition("0").log
    assert [message[-5:] for message in _all(held)] == [b"efore", b"after"]
    assert _all(PartitionLog(0, tmp_path / "eh1" / "0.log")) == _all(held)


def test_retention_lets_the_oldest_go_from_memory_and_disk(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    log = PartitionLog(0, path, retention_bytes=100_000)
    for number in range(300):
        _append(log, b"%d " % number + b"x" * 10_000, now_ms=number)
    assert log.end == 300
    assert 285 < log.first < 295
    assert path.stat().st_size < 1_400_000
    assert log.sequence_number_at(FROM_BEGINNING) == log.first
    assert log.sequence_number_at(parse_position("amqp.annotation.x-opt-sequence-number > '5'")) == log.first
    bounds, messages = log.bounds, _all(log)
    log.close()
    again = PartitionLog(0, path, retention_bytes=100_000)
    assert again.bounds[1:] == bounds[1:]
    assert again.first >= log.first  # memory lets go a tenth at a time, so a start may let go of a little more
    assert _all(again) == messages[again.first - log.first :]
    again.close()
    tiny = PartitionLog(0, retention_bytes=1)
    _append(tiny, b"a", b"b")
    assert (tiny.first, tiny.end) == (1, 2)


def test_a_consumer_goes_on_behind_what_retention_took() -> None:
    to = Service(Namespace([HubConfig("eh1", 1)], retention_bytes=1000))
    client = Client(to)
    client.attach_receiver()
    client.attach_sender()
    for number in range(20):
        client.transfer(event(b"%02d" % number + b"x" * 200), number=number)
    client.received()
    client.grant(100)
    bodies = [_sections(payload)[0x75] for _, payload in client.frames()]
    first = to.namespace.hub("eh1").partition("0").log.first
    assert first > 0
    assert [int(body[:2]) for body in bodies if isinstance(body, bytes)] == list(range(first, 20))


# ------------------------------------------------------------ folders


def test_one_server_at_a_time_and_no_fewer_partitions(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "new" / "data")
    with pytest.raises(DataError, match="another server"):
        DataFolder(tmp_path / "new" / "data")
    Namespace([HubConfig("EH1", 3)], folder=folder).close()
    folder.close()
    folder = DataFolder(tmp_path / "new" / "data")
    with pytest.raises(DataError, match="holds 3 partitions"):
        Namespace([HubConfig("eh1", 2)], folder=folder)
    assert len(Namespace([HubConfig("eh1", 4)], folder=folder).hub("eh1").partitions) == 4
    folder.close()


def test_a_described_body_is_stored_as_it_is() -> None:
    message = b"\x00\x53\x77" + encode(Described(Symbol("kind"), {"a": 1}))
    log = PartitionLog(0)
    log.append([read_event(message)], b"", 0)
    assert _all(log)[0].endswith(message)
