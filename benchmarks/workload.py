"""The events that the benchmarks send: distinct tasks, every tenth failed, as Azure Monitor writes them.

Made from two templates, because a million of them are wanted.
"""

import json
from collections.abc import Callable, Iterable, Iterator

from processors.ingest import Batch, Message
from tests.core.examples import ENQUEUED, NOON, SECOND, an_execution, record, time_text

RECORDS = 100
"""Records a message, where nothing else is said."""

type JobOf = Callable[[int], int]
"""A task's number → its job's."""


def in_turn(jobs: int) -> JobOf:
    """Every job gets a task in turn."""
    return lambda task: task % jobs


def one_after_the_other(tasks: int) -> JobOf:
    """A job gets all its `tasks`, then the next."""
    return lambda task: task // tasks


HUNDRED_JOBS = in_turn(100)


def messages(count: int, job_of: JobOf = HUNDRED_JOBS, records: int = RECORDS, first: int = 0) -> Iterator[bytes]:
    """So many messages of tasks numbered on from `first`."""
    for number in range(count):
        start = first + number * records
        told = b",".join([_record(task, job_of(task)) for task in range(start, start + records)])
        yield b'{"records":[%b]}' % told


def batch(bodies: Iterable[bytes], partition: str = "0") -> Batch:
    """The messages as the trigger would deliver them."""
    return Batch("hub", partition, [Message(body, number, ENQUEUED) for number, body in enumerate(bodies)])


def _template(*, succeeded: bool) -> bytes:
    told = record(
        an_execution(
            job_id="nightly-@JOB", task_id="task-@TASK", node_id="tvmps_@NODE", succeeded=succeeded,
            exit_code=int(not succeeded),
        )
    )  # fmt: skip
    if succeeded:  # as Batch leaves it out
        del told["properties"]["executionInfo"]["schedulingError"]
    text = json.dumps(told).encode().replace(b"%", b"%%")
    for seconds, name in ((0, b"start"), (10, b"end")):
        text = text.replace(time_text(NOON + seconds * SECOND).encode(), b"%%(%b)b" % name)
    for mark, name in ((b"@JOB", b"%(job)06d"), (b"@TASK", b"%(task)08d"), (b"@NODE", b"%(node)08x")):
        text = text.replace(mark, name)
    return text


_SUCCEEDED, _FAILED = _template(succeeded=True), _template(succeeded=False)
_HOUR, _LONGEST = 3_600, 1_800
_TIMES = [time_text(NOON + second * SECOND + second * 7_919 % SECOND).encode() for second in range(_HOUR + _LONGEST)]


def _record(task: int, job: int) -> bytes:
    second = task % _HOUR
    return (_SUCCEEDED if task % 10 else _FAILED) % {
        b"job": job,
        b"task": task,
        b"node": task % 50,
        b"start": _TIMES[second],
        b"end": _TIMES[second + 10 + task * 37 % (_LONGEST - 10)],  # durations of all sizes, as real jobs have them
    }
