"""What the pure stages cost, on one transaction's worth of tasks of one job: microseconds of CPU an event."""

import time
from collections.abc import Callable

from benchmarks.workload import in_turn, messages
from processors.events import execution, newest_time
from processors.plan import by_job, plan
from processors.records import decode
from processors.table_wire import transaction_body

EVENTS = 99
"""What a transaction holds beside the sums."""


def measured() -> dict[str, float]:
    """Each stage's cost, in their order."""
    (body,) = messages(1, in_turn(1), EVENTS)
    records = decode(body).records
    executions = [found for found in map(execution, records) if not isinstance(found, list)]
    (job,) = by_job(executions)
    planned = plan(job.job, "0", None, job.tasks, {})
    work: dict[str, Callable[[], object]] = {
        "bytes → records": lambda: decode(body),
        "records → executions": lambda: (newest_time(records), [execution(each) for each in records]),
        "executions → jobs": lambda: by_job(executions),
        "jobs → transaction": lambda: plan(job.job, "0", None, job.tasks, {}),
        "transaction → bytes": lambda: transaction_body("http://a", "TaskRollups", planned.operations, "x" * 32),
    }
    return {name: _best(run) / EVENTS for name, run in work.items()}


def _best(run: Callable[[], object], times: int = 30) -> float:
    """Microseconds of CPU, of the quickest run."""
    best = float("inf")
    for _ in range(times):
        before = time.process_time()
        run()
        best = min(best, time.process_time() - before)
    return best * 1e6
