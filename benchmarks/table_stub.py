"""A Table service in memory that is not the bottleneck, as a process of its own: `python -m benchmarks.table_stub`.

It does what `processors.tables` and the SDK's create-table ask for, answered in the service's own shapes: entity group
transactions, single rows, queries by keys. A table is created by its first row. Nothing is authenticated, limits are
not enforced, and a transaction is taken to be of one partition; a test holds what it does do to Azurite.

On stdout comes one line of JSON when it listens on 127.0.0.1, `{"port": …}`; SIGTERM ends it. `GET /usage` tells its
own CPU, so that a benchmark can show that it had time left.
"""

import argparse
import asyncio
import json
import re
import signal
import time
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPConnection
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, quote, unquote

from benchmarks.stub_rows import ETAG_DIGITS, Failed, Partition, Write
from devstack.child import Child

ACCOUNT = "stub"
KEY = "a2V5"
"""Any will do."""
PAGE_ROWS = 1000
"""Table service: at most so many rows in an answer."""


class Usage(NamedTuple):
    """What the stub's process has used and done since its start."""

    cpu_seconds: float
    rows_written: int
    requests: int


class TableStub:
    """The stub as a child process. A context manager: entered, it listens. Raises StackError."""

    def __init__(self) -> None:
        self._child = Child("table stub", "benchmarks.table_stub", [])
        self._port = 0

    def __enter__(self) -> Self:
        self._port = self._child.start()["port"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.stop()

    @property
    def pid(self) -> int | None:
        return self._child.pid

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"TableEndpoint=http://127.0.0.1:{self._port}/{ACCOUNT};BlobEndpoint=http://127.0.0.1:{self._port}/blob;"
        )

    def usage(self) -> Usage:
        connection = HTTPConnection("127.0.0.1", self._port)
        connection.request("GET", "/usage")
        usage = Usage(*json.loads(connection.getresponse().read()))
        connection.close()
        return usage


# --- the service -----------------------------------------------------------------------------------------------------

_OPERATION = re.compile(
    rb"\r\n\r\n([A-Z]+) ([^ ]++) HTTP/1\.1((?:\r\n[^\r]++)++)\r\n\r\n"
    rb'\{?((?:"PartitionKey": ?"[^"\\]*+", ?"RowKey": ?"([^"\\]*+)")?[^\r]*+)'
)
"""Method, address, headers and row of an operation, and the row's key where it stands where our writer puts it.

Rows have no line ends: an empty line always ends headers.
"""
_ROW_KEY = re.compile(rb'"RowKey": ?"([^"\\]*+(?:\\.[^"\\]*+)*)"')
_PARTITION_KEY = re.compile(rb'"PartitionKey": ?"([^"\\]*+(?:\\.[^"\\]*+)*)"')
_PATH_KEYS = re.compile(rb"\(PartitionKey='((?:[^']|'')*)',RowKey='((?:[^']|'')*)'\)", re.IGNORECASE)
_QUOTE = re.compile(rb"%27", re.IGNORECASE)
_IF_MATCH = re.compile(rb"\r\nIf-Match: *(?:W/\"datetime'(\d+)'\"|(\*))", re.IGNORECASE)
_COMPARISON = re.compile(r"\(*(PartitionKey|RowKey) (eq|ge|gt|le|lt) '((?:[^']|'')*)'\)*")
_NO_METADATA = re.compile(rb"\r\nAccept: *[^\r]*nometadata", re.IGNORECASE)

_DONE = (
    b"--changesetresponse_0\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    b"HTTP/1.1 204 No Content\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-cache\r\n"
    b"DataServiceVersion: 3.0;\r\n%bETag: W/\"datetime'%b'\"\r\n\r\n\r\n"
)
_BATCH_HEAD = b"--batchresponse_0\r\nContent-Type: multipart/mixed; boundary=changesetresponse_0\r\n\r\n"
"""A fixed boundary will do: no answer to a transaction holds text of a client's but keys."""
_BATCH_END = b"--changesetresponse_0--\r\n--batchresponse_0--\r\n"
_BATCH_TYPE = b"multipart/mixed; boundary=batchresponse_0"
_JSON = b"application/json;odata=minimalmetadata"


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    body: bytes = b""
    content_type: bytes = _JSON
    headers: bytes = b""
    """More of them, each with its line end."""

    def content(self) -> bytes:
        length = b"" if self.status == HTTPStatus.NO_CONTENT else b"Content-Length: %d\r\n" % len(self.body)
        return b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\n%b%b\r\n%b" % (
            self.status,
            HTTPStatus(self.status).phrase.encode(),
            self.content_type,
            length,
            self.headers,
            self.body,
        )


