"""The app that the host's tests run: each function tells the test what it got, and does what the test answers.

It connects to the test (setting TEST_PORT), sends one line of JSON, and reads one line back: `ok`, `fail`,
`cancel` or `exit`. A test that waits with its answer holds the invocation.
"""

import asyncio
import json
import logging
import os
from typing import Any, List

import azure.functions as func

logger = logging.getLogger(__name__)
app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


async def ask(function: str, **record: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ["TEST_PORT"]))
    try:
        line = json.dumps({"function": function, "pid": os.getpid(), **record})
        writer.write(line.encode() + b"\n")
        answer = (await reader.readline()).decode().strip()
    finally:
        writer.close()
    match answer:
        case "fail":
            raise RuntimeError("the test wants this to fail")
        case "cancel":
            raise asyncio.CancelledError
        case "exit":
            raise SystemExit(3)


def describe(events: List[func.EventHubEvent], context: func.Context) -> dict[str, Any]:
    metadata = events[0].metadata or {}
    retry: Any = context.retry_context
    return {
        "partition": metadata["PartitionContext"]["PartitionId"],
        "context": metadata["PartitionContext"],
        "bodies": [event.get_body().decode("latin-1") for event in events],
        "sequence_numbers": [event.sequence_number for event in events],
        "offsets": [event.offset for event in events],
        "enqueued_times": [event.enqueued_time.isoformat() for event in events if event.enqueued_time],
        "partition_keys": [event.partition_key for event in events],
        "arrays": {name: value for name, value in metadata.items() if name.endswith("Array")},
        "retry_count": retry.retry_count,
        "max_retry_count": retry.max_retry_count,
        "retry_message": retry.rpc_exception.message,
    }


@app.event_hub_message_trigger(
    arg_name="events",
    event_hub_name="%HELD_HUB%",
    connection="EVENTHUB",
    consumer_group="cg1",
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,
)
@app.retry(strategy="fixed_delay", max_retry_count="-1", delay_interval="00:00:00")
async def held(events: List[func.EventHubEvent], context: func.Context) -> None:
    await ask("held", **describe(events, context))


@app.event_hub_message_trigger(
    arg_name="events",
    event_hub_name="%LIMITED_HUB%",
    connection="EVENTHUB",
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,
)
@app.retry(
    strategy="exponential_backoff",
    max_retry_count="2",
    minimum_interval="00:00:00",
    maximum_interval="00:00:01",
)
async def limited(events: List[func.EventHubEvent], context: func.Context) -> None:
    await ask("limited", **describe(events, context))


@app.event_hub_message_trigger(
    arg_name="events",
    event_hub_name="%PLAIN_HUB%",
    connection="EVENTHUB",
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,
)
async def plain(events: List[func.EventHubEvent], context: func.Context) -> None:
    logger.info("plain got %d events", len(events))
    await ask("plain", **describe(events, context))


@app.route(route="things/{kind}/{number:int}/{*rest}", methods=["GET", "POST"])
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    described = {
        "method": req.method,
        "url": req.url,
        "query": dict(req.params),
        "params": dict(req.route_params),
        "headers": dict(req.headers),
        "body": req.get_body().decode("latin-1"),
    }
    response = func.HttpResponse(json.dumps(described), status_code=202, mimetype="application/json")
    response.headers.add("X-Answer", "42")
    response.headers.add("Set-Cookie", "a=1; Path=/x; HttpOnly; Max-Age=60; SameSite=Lax")
    response.headers.add("Set-Cookie", "b=2; Secure; Expires=Wed, 01 Jan 2031 00:00:00 GMT")
    return response


@app.route(route="things/special", methods=["GET"])
def special(req: func.HttpRequest) -> str:
    return f"special {req.method}"


@app.route(methods=["GET"])
def by_name(req: func.HttpRequest) -> func.HttpResponse:
    print("printed by the app")
    raise ValueError(f"no answer to {req.method}")


@app.route(route="together", methods=["POST"])
async def together(req: func.HttpRequest) -> func.HttpResponse:
    await ask("together", body=req.get_body().decode())
    return func.HttpResponse(b"\x00\xff", mimetype="application/octet-stream")


@app.timer_trigger(schedule="0 0 0 1 1 *", arg_name="timer", run_on_startup=False)
async def sweep(timer: func.TimerRequest) -> None:
    await ask("sweep", past_due=timer.past_due)
