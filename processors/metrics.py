"""Executions → metrics, and the algebra that sums them.

`Sums` is what a set of executions adds up to. It is a commutative monoid: `Sums()` is neutral, `merge` is associative
and commutative and leaves its arguments alone. Everything in it is an exact integer (durations in microseconds, of any
size), a minimum or maximum, or a map of counts, so that every order and grouping gives the same sums, bit by bit.

Two quantities are approximations, made the same way in every order: percentiles, from a histogram of geometric buckets
(the idea of DDSketch), within 1%; and completions over time, in at most `TIME_BUCKETS` buckets that halve their
resolution as a job's span grows.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from functools import reduce
from itertools import accumulate
from typing import Any, NamedTuple

from processors.events import Execution

# --- one execution ---------------------------------------------------------------------------------------------------


def duration(execution: Execution) -> int | None:
    """Microseconds from start to end; None where there is no start, or the end comes before it."""
    if execution.start is None or execution.end < execution.start:
        return None
    return execution.end - execution.start


def slot_time(execution: Execution, micros: int) -> int:
    """Microseconds times the slots held on all nodes by an execution that took `micros`."""
    return micros * execution.required_slots * execution.number_of_instances


def retries_exhausted(execution: Execution) -> bool:
    """Failed with the retry limit set (above 0) and reached."""
    return not execution.succeeded and 0 < execution.max_task_retry_count <= execution.retry_count


def failure(execution: Execution) -> str:
    """What a failed execution is counted under: the scheduling error's code, else what its exit code says."""
    return execution.failure_code or ("FailureExitCode" if execution.exit_code else "Unknown")


# --- durations: percentiles and histogram ----------------------------------------------------------------------------

_ERROR = 0.0099
"""Relative error of a bucket's middle: under 1% with room for floating point."""
_GAMMA = (1 + _ERROR) / (1 - _ERROR)
_LOG_GAMMA = math.log(_GAMMA)
_ZERO = -1
"""The bucket of the duration 0; a microsecond is in bucket 0."""

SMALLEST_EXPONENT = -10
"""The histogram's first upper bound is 2^-10 s."""


def sketch_bucket(micros: int) -> int:
    """The geometric bucket of a duration: those up to gamma^i microseconds and over gamma^(i-1)."""
    return math.ceil(math.log(micros) / _LOG_GAMMA) if micros else _ZERO


