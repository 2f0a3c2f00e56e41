"""What a process knows of the jobs that it wrote last, to be used in the place of reads.

The rule: whatever is known is only ever put under a condition (that a row is new, or still has its ETag), so that what
has become untrue costs a conflict and a read, and nothing else. And a published row that is written from what is known
has no less of any shard than the row that it replaces: `RecentJob.published` and `RecentJob.news` add up to the shards,
as far as this process writes them. What could break that makes the process forget `published`.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from processors import limits
from processors.errors import StorageUnavailable
from processors.metrics import Sums, total
from processors.plan import Stored
from processors.rollups import JobKey


class Place(NamedTuple):
    """Where a job's partial sums stand."""

    bucket: int
    row_key: str


class Published(NamedTuple):
    """The published row: as this process wrote it last, or that there is none."""

    etag: str | None
    """None where there is no row."""
    sums: Sums
    """What it says."""
    places: frozenset[Place]
    """The shards that it adds up."""


class Commit(NamedTuple):
    """A shard's change by this process."""

    place: Place
    etag: str
    """Of the shard since."""
    added: Sums


class Turns:
    """Lets one invocation at a time do what it does for all; where storage fails it, those that wait fail with it."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._failures = 0

    @asynccontextmanager
    async def next(self, what: str) -> AsyncGenerator[None]:
        """Wait for one's turn, and have it. Raises StorageUnavailable if it failed another meanwhile."""
        failures = self._failures
        async with self._lock:
            if self._failures != failures:
                raise StorageUnavailable(f"{what}: another invocation that was at it failed")
            try:
                yield
            except StorageUnavailable:
                self._failures += 1
                raise


class RecentJob:
    """One job as this process last saw it."""

    def __init__(self, recent: "Recent | None") -> None:
        self.buckets: int | None = None
        """How many the job's layout has; None where that is not known."""
        self.shards: Mapping[Place, Stored[Sums]] = {}
        """Those that this process writes."""
        self.published: Published | None = None
        """The row that has just what `shards` had, without `news`, and of all other shards no more than they have."""
        self.news = Sums()
        """What this process has counted since; nothing where `published` is None."""
        self.covered: dict[Place, str] = {}
        """Place → its shard's ETag when a published row last took it in. Every later publisher has that, or newer."""
        self.founding = Turns()
        self.publishing = Turns()
        self._reading: tuple[Mapping[Place, Stored[Sums]], list[Commit]] | None = None
        """The shards at `begin_reading` and the commits since; None where nothing is read, or all else happened."""
        self._recent = recent
        """None once the job is not remembered any more."""

    # --- shards ---

    def committed(self, place: Place, base: str | None, now: Stored[Sums], added: Sums) -> None:
        """Note that this process added to a shard; `base` is the ETag that it had, None for a new shard."""
        known = self.shards.get(place)
        if (known.etag if known else None) != base:  # another invocation is at work on the same shard
            self.lose_track()
            return
        if known is None:
            if self.published is not None and place in self.published.places:
                self.lose_track()
            if self._recent is not None:
                self._recent.shards += 1
        self.shards = {**self.shards, place: now}
        if self.published is not None:
            self.news = self.news.merge(added)
        if self._reading is not None:
            self._reading[1].append(Commit(place, now.etag, added))

    def read(self, place: Place, before: Stored[Sums] | None, now: Stored[Sums] | None) -> None:
        """Note what was read of a shard, None that there is none; `before` is what was known when the reading began.

        What another invocation has noted meanwhile stays: which of the two is newer, nobody can tell.
        """
        if self.shards.get(place) is not before:
            return
        if now is None:
            if before is not None:
                self.forget()  # the job was purged
        elif before is None or before.etag != now.etag:
            self.lose_track()
            if before is None and self._recent is not None:
                self._recent.shards += 1
            self.shards = {**self.shards, place: now}

    # --- the published row ---

    def covers(self, ends: Mapping[Place, str | None]) -> bool:
        """Whether a published row has these shards, each with the ETag that it had at the end, or newer."""
        return all(etag is not None and self.covered.get(place) == etag for place, etag in ends.items())

    def found(self) -> None:
        """Note that this process has founded the job, of one bucket: nobody has published it yet."""
        self.buckets, self.published, self.news = 1, Published(None, Sums(), frozenset()), Sums()

    def begin_reading(self) -> None:
        """Before the published row and the shards are read."""
        self._reading = self.shards, []

    def end_reading(self, buckets: int, read: Mapping[Place, Stored[Sums]], published: Published) -> None:
        """Note what was read since `begin_reading`, and the row that was then published with it.

        It is of use if of every shard that this process writes just that was read which it wrote, now or before: what
        it has written beyond is news.
        """
        reading, self._reading = self._reading, None
        self.covered |= {place: stored.etag for place, stored in read.items()}
        self.published, self.news = None, Sums()
        if reading is None:
            return
        if self.buckets not in (None, buckets):  # the job was purged, and founded anew
            self.forget()
            return
        shards = dict(self.shards)
        news: list[Sums] = []
        for place in self.shards:
            changes = [commit for commit in reading[1] if commit.place == place]
            begun = reading[0].get(place)
            etags = [begun.etag if begun else None, *(commit.etag for commit in changes)]
            found = read.get(place)
            etag = found.etag if found else None
            if etag in etags:
                news += [commit.added for commit in changes[etags.index(etag) :]]
            elif changes:
                return
            elif found is None:  # the job was purged
                self.forget()
                return
            else:
                shards[place] = found
        self.buckets, self.shards, self.published, self.news = buckets, shards, published, total(news)

    def lose_track(self) -> None:
        """Know nothing any more of the published row, other than what it covers at least."""
        self.published, self.news, self._reading = None, Sums(), None

    def forget(self) -> None:
        """Know nothing any more."""
        if self._recent is not None:
            self._recent.shards -= len(self.shards)
        self.lose_track()
        self.buckets, self.shards, self.covered = None, {}, {}

    def leave(self) -> None:
        """Be remembered no more; whoever is at work on it goes on."""
        self.forget()
        self._recent = None


class Recent:
    """The jobs that a process wrote last, within `JOBS_REMEMBERED` and `SHARDS_REMEMBERED`.

    `buckets` is how many a job has that this process is the first to write.
    """

    def __init__(self, buckets: int = 1) -> None:
        self.buckets = buckets
        self.shards = 0
        self._jobs: OrderedDict[JobKey, RecentJob] = OrderedDict()

    def job(self, job: JobKey) -> RecentJob:
        """What is known of the job: nothing, for one that was not written lately."""
        found = self._jobs.get(job)
        if found is None:
            found = self._jobs[job] = RecentJob(self)
        self._jobs.move_to_end(job)
        while len(self._jobs) > 1 and (
            len(self._jobs) > limits.JOBS_REMEMBERED or self.shards > limits.SHARDS_REMEMBERED
        ):
            self._jobs.popitem(last=False)[1].leave()
        return found
