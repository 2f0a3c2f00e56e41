"""Table Storage over HTTP: `write.Tables` for the real service.

The rule: nothing of HTTP or of an SDK gets past this module. Answers become rows and ETags, errors become Conflict,
RowRefused or StorageUnavailable. A missing table is created when it is first missed.

The requests are ours, because Microsoft's SDK spends most of an instance's CPU on them (docs/performance.md); they go
through azure-core's pipeline, with its transport and its authentication. What is not hot is left to the SDK.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, NoReturn

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.pipeline import AsyncPipeline
from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy, AsyncHTTPPolicy, SansIOHTTPPolicy
from azure.data.tables import TableErrorCode
from azure.data.tables.aio import TableServiceClient

from processors.attempts import Attempts
from processors.azure_errors import storage_errors, unavailable
from processors.columns import StoredRow
from processors.errors import Conflict, RowRefused, StorageUnavailable
from processors.plan import Insert, Operation, Replace
from processors.table_http import (
    HEADERS,
    SCOPE,
    endpoint,
    key_or_signature,
    key_range,
    next_page,
    page_query,
    query_path,
)
from processors.table_transport import AiohttpTransport, Answer, Request
from processors.table_wire import (
    ROWS,
    Refused,
    read_row,
    read_rows,
    refusal,
    row_body,
    row_path,
    transaction_answer,
    transaction_body,
)

ROLE = "Storage Table Data Contributor"

_CONFLICTS = frozenset({404, 409, 412})
"""The row is gone, is there already, or has another ETag."""
_REFUSALS = frozenset({400, 413})
_MISSING_TABLE = frozenset({TableErrorCode.TABLE_NOT_FOUND, TableErrorCode.TABLE_BEING_DELETED})


@dataclass(frozen=True, slots=True)
class TableAccount:
    """One account's tables: the SDK's client, and a pipeline to the same endpoint with the same credential."""

    service: TableServiceClient
    endpoint: str
    """Without a trailing slash."""
    pipeline: AsyncPipeline[Request, Answer]


def table_account(service: TableServiceClient, credential: AsyncTokenCredential | None) -> TableAccount:
    """The account of `service`, whose own key or signature counts where `credential` is None."""
    policy: AsyncHTTPPolicy[Any, Any] | SansIOHTTPPolicy[Any, Any] | None = (
        AsyncBearerTokenCredentialPolicy(credential, SCOPE) if credential else key_or_signature(service)
    )
    return TableAccount(service, endpoint(service), AsyncPipeline(AiohttpTransport(), [policy] if policy else []))


class AzureTables:
    """The tables of one account, for one invocation, whose requests `attempts` repeats and counts."""

    def __init__(self, account: TableAccount, attempts: Attempts) -> None:
        self._account = account
        self._attempts = attempts

    async def get(self, table: str, partition_key: str, row_key: str) -> StoredRow | None:
        """One row, None where there is none. Raises StorageUnavailable."""
        what = f"reading {table} {partition_key} / {row_key}"

        async def request() -> StoredRow | None:
            with storage_errors(what, ROLE):
                answer = await self._send("GET", row_path(table, partition_key, row_key))
                if answer.status_code == 404:
                    return None
                _check(answer, what)
                return read_row(answer.content)

        return await self._attempts.of(request)

    async def query(
        self, table: str, partition_key: str, first: str, end: str, limit: int | None = None
    ) -> list[StoredRow]:
        """The partition's rows with first <= RowKey < end, at most `limit`. Raises StorageUnavailable."""
        what = f"reading {table} {partition_key}"
        path = query_path(table, key_range(partition_key, first, end), top=limit)

        async def request() -> list[StoredRow]:
            rows: list[StoredRow] = []
            page: Mapping[str, str] = {}
            while True:
                with storage_errors(what, ROLE):
                    answer = await self._send("GET", path + page_query(page))
                    if answer.status_code == 404:
                        return []  # the table comes with its first row
                    _check(answer, what)
                    rows += read_rows(answer.content)
                page = next_page(answer.headers)
                if not page or (limit is not None and len(rows) >= limit):
                    return rows

        return await self._attempts.of(request)

    async def commit(self, table: str, operations: Sequence[Operation]) -> list[str]:
        """All operations or none; the rows' new ETags. Raises Conflict, RowRefused, StorageUnavailable."""
        what = f"writing {len(operations)} rows of {table}"

        async def request() -> list[str]:
            with storage_errors(what, ROLE):
                match operations:
                    case [operation]:  # alone it goes plainly, at half the cost
                        answered = await self._write(table, operation)
                    case _:
                        answered = await self._transaction(table, operations)
            if isinstance(answered, Refused):
                return await self._raise_for(answered, what, table, operations)
            return answered

        return await self._attempts.of(request)

    async def _write(self, table: str, operation: Operation) -> list[str] | Refused:
        body = row_body(operation.row)
        match operation:
            case Insert():
                answer = await self._send("POST", table, body, {"Prefer": "return-no-content"})
            case Replace(row, etag):
                path = row_path(table, str(row["PartitionKey"]), str(row["RowKey"]))
                answer = await self._send("PUT", path, body, {"If-Match": etag})
        if answer.status_code >= 300:
            return refusal(answer.status_code, answer.content)
        return [answer.headers["ETag"]]

    async def _transaction(self, table: str, operations: Sequence[Operation]) -> list[str] | Refused:
        boundary = token_hex(16)
        body = transaction_body(self._account.endpoint, table, operations, boundary)
        answer = await self._send(
            "POST", "$batch", body, {"Content-Type": f"multipart/mixed; boundary=batch_{boundary}"}
        )
        if answer.status_code != 202:
            return refusal(answer.status_code, answer.content)
        return transaction_answer(answer.content, len(operations))

    async def _send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        all_headers = {**HEADERS, "Accept": ROWS, **(headers or {})}
        if body is not None:
            all_headers.setdefault("Content-Type", "application/json")
        answered = await self._account.pipeline.run(
            Request(method, f"{self._account.endpoint}/{path}", all_headers, body)
        )
        return answered.http_response

    async def _raise_for(self, refused: Refused, what: str, table: str, operations: Sequence[Operation]) -> NoReturn:
        """Raise what a refused commit means."""
        failed = operations[min(refused.operation or 0, len(operations) - 1)]
        if refused.code in _MISSING_TABLE or (refused.status == 404 and isinstance(failed, Insert)):
            with storage_errors(what, ROLE):
                await self._account.service.create_table_if_not_exists(table)
            raise StorageUnavailable(f"table {table} was missing; it is created")
        if refused.status in _CONFLICTS:
            raise Conflict(refused.operation or 0)
        if refused.status in _REFUSALS:
            raise RowRefused(refused.operation, f"Table Storage refuses the row: {refused.reason}")
        raise unavailable(what, ROLE, refused.status, refused.reason)


def _check(answer: Answer, what: str) -> None:
    """Raise StorageUnavailable for an answer that is no success."""
    if answer.status_code != 200:
        raise unavailable(what, ROLE, answer.status_code, refusal(answer.status_code, answer.content).reason)