def percentiles(sketch: dict[int, int], percents: Iterable[int]) -> list[float]:
    """For each percent, the duration in microseconds at nearest rank ⌈percent/100 · n⌉, within 1%.

    `sketch` is not empty. Not rounded to whole microseconds: that alone may be over 1% of a short duration.
    """
    buckets = sorted(sketch)
    ranks = list(accumulate(sketch[bucket] for bucket in buckets))
    found = (buckets[bisect_left(ranks, -(-percent * ranks[-1] // 100))] for percent in percents)
    return [0 if bucket == _ZERO else 2 * _GAMMA**bucket / (_GAMMA + 1) for bucket in found]


def histogram_exponent(micros: int) -> int:
    """The smallest e >= -10 with a duration of at most 2^e seconds."""
    units = -(-(micros << -SMALLEST_EXPONENT) // 1_000_000)  # in 2^-10 s, rounded up
    return (units - 1).bit_length() + SMALLEST_EXPONENT if units else SMALLEST_EXPONENT


# --- completions over time -------------------------------------------------------------------------------------------

TIME_BUCKETS = 240
_MINUTE = 60_000_000


@dataclass(slots=True)
class TimeSeries:
    """Counts by end time, in buckets of 60·2^k s aligned to 1970; k is the smallest that fits `TIME_BUCKETS`."""

    k: int = 0
    counts: dict[int, int] = field(default_factory=dict)
    """Bucket (end ÷ width, rounded down) → executions; never 0."""

    @property
    def width_seconds(self) -> int:
        return 60 << self.k

    def add(self, *ends: int) -> None:
        """Count one execution for each time at which one ended (microseconds since 1970)."""
        width = _MINUTE << self.k
        for end in ends:
            bucket = end // width
            self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self._fit()

    def merge(self, other: "TimeSeries") -> "TimeSeries":
        """Both together."""
        merged = TimeSeries(max(self.k, other.k))
        for series in (self, other):
            for bucket, count in series.counts.items():
                coarse = bucket >> (merged.k - series.k)
                merged.counts[coarse] = merged.counts.get(coarse, 0) + count
        merged._fit()
        return merged

    def _fit(self) -> None:
        while self.counts and max(self.counts) - min(self.counts) >= TIME_BUCKETS:
            halved: dict[int, int] = {}
            for bucket, count in self.counts.items():
                halved[bucket >> 1] = halved.get(bucket >> 1, 0) + count
            self.k, self.counts = self.k + 1, halved


# --- sums ------------------------------------------------------------------------------------------------------------


class PoolSums(NamedTuple):
    """One pool's share of a job."""

    completions: int = 0
    failed: int = 0
    duration: int = 0
    """Microseconds."""

    def plus(self, other: "PoolSums") -> "PoolSums":
        return PoolSums(
            self.completions + other.completions, self.failed + other.failed, self.duration + other.duration
        )


class Longest(NamedTuple):
    """The longest execution: its duration in microseconds and its task. Compares by `rank`."""

    duration: int
    task_id: str

    def rank(self) -> tuple[int, str, str]:
        """Smallest for the longest; ties go to the smallest id."""
        return (-self.duration, self.task_id.lower(), self.task_id)


@dataclass(slots=True)
class Sums:
    """What a set of executions of one job adds up to. Times in microseconds."""

    account: str | None = None
    """The smallest spelling seen (ids are case-insensitive), as for `job_id`; None of the empty set."""
    job_id: str | None = None
    tasks: int = 0
    """Distinct tasks. This and the next two may be negative in one shard: another shard counted what is replaced."""
    succeeded_tasks: int = 0
    failed_tasks: int = 0
    completions: int = 0
    retries: int = 0
    requeues: int = 0
    retries_exhausted: int = 0
    durations: int = 0
    """Executions whose duration is known."""
    duration: int = 0
    slot_time: int = 0
    shortest: int | None = None
    longest: Longest | None = None
    first_start: int | None = None
    last_end: int | None = None
    exit_codes: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    pools: dict[str, PoolSums] = field(default_factory=dict)
    sketch: dict[int, int] = field(default_factory=dict)
    histogram: dict[int, int] = field(default_factory=dict)
    over_time: TimeSeries = field(default_factory=TimeSeries)

    def add(self, *executions: Execution) -> None:
        """Count executions, the more at once the cheaper. Their tasks are counted apart."""
        self.completions += len(executions)
        sketch, histogram, exit_codes = self.sketch, self.histogram, self.exit_codes
        pools: dict[str, list[int]] = {}
        for execution in executions:
            self.retries += execution.retry_count
            self.requeues += execution.requeue_count
            micros = duration(execution)
            if micros is not None:
                self.durations += 1
                self.duration += micros
                self.slot_time += slot_time(execution, micros)
                bucket = sketch_bucket(micros)
                sketch[bucket] = sketch.get(bucket, 0) + 1
                exponent = histogram_exponent(micros)
                histogram[exponent] = histogram.get(exponent, 0) + 1
                if self.longest is None or micros >= self.longest.duration:
                    self.longest = _longest(self.longest, Longest(micros, execution.task_id))
                if self.shortest is None or micros < self.shortest:
                    self.shortest = micros
            code = "none" if execution.exit_code is None else str(execution.exit_code)
            exit_codes[code] = exit_codes.get(code, 0) + 1
            share = pools.get(execution.pool_id)
            if share is None:
                share = pools[execution.pool_id] = [0, 0, 0]
            share[0] += 1
            share[2] += micros or 0
            if not execution.succeeded:
                share[1] += 1
                self.retries_exhausted += retries_exhausted(execution)
                name = failure(execution)
                self.failures[name] = self.failures.get(name, 0) + 1
        self.pools = _pools(self.pools, {pool: PoolSums(*share) for pool, share in pools.items()})
        self.over_time.add(*[execution.end for execution in executions])
        for account, job_id in {(execution.account, execution.job_id) for execution in executions}:
            self.account = _smallest(self.account, account)
            self.job_id = _smallest(self.job_id, job_id)
        starts = [execution.start for execution in executions if execution.start is not None]
        self.first_start = _smallest(self.first_start, min(starts, default=None))
        self.last_end = _largest(self.last_end, max((execution.end for execution in executions), default=None))

    def add_tasks(self, *latest: Execution) -> None:
        """Count new tasks, each by its latest execution."""
        succeeded = sum([execution.succeeded for execution in latest])
        self.tasks += len(latest)
        self.succeeded_tasks += succeeded
        self.failed_tasks += len(latest) - succeeded

    def change_task(self, before: Execution, after: Execution) -> None:
        """Count a task by its latest execution, `after`, that has been counted by another, `before`."""
        self.succeeded_tasks += after.succeeded - before.succeeded
        self.failed_tasks += before.succeeded - after.succeeded

    def merge(self, other: "Sums") -> "Sums":
        """The sums of both sets, which have no execution in common."""
        return Sums(*[merge(getattr(self, name), getattr(other, name)) for name, merge in _MERGE.items()])


def total(parts: Iterable[Sums]) -> Sums:
    """All parts merged; a single one as it is."""
    several = iter(parts)
    return reduce(Sums.merge, several, next(several, Sums()))


def _smallest[T: (int, str)](a: T | None, b: T | None) -> T | None:
    return b if a is None else a if b is None else min(a, b)


def _largest(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else max(a, b)


def _longest(a: Longest | None, b: Longest | None) -> Longest | None:
    return b if a is None else a if b is None else min(a, b, key=Longest.rank)


def _counts[K](a: dict[K, int], b: dict[K, int]) -> dict[K, int]:
    merged = a.copy()
    for key, count in b.items():
        merged[key] = merged.get(key, 0) + count
    return merged


def _pools(a: dict[str, PoolSums], b: dict[str, PoolSums]) -> dict[str, PoolSums]:
    return {**a, **{pool: a.get(pool, PoolSums()).plus(share) for pool, share in b.items()}}


def _plus(a: int, b: int) -> int:
    return a + b


_MERGE: dict[str, Callable[[Any, Any], Any]] = {f.name: _plus for f in fields(Sums)} | {
    "account": _smallest,
    "job_id": _smallest,
    "shortest": _smallest,
    "first_start": _smallest,
    "last_end": _largest,
    "longest": _longest,
    "exit_codes": _counts,
    "failures": _counts,
    "sketch": _counts,
    "histogram": _counts,
    "pools": _pools,
    "over_time": TimeSeries.merge,
}
