"""What is logged: the service log's operations, each written down as one Azure Monitor record.

A record says what its event says, in every spelling: how times, keys and properties are written is drawn anew for
each record, and never changes the microseconds, the ids or the numbers in it.
"""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any, NamedTuple

from devstack.workload.model import Execution
from devstack.workload.population import Job, Pool

type Json = dict[str, Any]

COMPLETE = "TaskCompleteEvent"

_ACCOUNTS = (
    "/subscriptions/7a1f3b52-0c7e-4c1b-9b0a-5d2f8e6c4a10/resourceGroups/batch-rg"
    "/providers/Microsoft.Batch/batchAccounts/"
)
_UPPER_ACCOUNTS = _ACCOUNTS.upper()
_TENANT = "5f4b2c1e-93d7-4a55-8a5e-2f6c0d9e7b31"
_ZONES = tuple(timezone(timedelta(minutes=minutes)) for minutes in (120, -450, 345, 0))
_CONTROLS = (("\\n", "\n"), ("\\r", "\r"), ("\\t", "\t"), ("\\u0001", "\x01"), ("\\u001f", "\x1f"))

_COMPACT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_SPACED = json.JSONEncoder(ensure_ascii=True)


class Event(NamedTuple):
    """One operation of the service log."""

    time: datetime
    operation: str
    account: str
    subject: Execution | Pool


def events_of(job: Job, start_events: float, draw: Random) -> Iterator[Event]:
    """Everything the service logs about a job's life, in no particular order."""
    last = job.arrival
    for execution in job.executions:
        start, end = execution.start, execution.end
        yield Event(end, COMPLETE, execution.account, execution)
        last = max(last, end)
        if start is not None and draw.random() < start_events:
            yield Event(start, "TaskStartEvent", execution.account, execution)
        if execution.requeues:
            yield Event(start or end, "TaskRequeueEvent", execution.account, execution)
        if execution.exit_code is None:
            yield Event(end, "TaskScheduleFailEvent", execution.account, execution)
        if (execution.result or "").lower() != "success" and execution.exit_code != 0:
            yield Event(end, "TaskFailEvent", execution.account, execution)
    for pool in job.pools:
        names = ["PoolResizeStartEvent", "PoolResizeCompleteEvent"]
        if pool.autoscale:
            names.append("PoolAutoScaleEvent")
        if pool.auto:
            names[:0] = ["PoolCreateEvent"]
        for number, name in enumerate(names):
            yield Event(job.arrival + timedelta(seconds=20 * number), name, job.account, pool)
        for number, name in enumerate(["PoolDeleteStartEvent", "PoolDeleteCompleteEvent"] if pool.auto else []):
            yield Event(last + timedelta(seconds=40 + 75 * number), name, job.account, pool)
        if draw.random() < 0.3:
            yield Event(job.arrival + timedelta(seconds=15), "TaskSpecialEvent", job.account, pool)


