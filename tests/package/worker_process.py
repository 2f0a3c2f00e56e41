"""The worker's side of a function app: this file alone, run by the app's own Python with what the app brings.

    python -I worker_process.py WORKER_PACKAGES APP REPORT

Microsoft's worker library and this project's caller of it are in WORKER_PACKAGES, behind the app's packages on the
path, as the worker's are in Azure. A request and an answer are a pickle behind its length. When its input ends, it
writes to REPORT which file each imported module came from, and ends.
"""

import asyncio
import json
import os
import pickle
import struct
import sys
from pathlib import Path
from typing import Any

LENGTH = struct.Struct(">I")


def packed(message: Any) -> bytes:
    """A message as it goes through a pipe."""
    body = pickle.dumps(message)
    return LENGTH.pack(len(body)) + body


async def read(stream: asyncio.StreamReader) -> Any:
    """The next message; None where the stream has ended."""
    try:
        (length,) = LENGTH.unpack(await stream.readexactly(LENGTH.size))
        return pickle.loads(await stream.readexactly(length))  # noqa: S301  it comes from our own other half
    except asyncio.IncompleteReadError:
        return None


async def serve(app: Path, requests: int, answers: int) -> None:
    """Start the app, say which functions it has, and answer invocations side by side until there are no more."""
    from devstack.functions_host import rpc
    from devstack.functions_host.worker import Retry, Worker

    worker = await Worker.start(app)
    functions = {function.name: function for function in worker.functions}

    def answer(message: Any) -> None:
        data = packed(message)
        while data:
            data = data[os.write(answers, data) :]

    async def invoke(number: int, name: str, argument: str, data: bytes, rest: Any) -> None:
        metadata, retry = rest
        typed = rpc.protos.TypedData.FromString
        outcome = await worker.invoke(
            functions[name],
            argument,
            typed(data),
            metadata and {key: typed(value) for key, value in metadata.items()},
            retry and Retry(retry[0], retry[1], retry[2] and rpc.protos.RpcException.FromString(retry[2])),
        )
        returned, exception = (
            None if message is None else message.SerializeToString()
            for message in (outcome.return_value, outcome.exception)
        )
        answer((number, outcome.succeeded, returned, exception))

    stream = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(requests, "rb")
    )
    answer(worker.functions)
    async with asyncio.TaskGroup() as running:
        while (request := await read(stream)) is not None:
            running.create_task(invoke(*request))


def main() -> None:
    """Run, and report."""
    packages, app, report = sys.argv[1:]
    sys.path.append(packages)
    requests, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # what the app prints is not an answer
    asyncio.run(serve(Path(app), requests, answers))
    modules = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    Path(f"{report}.partial").write_text(json.dumps({"modules": modules, "base": sys.base_prefix}))
    Path(f"{report}.partial").replace(report)


if __name__ == "__main__":
    main()
