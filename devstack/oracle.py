"""What TaskRollups and JobRollups must hold, from the distinct executions, in the plainest way there is.

Nothing here is incremental, merged or approximate: every figure is computed from all of its executions at once, with
integers (microseconds) until the last division. It follows the tables' contract and shares no code with what writes
them; where the two disagree, one of them is wrong.

Expected values are Python's own (JSON columns as the lists and dicts they hold); `differences` compares them with rows
as azure-data-tables reads them, types included.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from azure.data.tables import EdmType, EntityProperty

from devstack.workload import Execution

type Key = tuple[str, str]
type Row = dict[str, object]

SECOND = 10**6
MINUTE = 60 * SECOND

LISTED_EXECUTIONS = 100
MOST_BUCKETS = 240
PERCENTILES = (50, 90, 95, 99)
TOLERANCE = 0.01

_JSON = frozenset({"executions", "exitCodes", "failures", "pools", "durationHistogram", "completionsOverTime"})
_BOUNDED = frozenset({"exitCodes", "failures", "pools"})
_PERCENTILES = frozenset(f"p{p}DurationSeconds" for p in PERCENTILES)
_INT64 = frozenset({"systemTaskVersion"})
_UNCHECKED = frozenset({"PartitionKey", "RowKey", "Timestamp"})
_HOW_IT_IS_KEPT = ("shardCount", "bucketCount", "contractVersion")
"""Columns of a job that its executions do not tell."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOWEST = datetime.min.replace(tzinfo=UTC)
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_:-")


def key_part(text: str) -> str:
    """An account, job id or task id as it stands in a key."""
    parts = []
    for character in text.lower():
        if character in _PLAIN:
            parts.append(character)
        else:
            parts += [f"={byte:02X}" for byte in character.encode()]
    return "".join(parts)


def expected_task_rows(executions: Iterable[Execution]) -> dict[Key, Row]:
    """The rows of TaskRollups, without the jobs' partial sums, by PartitionKey and RowKey."""
    tasks: dict[Key, list[Execution]] = defaultdict(list)
    for execution in executions:
        partition = f"{key_part(execution.account)}|{key_part(execution.job_id)}"
        tasks[partition, key_part(execution.task_id)].append(execution)
    return {key: _task_row(its) for key, its in tasks.items()}


def expected_job_rows(executions: Iterable[Execution]) -> dict[Key, Row]:
    """The rows of JobRollups, by PartitionKey and RowKey."""
    jobs: dict[Key, list[Execution]] = defaultdict(list)
    for execution in executions:
        jobs[key_part(execution.account), key_part(execution.job_id)].append(execution)
    return {key: _job_row(its) for key, its in jobs.items()}


def differences(expected: Mapping[Key, Mapping[str, object]], actual: Iterable[Mapping[str, object]]) -> list[str]:
    """What is wrong with the rows read from a table: one readable line each, none where all is well."""
    lines = []
    several = len({partition.split("|")[0] for partition, _ in expected}) > 1
    missing = dict(expected)
    for row in actual:
        partition = "|".join(str(row["PartitionKey"]).split("|")[:2])  # whichever of its job's buckets a task is in
        key = (partition, str(row["RowKey"]))
        if "|" in key[0] and key[1].startswith("~"):
            continue
        wanted = missing.pop(key, None)
        name = _name(key, wanted or row, several=several)
        if wanted is None:
            lines.append(f"{name}: the row is not expected" + (" twice" if key in expected else ""))
        else:
            lines += [f"{name}: {problem}" for problem in _problems(wanted, row, of_job="|" not in key[0])]
    lines += [f"{_name(key, wanted, several=several)}: the row is missing" for key, wanted in missing.items()]
    return lines


def succeeded(execution: Execution) -> bool:
    if execution.result is not None:
        return execution.result.lower() == "success"
    return execution.exit_code == 0


def _duration(execution: Execution) -> int | None:
    """In microseconds; unknown without a start, or with an end before it."""
    if execution.start is None or execution.end < execution.start:
        return None
    return _micros(execution.end - execution.start)


