"""Table Storage and the dead letters' container in memory: what `processors` needs of storage, without a network.

    storage = MemoryStorage()
    await ingest(batch, storage, clock)
    storage.tables.rows(TASKS)

The rule: the tables do what the service does (entity group transactions, ETags, conflicts with the failing operation's
index), and refuse, as a failed assertion, all that the service would refuse and Azurite lets through: a row or a
transaction that breaks a limit is a bug in whatever sent it.

A `Hook` is awaited before and after every call. What it raises before is an error that changed nothing; what it raises
after a commit is a lost answer; what it changes in between is another writer; while it waits, others go on. What a hook
cannot say (a request that is carried out after it was given up) is said by overriding `send`.

That the model does what the service does is held by tests/simulation/test_storage_contract.py, against Azurite.
"""

import base64
import json
import math
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from itertools import count
from typing import NamedTuple

from processors import columns, limits
from processors.attempts import Attempts
from processors.columns import Edm, Row, StoredRow, Value
from processors.dead_letters import DeadLetter
from processors.errors import Conflict
from processors.plan import Insert, Operation, Replace
from processors.recent import Recent

type Key = tuple[str, str]
"""PartitionKey and RowKey."""


class Moment(Enum):
    """When a hook runs: before the call touches anything, or after it has, its answer not yet given."""

    BEFORE = auto()
    AFTER = auto()


class Call(NamedTuple):
    """One storage call."""

    method: str
    """`get`, `query`, `commit` or `put`."""
    table: str
    """The table; the dead letter's name for `put`."""
    moment: Moment


class Request(NamedTuple):
    """What a client asks of storage."""

    method: str
    """`get`, `query`, `commit` or `put`."""
    table: str
    """The table; the dead letter's name for `put`."""
    keys: tuple[str, ...] = ()
    """What is read: the partition key, then the row key or the range's ends."""
    operations: Sequence[Operation] = ()
    """What is written."""


type Hook = Callable[[Call], Awaitable[None]]


async def no_hook(_: Call) -> None:
    """The hook of a storage where nothing goes wrong."""


async def _no_sleep(_: float) -> None:
    """Attempts pause for real storage only."""


@dataclass
class MemoryTables:
    """`write.Tables`, for any number of writers. Requests are repeated as `AzureTables` does, without pauses."""

    hook: Hook = no_hook
    attempts: Attempts = field(default_factory=lambda: Attempts(sleep=_no_sleep))
    stored: dict[str, dict[str, dict[str, StoredRow]]] = field(
        default_factory=lambda: {table: defaultdict(dict) for table in (columns.TASKS, columns.JOBS)}
    )
    """Table → PartitionKey → RowKey → row."""
    etags: Iterable[int] = field(default_factory=count)

    def through(self, hook: Hook) -> "MemoryTables":
        """The same tables, as another client sees them."""
        return MemoryTables(hook, Attempts(sleep=_no_sleep), self.stored, self.etags)

    def rows(self, table: str) -> dict[Key, Row]:
        """All rows, by key."""
        return {
            (partition_key, row_key): stored.row
            for partition_key, partition in self.stored[table].items()
            for row_key, stored in partition.items()
        }

    def put(self, table: str, row: Row) -> None:
        """Set a row to anything at all, as someone with a table editor may."""
        partition_key, row_key = _key(row)
        self.stored[table][partition_key][row_key] = StoredRow(row, self._etag())

    async def get(self, table: str, partition_key: str, row_key: str) -> StoredRow | None:
        request = Request("get", table, (partition_key, row_key))
        return await self._attempt(request, lambda: self.stored[table][partition_key].get(row_key))

    async def query(
        self, table: str, partition_key: str, first: str, end: str, limit: int | None = None
    ) -> list[StoredRow]:
        def found() -> list[StoredRow]:
            rows = self.stored[table][partition_key]
            return [rows[row_key] for row_key in sorted(rows) if first <= row_key < end][:limit]

        return await self._attempt(Request("query", table, (partition_key, first, end)), found)

    async def commit(self, table: str, operations: Sequence[Operation]) -> list[str]:
        check_transaction(table, operations)
        request = Request("commit", table, operations=operations)
        return await self._attempt(request, lambda: self._transaction(table, operations))

    def fits(self, operation: Operation, stored: StoredRow | None) -> bool:
        """Whether the operation's condition holds on what is stored."""
        if isinstance(operation, Insert):
            return stored is None
        return stored is not None and operation.etag in (stored.etag, "*")

    async def send[T](self, request: Request, work: Callable[[], T]) -> T:
        """Carry the request out: `work` is what the service does."""
        return await _between_hooks(self.hook, request, work)

    async def _attempt[T](self, request: Request, work: Callable[[], T]) -> T:
        return await self.attempts.of(lambda: self.send(request, work))

    def _transaction(self, table: str, operations: Sequence[Operation]) -> list[str]:
        partition_key, _ = _key(operations[0].row)
        rows = self.stored[table][partition_key]
        for index, operation in enumerate(operations):
            if not self.fits(operation, rows.get(_key(operation.row)[1])):
                raise Conflict(index)
        changed = {_key(operation.row)[1]: StoredRow(_as_read(operation.row), self._etag()) for operation in operations}
        rows.update(changed)
        return [stored.etag for stored in changed.values()]

    def _etag(self) -> str:
        return f'W/"{next(iter(self.etags))}"'


