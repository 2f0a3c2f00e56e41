"""The oracle, against small cases worked out by hand."""

import json
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from azure.data.tables import EdmType, EntityProperty
from hypothesis import given, settings
from hypothesis import strategies as st

from devstack.oracle import Key, Row, differences, expected_job_rows, expected_task_rows, key_part
from devstack.workload import Execution, Workload

NINE = datetime(2026, 11, 22, 9, 0, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NINE + timedelta(seconds=seconds)


def ran(task: str, start: float | None, end: float, **more: Any) -> Execution:
    """An execution of the job Nightly-42 with its times in seconds after nine."""
    fields: dict[str, Any] = {"account": "CONTOSO", "job_id": "Nightly-42", "pool_id": "p1", "node_id": "tvm-1"} | more
    return Execution(task_id=task, start=None if start is None else at(start), end=at(end), **fields)


def job_of(*executions: Execution) -> Row:
    (row,) = expected_job_rows(executions).values()
    return row


def task_of(*executions: Execution) -> Row:
    (row,) = expected_task_rows(executions).values()
    return row


def test_key_parts() -> None:
    assert key_part("Job_1:a-B") == "job_1:a-b"
    assert key_part("~job~0 ü%=|") == "=7Ejob=7E0=20=C3=BC=25=3D=7C"
    assert key_part("Straße") == "stra=C3=9Fe"


def test_keys_of_both_tables() -> None:
    execution = ran("Frame.1", 0, 1)
    assert list(expected_task_rows([execution])) == [("contoso|nightly-42", "frame=2E1")]
    assert list(expected_job_rows([execution])) == [("contoso", "nightly-42")]


def test_a_task_that_succeeded() -> None:
    execution = ran(
        "t1",
        1.5,
        11.75,
        result="Success",
        required_slots=2,
        instances=3,
        max_retries=3,
        retries=1,
        requeues=2,
        system_task_version=220192842,
    )
    assert task_of(execution) == {
        "account": "CONTOSO",
        "jobId": "Nightly-42",
        "taskId": "t1",
        "taskType": "User",
        "poolId": "p1",
        "nodeId": "tvm-1",
        "startTime": at(1.5),
        "endTime": at(11.75),
        "durationSeconds": 10.25,
        "requiredSlots": 2,
        "numberOfInstances": 3,
        "slotSeconds": 61.5,
        "succeeded": True,
        "exitCode": 0,
        "retryCount": 1,
        "requeueCount": 2,
        "maxTaskRetryCount": 3,
        "retriesExhausted": False,
        "systemTaskVersion": 220192842,
        "completionCount": 1,
        "totalDurationSeconds": 10.25,
    }


def test_a_failed_start() -> None:
    execution = ran(
        "t1",
        None,
        5,
        exit_code=None,
        result="Failure",
        pool_id="",
        node_id="",
        failure_category="UserError",
        failure_code="BlobNotFound",
        failure_message="gone",
    )
    task = task_of(execution)
    assert not task.keys() & {"startTime", "durationSeconds", "slotSeconds", "exitCode"}
    assert task["totalDurationSeconds"] == 0.0
    assert (task["failureCategory"], task["failureCode"], task["failureMessage"]) == (
        "UserError",
        "BlobNotFound",
        "gone",
    )
    assert job_of(execution) == {
        "account": "CONTOSO",
        "jobId": "Nightly-42",
        "taskCount": 1,
        "succeededTasks": 0,
        "failedTasks": 1,
        "completionCount": 1,
        "retryCount": 0,
        "requeueCount": 0,
        "retriesExhausted": 0,
        "durationCount": 0,
        "durationSeconds": 0.0,
        "slotSeconds": 0.0,
        "lastEndTime": at(5),
        "exitCodes": {"none": 1},
        "failures": {"BlobNotFound": 1},
        "pools": {"": {"completions": 1, "failed": 1, "durationSeconds": 0.0}},
        "durationHistogram": {},
        "completionsOverTime": {"start": "2026-11-22T09:00:00Z", "widthSeconds": 60, "counts": [1]},
    }


REACTIVATED = [
    ran("T1", 0, 8, exit_code=2, max_retries=2, retries=2),
    ran("t1", 100.000001, 101.5, exit_code=None, result="Failure", failure_code="TaskEnded"),
    ran("t1", 200, 204, retries=1, max_retries=2),
    ran("t2", 10, 20, exit_code=1, max_retries=-1, retries=7),
]


def test_a_reactivated_task() -> None:
    task = expected_task_rows(REACTIVATED)["contoso|nightly-42", "t1"]
    assert (task["taskId"], task["endTime"], task["succeeded"], task["retryCount"]) == ("t1", at(204), True, 1)
    assert (task["completionCount"], task["totalDurationSeconds"]) == (3, 13.499999)
    assert task["retriesExhausted"] is False
    assert task["executions"] == [
        {
            "startTime": "2026-11-22T09:01:40.000001Z",
            "endTime": "2026-11-22T09:01:41.500000Z",
            "exitCode": None,
            "succeeded": False,
        },
        {
            "startTime": "2026-11-22T09:00:00.000000Z",
            "endTime": "2026-11-22T09:00:08.000000Z",
            "exitCode": 2,
            "succeeded": False,
        },
    ]


def test_its_job() -> None:
    job = job_of(*REACTIVATED)
    assert (job["taskCount"], job["succeededTasks"], job["failedTasks"], job["completionCount"]) == (2, 1, 1, 4)
    # Of all executions, not only of the latest: T1's first one reached its limit, an unlimited one never does.
    assert (job["retryCount"], job["retriesExhausted"]) == (10, 1)
    assert job["exitCodes"] == {"2": 1, "none": 1, "0": 1, "1": 1}
    assert job["failures"] == {"FailureExitCode": 2, "TaskEnded": 1}
    assert job["pools"] == {"p1": {"completions": 4, "failed": 3, "durationSeconds": 23.499999}}
    assert (job["firstStartTime"], job["lastEndTime"], job["spanSeconds"]) == (NINE, at(204), 204.0)
    assert job["meanConcurrency"] == 23_499_999 / 204_000_000
    assert (job["minDurationSeconds"], job["maxDurationSeconds"], job["longestTaskId"]) == (1.499999, 10.0, "t2")
    assert job["meanDurationSeconds"] == 23_499_999 / 4_000_000
    assert [job[f"p{p}DurationSeconds"] for p in (50, 90, 95, 99)] == [4.0, 10.0, 10.0, 10.0]
    assert job["durationHistogram"] == {"8": 1, "2": 1, "4": 1, "16": 1}
    assert job["completionsOverTime"] == {
        "start": "2026-11-22T09:00:00Z",
        "widthSeconds": 60,
        "counts": [2, 1, 0, 1],
    }


def test_of_two_executions_that_end_together_the_one_that_started_later_is_the_latest() -> None:
    never, early, late = ran("t1", None, 9, exit_code=None), ran("t1", 1, 9, exit_code=1), ran("t1", 2, 9)
    for order in ([never, early, late], [late, early, never]):
        task = task_of(*order)
        assert task["startTime"] == at(2)
        executions = task["executions"]
        assert isinstance(executions, list)
        assert [item.get("startTime") for item in executions] == ["2026-11-22T09:00:01.000000Z", None]


@pytest.mark.parametrize(
    ("result", "exit_code", "code", "good", "failure"),
    [
        (None, 0, "", True, None),
        (None, 1, "", False, "FailureExitCode"),
        (None, None, "", False, "Unknown"),
        ("SUCCESS", 3, "", True, None),
        ("Failure", 0, "", False, "Unknown"),
        ("Failure", 1, "TaskEnded", False, "TaskEnded"),
        ("Cancelled", 0, "", False, "Unknown"),
    ],
)
def test_success_and_the_reason_of_a_failure(
    result: str | None, exit_code: int | None, code: str, good: bool, failure: str | None
) -> None:
    execution = ran("t1", 0, 1, result=result, exit_code=exit_code, failure_code=code)
    assert task_of(execution)["succeeded"] is good
    assert job_of(execution)["failures"] == ({failure: 1} if failure else {})


def test_the_longest_task_of_equally_long_ones_is_the_smallest_id() -> None:
    assert job_of(ran("b", 0, 5), ran("A2", 5, 10), ran("a10", 10, 15), ran("z", 0, 1))["longestTaskId"] == "a10"
    assert job_of(ran("a", 0, 5), ran("A", 5, 10))["longestTaskId"] == "A"


def test_spellings_of_ids_in_a_job_row_are_the_smallest() -> None:
    job = job_of(
        ran("a", 0, 5, account="contoso", job_id="nightly-42"), ran("b", 0, 5), ran("c", 0, 5, account="Contoso")
    )
    assert (job["account"], job["jobId"]) == ("CONTOSO", "Nightly-42")


def test_a_duration_of_zero() -> None:
    job = job_of(ran("t1", 5, 5))
    assert (job["durationCount"], job["minDurationSeconds"], job["p99DurationSeconds"]) == (1, 0.0, 0.0)
    assert (job["durationHistogram"], job["spanSeconds"]) == ({"0.0009765625": 1}, 0.0)
    assert "meanConcurrency" not in job


def test_an_end_before_the_start() -> None:
    execution = ran("t1", 5, 4)
    task, job = task_of(execution), job_of(execution)
    assert task["startTime"] == at(5)
    assert "durationSeconds" not in task
    assert job["firstStartTime"] == at(5)
    assert not job.keys() & {
        "spanSeconds",
        "meanConcurrency",
        "longestTaskId",
        "minDurationSeconds",
        "p50DurationSeconds",
    }


def test_no_duration_but_a_span() -> None:
    job = job_of(ran("t1", 5, 4), ran("t2", None, 15, exit_code=None))
    assert (job["durationCount"], job["spanSeconds"], job["meanConcurrency"]) == (0, 10.0, 0.0)


def test_defaults_of_slots_and_instances() -> None:
    task = task_of(ran("t1", 0, 2, required_slots=0, instances=0))
    assert (task["requiredSlots"], task["numberOfInstances"], task["slotSeconds"]) == (1, 1, 2.0)


def test_percentiles_are_nearest_ranks() -> None:
    job = job_of(*(ran(f"t{n}", 0, n) for n in range(1, 201)))
    assert [job[f"p{p}DurationSeconds"] for p in (50, 90, 95, 99)] == [100.0, 180.0, 190.0, 198.0]


@pytest.mark.parametrize(
    ("seconds", "bound"),
    [
        (0.000976, "0.0009765625"),
        (0.000977, "0.001953125"),
        (0.5, "0.5"),
        (0.500001, "1"),
        (1024, "1024"),
        (1025, "2048"),
    ],
)
def test_bounds_of_the_duration_histogram(seconds: float, bound: str) -> None:
    assert job_of(ran("t1", 0, seconds))["durationHistogram"] == {bound: 1}


def test_completions_over_240_minutes_are_by_the_minute() -> None:
    job = job_of(ran("a", None, 59), ran("b", None, 239 * 60))
    assert job["completionsOverTime"] == {
        "start": "2026-11-22T09:00:00Z",
        "widthSeconds": 60,
        "counts": [1, *[0] * 238, 1],
    }


def test_completions_over_241_minutes_are_by_two_minutes_aligned_to_the_epoch() -> None:
    # 09:01 is in the two minutes from 09:00; 13:01, 240 minutes later, in those from 13:00.
    job = job_of(ran("a", None, 60), ran("b", None, 241 * 60), ran("c", None, 119.999999))
    assert job["completionsOverTime"] == {
        "start": "2026-11-22T09:00:00Z",
        "widthSeconds": 120,
        "counts": [2, *[0] * 119, 1],
    }


def test_no_more_than_a_hundred_earlier_executions_are_listed() -> None:
    task = task_of(*(ran("t1", n, n + 0.5) for n in range(104)))
    executions = task["executions"]
    assert isinstance(executions, list)
    assert len(executions) == 101
    assert executions[0]["startTime"] == "2026-11-22T09:01:42.000000Z"
    assert executions[-1] == {"other": 3}


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_the_order_of_executions_does_not_matter(draw: Random) -> None:
    executions = list(Workload(seed=2, tasks=30, failures=0.6).executions())
    shuffled = draw.sample(executions, len(executions))
    assert expected_task_rows(shuffled) == expected_task_rows(executions)
    assert expected_job_rows(shuffled) == expected_job_rows(executions)


JSON = ("executions", "exitCodes", "failures", "pools", "durationHistogram", "completionsOverTime")


def stored(rows: dict[Key, Row]) -> list[dict[str, Any]]:
    """The rows as azure-data-tables reads them."""
    read = []
    for (partition, row_key), row in rows.items():
        of_job = "|" not in partition
        entity: dict[str, Any] = {"PartitionKey": partition, "RowKey": row_key}
        for column, value in row.items():
            if column in JSON:
                entity[column] = json.dumps(value)
            elif type(value) is int and (of_job or column == "systemTaskVersion"):
                entity[column] = EntityProperty(value, EdmType.INT64)
            else:
                entity[column] = value
        if of_job:
            entity |= {column: EntityProperty(2, EdmType.INT64) for column in HOW_IT_IS_KEPT}
        read.append(entity)
    return read


HOW_IT_IS_KEPT = ("shardCount", "bucketCount", "contractVersion")


def long(value: int) -> EntityProperty:
    return EntityProperty(value, EdmType.INT64)


def test_rows_as_expected_do_not_differ() -> None:
    executions = list(Workload(seed=2, tasks=300).executions())
    for rows in (expected_task_rows(executions), expected_job_rows(executions)):
        assert differences(rows, stored(rows)) == []


def test_partial_sums_of_jobs_are_not_compared() -> None:
    rows = expected_task_rows(REACTIVATED)
    shard = {"PartitionKey": "contoso|nightly-42", "RowKey": "~job~0", "completionCount": 3}
    assert differences(rows, [*stored(rows), shard]) == []


def test_empty_maps_may_be_absent() -> None:
    rows = expected_job_rows([ran("t1", None, 5)])
    (row,) = stored(rows)
    del row["failures"], row["durationHistogram"]
    assert differences(rows, [row]) == []


def test_missing_and_surplus_rows() -> None:
    rows = expected_job_rows(REACTIVATED)
    (row,) = stored(rows)
    assert differences(rows, []) == ["JobRollups Nightly-42: the row is missing"]
    assert differences({}, [row]) == ["JobRollups Nightly-42: the row is not expected"]
    assert differences(rows, [row, row]) == ["JobRollups Nightly-42: the row is not expected twice"]


def test_several_accounts_are_told_apart() -> None:
    rows = expected_job_rows([*REACTIVATED, ran("t", 0, 1, account="other")])
    assert "JobRollups other/Nightly-42: the row is missing" in differences(rows, [])


@pytest.mark.parametrize(
    ("column", "value", "line"),
    [
        ("failedTasks", long(2), "failedTasks is 2, expected 1"),
        ("failedTasks", 1, "failedTasks is 1 as Edm.Int32, expected 1 as Edm.Int64"),
        ("failedTasks", None, "failedTasks is missing, expected 1"),
        ("durationSeconds", 23.5, "durationSeconds is 23.5, expected 23.499999"),
        ("durationSeconds", 23, "durationSeconds is 23 as Edm.Int32, expected 23.499999 as Edm.Double"),
        ("p50DurationSeconds", 4.05, "p50DurationSeconds is 4.05, expected 4.0 or within 1% of it"),
        ("jobId", "nightly-42", 'jobId is "nightly-42", expected "Nightly-42"'),
        ("lastEndTime", at(204.000001), "lastEndTime is "),
        ("lastEndTime", "2026", "as Edm.String, expected"),
        ("exitCodes", '{"0": 4}', 'exitCodes is {"0": 4}, expected {"0": 1, "1": 1, "2": 1, "none": 1}'),
        ("exitCodes", "{", "exitCodes is "),
        ("exitCodes", '{"0": 1, "1": 2, "other": 1}', "exitCodes is "),
        ("exitCodes", '{"0": 1, "other": 4}', "exitCodes is "),
        ("durationHistogram", '{"8": 1, "other": 3}', "durationHistogram is "),
        ("completionsOverTime", '{"start": "2026-11-22T09:00:00Z"}', "completionsOverTime is "),
        ("shardCount", long(0), "shardCount is 0, expected at least 1"),
        ("shardCount", None, "shardCount is missing, expected at least 1"),
        ("bucketCount", None, "bucketCount is missing, expected at least 1"),
        ("contractVersion", long(0), "contractVersion is 0, expected at least 1"),
        ("surprise", "x", 'surprise is "x", expected none'),
    ],
)
def test_each_difference_of_a_job_row_is_told(column: str, value: object, line: str) -> None:
    rows = expected_job_rows(REACTIVATED)
    (row,) = stored(rows)
    if value is None:
        del row[column]
    else:
        row[column] = value
    (found,) = differences(rows, [row])
    assert found.startswith("JobRollups Nightly-42: ")
    assert line in found


@pytest.mark.parametrize(
    ("column", "value", "line"),
    [
        ("completionCount", 2, "completionCount is 2, expected 3"),
        ("completionCount", long(3), "completionCount is 3 as Edm.Int64, expected 3 as Edm.Int32"),
        ("systemTaskVersion", 0, "systemTaskVersion is 0 as Edm.Int32, expected 0 as Edm.Int64"),
        ("succeeded", False, "succeeded is false, expected true"),
        ("succeeded", 1, "succeeded is 1 as Edm.Int32, expected true as Edm.Boolean"),
        ("startTime", at(201), "startTime is 2026-11-22T09:03:21.000000Z, expected 2026-11-22T09:03:20.000000Z"),
        ("startTime", datetime(2026, 11, 22, 9, 3, 20), "startTime is 2026-11-22T09:03:20 without a zone"),  # noqa: DTZ001
        ("executions", "[]", "executions is [], expected [{"),
        ("failureCode", "", 'failureCode is "", expected none'),
    ],
)
def test_each_difference_of_a_task_row_is_told(column: str, value: object, line: str) -> None:
    rows = expected_task_rows(REACTIVATED[:3])
    (row,) = stored(rows)
    row[column] = value
    (found,) = differences(rows, [row])
    assert found.startswith("TaskRollups Nightly-42/t1: ")
    assert line in found


def test_percentiles_may_be_within_one_percent() -> None:
    rows = expected_job_rows(REACTIVATED)
    (row,) = stored(rows)
    row["p50DurationSeconds"] = 4.03
    assert differences(rows, [row]) == []


def test_maps_may_be_cut_to_a_bound_as_long_as_the_sums_hold() -> None:
    rows = expected_job_rows([*REACTIVATED, ran("t9", 0, 2, pool_id="p2")])
    (row,) = stored(rows)
    row["exitCodes"] = '{"0": 1, "2": 1, "other": 3}'
    row["pools"] = json.dumps(
        {
            "p1": {"completions": 3, "failed": 3, "durationSeconds": 13.499999},
            "other": {"completions": 2, "failed": 0, "durationSeconds": 12.0},
        }
    )
    assert differences(rows, [row]) == []
