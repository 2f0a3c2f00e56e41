"""Everything that is wrong on purpose: how a task complete event is spoilt, and messages without a record.

Each kind is wrong beyond doubt by the contract of records; what it leaves open is not here. The ids in spoilt records
belong to no task of the truth, so that one that is taken for good shows up in the tables.
"""

from collections.abc import Callable
from typing import Any

from devstack.workload.records import Json


def _without(*path: str) -> Callable[[Json], None]:
    def spoil(record: Json) -> None:
        *parents, last = path
        for key in parents:
            record = record[key]
        del record[last]

    return spoil


def _with(value: Any, *path: str) -> Callable[[Json], None]:
    def spoil(record: Json) -> None:
        *parents, last = path
        for key in parents:
            record = record[key]
        record[last] = value

    return spoil


_JOB = ("properties", "jobId")
_TASK = ("properties", "id")
_INFO = ("properties", "executionInfo")

BAD_RECORDS: dict[str, Callable[[Json], None]] = {
    "no jobId": _without(*_JOB),
    "no id": _without(*_TASK),
    "no executionInfo": _without(*_INFO),
    "no endTime": _without(*_INFO, "endTime"),
    "no resourceId": _without("resourceId"),
    "no properties": _without("properties"),
    "null jobId": _with(None, *_JOB),
    "null id": _with(None, *_TASK),
    "null endTime": _with(None, *_INFO, "endTime"),
    "null properties": _with(None, "properties"),
    "empty jobId": _with("", *_JOB),
    "empty id": _with("", *_TASK),
    "long jobId": _with("j" * 257, *_JOB),
    "long id": _with("t" * 257, *_TASK),
    "empty resourceId": _with("", "resourceId"),
    "resourceId of slashes": _with("//", "resourceId"),
    "resourceId is a number": _with(17, "resourceId"),
    "jobId is a list": _with(["nightly"], *_JOB),
    "id is an object": _with({"name": "task-1"}, *_TASK),
    "executionInfo is a list": _with([], *_INFO),
    "exitCode is text": _with("segmentation fault", *_INFO, "exitCode"),
    "retryCount is text": _with("three times", *_INFO, "retryCount"),
    "requiredSlots is a list": _with([1], "properties", "requiredSlots"),
    "nodeInfo is text": _with("tvm-1", "properties", "nodeInfo"),
    "endTime in words": _with("yesterday at noon", *_INFO, "endTime"),
    "startTime in words": _with("soon", *_INFO, "startTime"),
    "endTime on 30 February": _with("2026-02-30T10:00:00Z", *_INFO, "endTime"),
    "endTime at 25 o'clock": _with("2026-11-22T25:10:00.0000000Z", *_INFO, "endTime"),
    "properties in single quotes": _with("{'jobId': 'nightly', 'id': 'task-1'}", "properties"),
    "properties cut off": _with('{"jobId":"nightly","id":"task-1","executionInfo":{"endTi', "properties"),
    "properties in words": _with("task completed", "properties"),
    "properties is a list": _with([{"jobId": "nightly"}], "properties"),
}

_DEPTH = 10_000

_BAD_BODIES: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \r\n\t",
    "plain text": b"Service unavailable: try again later",
    "markup": b"<html><body>502</body></html>",
    "binary": bytes(range(256)),
    "no records": b'{"records":[]}',
    "empty array": b"[]",
    "items without records": b'[{"records":[]},{"records":[]}]',
    "null": b"null",
    "number": b"42",
    "string": b'"records"',
    "deep arrays": b"[" * _DEPTH + b"]" * _DEPTH,
    "deep envelopes": b'{"records":[' * _DEPTH + b"]}" * _DEPTH,
}

BAD_MESSAGES = (*_BAD_BODIES, "cut off", "not UTF-8")


def bad_message(kind: str, lost: list[bytes]) -> bytes:
    """The body of a bad message; where it is a good one gone wrong, these records are lost with it."""
    match kind:
        case "cut off":
            return (b'{"records":[' + b",".join(lost))[:-20]
        case "not UTF-8":
            return b'{"records":[' + b",".join(lost) + b'],"note":"caf\xe9"}'
    return _BAD_BODIES[kind]
