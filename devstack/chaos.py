"""Chaos: the stack under faults that come at random while a log is published, and whether every execution still counts.

The rule: a fault counts only where it met something (an instance, a link, a send), and every kind happens at least once
in a run, however short. Kinds, order and sizes come from the seed; the moments are the machine's, so that two runs of
one seed are alike but not the same.

The faults are ones that Azure has too, so nothing acknowledged may be taken back. Azurite is therefore asked to stop
(SIGTERM), which keeps all it has acknowledged, and started again on its data: killed, it would forget up to 5 seconds
of acknowledged writes, which Azure Storage never does. The instances are killed outright.

After the last fault the stack is left alone until all is consumed. Then the instances are stopped, so that nothing
changes any more, and the tables are compared row by row with the oracle. Of the dead letters, the hub says which must
be there: a publisher that sends again after a lost answer stores a message twice, and shifts those behind it.
"""

import asyncio
import heapq
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import batched, count
from pathlib import Path
from random import Random

from azure.core.exceptions import AzureError

from devstack.child import Child
from devstack.consumption import backlog, read_hub, wait_until_consumed
from devstack.publish import PublishError, publish
from devstack.stack import Stack
from devstack.verdict import SentMessages, Tables, dead_letter_bodies, disagreements
from devstack.workload import Message, Workload

_POLL_SECONDS = 0.2
_PIECES = 40  # that the log is published in, about
_PIECE_SECONDS = 2.0  # in which one is sent, at least, so that faults find its links
_RECORDS_A_MESSAGE = 20  # about
_CALM_PIECES = 8  # are sent between two rounds of faults: without pauses to recover in, nothing would be consumed
_BACKLOG_PIECES = 4  # that may wait to be consumed before the next is published
_FROZEN_SECONDS = (7.0, 12.0)  # longer than an ownership lasts: the others take the partitions meanwhile
_HUB_ERRORS = ("amqp:link:detach-forced", "com.microsoft:server-busy", "amqp:internal-error")


class Fault(StrEnum):
    """What can happen. Its value is how the table of a run calls it."""

    KILL = "instance killed (SIGKILL)"
    START = "instance started"
    FREEZE = "instance frozen until its partitions are taken"
    STORAGE = "storage stopped, and started again on its data"
    DROP = "all connections to the hub dropped"
    DETACH_CONSUMER = "consumer links detached"
    DETACH_PRODUCER = "producer links detached"
    BUSY_ATTACH = "server busy as a link attaches"
    BUSY_SEND = "server busy as a message is sent"
    LOST_ACK = "acknowledgement of a send lost"
    REWIND = "partition rewound"


