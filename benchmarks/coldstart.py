"""What starting costs: importing function_app, and what the first invocation adds. CPU seconds, the least of some."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.table_stub import TableStub
from devstack.stack import SAMPLE_SETTINGS

_ROOT = Path(__file__).parents[1]

_SCRIPT = """
import time, sys
started = time.process_time()
import function_app
imported = time.process_time()
import asyncio
from benchmarks.workload import batch, messages

async def invocation(number):
    what = batch(messages(1, first=number * 1000))
    before = time.process_time()
    await function_app.ingest(what, function_app.services.storage(), time.time)
    return time.process_time() - before

async def invoke():
    return [await invocation(number) for number in (0, 1, 2)]

first, _, later = asyncio.run(invoke())
print(imported - started, first - later)
"""


class ColdStart(NamedTuple):
    """Seconds of CPU."""

    importing: float
    """function_app and all that it imports, beyond starting Python."""
    first_invocation: float
    """What the first invocation takes more than a later one: imports put off until then, connections, tables."""


def measured(times: int) -> ColdStart:
    """Of so many processes."""
    runs = []
    values = json.loads(SAMPLE_SETTINGS.read_text())["Values"]
    for _ in range(times):
        with TableStub() as stub:
            environment = {**os.environ, **values, "RollupStorage": stub.connection_string}
            run = subprocess.run(
                [sys.executable, "-c", _SCRIPT], cwd=_ROOT, env=environment, check=True, capture_output=True, text=True
            )
            runs.append([float(word) for word in run.stdout.split()])
    importing, first = (min(values) for values in zip(*runs, strict=True))
    return ColdStart(importing, first)
