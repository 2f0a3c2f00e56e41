"""What is typed and what is shown: times, durations, columns, order, escapes; and what counts as far from the rest."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta, timezone
from math import comb, isclose

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from reader.cli import output
from reader.cli.job import histogram, sparkline, squeezed
from reader.cli.listing import ordered
from reader.cli.options import parse_duration, parse_time, split_job
from reader.cli.output import Column, Format
from reader.models import Node
from reader.outliers import at_least, failing_nodes
from reader.text import csv_cell, json_text, tsv_cell

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2d", datetime(2026, 11, 20, 12, tzinfo=UTC)),
        ("12h", datetime(2026, 11, 22, tzinfo=UTC)),
        ("30m", datetime(2026, 11, 22, 11, 30, tzinfo=UTC)),
        (" 45s ", datetime(2026, 11, 22, 11, 59, 15, tzinfo=UTC)),
        ("1w", datetime(2026, 11, 15, 12, tzinfo=UTC)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T08:30", datetime(2026, 11, 1, 8, 30, tzinfo=UTC)),
        ("2026-11-01 08:30:00+02:00", datetime(2026, 11, 1, 6, 30, tzinfo=UTC)),
        ("2026-11-01T08:30:00.25Z", datetime(2026, 11, 1, 8, 30, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_times(text: str, time: datetime) -> None:
    assert parse_time(text, NOW) == time
    assert parse_time(text, NOW).tzinfo == UTC


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2", "d", "-2d", "2y", "2026-13-01", "999999999w", "0001-01-01T00:00+09:00"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"is no time; for example 2d|is too early"):
        parse_time(text, NOW)


@given(st.integers(0, 10**10), st.integers(-840, 840))
def test_every_time_in_iso_8601_is_read(seconds: int, offset: int) -> None:
    time = datetime.fromtimestamp(seconds, timezone(timedelta(minutes=offset)))
    assert parse_time(time.isoformat()) == time


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1.5", 1.5), ("5m", 300), ("0.5h", 1800), ("1d", 86_400)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1e9", "nan", "5 minutes", "1h30m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no duration; for example"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "account", "split"),
    [
        ("nightly", None, ("nightly", None)),
        ("contoso/nightly", None, ("nightly", "contoso")),
        ("contoso/nightly", "other", ("contoso/nightly", "other")),
        ("c/nightly", None, ("c/nightly", None)),
    ],
)
def test_a_job_may_have_its_account_with_it(text: str, account: str | None, split: tuple[str, str | None]) -> None:
    assert split_job(text, account) == split


@given(st.lists(st.none() | st.integers(0, 9)), st.integers(0, 12), st.booleans())
def test_a_limit_keeps_the_first_of_all_in_order(values: list[int | None], limit: int, descending: bool) -> None:
    rows = list(enumerate(values))
    known = sorted((row for row in rows if row[1] is not None), key=lambda row: row[1] or 0, reverse=descending)
    expected = known + [row for row in rows if row[1] is None]
    assert ordered(rows, lambda row: row[1], limit, descending=descending) == expected[: limit or None]


@given(st.text())
def test_no_cell_can_break_a_line_or_steer_a_terminal(text: str) -> None:
    assert not set(tsv_cell(text)) & {"\t", "\n", "\r", "\x1b", "\x9b", "\x7f"}
    assert output.printable(text).isprintable()
    assert not {"\x1b", "\x9b", "\x7f"} & set(json_text(text))
    assert json.loads(json_text(text)) == text


@given(st.lists(st.text(), min_size=1))
def test_csv_is_read_back_and_begins_no_formula(cells: list[str]) -> None:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow([csv_cell(cell) for cell in cells])
    (read,) = csv.reader(io.StringIO(written.getvalue(), newline=""))
    for cell, found in zip(cells, read, strict=True):
        assert not found.startswith(("=", "+", "-", "@", "\t", "\r"))
        if cell.isprintable():
            assert found.removeprefix("'") == cell.removeprefix("'")


def test_numbers_are_no_formulas() -> None:
    assert [csv_cell(value) for value in (-1, -0.5, True, None, "-1", [1])] == [
        "-1",
        "-0.5",
        "true",
        "",
        "'-1",
        "[1]",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""), (0, "0.0 s"), (0.004, "4.0 ms"), (8, "8.0 s"), (59.94, "59.9 s"), (59.96, "1m 00s"),
        (245, "4m 05s"),
        (3599.6, "1h 00m"), (47_940, "13h 19m"), (788_400, "9d 03h"), (90_000_000, "1,041d 16h"),
    ],
)  # fmt: skip
def test_durations_for_people(seconds: float | None, text: str) -> None:
    assert output.duration(seconds) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 0, ""), (0, 5, "0%"), (5, 5, "100%"), (1, 8, "12.5%"), (1, 10**6, "0.1%"), (10**6 - 1, 10**6, "99.9%")],
)
def test_shares_are_never_rounded_to_none_or_all(part: int, whole: int, text: str) -> None:
    assert output.percent(part, whole) == text


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(2, 40))
def test_a_bar_shows_every_outcome_that_there_is(succeeded: int, failed: int, width: int) -> None:
    bar = str(output.bar(succeeded, failed, width))
    assert len(bar) == (width if succeeded + failed else 0)
    assert ("█" in bar, "░" in bar) == (succeeded > 0, failed > 0)


def test_how_long_ago() -> None:
    seconds = [0, 12, 185, -7200]
    assert [output.ago(NOW - timedelta(seconds=number), NOW) for number in seconds] == [
        "now", "12 s ago", "3m 05s ago", "in 2h 00m",
    ]  # fmt: skip


def test_charts() -> None:
    assert sparkline([0, 1, 4, 8, 2]) == " ▁▄█▂"
    assert squeezed([1, 2, 3, 4, 5], 2) == ([6, 9], 3)
    cells = [column._cells for column in histogram({"1": 4, "4": 2, "64": 1}).columns]  # noqa: SLF001
    assert cells[0] == ["≤ 1.0 s", "≤ 2.0 s", "≤ 4.0 s", "⋮", "≤ 1m 04s"]
    assert cells[1] == ["4", "0", "2", "", "1"]


def test_a_long_table_is_written_as_it_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    read = 0

    def rows() -> object:
        nonlocal read
        for number in range(2_500):
            read += 1
            yield number
            if number == 1_500:
                assert "999" in capsys.readouterr().out

    columns = [Column[object]("number", str, right=True), Column[object]("dropped", lambda _: "x" * 200, priority=1)]
    assert output.write_table(output.console(), columns, rows()) == read == 2_500  # type: ignore[arg-type]
    assert "dropped" not in capsys.readouterr().out


def test_rows_are_written_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    def rows() -> object:
        for number in range(3):
            yield {"a": number, "b": None}
            assert f"{number}" in capsys.readouterr().out

    for format_ in (Format.JSON, Format.NDJSON, Format.CSV, Format.TSV):
        output.write_rows(rows(), format_, ["a", "b"])  # type: ignore[arg-type]


@given(st.integers(1, 60), st.data())
def test_the_chance_of_so_many_failures(trials: int, data: st.DataObject) -> None:
    successes, percent = data.draw(st.integers(0, trials)), data.draw(st.integers(1, 99))
    rate = percent / 100
    exact = sum(comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(successes, trials + 1))
    assert isclose(at_least(successes, trials, rate), exact, rel_tol=1e-9)


def nodes(*outcomes: tuple[int, int]) -> list[Node]:
    return [
        Node(pool_id="p", node_id=f"n{number}", tasks=tasks, failed=failed)
        for number, (tasks, failed) in enumerate(outcomes)
    ]


@pytest.mark.parametrize(
    ("outcomes", "bad"),
    [
        ([], []),
        ([(100, 100)], []),  # there is no rest
        ([(100, 0)] * 9 + [(100, 1)], []),  # one failure is no finding
        ([(100, 0)] * 9 + [(100, 6)], ["n9"]),
        ([(1, 1)] + [(1, 0)] * 50, []),
        ([(100, 5)] * 20, []),
        ([(100, 50)] * 3, []),  # all the same
        ([(1000, 10)] * 8 + [(1000, 40), (1000, 900)], ["n9"]),
        ([(1_000_000, 1_000)] * 5 + [(1_000_000, 2_000)], ["n5"]),
    ],
)
def test_nodes_that_fail_more_than_the_rest(outcomes: list[tuple[int, int]], bad: list[str]) -> None:
    assert [node.node_id for node in failing_nodes(nodes(*outcomes))] == bad
