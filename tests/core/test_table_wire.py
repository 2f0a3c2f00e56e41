"""The wire format held to Microsoft's SDK: the same operations are asked for, the same answers mean the same.

Both speak to a canned server; what they ask is read by the standard library's MIME parser.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.data.tables import EdmType, EntityProperty, TableServiceClient, UpdateMode
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from processors.columns import Int64, Row
from processors.plan import Insert, Operation, Replace
from processors.table_wire import (
    Refused,
    read_row,
    read_rows,
    refusal,
    row_body,
    row_path,
    transaction_answer,
    transaction_body,
)
from tests.core import wire
from tests.core.canned import Answer, canned

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEYS = st.text("abz09_:=~|-' é", min_size=1, max_size=10)
VALUES = (
    TEXTS
    | st.booleans()
    | st.integers(-(2**31), 2**31 - 1)
    | st.builds(Int64, st.integers(-(2**63), 2**63 - 1))
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.binary(max_size=20)
    | st.datetimes(min_value=datetime(1601, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - as Hypothesis wants it
)
NAMES = st.text("abcdefgXYZ09", min_size=1, max_size=8).map(lambda name: f"p{name}")
ROWS = st.builds(
    lambda key, values: {"PartitionKey": "job|1", "RowKey": key, **values},
    KEYS,
    st.dictionaries(NAMES, VALUES, max_size=8),
)
ETAGS = st.integers(0, 10**9).map(lambda number: f"W/\"datetime'2026-11-22T20%3A29%3A{number}Z'\"")
OPERATIONS = st.lists(
    ROWS.map(Insert) | st.builds(Replace, ROWS, ETAGS),
    min_size=1,
    max_size=5,
    unique_by=lambda each: each.row["RowKey"],
)


def sdk_operations(operations: Sequence[Operation]) -> list[Any]:
    conditions = {"mode": UpdateMode.REPLACE, "match_condition": MatchConditions.IfNotModified}
    return [
        ("create", sdk_entity(each.row))
        if isinstance(each, Insert)
        else ("update", sdk_entity(each.row), {**conditions, "etag": each.etag})
        for each in operations
    ]


def sdk_entity(row: Row) -> dict[str, Any]:
    return {
        name: EntityProperty(int(value), EdmType.INT64) if isinstance(value, Int64) else value
        for name, value in row.items()
    }


@settings(max_examples=60, deadline=None)
@given(OPERATIONS)
def test_the_service_is_asked_for_what_the_sdk_asks_for(operations: list[Operation]) -> None:
    with canned(wire.transaction_answer(*["W/1"] * len(operations))) as server:
        with TableServiceClient.from_connection_string(server.connection, retry_total=0) as service:
            service.get_table_client("Tasks").submit_transaction(sdk_operations(operations))
        (asked,) = server.requests
        endpoint = f"http://127.0.0.1:{server.port}/a"
    ours = transaction_body(endpoint, "Tasks", operations, "0123")
    assert wire.sent_operations("multipart/mixed; boundary=batch_0123", ours) == wire.sent_operations(
        asked.headers["Content-Type"], asked.body
    )


def test_a_row_is_sent_without_the_boundary_mattering() -> None:
    body = transaction_body("http://x/a", "Tasks", [Insert({"PartitionKey": "p", "RowKey": "--batch_"})], "0123")
    (sent,) = wire.sent_operations("multipart/mixed; boundary=batch_0123", body)
    assert sent.row["RowKey"] == "--batch_"


@given(KEYS, KEYS)
def test_the_path_that_is_signed_is_the_one_that_is_sent(partition_key: str, row_key: str) -> None:
    """aiohttp spells an address anew before it sends it."""
    path = f"/a/{row_path('Tasks', partition_key, row_key)}"
    assert URL(f"http://host{path}").raw_path == path
    assert unquote(path) == "/a/Tasks(PartitionKey='{}',RowKey='{}')".format(
        *(key.replace("'", "''") for key in (partition_key, row_key))
    )


def test_a_value_without_a_type_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="Table Storage has no type for x: NoneType"):
        row_body({"x": None})  # type: ignore[dict-item]


# --- answers ---------------------------------------------------------------------------------------------------------

CREATED_WITH_ECHO = (
    "HTTP/1.1 201 Created\r\nContent-ID: 1\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-cache\r\n"
    "Location: https://a.table.core.windows.net/T(PartitionKey='p',RowKey='HTTP/1.1 404')\r\n"
    'ETag: W/"1"\r\nContent-Type: application/json\r\n\r\n'
    '{"RowKey":"\\r\\nETag: W/2\\r\\n"}\r\n'
)
ANSWERS = [
    wire.transaction_answer('W/"1"', "W/\"datetime'2026-11-22T20%3A29%3A00.0Z'\""),
    wire.parts(CREATED_WITH_ECHO, CREATED_WITH_ECHO),
    wire.transaction_refusal(409, "EntityAlreadyExists", "1:The specified entity already exists.\nRequestId:1\nTime:2"),
    wire.transaction_refusal(
        412, "UpdateConditionNotSatisfied", "0:The update condition was not satisfied.\nRequestId"
    ),
    wire.transaction_refusal(404, "ResourceNotFound", "1:The specified resource does not exist."),
    wire.transaction_refusal(404, "TableNotFound", "0:The table specified does not exist."),
    wire.transaction_refusal(400, "PropertyValueTooLarge", "1:The property value exceeds the maximum allowed size."),
    wire.transaction_refusal(500, "OperationTimedOut", "0:Operation could not be completed within the specified time."),
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_means_what_it_means_to_the_sdk(answer: Answer) -> None:
    operations: list[Operation] = [Insert({"PartitionKey": "p", "RowKey": key}) for key in "ab"]
    ours = transaction_answer(answer.body, 2)
    with canned(answer) as server, TableServiceClient.from_connection_string(server.connection, retry_total=0) as sdk:
        client = sdk.get_table_client("Tasks")
        if isinstance(ours, list):
            assert ours == [each["etag"] for each in client.submit_transaction(sdk_operations(operations))]
            return
        with pytest.raises(HttpResponseError) as raised:
            client.submit_transaction(sdk_operations(operations))
    assert (ours.status, ours.code) == (raised.value.status_code, getattr(raised.value, "error_code", ours.code))
    assert ours.reason == raised.value.message.partition("\n")[0]
    assert ours.operation == getattr(raised.value, "index", ours.operation)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (wire.transaction_answer("W/1").body, "2 operations were answered by 1 parts"),
        (wire.transaction_answer("W/1", "W/2").body.replace(b"ETag", b"Tag"), "has no ETag"),
        (wire.transaction_answer("W/1", "W/2").body.replace(b"HTTP/1.1", b"SPDY"), "has no status"),
        (b"", "not found"),
        (b"--x\r\nboundary=", "not found"),
    ],
)
def test_an_answer_that_is_none(body: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        transaction_answer(body, 2)


@pytest.mark.parametrize(
    ("body", "code", "reason", "operation"),
    [
        (b'{"odata.error":{"code":"C","message":{"value":"12:Text.\\nRequestId:1"}}}', "C", "12:Text.", 12),
        (b"<html>\nBad gateway", "", "<html>", None),
        (b'{"error":1}', "", '{"error":1}', None),
        (b"\xff", "", "�", None),
        (b"", "", "", None),
    ],
)
def test_whatever_refuses_is_told(body: bytes, code: str, reason: str, operation: int | None) -> None:
    assert refusal(502, body) == Refused(502, code, reason, operation)


@settings(max_examples=30, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=3))
def test_rows_are_read_as_the_sdk_reads_them(rows: list[Row]) -> None:
    told = [b'{"odata.etag":"W/1","Timestamp":"2026-11-22T20:29:00.0451110Z",' + row_body(row)[1:] for row in rows]
    body = b'{"odata.metadata":"m","value":[' + b",".join(told) + b"]}"
    answer = Answer(200, body, {"Content-Type": "application/json"})
    with canned(answer) as server, TableServiceClient.from_connection_string(server.connection, retry_total=0) as sdk:
        theirs = list(sdk.get_table_client("Tasks").query_entities("x eq 1"))
    ours = read_rows(body)
    assert [each.row for each in ours] == rows
    assert [each.etag for each in ours] == [entity.metadata["etag"] for entity in theirs]
    plain = [
        {name: value.value if isinstance(value, EntityProperty) else value for name, value in entity.items()}
        for entity in theirs
    ]
    assert plain == rows
    assert [read_row(each) for each in told] == ours


def test_a_time_with_seven_digits() -> None:
    body = b'{"odata.etag":"W/1","t":"2026-11-22T20:29:00.0451119Z","t@odata.type":"Edm.DateTime"}'
    assert read_row(body).row == {"t": datetime(2026, 11, 22, 20, 29, 0, 45111, UTC)}
