"""What `AzureTables` asks of the Table service, and what it makes of the answers, the bad ones above all.

The answers are canned, the HTTP is real; that the real service means the same by them, the contract suite and the
integration tests show on Azurite.
"""

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from hmac import digest
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core.credentials import AccessToken
from azure.data.tables.aio import TableServiceClient

from processors import limits
from processors.attempts import Attempts
from processors.columns import TASKS, Int64, Row, StoredRow
from processors.errors import Conflict, RowRefused, StorageUnavailable
from processors.plan import Insert, Operation, Replace
from processors.services import Services
from processors.settings import load_storage
from processors.tables import AzureTables, table_account
from tests.core.canned import KEY, Answer, canned
from tests.core.wire import transaction_answer, transaction_refusal

A: Row = {"PartitionKey": "p", "RowKey": "a", "count": Int64(1), "small": 1}
B: Row = {"PartitionKey": "p", "RowKey": "b"}
BOTH = (Insert(A), Replace(B, 'W/"b"'))
DONE = transaction_answer('W/"1"', 'W/"2"')


async def _no_sleep(_: float) -> None:
    """No pauses in tests."""


def with_tables[T](connection: str, work: Callable[[AzureTables], Awaitable[T]]) -> T:
    async def connected() -> T:
        services = Services(load_storage({"RollupStorage": connection}))
        try:
            return await work(AzureTables(services.clients.table_account, Attempts(_no_sleep)))
        finally:
            await services.close()

    return asyncio.run(connected())


def commit(connection: str, *operations: Operation) -> list[str]:
    return with_tables(connection, lambda tables: tables.commit(TASKS, operations or BOTH))


def query(connection: str, limit: int | None = None) -> list[StoredRow]:
    return with_tables(connection, lambda tables: tables.query(TASKS, "p", "a", "z", limit))


def error(status: int, code: str = "", reason: str = "no") -> Answer:
    body = {"odata.error": {"code": code, "message": {"lang": "en-US", "value": reason}}}
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


# --- what is asked ---------------------------------------------------------------------------------------------------


def test_a_transaction_is_one_signed_request() -> None:
    with canned(DONE) as server:
        assert commit(server.connection) == ['W/"1"', 'W/"2"']
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/a/$batch")
    signed = digest(b"key", f"{request.headers['x-ms-date']}\n/a/a/$batch".encode(), "sha256")
    assert request.headers["Authorization"] == f"SharedKeyLite a:{b64encode(signed).decode()}"
    assert KEY not in str(request)


def test_a_row_alone_goes_plainly_under_the_same_conditions() -> None:
    with canned(Answer(204, headers={"ETag": 'W/"1"'})) as server:
        assert commit(server.connection, Insert(A)) == commit(server.connection, Replace(B, 'W/"b"')) == ['W/"1"']
    insert, replace = server.requests
    assert (insert.method, insert.path, insert.headers.get("If-Match")) == ("POST", "/a/TaskRollups", None)
    assert (replace.method, replace.headers["If-Match"]) == ("PUT", 'W/"b"')
    assert replace.path == "/a/TaskRollups(PartitionKey='p',RowKey='b')"


@pytest.mark.parametrize("connection", ["{endpoint};SharedAccessSignature=sv=1&sig=x%3D", "{endpoint}?sv=1&sig=x%3D;"])
def test_a_shared_access_signature_is_sent_along(connection: str) -> None:
    with canned(DONE) as server:
        endpoint = f"TableEndpoint=http://127.0.0.1:{server.port}/a"
        blobs = f"BlobEndpoint=http://127.0.0.1:{server.port}/b;"
        if "Signature" in connection:
            commit(blobs + connection.format(endpoint=endpoint))
        else:
            service = TableServiceClient(f"http://127.0.0.1:{server.port}/a?sv=1&sig=x%3D")
            account = table_account(service, None)

            async def work() -> None:
                async with service, account.pipeline:
                    await AzureTables(account, Attempts(_no_sleep)).commit(TASKS, BOTH)

            asyncio.run(work())
    assert server.requests[0].path == "/a/$batch?sv=1&sig=x%3D"


class Identity:
    """A credential whose token is asked for once and then used until it expires."""

    def __init__(self) -> None:
        self.scopes: list[str] = []

    async def get_token(self, *scopes: str, **_: object) -> AccessToken:
        self.scopes += scopes
        return AccessToken("the-token", 2**40)

    async def close(self) -> None:
        """Nothing is open."""

    async def __aenter__(self) -> "Identity":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""


def test_an_identity_asks_for_one_token_for_storage() -> None:
    identity = Identity()

    async def work() -> None:
        service = TableServiceClient("https://a.table.core.windows.net", credential=identity)
        account = table_account(service, identity)
        assert account.endpoint == "https://a.table.core.windows.net"
        async with service, account.pipeline:
            with pytest.raises(StorageUnavailable):  # there is no such host here
                await AzureTables(account, Attempts(_no_sleep)).commit(TASKS, BOTH)

    asyncio.run(work())
    assert identity.scopes == ["https://storage.azure.com/.default"]


