"""Rows as they are stored, under their ETags: for what compares or deletes them.

The rule: a table that is not there has no rows. Every function may raise StorageUnavailable.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import EntityProperty, TableEntity, TableServiceClient

from processors.azure_errors import storage_errors
from processors.columns import Row

ROLE = "Storage Table Data Contributor"


class Stored(NamedTuple):
    """A row as it was read."""

    row: Row
    etag: str
    written: datetime | None
    """When, by the service's clock; None where only some columns were asked for."""


def stored_row(service: TableServiceClient, table: str, partition_key: str, row_key: str) -> Stored | None:
    """One row with all its columns, None where there is none."""
    with _reading(table):
        return _stored(service.get_table_client(table).get_entity(partition_key, row_key))
    return None


def stored_rows(
    service: TableServiceClient,
    table: str,
    partition_key: str,
    first: str,
    end: str,
    columns: Sequence[str] | None = None,
) -> Iterator[Stored]:
    """The partition's rows with first <= RowKey < end, in their order, with these columns; with None, all."""
    with _reading(table):
        found = service.get_table_client(table).query_entities(
            "PartitionKey eq @partition and RowKey ge @first and RowKey lt @end",
            parameters={"partition": partition_key, "first": first, "end": end},
            select=None if columns is None else list(columns),
        )
        for entity in found:
            yield _stored(entity)


@contextmanager
def _reading(table: str) -> Iterator[None]:
    with storage_errors(f"reading {table}", ROLE):
        try:
            yield
        except ResourceNotFoundError:
            return


def _stored(entity: TableEntity) -> Stored:
    etag, written = entity.metadata["etag"], entity.metadata["timestamp"]
    assert etag is not None  # the service gives every entity one
    row = {name: value.value if isinstance(value, EntityProperty) else value for name, value in entity.items()}
    return Stored(row, etag, written)
