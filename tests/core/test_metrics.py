"""The algebra of sums, and how near its approximations come."""

from collections import Counter
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.events import Execution
from processors.metrics import (
    TIME_BUCKETS,
    Longest,
    PoolSums,
    Sums,
    TimeSeries,
    duration,
    failure,
    histogram_exponent,
    percentiles,
    retries_exhausted,
    sketch_bucket,
    slot_time,
    total,
)
from tests.core.examples import AN_EXECUTION, NOON, SECOND, an_execution
from tests.core.strategies import EARLIEST, LATEST, executions, times

MINUTE = 60_000_000
LONGEST = LATEST - EARLIEST

durations = st.integers(0, LONGEST) | st.integers(0, 5_000) | st.integers(0, 48).map(lambda bits: 1 << bits)


def summed(some: list[Execution]) -> Sums:
    sums = Sums()
    for execution in some:
        sums.add(execution)
        sums.add_tasks(execution)
    return sums


def series(ends: list[int]) -> TimeSeries:
    made = TimeSeries()
    for end in ends:
        made.add(end)
    return made


sums = st.lists(executions(), max_size=6).map(summed)
near = st.integers(0, 600).map(lambda minutes: minutes * MINUTE)
all_series = st.lists(times | near, max_size=12).map(series)


@pytest.mark.parametrize(("start", "end", "micros"), [(0, 7, 7), (5, 5, 0), (5, 4, None), (None, 5, None), (-3, 2, 5)])
def test_a_duration_is_known_where_the_end_follows_a_start(start: int | None, end: int, micros: int | None) -> None:
    execution = AN_EXECUTION._replace(start=start, end=end, required_slots=3, number_of_instances=5)
    assert duration(execution) == micros
    assert slot_time(execution, 7) == 105


@pytest.mark.parametrize(
    ("succeeded", "limit", "retries", "exhausted"),
    [
        (False, 3, 3, True),
        (False, 3, 4, True),
        (False, 3, 2, False),
        (False, 1, 1, True),
        (False, 0, 0, False),
        (False, 0, 1, False),
        (False, -1, 5, False),
        (True, 3, 3, False),
    ],
)
def test_retries_are_exhausted_where_a_limit_is_reached_in_vain(
    succeeded: bool, limit: int, retries: int, exhausted: bool
) -> None:
    execution = AN_EXECUTION._replace(succeeded=succeeded, max_task_retry_count=limit, retry_count=retries)
    assert retries_exhausted(execution) is exhausted


@pytest.mark.parametrize(
    ("code", "exit_code", "name"),
    [
        ("Code", 1, "Code"),
        ("", 1, "FailureExitCode"),
        ("", -1, "FailureExitCode"),
        ("", 0, "Unknown"),
        ("", None, "Unknown"),
    ],
)
def test_a_failure_is_called_by_its_code_or_by_what_its_exit_code_says(
    code: str, exit_code: int | None, name: str
) -> None:
    assert failure(AN_EXECUTION._replace(failure_code=code, exit_code=exit_code)) == name


