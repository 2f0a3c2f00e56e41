"""An outage of storage for minutes, under a steady stream of messages: is the partition held, and memory flat?

The rule: only the rollups' storage goes away, in an account of its own. The checkpoints' storage stays, so that an
instance which wanted to pass over what it could not count would succeed, and be seen.

Azurite is stopped by SIGTERM and started again on its data, for the reason that `chaos` gives.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from devstack.azurite import Azurite
from devstack.child import Child
from devstack.consumption import backlog, checkpoints, wait_until_consumed
from devstack.publish import publish
from devstack.stack import Stack
from devstack.verdict import ExpectedDeadLetters, Tables, disagreements
from devstack.workload import Workload

_SAMPLE_SECONDS = 0.5
_SETTLED_SECONDS = 5.0  # an invocation that had written everything when storage went may checkpoint within these
_MESSAGES_A_TASK = 1.45  # about: bad and repeated messages among them
_STALLED_AFTER = 1200.0  # the trigger's pauses grow with the outage, up to 15 minutes


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of. Times are in seconds."""

    seed: int = 1
    outage: float = 180.0
    before: float = 30.0
    """From the first message until storage goes away. The messages go on as long after it is back."""
    rate: float = 100.0
    """Messages a second, of one record each."""

    @property
    def tasks(self) -> int:
        return round((2 * self.before + self.outage) * self.rate / _MESSAGES_A_TASK)


@dataclass(slots=True)
class Phase:
    """The instance's memory in one phase of the run: resident set sizes, in bytes."""

    name: str
    seconds: float = 0.0
    lowest: int = 0
    highest: int = 0

    def take(self, size: int) -> None:
        self.lowest = min(self.lowest or size, size)
        self.highest = max(self.highest, size)


@dataclass(slots=True)
class Result:
    """What was measured, and every difference from what should be in the tables and dead letters."""

    phases: list[Phase] = field(default_factory=list)
    messages: int = 0
    executions: int = 0
    backlog: int = 0
    """Events that waited as storage came back."""
    passed: int = 0
    """Events that were checkpointed while storage was away."""
    differences: list[str] = field(default_factory=list)


def run(plan: Plan, folder: Path, logs: Path, told: Callable[[str], None] = lambda _: None) -> Result:
    """One run; `told` hears of every phase. `folder` keeps the storage. Raises StackError, PublishError."""
    workload = Workload(seed=plan.seed, tasks=plan.tasks, start_events=0, median_records=1, max_records=1)
    result = Result()
    with (
        Azurite(data=folder) as rollups,
        Stack(instances=0, logs=logs) as stack,
        ThreadPoolExecutor(1, "publisher") as executor,
    ):
        watched = _Watched(stack.add_host(settings={"RollupStorage": rollups.connection_string}), result, told)
        expected = ExpectedDeadLetters(stack.event_hub_name)
        messages = expected.watch(workload.messages())
        publishing = executor.submit(
            lambda: asyncio.run(
                publish(stack.event_hub_connection, stack.event_hub_name, messages, lambda _: None, rate=plan.rate)
            )
        )
        watched.during("before", plan.before)
        rollups.stop()
        watched.during("storage is away", _SETTLED_SECONDS)
        held = checkpoints(stack)
        watched.goes_on(plan.outage - _SETTLED_SECONDS)
        result.passed = sum(checkpoints(stack).values()) - sum(held.values())
        result.backlog = backlog(stack)
        rollups.start()
        watched.begin("storage is back")
        while not publishing.done():
            watched.goes_on(_SAMPLE_SECONDS)
        result.messages = publishing.result().messages
        wait_until_consumed(stack, lambda _: watched.sample(), stalled_after=_STALLED_AFTER)
        watched.during("all is consumed", plan.before / 3)
        tables = Tables(rollups.connection_string)
    executions = list(workload.executions())
    result.executions = len(executions)
    result.differences = disagreements(tables, executions, expected.names)
    return result


class _Watched:
    """The instance, whose memory is looked at all the time."""

    def __init__(self, host: Child, result: Result, told: Callable[[str], None]) -> None:
        self._host = host
        self._phases = result.phases
        self._told = told
        self._began = 0.0

    def begin(self, name: str) -> None:
        self._told(name)
        self._phases.append(Phase(name))
        self._began = time.monotonic()
        self.sample()

    def during(self, name: str, seconds: float) -> None:
        """A phase, for so long."""
        self.begin(name)
        self.goes_on(seconds)

    def goes_on(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.sample()
            time.sleep(_SAMPLE_SECONDS)

    def sample(self) -> None:
        self._host.check()
        phase = self._phases[-1]
        phase.take(self._host.resident_bytes())
        phase.seconds = time.monotonic() - self._began
