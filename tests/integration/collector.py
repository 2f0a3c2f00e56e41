"""A backend for telemetry on this machine: it takes what an app exports, by OTLP or as Application Insights does."""

import gzip
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

# Long, because only an app that exports nothing uses it up.
PATIENCE = 60.0


class Collector:
    """A context manager: entered, it listens on `port` of 127.0.0.1."""

    def __init__(self) -> None:
        self._requests: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector._take(self.path, body)
                answer = _answer(self.path, body)
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, what: Callable[[], bool]) -> None:
        """Wait until `what` is true; it is asked anew after everything that comes."""
        with self._changed:
            found = self._changed.wait_for(what, PATIENCE)
            assert found, f"never came; what came: {[path for path, _ in self._requests]}"

    def _take(self, path: str, body: bytes) -> None:
        with self._changed:
            self._requests.append((path, body))
            self._changed.notify_all()

    def _bodies(self, path: str) -> list[bytes]:
        with self._changed:
            return [body for at, body in self._requests if at == path]

    # --- OTLP: protobuf, with counters as they stand ---

    def otlp_metrics(self) -> dict[str, float]:
        """The last value of every counter, and the last sum of every histogram, over partitions."""
        found: dict[str, float] = {}
        for body in self._bodies("/v1/metrics"):
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for metric in (each for scope in resource.scope_metrics for each in scope.metrics):
                    points = metric.sum.data_points or metric.histogram.data_points
                    found[metric.name] = sum(
                        point.sum if metric.HasField("histogram") else point.as_int or point.as_double
                        for point in points
                    )
        return found

    def otlp_logs(self) -> list[tuple[str, str, str]]:
        """Every log record: its text, its trace and its span."""
        return [
            (record.body.string_value, record.trace_id.hex(), record.span_id.hex())
            for body in self._bodies("/v1/logs")
            for resource in ExportLogsServiceRequest.FromString(body).resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    # --- Application Insights: JSON, with counters since the last export ---

    def insights(self, kind: str) -> list[dict[str, Any]]:
        """The envelopes of one kind, `MetricData` or `MessageData`."""
        return [
            envelope
            for body in self._bodies("/v2.1/track")
            for envelope in json.loads(body)
            if envelope["data"]["baseType"] == kind
        ]

    def insights_metrics(self) -> dict[str, float]:
        """The sum of every metric's values."""
        found: dict[str, float] = {}
        for envelope in self.insights("MetricData"):
            for metric in envelope["data"]["baseData"]["metrics"]:
                found[metric["name"]] = found.get(metric["name"], 0) + metric["value"]
        return found


def _answer(path: str, body: bytes) -> bytes:
    if path != "/v2.1/track":
        return b""
    count = len(json.loads(body))
    return json.dumps({"itemsReceived": count, "itemsAccepted": count, "errors": []}).encode()
