"""The values of a workload: its parameters, its truth, and the messages that carry it.

They are plain and of this package's own, so that nothing of what is tested can leak into what it is tested against.
Times are UTC and hold whole microseconds: what a record may spell more finely is cut off, as the tables do.
"""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Parameters:
    """What a workload is made of. Every share is a probability, from 0 to 1."""

    seed: int = 1
    tasks: int = 20_000
    """Distinct tasks, over all accounts and jobs; exact."""
    base: datetime = datetime(2026, 11, 22, 9, tzinfo=UTC)
    """When the first job arrives."""
    accounts: int = 3
    partitions: int = 4
    """Messages go to partitions "0" to this less one; with 0, each goes wherever the hub puts it."""
    failures: float = 0.05
    """Share of task executions that fail, before the job's own kind raises or lowers it."""
    start_events: float = 1.0
    """Share of executions whose TaskStartEvent is in the log too."""
    duplicates: float = 0.03
    """Share of records that are delivered once more, in this message or in a later one."""
    repeated_messages: float = 0.01
    """Share of messages that are sent once more as a whole."""
    shuffle: int = 2_000
    """How many records a record may be overtaken by."""
    late: float = 0.001
    """Share of records that come ten to thirty shuffle windows late."""
    bad_records: float = 0.003
    """Invalid task complete events put in, as a share of the valid ones."""
    bad_messages: float = 0.03
    """Messages without any record put in, as a share of the others."""
    variety: float = 0.3
    """Share of records, and of messages, that are not written in Azure's usual form."""
    median_records: int = 20
    """Half of the messages hold fewer records than this."""
    max_records: int = 1_500
    max_bytes: int = 950_000
    """No message is longer: a hub of the standard tier takes 1 MB, its own headers included."""

    def __post_init__(self) -> None:
        shares = (self.failures, self.start_events, self.duplicates, self.repeated_messages, self.late)
        if not all(0 <= share <= 1 for share in (*shares, self.bad_records, self.bad_messages, self.variety)):
            raise ValueError("a share lies between 0 and 1")
        if self.tasks < 0 or self.partitions < 0 or self.shuffle < 0:
            raise ValueError("a workload has no negative numbers")
        if not 1 <= self.accounts <= 26 or not 1 <= self.median_records <= self.max_records:
            raise ValueError("a workload has 1 to 26 accounts, and 1 to max_records records in half its messages")
        if self.base.utcoffset() is None:
            raise ValueError("the base time needs a time zone")


@dataclass(frozen=True, slots=True)
class Execution:
    """One task execution, as its task complete event tells it."""

    account: str
    job_id: str
    task_id: str
    start: datetime | None
    """None: it never started."""
    end: datetime
    exit_code: int | None = 0
    result: str | None = None
    """None: a record of the older form, which does not say."""
    task_type: str = "User"
    pool_id: str = ""
    node_id: str = ""
    system_task_version: int = 0
    required_slots: int | None = None
    instances: int | None = None
    max_retries: int = 0
    retries: int = 0
    requeues: int = 0
    failure_category: str = ""
    failure_code: str = ""
    failure_message: str = ""


@dataclass(frozen=True, slots=True)
class BadRecord:
    """An invalid task complete event inside a message that is otherwise good."""

    message: int
    """The number of its message, from 0, in the order they are sent."""
    index: int
    """Its place among the message's records of every operation, from 0; an outer array counts as flattened."""
    kind: str


@dataclass(frozen=True, slots=True)
class BadMessage:
    """A message that holds no record at all."""

    message: int
    kind: str


@dataclass(frozen=True, slots=True)
class Message:
    """One Event Hub message, and what is wrong with it."""

    number: int
    body: bytes
    partition: str | None
    form: str
    """How its records are wrapped; for a bad message, its kind."""
    records: int = 0
    bad_records: tuple[BadRecord, ...] = ()
    bad: BadMessage | None = None


@dataclass(frozen=True, slots=True)
class Truth:
    """What the messages say, once each, and every place where they say nothing usable."""

    executions: list[Execution]
    bad_records: list[BadRecord]
    bad_messages: list[BadMessage]
