"""Tasks and sums ⇄ rows of the tables.

The rule: a row is a function of the executions alone, so that every order of them writes the same bytes; what the rows
that we read again (tasks and shards) say is read back without loss.
"""

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple
from zlib import crc32

from pydantic_core import to_json

from processors import limits
from processors.columns import CONTRACT_VERSION, LAYOUT_COLUMNS, SHARD_COLUMNS, TASK_COLUMNS, Edm, Int64, Row, Value
from processors.errors import NewerContract, UnreadableRow
from processors.events import Execution, from_datetime, key, parse_time, to_datetime
from processors.metrics import (
    SMALLEST_EXPONENT,
    TIME_BUCKETS,
    Longest,
    PoolSums,
    Sums,
    TimeSeries,
    duration,
    percentiles,
    sketch_bucket,
    slot_time,
)
from processors.metrics import retries_exhausted as exhausted

OTHER = "other"
"""The key that stands for all that a bounded map does not name."""

_SECOND = 1_000_000
PERCENTILES = (50, 90, 95, 99)

# --- keys ------------------------------------------------------------------------------------------------------------

_SHARD_PREFIX = "~job~"


def shard_key(shard: str) -> str:
    """The row key of the partial sums that came through one Event Hub partition. Sorts after every task."""
    return f"{_SHARD_PREFIX}{key(shard)}"


LAYOUT_KEY = _SHARD_PREFIX
"""The row key of the job's layout, in bucket 0: how many buckets the job has."""

SHARD_RANGE = (_SHARD_PREFIX, _SHARD_PREFIX + "~")
"""Row keys from the first (included) to the last (excluded) hold the layout and the shards, and nothing else."""


class JobKey(NamedTuple):
    """Which job: lower-cased, escaped ids, as they stand in the keys."""

    account: str
    job: str

    def partition(self, bucket: int = 0) -> str:
        """The partition of one of the job's buckets in TaskRollups."""
        return f"{self.account}|{self.job}|{bucket}" if bucket else f"{self.account}|{self.job}"


def bucket_of(row_key: str, buckets: int) -> int:
    """The bucket that a task lives in, for good: exactly-once rests on it. `row_key` is the task's."""
    return crc32(row_key.encode()) % buckets if buckets > 1 else 0


def job_of(execution: Execution) -> JobKey:
    """The job that an execution belongs to."""
    return JobKey(key(execution.account), key(execution.job_id))


# --- tasks -----------------------------------------------------------------------------------------------------------


class Identity(NamedTuple):
    """What tells one execution of a task from another; orders them from earliest to latest."""

    end: int
    start: int
    """NO_START where the execution has no start."""


NO_START = -(2**63)


def identity(execution: Execution) -> Identity:
    """The identity of an execution within its task."""
    return Identity(execution.end, NO_START if execution.start is None else execution.start)


class Earlier(NamedTuple):
    """What a task row keeps of an execution that is not its latest."""

    identity: Identity
    exit_code: int | None
    succeeded: bool


class Task(NamedTuple):
    """All executions of one task. `earlier` and `older` are sorted from latest to earliest, all `older` after them."""

    latest: Execution
    earlier: tuple[Earlier, ...] = ()
    """At most `EXECUTIONS_LISTED`."""
    older: tuple[Identity, ...] = ()
    """Those beyond: known, so that they are never counted again, without their outcome."""

    @property
    def completions(self) -> int:
        return 1 + len(self.earlier) + len(self.older)

    def identities(self) -> Iterator[Identity]:
        """Of every execution, latest first."""
        yield identity(self.latest)
        yield from (earlier.identity for earlier in self.earlier)
        yield from self.older

    def total_duration(self) -> int:
        """Microseconds over all executions whose duration is known."""
        earlier = (*(each.identity for each in self.earlier), *self.older)
        return (duration(self.latest) or 0) + sum(end - start for end, start in earlier if NO_START < start <= end)


_OLDER = struct.Struct(">qq")