@dataclass
class MemoryDeadLetters:
    """`dead_letters.DeadLetters`. A letter overwrites one of the same name; requests are repeated as for tables."""

    hook: Hook = no_hook
    letters: dict[str, DeadLetter] = field(default_factory=dict)
    attempts: Attempts = field(default_factory=lambda: Attempts(sleep=_no_sleep))

    async def put(self, letter: DeadLetter) -> None:
        content = letter.content()
        assert json.loads(content)["sequenceNumber"] == letter.sequence_number
        await self.attempts.of(lambda: self.send(Request("put", letter.name), lambda: self._keep(letter)))

    def _keep(self, letter: DeadLetter) -> None:
        self.letters[letter.name] = letter

    async def send[T](self, request: Request, work: Callable[[], T]) -> T:
        """Carry the request out: `work` is what the service does."""
        return await _between_hooks(self.hook, request, work)


async def _between_hooks[T](hook: Hook, request: Request, work: Callable[[], T]) -> T:
    await hook(Call(request.method, request.table, Moment.BEFORE))
    answer = work()
    await hook(Call(request.method, request.table, Moment.AFTER))
    return answer


@dataclass
class MemoryStorage:
    """`ingest.Storage`."""

    tables: MemoryTables = field(default_factory=MemoryTables)
    dead_letters: MemoryDeadLetters = field(default_factory=MemoryDeadLetters)
    recent: Recent = field(default_factory=Recent)

    def through(self, hook: Hook) -> "MemoryStorage":
        """The same storage, as another client sees it."""
        return MemoryStorage(self.tables.through(hook), MemoryDeadLetters(hook, self.dead_letters.letters))

    @property
    def requests(self) -> int:
        return self.tables.attempts.made

    @property
    def seconds(self) -> float:
        return self.tables.attempts.seconds


def is_shard(key: Key) -> bool:
    """Whether the key in TaskRollups is that of a job's partial sums."""
    return key[1].startswith("~job~") and not is_layout(key)


def is_layout(key: Key) -> bool:
    """Whether the key in TaskRollups is that of a job's layout."""
    return key[1] == "~job~"


def _key(row: Row) -> Key:
    partition_key, row_key = row["PartitionKey"], row["RowKey"]
    assert isinstance(partition_key, str)
    assert isinstance(row_key, str)
    return partition_key, row_key


def _as_read(row: Row) -> Row:
    """The row as a client reads it back: an Int64 is a number like any other."""
    return {name: int(value) if isinstance(value, columns.Int64) else value for name, value in row.items()}


# --- the service's limits --------------------------------------------------------------------------------------------

_ILLEGAL = re.compile(r"[/\\#?%\x00-\x1f\x7f-\x9f]")
_EARLIEST = datetime(1601, 1, 1, tzinfo=UTC)
_OPERATION_BYTES = 1_024
"""More than the MIME headers, the URL's host and the request line of one operation."""


