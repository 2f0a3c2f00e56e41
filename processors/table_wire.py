"""The Table service's wire format: rows ⇄ JSON, entity group transactions ⇄ multipart bodies. Pure.

The rule: what is written is what Microsoft's SDK would have written for the same operations, as far as the service can
tell, at a tenth of its cost; tests hold the two to each other. Sources: "Payload format for Table service operations"
(JSON, and how a property's type is told) and "Performing entity group transactions" (the multipart body).
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote

from pydantic_core import from_json, to_json

from processors.columns import Int64, Row, StoredRow, Value
from processors.plan import Insert, Operation, Replace

VERSION = "2019-02-02"
"""x-ms-version: the newest that the Table service has."""
ROWS = "application/json;odata=minimalmetadata"
"""What answers are accepted as: with each row's ETag, and the type of every property that JSON cannot tell."""
ROWS_ALONE = "application/json;odata=nometadata"
"""Without them."""

_SUFFIX = "@odata.type"
"""Of the property that names another one's type."""

_NO_ECHO = b"Prefer: return-no-content\r\n"
"""Else the service sends every inserted row back."""


class Refused(NamedTuple):
    """What the service answered instead of doing what it was asked to."""

    status: int
    code: str
    """The service's error code, as "Table service error codes" lists them; "" where there is none."""
    reason: str
    operation: int | None = None
    """The failing operation's position in its transaction, where the service says."""


# --- requests --------------------------------------------------------------------------------------------------------


def row_body(row: Row) -> bytes:
    """The row as JSON, with the types that JSON cannot tell."""
    shape = _shape(*row, *map(type, row.values()))
    properties: dict[str, Any] = {**row, **shape.annotations}
    for name, spell in shape.spelled:
        properties[name] = spell(properties[name])
    body = to_json(properties)
    # Azurite cuts a row at some characters beyond ASCII; written as escapes it takes them. Most rows have none.
    return body if body.isascii() else to_json(properties, ensure_ascii=True)


class _Shape(NamedTuple):
    """What rows of the same columns with the same types have in common."""

    annotations: Mapping[str, str]
    """The properties that tell other ones' types."""
    spelled: Sequence[tuple[str, Callable[[Any], str]]]
    """The columns that JSON has no type for, and what they are written as."""


