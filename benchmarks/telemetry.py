"""What telemetry costs, off and on: CPU of starting the app, memory after it, CPU of an invocation's metrics and line.

Each figure is the best of several processes of their own. Nothing listens where the telemetry is sent to.
"""

import argparse
import json
import os
import subprocess
import sys

from rich.console import Console
from rich.table import Table

from processors.telemetry import APPLICATION_INSIGHTS, OPEN_TELEMETRY

_RUNS = 5
_NOWHERE = "http://127.0.0.1:9"
_APP = {
    "EventHubName": "h",
    "EventHubConsumerGroup": "g",
    "EventHubConnection": "Endpoint=sb://h",
    "RollupStorage": "UseDevelopmentStorage=true",
    "OTEL_METRIC_EXPORT_INTERVAL": "3600000",
}
_SETTINGS = {
    "off": {},
    "Application Insights": {
        APPLICATION_INSIGHTS: "true",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": (
            f"InstrumentationKey=00000000-0000-0000-0000-000000000001;IngestionEndpoint={_NOWHERE}/"
            f";LiveEndpoint={_NOWHERE}/"
        ),
        "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
        "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "azure_sdk,requests,urllib,urllib3",
    },
    "OTLP": {
        OPEN_TELEMETRY: "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": _NOWHERE,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_PYTHON_DISTRO": "distro",
        "OTEL_PYTHON_CONFIGURATOR": "configurator",
    },
}
_CHILD = """
import json, logging, os, resource, time
for exporter in ("opentelemetry", "azure"):
    logging.getLogger(exporter).setLevel(logging.CRITICAL)  # that nothing listens
logging.getLogger().setLevel(logging.INFO)  # as the worker has it
if os.environ.get("PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY"):  # as the worker does it
    from azure.monitor.opentelemetry import configure_azure_monitor
    configure_azure_monitor(connection_string=os.environ["APPLICATIONINSIGHTS_CONNECTION_STRING"])
import function_app
start = time.process_time()
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
from processors.ingest import Summary
summaries = [Summary(str(n % 8), 1, 9, 9, storage_seconds=0.1, newest_record_age_seconds=5.0,
             newest_record_delivery_seconds=4.0) for n in range(1_000)]
def cost(work):
    before = time.thread_time()
    for summary in summaries:
        work(summary)
    return (time.thread_time() - before) / len(summaries) * 1e6
line, log = "x" * 500, logging.getLogger("processors.ingest").info
print(json.dumps([start, memory, cost(function_app.record), cost(lambda _: log("ingested %s", line))]), flush=True)
os._exit(0)
"""


def measure(settings: dict[str, str]) -> list[float]:
    """CPU seconds of starting, MB after it, µs of an invocation's metrics and of its log line: the least of each."""
    environment = {"PATH": os.environ["PATH"], **_APP, **settings}
    runs = [
        json.loads(
            subprocess.run([sys.executable, "-c", _CHILD], env=environment, capture_output=True, check=True).stdout
        )
        for _ in range(_RUNS)
    ]
    return [min(figures) for figures in zip(*runs, strict=True)]


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.telemetry", description=(__doc__ or "").split("\n")[0]
    ).parse_args()
    table = Table("telemetry", "start, s of CPU", "memory, MB", "metrics, µs", "log line, µs")
    for name, settings in _SETTINGS.items():
        start, memory, metrics, line = measure(settings)
        table.add_row(name, f"{start:.2f}", f"{memory:.0f}", f"{metrics:.1f}", f"{line:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
