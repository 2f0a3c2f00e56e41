"""Bytes → records: every accepted shape gives the same records, and no bytes at all raise."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import limits, records
from processors.records import BadInput, Decoded, decode, lenient_json, member, raw_records

A, B, C = ({"operationName": name, "properties": {"n": number}} for number, name in enumerate("abc"))
RECORDS = [A, B, C]


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def values(decoded: Decoded) -> list[dict[str, Any]]:
    return [record.fields for record in decoded.records]


# --- shapes ----------------------------------------------------------------------------------------------------------

SHAPES = {
    "records": dumped({"records": RECORDS}),
    "array": dumped(RECORDS),
    "lines": b"\n".join(map(dumped, RECORDS)),
    "lines with blanks between": b"\r\n\r\n".join(map(dumped, RECORDS)) + b"\n \n",
    "documents on one line": b" ".join(map(dumped, RECORDS)),
    "documents without anything between": b"".join(map(dumped, RECORDS)),
    "array of records": dumped([{"records": [A]}, {"records": [B, C]}]),
    "array of both": dumped([A, {"records": [B, C]}]),
    "records of arrays": dumped({"records": [[A, B], [C]]}),
    "lines of records": dumped({"records": [A, B]}) + b"\n" + dumped({"records": [C]}),
    "another case": dumped({"Records": RECORDS}),
    "more keys": dumped({"x": [1], "records": RECORDS, "y": {"records": [A]}}),
    "a byte order mark": b"\xef\xbb\xbf" + dumped({"records": RECORDS}),
    "blanks around": b" \r\n\t" + dumped({"records": RECORDS}) + b" \r\n\t",
    "indented": json.dumps({"records": RECORDS}, indent=2).encode(),
    "indented lines": b"\n".join(json.dumps(record, indent=1).encode() for record in RECORDS),
    "compact lines": b"\n".join(
        json.dumps({"records": each}, separators=(",", ":")).encode() for each in ([A, B], [C])
    ),
    "null beside": dumped({"records": RECORDS, "operationName": None}),
    "the last of two keys": b'{"records": [1], "records": ' + dumped(RECORDS) + b"}",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_records(shape: str) -> None:
    decoded = decode(SHAPES[shape])
    assert values(decoded) == RECORDS
    assert [record.index for record in decoded.records] == [0, 1, 2]
    assert [record.operation for record in decoded.records] == ["a", "b", "c"]
    assert decoded.bad == []


def test_a_bare_record_is_a_message() -> None:
    assert values(decode(dumped(A))) == [A]


def test_a_record_that_has_records_of_its_own_is_still_one_record() -> None:
    record = A | {"records": [B]}
    assert values(decode(dumped(record))) == [record]


def test_raw_control_characters_in_strings_are_allowed() -> None:
    (record,) = decode(b'{"operationName": "a", "text": "one\ntwo\x00\tthree"}').records
    assert record.fields["text"] == "one\ntwo\x00\tthree"


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, list[dict[str, Any]]]:
    """Records in any composition of the shapes, and the records."""
    records = [{"operationName": "op", "n": n} for n in range(draw(st.integers(1, 6)))]

    def wrapped(some: list[Any], depth: int) -> Any:
        if depth == 0 or draw(st.booleans()):
            return some
        cut = draw(st.integers(0, len(some)))
        parts = [wrapped(some[:cut], depth - 1), wrapped(some[cut:], depth - 1)]
        return draw(st.sampled_from([parts, {"records": parts}, {"RECORDS": parts, "x": 1}]))

    cut = draw(st.integers(0, len(records)))
    documents = [wrapped(part, 2) for part in (records[:cut], records[cut:]) if part]
    separator = draw(st.sampled_from(["\n", " ", "\r\n\r\n", ""]))
    indent = draw(st.sampled_from([None, 1]))
    body = separator.join(json.dumps(document, indent=indent) for document in documents).encode()
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + body, records


@given(messages())
def test_every_composition_of_shapes_gives_the_same_records(composed: tuple[bytes, list[dict[str, Any]]]) -> None:
    body, records = composed
    decoded = decode(body)
    assert values(decoded) == records
    assert decoded.bad == []
    raw = raw_records(body, set(range(len(records))))
    assert [json.loads(raw[index]) for index in range(len(records))] == records


# --- any bytes -------------------------------------------------------------------------------------------------------

_PIECES = st.sampled_from(
    [
        *b'{ } [ ] , : " \\ \n 1 -1 1.5e3 1e999 NaN -Infinity null true'.split(b" "),
        *b'"records" "Records" "operationName" "x"'.split(b" "),
        b"\xef\xbb\xbf",
        b"\xff",
        b" ",
        b'"\\ud800"',
        b'"\x01"',
        b"9" * 5000,
        b"[" * 12,
        b"]" * 12,
        dumped(A),
        dumped({"records": [A, 1]}),
        b'{"records":[',
    ]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["records", "RECORDS", "operationName", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def _surrogates_too(value: Any) -> bytes:
    return json.dumps(value).encode()


any_bytes = (
    st.binary(max_size=60)
    | st.lists(_PIECES, max_size=14).map(b"".join)
    | _JSON.map(_surrogates_too)
    | st.lists(_JSON.map(_surrogates_too), max_size=4).map(b"\n".join)
)


@given(any_bytes)
def test_any_bytes_are_decoded_and_every_item_is_found_again(body: bytes) -> None:
    decoded = decode(body)
    indexes = [record.index for record in decoded.records] + [bad.index for bad in decoded.bad]
    if indexes == [None]:
        assert decoded.bad[0].errors
        return
    assert sorted(index for index in indexes if index is not None) == list(range(len(indexes)))
    raw = raw_records(body, set(range(len(indexes))))
    assert raw.keys() == set(range(len(indexes)))
    for record in decoded.records:
        again = decode(raw[record.index])
        assert repr(values(again)) == repr([record.fields])


@given(_JSON, _JSON)
def test_an_items_index_does_not_depend_on_the_parser(first: Any, second: Any) -> None:
    """A number that only one parser takes sends the whole message through the other."""
    items = [first, A, second]
    fast = decode(json.dumps([*items, B]).encode())
    slow = decode(json.dumps([*items, B | {"x": "HUGE"}]).replace('"HUGE"', "9" * 5000).encode())
    assert [record.index for record in fast.records] == [record.index for record in slow.records]
    assert repr(fast.bad) == repr(slow.bad)


# --- what is bad -----------------------------------------------------------------------------------------------------


NO_RECORD = "holds no record: no object with an operationName"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", NO_RECORD),
        (b"  \n ", NO_RECORD),
        (b"null", NO_RECORD),
        (b"{}", NO_RECORD),
        (b"[]", NO_RECORD),
        (b'{"records": []}', NO_RECORD),
        (b'{"records": {}}', NO_RECORD),
        (b'{"records": [1, {"operationName": ""}, {"operationName": 7}]}', NO_RECORD),
        (b"hello", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"hello\nworld", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"1\nhello", "not JSON: Expecting value: line 2 column 1 (char 2)"),
        (
            b"{'operationName': 'x'}",
            "not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        (
            b'{"records": [{"operationName": "a"}, {"oper',
            "not JSON: Unterminated string starting at: line 1 column 39 (char 38)",
        ),
        (b'\xff{"operationName": "x"}', "not UTF-8: invalid start byte at byte 0"),
        ('{"operationName": "x"}'.encode("utf-16"), "not UTF-8: invalid start byte at byte 0"),
        (b"[" * 10_000 + b"]" * 10_000, "nested too deeply"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested too deeply"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_message_without_a_record_is_bad_as_a_whole(body: bytes, error: str) -> None:
    decoded = decode(body)
    assert decoded.records == []
    assert decoded.bad == [BadInput(None, (error,))]


def test_what_is_no_record_among_records_is_bad_alone_and_says_why() -> None:
    items: list[Any] = [A, 1, None, True, "x", 1.5, {}, {"operationName": ""}, {"operationName": [1]}]
    decoded = decode(dumped([*items, {"operationName": {}}, B]))
    assert [(record.index, record.operation) for record in decoded.records] == [(0, "a"), (10, "b")]
    assert decoded.bad == [
        BadInput(1, ("not a record: a JSON number",)),
        BadInput(2, ("not a record: a JSON null",)),
        BadInput(3, ("not a record: a JSON boolean",)),
        BadInput(4, ("not a record: a JSON string",)),
        BadInput(5, ("not a record: a JSON number",)),
        BadInput(6, ("not a record: operationName is missing",)),
        BadInput(7, ("not a record: operationName is empty",)),
        BadInput(8, ("not a record: operationName is a JSON array",)),
        BadInput(9, ("not a record: operationName is a JSON object",)),
    ]


A_LINE = len(dumped(A)) + 1
"""Characters before the second line of these messages."""


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (
            b'{"operationName": "x"',
            f"not JSON: Expecting ',' delimiter: line 3 column 1 (char {A_LINE + 22})",
        ),
        (b"oops", f"not JSON: Expecting value: line 2 column 1 (char {A_LINE})"),
        (b'{"a": 1} oops', f"not JSON: unexpected text at character {A_LINE + 9}"),
        (b'{"a": 1}X', f"not JSON: unexpected text at character {A_LINE + 8}"),
        (b"X", f"not JSON: Expecting value: line 2 column 1 (char {A_LINE})"),
        (b"'a'", f"not JSON: Expecting value: line 2 column 1 (char {A_LINE})"),
        (b"[" * 100_000, "nested too deeply"),
    ],
    ids=lambda part: str(part)[:30],
)
def test_a_broken_line_is_bad_alone_and_says_why(broken: bytes, error: str) -> None:
    body = dumped(A) + b"\n" + broken + b"\n" + dumped(B)
    decoded = decode(body)
    assert [(record.index, record.operation) for record in decoded.records] == [(0, "a"), (2, "b")]
    assert decoded.bad == [BadInput(1, (error,))]
    assert raw_records(body, {1}) == {1: broken}


def test_too_many_broken_lines_are_one_item_with_the_rest_of_the_message() -> None:
    body = dumped(A) + b"\n" + b"\n".join([b"oops"] * 500) + b"\n" + dumped(B)
    decoded = decode(body)
    assert values(decoded) == [A]
    assert len(decoded.bad) == limits.BROKEN_LINES + 1
    last = decoded.bad[-1].index
    assert last is not None
    assert decoded.bad[-1].errors == ("over 100 lines are no JSON; this is the rest of the message",)
    assert raw_records(body, {last})[last].endswith(dumped(B))


@pytest.mark.parametrize(("characters", "lines"), [(2, 2), (3, 3)])
def test_what_broken_lines_may_make_the_parser_read_is_bounded(
    monkeypatch: pytest.MonkeyPatch, characters: int, lines: int
) -> None:
    """Each of these is found to be broken at its second character."""
    monkeypatch.setattr(limits, "BROKEN_CHARACTERS", characters)
    decoded = decode(dumped(A) + b"\n" + b"[x\n" * 6 + dumped(B))
    assert values(decoded) == [A]
    assert [bad.index for bad in decoded.bad] == list(range(1, lines + 2))
    assert decoded.bad[-1].errors == (f"over {lines} lines are no JSON; this is the rest of the message",)


def test_a_line_with_something_after_its_document_is_not_read_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BROKEN_CHARACTERS", 0)
    assert len(decode(dumped(A) + b"\n" + b"1 x\n" * 3).bad) == 3


@pytest.mark.parametrize("broken", [b"[" * 100_000, b'"x'], ids=["deep", "a string without an end"])
def test_what_is_read_to_the_end_of_the_message_in_vain_counts_so(
    monkeypatch: pytest.MonkeyPatch, broken: bytes
) -> None:
    rest = broken + b"\noops\n"
    body = dumped(A) + b"\n" + rest
    monkeypatch.setattr(limits, "BROKEN_CHARACTERS", len(rest))
    assert len(decode(body).bad) == 2
    assert raw_records(body, {1, 2}) == {1: broken, 2: b"oops"}
    monkeypatch.setattr(limits, "BROKEN_CHARACTERS", len(rest) - 1)
    assert len(decode(body).bad) == 1
    assert raw_records(body, {1, 2}) == {1: rest}


def test_arrays_nested_beyond_the_envelopes_depth_are_one_bad_item() -> None:
    value: Any = A
    for _ in range(limits.ENVELOPE_DEPTH + 1):
        value = [value]
    decoded = decode(dumped([B, value]))
    assert values(decoded) == [B]
    assert [bad.index for bad in decoded.bad] == [1]


def wrapped(value: Any, how: str) -> Any:
    """`value` in an array for every `[`, and under `records` for every `{`; the first is the outermost."""
    for each in reversed(how):
        value = [value] if each == "[" else {"records": value}
    return value


@pytest.mark.parametrize("how", ["[[[[[[[[", "{[{[{[{[", "[{[{[{[[", "[[[[[[{["])
def test_as_many_envelopes_as_allowed_are_opened(how: str) -> None:
    """By either parser: a second line is none of pydantic's."""
    assert len(how) == limits.ENVELOPE_DEPTH
    alone = dumped(wrapped(A, how))
    assert values(decode(alone)) == [A]
    assert values(decode(alone + b"\n" + dumped(B))) == [A, B]
    assert raw_records(alone, {0}) == {0: dumped(A)}