class Writer:
    """Writes records: a share of them, the variety, in another than the usual form."""

    def __init__(self, draw: Random, variety: float) -> None:
        self._draw = draw
        self._variety = variety

    def write(self, event: Event) -> bytes:
        """One record, without a line break outside its strings."""
        record = self._record(event)
        if self._draw.random() >= self._variety:
            return _COMPACT.encode(record).encode()
        return self._unusual(record)

    def write_spoilt(self, event: Event, spoil: Callable[[Json], None]) -> bytes:
        """The record of a task complete event with something wrong in it."""
        record = self._record(event)
        spoil(record)
        return _COMPACT.encode(record).encode()

    def _record(self, event: Event) -> Json:
        draw = self._draw
        account = event.account
        record: Json = {
            "time": self._time(event.time + timedelta(microseconds=draw.randint(50_000, 5_000_000))),
            "resourceId": f"{_UPPER_ACCOUNTS}{account}/" if account.isupper() else _ACCOUNTS + account,
            "category": "ServiceLog",
            "operationName": event.operation,
            "operationVersion": "2017-06-01",
            "Tenant": _TENANT,
        }
        subject = event.subject
        if isinstance(subject, Pool):
            record["properties"] = self._pool(event, subject)
        elif event.operation == COMPLETE:
            record["properties"] = self._complete(subject)
        else:
            record["properties"] = self._task(event, subject)
        return record

    def _unusual(self, record: Json) -> bytes:
        draw = self._draw
        if draw.random() < 0.2:
            record["resourceId"] = record["resourceId"].rstrip("/") + draw.choice(("", "/", "//"))
        if draw.random() < 0.1:
            record["operationName"] = draw.choice((record["operationName"].upper(), record["operationName"].lower()))
        if draw.random() < 0.3:
            record |= {
                "level": "Informational",
                "location": "westeurope",
                "correlationId": f"{draw.getrandbits(64):016x}",
                "identity": {"claims": [{"jobId": "of another kind", "operationName": None}]},
            }
            record["properties"]["nodeAgent"] = {"version": [1, 9, 27], "id": "agent"}
        raw = draw.random() < 0.25
        if raw:
            record["properties"]["note"] = "first line\nsecond line\tafter a tab\x01\x1f"
        if draw.random() < 0.25:
            recase = draw.choice((str.upper, str.lower, _capital))
            record = _recased(record, recase)
        encoder = draw.choice((_COMPACT, _SPACED))
        if draw.random() < 0.25:
            key = next(key for key in record if key.lower() == "properties")
            record[key] = _text(encoder, record[key], raw=raw)
            raw = False
        return _text(encoder, record, raw=raw).encode()

    def _time(self, time: datetime) -> str:
        """The time in one of its spellings; a seventh digit is below what the tables keep."""
        draw = self._draw
        shape = draw.random()
        text = time.isoformat(timespec="microseconds")[:26]
        digit = int(shape * 1e6) % 10
        if shape < 0.6:
            return f"{text}{digit}Z"
        whole_millis = time.microsecond % 1_000 == 0
        if shape < 0.85:
            return f"{text[:10]} {text[11:23]}" if whole_millis else f"{text[:10]} {text[11:]}{digit}"
        if shape < 0.95:
            zone = "" if shape < 0.9 else "Z"
            return text.rstrip("0").rstrip(".") + zone
        shifted = time.astimezone(draw.choice(_ZONES)).isoformat(timespec="microseconds")
        return f"{shifted[:26]}{digit}{shifted[26:]}"

    def _complete(self, execution: Execution) -> Json:
        draw = self._draw
        old = execution.result is None
        properties = self._task_head(execution)
        info: Json = {}
        if execution.start is not None:
            info["startTime"] = self._time(execution.start)
        elif draw.random() < 0.5:
            info["startTime"] = None
        info["endTime"] = self._time(execution.end)
        info["exitCode"] = execution.exit_code
        if execution.retries or draw.random() < 0.95:
            info["retryCount"] = execution.retries
        if execution.requeues or draw.random() < 0.95:
            info["requeueCount"] = execution.requeues
        if not old:
            info["result"] = execution.result
            if execution.failure_code or draw.random() < 0.8:
                info["schedulingError"] = self._scheduling_error(execution)
        properties["executionInfo"] = info
        return properties

    def _scheduling_error(self, execution: Execution) -> Json | None:
        if not execution.failure_code and self._draw.random() < 0.1:
            return None
        details = [{"name": "Message", "value": execution.failure_message}] if execution.failure_code else []
        return {
            "category": execution.failure_category,
            "code": execution.failure_code,
            "message": execution.failure_message,
            "details": details,
        }

    def _task_head(self, execution: Execution) -> Json:
        draw = self._draw
        properties: Json = {
            "jobId": execution.job_id,
            "id": execution.task_id,
            "taskType": execution.task_type,
            "systemTaskVersion": execution.system_task_version,
        }
        if execution.result is not None:
            properties["requiredSlots"] = execution.required_slots
        if execution.pool_id or draw.random() < 0.5:
            properties["nodeInfo"] = {"poolId": execution.pool_id, "nodeId": execution.node_id}
        if execution.instances is not None or draw.random() < 0.5:
            properties["multiInstanceSettings"] = {"numberOfInstances": execution.instances}
        if execution.max_retries or draw.random() < 0.8:
            properties["constraints"] = {"maxTaskRetryCount": execution.max_retries}
        return properties

    def _task(self, event: Event, execution: Execution) -> Json:
        """The operations on a task that are not counted."""
        properties = self._task_head(execution)
        failed = "failure" if event.operation == "TaskFailEvent" else None
        info: Json = {"retryCount": execution.retries, "requeueCount": execution.requeues}
        if event.operation == "TaskScheduleFailEvent":
            properties["schedulingError"] = self._scheduling_error(execution)
            return properties
        if failed is not None:
            info |= {"endTime": self._time(execution.end), "exitCode": execution.exit_code, "result": failed}
        if execution.start is not None:
            info["startTime"] = self._time(execution.start)
        properties["executionInfo"] = info
        return properties

    def _pool(self, event: Event, pool: Pool) -> Json:
        nodes = len(pool.nodes)
        before = nodes // 2
        match event.operation:
            case "PoolCreateEvent":
                return {
                    "id": pool.pool_id,
                    "displayName": f"Pool of {nodes}",
                    "vmSize": pool.vm_size,
                    "imageType": "VirtualMachineConfiguration",
                    "virtualMachineConfiguration": {
                        "imageReference": {"publisher": "canonical", "offer": "ubuntu", "sku": "24_04-lts"},
                        "nodeAgentId": "batch.node.ubuntu 24.04",
                    },
                    "networkConfiguration": {"subnetId": ""},
                    "resizeTimeout": "PT15M",
                    "targetDedicatedNodes": nodes,
                    "targetLowPriorityNodes": 0,
                    "taskSlotsPerNode": pool.slots_per_node,
                    "vmFillType": "Spread",
                    "enableAutoScale": pool.autoscale,
                    "enableInterNodeCommunication": False,
                    "isAutoPool": pool.auto,
                }
            case "PoolDeleteStartEvent":
                return {"id": pool.pool_id}
            case "PoolDeleteCompleteEvent":
                started = event.time - timedelta(seconds=75)
                return {"id": pool.pool_id, "startTime": self._time(started), "endTime": self._time(event.time)}
            case "PoolAutoScaleEvent":
                return {
                    "id": pool.pool_id,
                    "timestamp": self._time(event.time),
                    "formula": "$TargetDedicatedNodes=max(0,$PendingTasks.GetSample(1));",
                    "results": f"$TargetDedicatedNodes={nodes};$NodeDeallocationOption=requeue",
                    "error": {"code": "", "message": "", "values": []},
                }
            case "TaskSpecialEvent":
                info = {"startTime": self._time(event.time), "endTime": self._time(event.time), "exitCode": 0}
                node_info = {"poolId": pool.pool_id, "nodeId": pool.nodes[0]}
                return {"taskType": "StartTask", "nodeInfo": node_info, "executionInfo": info | {"result": "success"}}
        resize: Json = {
            "id": pool.pool_id,
            "nodeDeallocationOption": "Requeue",
            "currentDedicatedNodes": before,
            "targetDedicatedNodes": nodes,
            "currentLowPriorityNodes": 0,
            "targetLowPriorityNodes": 0,
            "enableAutoScale": pool.autoscale,
            "isAutoPool": pool.auto,
        }
        if event.operation == "PoolResizeCompleteEvent":
            started = event.time - timedelta(seconds=20)
            resize |= {
                "startTime": self._time(started),
                "endTime": self._time(event.time),
                "resultCode": "Success",
                "resultMessage": "The operation succeeded",
            }
        return resize


def _capital(key: str) -> str:
    return key[:1].upper() + key[1:]


def _recased(value: Any, recase: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {recase(key): _recased(item, recase) for key, item in value.items()}
    if isinstance(value, list):
        return [_recased(item, recase) for item in value]
    return value


def _text(encoder: json.JSONEncoder, value: Json, *, raw: bool) -> str:
    """The JSON text; raw: with control characters in its strings as they are, which JSON forbids."""
    text = encoder.encode(value)
    if raw and "\\\\" not in text:
        for escaped, control in _CONTROLS:
            text = text.replace(escaped, control)
    return text
