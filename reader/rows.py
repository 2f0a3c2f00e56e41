"""Rows as they are stored, under their ETags: for what compares or deletes them.

The rule: a table that is not there has no rows. Every function may raise StorageUnavailable.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from azure.data.tables import TableServiceClient

from processors.columns import Row
from processors.table_http import key_range
from processors.table_wire import stored_row as read_row
from reader.table_requests import JsonRow, table_requests

ROLE = "Storage Table Data Contributor"


class Stored(NamedTuple):
    """A row as it was read."""

    row: Row
    etag: str
    written: datetime | None
    """When, by the service's clock; None where only some columns were asked for."""


def stored_row(service: TableServiceClient, table: str, partition_key: str, row_key: str) -> Stored | None:
    """One row with all its columns, None where there is none."""
    row = table_requests(service, annotated=True).row(table, partition_key, row_key)
    return None if row is None else _stored(row)


def stored_rows(
    service: TableServiceClient,
    table: str,
    partitions: Sequence[str],
    first: str,
    end: str,
    columns: Sequence[str] | None = None,
) -> Iterator[Stored]:
    """The partitions' rows with first <= RowKey < end, by row key, with these columns (keys too); with None, all."""
    where = [key_range(partition_key, first, end) for partition_key in partitions]
    return map(_stored, table_requests(service, annotated=True).merged(table, where, columns))


def _stored(row: JsonRow) -> Stored:
    stored = read_row(row)
    written = row.get("Timestamp")
    return Stored(stored.row, stored.etag, None if written is None else datetime.fromisoformat(written))