@pytest.mark.parametrize("how", ["[[[[[[[[[", "{[{[{[{[[", "[{[{[{[{[", "[[[[[[[{["])
def test_one_envelope_more_is_a_bad_item_as_it_stands(how: str) -> None:
    alone = dumped(wrapped(A, how))
    inner = dumped(wrapped(A, how[limits.ENVELOPE_DEPTH :]))
    assert decode(alone).records == []
    body = alone + b"\n" + dumped(B)
    decoded = decode(body)
    assert values(decoded) == [B]
    assert decoded.bad == [BadInput(0, ("not a record: a JSON array",))]
    assert raw_records(body, {0}) == {0: inner}


@pytest.mark.parametrize("odd", [{"items": [A]}, {"RECORDS": A}, {"records": A}, {"records": {}, "x": [A]}])
def test_only_an_array_under_records_is_an_envelope(odd: Any) -> None:
    for body in (dumped([odd, B]), dumped(odd) + b"\n" + dumped(B)):
        decoded = decode(body)
        assert values(decoded) == [B]
        assert decoded.bad == [BadInput(0, ("not a record: operationName is missing",))]


@pytest.mark.parametrize("odd", [b"1", b"9" * 5_000])
def test_a_message_of_too_many_items_is_bad_as_a_whole(odd: bytes) -> None:
    """By either parser, and without a value for each of half a million items."""
    most = b"1," * (limits.ITEMS_A_MESSAGE - 2) + odd + b"," + dumped(A)
    assert [record.index for record in decode(b"[" + most + b"]").records] == [limits.ITEMS_A_MESSAGE - 1]
    for body in (b"[1," + most + b"]", b"[" + b"1," * 500_000 + most + b"]"):
        decoded = decode(body)
        assert decoded.records == []
        assert decoded.bad == [BadInput(None, ("over 10,000 items: no diagnostic setting sends so many",))]


