"""One seed → one scenario: what is published, how the hub delivers it, and what goes wrong.

The rule: a scenario is plain data, drawn before anything runs, and holds every choice of its history. So it can be made
smaller piece by piece and run again (`shrink`). Choices that a history has no more use for are left over; where it
needs more than there are, all goes well: so every history ends.

Jobs, tasks and times are few, so that what can collide does.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any, NamedTuple

from processors.events import Execution
from tests.core.examples import AN_EXECUTION, NOON, SECOND, record

# --- what is published -----------------------------------------------------------------------------------------------


class Item(NamedTuple):
    """One item of a message."""

    raw: bytes
    is_record: bool
    """Has an operation name: a message of none but others is bad as a whole."""
    execution: Execution | None = None
    """What it tells; None where it is bad or of an operation that is not counted."""
    bad: bool = False


class Published(NamedTuple):
    """One message: its items, or bytes that hold none."""

    items: tuple[Item, ...]
    garbage: bytes = b""

    @property
    def body(self) -> bytes:
        return b'{"records": [' + b", ".join(item.raw for item in self.items) + b"]}" if self.items else self.garbage

    def executions(self) -> Iterator[Execution]:
        return (item.execution for item in self.items if item.execution is not None)

    def letters(self) -> Iterator[tuple[str, bytes]]:
        """The end of the name and the bytes of each dead letter that the message has to become."""
        if not any(item.is_record for item in self.items):
            yield "message", self.body
            return
        for index, item in enumerate(self.items):
            if item.bad:
                yield f"{index:05}", item.raw


_NO_RECORDS = (b"1", b"null", b'{"x": [1, "\xc3\xa9"]}', b'{"operationName": ""}')
_GARBAGE = (b"", b"oops", b'{"records": []}', b"\xff\xfe", b'{"records": [{"operationName": "TaskComp')
_OTHER_OPERATIONS = ("TaskStartEvent", "TaskFailEvent", "PoolResizeEvent")

_ACCOUNTS = ("acc",) * 7 + ("Acc", "other")
_JOBS = ("job",) * 4 + ("JOB", "second")
_TASKS = ("t1", "t2", "t2", "T2", "t3", "~job~0", "a/b", "1")
_STARTS = (None, 0, 0, 1, 30)
_ENDS = (5, 10, 10, 10, 11, 7_200)


def _executions(random: Random, *, crowded: bool) -> list[Execution]:
    """Some distinct executions."""
    found: dict[tuple[object, ...], Execution] = {}
    jobs, tasks = (1, len(_TASKS)) if crowded else (random.randint(1, len(_JOBS)), random.randint(1, len(_TASKS)))
    for _ in range(random.choice((5, 8) if crowded else (1, 2, 3, 5, 8, 13))):
        start = random.choice(_STARTS)
        code = random.choice((0, 0, 0, 1, None))
        execution = AN_EXECUTION._replace(
            account="acc" if crowded else random.choice(_ACCOUNTS),
            job_id=random.choice(_JOBS[:jobs]),
            task_id=random.choice(_TASKS[:tasks]),
            pool_id=random.choice(("p", "q")),
            start=None if start is None else NOON + start * SECOND,
            end=NOON + random.choice(_ENDS) * SECOND,
            exit_code=code,
            succeeded=code == 0,
            retry_count=random.randint(0, 2),
            max_task_retry_count=2,
            failure_code="" if code == 0 else "Broke",
        )
        ids = execution.account.lower(), execution.job_id.lower(), execution.task_id.lower()
        found.setdefault((*ids, execution.start, execution.end), execution)
    return list(found.values())


def _item(random: Random, executions: list[tuple[Execution, bytes]]) -> Item:
    match random.random():
        case chance if chance < 0.78:
            execution, raw = random.choice(executions)
            return Item(raw, is_record=True, execution=execution)
        case chance if chance < 0.86:
            fields: dict[str, Any] = {"operationName": random.choice(_OTHER_OPERATIONS), "properties": {"id": "t1"}}
            return Item(json.dumps(fields).encode(), is_record=True)
        case chance if chance < 0.94:
            fields = {"operationName": "TaskCompleteEvent", "properties": {"id": f"bad {random.randrange(9)}"}}
            return Item(json.dumps(fields).encode(), is_record=True, bad=True)
    return Item(random.choice(_NO_RECORDS), is_record=False, bad=True)


def _messages(random: Random, *, crowded: bool) -> tuple[tuple[Published, ...], ...]:
    """The messages of each partition. A publisher's duplicates come of themselves: there are few executions."""
    told = _executions(random, crowded=crowded)
    executions = [(execution, json.dumps(record(execution)).encode()) for execution in told]
    most = random.choice((1, 2, 2, 4))
    partitions: list[list[Published]] = [[] for _ in range(random.choice((1, 2) if crowded else (1, 2, 2, 3)))]
    for _ in range(random.choice((3, 5, 10) if crowded else (1, 2, 3, 4, 6, 10))):
        if random.random() < 0.06:
            message = Published((), random.choice(_GARBAGE))
        else:
            message = Published(tuple(_item(random, executions) for _ in range(random.randint(1, most))))
        random.choice(partitions).append(message)
    return tuple(map(tuple, partitions))


# --- what happens to storage calls -----------------------------------------------------------------------------------


class Fault(Enum):
    """What goes wrong with one storage call."""

    NONE = "succeeds"
    ERROR = "fails before it reaches storage"
    LOST = "is carried out, its answer lost"
    LATE = "is given up, and carried out later"
    THROTTLED = "is throttled, as are all others for a while"
    FORBIDDEN = "is forbidden"
    SLOW = "takes very long"
    CRASH_BEFORE = "is not sent: its instance crashes"
    CRASH_AFTER = "is carried out, and its instance crashes"


