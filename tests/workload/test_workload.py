"""The generator: the same seed gives the same bytes, everything promised occurs, and the truth is what is sent."""

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devstack.oracle import succeeded
from devstack.workload import Execution, Message, Workload
from devstack.workload.bad import BAD_MESSAGES, BAD_RECORDS
from devstack.workload.envelopes import BOM, FORMS
from tests.workload.reading import Opened, completed_in, is_complete, opened, records_in

FULL = Workload(seed=3, tasks=20_000)


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    return list(FULL.messages())


@pytest.fixture(scope="module")
def read(messages: list[Message]) -> list[Opened]:
    return opened(messages)


@pytest.fixture(scope="module")
def executions() -> list[Execution]:
    return list(FULL.executions())


def with_defaults(execution: Execution) -> Execution:
    return replace(execution, required_slots=execution.required_slots or 1, instances=execution.instances or 1)


def task_of(execution: Execution) -> tuple[str, str, str]:
    return execution.account.lower(), execution.job_id.lower(), execution.task_id.lower()


def identity(execution: Execution) -> tuple[object, ...]:
    return (*task_of(execution), execution.start, execution.end)


def job_of(execution: Execution) -> tuple[str, str]:
    return execution.account.lower(), execution.job_id.lower()


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert list(Workload(seed=5, tasks=400).messages()) == list(Workload(seed=5, tasks=400).messages())
    assert Workload(seed=5, tasks=400).truth() == Workload(seed=5, tasks=400).truth()


def test_another_seed_gives_another_log() -> None:
    assert list(Workload(seed=5, tasks=400).messages()) != list(Workload(seed=6, tasks=400).messages())


def test_what_happened_does_not_depend_on_how_it_is_delivered() -> None:
    delivered = Workload(seed=5, tasks=400, duplicates=0.5, variety=1, shuffle=7, bad_records=0.2, partitions=0)
    assert list(delivered.executions()) == list(Workload(seed=5, tasks=400).executions())


def test_the_truth_is_what_is_sent(read: list[Opened], executions: list[Execution]) -> None:
    assert set(completed_in(read)) == {with_defaults(execution) for execution in executions}


def test_executions_are_distinct(executions: list[Execution]) -> None:
    assert len({identity(execution) for execution in executions}) == len(executions)
    assert len({task_of(execution) for execution in executions}) == 20_000


def test_every_envelope_form_occurs(messages: list[Message]) -> None:
    assert set(FORMS) <= {message.form for message in messages}
    assert any(message.body.startswith(BOM) for message in messages)


def test_every_kind_of_bad_record_and_message_occurs(messages: list[Message]) -> None:
    assert {bad.kind for message in messages for bad in message.bad_records} == set(BAD_RECORDS)
    assert {message.bad.kind for message in messages if message.bad} == set(BAD_MESSAGES)


def test_every_operation_occurs(read: list[Opened]) -> None:
    names = {record["operationname"] for _, records in read for record in records}
    task = {f"Task{name}Event" for name in ("Start", "Complete", "Fail", "Requeue", "ScheduleFail", "Special")}
    pool = {"Create", "DeleteStart", "DeleteComplete", "ResizeStart", "ResizeComplete", "AutoScale"}
    assert task | {f"Pool{name}Event" for name in pool} <= names
    assert "TASKCOMPLETEEVENT" in names


@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param(rb'"endTime":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z"', id="seven digits"),
        pytest.param(rb'"endTime":"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"', id="a space and no zone"),
        pytest.param(rb'"endTime":"[^"]+-07:30"', id="an offset"),
        pytest.param(rb'"endTime":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ?"', id="whole seconds"),
        pytest.param(rb'"resourceId":"/SUBSCRIPTIONS/[^"]+/"', id="resourceId in capitals"),
        pytest.param(rb'"resourceId":"/subscriptions/[^"]+[^/"]"', id="resourceId as written"),
        pytest.param(rb'"ResourceId":', id="keys with a capital"),
        pytest.param(rb'"resourceid":', id="keys in small letters"),
        pytest.param(rb'"RESOURCEID":', id="keys in capitals"),
        pytest.param(rb'"properties":\s*"\{', id="properties as text"),
        pytest.param(rb'first line\nsecond line\tafter a tab\x01\x1f"', id="raw control characters"),
        pytest.param(rb'"correlationId":', id="an unknown field"),
        pytest.param(rb'"result":"success"', id="another spelling of success"),
        pytest.param(rb'"schedulingError":\{"category":"","code":""', id="an empty scheduling error"),
        pytest.param(rb'"startTime":null', id="no start time"),
        pytest.param("größe".encode(), id="letters beyond ASCII"),
        pytest.param(rb"gr\\u00f6\\u00dfe", id="escaped letters"),
    ],
)
def test_every_spelling_occurs(messages: list[Message], spelling: bytes) -> None:
    assert any(re.search(spelling, message.body) for message in messages if not message.bad)


