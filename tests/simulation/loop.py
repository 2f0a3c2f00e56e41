"""An event loop without time and without chance: what is due next runs next, and the clock jumps there.

The rule: the order of steps follows from the delays alone, ties from the order of their making. Nothing here waits,
reads a clock, or touches a socket or thread.

A step belongs to the `Process` in whose context it was made. Once that is dead its steps are skipped for good: a task
of it stands where it stood at the crash, with no exception thrown in and no `finally` run.
"""

import asyncio
import heapq
from asyncio.events import _set_running_loop
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from itertools import count
from typing import Any, NamedTuple


class Process:
    """What dies as a whole."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True


_PROCESS: ContextVar[Process] = ContextVar("process")


class _Step(NamedTuple):
    when: float
    order: int
    handle: asyncio.Handle
    callback: Callable[..., object]
    args: tuple[Any, ...]
    context: Context


class VirtualLoop(asyncio.BaseEventLoop):
    """Enough of an event loop for coroutines that sleep, wait for each other and for tasks of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = False
        """Set by a step: no further one runs."""
        self._now = 0.0
        self._steps: list[_Step] = []
        self._orders = count()
        self._started: list[Coroutine[Any, Any, object]] = []
        self.set_exception_handler(
            lambda _loop, _context: None
        )  # tasks of the dead are pending for ever, as they should

    def time(self) -> float:
        """Seconds since the history began."""
        return self._now

    def call_at[*Ts](
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        context = copy_context() if context is None else context
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._steps, _Step(when, next(self._orders), handle, callback, args, context))
        return handle

    def call_soon[*Ts](
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now, callback, *args, context=context)

    def create_task[T](self, coro: Generator[Any, None, T] | Coroutine[Any, Any, T], **options: Any) -> asyncio.Task[T]:
        assert isinstance(coro, Coroutine)
        self._started.append(coro)
        return super().create_task(coro, **options)

    def start[T](self, process: Process, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin `work` as a part of the process."""
        context = Context()
        context.run(_PROCESS.set, process)
        return self.create_task(work, context=context)

    def run_until_idle(self) -> None:
        """Run until nothing is due any more, now or ever, or a step has stopped the loop."""
        _set_running_loop(self)
        try:
            while self._steps and not self.stopped:
                step = heapq.heappop(self._steps)
                process = step.context.get(_PROCESS)
                if step.handle.cancelled() or not (process is None or process.alive):
                    continue
                self._now = step.when
                step.context.run(step.callback, *step.args)
        finally:
            _set_running_loop(None)

    def close(self) -> None:
        """End what still stands somewhere, running nothing of it but its `finally` clauses."""
        for coroutine in self._started:
            coroutine.close()
        self._steps.clear()
        super().close()