def task_row(task: Task, partition_key: str | None = None) -> Row:
    """The task as a row of TaskRollups; `partition_key` is its bucket's, by default that of the job's first."""
    latest = task.latest
    micros = duration(latest)
    row: dict[str, Value] = {
        "PartitionKey": partition_key or job_of(latest).partition(),
        "RowKey": key(latest.task_id),
        "account": latest.account,
        "jobId": latest.job_id,
        "taskId": latest.task_id,
        "taskType": latest.task_type,
        "poolId": latest.pool_id,
        "nodeId": latest.node_id,
        "endTime": to_datetime(latest.end),
        "requiredSlots": latest.required_slots,
        "numberOfInstances": latest.number_of_instances,
        "succeeded": latest.succeeded,
        "retryCount": latest.retry_count,
        "requeueCount": latest.requeue_count,
        "maxTaskRetryCount": latest.max_task_retry_count,
        "retriesExhausted": not latest.succeeded and exhausted(latest),
        "systemTaskVersion": Int64(latest.system_task_version),
        "completionCount": task.completions,
        "totalDurationSeconds": (task.total_duration() if task.earlier else micros or 0) / _SECOND,
    }
    if latest.start is not None:
        row["startTime"] = to_datetime(latest.start)
    if micros is not None:
        row["durationSeconds"] = micros / _SECOND
        row["slotSeconds"] = slot_time(latest, micros) / _SECOND
    if latest.exit_code is not None:
        row["exitCode"] = latest.exit_code
    if latest.failure_category:
        row["failureCategory"] = latest.failure_category
    if latest.failure_code:
        row["failureCode"] = latest.failure_code
    if latest.failure_message:
        row["failureMessage"] = latest.failure_message
    if task.earlier:
        row["executions"] = _json([_listed(earlier) for earlier in task.earlier] + _other(len(task.older)))
    if task.older:
        row["olderExecutions"] = b"".join(_OLDER.pack(*older) for older in task.older)
    return row


def read_task(row: Row) -> Task:
    """The task in a row of TaskRollups. Raises UnreadableRow."""
    with _reading(row, TASK_COLUMNS):
        column: Mapping[str, Any] = row
        latest = Execution(
            account=column["account"],
            job_id=column["jobId"],
            task_id=column["taskId"],
            task_type=column["taskType"],
            pool_id=column["poolId"],
            node_id=column["nodeId"],
            start=None if (start := column.get("startTime")) is None else from_datetime(start),
            end=from_datetime(column["endTime"]),
            required_slots=column["requiredSlots"],
            number_of_instances=column["numberOfInstances"],
            succeeded=column["succeeded"],
            exit_code=column.get("exitCode"),
            failure_category=column.get("failureCategory", ""),
            failure_code=column.get("failureCode", ""),
            failure_message=column.get("failureMessage", ""),
            retry_count=column["retryCount"],
            requeue_count=column["requeueCount"],
            max_task_retry_count=column["maxTaskRetryCount"],
            system_task_version=column["systemTaskVersion"],
        )
        listed = json.loads(column.get("executions", "[]"))
        earlier = tuple(_read_listed(item) for item in listed if OTHER not in item)
        older = read_older(column.get("olderExecutions", b""))
        task = Task(latest, earlier, older)
        if task.completions != column["completionCount"]:
            raise ValueError(f"completionCount is {column['completionCount']}, but it lists {task.completions}")
        job = job_of(latest).partition()
        if row["RowKey"] != key(latest.task_id) or not (str(row["PartitionKey"]) + "|").startswith(job + "|"):
            raise ValueError("its ids are not those of its keys")
        return task


def read_older(packed: bytes) -> tuple[Identity, ...]:
    """What `olderExecutions` holds, latest first. Raises struct.error."""
    return tuple(Identity(*pair) for pair in _OLDER.iter_unpack(packed))


def _listed(earlier: Earlier) -> dict[str, Any]:
    end, start = earlier.identity
    times = (
        {"endTime": _time_text(end)}
        if start == NO_START
        else {"startTime": _time_text(start), "endTime": _time_text(end)}
    )
    return {**times, "exitCode": earlier.exit_code, "succeeded": earlier.succeeded}


def _read_listed(item: dict[str, Any]) -> Earlier:
    end = parse_time(item["endTime"])
    start = parse_time(item["startTime"]) if "startTime" in item else NO_START
    exit_code, succeeded = item["exitCode"], item["succeeded"]
    if type(exit_code) not in (int, type(None)) or type(succeeded) is not bool:
        raise ValueError("an exit code or outcome in its executions is none")
    return Earlier(Identity(end, start), exit_code, succeeded)


def _other(count: int) -> list[dict[str, Any]]:
    return [{OTHER: count}] if count else []


# --- a job's layout --------------------------------------------------------------------------------------------------