def check_transaction(table: str, operations: Sequence[Operation]) -> None:
    """Fail where the service would refuse the transaction whatever is stored."""
    keys = [_key(operation.row) for operation in operations]
    assert 1 <= len(keys) <= limits.OPERATIONS_A_TRANSACTION, f"{len(keys)} operations"
    assert len(set(keys)) == len(keys), "two changes of one row"
    assert len({partition_key for partition_key, _ in keys}) == 1, "several partitions"
    assert all(operation.etag for operation in operations if isinstance(operation, Replace)), "no ETag"
    for operation in operations:
        check_row(table, operation.row)
    size = sum(wire_bytes(operation.row) for operation in operations)
    assert size <= limits.TRANSACTION_BYTES, f"a transaction of {size} bytes"


def check_row(table: str, row: Row) -> None:
    """Fail where the service would refuse the row, or where a column's type is not the contract's."""
    key = _key(row)
    for part in key:
        assert not _ILLEGAL.search(part), f"illegal characters in the key {part!r}"
        assert len(part.encode("utf-16-le")) <= 2 * limits.KEY_UNITS, f"the key {part!r} is too long"
    assert len(row) - 2 <= limits.OWN_PROPERTIES, f"{len(row)} properties"
    types = columns_of(table, key)
    for name, value in row.items():
        assert name in types, f"{name} is no column"
        assert edm_type(value) == types[name], f"{name} is {value!r}, not an {types[name]}"
        check_value(name, value)
    size = entity_bytes(row)
    assert size <= limits.ENTITY_BYTES, f"a row of {size} bytes"


def columns_of(table: str, key: Key) -> Mapping[str, Edm]:
    """The columns that a row of this key may have."""
    if table == columns.JOBS:
        return columns.JOB_COLUMNS
    if is_layout(key):
        return columns.LAYOUT_COLUMNS
    return columns.SHARD_COLUMNS if is_shard(key) else columns.TASK_COLUMNS


def edm_type(value: Value) -> Edm:
    """The type that the SDK sends a value as."""
    types = {
        columns.Int64: Edm.INT64,
        bool: Edm.BOOLEAN,
        int: Edm.INT32,
        float: Edm.DOUBLE,
        str: Edm.STRING,
        bytes: Edm.BINARY,
        datetime: Edm.DATETIME,
    }
    return types[type(value)]


def check_value(name: str, value: Value) -> None:
    """Fail where the service cannot hold the value."""
    match value:
        case bool():
            pass
        case columns.Int64():
            assert -(2**63) <= value < 2**63, f"{name} is {value}"
        case int():
            assert -(2**31) <= value < 2**31, f"{name} is {value}"
        case float():
            assert math.isfinite(value), f"{name} is {value}"
        case datetime():
            assert value.utcoffset() is not None, f"{name} has no time zone"
            assert value >= _EARLIEST, f"{name} is {value}"
        case str() | bytes():
            size = _property_bytes(value)
            assert size <= limits.PROPERTY_BYTES, f"{name} takes {size} bytes"


def _property_bytes(value: str | bytes) -> int:
    """Strict: a lone surrogate is an error here, as it is in the SDK."""
    return len(value) if isinstance(value, bytes) else len(value.encode("utf-16-le"))


def entity_bytes(row: Row) -> int:
    """What the row counts towards 1 MiB, by the service's published formula."""
    size = 4
    for name, value in row.items():
        size += 8 + 2 * len(name)
        size += 4 + _property_bytes(value) if isinstance(value, str | bytes) else 8
    return size


def wire_bytes(row: Row) -> int:
    """What the row takes in a transaction's body: JSON with every non-ASCII character escaped, and its envelope."""
    body: dict[str, object] = {}
    for name, value in row.items():
        body[f"{name}@odata.type"] = edm_type(value)
        match value:
            case bytes():
                body[name] = base64.b64encode(value).decode()
            case datetime():
                body[name] = value.isoformat()
            case columns.Int64():
                body[name] = str(value)
            case _:
                body[name] = value
    # Beside its body, a changed row has its keys in the URL, where each byte may be escaped as %XX.
    keys = 3 * sum(len(part.encode()) for part in _key(row))
    return len(json.dumps(body).encode()) + keys + _OPERATION_BYTES
