"""What `AzureTables` asks of Microsoft's SDK, and what it makes of the answers; the SDK's client is a stand-in."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.data.tables import EdmType, EntityProperty, UpdateMode
from azure.data.tables.aio import TableServiceClient

from processors import limits
from processors.attempts import Attempts
from processors.columns import TASKS, Int64, Row
from processors.errors import Conflict, RowRefused, StorageUnavailable
from processors.plan import Insert, Operation, Replace
from processors.tables import AzureTables

A: Row = {"PartitionKey": "p", "RowKey": "a", "count": Int64(1), "small": 1}
B: Row = {"PartitionKey": "p", "RowKey": "b"}
A_SENT = {**A, "count": EntityProperty(1, EdmType.INT64)}
IF_UNCHANGED = {"mode": UpdateMode.REPLACE, "etag": "etag-b", "match_condition": MatchConditions.IfNotModified}


class Client:
    """A client whose every request is answered the same way; service and table in one."""

    def __init__(self, answer: Exception | None = None) -> None:
        self.answer = answer
        self.sent: list[Any] = []
        self.created: list[str] = []

    def get_table_client(self, _: str) -> "Client":
        return self

    async def create_table_if_not_exists(self, table: str) -> None:
        self.created.append(table)

    async def submit_transaction(self, operations: Sequence[Any]) -> list[dict[str, str]]:
        return [self._answer(tuple(operation), number) for number, operation in enumerate(operations)]

    async def create_entity(self, entity: Any) -> dict[str, str]:
        return self._answer(("create", entity))

    async def update_entity(self, entity: Any, **options: Any) -> dict[str, str]:
        return self._answer(("update", entity, options))

    def _answer(self, operation: tuple[Any, ...], number: int = 0) -> dict[str, str]:
        self.sent.append(operation)
        if self.answer is not None:
            raise self.answer
        return {"etag": f"etag-{number}"}


def refusal(status: int, message: str) -> HttpResponseError:
    response = SimpleNamespace(status_code=status, reason=message, headers={}, request=None)
    return HttpResponseError(message=message, response=cast(Any, response))


async def _no_sleep(_: float) -> None:
    """No pauses in tests."""


def commit(client: Client, *operations: Operation) -> list[str]:
    tables = AzureTables(cast(TableServiceClient, client), Attempts(_no_sleep))
    return asyncio.run(tables.commit(TASKS, operations or (Insert(A), Replace(B, "etag-b"))))


def test_a_new_row_is_created_never_upserted_and_a_changed_one_replaced_under_its_etag() -> None:
    client = Client()
    assert commit(client) == ["etag-0", "etag-1"]
    assert client.sent == [("create", A_SENT), ("update", B, IF_UNCHANGED)]


def test_a_row_alone_is_sent_under_the_same_conditions() -> None:
    client = Client()
    assert commit(client, Insert(A)) == commit(client, Replace(B, "etag-b")) == ["etag-0"]
    assert client.sent == [("create", A_SENT), ("update", B, IF_UNCHANGED)]


@pytest.mark.parametrize(
    ("status", "message", "index"),
    [(409, "0:The row.\nRequestId:1", 0), (412, "1:x", 1), (404, "1:x", 1), (412, "The row.", 0)],
)
def test_a_row_that_another_changed_is_a_conflict_at_its_operation(status: int, message: str, index: int) -> None:
    with pytest.raises(Conflict) as raised:
        commit(Client(refusal(status, message)))
    assert raised.value.index == index


def test_a_missing_table_is_created_when_it_is_missed() -> None:
    client = Client(refusal(404, "0:The table."))
    with pytest.raises(StorageUnavailable):
        commit(client)
    assert set(client.created) == {TASKS}


@pytest.mark.parametrize(("message", "index"), [("3:The value.", 3), ("The request.", None)])
@pytest.mark.parametrize("status", [400, 413])
def test_what_storage_takes_for_invalid_is_a_refused_row(status: int, message: str, index: int | None) -> None:
    client = Client(refusal(status, message))
    with pytest.raises(RowRefused) as raised:
        commit(client)
    assert raised.value.index == index
    assert len(client.sent) == 1


@pytest.mark.parametrize(
    "answer",
    [
        *(refusal(status, "busy") for status in (408, 429, 500, 503)),
        ServiceRequestError("no route"),
        TimeoutError(),
        OSError("reset"),
    ],
)
def test_what_passes_is_tried_again_and_then_storage_unavailable(answer: Exception) -> None:
    client = Client(answer)
    with pytest.raises(StorageUnavailable):
        commit(client)
    assert len(client.sent) == limits.ATTEMPTS


@pytest.mark.parametrize("status", [401, 403])
def test_what_an_operator_has_to_mend_is_said_and_not_tried_again(status: int) -> None:
    client = Client(refusal(status, "no"))
    with pytest.raises(StorageUnavailable, match='role "Storage Table Data Contributor"'):
        commit(client)
    assert len(client.sent) == 1
