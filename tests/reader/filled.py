"""Accounts with rollups in them, written by the real write side: what the tests of the read side read."""

import asyncio
from collections.abc import Iterable
from time import time

from processors.events import Execution
from processors.ingest import Batch, Message, ingest
from processors.services import Services
from processors.settings import load_storage
from tests.core.examples import ENQUEUED, an_execution, message, record

_RECORDS_A_MESSAGE = 100


def _nightly(number: int) -> Execution:
    """A task of the job Nightly-42: 200 of them, 4 nodes in 2 pools, every tenth failed, every fifth retried."""
    failed = number % 10 == 0
    execution = an_execution(
        number,
        account="CONTOSO",
        job_id="Nightly-42",
        task_id=f"Frame-{number:04}",
        pool_id=f"pool{number % 2}",
        node_id=f"tvm-{number % 4}",
        succeeded=not failed,
        exit_code=137 if failed else 0,
        retry_count=int(number % 5 == 0),
        max_task_retry_count=3,
    )
    return execution._replace(end=execution.end + 60_000_000) if number == 77 else execution


def _another(job: str, account: str, days: int) -> Execution:
    return an_execution(days * 86_400, account=account, job_id=job, task_id="only")


EXECUTIONS = (
    *map(_nightly, range(200)),
    # the first task once more, a day later: then it succeeded
    _nightly(0)._replace(start=_nightly(0).start, end=_nightly(0).end + 86_400_000_000, succeeded=True, exit_code=0),
    # one that never ran
    an_execution(account="CONTOSO", job_id="Nightly-42", task_id="never-ran", start=None, succeeded=False,
                 exit_code=None, pool_id="", node_id="", failure_category="UserError",
                 failure_code="BlobNotFound", failure_message="no such blob"),
    # an id that has to be escaped everywhere
    an_execution(account="contoso", job_id="<b>'=1+1'</b>", task_id="=cmd|' /C calc'!A0", pool_id="<i>", node_id="&"),
    # the same job in two accounts, on other days
    _another("Weekly", "CONTOSO", 1),
    _another("weekly", "Fabrikam", 2),
)  # fmt: skip
"""Distinct executions, in 4 jobs of 2 accounts."""

BAD = (b"no JSON at all",)
"""A message that is a dead letter."""


def fill(
    connection: str,
    executions: Iterable[Execution],
    *,
    bad: Iterable[bytes] = (),
    partition: str = "0",
    buckets: int = 1,
) -> None:
    """Count the executions, and take the `bad` bodies for messages too, as if they had come through `partition`.

    Jobs that are not there yet are spread over so many `buckets`.
    """
    everything = list(executions)
    bodies = [
        message(*map(record, everything[first : first + _RECORDS_A_MESSAGE]))
        for first in range(0, len(everything), _RECORDS_A_MESSAGE)
    ]
    messages = [Message(body, number, ENQUEUED) for number, body in enumerate([*bodies, *bad])]
    asyncio.run(_ingest(connection, Batch("hub", partition, messages), buckets))


async def _ingest(connection: str, batch: Batch, buckets: int) -> None:
    services = Services(load_storage({"RollupStorage": connection, "JobBuckets": str(buckets)}))
    try:
        await ingest(batch, services.storage(), time)
    finally:
        await services.close()
