"""The server as a process: `python -m devstack.eventhubs --config FILE --port N --control-port N [--data DIR]`.

Once it listens it prints one line of JSON, `{"port": …, "controlPort": …}`, on stdout, which its parent reads.
SIGTERM and SIGINT stop it cleanly. A config, port or data folder it cannot use: one line on stderr, exit status 1.
"""

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from .config import load_config
from .errors import EventHubsServerError
from .server import EventHubsServer


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devstack.eventhubs", description="Event Hubs on this machine.")
    parser.add_argument("--config", type=Path, required=True, help="config.json in the format of Microsoft's emulator")
    parser.add_argument("--port", type=_port, default=5672, help="AMQP port; 0 takes a free one (default: 5672)")
    parser.add_argument("--control-port", type=_port, default=0, help="HTTP control port (default: a free one)")
    parser.add_argument("--data", type=Path, help="keep events in this folder (default: in memory only)")
    parser.add_argument(
        "--retention-bytes", type=_positive, help="let go of a partition's oldest events beyond this (default: never)"
    )
    return parser.parse_args(argv)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


async def _serve(arguments: argparse.Namespace) -> None:
    server = EventHubsServer(
        load_config(arguments.config),
        port=arguments.port,
        control_port=arguments.control_port,
        data=arguments.data,
        retention_bytes=arguments.retention_bytes,
    )
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await server.start()
    try:
        print(json.dumps({"port": server.port, "controlPort": server.control_port}), flush=True)
        await stopping.wait()
    finally:
        await server.stop()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop; the exit status."""
    logging.basicConfig(level=logging.WARNING, format="eventhubs: %(levelname)s: %(message)s")
    arguments = _arguments(argv)
    try:
        asyncio.run(_serve(arguments))
    except (EventHubsServerError, OSError) as error:
        print(f"eventhubs: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
