"""The host's parts without I/O: delays, routes, batches, bindings, configuration, conversion."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub import EventData
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore

from devstack.functions_host import host_json, settings
from devstack.functions_host.batching import Batching
from devstack.functions_host.bindings import read_triggers
from devstack.functions_host.errors import HostError
from devstack.functions_host.event_hub_batch import trigger_data, trigger_metadata
from devstack.functions_host.retry import UNLIMITED, RetryPolicy
from devstack.functions_host.routes import compile_route
from devstack.functions_host.worker import Function


def test_a_fixed_delay_stays_the_same() -> None:
    policy = RetryPolicy(UNLIMITED, 5.0, 5.0)
    assert [policy.delay(retry, 0.9) for retry in (1, 2, 50)] == [5.0, 5.0, 5.0]
    assert policy.allows(10**9)


def test_backoff_starts_at_the_minimum_doubles_what_it_adds_and_stops_at_the_maximum() -> None:
    policy = RetryPolicy(3, 5.0, 900.0)
    assert [policy.delay(retry, 0.5) for retry in range(1, 6)] == [5.0, 10.0, 15.0, 25.0, 45.0]
    assert policy.delay(2, 0.0) == pytest.approx(9.0)
    assert policy.delay(2, 0.999999) == pytest.approx(11.0, abs=1e-3)
    assert policy.delay(10**6, 0.5) == 900.0
    assert [policy.allows(retry) for retry in (1, 3, 4)] == [True, True, False]


@pytest.mark.parametrize(
    ("template", "path", "params"),
    [
        ("api/jobs", "api/jobs", {}),
        ("api/jobs", "API/Jobs", {}),
        ("api/jobs", "api/jobs/1", None),
        ("api/{name}", "api/a%2Fb", {"name": "a/b"}),
        ("api/{name}", "api/", None),
        ("api/{name:int}", "api/12", {"name": "12"}),
        ("api/{name:int}", "api/x", None),
        ("{x:guid}", "0f8fad5b-d9cb-469f-a165-70867728950e", {"x": "0f8fad5b-d9cb-469f-a165-70867728950e"}),
        ("api/{name?}", "api", {}),
        ("api/{name?}", "api/x", {"name": "x"}),
        ("api/{name=all}", "api", {"name": "all"}),
        ("api/{name=all}", "api/x", {"name": "x"}),
        ("{*path}", "a/b%20c", {"path": "a/b c"}),
        ("{*path}", "", {}),
        ("api/{**path}", "api/a/b", {"path": "a/b"}),
        ("api/{*path}", "apix", None),
    ],
)  # fmt: skip
def test_routes(template: str, path: str, params: dict[str, str] | None) -> None:
    assert compile_route(template).match(path) == params


def test_the_more_specific_route_comes_first() -> None:
    templates = ["a/b", "a/{x:int}", "a/{x}", "{x}/b", "{*rest}"]
    shuffled = sorted(map(compile_route, reversed(templates)), key=lambda route: route.specificity)
    assert [route.template for route in shuffled] == templates


@pytest.mark.parametrize("template", ["a/{x:nonsense}", "a/x{y}", "{*rest}/b"])
def test_routes_that_cannot_be_honoured_are_refused(template: str) -> None:
    with pytest.raises(HostError, match="route"):
        compile_route(template)


def _host_json(folder: Path, content: Any) -> host_json.HostJson:
    (folder / "host.json").write_text(json.dumps(content), encoding="utf-8")
    return host_json.load(folder)


def test_host_json_defaults_are_azures(tmp_path: Path) -> None:
    loaded = _host_json(tmp_path, {"version": "2.0"})
    assert loaded.route_prefix == "api"
    assert loaded.event_hubs == host_json.EventHubOptions(100, 1, 60.0, 300, 1, "fromStart")


def test_host_json_options_are_read(tmp_path: Path) -> None:
    options = {
        "maxEventBatchSize": 500,
        "minEventBatchSize": 50,
        "maxWaitTime": "00:00:02.5",
        "prefetchCount": 2000,
        "batchCheckpointFrequency": 3,
        "initialOffsetOptions": {"type": "fromEnd"},
    }
    loaded = _host_json(tmp_path, {"extensions": {"http": {"routePrefix": ""}, "eventHubs": options}})
    assert loaded == host_json.HostJson("", host_json.EventHubOptions(500, 50, 2.5, 2000, 3, "fromEnd"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"maxEventBatchSize": 0}, "maxEventBatchSize"),
        ({"prefetchCount": "300"}, "prefetchCount"),
        ({"maxWaitTime": "a minute"}, "maxWaitTime"),
        ({"minEventBatchSize": 101}, "minEventBatchSize is greater"),
        ({"initialOffsetOptions": {"type": "fromEnqueuedTime"}}, "fromEnqueuedTime"),
    ],
)
def test_host_json_values_that_cannot_be_used_are_named(tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HostError, match=sentence):
        _host_json(tmp_path, {"extensions": {"eventHubs": options}})


def test_settings_are_resolved_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB", "telemetry")
    assert settings.resolve("a-%HUB%-b", "function f") == "a-telemetry-b"
    assert settings.resolve("$Default", "function f") == "$Default"
    with pytest.raises(HostError, match="function f needs the setting 'NO_SUCH_SETTING'"):
        settings.resolve("%NO_SUCH_SETTING%", "function f")


def test_with_a_minimum_of_one_whatever_arrived_is_a_batch() -> None:
    batching = Batching[int](host_json.EventHubOptions(max_event_batch_size=3))
    assert batching.add([1], now=0.0) == [[1]]
    assert batching.add([], now=100.0) == []
    assert batching.add([2, 3, 4, 5], now=101.0) == [[2, 3, 4], [5]]


def test_fewer_than_the_minimum_wait_for_more_or_for_the_time() -> None:
    options = host_json.EventHubOptions(max_event_batch_size=5, min_event_batch_size=3, max_wait_time=10.0)
    batching = Batching[int](options)
    assert batching.add([1, 2], now=0.0) == []
    assert batching.add([3], now=1.0) == [[1, 2, 3]]
    assert batching.add([4], now=50.0) == []
    assert batching.add([], now=59.9) == []
    assert batching.add([], now=60.0) == [[4]]


def _functions(binding: dict[str, Any]) -> tuple[Function, ...]:
    return (Function("f", "id", ({"type": "http", "name": "$return"}, {"name": "x", **binding}), None),)


_EVENT_HUB = {"type": "eventHubTrigger", "eventHubName": "%HUB%", "connection": "C", "dataType": "BINARY"}


def test_an_event_hub_trigger_is_read_with_its_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB", "telemetry")
    monkeypatch.setenv("C", "Endpoint=sb://localhost")
    (trigger,) = read_triggers(_functions(_EVENT_HUB)).event_hub
    assert (trigger.argument, trigger.event_hub_name, trigger.consumer_group) == ("x", "telemetry", "$Default")


@pytest.mark.parametrize(
    ("binding", "sentence"),
    [
        ({"type": "queueTrigger"}, "function f: queueTrigger is not run here"),
        ({"type": "http"}, "function f has no trigger"),
        (_EVENT_HUB | {"cardinality": "ONE"}, "Cardinality.MANY"),
        (_EVENT_HUB | {"dataType": "STRING"}, "DataType.BINARY"),
        (_EVENT_HUB | {"connection": "IDENTITY"}, "IDENTITY is an identity-based connection"),
        (_EVENT_HUB | {"connection": "MISSING"}, "function f needs the setting 'MISSING'"),
    ],
)
def test_bindings_that_are_not_run_here_are_refused(
    monkeypatch: pytest.MonkeyPatch, binding: dict[str, Any], sentence: str
) -> None:
    monkeypatch.setenv("HUB", "telemetry")
    monkeypatch.setenv("C", "Endpoint=sb://localhost")
    monkeypatch.setenv("IDENTITY__fullyQualifiedNamespace", "ns.servicebus.windows.net")
    with pytest.raises(HostError, match=sentence):
        read_triggers(_functions(binding))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"IsEncrypted": true, "Values": {}}', "is encrypted"),
        ('{"Values": {"A": 1}}', "the value of 'A' has to be a JSON string"),
        ("[]", 'has no "Values" object'),
        ("{", "is not JSON"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "local.settings.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(HostError, match=sentence):
        settings.load_into_environment(path)


@dataclass
class _Partition:
    fully_qualified_namespace: str = "ns.servicebus.windows.net"
    eventhub_name: str = "hub"
    consumer_group: str = "cg"
    partition_id: str = "7"


def _event(body: bytes, offset: bytes, key: bytes | None = None) -> EventData:
    event = EventData(body)
    annotations: dict[Any, Any] = {
        b"x-opt-sequence-number": 5,
        b"x-opt-offset": offset,
        b"x-opt-enqueued-time": int(datetime(2026, 11, 22, 9, 0, 0, 123000, UTC).timestamp() * 1000),
    }
    if key is not None:
        annotations[b"x-opt-partition-key"] = key
    event.raw_amqp_message.annotations = annotations
    event.properties = {b"name": b"value", "when": datetime(2026, 1, 1, tzinfo=UTC)}
    return event


def test_a_batch_is_built_as_the_host_builds_it() -> None:
    events = [_event(b"\x00", b"4294967296", b"key"), _event(b"", b"abc:1")]
    assert list(trigger_data(events).collection_bytes.bytes) == [b"\x00", b""]
    metadata = trigger_metadata(events, _Partition())
    assert list(metadata["SequenceNumberArray"].collection_sint64.sint64) == [5, 5]
    assert list(metadata["OffsetArray"].collection_string.string) == ["4294967296", "abc:1"]
    assert list(metadata["PartitionKeyArray"].collection_string.string) == ["key"]
    assert json.loads(metadata["EnqueuedTimeUtcArray"].json) == ["2026-11-22T09:00:00.123"] * 2
    assert json.loads(metadata["PropertiesArray"].json)[0] == {
        "name": "value",
        "when": "2026-01-01 00:00:00+00:00",
    }
    assert json.loads(metadata["SystemPropertiesArray"].json) == [
        {
            "x-opt-sequence-number": 5,
            "x-opt-offset": "4294967296",
            "x-opt-enqueued-time": "2026-11-22T09:00:00.123+00:00",
            "SequenceNumber": 5,
            "Offset": 4294967296,
            "OffsetString": "4294967296",
            "PartitionKey": "key",
            "EnqueuedTimeUtc": "2026-11-22T09:00:00.123",
        },
        {
            "x-opt-sequence-number": 5,
            "x-opt-offset": "abc:1",
            "x-opt-enqueued-time": "2026-11-22T09:00:00.123+00:00",
            "SequenceNumber": 5,
            "Offset": -1,
            "OffsetString": "abc:1",
            "PartitionKey": None,
            "EnqueuedTimeUtc": "2026-11-22T09:00:00.123",
        },
    ]
    assert json.loads(metadata["PartitionContext"].json)["PartitionId"] == "7"


@pytest.mark.parametrize("short", ["UseDevelopmentStorage=true", "usedevelopmentstorage=True;"])
def test_the_emulators_short_form_is_written_out_for_the_checkpoint_store(
    short: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE", short)
    written_out = settings.require_storage("STORAGE", "the test")
    assert "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;" in written_out
    BlobCheckpointStore.from_connection_string(written_out, "container")
    monkeypatch.setenv("STORAGE", written_out)
    assert settings.require_storage("STORAGE", "the test") == written_out
