"""Outages of storage, each for minutes, under a steady stream of messages: is the partition held, and memory flat?

The rule: only the rollups' storage goes away, in an account of its own. The checkpoints' storage stays, so that an
instance which wanted to pass over what it could not count would succeed, and be seen.

Azurite is stopped by SIGTERM and started again on its data, for the reason that `chaos` gives.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from devstack.azurite import Azurite
from devstack.child import Child, StackError
from devstack.consumption import backlog, checkpoints, wait_until_consumed
from devstack.publish import Counts, publish
from devstack.stack import Stack
from devstack.verdict import ExpectedDeadLetters, Tables, disagreements
from devstack.workload import Message, Workload

_SAMPLE_SECONDS = 0.5
_HELD_WITHIN = 60.0  # seconds: a failed invocation has tried for about ten
_HELD = re.compile(r": partition (\w+): retry \d+ in ")  # as the host's log tells it
_RECORDS_A_TASK = 1.3  # about: those of other operations and repeated ones among them
_STALLED_AFTER = 1200.0  # the trigger's pauses grow with the outage, up to 15 minutes


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of. Times are in seconds."""

    seed: int = 1
    outage: float = 180.0
    times: int = 1
    """How often storage goes away; each time all is consumed before the next."""
    before: float = 30.0
    """From the first message until storage goes away. The messages go on as long after it is back."""
    rate: float = 100.0
    """Messages a second."""
    records: int = 1
    """The most that a message has, and what half of the messages have."""

    @property
    def messages(self) -> int:
        """Sent around one outage."""
        return round((2 * self.before + self.outage) * self.rate)

    @property
    def tasks(self) -> int:
        records = 0.3 + 0.7 * self.records  # in a message on average
        return round(self.times * self.messages * records / _RECORDS_A_TASK)


@dataclass(slots=True)
class Phase:
    """The instance's memory in one phase of the run: resident set sizes, in bytes."""

    name: str
    seconds: float = 0.0
    sizes: list[int] = field(default_factory=list)

    def thirds(self) -> tuple[int, int, int]:
        """The largest in the first, second and last third of the phase."""
        first, second = len(self.sizes) // 3, 2 * len(self.sizes) // 3
        return max(self.sizes[: first + 1]), max(self.sizes[first : second + 1]), max(self.sizes[second:])


@dataclass(slots=True)
class Result:
    """What was measured, and every difference from what should be in the tables and dead letters."""

    phases: list[Phase] = field(default_factory=list)
    messages: int = 0
    executions: int = 0
    backlog: int = 0
    """Events that waited as storage came back, the most of them."""
    passed: int = 0
    """Events that were checkpointed while storage was away."""
    differences: list[str] = field(default_factory=list)


def run(plan: Plan, folder: Path, logs: Path, told: Callable[[str], None] = lambda _: None) -> Result:
    """One run; `told` hears of every phase. `folder` keeps the storage. Raises StackError, PublishError."""
    workload = Workload(
        seed=plan.seed,
        tasks=plan.tasks,
        start_events=0,
        median_records=plan.records,
        max_records=plan.records,
    )
    result = Result()
    with (
        Azurite(data=folder) as rollups,
        Stack(instances=0, logs=logs) as stack,
        ThreadPoolExecutor(1, "publisher") as executor,
    ):
        watched = _Watched(stack.add_host(settings={"RollupStorage": rollups.connection_string}), result, told)
        log = logs / f"{watched.host.name}.log"
        expected = ExpectedDeadLetters(stack.event_hub_name)
        messages = expected.watch(workload.messages())

        def send(some: Iterable[Message]) -> Counts:
            hub, name = stack.event_hub_connection, stack.event_hub_name
            return asyncio.run(publish(hub, name, some, lambda _: None, rate=plan.rate))

        for number in range(1, plan.times + 1):
            some = islice(messages, plan.messages) if number < plan.times else messages
            _one_outage(plan, stack, rollups, watched, log, executor.submit(send, some))
        tables = Tables(rollups.connection_string)
    executions = list(workload.executions())
    result.executions = len(executions)
    result.differences = disagreements(tables, executions, expected.names)
    return result


def _one_outage(
    plan: Plan, stack: Stack, rollups: Azurite, watched: "_Watched", log: Path, publishing: Future[Counts]
) -> None:
    result = watched.result
    watched.begin("before")
    watched.goes_on(plan.before)
    rollups.stop()
    watched.begin("storage is away")
    _wait_until_held(stack, watched, log)
    held = checkpoints(stack)
    watched.goes_on(plan.outage - watched.seconds)
    result.passed += sum(checkpoints(stack).values()) - sum(held.values())
    result.backlog = max(result.backlog, backlog(stack))
    rollups.start()
    watched.begin("storage is back")
    while not publishing.done():
        watched.goes_on(_SAMPLE_SECONDS)
    result.messages += publishing.result().messages
    wait_until_consumed(stack, lambda _: watched.sample(), stalled_after=_STALLED_AFTER)
    watched.begin("all is consumed")
    watched.goes_on(plan.before / 3)


def _wait_until_held(stack: Stack, watched: "_Watched", log: Path) -> None:
    """Until every partition has a batch that failed: nothing of it may be checkpointed from then on.

    Raises StackError where that does not come to pass.
    """
    told_before = log.stat().st_size
    partitions, held = set(stack.last_sequence_numbers()), set[str]()
    while not partitions <= held:
        if watched.seconds > _HELD_WITHIN:
            raise StackError(
                f"storage is away, and of the partitions {sorted(partitions)} only {sorted(held)} are held"
            )
        watched.goes_on(_SAMPLE_SECONDS)
        held = set(_HELD.findall(log.read_bytes()[told_before:].decode()))


class _Watched:
    """The instance, whose memory is looked at all the time."""

    def __init__(self, host: Child, result: Result, told: Callable[[str], None]) -> None:
        self.host = host
        self.result = result
        self._told = told
        self._began = 0.0

    @property
    def seconds(self) -> float:
        """Since the phase began."""
        return time.monotonic() - self._began

    def begin(self, name: str) -> None:
        self._told(name)
        self.result.phases.append(Phase(name))
        self._began = time.monotonic()
        self.sample()

    def goes_on(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.sample()
            time.sleep(_SAMPLE_SECONDS)

    def sample(self) -> None:
        self.host.check()
        phase = self.result.phases[-1]
        phase.sizes.append(self.host.resident_bytes())
        phase.seconds = self.seconds
