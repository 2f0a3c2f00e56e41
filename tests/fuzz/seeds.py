"""`python -m tests.fuzz.seeds`: write the corpus, every envelope form and every kind of bad input by devstack.workload.

Equal code writes equal files. What fuzzing finds beyond them is added by hand, under a name that says what it is.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from devstack.workload import Workload
from devstack.workload.bad import BAD_MESSAGES, BAD_RECORDS, bad_message
from devstack.workload.envelopes import BOM, FORMS, wrap

CORPUS = Path(__file__).parent / "corpus"


def seeds() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each file."""
    record, another = _records()
    texts = [json.dumps(each, separators=(",", ":")).encode() for each in (record, another)]
    draw = Random(1)
    for form in FORMS:
        yield f"form {form}", wrap(form, texts[: 1 if form == "bare" else 2], draw)
    yield "form with a byte order mark", BOM + wrap("records", texts, draw)
    for kind, spoil in BAD_RECORDS.items():
        spoilt = json.loads(texts[0])
        spoil(spoilt)
        yield f"record {kind}", wrap("records", [json.dumps(spoilt).encode(), b'{"operationName":"x"}'], draw)
    for kind in BAD_MESSAGES:
        yield f"message {kind}", bad_message(kind, texts[:1])
    properties = json.dumps(record | {"properties": json.dumps(record["properties"])}).encode()
    yield "properties as text", properties
    for name, value in ODD.items():
        yield f"odd {name}", wrap("records", [b'{"operationName":"a","x":' + value + b"}", texts[0]], draw)
    yield "lines of which some are broken", b"\n".join([texts[0], b"oops", b"[1,", b'{"a": 1} x', b"2", texts[1]])


ODD = {
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "a huge integer": b"9" * 5_000,
    "a huge float": b"1e999",
    "half a surrogate pair": b'"\\ud800"',
    "raw control characters": b'"\x00\x1f\n"',
    "a key twice": b'{"a":1,"a":2}',
    "deep arrays": b"[" * 500 + b"]" * 500,
    "nested envelopes": b'[{"records":[[1,{"Records":[2]}]]}]',
}


def _records() -> list[dict[str, Any]]:
    """Two task complete records in the usual form."""
    workload = Workload(seed=1, tasks=20, variety=0, bad_records=0, bad_messages=0)
    found = (record for message in workload.messages() for record in json.loads(message.body)["records"])
    complete = [record for record in found if record["operationName"] == "TaskCompleteEvent"]
    return complete[:2]


def file_name(seed: str) -> str:
    """The name of a seed's file."""
    return re.sub(r"\W+", "-", seed).strip("-").lower()


def main() -> None:
    CORPUS.mkdir(exist_ok=True)
    for name, body in seeds():
        (CORPUS / file_name(name)).write_bytes(body)


if __name__ == "__main__":
    main()