_ARMED = {
    Fault.BUSY_ATTACH: "server-busy on attach",
    Fault.BUSY_SEND: "server-busy on send",
    Fault.LOST_ACK: "lost-ack",
}
"""Faults that strike whoever comes next; under what name the Event Hubs server counts them as they do."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of. Times are in seconds."""

    seed: int = 1
    tasks: int = 100_000
    instances: int = 3
    pause: float = 2.0
    """Between two faults of a round, on average. In a round, every kind happens once."""
    outage: float = 15.0
    """The longest that storage is away."""

    @property
    def piece(self) -> int:
        """Messages that are published at a time."""
        return max(10, self.tasks // _RECORDS_A_MESSAGE // _PIECES)


@dataclass(slots=True)
class Result:
    """What happened, and every difference from what should be in the tables and dead letters."""

    plan: Plan
    happened: Counter[Fault] = field(default_factory=Counter)
    executions: int = 0
    jobs: int = 0
    sent: int = 0
    stored: int = 0
    delivered: int = 0
    """Events handed to the instances, again and again where faults had it so."""
    dead_letters: int = 0
    failed_invocations: int = 0
    seconds_of_faults: float = 0.0
    seconds: float = 0.0
    """From the first send to the last checkpoint."""
    differences: list[str] = field(default_factory=list)


def run(plan: Plan, folder: Path, logs: Path, told: Callable[[str], None] = lambda _: None) -> Result:
    """One run; `told` hears of every fault. `folder` keeps the hub and storage. Raises StackError, PublishError."""
    workload = Workload(seed=plan.seed, tasks=plan.tasks)
    result = Result(plan)
    with Stack(data=folder, instances=plan.instances, logs=logs) as stack:
        sent = SentMessages(stack.event_hub_name)
        started = time.monotonic()
        _Chaos(stack, plan, result, told).run(sent.watch(workload.messages()))
        result.seconds_of_faults = time.monotonic() - started
        told("no more faults")
        wait_until_consumed(stack)
        result.seconds = time.monotonic() - started
        for host in stack.hosts:
            host.stop()
        result.delivered = stack.hub_status()["statistics"]["eventsDelivered"]
        read_hub(stack, sent.find)
        tables = Tables(stack.storage_connection)
        letters = dead_letter_bodies(stack.storage_connection)
    executions = list(workload.executions())
    result.executions, result.jobs = len(executions), len(tables.jobs)
    result.sent, result.stored = sent.sent, sent.stored
    result.dead_letters = len(letters)
    result.failed_invocations = sum(log.read_text().count(" failed (invocation ") for log in logs.glob("instance-*"))
    result.differences = disagreements(tables, executions, sent.names) + sent.disagreements(letters)
    return result


class _Chaos:
    """The time of faults: as long as the log is published, and until every kind has happened."""

    def __init__(self, stack: Stack, plan: Plan, result: Result, told: Callable[[str], None]) -> None:
        self._stack = stack
        self._plan = plan
        self._happened = result.happened
        self._told = told
        self._draw = Random(f"{plan.seed}/chaos")
        self._deck: list[Fault] = []
        self._pieces_sent = 0
        self._calm_until = 0  # so many pieces are sent
        self._waiting: list[Fault] = []  # for something to strike
        self._ends: list[tuple[float, int, Callable[[], None]]] = []  # of the faults that last: when, and what to do
        self._numbers = count()
        self._frozen: set[Child] = set()
        self._storage_is_away = False
        self._every_kind_happened = threading.Event()
        self._given_up = threading.Event()
        self._acts: dict[Fault, Callable[[], int]] = {
            Fault.KILL: self._kill,
            Fault.START: self._start,
            Fault.FREEZE: self._freeze,
            Fault.STORAGE: self._stop_storage,
            Fault.DROP: lambda: stack.inject("drop"),
            Fault.DETACH_CONSUMER: lambda: self._detach("consumer"),
            Fault.DETACH_PRODUCER: lambda: self._detach("producer"),
            Fault.BUSY_ATTACH: self._be_busy_at_attach,
            Fault.BUSY_SEND: lambda: self._arm("server-busy", on="send"),
            Fault.LOST_ACK: lambda: self._arm("lost-ack"),
            Fault.REWIND: self._rewind,
        }

    def run(self, messages: Iterable[Message]) -> None:
        """Publish and break until all is published; then mend everything. Raises StackError, PublishError."""
        with ThreadPoolExecutor(1, "publisher") as executor:
            publishing = executor.submit(self._publish, messages)
            try:
                self._break_until(publishing)
            finally:
                self._given_up.set()
                self._mend()
            publishing.result()
        self._stack.inject("clear")
        self._count_armed()
        while len(self._stack.hosts) < self._plan.instances:
            self._stack.add_host()

    # ------------------------------------------------------------ the publisher, in a thread of its own

    def _publish(self, messages: Iterable[Message]) -> None:
        """The log in pieces, each once most of those before it are consumed, so that faults meet both in all phases.

        The last is sent again until every kind of fault has happened: some need a sender.
        """
        piece: tuple[Message, ...] = ()
        for piece in batched(messages, self._plan.piece, strict=False):
            if not self._may_go_on():
                return
            self._send(piece)
        while not self._every_kind_happened.is_set() and self._may_go_on():
            self._send(piece)

    def _send(self, piece: tuple[Message, ...]) -> None:
        """All of the piece again where a send failed, as a publisher does that must lose nothing."""
        stack = self._stack
        rate = len(piece) / _PIECE_SECONDS
        while True:
            try:
                asyncio.run(publish(stack.event_hub_connection, stack.event_hub_name, piece, lambda _: None, rate=rate))
            except PublishError:
                if self._given_up.is_set():
                    raise
            else:
                self._pieces_sent += 1
                return

    def _may_go_on(self) -> bool:
        """Wait until little is left to consume; False where the run ends before that."""
        while not self._given_up.is_set():
            try:
                if backlog(self._stack) <= _BACKLOG_PIECES * self._plan.piece:
                    return True
            except AzureError:
                pass  # storage is away, and the checkpoints with it
            self._given_up.wait(_POLL_SECONDS)
        return False

    # ------------------------------------------------------------ the faults

    def _break_until(self, publishing: "Future[None]") -> None:
        due = time.monotonic()
        while not (publishing.done() and self._every_kind_happened.is_set()):
            if publishing.done():
                publishing.result()  # raises what it ended with
            if not self._storage_is_away:
                self._stack.check()
            self._end_those_due()
            if time.monotonic() >= due and (fault := self._next_fault()):
                self._waiting.append(fault)
                due = time.monotonic() + self._plan.pause * self._draw.uniform(0, 2)
            self._waiting = [fault for fault in self._waiting if not self._strikes(fault)]
            self._count_armed()
            if all(self._happened[fault] for fault in Fault):
                self._every_kind_happened.set()
            time.sleep(_POLL_SECONDS)

    def _next_fault(self) -> Fault | None:
        """The next of a deck that holds every kind once; None in the calm between two decks."""
        if not self._deck:
            if self._pieces_sent < self._calm_until:
                return None
            self._deck = self._draw.sample(list(Fault), len(Fault))
        fault = self._deck.pop()
        if not self._deck:
            self._calm_until = self._pieces_sent + _CALM_PIECES
        return fault

    def _strikes(self, fault: Fault) -> bool:
        """Let it happen; False where it meets nothing now, and has to wait."""
        if not self._acts[fault]():
            return False
        self._told(fault)
        if fault not in _ARMED:
            self._happened[fault] += 1
        return True

    def _count_armed(self) -> None:
        happened = self._stack.hub_status()["statistics"]["faultsHappened"]
        for fault, name in _ARMED.items():
            self._happened[fault] = happened.get(name, 0)

    def _kill(self) -> int:
        """Never the last one: that only takes time, until the next is started."""
        if len(self._stack.hosts) < 2:
            return 0
        self._stack.kill_host(self._draw.choice(self._stack.hosts))
        return 1

    def _start(self) -> int:
        """Up to one more than asked for. Without storage none can start."""
        if self._storage_is_away or len(self._stack.hosts) > self._plan.instances:
            return 0
        self._stack.add_host()
        return 1

    def _freeze(self) -> int:
        awake = [host for host in self._stack.hosts if host not in self._frozen]
        if not awake:
            return 0
        host = self._draw.choice(awake)
        host.freeze()
        self._frozen.add(host)

        def thaw() -> None:
            host.thaw()
            self._frozen.remove(host)

        self._lasts(self._draw.uniform(*_FROZEN_SECONDS), thaw)
        return 1

    def _stop_storage(self) -> int:
        if self._storage_is_away:
            return 0
        self._stack.azurite.stop()
        self._storage_is_away = True

        def start() -> None:
            self._stack.azurite.start()
            self._storage_is_away = False

        self._lasts(self._draw.uniform(0, self._plan.outage), start)
        return 1

    def _detach(self, role: str) -> int:
        match = self._draw.choice(("", self._some_partition()))
        return self._stack.inject("detach", match=match, role=role, condition=self._draw.choice(_HUB_ERRORS))

    def _be_busy_at_attach(self) -> int:
        """Links are detached too, so that some attach."""
        self._arm("server-busy", on="attach")
        return self._stack.inject("detach")

    def _arm(self, command: str, **fields: object) -> int:
        times = self._draw.randint(1, 3)
        self._stack.inject(command, times=times, **fields)
        return times

    def _rewind(self) -> int:
        events = self._draw.randint(1, 2 * self._plan.piece)
        return self._stack.inject("rewind", events=events, match=self._some_partition())

    def _some_partition(self) -> str:
        """As it stands in the addresses of links."""
        return f"Partitions/{self._draw.choice(list(self._stack.last_sequence_numbers()))}"

    # ------------------------------------------------------------ the ends of those that last

    def _lasts(self, seconds: float, end: Callable[[], None]) -> None:
        heapq.heappush(self._ends, (time.monotonic() + seconds, next(self._numbers), end))

    def _end_those_due(self) -> None:
        while self._ends and self._ends[0][0] <= time.monotonic():
            heapq.heappop(self._ends)[2]()

    def _mend(self) -> None:
        while self._ends:
            heapq.heappop(self._ends)[2]()
