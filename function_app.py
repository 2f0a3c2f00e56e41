"""The Azure Functions app: bindings only.

What happens with a batch is in `processors.ingest`, what a request is answered in `reader.api`, what the timer does in
`reader.retention`.
"""

import os
from typing import List

import azure.functions as func

from processors.ingest import Batch, Message, ingest
from processors.services import Services
from processors.settings import load
from processors.telemetry import recorder
from reader.hosted import Hosted

settings = load(os.environ)
services = Services(settings)
hosted = Hosted(settings, os.environ)
record = recorder(os.environ)

app = func.FunctionApp()


@app.function_name("ingest")
@app.event_hub_message_trigger(
    arg_name="events",
    event_hub_name="%EventHubName%",
    connection="EventHubConnection",
    consumer_group="%EventHubConsumerGroup%",
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,  # as text, the host would drop or rewrite bodies before we see them
)
@app.retry(
    strategy="exponential_backoff", max_retry_count="-1", minimum_interval="00:00:05", maximum_interval="00:15:00"
)
async def ingest_batch(events: List[func.EventHubEvent]) -> None:
    """Count a batch of diagnostic-log messages. While storage is away, the retry policy holds the partition."""
    record(await ingest(_batch(events), services.storage(), services.clock))


@app.function_name("api")
@app.route("{*path}", trigger_arg_name="request", auth_level=func.AuthLevel(settings.api_auth_level))
def answer(request: func.HttpRequest) -> func.HttpResponse:
    """The rollups as JSON. The worker runs this in a thread: reading blocks."""
    status, headers, body = hosted.data(request.method, request.url, request.headers)
    return func.HttpResponse(body, status_code=status, headers=dict(headers))


@app.function_name("dashboard")
@app.route("dashboard/{*file}", trigger_arg_name="request", auth_level=func.AuthLevel.ANONYMOUS)
def page(request: func.HttpRequest) -> func.HttpResponse:
    """The dashboard's page and what it loads, for everybody: the data that it shows comes from `api`."""
    status, headers, body = hosted.page(request.method, request.url, request.headers)
    return func.HttpResponse(body, status_code=status, headers=dict(headers))


@app.function_name("retention")
@app.timer_trigger(arg_name="timer", schedule=settings.retention_schedule)
def purge_old_jobs(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the worker asks for it
    """Purge the jobs that are older than the settings keep them. The worker runs this in a thread: purging blocks."""
    if settings.retention_days:
        from reader.retention import retain  # when it is needed: an app that ingests does not wait for the read side

        retain(settings, settings.retention_days)


def _batch(events: List[func.EventHubEvent]) -> Batch:
    """The trigger's events. All carry the same metadata, which is parsed anew for every event that is asked for it."""
    metadata = events[0].metadata
    assert metadata is not None  # a trigger's events have it; only those that a function sends do not
    context = metadata["PartitionContext"]
    return Batch(context["EventHubName"], context["PartitionId"], [_message(event) for event in events])


def _message(event: func.EventHubEvent) -> Message:
    assert event.sequence_number is not None  # Event Hubs numbers every event
    return Message(event.get_body(), event.sequence_number, event.enqueued_time)
