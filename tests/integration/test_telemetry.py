"""Telemetry under Microsoft's worker library: what an app exports of its invocations, to a collector on this machine.

The worker attaches the host's trace context to every invocation; that it reaches our log line is seen here.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from devstack.stack import Stack
from devstack.workload import Execution
from processors.telemetry import OPEN_TELEMETRY
from tests.infra.files import FILES
from tests.integration.collector import Collector
from tests.integration.harness import envelope, process, record

QUICK = dict.fromkeys(("OTEL_METRIC_EXPORT_INTERVAL", "OTEL_BLRP_SCHEDULE_DELAY", "OTEL_BSP_SCHEDULE_DELAY"), "200")
"""Milliseconds, in the place of a minute and of five seconds."""
END = datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def stack(logs: Path) -> Iterator[Stack]:
    with Stack(instances=0, logs=logs) as running:
        yield running


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as listening:
        yield listening


def body(job: str, tasks: int) -> bytes:
    """A message of `tasks` executions, of which the first comes twice."""
    executions = [
        Execution("acct", job, f"t{n}", END + timedelta(seconds=n), END + timedelta(minutes=n + 1), exit_code=0)
        for n in range(tasks)
    ]
    return envelope(*map(record, [*executions, executions[0]]))


def ingested(text: str) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(text.removeprefix("ingested "))
    return line


def assert_the_hosts(trace: str, text: str, log: Path) -> None:
    """The local host calls a trace as it calls the invocation, of which its log shows the first 8 characters."""
    assert len(trace) == 32
    assert f"[{trace[:8]}] processors.ingest: {text}\n" in log.read_text(encoding="utf-8")


def test_otlp_gets_the_metrics_and_the_log_line_with_its_trace(stack: Stack, collector: Collector, logs: Path) -> None:
    otlp = {
        OPEN_TELEMETRY: "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        # For here alone: beside Microsoft's, which a deployed app has not as well.
        "OTEL_PYTHON_DISTRO": "distro",
        "OTEL_PYTHON_CONFIGURATOR": "configurator",
    }
    host = stack.add_host(settings=otlp | QUICK)
    process(stack, body("otlp", 5), b"no JSON")
    collector.wait_for(lambda: collector.otlp_metrics().get("batch_rollups.dead_letters") == 1)
    metrics = collector.otlp_metrics()
    assert metrics["batch_rollups.executions"] == 6
    assert metrics["batch_rollups.duplicates"] == 1
    assert metrics["batch_rollups.storage.duration"] > 0
    assert metrics["batch_rollups.record.age"] >= metrics["batch_rollups.record.delivery"] > 0

    def lines() -> list[tuple[str, str, str]]:
        return [found for found in collector.otlp_logs() if found[0].startswith("ingested ")]

    collector.wait_for(lambda: sum(ingested(text)["messages"] for text, _, _ in lines()) == 2)
    for text, trace, span in lines():
        assert ingested(text)["storage_seconds"] > 0
        assert int(span, 16)
        assert_the_hosts(trace, text, logs / f"{host.name}.log")
    stack.kill_host(host)


def test_application_insights_gets_the_metrics_and_the_log_line_with_its_trace(
    stack: Stack, collector: Collector, logs: Path
) -> None:
    key = "00000000-0000-0000-0000-000000000001"
    insights = FILES["app.bicep"].variables["settingsOfTelemetry"] | {
        "APPLICATIONINSIGHTS_CONNECTION_STRING": (
            f"InstrumentationKey={key};IngestionEndpoint={collector.url}/;LiveEndpoint={collector.url}/"
        ),
        # What the exporter tells Microsoft of itself.
        "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
        "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
    }
    host = stack.add_host(settings=insights | QUICK)
    process(stack, body("insights", 5), b"no JSON")
    collector.wait_for(lambda: collector.insights_metrics().get("batch_rollups.dead_letters") == 1)
    metrics = collector.insights_metrics()
    assert metrics["batch_rollups.executions"] == 6
    assert metrics["batch_rollups.duplicates"] == 1
    assert metrics["batch_rollups.storage.duration"] > 0

    def lines() -> list[dict[str, Any]]:
        return [found for found in collector.insights("MessageData") if "ingested {" in _text(found)]

    collector.wait_for(lambda: sum(ingested(_text(found))["messages"] for found in lines()) == 2)
    for found in lines():
        assert int(found["tags"]["ai.operation.parentId"], 16)
        assert_the_hosts(found["tags"]["ai.operation.id"], _text(found), logs / f"{host.name}.log")
    dependencies = collector.insights("RemoteDependencyData")  # among which an SDK's request would be
    assert [found for found in dependencies if "dead-letters" in json.dumps(found)] == []
    stack.kill_host(host)


def _text(envelope: dict[str, Any]) -> str:
    text: str = envelope["data"]["baseData"]["message"]
    return text