def layout_row(job: JobKey, buckets: int) -> Row:
    """How many buckets the job has: written once, before or with its first task, and never changed."""
    return {"PartitionKey": job.partition(), "RowKey": LAYOUT_KEY, "bucketCount": Int64(buckets)}


def read_layout(row: Row) -> int:
    """The number of buckets in a job's layout. Raises UnreadableRow."""
    with _reading(row, LAYOUT_COLUMNS):
        column: Mapping[str, Any] = row
        buckets: int = column["bucketCount"]
        if not 1 <= buckets <= limits.BUCKETS_A_JOB:
            raise ValueError(f"bucketCount is {buckets}, and may be 1 to {limits.BUCKETS_A_JOB}")
        return buckets


# --- a job's partial sums --------------------------------------------------------------------------------------------


def shard_row(job: JobKey, shard: str, sums: Sums, bucket: int = 0) -> Row:
    """The partial sums as a row beside the tasks of one of the job's buckets."""
    longest = sums.longest
    return _known(
        {
            "PartitionKey": job.partition(bucket),
            "RowKey": shard_key(shard),
            "contractVersion": Int64(CONTRACT_VERSION),
            **_count_columns(sums),
            "durationMicroseconds": str(sums.duration),
            "slotMicroseconds": str(sums.slot_time),
            "minDurationMicroseconds": None if sums.shortest is None else Int64(sums.shortest),
            "maxDurationMicroseconds": None if longest is None else Int64(longest.duration),
            "longestTaskId": None if longest is None else longest.task_id,
            "firstStartTime": None if sums.first_start is None else to_datetime(sums.first_start),
            "lastEndTime": None if sums.last_end is None else to_datetime(sums.last_end),
            "exitCodes": _json(_bounded_counts(sums.exit_codes)),
            "failures": _json(_bounded_counts(sums.failures)),
            "pools": _json(_bounded_pools(sums.pools, lambda micros: ("durationMicroseconds", micros))),
            "durationSketch": _json(dict(sorted(sums.sketch.items()))),
            "durationHistogram": _json(_histogram(sums.histogram)),
            "completionsOverTime": _json(_time_series(sums.over_time)),
        }
    )


def read_shard(row: Row) -> Sums:
    """The partial sums in a shard's row. Raises UnreadableRow; NewerContract where it may hold more than we know."""
    with _reading(row, SHARD_COLUMNS):
        column: Mapping[str, Any] = row
        if (version := column.get("contractVersion", 1)) > CONTRACT_VERSION:
            raise NewerContract(_name(row), version, CONTRACT_VERSION)
        start, end = column.get("firstStartTime"), column.get("lastEndTime")
        longest = column.get("longestTaskId")
        sums = Sums(
            account=column["account"],
            job_id=column["jobId"],
            tasks=column["taskCount"],
            succeeded_tasks=column["succeededTasks"],
            failed_tasks=column["failedTasks"],
            completions=column["completionCount"],
            retries=column["retryCount"],
            requeues=column["requeueCount"],
            retries_exhausted=column["retriesExhausted"],
            durations=column["durationCount"],
            duration=int(column["durationMicroseconds"]),
            slot_time=int(column["slotMicroseconds"]),
            shortest=column.get("minDurationMicroseconds"),
            longest=None if longest is None else Longest(column["maxDurationMicroseconds"], longest),
            first_start=None if start is None else from_datetime(start),
            last_end=None if end is None else from_datetime(end),
            exit_codes=json.loads(column["exitCodes"]),
            failures=json.loads(column["failures"]),
            pools={
                pool: PoolSums(share["completions"], share["failed"], share["durationMicroseconds"])
                for pool, share in json.loads(column["pools"]).items()
            },
            sketch={int(bucket): count for bucket, count in json.loads(column["durationSketch"]).items()},
            histogram={_EXPONENTS[bound]: count for bound, count in json.loads(column["durationHistogram"]).items()},
            over_time=_read_time_series(json.loads(column["completionsOverTime"])),
        )
        _check(sums)
        return sums


_LONGEST = from_datetime(datetime.max.replace(tzinfo=UTC)) - parse_time(limits.EARLIEST_TIME)
_LAST_BUCKET = sketch_bucket(_LONGEST)
_MOST_SLOTS = 2**62
"""Slots times instances, 31 bits each."""