@lru_cache(maxsize=1_024)  # an app's rows have a few dozen
def _shape(*columns: Any) -> _Shape:
    """`columns` are the names, then the types. Raises TypeError for a type that Table Storage does not have."""
    names, kinds = columns[: len(columns) // 2], columns[len(columns) // 2 :]
    if unknown := [f"{name}: {kind.__name__}" for name, kind in zip(names, kinds, strict=True) if kind not in _TYPES]:
        raise TypeError(f"Table Storage has no type for {', '.join(unknown)}")
    return _Shape(
        {name + _SUFFIX: edm for name, kind in zip(names, kinds, strict=True) if (edm := _TYPES[kind])},
        [(name, _SPELLED[kind]) for name, kind in zip(names, kinds, strict=True) if kind in _SPELLED],
    )


_TYPES: Mapping[type, str | None] = {
    str: None,
    bool: None,
    int: None,
    float: "Edm.Double",
    Int64: "Edm.Int64",
    datetime: "Edm.DateTime",
    bytes: "Edm.Binary",
}
"""What to say of a value's type; None where JSON tells it."""

_SPELLED: Mapping[type, Callable[[Any], str]] = {
    Int64: int.__repr__,
    bytes: lambda value: b64encode(value).decode(),
}


def row_path(table: str, partition_key: str, row_key: str) -> str:
    """The path of one row below the account's endpoint."""
    return f"{table}(PartitionKey='{_quoted(partition_key)}',RowKey='{_quoted(row_key)}')"


def _quoted(key: str) -> str:
    # A key's characters, spelled as aiohttp sends them: the path that is signed has to be the one that is sent.
    return quote(key.replace("'", "''"), safe="'=:")


def transaction_body(endpoint: str, table: str, operations: Sequence[Operation], boundary: str) -> bytes:
    """The operations as the body of one `$batch` request, whose Content-Type names the boundary `batch_{boundary}`.

    `endpoint` is the account's, without a trailing slash. No row may hold the boundary: use a random one. (The prefixes
    are the SDKs', and Azurite takes no others.)
    """
    part = (
        f"--changeset_{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    ).encode()
    insert = f"POST {endpoint}/{table} HTTP/1.1\r\nContent-Type: application/json\r\n".encode() + _NO_ECHO
    pieces = [f"--batch_{boundary}\r\nContent-Type: multipart/mixed; boundary=changeset_{boundary}\r\n\r\n".encode()]
    for operation in operations:
        body = row_body(operation.row)
        match operation:
            case Insert():
                head = insert
            case Replace(row, etag):
                path = row_path(table, str(row["PartitionKey"]), str(row["RowKey"]))
                head = (
                    f"PUT {endpoint}/{path} HTTP/1.1\r\nContent-Type: application/json\r\nIf-Match: {etag}\r\n"
                ).encode()
        pieces += (part, head, b"Content-Length: %d\r\n\r\n" % len(body), body, b"\r\n")
    pieces.append(f"--changeset_{boundary}--\r\n--batch_{boundary}--\r\n".encode())
    return b"".join(pieces)


# --- answers ---------------------------------------------------------------------------------------------------------

_STATUS = re.compile(rb"\r\n\r\nHTTP/1\.\d (\d{3})")
_ETAG = re.compile(rb"\r\nETag: *([^\r\n]+)\r\n", re.IGNORECASE)
_INDEX = re.compile(r"(\d+):")


def transaction_answer(body: bytes, operations: int) -> list[str] | Refused:
    """The rows' new ETags, or what the service has against one of the operations. Raises ValueError.

    A transaction that is carried out is answered by a part for each operation, in their order; one that is not, by a
    single part for the operation that failed.
    """
    statuses, found_etags = _STATUS.findall(body), _ETAG.findall(body)
    if len(statuses) == len(found_etags) == operations and max(statuses) < b"400":  # as nearly always
        return [etag.decode() for etag in found_etags]
    delimiter = body[: body.index(b"\r\n")]
    _, found, changes = body.partition(b"boundary=")
    inner = b"--" + changes[: changes.index(b"\r\n")].strip(b'"') if found else delimiter
    parts = body.split(inner)[1:-1]
    etags = []
    for part in parts:
        status = _STATUS.search(part)
        if status is None:
            raise ValueError("a part of the transaction's answer has no status")
        if int(status[1]) >= 400:
            _, _, answer = part[status.end() :].partition(b"\r\n\r\n")
            return refusal(int(status[1]), answer.strip())
        etag = _ETAG.search(part, status.end())
        if etag is None:
            raise ValueError("a part of the transaction's answer has no ETag")
        etags.append(etag[1].decode())
    if len(etags) != operations:
        raise ValueError(f"{operations} operations were answered by {len(etags)} parts")
    return etags


def refusal(status: int, body: bytes) -> Refused:
    """What an answer with an error status says. Any body will do: proxies answer too."""
    try:
        error = json.loads(body)["odata.error"]
        code, reason = str(error["code"]), str(error["message"]["value"]).partition("\n")[0]
    except (ValueError, LookupError, TypeError):
        code, reason = "", body[:200].decode(errors="replace").partition("\n")[0]
    index = _INDEX.match(reason)
    return Refused(status, code, reason, int(index[1]) if index else None)


def read_row(body: bytes) -> StoredRow:
    """The row in an answer. Raises ValueError, KeyError, TypeError for one that is none."""
    return stored_row(from_json(body))


def read_rows(body: bytes) -> list[StoredRow]:
    """The rows in a query's answer. Raises ValueError, KeyError, TypeError for one that is none."""
    return [stored_row(entity) for entity in from_json(body)["value"]]


_READERS: Mapping[str, Callable[[Any], Value]] = {
    "Edm.Int64": int,
    "Edm.DateTime": datetime.fromisoformat,
    "Edm.Binary": b64decode,
    "Edm.Double": float,
}


def stored_row(entity: Mapping[str, Any]) -> StoredRow:
    """The row that a JSON object tells, without its Timestamp. Raises ValueError, KeyError, TypeError."""
    row: dict[str, Value] = {}
    for name, value in entity.items():
        if name.endswith(_SUFFIX) or name.startswith("odata.") or name == "Timestamp":
            continue
        reader = _READERS.get(entity.get(name + _SUFFIX, ""))
        row[name] = value if reader is None else reader(value)
    return StoredRow(row, entity["odata.etag"])
