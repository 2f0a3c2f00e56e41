"""Bytes → records. What an Event Hub message may look like, and what of it is bad.

The rule: any bytes give a `Decoded`, never an exception. A **record** is a JSON object with an `operationName`. A
message holds records bare, in an array, under `records`, in an array of such objects, or one a line (the shape of
archived `PT1H.json` blobs). Every item is counted in order, bad ones included, so that an item's index is the same at
each delivery and a dead letter has one name.

Two ways through: well-formed JSON goes through pydantic's parser; what that refuses (raw control characters, several
documents, lone surrogates, huge integers, deep nesting) goes through the standard library's, item by item, with the
place of each.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from pydantic_core import from_json

from processors import limits

OPERATION = "operationName"
_BOM = b"\xef\xbb\xbf"
_BLANK = " \t\r\n"


@dataclass(slots=True)
class Record:
    """One JSON object with an operation name. `index` counts the message's items from 0."""

    index: int
    operation: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BadInput:
    """What cannot be used, and why. `index` is the item's; None means the whole message."""

    index: int | None
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decoded:
    """All that one message held."""

    records: list[Record] = field(default_factory=list)
    bad: list[BadInput] = field(default_factory=list)


class _Item(NamedTuple):
    """A value and where it stands in the text."""

    value: Any
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Broken:
    """The value of an item that is no JSON."""

    error: str
    read: int = 0
    """Characters read in vain: what comes after the item's own line is read again."""


def decode(body: bytes) -> Decoded:
    """Read one message of any of the accepted shapes."""
    if len(body) > limits.MESSAGE_BYTES:
        return _no_records([f"{len(body):,} bytes: Event Hubs carries at most {limits.MESSAGE_BYTES:,}"])
    body = body.removeprefix(_BOM)
    try:
        items = list(islice(_flat(from_json(body), 0), limits.ITEMS_A_MESSAGE + 1))
    except ValueError:
        try:
            text = body.decode()
        except UnicodeDecodeError as not_utf8:
            return _no_records([f"not UTF-8: {not_utf8.reason} at byte {not_utf8.start}"])
        items = [item.value for item in islice(_items(text), limits.ITEMS_A_MESSAGE + 1)]
    if len(items) > limits.ITEMS_A_MESSAGE:
        return _no_records([f"over {limits.ITEMS_A_MESSAGE:,} items: no diagnostic setting sends so many"])
    return _sort(items)


def raw_records(body: bytes, indexes: set[int]) -> dict[int, bytes]:
    """The original bytes of the items at `indexes`, for their dead letters. `body` is one that `decode` took apart."""
    text = body.removeprefix(_BOM).decode()
    return {index: text[item.start : item.end].encode() for index, item in enumerate(_items(text)) if index in indexes}


def lenient_json(text: str) -> Any:
    """The one JSON document in `text`, raw control characters allowed.

    Raises ValueError where it is none (RecursionError included, as ValueError).
    """
    try:
        return _LENIENT.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def member(fields: dict[str, Any], name: str) -> Any:
    """`fields[name]`, or the value of a key that differs in case only, or None."""
    if name in fields:
        return fields[name]
    lowered = name.lower()
    return next((value for key, value in fields.items() if key.lower() == lowered), None)


def _sort(items: list[Any]) -> Decoded:
    """Records apart from what is none. No record at all makes the whole message bad, once."""
    decoded = Decoded()
    for index, value in enumerate(items):
        operation = member(value, OPERATION) if isinstance(value, dict) else None
        if isinstance(operation, str) and operation:
            decoded.records.append(Record(index, operation, value))
        else:
            decoded.bad.append(BadInput(index, (_why_no_record(value, operation),)))
    if not decoded.records:
        broken = [value.error for value in items if isinstance(value, _Broken)]
        return _no_records(broken[:1] or ["holds no record: no object with an operationName"])
    return decoded


def _no_records(errors: list[str]) -> Decoded:
    return Decoded(bad=[BadInput(None, tuple(errors))])


def _why_no_record(value: Any, operation: Any) -> str:
    if isinstance(value, _Broken):
        return value.error
    if not isinstance(value, dict):
        return f"not a record: a JSON {_json_type(value)}"
    if operation is None:
        return f"not a record: {OPERATION} is missing"
    return f"not a record: {OPERATION} is {'empty' if operation == '' else 'a JSON ' + _json_type(operation)}"


def _json_type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return "number"


# --- envelopes -------------------------------------------------------------------------------------------------------


