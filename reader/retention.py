"""Retention: what the nightly timer does.

The rule: a run ends by itself, long before the Functions host would end it. It stops between two steps of `purge` once
its time is over; every job that is not gone is found again by the next run, in whatever state it is. One log line says
what a run did, also where storage ended it.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from processors import limits
from processors.settings import StorageSettings
from reader.accounts import table_service
from reader.purge import Step, purge

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Run:
    """What one run did: its log line."""

    before: str
    """Jobs whose last task ended before this time, ISO 8601, are old."""
    jobs: int = 0
    """Purged."""
    tasks: int = 0
    """Task rows deleted, those of jobs that are not done included."""
    left: int = 0
    """Jobs that somebody wrote to meanwhile: old ones no more, or the next run's."""
    complete: bool = False
    """Whether all old jobs were seen to. False where the run's time was over, or storage ended it."""
    seconds: float = 0.0


def retain(settings: StorageSettings, days: int) -> Run:
    """Purge the jobs whose last task ended more than `days` days ago. Raises StorageUnavailable."""
    before = datetime.now(UTC) - timedelta(days=days)
    with table_service(settings) as service:
        return run(purge(service, before), before)


def run(steps: Iterable[Step], before: datetime, clock: Callable[[], float] = time.monotonic) -> Run:
    """Take steps while there is time. Raises StorageUnavailable where a step does."""
    did = Run(before.isoformat(timespec="seconds"))
    started = clock()
    job_deleted = 0  # of the job that is being purged
    try:
        for step in steps:
            did.tasks += step.deleted - job_deleted
            job_deleted = step.deleted
            if step.done or step.left is not None:
                did.jobs += step.done
                did.left += step.left is not None
                job_deleted = 0
            if clock() - started >= limits.RETENTION_SECONDS:
                break
        else:
            did.complete = True
    finally:
        did.seconds = round(clock() - started, 1)
        logger.info("retention %s", json.dumps(asdict(did)))
    return did