def _micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def _slots(execution: Execution) -> int:
    return (execution.required_slots or 1) * (execution.instances or 1)


def _age(execution: Execution) -> tuple[datetime, datetime]:
    return execution.end, execution.start or _LOWEST


def _exhausted(execution: Execution) -> bool:
    return not succeeded(execution) and 0 < execution.max_retries <= execution.retries


def _known(row: Mapping[str, object]) -> Row:
    return {column: value for column, value in row.items() if value is not None}


def _task_row(executions: list[Execution]) -> Row:
    newest_first = sorted(executions, key=_age, reverse=True)
    latest = newest_first[0]
    duration = _duration(latest)
    row: Row = {
        "account": latest.account,
        "jobId": latest.job_id,
        "taskId": latest.task_id,
        "taskType": latest.task_type,
        "poolId": latest.pool_id,
        "nodeId": latest.node_id,
        "startTime": latest.start,
        "endTime": latest.end,
        "durationSeconds": None if duration is None else duration / SECOND,
        "requiredSlots": latest.required_slots or 1,
        "numberOfInstances": latest.instances or 1,
        "slotSeconds": None if duration is None else duration * _slots(latest) / SECOND,
        "succeeded": succeeded(latest),
        "exitCode": latest.exit_code,
        "failureCategory": latest.failure_category or None,
        "failureCode": latest.failure_code or None,
        "failureMessage": latest.failure_message or None,
        "retryCount": latest.retries,
        "requeueCount": latest.requeues,
        "maxTaskRetryCount": latest.max_retries,
        "retriesExhausted": _exhausted(latest),
        "systemTaskVersion": latest.system_task_version,
        "completionCount": len(executions),
        "totalDurationSeconds": sum(_duration(execution) or 0 for execution in executions) / SECOND,
        "executions": _earlier(newest_first[1:]),
        "olderExecutions": _older(newest_first[1 + LISTED_EXECUTIONS :]),
    }
    return _known(row)


def _earlier(executions: list[Execution]) -> list[Row] | None:
    items: list[Row] = []
    for execution in executions[:LISTED_EXECUTIONS]:
        item: Row = {"startTime": _text(execution.start)} if execution.start is not None else {}
        item |= {"endTime": _text(execution.end), "exitCode": execution.exit_code, "succeeded": succeeded(execution)}
        items.append(item)
    if len(executions) > LISTED_EXECUTIONS:
        items.append({"other": len(executions) - LISTED_EXECUTIONS})
    return items or None


def _older(executions: list[Execution]) -> bytes | None:
    """The end and the start of each, 8 bytes a time; the smallest number where there is no start."""
    times = [_micros(time - _EPOCH) if time else -(2**63) for one in executions for time in (one.end, one.start)]
    return b"".join(time.to_bytes(8, "big", signed=True) for time in times) or None