def test_a_query_follows_its_pages_to_the_end_or_its_limit() -> None:
    def page(key: str, more: bool) -> Answer:
        row = {"odata.etag": "W/1", "PartitionKey": "p", "RowKey": key}
        following = {"x-ms-continuation-NextPartitionKey": "1!p=", "x-ms-continuation-NextRowKey": "k/"} if more else {}
        return Answer(200, json.dumps({"value": [row]}).encode(), following)

    pages = [page("a", more=True), page("b", more=True), page("c", more=False)]
    with canned(*pages) as server:
        assert [row.row["RowKey"] for row in query(server.connection)] == ["a", "b", "c"]
    where = "PartitionKey eq 'p' and RowKey ge 'a' and RowKey lt 'z'"
    first, second, _ = [parse_qs(urlsplit(request.path).query) for request in server.requests]
    assert first == {"$filter": [where]}
    assert second == {"$filter": [where], "NextPartitionKey": ["1!p="], "NextRowKey": ["k/"]}
    with canned(*pages) as server:
        assert [row.row["RowKey"] for row in query(server.connection, limit=2)] == ["a", "b"]
    assert server.requests[0].path.endswith("&$top=2")


# --- what is made of the answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "index"),
    [
        (transaction_refusal(409, "EntityAlreadyExists", "0:The row.\nRequestId:1"), 0),
        (transaction_refusal(412, "UpdateConditionNotSatisfied", "1:x"), 1),
        (transaction_refusal(404, "ResourceNotFound", "1:x"), 1),
        (transaction_refusal(412, "UpdateConditionNotSatisfied", "The row."), 0),
    ],
)
def test_a_row_that_another_changed_is_a_conflict_at_its_operation(answer: Answer, index: int) -> None:
    with canned(answer) as server, pytest.raises(Conflict) as raised:
        commit(server.connection)
    assert raised.value.index == index


@pytest.mark.parametrize(
    ("operation", "answer"),
    [(Insert(A), error(409, "EntityAlreadyExists")), (Replace(B, "W/1"), error(412, "UpdateConditionNotSatisfied"))],
)
def test_a_row_alone_that_another_changed(operation: Operation, answer: Answer) -> None:
    with canned(answer) as server, pytest.raises(Conflict):
        commit(server.connection, operation)


def test_a_missing_table_is_created_when_it_is_missed() -> None:
    with canned(transaction_refusal(404, "TableNotFound", "0:The table."), Answer(204), DONE) as server:
        assert commit(server.connection) == ['W/"1"', 'W/"2"']
    assert [request.path for request in server.requests] == ["/a/$batch", "/a/Tables", "/a/$batch"]


@pytest.mark.parametrize(("message", "index"), [("1:The value.", 1), ("The request.", None)])
@pytest.mark.parametrize("status", [400, 413])
def test_what_storage_takes_for_invalid_is_a_refused_row(status: int, message: str, index: int | None) -> None:
    with (
        canned(transaction_refusal(status, "InvalidInput", message)) as server,
        pytest.raises(RowRefused, match=r"^Table Storage refuses the row: .*The ") as raised,
    ):
        commit(server.connection)
    assert raised.value.index == index
    assert len(server.requests) == 1


PASSING = [*(error(status, reason="busy") for status in (408, 429, 500, 503)), Answer(202, b"no multipart"), None]


@pytest.mark.parametrize("answer", PASSING)
def test_what_passes_is_tried_again_and_then_storage_unavailable(answer: Answer | None) -> None:
    with canned(answer) as server, pytest.raises(StorageUnavailable):
        commit(server.connection)
    assert len(server.requests) >= limits.ATTEMPTS


@pytest.mark.parametrize("answer", [error(503, reason="busy"), Answer(200, b"no JSON"), Answer(200, b"{}"), None])
def test_so_it_is_with_reading(answer: Answer | None) -> None:
    with canned(answer) as server, pytest.raises(StorageUnavailable):
        query(server.connection)
    with canned(answer) as server, pytest.raises(StorageUnavailable):
        with_tables(server.connection, lambda tables: tables.get(TASKS, "p", "a"))


def test_a_row_or_table_that_is_not_there() -> None:
    with canned(error(404, "ResourceNotFound")) as server:
        assert query(server.connection) == []
        assert with_tables(server.connection, lambda tables: tables.get(TASKS, "p", "a")) is None


@pytest.mark.parametrize("status", [401, 403])
def test_what_an_operator_has_to_mend_is_said_and_not_tried_again(status: int) -> None:
    with canned(error(status)) as server, pytest.raises(StorageUnavailable, match='"Storage Table Data Contributor"'):
        commit(server.connection)
    assert len(server.requests) == 1