class TableService:
    """The account: bytes of a request → an answer."""

    def __init__(self) -> None:
        self._requests = 0
        self._tables: dict[bytes, dict[bytes, Partition]] = {}
        self._transactions = 0
        self._rows_written = 0

    def answer(self, head: bytes, body: bytes) -> Answer:
        """Answer one request. `head` ends with the line end of its last header."""
        self._requests += 1
        method, target, _ = head[: head.index(b"\r\n")].split(b" ")
        path, _, query = target.partition(b"?")
        if path == b"/usage":
            usage = Usage(time.process_time(), self._rows_written, self._requests)
            return Answer(200, json.dumps(usage).encode())
        path = path.removeprefix(b"/" + ACCOUNT.encode() + b"/")
        table, _, rest = path.partition(b"(")
        keys = None if rest in (b"", b")") else _path_keys(path)
        match method:
            case b"POST" if path == b"$batch":
                return self._transaction(body)
            case b"POST" if path == b"Tables":
                return self._create_table(body)
            case b"POST" if keys is None:
                return self._write(table, _key(_PARTITION_KEY, body), (_key(_ROW_KEY, body), None, body[1:]))
            case b"PUT" if keys is not None and (etag := _etag(head)):
                return self._write(table, keys[0], (keys[1], etag, body[1:]))
            case b"DELETE" if keys is not None and (etag := _etag(head)):
                partition = self._partition(table, keys[0])
                failed = partition.delete(keys[1], etag) if partition else Failed(0, 404, "ResourceNotFound")
                return _refused(failed) if failed else Answer(204)
            case b"GET" if keys is not None:
                return self._get(table, *keys)
            case b"GET":
                return self._query(table, query.decode(), plain=bool(_NO_METADATA.search(head)))
        return _error(501, "NotImplemented", f"the stub does not know {method.decode()} {path.decode()}")

    def _transaction(self, body: bytes) -> Answer:
        operations = _OPERATION.findall(body)
        method, url, _, row, _ = operations[0]
        account, _, table = url.partition(b"(")[0].rpartition(b"/")
        partition_key = _key(_PARTITION_KEY, row) if method == b"POST" else _path_keys(url)[0]
        writes: list[Write] = []
        for method, url, headers, row, key in operations:
            if method == b"POST":
                writes.append((key or _key(_ROW_KEY, row), None, row))
            elif method == b"PUT" and (etag := _etag(headers)):
                writes.append((_path_keys(url)[1], etag, row))
            else:
                return _error(501, "NotImplemented", f"the stub does not know {method.decode()} {url.decode()}")
        done = self._commit(table, partition_key, writes)
        if isinstance(done, Failed):
            return Answer(202, _BATCH_HEAD + _refused_part(done) + _BATCH_END, _BATCH_TYPE)
        where = b"%b/%b(PartitionKey='%b',RowKey='" % (account, table, quote(partition_key).encode())
        where = where.replace(b"%", b"%%") + b"%b')\r\n"
        created = _DONE % (b"Location: %bDataServiceId: %b" % (where, where), b"%b")
        parts = [
            created % (key, key, etag) if expected is None else _DONE % (b"", etag)
            for (key, expected, _), etag in zip(writes, done, strict=True)
        ]
        return Answer(202, b"".join((_BATCH_HEAD, *parts, _BATCH_END)), _BATCH_TYPE)

    def _write(self, table: bytes, partition_key: bytes, write: Write) -> Answer:
        done = self._commit(table, partition_key, [write])
        return (
            _refused(done)
            if isinstance(done, Failed)
            else Answer(204, headers=b"ETag: W/\"datetime'%b'\"\r\n" % done[0])
        )

    def _commit(self, table: bytes, partition_key: bytes, writes: list[Write]) -> list[bytes] | Failed:
        partition = self._tables.setdefault(table, {}).setdefault(partition_key, Partition())
        self._transactions += 1
        done = partition.commit(writes, self._transactions)
        if not isinstance(done, Failed):
            self._rows_written += len(writes)
        return done

    def _create_table(self, body: bytes) -> Answer:
        name = json.loads(body)["TableName"]
        if name.encode() in self._tables:
            return _error(409, "TableAlreadyExists", "The table specified already exists.")
        self._tables[name.encode()] = {}
        return Answer(201, body)

    def _partition(self, table: bytes, partition_key: bytes) -> Partition | None:
        return self._tables.get(table, {}).get(partition_key)

    def _get(self, table: bytes, partition_key: bytes, row_key: bytes) -> Answer:
        partition = self._partition(table, partition_key)
        row = partition.get(row_key) if partition else None
        if row is None:
            return _refused(Failed(0, 404, "ResourceNotFound"))
        return Answer(200, _told(row), headers=b"ETag: W/\"datetime'%b'\"\r\n" % row[:ETAG_DIGITS])

    def _query(self, table: bytes, query: str, *, plain: bool) -> Answer:
        options = {name: values[0] for name, values in parse_qs(query).items()}
        asked = _range(options.get("$filter", ""))
        if asked is None:
            return _error(501, "NotImplemented", f"the stub does not know the filter {options.get('$filter')}")
        partition_key, first, end = asked
        partition = self._partition(table, partition_key)
        if "NextRowKey" in options:
            first = max(first, options["NextRowKey"].encode())
        page = min(int(options.get("$top", PAGE_ROWS)), PAGE_ROWS)
        found = list(partition.keys(first, end)) if partition else []
        rows = [_told(row) for key in found[:page] if partition and (row := partition.get(key))]
        following = b""
        if len(found) > page:
            places = (partition_key, found[page])
            following = b"x-ms-continuation-NextPartitionKey: %b\r\nx-ms-continuation-NextRowKey: %b\r\n" % places
        if plain or "$select" in options:
            columns = options["$select"].split(",") if "$select" in options else None
            rows = [_projected(row, columns, plain=plain) for row in rows]
        return Answer(200, b'{"odata.metadata":"stub","value":[%b]}' % b",".join(rows), headers=following)


