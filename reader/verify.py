"""A job computed again from its rows, and compared with what was published.

The rule: every column is compared that the rows can tell. The published row must be the sum of the job's partial sums
in all columns, and agree with its task rows:

    exactly     where every task has one execution, all columns; else those that follow from the times and outcomes that
                a task row keeps of its earlier executions
    by bounds   what a task row keeps of its latest execution only: retries, slots, pools, failure codes

A task row must agree with itself too: what is computed from its other columns is; and it must be in the bucket that the
job's layout gives it. Rows are streamed; in memory are the sums, whatever the number of tasks. Rows that change while
they are read are read again.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from azure.data.tables import TableServiceClient

from processors import limits
from processors.columns import CONTRACT_VERSION, JOBS, TASKS, Int64, Row
from processors.errors import NotFound, UnreadableRow
from processors.metrics import Sums, total
from processors.rollups import (
    LAYOUT_KEY,
    NO_START,
    OTHER,
    SHARD_RANGE,
    Identity,
    JobKey,
    Task,
    job_row,
    read_layout,
    read_shard,
    read_task,
    task_row,
)
from reader.queries import JobBuckets, newer
from reader.rows import Stored, stored_row, stored_rows

READINGS = 5
"""Times that a job is read when it changes meanwhile."""
_PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds between them: a writer publishes a job right after counting, which takes it well under a second."""
TASKS_NAMED = 20
"""Wrong task rows of a job that are named; beyond, they are counted."""

_BY_BOUNDS = (
    "account",
    "jobId",
    "retryCount",
    "requeueCount",
    "retriesExhausted",
    "slotSeconds",
    "failures",
    "pools",
)
_MAPS = ("exitCodes", "failures", "pools")
_NOT_OF_TASKS = ("shardCount", "bucketCount", "contractVersion")
"""Columns of which the task rows know nothing."""


class Source(StrEnum):
    """What a column was computed from."""

    SUMS = "partial sums"
    TASKS = "task rows"