def _flat(value: Any, depth: int) -> Iterator[Any]:
    """The items in `value`, in order: envelopes opened, everything else as it is."""
    if depth < limits.ENVELOPE_DEPTH:
        if isinstance(value, list):
            for item in value:
                if type(item) is dict and OPERATION in item:  # what nearly all are: a record
                    yield item
                else:
                    yield from _flat(item, depth + 1)
            return
        if (name := _envelope_key(value)) is not None:
            yield from _flat(value[name], depth + 1)
            return
    yield value


def _envelope_key(value: Any) -> str | None:
    """The key of an object that holds the records, None where it is no envelope."""
    if not isinstance(value, dict) or member(value, OPERATION) is not None:
        return None
    if isinstance(value.get("records"), list):
        return "records"
    return next((key for key, held in value.items() if key.lower() == "records" and isinstance(held, list)), None)


# --- the tolerant way: items with their places -----------------------------------------------------------------------


def _lenient_int(digits: str) -> int | float:
    """Python refuses to convert over 4,300 digits; as an infinity, the number fails only the field it stands in."""
    try:
        return int(digits)
    except ValueError:
        return float(digits)


_LENIENT = json.JSONDecoder(strict=False, parse_int=_lenient_int)


def _items(text: str) -> Iterator[_Item]:
    """All items of all documents in `text`. A line that is no JSON is one item, a `_Broken`."""
    position, broken, read = _skip_blank(text, 0), 0, 0
    while position < len(text):
        document = _document(text, position)
        if isinstance(document.value, _Broken):
            broken += 1
            read += document.value.read
            if broken > limits.BROKEN_LINES or read > limits.BROKEN_CHARACTERS:
                error = f"over {broken - 1} lines are no JSON; this is the rest of the message"
                document = _Item(_Broken(error), position, len(text))
            yield document
        else:
            yield from _flat_items(text, document, 0)
        position = _skip_blank(text, document.end)


def _document(text: str, start: int) -> _Item:
    """The JSON document at `start`, which the end of a line, of the text or another document must follow."""
    try:
        value, end = _LENIENT.raw_decode(text, start)
    except json.JSONDecodeError as error:
        # An unterminated string is read to the end of the text, and its error names where it starts.
        read = (len(text) if error.msg.startswith("Unterminated") else error.pos) - start
        return _Item(_Broken(f"not JSON: {error}", read), start, _line_end(text, start))
    except RecursionError:
        return _Item(_Broken("nested too deeply", len(text) - start), start, _line_end(text, start))
    after = end
    while after < len(text) and text[after] in " \t\r":
        after += 1
    if after < len(text) and text[after] not in "\n{[":
        why = f"not JSON: unexpected text at character {after}"
        return _Item(_Broken(why), start, max(_line_end(text, start), after))
    return _Item(value, start, end)


def _line_end(text: str, start: int) -> int:
    found = text.find("\n", start)
    return found if found >= 0 else len(text)


def _flat_items(text: str, item: _Item, depth: int) -> Iterator[_Item]:
    """What `_flat` does, with the place of each item. Containers are read again, element by element."""
    if depth < limits.ENVELOPE_DEPTH:
        if isinstance(item.value, list):
            for element in _elements(text, item.start):
                yield from _flat_items(text, element, depth + 1)
            return
        if (name := _envelope_key(item.value)) is not None:
            yield from _flat_items(text, _member_item(text, item.start, name), depth + 1)
            return
    yield item


def _elements(text: str, start: int) -> Iterator[_Item]:
    """The elements of the array at `start`, which is known to be valid."""
    position = _skip_blank(text, start + 1)
    while text[position] != "]":
        value, end = _LENIENT.raw_decode(text, position)
        yield _Item(value, position, end)
        position = _skip_separator(text, end)


def _member_item(text: str, start: int, name: str) -> _Item:
    """The value of the last key `name` in the object at `start`, which is known to be valid and to have it."""
    found: _Item | None = None
    position = _skip_blank(text, start + 1)
    while text[position] != "}":
        key, end = _LENIENT.raw_decode(text, position)
        position = _skip_blank(text, _skip_blank(text, end) + 1)  # the colon
        value, end = _LENIENT.raw_decode(text, position)
        if key == name:
            found = _Item(value, position, end)
        position = _skip_separator(text, end)
    assert found is not None
    return found


def _skip_separator(text: str, position: int) -> int:
    """The position of the next element after `position`, or of the closing bracket."""
    position = _skip_blank(text, position)
    return _skip_blank(text, position + 1) if text[position] == "," else position


def _skip_blank(text: str, position: int) -> int:
    while position < len(text) and text[position] in _BLANK:
        position += 1
    return position