def _key(pattern: re.Pattern[bytes], row: bytes) -> bytes:
    found = pattern.search(row)
    assert found is not None, row
    key = found[1]
    return json.loads(b'"%b"' % key).encode() if b"\\" in key else key


def _path_keys(path: bytes) -> tuple[bytes, bytes]:
    found = _PATH_KEYS.search(_QUOTE.sub(b"'", path))
    assert found is not None, path
    first, second = found.groups()
    return _unquoted(first), _unquoted(second)


def _unquoted(key: bytes) -> bytes:
    if b"%" in key:
        key = unquote(key).encode()
    return key.replace(b"''", b"'")


def _etag(head: bytes) -> bytes | None:
    found = _IF_MATCH.search(head)
    return (found[1] or found[2]) if found else None


def _told(row: bytes) -> bytes:
    """A stored row as an answer has it."""
    return b'{"odata.etag":"W/\\"datetime\'%b\'\\"","Timestamp":"2026-01-01T00:00:00.0000000Z",%b' % (
        row[:ETAG_DIGITS],
        row[ETAG_DIGITS:],
    )


def _projected(row: bytes, columns: list[str] | None, *, plain: bool) -> bytes:
    """Some columns of a row, with OData's annotations or `plain` without."""
    told: dict[str, Any] = json.loads(row)
    return json.dumps(
        {
            name: value
            for name, value in told.items()
            if (columns is None or name.partition("@")[0] in columns or name == "odata.etag")
            and not (plain and (name == "odata.etag" or "@" in name))
        }
    ).encode()


def _range(filter_: str) -> tuple[bytes, bytes, bytes | None] | None:
    """Partition, first row key and the one after the last of a filter by keys; None for any other."""
    partition_key, first, end = None, b"", None
    for part in filter_.split(" and "):
        found = _COMPARISON.fullmatch(part)
        if found is None:
            return None
        key = found[3].replace("''", "'").encode()
        match found[1], found[2]:
            case "PartitionKey", "eq":
                partition_key = key
            case "RowKey", "eq":
                first, end = key, key + b"\0"
            case "RowKey", "ge" | "gt" as how:
                first = key + b"\0" * (how == "gt")
            case "RowKey", "lt" | "le" as how:
                end = key + b"\0" * (how == "le")
            case _:
                return None
    return None if partition_key is None else (partition_key, first, end)


def _refused(failed: Failed) -> Answer:
    return _error(failed.status, failed.code, failed.code)


def _error(status: int, code: str, reason: str) -> Answer:
    error = {"odata.error": {"code": code, "message": {"lang": "en-US", "value": f"{reason}\nRequestId:0"}}}
    return Answer(status, json.dumps(error).encode(), headers=b"x-ms-error-code: %b\r\n" % code.encode())


def _refused_part(failed: Failed) -> bytes:
    refused = _error(failed.status, failed.code, f"{failed.operation}:{failed.code}")
    return (
        b"--changesetresponse_0\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n%b\r\n"
        % (
            b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\n\r\n%b"
            % (refused.status, HTTPStatus(refused.status).phrase.encode(), _JSON, refused.body)
        )
    )


# --- the process -----------------------------------------------------------------------------------------------------

_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)
_BUFFER_BYTES = 256 * 1024


class _Connection(asyncio.BufferedProtocol):
    """One client's requests, answered one after the other, read into a buffer of its own: half the cost of chunks."""

    def __init__(self, answer: Callable[[bytes, bytes], Answer]) -> None:
        self._answer = answer
        self._buffer = bytearray(_BUFFER_BYTES)
        self._filled = 0
        self._wanted = 1
        """Bytes without which the first request is not whole, as far as known."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's
        if self._filled == len(self._buffer):
            self._buffer = self._buffer + bytes(self._filled)
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        while self._filled >= self._wanted:
            end = self._buffer.find(b"\r\n\r\n", 0, self._filled)
            if end < 0:
                self._wanted = self._filled + 1
                return
            length = _LENGTH.search(self._buffer, 0, end)
            size = end + 4 + (int(length[1]) if length else 0)
            if self._filled < size:
                self._wanted = size
                return
            with memoryview(self._buffer) as view:
                head, body = bytes(view[: end + 2]), bytes(view[end + 4 : size])
                view[: self._filled - size] = view[size : self._filled]
            self._filled -= size
            self._wanted = 1
            self._transport.write(self._answer(head, body).content())


async def _serve(port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    service = TableService()
    server = await loop.create_server(lambda: _Connection(service.answer), "127.0.0.1", port)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table_stub", description="A Table service in memory.")
    parser.add_argument("--port", type=int, default=0, help="0 for a free one (default: %(default)s)")
    asyncio.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
