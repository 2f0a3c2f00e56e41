"""What the integration tests share: a stack whose hub has two consumer groups, sending, and task complete records."""

import asyncio
import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from azure.storage.blob import BlobServiceClient

from devstack.consumption import wait_until_consumed
from devstack.publish import FileMessage, Outgoing, publish
from devstack.stack import CONFIG, Stack
from devstack.workload import Execution

SECOND_GROUP = "second-reader"


def config_with_second_group(folder: Path) -> Path:
    """The stack's own configuration with one more consumer group, whose readers get every message too."""
    config = json.loads(CONFIG.read_text())
    (hub,) = config["UserConfig"]["NamespaceConfig"][0]["Entities"]
    hub["ConsumerGroups"].append({"Name": SECOND_GROUP})
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


def send(stack: Stack, messages: Iterable[Outgoing]) -> None:
    """Publish the messages, in order within each partition."""
    asyncio.run(publish(stack.event_hub_connection, stack.event_hub_name, messages, lambda _: None))


def process(stack: Stack, *bodies: bytes, partition: str = "0") -> None:
    """Publish the bodies one after the other to one partition, and wait until the function is done with them."""
    send(stack, [FileMessage(body, partition) for body in bodies])
    wait_until_consumed(stack)


def record(execution: Execution) -> dict[str, Any]:
    """A task complete record as Azure Monitor writes it."""
    started = {} if execution.start is None else {"startTime": execution.start.isoformat()}
    return {
        "time": execution.end.isoformat(),
        "resourceId": f"/SUBSCRIPTIONS/S/PROVIDERS/MICROSOFT.BATCH/BATCHACCOUNTS/{execution.account}/",
        "category": "ServiceLog",
        "operationName": "TaskCompleteEvent",
        "properties": {
            "jobId": execution.job_id,
            "id": execution.task_id,
            "taskType": execution.task_type,
            "executionInfo": {
                **started,
                "endTime": execution.end.isoformat(),
                "exitCode": execution.exit_code,
                "retryCount": execution.retries,
                "requeueCount": execution.requeues,
            },
        },
    }


def envelope(*records: Any) -> bytes:
    return json.dumps({"records": records}).encode()


def dead_letters(stack: Stack) -> dict[str, dict[str, Any]]:
    """All dead letters by blob name, the original bytes under `bytes`."""
    letters = {}
    with BlobServiceClient.from_connection_string(stack.storage_connection) as service:
        container = service.get_container_client("dead-letters")
        for name in container.list_blob_names() if container.exists() else ():
            letter = json.loads(container.download_blob(name).readall())
            body = letter.pop("body")
            letter["bytes"] = base64.b64decode(body) if letter["encoding"] == "base64" else body.encode()
            letters[name] = letter
    return letters
