"""The multipart of entity group transactions, read and written in the plainest way: the model of `table_wire`."""

import json
from dataclasses import dataclass
from datetime import datetime
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.core.canned import Answer


@dataclass(frozen=True)
class Sent:
    """One operation of a transaction, as the service has to understand it."""

    method: str
    path: str
    if_match: str | None
    row: dict[str, Any]


def sent_operations(content_type: str, body: bytes) -> list[Sent]:
    """The operations in the body of a `$batch` request, by the standard library's MIME parser."""
    parser = BytesParser(policy=HTTP)
    outer = parser.parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    (changes,) = outer.iter_parts()
    assert not [*outer.defects, *changes.defects]
    operations = []
    for part in changes.iter_parts():
        assert (part.get_content_type(), part["Content-Transfer-Encoding"]) == ("application/http", "binary")
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        head, _, content = payload.partition(b"\r\n\r\n")
        line, _, headers = head.partition(b"\r\n")
        method, url, version = line.decode().split(" ")
        fields = parser.parsebytes(headers + b"\r\n\r\n")
        assert (version, fields["Content-Type"]) == ("HTTP/1.1", "application/json")
        assert int(fields["Content-Length"]) == len(content)
        operations.append(Sent(method, unquote(urlsplit(url).path), fields["If-Match"], _told(json.loads(content))))
    return operations


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """The row without the annotations that say what JSON says already, and with times as times."""
    return {
        name: datetime.fromisoformat(value) if row.get(f"{name}@odata.type") == "Edm.DateTime" else value
        for name, value in row.items()
        if not (name.endswith("@odata.type") and value == "Edm.String")
    }


def transaction_answer(*etags: str) -> Answer:
    """What the service answers to a transaction that it carried out."""
    head = "HTTP/1.1 204 No Content\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-cache\r\n"
    head += "Preference-Applied: return-no-content\r\nDataServiceVersion: 3.0;\r\n"
    return parts(*(f"{head}ETag: {etag}\r\n\r\n\r\n" for etag in etags))


def transaction_refusal(status: int, code: str, reason: str) -> Answer:
    """What it answers to one that it did not carry out: the failing operation's error, its index in the text."""
    error = json.dumps({"odata.error": {"code": code, "message": {"lang": "en-US", "value": reason}}})
    head = f"HTTP/1.1 {status} Some Reason\r\nX-Content-Type-Options: nosniff\r\nDataServiceVersion: 3.0;\r\n"
    head += "Content-Type: application/json;odata=minimalmetadata;streaming=true;charset=utf-8\r\n"
    return parts(f"{head}\r\n{error}\r\n")


def parts(*answers: str) -> Answer:
    """HTTP answers as the parts of one."""
    head = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    changes = "".join(f"--changesetresponse_1\r\n{head}{answer}" for answer in answers)
    body = (
        "--batchresponse_1\r\nContent-Type: multipart/mixed; boundary=changesetresponse_1\r\n\r\n"
        f"{changes}--changesetresponse_1--\r\n--batchresponse_1--\r\n"
    )
    return Answer(202, body.encode(), {"Content-Type": "multipart/mixed; boundary=batchresponse_1"})
