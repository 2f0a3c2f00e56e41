"""What the tests here are made of: executions, the records and messages that tell them, and the model to compare with.

The model is `devstack.oracle`, which shares no code with `processors`.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from azure.data.tables import EdmType, EntityProperty

from devstack import oracle
from devstack import workload as devstack
from processors.columns import JOBS, TASKS, Edm, Row
from processors.dead_letters import DeadLetter
from processors.events import Execution, parse_time, to_datetime
from processors.ingest import Batch, Message, Summary, ingest
from processors.metrics import Sums, total
from processors.plan import by_job
from processors.recent import Recent
from processors.rollups import read_shard
from processors.write import Written, write_job
from tests.memory_storage import Key, MemoryStorage, MemoryTables, columns_of, is_shard

SECOND = 1_000_000
NOON = parse_time("2026-11-22T12:00:00Z")
ENQUEUED = datetime(2026, 11, 22, 12, 5, tzinfo=UTC)
NOW = NOON / SECOND + 600

AN_EXECUTION = Execution(
    account="myaccount",
    job_id="Job-1",
    task_id="Task-1",
    task_type="User",
    pool_id="pool",
    node_id="node",
    start=NOON,
    end=NOON + 10 * SECOND,
    required_slots=1,
    number_of_instances=1,
    succeeded=True,
    exit_code=0,
    failure_category="",
    failure_code="",
    failure_message="",
    retry_count=0,
    requeue_count=0,
    max_task_retry_count=0,
    system_task_version=220_192_842,
)


def an_execution(number: int = 0, **changes: Any) -> Execution:
    """An execution that differs from the others by its times (`number` seconds later), or as told."""
    moved = {"start": NOON + number * SECOND, "end": NOON + (number + 10) * SECOND}
    return AN_EXECUTION._replace(**(moved | changes))


# --- records and messages --------------------------------------------------------------------------------------------


def time_text(micros: int) -> str:
    return to_datetime(micros).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def record(execution: Execution = AN_EXECUTION) -> dict[str, Any]:
    """The task complete record that tells `execution`."""
    info: dict[str, Any] = {
        "startTime": None if execution.start is None else time_text(execution.start),
        "endTime": time_text(execution.end),
        "exitCode": execution.exit_code,
        "retryCount": execution.retry_count,
        "requeueCount": execution.requeue_count,
        "result": "Success" if execution.succeeded else "Failure",
        "schedulingError": {
            "category": execution.failure_category,
            "code": execution.failure_code,
            "message": execution.failure_message,
            "details": [],
        },
    }
    return {
        "time": time_text(execution.end),
        "resourceId": f"/SUBSCRIPTIONS/S/RESOURCEGROUPS/R/PROVIDERS/MICROSOFT.BATCH/BATCHACCOUNTS/{execution.account}/",
        "category": "ServiceLog",
        "operationName": "TaskCompleteEvent",
        "operationVersion": "2020-01-01",
        "properties": {
            "jobId": execution.job_id,
            "id": execution.task_id,
            "taskType": execution.task_type,
            "systemTaskVersion": execution.system_task_version,
            "requiredSlots": execution.required_slots,
            "nodeInfo": {"poolId": execution.pool_id, "nodeId": execution.node_id},
            "multiInstanceSettings": {"numberOfInstances": execution.number_of_instances},
            "constraints": {"maxTaskRetryCount": execution.max_task_retry_count},
            "executionInfo": info,
        },
    }


def message(*records: Any) -> bytes:
    """The records as Azure Monitor sends them."""
    return json.dumps({"records": records}).encode()


def batch(*bodies: bytes, partition: str = "0", first: int = 0) -> Batch:
    """A batch of messages, numbered on from `first`."""
    return Batch("hub", partition, [Message(body, first + n, ENQUEUED) for n, body in enumerate(bodies)])


def run(storage: MemoryStorage, *batches: Batch) -> list[Summary]:
    """Ingest the batches, one after the other."""

    async def all_of_them() -> list[Summary]:
        return [await ingest(each, storage, lambda: NOW) for each in batches]

    return asyncio.run(all_of_them())


def letters(storage: MemoryStorage) -> dict[str, DeadLetter]:
    """The dead letters, by name."""
    return storage.dead_letters.letters


async def write(
    tables: MemoryTables, executions: Iterable[Execution], shard: str = "0", buckets: int = 1
) -> list[Written]:
    """Write a batch's executions, job by job, as a process that knows nothing yet."""
    return [await write_job(tables, Recent(buckets), job, shard) for job in by_job(executions)]


def write_all(tables: MemoryTables, deliveries: Iterable[tuple[str, Sequence[Execution]]], buckets: int = 1) -> None:
    """Write several batches, each through its partition."""

    async def all_of_them() -> None:
        for shard, executions in deliveries:
            await write(tables, executions, shard, buckets)

    asyncio.run(all_of_them())


# --- the model -------------------------------------------------------------------------------------------------------


def told(execution: Execution) -> devstack.Execution:
    """The execution as the model knows it."""
    return devstack.Execution(
        account=execution.account,
        job_id=execution.job_id,
        task_id=execution.task_id,
        start=None if execution.start is None else to_datetime(execution.start),
        end=to_datetime(execution.end),
        exit_code=execution.exit_code,
        result="Success" if execution.succeeded else "Failure",
        task_type=execution.task_type,
        pool_id=execution.pool_id,
        node_id=execution.node_id,
        system_task_version=execution.system_task_version,
        required_slots=execution.required_slots,
        instances=execution.number_of_instances,
        max_retries=execution.max_task_retry_count,
        retries=execution.retry_count,
        requeues=execution.requeue_count,
        failure_category=execution.failure_category,
        failure_code=execution.failure_code,
        failure_message=execution.failure_message,
    )


def differences(tables: MemoryTables, executions: Iterable[Execution]) -> list[str]:
    """Where the tables are not what the distinct `executions` make them by the model."""
    truth = [told(execution) for execution in executions]
    tasks = [_as_sdk(TASKS, key, row) for key, row in task_rows(tables).items()]
    jobs = [_as_sdk(JOBS, key, row) for key, row in tables.rows(JOBS).items()]
    return oracle.differences(oracle.expected_task_rows(truth), tasks) + oracle.differences(
        oracle.expected_job_rows(truth), jobs
    )


def task_rows(tables: MemoryTables) -> dict[Key, Row]:
    return {key: row for key, row in tables.rows(TASKS).items() if "taskId" in row}


def job_rows(tables: MemoryTables) -> dict[Key, Row]:
    """The published rows without the columns that depend on the way the executions came."""
    return {
        key: {name: value for name, value in row.items() if name not in ("shardCount", "bucketCount")}
        for key, row in tables.rows(JOBS).items()
    }


def merged_shards(tables: MemoryTables) -> dict[str, Sums]:
    """Each job's shards merged, by the partition key of its first bucket."""
    shards: dict[str, list[Sums]] = {}
    for key, row in tables.rows(TASKS).items():
        if is_shard(key):
            shards.setdefault("|".join(key[0].split("|")[:2]), []).append(read_shard(row))
    return {partition: total(sums) for partition, sums in shards.items()}


def _as_sdk(table: str, key: Key, row: Row) -> dict[str, object]:
    """The row as azure-data-tables reads it."""
    types = columns_of(table, key)
    return {
        name: EntityProperty(value, EdmType.INT64) if types[name] == Edm.INT64 else value for name, value in row.items()
    }
