"""Several writers on one event loop, one storage call at a time, in an order that a seed decides."""

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any

from tests.memory_storage import Call

_SETTLING_STEPS = 8
"""Turns of the event loop in which writers get from one storage call to the next."""


class Turns:
    """Holds every storage call back until it is its turn: any of those that wait, equal ones for equal seeds."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._waiting: list[asyncio.Future[None]] = []

    async def hook(self, _: Call) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    async def run(self, *writers: Coroutine[Any, Any, object]) -> None:
        """Run the writers to their ends. Raises what the first of them raises."""
        tasks = [asyncio.ensure_future(writer) for writer in writers]
        while not all(task.done() for task in tasks):
            for _ in range(_SETTLING_STEPS):
                await asyncio.sleep(0)
            if self._waiting:
                self._waiting.pop(self._random.randrange(len(self._waiting))).set_result(None)
        for task in tasks:
            task.result()
