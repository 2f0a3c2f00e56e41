"""Rows as they are stored, under their ETags: for what compares or deletes them.

The rule: a table that is not there has no rows. Every function may raise StorageUnavailable.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from azure.data.tables import TableServiceClient

from processors.columns import Row
from processors.table_http import text
from processors.table_wire import stored_row as read_row
from reader.table_requests import JsonRow, TableRequests

ROLE = "Storage Table Data Contributor"


class Stored(NamedTuple):
    """A row as it was read."""

    row: Row
    etag: str
    written: datetime | None
    """When, by the service's clock; None where only some columns were asked for."""


def stored_row(service: TableServiceClient, table: str, partition_key: str, row_key: str) -> Stored | None:
    """One row with all its columns, None where there is none."""
    row = _requests(service).row(table, partition_key, row_key)
    return None if row is None else _stored(row)


def stored_rows(
    service: TableServiceClient,
    table: str,
    partition_key: str,
    first: str,
    end: str,
    columns: Sequence[str] | None = None,
) -> Iterator[Stored]:
    """The partition's rows with first <= RowKey < end, in their order, with these columns; with None, all."""
    where = f"PartitionKey eq {text(partition_key)} and RowKey ge {text(first)} and RowKey lt {text(end)}"
    following: Mapping[str, str] | None = None
    while following is None or following:
        page = _requests(service).page(table, where, columns, continuation=following)
        yield from map(_stored, page.rows)
        following = page.following


@lru_cache(maxsize=4)  # for its connections
def _requests(service: TableServiceClient) -> TableRequests:
    return TableRequests(service, annotated=True)


def _stored(row: JsonRow) -> Stored:
    stored = read_row(row)
    written = row.get("Timestamp")
    return Stored(stored.row, stored.etag, None if written is None else datetime.fromisoformat(written))
