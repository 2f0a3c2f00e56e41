"""The algebra of sums, and how near its approximations come."""

from collections import Counter
from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st

from processors.events import Execution
from processors.metrics import (
    TIME_BUCKETS,
    Sums,
    TimeSeries,
    histogram_exponent,
    percentile,
    sketch_bucket,
    total,
)
from tests.core.strategies import EARLIEST, LATEST, executions, times

MINUTE = 60_000_000
LONGEST = LATEST - EARLIEST

durations = st.integers(0, LONGEST) | st.integers(0, 5_000) | st.integers(0, 48).map(lambda bits: 1 << bits)


def summed(some: list[Execution]) -> Sums:
    sums = Sums()
    for execution in some:
        sums.add(execution)
        sums.change_task(None, execution)
    return sums


def series(ends: list[int]) -> TimeSeries:
    made = TimeSeries()
    for end in ends:
        made.add(end)
    return made


sums = st.lists(executions(), max_size=6).map(summed)
near = st.integers(0, 600).map(lambda minutes: minutes * MINUTE)
all_series = st.lists(times | near, max_size=12).map(series)


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
    assert abs(percentile(Counter(map(sketch_bucket, some)), percent) - exact) <= exact * 0.01


def test_percentiles_of_short_durations_are_within_one_percent_too() -> None:
    """Where rounding to a whole microsecond would be more than that."""
    for micros in range(10_000):
        assert abs(percentile({sketch_bucket(micros): 1}, 50) - micros) <= micros * 0.01


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
