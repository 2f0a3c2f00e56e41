"""Run a scenario: instances that ingest what a hub delivers to them, on storage that fails, until all is consumed.

The rule: everything that happens is one of the scenario's choices, on the one loop. What must hold at every commit is
checked there, what must hold at the end at the end; the first that does not hold is the history's problem, and ends it.

The hub has the host's semantics: a partition's batches come one after the other, from its checkpoint on; a checkpoint
is written once a batch has succeeded, by whoever had it, also where the partition was moved meanwhile; after
StorageUnavailable the batch comes again. The dead are replaced.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from devstack import oracle
from processors import limits
from processors.attempts import Attempts
from processors.columns import JOBS, TASKS, Row, StoredRow
from processors.dead_letters import DeadLetter
from processors.errors import Conflict, StorageUnavailable
from processors.ingest import Batch, Message, ingest
from processors.plan import Insert, Operation
from processors.recent import Recent
from processors.rollups import LAYOUT_KEY, bucket_of, read_layout
from tests.core.examples import ENQUEUED, differences
from tests.memory_storage import MemoryDeadLetters, MemoryStorage, MemoryTables, Request, is_layout, is_shard
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.scenario import Bounds, Delivery, Event, Fault, Outcome, Scenario, Upset

HUB = "hub"
TAKEOVER_SECONDS = 3.0
"""Until the partitions of a dead instance have another."""
MOST_CALLS = 20_000
"""Storage calls of a history that does not come to an end."""

invoke = ingest
"""What an instance does with a batch."""


class History(NamedTuple):
    """What came of a scenario."""

    problem: str | None
    """What did not hold; None where all did."""
    steps: list[str]
    """What happened, in order; empty unless asked for."""
    figures: Counter[str]


def run(scenario: Scenario, *, traced: bool = False) -> History:
    """The one history of the scenario."""
    with _bounds(scenario.bounds):
        world = _World(scenario, traced=traced)
        try:
            world.run()
        finally:
            world.loop.close()
        return History(world.problem, world.steps, world.figures)


@contextmanager
def _bounds(bounds: Bounds) -> Iterator[None]:
    changes = {name: value for name, value in bounds._asdict().items() if value is not None}
    before = {name: getattr(limits, name) for name in changes}
    listed = oracle.LISTED_EXECUTIONS
    try:
        for name, value in changes.items():
            setattr(limits, name, value)
        oracle.LISTED_EXECUTIONS = bounds.EXECUTIONS_LISTED or listed
        yield
    finally:
        oracle.LISTED_EXECUTIONS = listed
        for name, value in before.items():
            setattr(limits, name, value)


class _Instance(Process):
    def __init__(self, name: str, buckets: int) -> None:
        super().__init__(name)
        self.invocations: dict[asyncio.Task[Any], None] = {}
        """In the order of their beginnings, which a set would not keep."""
        self.recent = Recent(buckets)


@dataclass
class _World:
    scenario: Scenario
    traced: bool
    problem: str | None = None
    steps: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)
    loop: VirtualLoop = field(default_factory=VirtualLoop)

    def __post_init__(self) -> None:
        self.storage = MemoryStorage()
        self.letters: dict[str, bytes] = {}
        self.outcomes = iter(self.scenario.outcomes)
        self.throttled_until = 0.0
        self._deliveries = iter(self.scenario.deliveries)
        self._instances: list[_Instance] = []
        self._owners: list[_Instance] = []
        self._checkpoints = [0 for _ in self.scenario.partitions]
        self._messages = [
            [Message(message.body, number, ENQUEUED) for number, message in enumerate(published)]
            for published in self.scenario.partitions
        ]
        self._published: dict[tuple[str, str], int] = {}
        self._expected_letters = {
            f"{HUB}/{partition}/{number:020}-{item}.json": body
            for partition, published in enumerate(self.scenario.partitions)
            for number, message in enumerate(published)
            for item, body in message.letters()
        }

    # --- the course of a history ---

    def run(self) -> None:
        for _ in range(self.scenario.instances):
            self._new_instance()
        for partition in range(len(self._messages)):
            self._owners.append(self._instances[partition % len(self._instances)])
            self._own(partition, self._owners[partition])
        for event in self.scenario.events:
            self.loop.call_at(event.time, self._happen, event, context=Context())
        self.loop.run_until_idle()
        while self.problem is None and (behind := [p for p, log in enumerate(self._messages) if self._is_behind(p)]):
            for partition in behind:  # its checkpoint was lost, and nothing followed: until something restarts
                self._own(partition, self._other_instance(0.0))
            self.loop.run_until_idle()
        self.figures["virtual seconds"] = round(self.loop.time())
        self.figures["messages"] = sum(map(len, self._messages))
        if self.problem is None:
            self._check_end()

    def fail(self, problem: str) -> None:
        """The history ends here."""
        if self.problem is None:
            self.problem = problem
            self.step("!", problem)
        self.loop.stopped = True

    def step(self, who: str, what: str) -> None:
        if self.traced:
            self.steps.append(f"{self.loop.time():8.2f} s  {who:<12} {what}")

    def crash(self, instance: _Instance) -> None:
        """Nothing of the instance happens any more. Its partitions are found without an owner after a while."""
        instance.alive = False
        self._instances.remove(instance)
        self.figures["crashes"] += 1
        orphans = [partition for partition, owner in enumerate(self._owners) if owner is instance]
        self.loop.call_later(TAKEOVER_SECONDS, self._take_over, orphans, instance, context=Context())

    def _take_over(self, orphans: list[int], dead: _Instance) -> None:
        for partition in orphans:
            if self._owners[partition] is dead:
                self._own(partition, self._other_instance(0.0))

    def _is_behind(self, partition: int) -> bool:
        return self._checkpoints[partition] < len(self._messages[partition])

    def _new_instance(self) -> _Instance:
        self.figures["instances"] += 1
        number = self.figures["instances"]
        instance = _Instance(f"instance {number}", self.scenario.buckets[number % len(self.scenario.buckets)])
        self._instances.append(instance)
        return instance

    def _other_instance(self, choice: float, than: _Instance | None = None) -> _Instance:
        others = [instance for instance in self._instances if instance is not than]
        return others[int(choice * len(others))] if others else self._new_instance()

    def _own(self, partition: int, instance: _Instance) -> None:
        self._owners[partition] = instance
        self.step(instance.name, f"owns partition {partition} from message {self._checkpoints[partition]} on")
        self.loop.start(instance, self._consume(instance, partition))

    def _happen(self, event: Event) -> None:
        self.figures[f"upset: {event.upset.name.lower()}"] += 1
        owner = self._owners[event.partition]
        match event.upset:
            case Upset.MOVE:
                self._own(event.partition, self._other_instance(event.choice, owner))
            case Upset.REPLAY:
                self._checkpoints[event.partition] = int(event.choice * self._checkpoints[event.partition])
                self._own(event.partition, self._other_instance(event.choice))
            case Upset.CANCEL:
                self.step(owner.name, "has its invocations cancelled")
                for invocation in owner.invocations:
                    invocation.cancel()

    async def _consume(self, instance: _Instance, partition: int) -> None:
        """Batch after batch, as long as the partition is the instance's, and some more."""
        lease = self._lease(instance, partition)
        position = self._checkpoints[partition]
        while position < len(self._messages[partition]):
            delivery = next(self._deliveries, Delivery())
            if not lease(delivery.again):
                return
            messages = self._messages[partition][position : position + delivery.size]
            if not await self._deliver(instance, partition, messages, delivery, lease):
                return
            position += len(messages)
            if delivery.saved:
                self._checkpoints[partition] = position
                self.step(instance.name, f"checkpoint of partition {partition}: {position}")
            else:
                self.figures["checkpoints lost"] += 1

    def _lease(self, instance: _Instance, partition: int) -> Callable[[int], bool]:
        """Whether to go on: while the instance owns the partition, then for a number of batches."""
        beyond = 0

        def go_on(again: int) -> bool:
            nonlocal beyond
            if self._owners[partition] is not instance:
                beyond += 1
            return beyond <= again

        return go_on

    async def _deliver(
        self,
        instance: _Instance,
        partition: int,
        messages: list[Message],
        delivery: Delivery,
        lease: Callable[[int], bool],
    ) -> bool:
        """Invoke until it succeeds. False where the host lets go of the partition first."""
        batch = Batch(HUB, str(partition), messages)
        first = messages[0].sequence_number
        name = f"partition {partition}, messages {first} to {first + len(messages) - 1}"
        while True:
            self.figures["invocations"] += 1
            self.step(instance.name, f"begins {name}")
            storage = _client(self, instance)
            invocation = self.loop.create_task(invoke(batch, storage, self.loop.time))
            instance.invocations[invocation] = None
            try:
                await invocation
            except StorageUnavailable as error:
                self.figures["invocations failed"] += 1
                self.step(instance.name, f"fails {name}: {error}")
            except Exception as error:  # noqa: BLE001 - that anything else gets here is what must not be
                self.fail(f"{type(error).__name__} left an invocation: {error}")
                return False
            else:
                self.step(instance.name, f"ends {name}")
                return True
            finally:
                instance.invocations.pop(invocation)
            await asyncio.sleep(delivery.pause)
            if not lease(delivery.again):
                return False

    # --- what must hold ---

    def check_commit(self, table: str, operations: Sequence[Operation]) -> None:
        """At every commit: a job's shards add up to its tasks, and what is published never gets less."""
        if table == JOBS:
            row = operations[0].row
            key, completions = (str(row["PartitionKey"]), str(row["RowKey"])), row["completionCount"]
            assert isinstance(completions, int)
            if completions < self._published.get(key, 0):
                self.fail(f"published {'/'.join(key)} went back from {self._published[key]} to {completions}")
            self._published[key] = completions
            return
        partition_key = str(operations[0].row["PartitionKey"])
        rows = {
            row_key: stored
            for row_key, stored in self.storage.tables.stored[TASKS][partition_key].items()
            if not is_layout((partition_key, row_key))
        }
        self._check_buckets(partition_key, rows)
        for column in ("completionCount", "retryCount"):
            if column == "retryCount" and any("executions" in stored.row for stored in rows.values()):
                continue  # a task row has the latest execution's alone
            difference = sum(
                _number(stored.row, column) * (1 if is_shard((partition_key, row_key)) else -1)
                for row_key, stored in rows.items()
            )
            if difference:
                self.fail(f"{column} of {partition_key}: its shards hold {difference:+} of what its tasks hold")

    def _check_buckets(self, partition_key: str, rows: Iterable[str]) -> None:
        """Every task lives in the one bucket that the job's layout gives it."""
        account, job, *bucket = partition_key.split("|")
        layout = self.storage.tables.stored[TASKS][f"{account}|{job}"].get(LAYOUT_KEY)
        buckets = None if layout is None else read_layout(layout.row)
        for row_key in rows:
            if buckets is None:
                self.fail(f"{partition_key} has rows, and the job no layout")
            elif not is_shard((partition_key, row_key)) and bucket_of(row_key, buckets) != int("".join(bucket) or 0):
                self.fail(f"task {row_key} of {buckets} buckets is in {partition_key}")

    def check_letter(self, name: str, letter: DeadLetter) -> None:
        """At every dead letter: it is one that has to be, and the same each time."""
        if self._expected_letters.get(name) != letter.body:
            self.fail(f"dead letter {name} should not be, or not with {letter.body!r}")
        if self.letters.setdefault(name, letter.content()) != letter.content():
            self.fail(f"dead letter {name} is another than before")

    def _check_end(self) -> None:
        distinct = {
            (*_ids(execution), execution.start, execution.end): execution for execution in self.scenario.executions()
        }
        self.figures["executions"] = len(distinct)
        missing = self._expected_letters.keys() - self.letters.keys()
        problems = differences(self.storage.tables, distinct.values())
        problems += [f"dead letter {name} is missing" for name in sorted(missing)]
        if problems:
            self.fail("; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else ""))


def _number(row: Row, column: str) -> int:
    number = row[column]
    assert isinstance(number, int)
    return number


def _ids(execution: Any) -> tuple[str, str, str]:
    return execution.account.lower(), execution.job_id.lower(), execution.task_id.lower()


# --- storage as one invocation sees it -------------------------------------------------------------------------------


def _client(world: _World, instance: _Instance) -> MemoryStorage:
    attempts = Attempts(chance=lambda: 0.5, clock=world.loop.time)  # chance is in the scenario's delays
    tables = world.storage.tables
    letters = world.storage.dead_letters.letters
    return MemoryStorage(
        _Tables(attempts=attempts, stored=tables.stored, etags=tables.etags, world=world, instance=instance),
        _DeadLetters(attempts=attempts, letters=letters, world=world, instance=instance),
        instance.recent,
    )


@dataclass(kw_only=True)
class _Tables(MemoryTables):
    world: _World
    instance: _Instance

    async def query(
        self, table: str, partition_key: str, first: str, end: str, limit: int | None = None
    ) -> list[StoredRow]:
        """Page by page: others write in between."""
        page = self.world.scenario.page
        if page is None:
            return await super().query(table, partition_key, first, end, limit)
        rows: list[StoredRow] = []
        while limit is None or len(rows) < limit:
            more = await super().query(table, partition_key, first, end, page)
            rows += more
            if len(more) < page:
                break
            first = str(more[-1].row["RowKey"]) + " "
        return rows[:limit]

    async def send[T](self, request: Request, work: Callable[[], T]) -> T:
        def check() -> None:
            if request.operations:
                self.world.check_commit(request.table, request.operations)

        return await _send(self.world, self.instance, request, work, check)


@dataclass(kw_only=True)
class _DeadLetters(MemoryDeadLetters):
    world: _World
    instance: _Instance

    async def send[T](self, request: Request, work: Callable[[], T]) -> T:
        def check() -> None:
            self.world.check_letter(request.table, self.letters[request.table])

        return await _send(self.world, self.instance, request, work, check)


async def _send[T](
    world: _World, instance: _Instance, request: Request, work: Callable[[], T], check: Callable[[], None]
) -> T:
    """One storage call, and what becomes of it. `check` finds out whether what it did was right."""
    world.figures["storage calls"] += 1
    if world.figures["storage calls"] > MOST_CALLS:
        world.fail(f"no end after {MOST_CALLS} storage calls")
    fault, before, after = next(world.outcomes, Outcome())
    what = _text(request) if world.traced else ""
    if fault is not Fault.NONE:
        world.figures[f"fault: {fault.name.lower()}"] += 1
    await asyncio.sleep(before)
    if fault is Fault.CRASH_BEFORE:
        world.step(instance.name, f"{what} {fault.value}")
        world.crash(instance)
        await world.loop.create_future()
    if fault is Fault.THROTTLED:
        world.throttled_until = max(world.throttled_until, world.loop.time() + after)
    if world.loop.time() < world.throttled_until or fault in (Fault.ERROR, Fault.FORBIDDEN, Fault.THROTTLED):
        if fault not in (Fault.ERROR, Fault.FORBIDDEN, Fault.THROTTLED):
            world.figures["calls throttled meanwhile"] += 1
            fault = Fault.THROTTLED
        world.step(instance.name, f"{what} {fault.value}")
        raise StorageUnavailable(fault.value, transient=fault is not Fault.FORBIDDEN)
    if fault is Fault.LATE:
        world.step(instance.name, f"{what} {fault.value}")
        world.loop.call_later(after, _carry_out_late, world, instance, what, work, check, context=Context())
        raise StorageUnavailable(fault.value)
    conflict: Conflict | None = None
    try:
        answer = work()
    except Conflict as error:
        conflict = error
        world.figures["conflicts"] += 1
    if world.traced:
        outcome = "conflicts" if conflict else fault.value
        world.step(instance.name, f"{what} {outcome}" + (f" at operation {conflict.index}" if conflict else ""))
    if conflict is None:
        check()
    if fault is Fault.CRASH_AFTER:
        world.crash(instance)
        await world.loop.create_future()
    await asyncio.sleep(after)
    if fault is Fault.LOST:
        raise StorageUnavailable(fault.value)
    if conflict is not None:
        raise conflict
    return answer


def _carry_out_late(
    world: _World, instance: _Instance, what: str, work: Callable[[], object], check: Callable[[], None]
) -> None:
    try:
        work()
    except Conflict:
        world.step(instance.name, f"(late) {what} conflicts")
    else:
        world.step(instance.name, f"(late) {what} is carried out")
        check()


def _text(request: Request) -> str:
    """The request for a reader: `+` inserts, `=` replaces; in brackets the row's completionCount."""
    if not request.operations:
        return " ".join((request.method, request.table, *request.keys))
    rows = ", ".join(map(_operation_text, request.operations))
    return f"{request.method} {request.table} {request.operations[0].row['PartitionKey']!s} [{rows}]"


def _operation_text(operation: Operation) -> str:
    key, completions = operation.row["RowKey"], operation.row.get("completionCount", "layout")
    if isinstance(operation, Insert):
        return f"+{key!s}({completions!s})"
    return f"={key!s}({completions!s}) if {operation.etag}"
