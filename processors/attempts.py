"""Trying storage requests again, within bounds, and counting and timing them.

The rule: a request that may succeed later is repeated up to `ATTEMPTS` times with growing, jittered pauses; then
StorageUnavailable goes up, and the trigger's retry policy takes over. Clock and chance are given, so that a simulation
can run the same code.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from processors import limits
from processors.errors import StorageUnavailable


class Attempts:
    """The storage requests of one invocation. `made` counts them, repeated ones included.

    `seconds` is how long they took, summed over requests, of which many run at a time; pauses are not in it.
    """

    def __init__(
        self,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.made = 0
        self.seconds = 0.0
        self._sleep = sleep
        self._chance = chance
        self._clock = clock

    async def of[T](self, request: Callable[[], Awaitable[T]]) -> T:
        """What `request` returns. Raises the last StorageUnavailable; every other error goes up at once."""
        pause = limits.FIRST_PAUSE_SECONDS
        for attempt in range(1, limits.ATTEMPTS + 1):
            self.made += 1
            started = self._clock()
            try:
                return await request()
            except StorageUnavailable as error:
                if not error.transient or attempt == limits.ATTEMPTS:
                    raise
            finally:
                self.seconds += self._clock() - started
            await self._sleep(pause * (0.5 + self._chance() / 2))
            pause = min(2 * pause, limits.LONGEST_PAUSE_SECONDS)
        raise AssertionError("the last attempt returns or raises")
