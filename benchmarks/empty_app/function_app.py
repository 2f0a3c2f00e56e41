"""What the trigger costs without a function: the events are read as the app reads them."""

from typing import List

import azure.functions as func

app = func.FunctionApp()


@app.function_name("empty")
@app.event_hub_message_trigger(
    arg_name="events",
    event_hub_name="%EventHubName%",
    connection="EventHubConnection",
    consumer_group="%EventHubConsumerGroup%",
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,
)
async def read(events: List[func.EventHubEvent]) -> None:
    for event in events:
        event.get_body()
        event.sequence_number  # noqa: B018 - parsed when it is asked for
        event.enqueued_time  # noqa: B018
