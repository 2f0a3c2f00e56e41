"""The tables' rows as typed values: `Job`, `Task`, and what is within them.

The rule: a field is the column of the same name, in Python's spelling (`task_count` is `taskCount`), and `columns()`
gives the row back with the columns' names, as JSON has them, and only those that were read. A column that was not
selected, or is absent in the row because it is unknown, has its field's default. docs/tables.md says what each means.
"""

from datetime import datetime
from typing import Any

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, Json
from pydantic.alias_generators import to_camel

from processors import limits


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    def columns(self) -> dict[str, Any]:
        """As JSON has it: what was read, under the columns' names; times in ISO 8601, maps as objects."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class PoolShare(_Model):
    """What one pool did of a job."""

    completions: int = 0
    failed: int = 0
    duration_seconds: float = 0.0


class CompletionsOverTime(_Model):
    """Executions by end time: `counts[i]` ended within `width_seconds` from `start + i · width_seconds` on."""

    start: datetime
    width_seconds: int
    counts: list[int]


class EarlierExecution(_Model):
    """An execution of a task that is not its latest; or, with `other`, how many are not listed."""

    start_time: datetime | None = None
    end_time: datetime | None = None
    exit_code: int | None = None
    succeeded: bool | None = None
    other: int | None = None


class _Row(_Model):
    """What every row has."""

    partition_key: str = Field(default="", alias="PartitionKey")
    row_key: str = Field(default="", alias="RowKey")
    timestamp: datetime | None = Field(default=None, alias="Timestamp")
    """When the row was last written, by the service's clock."""
    account: str = ""
    job_id: str = ""


class Job(_Row):
    """A row of JobRollups."""

    task_count: int = 0
    succeeded_tasks: int = 0
    failed_tasks: int = 0
    completion_count: int = 0
    retry_count: int = 0
    requeue_count: int = 0
    retries_exhausted: int = 0
    duration_count: int = 0
    duration_seconds: float = 0.0
    min_duration_seconds: float | None = None
    max_duration_seconds: float | None = None
    mean_duration_seconds: float | None = None
    p50_duration_seconds: float | None = None
    p90_duration_seconds: float | None = None
    p95_duration_seconds: float | None = None
    p99_duration_seconds: float | None = None
    slot_seconds: float = 0.0
    first_start_time: datetime | None = None
    last_end_time: datetime | None = None
    span_seconds: float | None = None
    mean_concurrency: float | None = None
    longest_task_id: str | None = None
    exit_codes: Json[dict[str, int]] = {}
    failures: Json[dict[str, int]] = {}
    pools: Json[dict[str, PoolShare]] = {}
    shard_count: int = 0
    bucket_count: int = Field(default=1, ge=1, le=limits.BUCKETS_A_JOB)
    contract_version: int = Field(default=1, ge=1)
    duration_histogram: Json[dict[str, int]] = {}
    """Upper bound in seconds, as the column writes it → executions."""
    completions_over_time: Json[CompletionsOverTime] | None = None


class Task(_Row):
    """A task's row of TaskRollups: its latest execution, and the times of the earlier ones."""

    task_id: str = ""
    task_type: str = ""
    pool_id: str = ""
    node_id: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    duration_seconds: float | None = None
    required_slots: int = 1
    number_of_instances: int = 1
    slot_seconds: float | None = None
    succeeded: bool | None = None
    exit_code: int | None = None
    failure_category: str = ""
    failure_code: str = ""
    failure_message: str = ""
    retry_count: int = 0
    requeue_count: int = 0
    max_task_retry_count: int = 0
    retries_exhausted: bool = False
    system_task_version: int = 0
    completion_count: int = 1
    total_duration_seconds: float = 0.0
    executions: Json[list[EarlierExecution]] = []
    older_executions: Base64Bytes = b""


class Node(_Model):
    """What the tasks of one job did on one node, by their latest executions."""

    pool_id: str
    node_id: str
    tasks: int = 0
    failed: int = 0
    retries: int = 0
    busy_seconds: float = 0.0
    """Sum of the durations: tasks side by side count each."""
    first_start_time: datetime | None = None
    last_end_time: datetime | None = None