def test_what_happens_to_tasks_occurs(executions: list[Execution]) -> None:
    times = Counter(task_of(execution) for execution in executions)
    assert {2, 3} <= set(times.values())
    happened = {
        "retried": any(execution.retries > 0 for execution in executions),
        "requeued": any(execution.requeues > 0 for execution in executions),
        "unlimited retries": any(execution.max_retries == -1 and execution.retries for execution in executions),
        "retries exhausted": any(
            0 < execution.max_retries == execution.retries and not succeeded(execution) for execution in executions
        ),
        "multi-instance": any((execution.instances or 1) > 1 for execution in executions),
        "job manager": any(execution.task_type == "JobManager" for execution in executions),
        "failed start": any(execution.start is None for execution in executions),
        "exit code 0, failed": any(execution.exit_code == 0 and not succeeded(execution) for execution in executions),
        "exit code 3, succeeded": any(execution.exit_code == 3 and succeeded(execution) for execution in executions),
        "failed, and no more is said": any(
            execution.exit_code and not execution.failure_code for execution in executions
        ),
        "end before start": any(execution.start and execution.end < execution.start for execution in executions),
        "no duration": any(execution.start == execution.end for execution in executions),
        "old form": any(execution.result is None for execution in executions),
        "job of a schedule": any(":" in execution.job_id for execution in executions),
        "capitals in ids": any(execution.task_id != execution.task_id.lower() for execution in executions),
        "no node": any(not execution.pool_id for execution in executions),
        "slots": any((execution.required_slots or 1) > 1 for execution in executions),
    }
    assert [name for name, occurs in happened.items() if not occurs] == []


def test_a_job_created_again_has_later_executions_of_the_same_tasks(executions: list[Execution]) -> None:
    spellings: dict[tuple[str, str], set[str]] = {}
    for execution in executions:
        spellings.setdefault(job_of(execution), set()).add(execution.job_id)
    assert any(len(spelt) > 1 for spelt in spellings.values())


def test_two_executions_of_a_task_may_end_together(executions: list[Execution]) -> None:
    ends = Counter((*task_of(execution), execution.end) for execution in executions)
    assert max(ends.values()) == 2


def test_sizes_of_jobs_are_heavy_tailed(executions: list[Execution]) -> None:
    sizes = Counter(job for job, _ in {(job_of(execution), task_of(execution)) for execution in executions})
    assert min(sizes.values()) == 1
    assert max(sizes.values()) >= 2_000
    assert len({execution.account.lower() for execution in executions}) == 3


def test_sizes_of_messages(messages: list[Message]) -> None:
    sizes = [message.records for message in messages if not message.bad]
    assert min(sizes) == 1
    assert max(sizes) > 500
    assert max(len(message.body) for message in messages) <= FULL.max_bytes
    assert {message.partition for message in messages} == {"0", "1", "2", "3"}
    assert [message.number for message in messages] == list(range(len(messages)))


def test_records_are_counted_and_bad_ones_located(read: list[Opened]) -> None:
    for message, records in read:
        assert len(records) == message.records
        for bad in message.bad_records:
            assert bad.message == message.number
            assert is_complete(records[bad.index])


def test_bad_messages_hold_nothing_readable(messages: list[Message]) -> None:
    for message in messages:
        if message.bad is None:
            continue
        assert (message.records, message.bad_records, message.bad.message) == (0, (), message.number)
        try:
            assert records_in(message.body) == []
        except (ValueError, RecursionError, TypeError):
            continue


def test_stated_shares_are_met() -> None:
    workload = Workload(
        seed=8, tasks=4_000, duplicates=0.2, repeated_messages=0, bad_records=0.05, bad_messages=0.1, failures=0.1
    )
    messages = list(workload.messages())
    executions = list(workload.executions())
    delivered = completed_in(opened(messages))
    assert len(delivered) / len(executions) == pytest.approx(1.2, abs=0.03)
    bad_records = sum(len(message.bad_records) for message in messages)
    assert bad_records / len(executions) == pytest.approx(0.05, rel=0.3)
    bad_messages = sum(message.bad is not None for message in messages)
    assert bad_messages / (len(messages) - bad_messages) == pytest.approx(0.1, rel=0.4)
    failed = sum(not succeeded(execution) for execution in executions)
    assert 0.05 < failed / len(executions) < 0.2


