"""The metrics: each from its figure of the Summary, through OpenTelemetry's SDK, and nothing where they are off."""

import builtins
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from processors import telemetry
from processors.ingest import Summary
from processors.telemetry import APPLICATION_INSIGHTS, OPEN_TELEMETRY, recorder, recording

SUMMARY = Summary(
    partition="3",
    messages=2,
    records=9,
    executions=7,
    counted=5,
    duplicates=2,
    dead_letters=1,
    conflicts=4,
    storage_requests=11,
    storage_seconds=1.5,
    newest_record_age_seconds=200.0,
    newest_record_delivery_seconds=150.0,
)


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def provider(reader: InMemoryMetricReader) -> Iterator[MeterProvider]:
    made = MeterProvider(metric_readers=[reader])
    yield made
    made.shutdown()


def points(reader: InMemoryMetricReader) -> dict[tuple[str, str | None], dict[str, Any]]:
    """Name and unit of a metric → partition → value of a counter, or number and sum of a histogram."""
    data = reader.get_metrics_data()
    assert data is not None
    return {
        (metric.name, metric.unit): {
            str((point.attributes or {})["partition"]): getattr(point, "value", None)
            if hasattr(point, "value")
            else (point.count, point.sum)
            for point in metric.data.data_points
        }
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_every_metric_has_its_figure(reader: InMemoryMetricReader, provider: MeterProvider) -> None:
    recording(provider.get_meter("test"))(SUMMARY)
    assert points(reader) == {
        ("batch_rollups.executions", "{execution}"): {"3": 7},
        ("batch_rollups.duplicates", "{execution}"): {"3": 2},
        ("batch_rollups.dead_letters", "{letter}"): {"3": 1},
        ("batch_rollups.conflicts", "{conflict}"): {"3": 4},
        ("batch_rollups.storage.requests", "{request}"): {"3": 11},
        ("batch_rollups.storage.duration", "s"): {"3": (1, 1.5)},
        ("batch_rollups.record.age", "s"): {"3": (1, 200.0)},
        ("batch_rollups.record.delivery", "s"): {"3": (1, 150.0)},
    }


def test_invocations_add_up_by_partition(reader: InMemoryMetricReader, provider: MeterProvider) -> None:
    """A batch without records has no age; its counts are 0."""
    record = recording(provider.get_meter("test"))
    for summary in (SUMMARY, SUMMARY, Summary("0", 1)):
        record(summary)
    found = points(reader)
    assert found["batch_rollups.executions", "{execution}"] == {"3": 14, "0": 0}
    assert found["batch_rollups.storage.duration", "s"] == {"3": (2, 3.0), "0": (1, 0.0)}
    assert found["batch_rollups.record.age", "s"] == {"3": (2, 400.0)}
    assert found["batch_rollups.record.delivery", "s"] == {"3": (2, 300.0)}


@pytest.mark.parametrize(
    "environment", [{}, {APPLICATION_INSIGHTS: "false"}, {OPEN_TELEMETRY: ""}, {APPLICATION_INSIGHTS: "0"}]
)
def test_off_nothing_is_imported_nor_recorded(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    _without_opentelemetry(monkeypatch)
    recorder(environment)(SUMMARY)


@pytest.mark.parametrize("name", [APPLICATION_INSIGHTS, OPEN_TELEMETRY])
@pytest.mark.parametrize("value", ["true", "True ", "1", "yes"])
def test_on_without_the_packages_the_app_counts_and_says_so(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _without_opentelemetry(monkeypatch)
    with caplog.at_level(logging.WARNING, telemetry.__name__):
        record = recorder({name: value})
    (said,) = caplog.messages
    assert said.startswith(f"{name} is on, but there are no metrics: No module named 'opentelemetry")
    record(SUMMARY)


def _without_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def importing(name: str, *rest: Any, **others: Any) -> Any:
        if name.split(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return usual(name, *rest, **others)

    monkeypatch.setattr(builtins, "__import__", importing)