class Outcome(NamedTuple):
    """What becomes of one storage call."""

    fault: Fault = Fault.NONE
    before: float = 0.01
    """Seconds until storage has it."""
    after: float = 0.01
    """Seconds from there to the answer, to the end of throttling, or to the late effect."""


class Delivery(NamedTuple):
    """What the host does with one batch."""

    size: int = 1
    """Messages in it."""
    pause: float = 1.0
    """Seconds until it comes again, if it failed."""
    again: int = 0
    """Batches that the host goes on with once another instance owns the partition."""
    saved: bool = True
    """Whether its checkpoint is written."""


class Upset(Enum):
    """What happens to the hub or an instance, at a time of its own."""

    MOVE = "is moved to another instance, the former not knowing"
    REPLAY = "is delivered again from an older message on"
    CANCEL = "has its invocations cancelled"


class Event(NamedTuple):
    """An upset at a time: of one partition, or of the instance that owns it."""

    time: float
    upset: Upset
    partition: int
    choice: float
    """Picks the other instance, or the message, from what there is then."""


class Bounds(NamedTuple):
    """Limits of `processors.limits` made small, so that few messages reach them; None: as they are."""

    OPERATIONS_A_TRANSACTION: int | None = None
    ROWS_A_READ: int | None = None
    CONCURRENT_JOBS: int | None = None
    CONFLICTS_A_JOB: int | None = None
    EXECUTIONS_LISTED: int | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """All of a history's choices."""

    seed: int
    partitions: tuple[tuple[Published, ...], ...]
    instances: int
    events: tuple[Event, ...]
    outcomes: tuple[Outcome, ...]
    """In the order of the storage calls, whoever makes them."""
    deliveries: tuple[Delivery, ...]
    """In the order of the batches."""
    bounds: Bounds
    page: int | None
    """Rows that a query reads at once, others writing between pages; None: all."""
    buckets: tuple[int, ...]
    """How many each instance gives a job that it founds, in turns: a setting may change while others still run."""

    def executions(self) -> Iterator[Execution]:
        """Every execution as often as it is published."""
        for published in self.partitions:
            for message in published:
                yield from message.executions()


_FAULTS = (Fault.ERROR, Fault.LOST, Fault.LOST, Fault.LATE, Fault.THROTTLED, Fault.FORBIDDEN, Fault.SLOW, Fault.SLOW)
_CRASHES = (Fault.CRASH_BEFORE, Fault.CRASH_AFTER)


def scenario(seed: int) -> Scenario:
    """The scenario of a seed."""
    random = Random(seed)
    crowded = random.random() < 0.4  # one job, on which several instances work at the same time
    partitions = _messages(random, crowded=crowded)
    faulty = random.choice((0.0, 0.02, 0.1, 0.25))
    crashing = random.choice((0.0, 0.01, 0.04))
    spread = random.choice((0.05, 0.5, 0.5, 2.0))
    span = spread * random.choice((1, 4, 10)) if crowded else random.choice((1.0, 5.0, 20.0))
    return Scenario(
        seed=seed,
        partitions=partitions,
        instances=random.choice((2, 3)) if crowded else random.choice((1, 2, 2, 3)),
        events=tuple(
            _event(random, len(partitions), span) for _ in range(random.choice((2, 4, 8) if crowded else (0, 1, 2, 4)))
        ),
        outcomes=tuple(_outcome(random, faulty, crashing, spread) for _ in range(random.choice((20, 60, 150)))),
        deliveries=tuple(_delivery(random) for _ in range(random.choice((4, 12, 24)))),
        bounds=Bounds(
            OPERATIONS_A_TRANSACTION=random.choice((None, None, 3, 4)),  # one or two tasks and what comes with them
            ROWS_A_READ=random.choice((None, 1, 2)),
            CONCURRENT_JOBS=random.choice((None, None, 1)),
            CONFLICTS_A_JOB=random.choice((None, None, None, 5)),
            EXECUTIONS_LISTED=random.choice((None, 1)),
        ),
        page=random.choice((None, None, 1, 2)),
        buckets=random.choice(((1,), (1,), (1,), (2,), (3,), (1, 2), (3, 1, 2))),
    )


def _event(random: Random, partitions: int, span: float) -> Event:
    upset = random.choice((Upset.MOVE, Upset.MOVE, Upset.MOVE, Upset.REPLAY, Upset.CANCEL))
    return Event(random.uniform(0, span), upset, random.randrange(partitions), random.random())


def _outcome(random: Random, faulty: float, crashing: float, spread: float) -> Outcome:
    # Far apart, so that one instance may do all its work between two calls of another.
    before, after = (spread * random.choice((0.05, 0.2, 1.0, 5.0)) * random.random() for _ in range(2))
    chance = random.random()
    if chance < crashing:
        return Outcome(random.choice(_CRASHES), before, after)
    if chance < crashing + faulty:
        fault = random.choice(_FAULTS)
        if fault in (Fault.SLOW, Fault.LATE, Fault.THROTTLED):
            before, after = before * random.choice((1, 20)), random.choice((0.1, 2.0, 20.0)) * random.random()
        return Outcome(fault, before, after)
    return Outcome(Fault.NONE, before, after)


def _delivery(random: Random) -> Delivery:
    return Delivery(
        size=random.choice((1, 1, 2, 3, 10)),
        pause=random.choice((0.1, 1.0, 5.0)),
        again=random.choice((0, 0, 1, 3)),
        saved=random.random() < 0.9,
    )