@dataclass(frozen=True, slots=True)
class Difference:
    """A column that is not what it should be; values as they are shown, empty for none."""

    column: str
    published: str
    recomputed: str
    source: Source


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the comparison of one job."""

    job: JobKey
    tasks: int
    """Task rows read."""
    differences: tuple[Difference, ...]
    by_bounds: tuple[str, ...] = ()
    """Columns that the task rows only bound, because tasks have several executions."""
    settled: bool = True
    """False where the job changed at every reading: then nothing can be said."""


def verify(service: TableServiceClient, job: JobKey, pause: Callable[[float], None] = time.sleep) -> Verdict:
    """Compare one job. Raises NotFound where it is not published, StorageUnavailable, and UnreadableRow where it is
    written by a newer version, which may count what this one does not know.
    """
    for wait in (*_PAUSES, None):
        before = _read_sums(service, job)
        tasks = _read_tasks(service, before)
        unchanged = _read_sums(service, job).etags == before.etags
        found = _differences(job, before, tasks)
        by_bounds = _BY_BOUNDS if tasks.several else ()
        if not found or (unchanged and (wait is None or not before.pending)):
            return Verdict(job, tasks.rows, tuple(found), by_bounds)
        if wait is not None:
            pause(wait)
    return Verdict(job, tasks.rows, (), by_bounds, settled=False)


# --- reading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _SumRows:
    """The published row, and the layout and the partial sums beside the tasks."""

    job: JobKey
    published: Stored
    layout: Stored | None
    shards: tuple[Stored, ...]

    @property
    def etags(self) -> list[str]:
        return [stored.etag for stored in (self.published, self.layout, *self.shards) if stored is not None]

    @property
    def buckets(self) -> int | None:
        """How many the layout says that there are; None where it cannot be read."""
        try:
            return 1 if self.layout is None else read_layout(self.layout.row)
        except UnreadableRow:
            return None

    @property
    def read(self) -> JobBuckets:
        """All buckets that the layout or the published row knows."""
        published = self.published.row.get("bucketCount")
        known = published if isinstance(published, int) and 1 <= published <= limits.BUCKETS_A_JOB else 1
        return JobBuckets(self.job, max(known, self.buckets or 1))

    @property
    def pending(self) -> bool:
        """Whether something was counted after the last publishing: a writer is about to publish, or has died."""
        published = self.published.written
        return published is not None and any(
            shard.written is not None and shard.written > published for shard in self.shards
        )


def _read_sums(service: TableServiceClient, job: JobKey) -> _SumRows:
    published = stored_row(service, JOBS, job.account, job.job)
    if published is None:
        raise NotFound(f"there is no job {job.job} in account {job.account}")
    first = list(stored_rows(service, TASKS, [job.partition()], *SHARD_RANGE))
    layout = first.pop(0) if first and first[0].row["RowKey"] == LAYOUT_KEY else None
    _, *partitions = _SumRows(job, published, layout, ()).read.partitions()
    shards = (*first, *stored_rows(service, TASKS, partitions, *SHARD_RANGE))
    versions = [stored.row.get("contractVersion") for stored in (published, *shards)]
    version = max((version for version in versions if isinstance(version, int)), default=1)
    if version > CONTRACT_VERSION:
        raise UnreadableRow(f"job {job.job} of account {job.account} cannot be verified: {newer(version)}")
    return _SumRows(job, published, layout, shards)


@dataclass(slots=True)
class _TaskSums:
    """What a job's task rows add up to."""

    latest: Sums = field(default_factory=Sums)
    listed: Sums = field(default_factory=Sums)
    """Earlier executions with their outcome: slots, pool, retries and failure code are not kept."""
    unlisted: Sums = field(default_factory=Sums)
    """Older ones, of which the times alone are kept."""
    rows: int = 0
    wrong: list[Difference] = field(default_factory=list)
    more_wrong: int = 0

    @property
    def several(self) -> bool:
        """Whether any task has more than one execution."""
        return self.listed.completions + self.unlisted.completions > 0

    def add(self, task: Task) -> None:
        latest = task.latest
        self.latest.add(latest)
        self.latest.add_tasks(latest)
        unknown: dict[str, Any] = {
            "retry_count": 0,
            "requeue_count": 0,
            "max_task_retry_count": 0,
            "required_slots": 1,
            "number_of_instances": 1,
            "pool_id": "",
            "failure_code": "",
        }
        for earlier in task.earlier:
            known = _times(earlier.identity) | {"exit_code": earlier.exit_code, "succeeded": earlier.succeeded}
            self.listed.add(latest._replace(**known, **unknown))
        for older in task.older:
            self.unlisted.add(latest._replace(**_times(older), exit_code=None, succeeded=True, **unknown))

    def disagree(self, found: Iterator[Difference]) -> None:
        """Note a task row that is wrong in itself, if it is."""
        differences = list(found)
        if len(self.wrong) < TASKS_NAMED:
            self.wrong += differences
        else:
            self.more_wrong += bool(differences)


def _times(identity: Identity) -> dict[str, Any]:
    return {"end": identity.end, "start": None if identity.start == NO_START else identity.start}


def _read_tasks(service: TableServiceClient, stored_sums: _SumRows) -> _TaskSums:
    sums = _TaskSums()
    read = stored_sums.read
    home = read if stored_sums.buckets is None else read._replace(buckets=stored_sums.buckets)
    for stored in stored_rows(service, TASKS, read.partitions(), "", SHARD_RANGE[0]):
        sums.rows += 1
        try:
            task = read_task(stored.row)
        except UnreadableRow as error:
            sums.disagree(iter([Difference(f"task {stored.row['RowKey']!s}", str(error), "", Source.TASKS)]))
        else:
            sums.add(task)
            sums.disagree(_in_itself(task, stored.row, home))
    return sums


def _in_itself(task: Task, row: Row, home: JobBuckets) -> Iterator[Difference]:
    """What of a task row does not follow from the rest of it, or from how many buckets its job has."""
    for column, wanted in task_row(task, home.partition_of(str(row["RowKey"]))).items():
        if row.get(column) != wanted:
            name = f"task {task.latest.task_id}: {column}"
            yield Difference(name, _shown(row.get(column)), _shown(wanted), Source.TASKS)


# --- comparing -------------------------------------------------------------------------------------------------------


