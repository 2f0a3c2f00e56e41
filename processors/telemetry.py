"""What invocations did, as OpenTelemetry metrics, where the telemetry is on.

The rule: the Functions host's own two settings switch it. Where both are off, nothing of OpenTelemetry is imported and
an invocation pays for one call of an empty function. Where one is on and the packages are not there, that is said once
and the app counts without: telemetry never keeps an execution from being counted.

Instruments are made with OpenTelemetry's API alone. Where their figures go is for the SDK, which Microsoft's worker has
set up for Application Insights before the app is imported; for any other backend that is done here, by the variables
that OpenTelemetry defines. docs/telemetry.md has both.
"""

import logging
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from processors.ingest import Summary

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

logger = logging.getLogger(__name__)

APPLICATION_INSIGHTS = "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY"
"""Has the worker set up the SDK for Application Insights, and attach the host's trace context to every invocation."""
OPEN_TELEMETRY = "PYTHON_ENABLE_OPENTELEMETRY"
"""Has the worker attach the host's trace context, and leaves the SDK to the app."""
_TRUE = {"1", "true", "t", "yes", "y"}
"""What the worker takes for true."""

NAME = "batch_rollups"

type Record = Callable[[Summary], None]


class Instrument(NamedTuple):
    """A metric and where in the Summary it is read; None there is not recorded."""

    name: str
    unit: str
    read: Callable[[Summary], float | None]
    description: str


COUNTERS = (
    Instrument(
        f"{NAME}.executions", "{execution}", attrgetter("executions"), "Valid task complete records, duplicates too"
    ),
    Instrument(f"{NAME}.duplicates", "{execution}", attrgetter("duplicates"), "Executions that were counted before"),
    Instrument(f"{NAME}.dead_letters", "{letter}", attrgetter("dead_letters"), "Dead letters written"),
    Instrument(f"{NAME}.conflicts", "{conflict}", attrgetter("conflicts"), "Transactions planned again"),
    Instrument(f"{NAME}.storage.requests", "{request}", attrgetter("storage_requests"), "Requests, repeated ones too"),
)
HISTOGRAMS = (
    Instrument(
        f"{NAME}.storage.duration", "s", attrgetter("storage_seconds"), "Time of an invocation's storage requests, sum"
    ),
    Instrument(
        f"{NAME}.record.age",
        "s",
        attrgetter("newest_record_age_seconds"),
        "From the newest record's time to the invocation",
    ),
    Instrument(
        f"{NAME}.record.delivery",
        "s",
        attrgetter("newest_record_delivery_seconds"),
        "From the newest record's time to its arrival in Event Hubs",
    ),
)
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 21_600, 86_400)
"""Seconds. OpenTelemetry's own are made for milliseconds."""


def recorder(environment: Mapping[str, str]) -> Record:
    """What records a Summary as metrics, or does nothing where the settings in `environment` have telemetry off."""
    insights, otlp = (_is_true(environment, name) for name in (APPLICATION_INSIGHTS, OPEN_TELEMETRY))
    if not (insights or otlp):
        return _nothing
    try:
        from opentelemetry.metrics import get_meter

        if not insights:
            from opentelemetry.instrumentation.auto_instrumentation import initialize

            initialize()  # logs what is wrong with the variables, and goes on
    except ImportError as error:
        on = APPLICATION_INSIGHTS if insights else OPEN_TELEMETRY
        logger.warning("%s is on, but there are no metrics: %s; docs/telemetry.md says what to install", on, error)
        return _nothing
    return recording(get_meter(NAME))


def recording(meter: "Meter") -> Record:
    """What records a Summary with instruments of this meter."""
    counters = [(each.read, meter.create_counter(each.name, each.unit, each.description)) for each in COUNTERS]
    histograms = [
        (
            each.read,
            meter.create_histogram(each.name, each.unit, each.description, explicit_bucket_boundaries_advisory=BUCKETS),
        )
        for each in HISTOGRAMS
    ]

    def record(summary: Summary) -> None:
        partition = {"partition": summary.partition}
        for read, counter in counters:
            counter.add(read(summary) or 0, partition)
        for read, histogram in histograms:
            if (value := read(summary)) is not None:
                histogram.record(value, partition)

    return record


def _nothing(_: Summary) -> None:
    """Telemetry is off."""


def _is_true(environment: Mapping[str, str], name: str) -> bool:
    return environment.get(name, "").strip().lower() in _TRUE
