"""How records are wrapped into a message body: every form that has been seen on a hub.

Wrapping never changes a record, nor the order of the records.
"""

from random import Random

USUAL = "records"
FORMS = {
    USUAL: 2,
    "records over several lines": 2,
    "records in other letters": 1,
    "records among other fields": 1,
    "array": 2,
    "array of envelopes": 2,
    "lines": 4,
    "bare": 2,
}
"""The forms, and how often each is used where the usual one is not. A bare record is alone in its message."""

BOM = b"\xef\xbb\xbf"


def wrap(form: str, records: list[bytes], draw: Random) -> bytes:
    """The body of these records, of which there is at least one."""
    match form:
        case "records over several lines":
            return b'{\r\n  "records": [\r\n    ' + b",\r\n    ".join(records) + b"\r\n  ]\r\n}\r\n"
        case "records in other letters":
            return b"{" + draw.choice((b'"Records"', b'"RECORDS"')) + b": [" + b", ".join(records) + b"]}"
        case "records among other fields":
            return b'{"count":1,"source":{"records":"none"},"records":[' + b",".join(records) + b'],"next":null}'
        case "array":
            return b"[" + b",\n".join(records) + b"]"
        case "array of envelopes":
            return b"[" + b",".join(_envelope(part) for part in _parts(records, draw)) + b"]"
        case "lines":
            end = draw.choice((b"\n", b"\r\n"))
            return end.join(_one_line(record) for record in records) + draw.choice((b"", end))
        case "bare":
            (record,) = records
            return record
    return _envelope(records)


def _envelope(records: list[bytes]) -> bytes:
    return b'{"records":[' + b",".join(records) + b"]}"


def _parts(records: list[bytes], draw: Random) -> list[list[bytes]]:
    """The records cut into runs; an empty one among them says nothing."""
    cuts = sorted(draw.choices(range(len(records) + 1), k=min(6, len(records))))
    return [records[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(records)], strict=True)]


def _one_line(record: bytes) -> bytes:
    """Raw line breaks inside strings would end the line: they are written as JSON wants them."""
    return record.replace(b"\r", b"\\r").replace(b"\n", b"\\n")