def test_duplicates_come_in_the_same_message_and_in_other_partitions() -> None:
    workload = Workload(seed=8, tasks=2_000, duplicates=0.3, repeated_messages=0, shuffle=300)
    places: dict[tuple[object, ...], list[tuple[int, str | None]]] = {}
    for message in workload.messages():
        for execution in completed_in(opened([message])):
            places.setdefault(identity(execution), []).append((message.number, message.partition))
    twice = [(first, second) for first, second in (its for its in places.values() if len(its) == 2)]
    assert any(first[0] == second[0] for first, second in twice)
    assert any(first[1] != second[1] for first, second in twice)


def test_whole_messages_are_repeated() -> None:
    workload = Workload(seed=8, tasks=2_000, duplicates=0, repeated_messages=0.2, bad_messages=0)
    bodies = Counter(message.body for message in workload.messages())
    assert sum(bodies.values()) / len(bodies) == pytest.approx(1.2, abs=0.12)


def test_no_record_is_overtaken_by_more_than_the_shuffle_window() -> None:
    workload = Workload(
        seed=8, tasks=1_500, duplicates=0, repeated_messages=0, bad_records=0, late=0, shuffle=40, start_events=0
    )
    ends = [execution.end for execution in completed_in(opened(workload.messages()))]
    order = sorted(range(len(ends)), key=lambda place: ends[place])
    moved = [abs(place - was) for was, place in enumerate(order)]
    assert 5 < max(moved) <= 2 * 40


def test_without_a_shuffle_window_records_come_in_time() -> None:
    workload = Workload(seed=8, tasks=500, duplicates=0, repeated_messages=0, late=0, shuffle=0)
    ends = [execution.end for execution in completed_in(opened(workload.messages()))]
    assert ends == sorted(ends)


def test_some_records_are_very_late() -> None:
    workload = Workload(seed=8, tasks=3_000, duplicates=0, repeated_messages=0, late=0.01, shuffle=20)
    ends = [execution.end for execution in completed_in(opened(workload.messages()))]
    order = sorted(range(len(ends)), key=lambda place: ends[place])
    assert max(abs(place - was) for was, place in enumerate(order)) > 60


def test_the_base_time_moves_everything() -> None:
    base = datetime(2024, 2, 29, 23, 59, tzinfo=UTC)
    moved = list(Workload(seed=4, tasks=50, base=base).executions())
    assert min(execution.end for execution in moved) > base
    shift = Workload().base - base
    there = [execution.end - shift for execution in Workload(seed=4, tasks=50).executions()]
    assert [execution.end for execution in moved] == there


def test_messages_come_lazily() -> None:
    first = next(Workload(tasks=1_000_000).messages())
    assert first.number == 0


def test_no_partition_of_its_own() -> None:
    assert {message.partition for message in Workload(tasks=50, partitions=0).messages()} == {None}


@pytest.mark.parametrize(
    "wrong",
    [{"duplicates": 1.1}, {"tasks": -1}, {"accounts": 0}, {"median_records": 0}, {"base": datetime(2026, 1, 1)}],  # noqa: DTZ001
)
def test_impossible_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"share|negative|accounts|zone"):
        Workload(**wrong)  # type: ignore[arg-type]


shares = st.floats(0, 1)


@settings(max_examples=15, deadline=timedelta(seconds=5))
@given(
    seed=st.integers(),
    tasks=st.integers(0, 40),
    shuffle=st.integers(0, 50),
    accounts=st.integers(1, 26),
    most=st.integers(1, 60),
    given_shares=st.tuples(shares, shares, shares, shares, shares, shares, shares),
)
def test_any_workload_says_the_truth(
    seed: int, tasks: int, shuffle: int, accounts: int, most: int, given_shares: tuple[float, ...]
) -> None:
    failures, start_events, duplicates, repeated, late, bad, variety = given_shares
    workload = Workload(
        seed=seed,
        tasks=tasks,
        accounts=accounts,
        shuffle=shuffle,
        failures=failures,
        start_events=start_events,
        duplicates=duplicates,
        repeated_messages=repeated,
        late=late,
        bad_records=bad,
        bad_messages=bad,
        variety=variety,
        median_records=min(most, 5),
        max_records=most,
        max_bytes=20_000,
    )
    messages = list(workload.messages())
    executions = list(workload.executions())
    assert set(completed_in(opened(messages))) == {with_defaults(execution) for execution in executions}
    assert len({identity(execution) for execution in executions}) == len(executions)
    assert len({task_of(execution) for execution in executions}) == tasks
    good = [message for message in messages if not message.bad]
    assert all(message.records <= most and len(message.body) <= 20_000 for message in good)
