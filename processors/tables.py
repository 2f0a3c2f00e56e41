"""Table Storage, through Microsoft's SDK: `write.Tables` for the real service.

The rule: nothing of the SDK gets past this module. Answers become rows and ETags, errors become Conflict, RowRefused or
StorageUnavailable. A missing table is created when it is first missed.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.data.tables import EdmType, EntityProperty, TableEntity, TableErrorCode, UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient

from processors.attempts import Attempts
from processors.azure_errors import storage_errors
from processors.columns import JOBS, TASKS, Int64, Row, Value
from processors.errors import Conflict, RowRefused, StorageUnavailable
from processors.plan import Insert, Operation, Replace
from processors.write import StoredRow

ROLE = "Storage Table Data Contributor"

_CONFLICTS = frozenset({404, 409, 412})
"""The row is gone, is there already, or has another ETag."""
_REFUSALS = frozenset({400, 413})
_MISSING_TABLE = frozenset({TableErrorCode.TABLE_NOT_FOUND, TableErrorCode.TABLE_BEING_DELETED})
_INDEX = re.compile(r"(\d+):")


class AzureTables:
    """The tables of one account, for one invocation, whose requests `attempts` repeats and counts."""

    def __init__(self, service: TableServiceClient, attempts: Attempts) -> None:
        self._service = service
        self._clients = {table: service.get_table_client(table) for table in (TASKS, JOBS)}
        self._attempts = attempts

    async def get(self, table: str, partition_key: str, row_key: str) -> StoredRow | None:
        """One row, None where there is none. Raises StorageUnavailable."""

        async def request() -> StoredRow | None:
            with storage_errors(f"reading {table} {partition_key} / {row_key}", ROLE):
                try:
                    return _stored(await self._clients[table].get_entity(partition_key, row_key))
                except ResourceNotFoundError:
                    return None

        return await self._attempts.of(request)

    async def query(
        self, table: str, partition_key: str, first: str, end: str, limit: int | None = None
    ) -> list[StoredRow]:
        """The partition's rows with first <= RowKey < end, at most `limit`. Raises StorageUnavailable."""

        async def request() -> list[StoredRow]:
            with storage_errors(f"reading {table} {partition_key}", ROLE):
                found = self._clients[table].query_entities(
                    "PartitionKey eq @partition and RowKey ge @first and RowKey lt @end",
                    parameters={"partition": partition_key, "first": first, "end": end},
                    results_per_page=limit,
                )
                rows: list[StoredRow] = []
                try:
                    async for page in found.by_page():
                        rows += [_stored(entity) async for entity in page]
                        if limit is not None and len(rows) >= limit:
                            break
                except ResourceNotFoundError:
                    return []  # the table comes with its first row
                return rows

        return await self._attempts.of(request)

    async def commit(self, table: str, operations: Sequence[Operation]) -> list[str]:
        """All operations or none; the rows' new ETags. Raises Conflict, RowRefused, StorageUnavailable."""

        async def request() -> list[str]:
            with storage_errors(f"writing {len(operations)} rows of {table}", ROLE):
                try:
                    answers = await _send(self._clients[table], operations)
                    return [str(answer["etag"]) for answer in answers]
                except HttpResponseError as error:
                    await self._raise_for(error, table, operations)
                    raise

        return await self._attempts.of(request)

    async def _raise_for(self, error: HttpResponseError, table: str, operations: Sequence[Operation]) -> None:
        """Raise what a refused commit means; return where it is only that storage is unavailable."""
        named = _INDEX.match(error.message)
        index = int(named[1]) if named else None
        failed = operations[min(index or 0, len(operations) - 1)]
        code = getattr(error, "error_code", None)
        if code in _MISSING_TABLE or (error.status_code == 404 and isinstance(failed, Insert)):
            await self._service.create_table_if_not_exists(table)
            raise StorageUnavailable(f"table {table} was missing; it is created") from error
        if error.status_code in _CONFLICTS:
            raise Conflict(index or 0) from error
        if error.status_code in _REFUSALS:
            reason = error.message.partition("\n")[0]
            raise RowRefused(index, f"Table Storage refuses the row: {reason}") from error


async def _send(client: TableClient, operations: Sequence[Operation]) -> Sequence[Mapping[str, Any]]:
    """What the service answers to each operation. One alone goes plainly: a third of the cost."""
    match operations:
        case [Insert(row)]:
            return [await client.create_entity(_entity(row))]
        case [Replace(row, etag)]:
            return [await client.update_entity(_entity(row), **_if_unchanged(etag))]
    return await client.submit_transaction(
        [
            ("create", _entity(operation.row))
            if isinstance(operation, Insert)
            else ("update", _entity(operation.row), _if_unchanged(operation.etag))
            for operation in operations
        ]
    )


def _if_unchanged(etag: str) -> dict[str, Any]:
    return {"mode": UpdateMode.REPLACE, "etag": etag, "match_condition": MatchConditions.IfNotModified}


def _entity(row: Row) -> dict[str, Any]:
    return {
        name: EntityProperty(int(value), EdmType.INT64) if isinstance(value, Int64) else value
        for name, value in row.items()
    }


def _stored(entity: TableEntity) -> StoredRow:
    etag = entity.metadata["etag"]
    assert etag is not None  # the service gives every entity one
    return StoredRow({name: _value(value) for name, value in entity.items()}, etag)


def _value(value: Any) -> Value:
    """The SDK gives a 64-bit integer as a pair of value and type."""
    plain: Value = value.value if isinstance(value, EntityProperty) else value
    return plain
