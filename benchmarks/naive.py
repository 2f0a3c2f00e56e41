"""The function that one would write first: for every task event, upsert its row, then read and write its job's row.

It counts what is delivered twice twice, and reads every job row back through its ETag; it is what the app's cost is
compared with.
"""

import json

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient

TABLES = ("NaiveTasks", "NaiveJobs")
"""Which have to be there."""


async def handle(service: TableServiceClient, body: bytes) -> int:
    """Write one message's task events; how many they were."""
    tasks, jobs = (service.get_table_client(name) for name in TABLES)
    handled = 0
    for record in json.loads(body)["records"]:
        if record["operationName"] != "TaskCompleteEvent":
            continue
        event = record["properties"]
        info = event["executionInfo"]
        await tasks.upsert_entity(
            {
                "PartitionKey": event["jobId"],
                "RowKey": event["id"],
                "poolId": event["nodeInfo"]["poolId"],
                "nodeId": event["nodeInfo"]["nodeId"],
                "startTime": info["startTime"],
                "endTime": info["endTime"],
                "exitCode": info["exitCode"],
                "retryCount": info["retryCount"],
                "requeueCount": info["requeueCount"],
            }
        )
        await _count(jobs, event["jobId"], failed=info["exitCode"] != 0)
        handled += 1
    return handled


async def _count(jobs: TableClient, job_id: str, *, failed: bool) -> None:
    while True:
        try:
            try:
                job = await jobs.get_entity("job", job_id)
            except ResourceNotFoundError:
                await jobs.create_entity({"PartitionKey": "job", "RowKey": job_id, "tasks": 1, "failed": int(failed)})
                return
            job["tasks"] += 1
            job["failed"] += int(failed)
            await jobs.update_entity(
                job,
                mode=UpdateMode.REPLACE,
                etag=job.metadata["etag"],
                match_condition=MatchConditions.IfNotModified,
            )
        except ResourceExistsError:
            continue
        except HttpResponseError as error:
            if error.status_code != 412:
                raise
        else:
            return
