"""The one invariant of hostile input, as a function of bytes.

any bytes give records and bad-input values, never an exception; the raw bytes of every item parse to it again
"""

import json

from processors import limits
from processors.dead_letters import DeadLetter
from processors.events import Execution, execution, is_task_complete, job_key, key, newest_time
from processors.records import Decoded, decode, raw_records


def check(body: bytes) -> Decoded:
    """Fail where the invariant does not hold for these bytes; what they hold."""
    decoded = decode(body)
    newest_time(decoded.records)
    for record in decoded.records:
        found = execution(record) if is_task_complete(record) else None
        if isinstance(found, Execution):
            assert len(job_key(found.account, found.job_id)) <= limits.KEY_UNITS
            assert len(key(found.task_id)) <= limits.KEY_UNITS
        elif found is not None:
            _check_letter(record.index, tuple(found), body)
    for bad in decoded.bad:
        _check_letter(bad.index, bad.errors, body)
    if decoded.records:
        _check_items(body, decoded)
    else:
        assert [bad.index for bad in decoded.bad] == [None]
    return decoded


def _check_letter(index: int | None, errors: tuple[str, ...], body: bytes) -> None:
    """What is bad has a reason, can be written down and read again."""
    assert errors
    letter = DeadLetter("hub", "0", 0, index, None, errors, body)
    assert DeadLetter.read(letter.name, letter.content()) == letter


def _check_items(body: bytes, decoded: Decoded) -> None:
    """The items are numbered without a gap, and each is found again in its raw bytes."""
    indexes = {record.index for record in decoded.records} | {bad.index for bad in decoded.bad if bad.index is not None}
    assert indexes == set(range(len(decoded.records) + len(decoded.bad)))
    raw = raw_records(body, indexes)
    assert raw.keys() == indexes
    for record in decoded.records:
        (again,) = decode(raw[record.index]).records
        assert repr(again.fields) == repr(record.fields)
    for bad in decoded.bad:
        assert bad.index is not None
        assert raw[bad.index] in body
        if bad.errors[0].startswith("not a record"):
            json.loads(raw[bad.index].decode(), strict=False, parse_int=str)
