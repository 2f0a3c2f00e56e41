"""Azure Event Hubs on one machine: a server over AMQP 1.0 that the unmodified azure-eventhub SDK takes for the service.

    python -m devstack.eventhubs --config config.json --port 5672 --control-port 5673 [--data FOLDER]

or inside a program:

    server = EventHubsServer([HubConfig("eh1", partition_count=2)], control_port=0)
    await server.start()
    client = EventHubProducerClient.from_connection_string(connection_string(server.port), eventhub_name="eh1")
    …
    await server.stop()

It does what the SDK uses: sending (single, batch, partition id, partition key), receiving from any position, epochs,
properties, tokens. It can keep its events in a folder, and goes wrong on request (`faults.py`). It needs the standard
library only, imports nothing else of this project, and is no place for secrets: every token is accepted.

How bytes flow, and in which modules:

    socket ─▶ server.py ─▶ connection.py ─▶ session.py ─▶ links.py ─▶ hub.py ─▶ log.py ─▶ file
              asyncio      handshake,       attach.py:    messages    choice of  numbers,
                           limits           which link    in and out  partition  retention

The way back is the same: a log that has grown wakes its readers' links, which write to the socket on their credit.
From `connection.py` to `hub.py` nothing touches a socket or knows asyncio: bytes go in, and a `Wire` takes bytes out.

    pure, at the bottom   values.py  decoding.py  encoding.py (AMQP values)
                          performatives.py (what frames say)  frames.py (cutting the stream)
                          messages.py (events, batches)  positions.py (where a consumer starts)
    the hubs              config.py  folder.py  log.py  hub.py  management.py ($cbs, $management)
    the protocol          links.py  attach.py  session.py  connection.py  service.py (what connections share)
    around it             faults.py  control.py (HTTP)  server.py  __main__.py  errors.py
"""

from .config import HubConfig, load_config
from .errors import CommandError, ConfigError, DataError, EventHubsServerError
from .server import EventHubsServer, connection_string

__all__ = [
    "CommandError",
    "ConfigError",
    "DataError",
    "EventHubsServer",
    "EventHubsServerError",
    "HubConfig",
    "connection_string",
    "load_config",
]
