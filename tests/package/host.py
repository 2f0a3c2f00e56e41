"""The local Functions host, with the app in a process of its own.

    python -m tests.package.host PYTHON PACKAGES REPORT …

As in Azure, host and worker share nothing but what they say to each other. What follows the three are the options of
`devstack.functions_host`.
"""

import asyncio
import itertools
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from devstack.functions_host import __main__ as command
from devstack.functions_host import host, rpc
from devstack.functions_host.errors import HostError
from devstack.functions_host.worker import Function, Outcome, Retry, Worker
from tests.package import worker_process


class RemoteWorker(Worker):
    """Speaks to `worker_process`. Where that ends by itself, so does this process."""

    command: tuple[str, str, str]
    """The app's Python, the worker's packages, and where to report."""

    def __init__(self, functions: tuple[Function, ...], process: asyncio.subprocess.Process) -> None:
        super().__init__(functions)
        self._process = process
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, app_folder: Path) -> "RemoteWorker":
        python, packages, report = cls.command
        process = await asyncio.create_subprocess_exec(
            python, "-I", worker_process.__file__, packages, str(app_folder), report,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        functions = await worker_process.read(process.stdout)
        if functions is None:
            raise HostError("the worker did not start; its own words are above")
        return cls(functions, process)

    async def invoke(
        self,
        function: Function,
        argument: str,
        data: Any,
        trigger_metadata: Mapping[str, Any] | None = None,
        retry: Retry | None = None,
    ) -> Outcome:
        number = next(self._numbers)
        metadata = trigger_metadata and {name: value.SerializeToString() for name, value in trigger_metadata.items()}
        again = retry and (
            retry.count, retry.max_count, retry.exception and retry.exception.SerializeToString()
        )  # fmt: skip
        request = (number, function.name, argument, data.SerializeToString(), (metadata, again))
        self._waiting[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(worker_process.packed(request))
        return await self._waiting[number]

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while (answer := await worker_process.read(self._process.stdout)) is not None:
            number, succeeded, returned, exception = answer
            self._waiting.pop(number).set_result(
                Outcome(
                    succeeded,
                    None if returned is None else rpc.protos.TypedData.FromString(returned),
                    None if exception is None else rpc.protos.RpcException.FromString(exception),
                )
            )
        os._exit(1)


def main() -> None:
    """Run until a signal."""
    RemoteWorker.command = (sys.argv[1], sys.argv[2], sys.argv[3])
    with patch.object(host, "Worker", RemoteWorker):
        command.main(sys.argv[4:])


if __name__ == "__main__":
    main()
