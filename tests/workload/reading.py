"""A plain reading of messages with the json module, to hold the generator's truth against."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from devstack.workload import Execution, Message
from devstack.workload.envelopes import BOM

type Json = dict[str, Any]
type Opened = tuple[Message, list[Json]]


def records_in(body: bytes) -> list[Json]:
    """The records of a good message, keys in lower case."""
    text = body.removeprefix(BOM).decode()
    try:
        value = json.loads(text, strict=False)
    except ValueError:
        value = [json.loads(line, strict=False) for line in text.split("\n") if line.strip()]
    return list(_flat(_lower(value)))


def _flat(value: Any) -> Iterator[Json]:
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    elif "records" in value:
        yield from _flat(value["records"])
    else:
        yield value


def _lower(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.lower(): _lower(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_lower(item) for item in value]
    return value


def is_complete(record: Json) -> bool:
    return bool(record["operationname"].lower() == "taskcompleteevent")


def execution_in(record: Json) -> Execution:
    """What a task complete event says, with the contract's defaults."""
    properties = record["properties"]
    if isinstance(properties, str):
        properties = _lower(json.loads(properties, strict=False))
    info = properties["executioninfo"]
    node = properties.get("nodeinfo", {})
    error = info.get("schedulingerror") or {}
    return Execution(
        account=record["resourceid"].rstrip("/").split("/")[-1],
        job_id=properties["jobid"],
        task_id=properties["id"],
        start=_time(info["starttime"]) if info.get("starttime") else None,
        end=_time(info["endtime"]),
        exit_code=info["exitcode"],
        result=info.get("result"),
        task_type=properties["tasktype"],
        pool_id=node.get("poolid", ""),
        node_id=node.get("nodeid", ""),
        system_task_version=properties["systemtaskversion"],
        required_slots=properties.get("requiredslots") or 1,
        instances=properties.get("multiinstancesettings", {}).get("numberofinstances") or 1,
        max_retries=properties.get("constraints", {}).get("maxtaskretrycount", 0),
        retries=info.get("retrycount", 0),
        requeues=info.get("requeuecount", 0),
        failure_category=error.get("category", ""),
        failure_code=error.get("code", ""),
        failure_message=error.get("message", ""),
    )


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def opened(messages: Iterable[Message]) -> list[Opened]:
    """The good messages, each with its records."""
    return [(message, records_in(message.body)) for message in messages if message.bad is None]


def completed_in(messages: list[Opened]) -> list[Execution]:
    """Every delivered execution, duplicates included, in order; bad records left out."""
    found = []
    for message, records in messages:
        bad = {record.index for record in message.bad_records}
        found += [
            execution_in(record) for index, record in enumerate(records) if index not in bad and is_complete(record)
        ]
    return found
