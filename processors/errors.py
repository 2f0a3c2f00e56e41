"""Every error this package raises, as one tree.

    BatchRollupsError
    ├── SettingsError            the app cannot start: a setting is missing or wrong
    ├── StorageUnavailable       storage did not answer as needed; the only error that may leave an invocation
    ├── Conflict                 another instance changed a row first: read again, plan again
    ├── RowRefused               storage will never take this row as it is
    ├── UnreadableRow            a stored row is not one that this package writes
    │   └── NewerContract        it is written by a newer version of this package
    ├── UnreadableLetter         a stored dead letter is not one that this package writes
    └── BadRequest               a reader asked for what cannot be answered
        ├── NotFound             for a job or task that the tables do not have
        └── AmbiguousJob         for a job that several accounts have

Bad input is no exception: it is a value (`records.BadInput`) that ends as a dead letter.
"""

from collections.abc import Sequence


class BatchRollupsError(Exception):
    """Base of the tree."""


class SettingsError(BatchRollupsError):
    """One or more settings are missing or wrong; the text has a line for each, with an example."""


class StorageUnavailable(BatchRollupsError):  # noqa: N818 - the name is the contract's
    """Storage is slow, throttled, down or forbids us, after bounded retries.

    Leaves the invocation, so that the trigger's retry policy holds the partition.
    `transient` is False where a retry within the invocation is pointless (a missing role, a wrong key).
    """

    def __init__(self, message: str, *, transient: bool = True) -> None:
        super().__init__(message)
        self.transient = transient


class Conflict(BatchRollupsError):  # noqa: N818 - as Table Storage calls it
    """A row was inserted, replaced or deleted by another writer since it was read.

    `index` is the position of the failing operation in its transaction.
    """

    def __init__(self, index: int) -> None:
        super().__init__(f"operation {index} conflicts with the stored row")
        self.index = index


class RowRefused(BatchRollupsError):  # noqa: N818 - names what storage did
    """Storage refused an operation as invalid (HTTP 400 or 413): trying again cannot help.

    `index` is the failing operation's position, None where storage did not say.
    """

    def __init__(self, index: int | None, reason: str) -> None:
        super().__init__(reason)
        self.index = index
        self.reason = reason


class UnreadableRow(BatchRollupsError):  # noqa: N818 - names what was found
    """A stored row does not decode: it was edited by hand or written by something else."""


class NewerContract(UnreadableRow):
    """A stored row has a newer contract version than this code: what is new in it would be lost if we replaced it."""

    def __init__(self, name: str, version: int, known: int) -> None:
        super().__init__(
            f"stored row {name} has contract version {version}, this app knows {known}: deploy the newer app everywhere"
        )


class UnreadableLetter(BatchRollupsError):  # noqa: N818 - names what was found
    """A stored dead letter does not decode: it was edited by hand or written by something else."""


class BadRequest(BatchRollupsError):  # noqa: N818 - as HTTP calls it
    """What a reader asked for cannot be answered as it was asked; the text says what to ask for instead."""


class NotFound(BadRequest):
    """There is no such job or task in the tables."""


class AmbiguousJob(BadRequest):
    """Several Batch accounts have a job of this id."""

    def __init__(self, job_id: str, accounts: Sequence[str]) -> None:
        super().__init__(f"several accounts have a job {job_id}: {', '.join(accounts)}; name the account")
        self.accounts = tuple(accounts)
