"""Hypothesis strategies: executions that collide often, ways to deliver them, and what goes wrong with storage."""

from collections.abc import Sequence

from hypothesis import strategies as st

from processors.events import Execution, key, parse_time
from tests.core.examples import AN_EXECUTION, NOON, SECOND

EARLIEST = parse_time("1601-01-01T00:00:00Z")
LATEST = parse_time("9999-12-31T23:59:59.999999Z")

JOBS = ("job", "JOB", "j/#?\\%", "~job~0")
TASKS = ("1", "t", "T", "~job~0", "a/b#c?d\\e%f", "=2F", "İ", "i\u0307", "\x00\x1f\x7f", "Ünï 🎉", "x'y\"z", "|")
TIMES = (EARLIEST, NOON, NOON + 1, NOON + SECOND, NOON + 60 * SECOND, NOON + 10**12, LATEST)
LARGEST = 2**31 - 1

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.sampled_from(TASKS + JOBS)
times = st.integers(EARLIEST, LATEST)
counts = st.sampled_from((0, 1, 3, LARGEST))


@st.composite
def executions(draw: st.DrawFn) -> Execution:
    """Any valid execution, of one of few jobs, tasks and times."""
    return Execution(
        account=draw(st.sampled_from(("acc", "ACC", "b.c"))),
        job_id=draw(st.sampled_from(JOBS)),
        task_id=draw(st.sampled_from(TASKS)),
        task_type=draw(st.sampled_from(("User", "JobManager", ""))),
        pool_id=draw(st.sampled_from(("", "p", "P", "other", 'q"\\'))),
        node_id=draw(st.sampled_from(("", "node"))),
        start=draw(st.sampled_from((None, *TIMES))),
        end=draw(st.sampled_from(TIMES)),
        required_slots=draw(st.sampled_from((1, 4, LARGEST))),
        number_of_instances=draw(st.sampled_from((1, 2, LARGEST))),
        succeeded=draw(st.booleans()),
        exit_code=draw(st.sampled_from((None, 0, 1, -1, LARGEST, -LARGEST - 1))),
        failure_category=draw(st.sampled_from(("", "UserError"))),
        failure_code=draw(st.sampled_from(("", "FailureExitCode", "other", "É"))),
        failure_message=draw(st.sampled_from(("", "it broke\n", "🎉"))),
        retry_count=draw(counts),
        requeue_count=draw(counts),
        max_task_retry_count=draw(st.sampled_from((-1, 0, 1, 3, LARGEST))),
        system_task_version=draw(st.sampled_from((0, 1, -(2**63), 2**63 - 1))),
    )


type Identified = tuple[str, str, str, int | None, int]


def identified(execution: Execution) -> Identified:
    """What makes two deliveries the same execution."""
    ids = key(execution.account), key(execution.job_id), key(execution.task_id)
    return (*ids, execution.start, execution.end)


def distinct(max_size: int = 25) -> st.SearchStrategy[list[Execution]]:
    """Executions, each with an identity of its own: one that comes twice says the same twice."""
    return st.lists(executions(), min_size=1, max_size=max_size, unique_by=identified)


type Delivery = tuple[str, Sequence[Execution]]
"""An Event Hub partition and what comes through it in one batch."""


@st.composite
def deliveries(draw: st.DrawFn, of: Sequence[Execution]) -> list[Delivery]:
    """All of these executions in any order, some more than once, in any batches, through any partitions."""
    repeated = draw(st.lists(st.sampled_from(of), max_size=len(of)))
    order = draw(st.permutations([*of, *repeated]))
    ends = sorted(draw(st.sets(st.integers(1, len(order)), max_size=6)) | {len(order)})
    starts = [0, *ends[:-1]]
    return [
        (draw(st.sampled_from(("0", "1", "17"))), order[start:end]) for start, end in zip(starts, ends, strict=True)
    ]


def many_executions(count: int) -> list[Execution]:
    """So many executions of one task, in no order, some without a start or with an end before it."""
    numbers = sorted(range(count), key=lambda number: (number * 7919) % 10_007)
    return [
        AN_EXECUTION._replace(
            start=None if number % 11 == 0 else NOON + (number % 5) * SECOND,
            end=NOON + (number - count // 2) * SECOND,
            exit_code=number % 3,
            succeeded=number % 3 == 0,
        )
        for number in numbers
    ]
