"""The contract of the tables: every column and its type; docs/tables.md says what each means.

`TASK_COLUMNS` and `JOB_COLUMNS` are what readers may rely on. `SHARD_COLUMNS` are a job's partial sums and
`LAYOUT_COLUMNS` its layout, ours alone: they stand beside its tasks, the sums exact where the published row rounds.

A row is a mapping of column to value in Table Storage's types. Absent means unknown: Table Storage has no null. An
integer is 32 bits wide unless it is an `Int64`.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

TASKS = "TaskRollups"
JOBS = "JobRollups"

CONTRACT_VERSION = 1
"""Of the rows that this code writes; absent in a row is 1. docs/tables.md says when it changes and who minds."""


class Int64(int):
    """An integer for an Edm.Int64 column."""


type Value = str | int | float | bool | bytes | datetime
type Row = Mapping[str, Value]


class StoredRow(NamedTuple):
    """A row as it was read, without the service's own metadata."""

    row: Row
    etag: str


class Edm(StrEnum):
    """Table Storage's types (OData's Entity Data Model)."""

    STRING = "Edm.String"
    INT32 = "Edm.Int32"
    INT64 = "Edm.Int64"
    DOUBLE = "Edm.Double"
    BOOLEAN = "Edm.Boolean"
    DATETIME = "Edm.DateTime"
    BINARY = "Edm.Binary"


_KEYS = {"PartitionKey": Edm.STRING, "RowKey": Edm.STRING}

TASK_COLUMNS: Mapping[str, Edm] = _KEYS | {
    "account": Edm.STRING,
    "jobId": Edm.STRING,
    "taskId": Edm.STRING,
    "taskType": Edm.STRING,
    "poolId": Edm.STRING,
    "nodeId": Edm.STRING,
    "startTime": Edm.DATETIME,
    "endTime": Edm.DATETIME,
    "durationSeconds": Edm.DOUBLE,
    "requiredSlots": Edm.INT32,
    "numberOfInstances": Edm.INT32,
    "slotSeconds": Edm.DOUBLE,
    "succeeded": Edm.BOOLEAN,
    "exitCode": Edm.INT32,
    "failureCategory": Edm.STRING,
    "failureCode": Edm.STRING,
    "failureMessage": Edm.STRING,
    "retryCount": Edm.INT32,
    "requeueCount": Edm.INT32,
    "maxTaskRetryCount": Edm.INT32,
    "retriesExhausted": Edm.BOOLEAN,
    "systemTaskVersion": Edm.INT64,
    "completionCount": Edm.INT32,
    "totalDurationSeconds": Edm.DOUBLE,
    "executions": Edm.STRING,
    "olderExecutions": Edm.BINARY,
}

_COUNTS = {
    "taskCount": Edm.INT64,
    "succeededTasks": Edm.INT64,
    "failedTasks": Edm.INT64,
    "completionCount": Edm.INT64,
    "retryCount": Edm.INT64,
    "requeueCount": Edm.INT64,
    "retriesExhausted": Edm.INT64,
    "durationCount": Edm.INT64,
}

JOB_COLUMNS: Mapping[str, Edm] = (
    _KEYS
    | {"account": Edm.STRING, "jobId": Edm.STRING}
    | _COUNTS
    | {
        "durationSeconds": Edm.DOUBLE,
        "minDurationSeconds": Edm.DOUBLE,
        "maxDurationSeconds": Edm.DOUBLE,
        "meanDurationSeconds": Edm.DOUBLE,
        "p50DurationSeconds": Edm.DOUBLE,
        "p90DurationSeconds": Edm.DOUBLE,
        "p95DurationSeconds": Edm.DOUBLE,
        "p99DurationSeconds": Edm.DOUBLE,
        "slotSeconds": Edm.DOUBLE,
        "firstStartTime": Edm.DATETIME,
        "lastEndTime": Edm.DATETIME,
        "spanSeconds": Edm.DOUBLE,
        "meanConcurrency": Edm.DOUBLE,
        "longestTaskId": Edm.STRING,
        "exitCodes": Edm.STRING,
        "failures": Edm.STRING,
        "pools": Edm.STRING,
        "shardCount": Edm.INT64,
        "bucketCount": Edm.INT64,
        "contractVersion": Edm.INT64,
        "durationHistogram": Edm.STRING,
        "completionsOverTime": Edm.STRING,
    }
)

SHARD_COLUMNS: Mapping[str, Edm] = (
    _KEYS
    | {"contractVersion": Edm.INT64, "account": Edm.STRING, "jobId": Edm.STRING}
    | _COUNTS
    | {
        "durationMicroseconds": Edm.STRING,  # of any size
        "slotMicroseconds": Edm.STRING,  # of any size
        "minDurationMicroseconds": Edm.INT64,
        "maxDurationMicroseconds": Edm.INT64,
        "longestTaskId": Edm.STRING,
        "firstStartTime": Edm.DATETIME,
        "lastEndTime": Edm.DATETIME,
        "exitCodes": Edm.STRING,
        "failures": Edm.STRING,
        "pools": Edm.STRING,
        "durationSketch": Edm.STRING,
        "durationHistogram": Edm.STRING,
        "completionsOverTime": Edm.STRING,
    }
)

LAYOUT_COLUMNS: Mapping[str, Edm] = _KEYS | {"bucketCount": Edm.INT64}
