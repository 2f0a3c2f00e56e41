"""Rows of a Table service in memory, for the stub: what is kept, and the rules of inserts, replaces and ranges. Pure.

The rule: a row stays the bytes that it came as; nothing of it is parsed but its keys. An ETag is a number where the
service has a time, as long as that.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

_PLACES = [b"%03d" % index for index in range(100)]
ETAG_DIGITS = 31
"""A number for the transaction, and three digits for the operation in it."""

type Write = tuple[bytes, bytes | None, bytes]
"""Row key; None for an insert, else the ETag that is replaced (b"*": any); the row, without its first brace."""


class Failed(NamedTuple):
    """The operation that keeps a transaction from being carried out, and why."""

    operation: int
    status: int
    code: str


class Partition:
    """One partition's rows by row key, in its order for queries."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._sorted: list[bytes] = []
        self._new: list[bytes] = []
        """Keys that are not among the sorted ones yet."""

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: bytes) -> bytes | None:
        """The row, after the number of its ETag."""
        return self._rows.get(key)

    def commit(self, writes: list[Write], number: int) -> list[bytes] | Failed:
        """All of them, or none; their ETags, which begin with the transaction's `number`."""
        rows, first = self._rows, b"%028d" % number
        changed: dict[bytes, bytes] = {}
        inserted: list[bytes] = []
        etags: list[bytes] = []
        for (key, expected, row), place in zip(writes, _PLACES, strict=False):
            stored = rows.get(key)
            if expected is None:
                if stored is not None:
                    return Failed(len(etags), 409, "EntityAlreadyExists")
                inserted.append(key)
            elif stored is None:
                return Failed(len(etags), 404, "ResourceNotFound")
            elif expected not in (stored[:ETAG_DIGITS], b"*"):
                return Failed(len(etags), 412, "UpdateConditionNotSatisfied")
            etag = first + place
            etags.append(etag)
            changed[key] = etag + row
        if len(changed) < len(writes):
            return Failed(0, 400, "InvalidInput")  # a row twice, or more rows than a transaction takes
        rows.update(changed)
        self._new += inserted
        return etags

    def delete(self, key: bytes, etag: bytes) -> Failed | None:
        stored = self._rows.get(key)
        if stored is None:
            return Failed(0, 404, "ResourceNotFound")
        if etag != b"*" and stored[:ETAG_DIGITS] != etag:
            return Failed(0, 412, "UpdateConditionNotSatisfied")
        del self._rows[key]
        self._sorted, self._new = sorted(self._rows), []
        return None

    def keys(self, first: bytes, end: bytes | None) -> Iterator[bytes]:
        """Row keys from `first` on to before `end`, in their order."""
        self._new.sort()
        if 8 * len(self._new) > len(self._sorted):  # else sorting anew would cost more than looking at both
            self._sorted += self._new
            self._sorted.sort()
            self._new = []
        return iter(sorted([*_between(self._sorted, first, end), *_between(self._new, first, end)]))


def _between(keys: list[bytes], first: bytes, end: bytes | None) -> list[bytes]:
    return keys[bisect_left(keys, first) : len(keys) if end is None else bisect_left(keys, end)]