def test_the_sums_of_two_executions() -> None:
    one = an_execution(0, required_slots=2, number_of_instances=3, retry_count=4, requeue_count=5)
    other = an_execution(
        60,
        account="MYACCOUNT",
        end=NOON + 60 * SECOND,
        exit_code=None,
        succeeded=False,
        retry_count=1,
        requeue_count=1,
        max_task_retry_count=1,
    )
    third = an_execution(-1, task_id="task-0", start=None, exit_code=2, succeeded=False, pool_id="")
    assert summed([one, other, third]) == Sums(
        account="MYACCOUNT",
        job_id="Job-1",
        tasks=3,
        succeeded_tasks=1,
        failed_tasks=2,
        completions=3,
        retries=5,
        requeues=6,
        retries_exhausted=1,
        durations=2,
        duration=10 * SECOND,
        slot_time=60 * SECOND,
        shortest=0,
        longest=Longest(10 * SECOND, "Task-1"),
        first_start=NOON,
        last_end=NOON + 60 * SECOND,
        exit_codes={"0": 1, "none": 1, "2": 1},
        failures={"Unknown": 1, "FailureExitCode": 1},
        pools={"pool": PoolSums(2, 1, 10 * SECOND), "": PoolSums(1, 1, 0)},
        sketch={sketch_bucket(10 * SECOND): 1, sketch_bucket(0): 1},
        histogram={4: 1, -10: 1},
        over_time=TimeSeries(0, {NOON // MINUTE: 2, NOON // MINUTE + 1: 1}),
    )


def test_of_equally_long_executions_the_smallest_task_id_counts() -> None:
    """Compared without case, and then with it."""
    for ids, smallest in (
        (["b", "A", "c"], "A"),
        (["B", "a"], "a"),
        (["a", "A"], "A"),
        (["A", "a"], "A"),
        (["a", "_"], "_"),
    ):
        assert summed([AN_EXECUTION._replace(task_id=id_) for id_ in ids]).longest == Longest(10 * SECOND, smallest)
    longer = an_execution(1, end=NOON + 11 * SECOND + 1, task_id="z")
    assert summed([AN_EXECUTION, longer, AN_EXECUTION]).longest == Longest(10 * SECOND + 1, "z")


def test_merged_sums_of_two_jobs_parts() -> None:
    one, other = an_execution(0), an_execution(100, exit_code=1, succeeded=False)
    merged = summed([one]).merge(summed([other, one]))
    assert merged == summed([one, other, one]) == total([summed([one]), summed([]), summed([other, one])])
    assert merged.exit_codes == {"0": 2, "1": 1}
    assert merged.pools == {"pool": PoolSums(3, 1, 30 * SECOND)}


def test_percentiles_at_nearest_rank() -> None:
    """Of four durations the median is the second, the 75th percentile the third, the 76th the fourth."""
    sketch = {sketch_bucket(micros): 1 for micros in (0, 1, 1_000, 10**6)}
    for percent, exact in ((1, 0), (25, 0), (26, 1), (50, 1), (51, 1_000), (75, 1_000), (76, 10**6), (100, 10**6)):
        assert percentiles(sketch, [percent])[0] == pytest.approx(exact, rel=0.01)
    assert percentiles({sketch_bucket(5): 995, sketch_bucket(7_000): 1_005}, [50])[0] == pytest.approx(7_000, rel=0.01)
    assert percentiles({sketch_bucket(5): 99, sketch_bucket(7_000): 1}, [99])[0] == pytest.approx(5, rel=0.01)


def test_a_time_series_of_240_minutes_is_the_finest_and_one_more_halves_it() -> None:
    finest = series([0, 0, 239 * MINUTE + MINUTE - 1])
    assert (finest.k, finest.width_seconds, finest.counts) == (0, 60, {0: 2, 239: 1})
    halved = series([0, MINUTE, 240 * MINUTE])
    assert (halved.k, halved.width_seconds, halved.counts) == (1, 120, {0: 2, 120: 1})
    assert finest.merge(halved) == TimeSeries(1, {0: 4, 119: 1, 120: 1})
    assert finest.merge(TimeSeries(0, {-1: 3, 0: 1})) == TimeSeries(1, {-1: 3, 0: 3, 119: 1})
    halved.add(121 * MINUTE)
    assert halved.counts == {0: 2, 60: 1, 120: 1}
    halved.add(-MINUTE * 240)
    assert (halved.k, halved.counts) == (2, {-60: 1, 0: 2, 30: 1, 60: 1})


@given(sums, sums, sums)
def test_merging_sums_is_associative_and_commutative(a: Sums, b: Sums, c: Sums) -> None:
    assert a.merge(b).merge(c) == a.merge(b.merge(c))
    assert a.merge(b) == b.merge(a)


@given(sums)
def test_no_sums_are_neutral(a: Sums) -> None:
    assert a.merge(Sums()) == Sums().merge(a) == total([a]) == total([Sums(), a, Sums()]) == a
    assert total([]) == Sums()


@given(sums, sums)
def test_merging_leaves_its_arguments_alone(a: Sums, b: Sums) -> None:
    copies = deepcopy((a, b))
    merged = a.merge(b)
    merged.add(an := Execution("z", "z", "z", "", "z", "", 0, 5, 1, 1, False, 9, "", "z", "", 0, 0, 0, 0))
    merged.merge(summed([an]))
    assert (a, b) == copies


@given(st.lists(executions(), max_size=12), st.integers(0, 12))
def test_sums_of_parts_merge_to_the_sums_of_all(some: list[Execution], cut: int) -> None:
    assert summed(some[:cut]).merge(summed(some[cut:])) == summed(some) == summed(some[::-1])


@given(all_series, all_series, all_series)
def test_merging_time_series_is_associative_and_commutative(a: TimeSeries, b: TimeSeries, c: TimeSeries) -> None:
    copies = deepcopy((a, b, c))
    assert a.merge(b).merge(c) == a.merge(b.merge(c))
    assert a.merge(b) == b.merge(a)
    assert a.merge(TimeSeries()) == TimeSeries().merge(a) == a
    assert (a, b, c) == copies


@given(st.lists(times | near, min_size=1, max_size=12))
def test_a_time_series_is_as_fine_as_its_span_allows(ends: list[int]) -> None:
    made = series(ends)

    def buckets(k: int) -> Counter[int]:
        return Counter(end // (MINUTE << k) for end in ends)

    def spread(k: int) -> int:
        return max(buckets(k)) - min(buckets(k)) + 1

    assert made.counts == buckets(made.k)
    assert made.width_seconds == 60 * 2**made.k
    assert spread(made.k) <= TIME_BUCKETS
    assert made.k == 0 or spread(made.k - 1) > TIME_BUCKETS


@given(st.lists(durations, min_size=1, max_size=60), st.sampled_from((50, 90, 95, 99)))
def test_percentiles_are_within_one_percent_of_nearest_rank(some: list[int], percent: int) -> None:
    exact = sorted(some)[-(-percent * len(some) // 100) - 1]
    assert abs(percentiles(Counter(map(sketch_bucket, some)), [percent])[0] - exact) <= exact * 0.01


def test_percentiles_of_short_durations_are_within_one_percent_too() -> None:
    """Where rounding to a whole microsecond would be more than that."""
    for micros in range(10_000):
        assert abs(percentiles({sketch_bucket(micros): 1}, [50])[0] - micros) <= micros * 0.01


@given(durations)
def test_a_histograms_bound_is_the_smallest_power_of_two_not_exceeded(micros: int) -> None:
    exponent = histogram_exponent(micros)

    def fits(e: int) -> bool:
        return micros << 10 <= 1_000_000 << (e + 10)

    assert exponent >= -10
    assert fits(exponent)
    assert exponent == -10 or not fits(exponent - 1)


def test_a_histograms_bounds_belong_to_the_bucket_below() -> None:
    assert [histogram_exponent(micros) for micros in (0, 976, 977, 1_000_000, 1_000_001, 2_000_000)] == [
        *(-10, -10, -9),
        *(0, 1, 1),
    ]


def test_a_replaced_task_changes_the_sums_without_a_new_task() -> None:
    one = Execution("a", "j", "t", "", "", "", 0, 5, 1, 1, False, 1, "", "", "", 0, 0, 0, 0)
    better = one._replace(end=6, succeeded=True)
    changed = Sums()
    changed.change_task(one, better)
    assert (changed.tasks, changed.succeeded_tasks, changed.failed_tasks) == (0, 1, -1)
    changed.change_task(better, one._replace(end=7))
    assert (changed.tasks, changed.succeeded_tasks, changed.failed_tasks) == (0, 0, 0)
