"""Microsoft's worker library in this process: it indexes function_app.py, converts bindings, invokes functions.

The rule: whatever a function does, `invoke` returns an Outcome. An exception, a leaked asyncio.CancelledError
(for which the library gives no answer at all) and a SystemExit are all failures of that one invocation.
"""

import asyncio
import json
import logging
import os
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as runtime

from devstack.functions_host.errors import HostError
from devstack.functions_host.retry import RetryPolicy
from devstack.functions_host.rpc import protos

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Function:
    """An indexed function. `bindings` are its bindings' JSON objects as the library reports them."""

    name: str
    id: str
    bindings: tuple[dict[str, Any], ...]
    retry_policy: RetryPolicy | None


@dataclass(frozen=True)
class Retry:
    """What the function sees in `context.retry_context`. `exception` is the last attempt's RpcException, or None."""

    count: int
    max_count: int
    exception: Any


@dataclass(frozen=True)
class Outcome:
    """How an invocation ended. `return_value` is a TypedData or None; `exception` an RpcException or None."""

    succeeded: bool
    return_value: Any = None
    exception: Any = None


class Worker:
    """One function app. Make at most one in a process: the library keeps the app in its module globals."""

    def __init__(self, functions: tuple[Function, ...]) -> None:
        self.functions = functions

    @classmethod
    async def start(cls, app_folder: Path) -> "Worker":
        """Import and index function_app.py of `app_folder`, which becomes the current folder and heads sys.path.

        Raises HostError with the library's message when that fails, and when there is no function.
        """
        if not (app_folder / "function_app.py").is_file():
            raise HostError(f"there is no function_app.py in {app_folder}")
        os.chdir(app_folder)
        sys.path.insert(0, str(app_folder))
        runtime.start_threadpool_executor()
        answer = await runtime.worker_init_request(
            SimpleNamespace(
                request=SimpleNamespace(
                    worker_init_request=protos.WorkerInitRequest(function_app_directory=str(app_folder))
                ),
                properties={"protos": protos, "host": "127.0.0.1"},
            )
        )
        if answer.result.status != protos.StatusResult.Success:
            problem = answer.result.exception
            raise HostError(f"the function app could not be indexed: {problem.message}\n{problem.stack_trace}".rstrip())
        metadata = await runtime.functions_metadata_request(None)
        functions = tuple(_function(entry) for entry in metadata.function_metadata_results)
        if not functions:
            raise HostError(f"{app_folder / 'function_app.py'} defines no function")
        return cls(functions)

    async def invoke(
        self,
        function: Function,
        argument: str,
        data: Any,
        trigger_metadata: Mapping[str, Any] | None = None,
        retry: Retry | None = None,
    ) -> Outcome:
        """Invoke once with `data` (a TypedData) as the parameter `argument`. A failure is logged; never raises."""
        invocation = uuid.uuid4()  # and its trace: telemetry and this host's log lines are found by one id
        request = protos.InvocationRequest(
            invocation_id=str(invocation),
            function_id=function.id,
            input_data=[protos.ParameterBinding(name=argument, data=data)],
            trigger_metadata=trigger_metadata,
            trace_context=protos.RpcTraceContext(trace_parent=f"00-{invocation.hex}-{os.urandom(8).hex()}-01"),
        )
        if retry is not None:
            request.retry_context.retry_count = retry.count
            request.retry_context.max_retry_count = retry.max_count
            if retry.exception is not None:
                request.retry_context.exception.CopyFrom(retry.exception)
        # A task of its own: only so can a cancellation that the function leaked be told from one of the host's.
        task = asyncio.create_task(_run(request), name=f"invoke {function.name}")
        await asyncio.wait({task})
        outcome = _cancelled() if task.cancelled() else task.result()
        if not outcome.succeeded:
            logger.error(
                "Function %s failed (invocation %s): %s\n%s",
                function.name,
                request.invocation_id,
                outcome.exception.message,
                outcome.exception.stack_trace,
            )
        return outcome


async def _run(request: Any) -> Outcome:
    runtime.invocation_id_cv.set(request.invocation_id)
    try:
        response = await runtime.invocation_request(
            SimpleNamespace(request=SimpleNamespace(invocation_request=request))
        )
    except SystemExit as error:
        message = f"SystemExit: {error}: a function may not end its process"
        return Outcome(succeeded=False, exception=protos.RpcException(message=message))
    except Exception as error:
        logger.exception("The worker library failed")
        return Outcome(succeeded=False, exception=protos.RpcException(message=f"{type(error).__name__}: {error}"))
    if response.result.status != protos.StatusResult.Success:
        return Outcome(succeeded=False, exception=response.result.exception)
    returned = response.return_value if response.HasField("return_value") else None
    return Outcome(succeeded=True, return_value=returned)


def _cancelled() -> Outcome:
    message = "CancelledError: asyncio.CancelledError leaked from the function; in Azure the host gets no answer"
    return Outcome(succeeded=False, exception=protos.RpcException(message=message))


def _function(entry: Any) -> Function:
    return Function(
        name=entry.name,
        id=entry.function_id,
        bindings=tuple(json.loads(binding) for binding in entry.raw_bindings),
        retry_policy=_retry_policy(entry.retry_options) if entry.HasField("retry_options") else None,
    )


def _retry_policy(options: Any) -> RetryPolicy:
    def seconds(name: str) -> float:
        return float(getattr(options, name).ToTimedelta().total_seconds())

    if options.retry_strategy == protos.RpcRetryOptions.fixed_delay:
        return RetryPolicy(options.max_retry_count, seconds("delay_interval"), seconds("delay_interval"))
    return RetryPolicy(options.max_retry_count, seconds("minimum_interval"), seconds("maximum_interval"))