def test_a_message_longer_than_event_hubs_carries_is_bad_as_a_whole() -> None:
    most = dumped(A).ljust(limits.MESSAGE_BYTES)
    assert values(decode(most)) == [A]
    assert decode(most + b" ").bad == [BadInput(None, ("1,048,577 bytes: Event Hubs carries at most 1,048,576",))]


@pytest.mark.parametrize("tail", [b"1,\n" * 300_000, b'"' + b"\\n" * 500_000, b"[" * 5_000])
def test_broken_lines_are_not_each_read_to_the_end_of_the_message(tail: bytes) -> None:
    """A hundred arrays that are never closed, each of which the parser takes for a megabyte's beginning."""
    body = dumped(A) + b"\n" + b"[\n" * 99 + tail.ljust(900_000)
    decoded = decode(body)
    assert values(decoded) == [A]
    assert len(decoded.bad) < 20
    raw = raw_records(body, {bad.index for bad in decoded.bad if bad.index is not None})
    assert b"\n".join(raw[bad.index or 0] for bad in decoded.bad) == body.partition(b"\n")[2]


class CountingParser:
    """The tolerant way's parser, and what is asked of it."""

    def __init__(self) -> None:
        self.calls = 0
        self.characters = 0
        self._parser = records._LENIENT  # noqa: SLF001 - the work is counted where it is done

    def raw_decode(self, text: str, start: int) -> tuple[Any, int]:
        self.calls += 1
        end = len(text)
        try:
            value, end = self._parser.raw_decode(text, start)
        except json.JSONDecodeError as error:
            end = end if error.msg.startswith("Unterminated") else error.pos
            raise
        finally:
            self.characters += end - start
        return value, end


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> CountingParser:
    counting = CountingParser()
    monkeypatch.setattr(records, "_LENIENT", counting)
    return counting


