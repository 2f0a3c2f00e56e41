"""Rows of the tables over HTTP, as JSON has them: what `queries` and `rows` are made of.

The rule: rows are taken as they come; through Microsoft's SDK, a list of 10,000 jobs takes three times as long. They
are asked for without OData's type annotations, which are most of a row's bytes, where the columns' types are known, and
with them where each row's ETag is needed.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import lru_cache, partial
from heapq import merge
from operator import itemgetter
from threading import Event
from typing import Any, NamedTuple, cast

from azure.core.credentials import TokenCredential
from azure.core.pipeline import Pipeline
from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RetryPolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest, HttpResponse
from azure.data.tables import TableErrorCode, TableServiceClient
from pydantic_core import from_json

from processors import limits
from processors.azure_errors import storage_errors, unavailable
from processors.errors import BadRequest
from processors.table_http import HEADERS, SCOPE, endpoint, key_or_signature, next_page, page_query, query_path
from processors.table_wire import ROWS, ROWS_ALONE, refusal, row_path

ROLE = "Storage Table Data Reader"

type JsonRow = Mapping[str, Any]

_MISSING = frozenset({TableErrorCode.TABLE_NOT_FOUND, TableErrorCode.RESOURCE_NOT_FOUND, ""})


class RowPage(NamedTuple):
    """Some rows of a query's answer, and what the next page is asked for with: empty after the last."""

    rows: Sequence[JsonRow]
    following: Mapping[str, str]


@lru_cache(maxsize=8)
def table_requests(service: TableServiceClient, *, annotated: bool = False) -> "TableRequests":
    """The requests of an SDK's client, made once: they keep their connections."""
    return TableRequests(service, annotated=annotated)


class TableRequests:
    """Requests to the tables of one account, with the credential of the SDK's client. May be shared by threads."""

    def __init__(self, service: TableServiceClient, *, annotated: bool = False) -> None:
        identity = cast(TokenCredential, service.credential)
        policy: Any = key_or_signature(service) or BearerTokenCredentialPolicy(identity, SCOPE)
        transport = RequestsTransport(connection_timeout=limits.REQUEST_SECONDS, read_timeout=limits.REQUEST_SECONDS)
        retries = RetryPolicy(retry_total=2, retry_backoff_factor=0.2)
        self._endpoint = endpoint(service)
        self._headers = {**HEADERS, "Accept": ROWS if annotated else ROWS_ALONE}
        self._pipeline: Pipeline[HttpRequest, HttpResponse] = Pipeline(transport, [retries, policy])

    def row(self, table: str, partition_key: str, row_key: str) -> JsonRow | None:
        """One row, None where there is none. Raises StorageUnavailable."""
        body = self._get(table, row_path(table, partition_key, row_key))
        return None if body is None else from_json(body.content)

    def page(
        self,
        table: str,
        filter_: str,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        continuation: Mapping[str, str] | None = None,
    ) -> RowPage:
        """A page of the rows that a filter leaves, from a continuation on; none where there is no table.

        Raises StorageUnavailable, and BadRequest for a continuation that the service does not know.
        """
        select = None if columns is None else ",".join(columns)
        path = query_path(table, filter_, select, limit) + page_query(continuation or {})
        answer = self._get(table, path, continued=bool(continuation))
        if answer is None:
            return RowPage((), {})
        return RowPage(from_json(answer.content)["value"], next_page(answer.headers))

    def rows(self, table: str, filter_: str, columns: Sequence[str] | None = None) -> Iterator[JsonRow]:
        """All rows that a filter leaves; the next page is on its way while one is used. Raises StorageUnavailable."""
        return self.merged(table, [filter_], columns)

    def merged(
        self, table: str, filters: Sequence[str], columns: Sequence[str] | None = None, size: int | None = None
    ) -> Generator[JsonRow]:
        """All rows that the filters leave, each of them in one partition, by row key, which has to be a column.

        In memory are two pages of each partition. With `size`, a page has so many rows, and the next is asked for when
        it is needed: for who takes only some. Raises StorageUnavailable.
        """
        if not filters:
            return
        ended = Event()

        def ask(filter_: str, following: Mapping[str, str] | None = None) -> RowPage:
            """The next page that has rows, or the last. Buckets in which little is found are searched side by side."""
            page = self.page(table, filter_, columns, size, following)
            while page.following and not page.rows and not ended.is_set():
                page = self.page(table, filter_, columns, size, page.following)
            return page

        ahead = ThreadPoolExecutor(max_workers=min(len(filters), limits.CONCURRENT_BUCKETS))
        asks = [partial(ask, filter_) for filter_ in filters]
        try:
            if len(asks) == 1:
                yield from _pages(asks[0], asks[0], size, ahead)
            else:
                first = [ahead.submit(ask).result for ask in asks]
                streams = [_pages(begin, ask, size, ahead) for begin, ask in zip(first, asks, strict=True)]
                yield from merge(*streams, key=itemgetter("RowKey"))
        finally:
            ended.set()
            ahead.shutdown(cancel_futures=True)

    def _get(self, table: str, path: str, *, continued: bool = False) -> HttpResponse | None:
        what = f"reading {table}"
        with storage_errors(what, ROLE):
            request = HttpRequest("GET", f"{self._endpoint}/{path}", headers=self._headers)
            answer = self._pipeline.run(request, stream=False).http_response
        if answer.status_code == 200:
            return answer
        refused = refusal(answer.status_code, answer.content)
        if refused.status == 404 and refused.code in _MISSING:
            return None
        if refused.status == 400 and continued:
            raise BadRequest("the continuation is none of this list; ask for the first page again")
        raise unavailable(what, ROLE, refused.status, refused.reason)


def _pages(
    first: Callable[[], RowPage], ask: Callable[..., RowPage], size: int | None, ahead: Executor
) -> Iterator[JsonRow]:
    """The rows of a query, page after page, of which the next is asked for while one is used.

    With a `size`, only where the server gave less: it goes through many rows that the filter does not leave.
    """
    page = first()
    while following := page.following:
        after: Callable[[], RowPage] = partial(ask, following)
        if size is None or len(page.rows) < size:
            after = ahead.submit(after).result
        yield from page.rows
        page = after()
    yield from page.rows
