"""Whether the rollups can be read, and how fresh they are.

The rule: to ask often costs little. An account is looked at once in `CACHED_SECONDS`, by one thread, whoever asks and
whatever came of it.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Literal

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from processors.azure_errors import storage_errors
from processors.dead_letter_blobs import CONTAINER
from processors.errors import StorageUnavailable
from reader.accounts import Account
from reader.queries import Rollups

CACHED_SECONDS = 10.0
LETTERS_COUNTED = 1_000
ROLE = "Storage Blob Data Reader"

logger = logging.getLogger(__name__)


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class LetterCount(_Model):
    """Dead letters, counted up to a bound."""

    count: int
    more: bool = Field(description="there are more than were counted")


class Health(_Model):
    """What a look at the account gave. That there is one means that the tables can be read."""

    status: Literal["ok"] = "ok"
    jobs: int = Field(description="jobs in the table")
    newest_event: datetime | None = Field(default=None, description="latest end of a task; absent where there is none")
    newest_write: datetime | None = Field(default=None, description="when a job's row was last written")
    dead_letters: LetterCount | None = Field(default=None, description="absent where they cannot be listed")


@dataclass
class Checkup:
    """The health of an account, remembered for a while. Safe for threads."""

    account: Account
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: Health | StorageUnavailable | None = None
    _until: float = 0.0

    def health(self) -> Health:
        """How things are, or were moments ago. Raises StorageUnavailable where the tables cannot be read."""
        with self._lock:
            if self._last is None or self.clock() >= self._until:
                try:
                    self._last = _look(self.account)
                except StorageUnavailable as error:
                    self._last = error
                self._until = self.clock() + CACHED_SECONDS
            if isinstance(self._last, StorageUnavailable):
                raise StorageUnavailable(str(self._last), transient=self._last.transient)
            return self._last


def _look(account: Account) -> Health:
    jobs, events, writes = 0, None, None
    # No row can be asked for by its time: two columns of all of them.
    for job in Rollups(account.tables).jobs(columns=["lastEndTime"]):
        jobs += 1
        events = _latest(events, job.last_end_time)
        writes = _latest(writes, job.timestamp)
    return Health(jobs=jobs, newest_event=events, newest_write=writes, dead_letters=_dead_letters(account.blobs))


def _latest(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((time for time in (one, other) if time is not None), default=None)


def _dead_letters(blobs: BlobServiceClient) -> LetterCount | None:
    """None where they cannot be listed: who may read the tables need not have a role for the blobs."""
    try:
        with storage_errors("counting dead letters", ROLE):
            names = blobs.get_container_client(CONTAINER).list_blob_names(results_per_page=LETTERS_COUNTED + 1)
            found = sum(1 for _ in islice(names, LETTERS_COUNTED + 1))
    except StorageUnavailable as error:
        if isinstance(error.__cause__, ResourceNotFoundError):
            return LetterCount(count=0, more=False)  # the container comes with the first letter
        logger.warning("%s", error)
        return None
    return LetterCount(count=min(found, LETTERS_COUNTED), more=found > LETTERS_COUNTED)