def _check(sums: Sums) -> None:
    """Raise ValueError for sums that no executions add up to: what is computed from them may be anything."""
    shares = [share.completions for share in sums.pools.values()]
    counts = [sums.exit_codes.values(), shares, sums.over_time.counts.values()]
    timed = [sums.sketch.values(), sums.histogram.values()]
    numbers = [number for some in (*counts, *timed, sums.failures.values(), *sums.pools.values()) for number in some]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("its maps hold what is no count")
    if sums.completions < 1 or any(sum(some) != sums.completions for some in counts):
        raise ValueError("its maps do not add up to its completionCount")
    if sums.durations < 0 or any(sum(some) != sums.durations for some in timed):
        raise ValueError("its maps do not add up to its durationCount")
    if not (sums.shortest is None) == (sums.longest is None) == (sums.durations == 0):
        raise ValueError("it has a shortest and a longest duration, or none at all")
    if not all(-1 <= bucket <= _LAST_BUCKET for bucket in sums.sketch):
        raise ValueError("its durationSketch has buckets that no duration falls into")
    if not (0 <= sums.duration <= sums.durations * _LONGEST and 0 <= sums.slot_time <= sums.duration * _MOST_SLOTS):
        raise ValueError("its durations cannot be this long")


# --- the published job -----------------------------------------------------------------------------------------------


def job_row(job: JobKey, sums: Sums, shard_count: int, buckets: int = 1) -> Row:
    """The merged sums of a job's shards as a row of JobRollups."""
    span = None if sums.first_start is None or sums.last_end is None else sums.last_end - sums.first_start
    if span is not None and span < 0:
        span = None
    longest = sums.longest
    return _known(
        {
            "PartitionKey": job.account,
            "RowKey": job.job,
            **_count_columns(sums),
            "durationSeconds": sums.duration / _SECOND,
            "minDurationSeconds": _seconds(sums.shortest),
            "maxDurationSeconds": None if longest is None else _seconds(longest.duration),
            "meanDurationSeconds": sums.duration / (sums.durations * _SECOND) if sums.durations else None,
            **_percentiles(sums),
            "slotSeconds": sums.slot_time / _SECOND,
            "firstStartTime": None if sums.first_start is None else to_datetime(sums.first_start),
            "lastEndTime": None if sums.last_end is None else to_datetime(sums.last_end),
            "spanSeconds": _seconds(span),
            "meanConcurrency": sums.duration / span if span else None,
            "longestTaskId": None if longest is None else longest.task_id,
            "exitCodes": _json(_bounded_counts(sums.exit_codes)),
            "failures": _json(_bounded_counts(sums.failures)),
            "pools": _json(_bounded_pools(sums.pools, lambda micros: ("durationSeconds", micros / _SECOND))),
            "shardCount": Int64(shard_count),
            "bucketCount": Int64(buckets),
            "contractVersion": Int64(CONTRACT_VERSION),
            "durationHistogram": _json(_histogram(sums.histogram)),
            "completionsOverTime": _json(_time_series(sums.over_time)),
        }
    )


def _percentiles(sums: Sums) -> dict[str, float]:
    if sums.shortest is None or sums.longest is None:
        return {}
    shortest, longest = sums.shortest, sums.longest.duration
    return {
        f"p{percent}DurationSeconds": min(max(micros, shortest), longest) / _SECOND
        for percent, micros in zip(PERCENTILES, percentiles(sums.sketch, PERCENTILES), strict=True)
    }


# --- shared by the rows ----------------------------------------------------------------------------------------------


def _count_columns(sums: Sums) -> dict[str, Value | None]:
    return {
        "account": sums.account,
        "jobId": sums.job_id,
        "taskCount": Int64(sums.tasks),
        "succeededTasks": Int64(sums.succeeded_tasks),
        "failedTasks": Int64(sums.failed_tasks),
        "completionCount": Int64(sums.completions),
        "retryCount": Int64(sums.retries),
        "requeueCount": Int64(sums.requeues),
        "retriesExhausted": Int64(sums.retries_exhausted),
        "durationCount": Int64(sums.durations),
    }


def _known(row: Mapping[str, Value | None]) -> Row:
    """The row without what is unknown: Table Storage has no null."""
    return {name: value for name, value in row.items() if value is not None}


def _seconds(micros: int | None) -> float | None:
    return None if micros is None else micros / _SECOND


def _time_text(micros: int) -> str:
    return to_datetime(micros).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _json(value: Any) -> str:
    return to_json(value).decode()