MANY = {
    "objects": b"{}" * 500_000,
    "arrays of objects": b"[{}][{}]" * 125_000,
    "objects, one a line": b"{}\n" * 340_000,
    "objects in an array": b"[" + b"{}," * 340_000 + b"9" * 5_000 + b"]",
    "objects in arrays": b"[" * 8 + b"{}," * 340_000 + b"9" * 5_000 + b"]" * 8,
    "empty envelopes": b'{"records":[{}]}' * 65_000,
}


@pytest.mark.parametrize("shape", MANY)
def test_no_more_is_parsed_than_the_items_that_a_message_may_have(parser: CountingParser, shape: str) -> None:
    assert decode(MANY[shape]).bad[0].errors == ("over 10,000 items: no diagnostic setting sends so many",)
    assert limits.ITEMS_A_MESSAGE < parser.calls < 5 * limits.ITEMS_A_MESSAGE


DEEP = dumped(A) + b"," + b"{}," * 9_000 + b"9" * 5_000
HOSTILE = {
    "arrays around": b"[" * 8 + DEEP.ljust(1_000_000) + b"]" * 8,
    "envelopes around": b'{"records":[' * 4 + DEEP.ljust(1_000_000) + b"]}" * 4,
    "envelopes of many keys": b'{"records":[' * 4 + DEEP + b"]}" * 3 + b"]" + b',"x":1' * 140_000 + b"}",
    "empty arrays": b"[],\n" * 250_000,
    "arrays never closed": dumped(A) + b"\n" + b"[\n" * 99 + b"1,\n" * 300_000,
    "objects never closed": dumped(A) + b"\n" + b'{"a":\n' * 160_000,
    "strings never closed": dumped(A) + b"\n" + b'["\n' * 250_000,
    "levels without end": dumped(A) + b"\n" + (b"[" * 5_000 + b"\n") * 200,
    "cut off records": (dumped(A)[:-1] + b"\n") * 19_000,
}


