"""The command: `python -m devstack.functions_host --app DIR --settings FILE`.

On stdout comes one line of JSON when the app is served, `{"httpPort": …, "functions": […]}`, and nothing else ever:
what the app prints goes to stderr, among the log lines. Exit status 0 after SIGTERM or SIGINT; 1 when
the app could not be started, or when an invocation did not end within the grace and was cut off.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TextIO

from azure_functions_runtime import invocation_id_cv

from devstack.functions_host.errors import HostError
from devstack.functions_host.event_hub_trigger import LoadBalancing
from devstack.functions_host.host import Host, Options

logger = logging.getLogger("devstack.functions_host")


class _LineFormat(logging.Formatter):
    """Time, level, instance, the invocation a record belongs to (its first 8 characters), logger, message."""

    def __init__(self, instance: str) -> None:
        super().__init__(f"%(asctime)s %(levelname)-7s {instance} %(invocation)s%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        invocation = invocation_id_cv.get()
        record.invocation = f"[{invocation[:8]}] " if invocation else ""
        return super().format(record)


def _parse(arguments: list[str] | None) -> Options:
    defaults = LoadBalancing()
    parser = argparse.ArgumentParser(
        prog="python -m devstack.functions_host", description="Run one Azure Functions app in Python on this machine."
    )
    parser.add_argument("--app", type=Path, required=True, help="folder with function_app.py and host.json")
    parser.add_argument("--settings", type=Path, required=True, help="file in the format of local.settings.json")
    parser.add_argument("--http-port", type=int, default=7071, help="0 for a free one (default %(default)s)")
    parser.add_argument("--instance", default=f"host-{os.getpid()}", help="name in logs and status")
    parser.add_argument(
        "--load-balancing-interval", type=float, default=defaults.interval, metavar="SECONDS",
        help="how often partitions are looked for (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--ownership-expiration", type=float, default=defaults.ownership_expiration, metavar="SECONDS",
        help="after how long a silent instance loses its partitions (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--grace", type=float, default=30.0, metavar="SECONDS",
        help="how long running invocations may go on when stopping (default %(default)s)",
    )  # fmt: skip
    parsed = parser.parse_args(arguments)
    return Options(
        app=parsed.app,
        settings=parsed.settings,
        http_port=parsed.http_port,
        instance=parsed.instance,
        load_balancing=LoadBalancing(parsed.load_balancing_interval, parsed.ownership_expiration),
        grace=parsed.grace,
    )


def _log_to_stderr(instance: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_LineFormat(instance))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # The SDKs log every request, the worker library every invocation.
    logging.getLogger("azure").setLevel(logging.WARNING)


async def _serve(options: Options, ready: TextIO) -> int:
    try:
        host = await Host.start(options)
    except HostError as error:
        logger.error("%s", error)  # noqa: TRY400  the sentence is what helps; the traceback is this host's
        return 1
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(json.dumps({"httpPort": host.http_port, "functions": host.functions}), file=ready, flush=True)
    await stop.wait()
    logger.info("Stopping")
    ended = await host.stop(options.grace)
    logger.info("Stopped")
    return 0 if ended else 1


def main(arguments: list[str] | None = None) -> None:
    """Run until a signal, and end the process."""
    options = _parse(arguments)
    _log_to_stderr(options.instance)
    ready, sys.stdout = sys.stdout, sys.stderr
    status = asyncio.Runner().run(_serve(options, ready))
    logging.shutdown()
    # A usual exit would wait for what did not end within the grace: a function's thread, a task that resists.
    os._exit(status)


if __name__ == "__main__":
    main()
