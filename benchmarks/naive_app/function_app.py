"""`benchmarks.naive` behind the same trigger, with the same settings, as the app."""

import logging
import os
import time
from functools import cache
from typing import List

import azure.functions as func
from azure.core.pipeline.transport import AioHttpTransport
from azure.data.tables.aio import TableServiceClient

from benchmarks import naive

STORAGE = "RollupStorage"

app = func.FunctionApp()


@cache
def service() -> TableServiceClient:
    transport = AioHttpTransport(use_env_settings=False)  # as the app has it
    return TableServiceClient.from_connection_string(os.environ[STORAGE], transport=transport)


@app.function_name("naive")
@app.event_hub_message_trigger(
    arg_name="events",
    event_hub_name="%EventHubName%",
    connection="EventHubConnection",
    consumer_group="%EventHubConsumerGroup%",
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,
)
async def handle(events: List[func.EventHubEvent]) -> None:
    """Write the events' tasks, one after the other."""
    started = time.time()
    for table in naive.TABLES:
        await service().create_table_if_not_exists(table)
    for event in events:
        await naive.handle(service(), event.get_body())
    logging.getLogger(__name__).info('ingested {"milliseconds": %.1f}', (time.time() - started) * 1000)