@pytest.mark.parametrize("shape", HOSTILE)
def test_a_message_is_parsed_a_bounded_number_of_times(parser: CountingParser, shape: str) -> None:
    """Twice for every envelope around a record; what is broken is read in vain up to a bound."""
    body = HOSTILE[shape]
    decode(body)
    assert 0 < parser.characters < (2 * limits.ENVELOPE_DEPTH + 2) * len(body) + limits.BROKEN_CHARACTERS


def test_short_broken_lines_in_a_long_message_stay_lines() -> None:
    cut_off = json.dumps(A | {"text": "x" * 9_000}).encode()[:-20]
    body = b"\n".join([cut_off, dumped(B)] * 100)
    decoded = decode(body)
    assert values(decoded) == [B] * 100
    assert len(decoded.bad) == 100


def test_numbers_that_only_one_parser_takes_stay_in_their_record() -> None:
    for number in ("9" * 5_000, "-" + "9" * 5_000, "NaN", "-Infinity", "1e999", "-0", "1E+2"):
        body = f'{{"records": [{{"operationName": "a", "n": {number}}}, {json.dumps(B)}]}}'.encode()
        assert [record.operation for record in decode(body).records] == ["a", "b"]
        assert raw_records(body, {1}) == {1: dumped(B)}


@pytest.mark.parametrize("digits", [1_000, 4_299, 4_300, 4_301, 50_000])
@pytest.mark.parametrize("sign", ["", "-"])
def test_an_integer_of_any_length_is_a_number_by_either_parser(digits: int, sign: str) -> None:
    """As text it would be good for a text field, in one message and not in another."""
    body = f'{{"operationName": "a", "n": {sign}{"9" * digits}}}'.encode()
    (alone,) = values(decode(body))
    (beside, _) = values(decode(body + b'\n{"operationName": "b"}'))
    assert alone == beside
    assert isinstance(alone["n"], int) == (digits <= 4_300)
    assert not isinstance(alone["n"], str)


def test_lone_surrogates_stay_in_their_record() -> None:
    body = b'[{"operationName": "a", "x": "\\ud800"}, ' + dumped(B) + b"]"
    assert [record.operation for record in decode(body).records] == ["a", "b"]


# --- members ---------------------------------------------------------------------------------------------------------


def test_a_member_is_found_in_any_case_and_an_exact_key_wins() -> None:
    assert member({"ResourceId": 1}, "resourceId") == 1
    assert member({"RESOURCEID": 1, "resourceId": 2}, "resourceId") == 2
    assert member({"resource": 1}, "resourceId") is None


def test_lenient_json_raises_value_errors_only() -> None:
    assert lenient_json('{"a": "x\ny"}') == {"a": "x\ny"}
    for text in ("", "{'a': 1}", "1 2"):
        with pytest.raises(ValueError, match=r"."):
            lenient_json(text)
    with pytest.raises(ValueError, match=r"^nested too deeply$"):
        lenient_json("[" * 100_000)