def _differences(job: JobKey, stored: _SumRows, tasks: _TaskSums) -> list[Difference]:
    published = stored.published.row
    found = [*_from_sums(job, stored), *_from_tasks(job, published, tasks), *tasks.wrong]
    if tasks.more_wrong:
        found.append(Difference("task rows", "", f"{tasks.more_wrong:,} more are wrong in themselves", Source.TASKS))
    return found


def _from_sums(job: JobKey, stored: _SumRows) -> Iterator[Difference]:
    # A row that was written before there were these columns.
    published = {"bucketCount": 1, "contractVersion": 1} | dict(stored.published.row)
    buckets = stored.buckets
    if buckets is None:
        yield Difference("bucketCount", _shown(published["bucketCount"]), "no layout that can be read", Source.SUMS)
    if not stored.shards:
        yield Difference("shardCount", _shown(published.get("shardCount")), "no partial sums", Source.SUMS)
        return
    sums = []
    for shard in stored.shards:
        try:
            sums.append(read_shard(shard.row))
        except UnreadableRow as error:
            yield Difference(str(shard.row["RowKey"]), str(error), "", Source.SUMS)
    if len(sums) < len(stored.shards):
        return
    names = {shard.row["RowKey"] for shard in stored.shards}
    expected = {
        **job_row(job, total(sums), len(names)),
        "bucketCount": published["bucketCount"] if buckets is None else buckets,
        # Older ones have less in them, and whoever publishes knows all that the sums have.
        "contractVersion": max(shard.row.get("contractVersion", 1) for shard in stored.shards),
    }
    for column in (*expected, *(published.keys() - expected.keys())):
        if published.get(column) != expected.get(column):
            yield Difference(column, _shown(published.get(column)), _shown(expected.get(column)), Source.SUMS)


def _from_tasks(job: JobKey, published: Row, tasks: _TaskSums) -> Iterator[Difference]:
    if not tasks.latest.completions:
        yield Difference("taskCount", _shown(published.get("taskCount")), "no task rows", Source.TASKS)
        return
    everything = total([tasks.latest, tasks.listed, tasks.unlisted])
    expected = job_row(job, everything, 0)
    loose = {*_MAPS, *_NOT_OF_TASKS, *(_BY_BOUNDS if tasks.several else ())}
    for column in (*expected, *(published.keys() - expected.keys())):
        if column not in loose and not _equal(column, published.get(column), expected.get(column), tasks):
            yield Difference(column, _shown(published.get(column)), _shown(expected.get(column)), Source.TASKS)
    bounds = _bounds(published, tasks, everything) if tasks.several else _maps(published, everything)
    for column, wanted in bounds:
        yield Difference(column, _shown(published.get(column)), wanted, Source.TASKS)


def _equal(column: str, found: Any, wanted: Any, tasks: _TaskSums) -> bool:
    if column == "longestTaskId" and tasks.several and isinstance(found, str) and isinstance(wanted, str):
        return found.lower() == wanted.lower()  # an earlier execution may have had the id in another spelling
    return bool(found == wanted)


def _maps(published: Row, sums: Sums) -> Iterator[tuple[str, str]]:
    """The maps that are not what they should be, and what they should be, where all is known of every execution."""
    pools = {
        pool: (share.completions, share.failed, share.duration / 1_000_000) for pool, share in sums.pools.items()
    }  # fmt: skip
    for column, wanted in (("exitCodes", _tuples(sums.exit_codes)), ("failures", _tuples(sums.failures))):
        if not _map_agrees(_counts(published.get(column)), wanted):
            yield column, _shown({name: count for name, (count,) in wanted.items()})
    if not _map_agrees(_shares(published.get("pools")), pools):
        yield "pools", _shown(pools)


type _Numbers = Mapping[str, tuple[float, ...]]


def _map_agrees(found: _Numbers | None, wanted: _Numbers) -> bool:
    """Equal; or, where `found` is bounded, what it names is no more than wanted, and all adds up."""
    if found is None:
        return False
    if found == wanted:
        return True
    if OTHER not in found or len(wanted) <= len(found):
        return False
    named = found.keys() - {OTHER}
    within = named <= wanted.keys() and all(
        have <= want for name in named for have, want in zip(found[name], wanted[name], strict=True)
    )
    return within and _adds_up(found, _column_sums(wanted))