def _text(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _job_row(executions: list[Execution]) -> Row:
    tasks: dict[str, list[Execution]] = defaultdict(list)
    for execution in executions:
        tasks[execution.task_id.lower()].append(execution)
    latest = [max(its, key=_age) for its in tasks.values()]
    good = sum(succeeded(execution) for execution in latest)
    lasted = {id(execution): _duration(execution) for execution in executions}
    timed = [(duration, execution) for execution in executions if (duration := lasted[id(execution)]) is not None]
    durations = sorted(duration for duration, _ in timed)
    total = sum(durations)
    starts = [execution.start for execution in executions if execution.start is not None]
    first_start = min(starts, default=None)
    last_end = max(execution.end for execution in executions)
    span = None if first_start is None or last_end < first_start else _micros(last_end - first_start)
    row: Row = {
        "account": min(execution.account for execution in executions),
        "jobId": min(execution.job_id for execution in executions),
        "taskCount": len(tasks),
        "succeededTasks": good,
        "failedTasks": len(tasks) - good,
        "completionCount": len(executions),
        "retryCount": sum(execution.retries for execution in executions),
        "requeueCount": sum(execution.requeues for execution in executions),
        "retriesExhausted": sum(_exhausted(execution) for execution in executions),
        "durationCount": len(durations),
        "durationSeconds": total / SECOND,
        "slotSeconds": sum(duration * _slots(execution) for duration, execution in timed) / SECOND,
        "firstStartTime": first_start,
        "lastEndTime": last_end,
        "spanSeconds": None if span is None else span / SECOND,
        "meanConcurrency": total / span if span else None,
        "exitCodes": dict(Counter(_exit_code(execution) for execution in executions)),
        "failures": dict(Counter(_failure(execution) for execution in executions if not succeeded(execution))),
        "pools": _pools(executions),
        "durationHistogram": dict(Counter(_bound(duration) for duration in durations)),
        "completionsOverTime": _completions_over_time(executions),
    }
    if durations:
        row |= {
            "minDurationSeconds": durations[0] / SECOND,
            "maxDurationSeconds": durations[-1] / SECOND,
            "meanDurationSeconds": total / (len(durations) * SECOND),
            "longestTaskId": _longest(timed),
        }
        for p in PERCENTILES:
            rank = -(-p * len(durations) // 100)
            row[f"p{p}DurationSeconds"] = durations[rank - 1] / SECOND
    return _known(row)


def _exit_code(execution: Execution) -> str:
    return "none" if execution.exit_code is None else str(execution.exit_code)


def _failure(execution: Execution) -> str:
    if execution.failure_code:
        return execution.failure_code
    return "Unknown" if execution.exit_code in (None, 0) else "FailureExitCode"


def _pools(executions: list[Execution]) -> dict[str, Row]:
    pools: dict[str, list[Execution]] = defaultdict(list)
    for execution in executions:
        pools[execution.pool_id].append(execution)
    return {
        pool_id: {
            "completions": len(its),
            "failed": sum(not succeeded(execution) for execution in its),
            "durationSeconds": sum(_duration(execution) or 0 for execution in its) / SECOND,
        }
        for pool_id, its in pools.items()
    }


def _longest(timed: list[tuple[int, Execution]]) -> str:
    longest = max(duration for duration, _ in timed)
    ids = {execution.task_id for duration, execution in timed if duration == longest}
    return min(ids, key=lambda task_id: (task_id.lower(), task_id))


def _bound(duration: int) -> str:
    """The smallest power of two, in seconds, that a duration does not exceed, as decimal text."""
    exponent = -10
    while duration * 2**10 > SECOND * 2 ** (exponent + 10):
        exponent += 1
    return str(2**exponent)


def _completions_over_time(executions: list[Execution]) -> Row:
    ends = [_micros(execution.end - _EPOCH) for execution in executions]
    width = MINUTE
    while max(ends) // width - min(ends) // width + 1 > MOST_BUCKETS:
        width *= 2
    first = min(ends) // width
    counts = [0] * (max(ends) // width - first + 1)
    for end in ends:
        counts[end // width - first] += 1
    start = _EPOCH + timedelta(microseconds=first * width)
    return {"start": f"{start:%Y-%m-%dT%H:%M:%SZ}", "widthSeconds": width // SECOND, "counts": counts}


def _name(key: Key, row: Mapping[str, object], *, several: bool) -> str:
    """What a line begins with; the account only where there are several."""
    account = f"{row.get('account', key[0])}/" if several else ""
    if "|" in key[0]:
        return f"TaskRollups {account}{row.get('jobId', key[0])}/{row.get('taskId', key[1])}"
    return f"JobRollups {account}{row.get('jobId', key[1])}"


def _problems(expected: Mapping[str, object], actual: Mapping[str, object], *, of_job: bool) -> list[str]:
    problems = []
    for column, wanted in expected.items():
        if column not in actual:
            if wanted != {}:
                problems.append(f"{column} is missing, expected {_shown(wanted)}")
            continue
        int64 = column in _INT64 or of_job
        problem = _problem(column, wanted, actual[column], int64=int64)
        if problem:
            problems.append(f"{column} {problem}")
    for column in actual.keys() - expected.keys() - _UNCHECKED:
        found = actual[column]
        if column in _HOW_IT_IS_KEPT and of_job:
            if not (isinstance(found, EntityProperty) and found.edm_type == EdmType.INT64 and found.value >= 1):
                problems.append(f"{column} is {_shown(found)}, expected at least 1, as {EdmType.INT64.value}")
        elif not (column in _BOUNDED | {"durationHistogram"} and found == "{}"):
            problems.append(f"{column} is {_shown(found)}, expected none")
    if of_job:
        missing = [column for column in _HOW_IT_IS_KEPT if column not in actual]
        problems += [f"{column} is missing, expected at least 1" for column in missing]
    return sorted(problems)


def _problem(column: str, wanted: object, found: object, *, int64: bool) -> str:
    """What is wrong with one value, or nothing."""
    if column in _JSON:
        return _json_problem(column, wanted, found)
    value, found_type = (
        (found.value, found.edm_type) if isinstance(found, EntityProperty) else (found, _edm_type(found))
    )
    wanted_type = EdmType.INT64 if int64 and type(wanted) is int else _edm_type(wanted)
    if found_type != wanted_type:
        return f"is {_shown(found)} as {_type_name(found_type)}, expected {_shown(wanted)} as {_type_name(wanted_type)}"
    if column in _PERCENTILES and isinstance(wanted, float) and isinstance(value, float):
        if abs(value - wanted) <= TOLERANCE * wanted:
            return ""
        return f"is {_shown(value)}, expected {_shown(wanted)} or within 1% of it"
    return "" if value == wanted else f"is {_shown(value)}, expected {_shown(wanted)}"


def _json_problem(column: str, wanted: object, found: object) -> str:
    try:
        value = json.loads(found) if isinstance(found, str) else None
    except ValueError:
        value = None
    if value is None:
        return f"is {_shown(found)}, expected JSON text of {_shown(wanted)}"
    if value == wanted:
        return ""
    if column in _BOUNDED and isinstance(value, dict) and isinstance(wanted, dict) and "other" in value.keys() - wanted:
        named = [_leaves(value[key], wanted[key]) for key in value.keys() & wanted.keys()]
        within = all(have <= want for leaves in named for have, want in leaves)
        if within and value.keys() - wanted.keys() == {"other"} and _sums(value) == _sums(wanted):
            return ""
    return f"is {_shown(value)}, expected {_shown(wanted)}"


def _leaves(value: object, wanted: object) -> list[tuple[float, float]]:
    """The numbers of a map's value beside the expected ones: counts have one, pools have three."""
    if isinstance(value, dict) and isinstance(wanted, dict):
        return [(value.get(key, 0), wanted[key]) for key in wanted]
    if isinstance(value, int) and isinstance(wanted, int):
        return [(value, wanted)]
    return [(1, 0)]


def _sums(values: Mapping[str, object]) -> dict[str, int]:
    """The sums over a map: of its counts, and of microseconds where there are durations."""
    sums: Counter[str] = Counter()
    for value in values.values():
        numbers: dict[str, object] = value if isinstance(value, dict) else {"": value}
        for key, number in numbers.items():
            if isinstance(number, int | float):
                sums[key] += round(number * SECOND)
    return dict(sums)


def _edm_type(value: object) -> EdmType | None:
    if isinstance(value, datetime):
        return EdmType.DATETIME
    types = {
        bool: EdmType.BOOLEAN,
        int: EdmType.INT32,
        float: EdmType.DOUBLE,
        str: EdmType.STRING,
        bytes: EdmType.BINARY,
    }
    return types.get(type(value))


def _type_name(edm_type: EdmType | str | None) -> str:
    if isinstance(edm_type, EdmType):
        return edm_type.value
    return edm_type or "another type"


def _shown(value: object) -> str:
    if isinstance(value, EntityProperty):
        value = value.value
    if isinstance(value, datetime):
        return _text(value) if value.utcoffset() is not None else f"{value.isoformat()} without a zone"
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=repr)
    return text if len(text) <= 400 else f"{text[:400]}…"