def units(text: str) -> int:
    """UTF-16 units, in which Table Storage counts a string's size."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _bounded_counts(counts: dict[str, int]) -> dict[str, int]:
    return _bounded(counts, weight=lambda count: count, add=int.__add__, shown=lambda count: count)


def _bounded_pools(pools: dict[str, PoolSums], time: Callable[[int], tuple[str, float]]) -> dict[str, Any]:
    def shown(share: PoolSums) -> dict[str, Any]:
        return {"completions": share.completions, "failed": share.failed, **dict([time(share.duration)])}

    bounded = _bounded(pools, weight=lambda share: share.completions, add=PoolSums.plus, shown=shown)
    return {pool: shown(share) for pool, share in bounded.items()}


_ENTRY_UNITS = 256
"""More than a map's entry takes beside its key, of which a character takes six units at most."""


def _bounded[T](
    named: dict[str, T], weight: Callable[[T], int], add: Callable[[T, T], T], shown: Callable[[T], Any]
) -> dict[str, T]:
    """`named` where it fits a column; else its weightiest keys, and all others summed under `OTHER`."""
    if len(named) <= limits.MAP_KEYS and sum(_ENTRY_UNITS + 6 * len(name) for name in named) <= limits.MAP_UNITS:
        return dict(sorted(named.items()))  # as nearly always
    sizes = {name: units(_json({name: shown(value)})) for name, value in named.items()}
    if len(named) <= limits.MAP_KEYS and sum(sizes.values()) <= limits.MAP_UNITS:
        return dict(sorted(named.items()))
    kept: dict[str, T] = {}
    room = limits.MAP_UNITS
    others = [named[OTHER]] if OTHER in named else []
    for name in sorted(named.keys() - {OTHER}, key=lambda name: (-weight(named[name]), name)):
        if len(kept) < limits.MAP_KEYS and sizes[name] <= room:
            kept[name] = named[name]
            room -= sizes[name]
        else:
            others.append(named[name])
    summed = others[0]
    for value in others[1:]:
        summed = add(summed, value)
    return {**dict(sorted(kept.items())), OTHER: summed}


_BOUNDS = {e: str(2**e) if e >= 0 else repr(2.0**e) for e in range(SMALLEST_EXPONENT, 64)}
_EXPONENTS = {bound: e for e, bound in _BOUNDS.items()}


def _histogram(histogram: dict[int, int]) -> dict[str, int]:
    """Upper bound in seconds → executions."""
    return {_BOUNDS[exponent]: count for exponent, count in sorted(histogram.items())}


def _time_series(series: TimeSeries) -> dict[str, Any]:
    first, last = min(series.counts), max(series.counts)
    start = to_datetime(first * series.width_seconds * _SECOND)
    counts = [0] * (last + 1 - first)
    for bucket, count in series.counts.items():
        counts[bucket - first] = count
    return {
        "start": start.isoformat().replace("+00:00", "Z"),
        "widthSeconds": series.width_seconds,
        "counts": counts,
    }


def _read_time_series(column: dict[str, Any]) -> TimeSeries:
    width = column["widthSeconds"]
    series = TimeSeries(k=(width // 60).bit_length() - 1)
    if not 0 <= series.k < 64 or width != series.width_seconds or len(column["counts"]) > TIME_BUCKETS:
        raise ValueError("its completionsOverTime has other buckets than 60 s doubled k times")
    first = from_datetime(datetime.fromisoformat(column["start"])) // (width * _SECOND)
    series.counts = {first + offset: count for offset, count in enumerate(column["counts"]) if count}
    return series


_TYPES = {
    Edm.STRING: str,
    Edm.INT32: int,
    Edm.INT64: int,
    Edm.BOOLEAN: bool,
    Edm.DATETIME: datetime,
    Edm.BINARY: bytes,
}
"""What a column's value is when it is read. Doubles never are: they are computed again."""


def _check_types(row: Row, columns: Mapping[str, Edm]) -> None:
    for name, value in row.items():
        wanted = _TYPES.get(columns.get(name, Edm.DOUBLE), object)
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise TypeError(f"{name} is no {columns[name]}")


@contextmanager
def _reading(row: Row, columns: Mapping[str, Edm]) -> Iterator[None]:
    try:
        _check_types(row, columns)
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, struct.error) as error:
        raise UnreadableRow(f"stored row {_name(row)} is not as written: {type(error).__name__}: {error}") from None


def _name(row: Row) -> str:
    return f"{row.get('PartitionKey')!r} / {row.get('RowKey')!r}"