def _bounds(published: Row, tasks: _TaskSums, everything: Sums) -> Iterator[tuple[str, str]]:
    """The columns that are not what the task rows allow, and what they do, where tasks have several executions."""
    latest, listed, unlisted = tasks.latest, tasks.listed, tasks.unlisted
    for column, spelling in (("account", latest.account), ("jobId", latest.job_id)):
        found = published.get(column)
        assert spelling is not None  # there are tasks
        if not (isinstance(found, str) and found.lower() == spelling.lower() and found <= spelling):
            yield column, _shown(spelling)
    failed_earlier = sum(listed.failures.values())
    limits: dict[str, tuple[float, float | None]] = {
        "retryCount": (latest.retries, None),
        "requeueCount": (latest.requeues, None),
        "retriesExhausted": (
            latest.retries_exhausted,
            latest.retries_exhausted + failed_earlier + unlisted.completions,
        ),
        "slotSeconds": (everything.slot_time / 1_000_000, None),
    }
    for column, (least, most) in limits.items():
        number = published.get(column)
        if not (isinstance(number, int | float) and least <= number and (most is None or number <= most)):
            yield column, f"{_shown(least)} or more" if most is None else f"{_shown(least)} to {_shown(most)}"
    failed = sum(latest.failures.values()) + failed_earlier
    codes = _counts(published.get("failures"))
    if codes is None or not _covers(codes, _tuples(latest.failures)) or not (
        failed <= sum(count for (count,) in codes.values()) <= failed + unlisted.completions
    ):  # fmt: skip
        yield "failures", f"{failed:,} failed executions, of them {_shown(latest.failures)}"
    known = total([latest, listed]).exit_codes
    codes = _counts(published.get("exitCodes"))
    if codes is None or not (
        _map_agrees(codes, _tuples(known))
        if not unlisted.completions
        else _covers(codes, _tuples(known)) and _adds_up(codes, (everything.completions,))
    ):
        yield "exitCodes", _shown(known) + (f" and {unlisted.completions:,} more" if unlisted.completions else "")
    pools = _shares(published.get("pools"))
    least_shares = {
        pool: (share.completions, share.failed, share.duration / 1_000_000) for pool, share in latest.pools.items()
    }
    if (
        pools is None
        or not _covers(pools, least_shares)
        or not _adds_up(
            {pool: (share[0], share[2]) for pool, share in pools.items()},
            (everything.completions, everything.duration / 1_000_000),
        )
    ):
        yield "pools", f"{everything.completions:,} executions, of them {_shown(least_shares)}"


def _covers(found: _Numbers, least: _Numbers) -> bool:
    """Whether everything in `least` is in `found`, by name; a bounded map may have it under `other`."""
    return OTHER in found or all(
        name in found and all(have >= want for have, want in zip(found[name], wanted, strict=True))
        for name, wanted in least.items()
    )


def _adds_up(found: _Numbers, wanted: tuple[float, ...]) -> bool:
    return all(math.isclose(have, want, rel_tol=1e-9) for have, want in zip(_column_sums(found), wanted, strict=True))


def _column_sums(numbers: _Numbers) -> tuple[float, ...]:
    return tuple(sum(column) for column in zip(*numbers.values(), strict=True))


def _tuples(counts: Mapping[str, int]) -> _Numbers:
    return {name: (count,) for name, count in counts.items()}


def _counts(column: object) -> _Numbers | None:
    """A map column of counts; None where it is none."""
    try:
        return {name: (count + 0,) for name, count in json.loads(str(column)).items()}
    except (ValueError, TypeError, AttributeError):
        return None


def _shares(column: object) -> _Numbers | None:
    try:
        return {
            pool: (share["completions"] + 0, share["failed"] + 0, share["durationSeconds"] + 0)
            for pool, share in json.loads(str(column)).items()
        }
    except (ValueError, TypeError, AttributeError, LookupError):
        return None


def _shown(value: Any) -> str:
    """As the row has it; the empty text where it has none."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(int(value) if isinstance(value, Int64) else value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping) else str(value)
