"""`rollups jobs`, and what all lists have: formats, columns, order, limit, width."""

import csv
import json
from datetime import UTC, datetime, timedelta

import pytest

from processors.columns import JOB_COLUMNS
from reader.cli.jobs import freshness
from reader.models import Job
from tests.reader.commands import lines, rollups

HOSTILE_JOB = "<b>'=1+1'</b>"
NEWEST_FIRST = ["weekly", "Weekly", "Nightly-42", HOSTILE_JOB]


def ids(connection: str, *arguments: str) -> list[str]:
    return lines(connection, *arguments, "--columns", "jobId")[1:]


def test_alone_it_lists_the_jobs_newest_first(connection: str) -> None:
    # Weekly of Contoso and Nightly-42 end on the same day, Weekly ten seconds after noon, too.
    assert sorted(ids(connection)[1:3]) == ["Nightly-42", "Weekly"]
    assert [ids(connection)[0], ids(connection)[3]] == ["weekly", HOSTILE_JOB]
    assert lines(connection) == lines(connection, "jobs")


@pytest.mark.parametrize(
    ("options", "jobs"),
    [
        (["--failed"], ["Nightly-42"]),
        (["--succeeded", "--account", "FABRIKAM"], ["weekly"]),
        (["--prefix", "NIGHT"], ["Nightly-42"]),
        (["--since", "2026-11-24"], ["weekly"]),
        (["--until", "2026-11-23T00:00Z"], [HOSTILE_JOB]),
        (["--account", "nobody"], []),
        (["--sort", "taskCount", "--limit", "2", "--reverse"], ["Nightly-42", HOSTILE_JOB]),
        (["--sort", "-TASKS", "--limit", "1"], ["Nightly-42"]),
        (["--sort", "job", "--reverse", "--limit", "2"], ["Weekly", "weekly"]),
        (["--sort=-max", "--limit", "1"], ["Nightly-42"]),
        (["--sort", "Timestamp", "--failed"], ["Nightly-42"]),
    ],
)
def test_which_jobs_in_which_order(connection: str, options: list[str], jobs: list[str]) -> None:
    assert ids(connection, *options) == jobs


def test_programs_get_the_columns_values(connection: str) -> None:
    columns = ["--prefix", "nightly", "--columns", "jobId,taskCount,exitCodes,lastEndTime,p50,jobid"]
    as_json = json.loads("\n".join(lines(connection, *columns, "--format", "json")))
    (as_ndjson,) = [json.loads(line) for line in lines(connection, *columns, "--format", "ndjson")]
    (as_csv,) = csv.DictReader(lines(connection, *columns, "--format", "csv"))
    head, row = (line.split("\t") for line in lines(connection, *columns))
    assert as_json == [as_ndjson]
    assert list(as_ndjson) == list(as_csv) == head
    assert head == ["jobId", "taskCount", "exitCodes", "lastEndTime", "p50DurationSeconds"]
    assert list(as_csv.values()) == row
    assert as_ndjson["exitCodes"] == json.loads(as_csv["exitCodes"]) == {"0": 181, "137": 20, "none": 1}
    assert row[:2] == ["Nightly-42", "201"]
    assert as_ndjson["lastEndTime"] == row[3] == "2026-11-23T12:00:10Z"


def test_every_column_there_is(connection: str) -> None:
    (job,) = json.loads("\n".join(lines(connection, "--failed", "--columns", "all", "--format", "json")))
    assert job.keys() == {*JOB_COLUMNS, "Timestamp"}


def test_no_jobs_in_every_format(connection: str) -> None:
    nobody = ["--account", "nobody"]
    assert lines(connection, *nobody, "--format", "table") == ["No jobs match."]
    assert json.loads("\n".join(lines(connection, *nobody, "--format", "json"))) == []
    assert lines(connection, *nobody, "--format", "ndjson") == []
    assert len(lines(connection, *nobody, "--format", "csv")) == len(lines(connection, *nobody)) == 1


@pytest.mark.parametrize(("width", "columns"), [(80, 6), (120, 10), (200, 13)])
def test_a_table_fits_and_shows_what_there_is_room_for(connection: str, width: int, columns: int) -> None:
    shown = lines(connection, "--format", "table", width=width)
    headings = [heading for heading in shown[0].split("  ") if heading.strip()]
    assert len(headings) >= columns
    assert {"job", "tasks", "failed", "last end"} <= {heading.strip() for heading in headings}
    assert max(map(len, shown)) <= width
    assert len(shown) == 2 + 4  # no cell is wrapped


def test_a_table_tells_how_many_jobs_it_leaves_out(connection: str) -> None:
    shown = lines(connection, "--format", "table", "--limit", "1")
    assert shown[2].startswith("weekly ")
    assert shown[3:] == ["1 of 4 jobs; --limit 0 shows all"]


def test_a_table_shows_outcomes_without_colour(connection: str) -> None:
    (row,) = [line for line in lines(connection, "--format", "table", width=200) if line.startswith("Nightly-42")]
    for cell in ("CONTOSO", "201", "█████████░", " 20 ", " 41 ", "24h 00m", "24.6"):
        assert cell in row


def test_a_table_of_chosen_columns(connection: str) -> None:
    shown = lines(connection, "--failed", "--format", "table", "--columns", "jobId,p95,exitCodes,lastEndTime,pools")
    assert shown[2].split("  ")[0] == "Nightly-42"
    for cell in ("10.1 s", "0: 181, 137: 20, none: 1", "2026-11-23 12:00:10Z", "(none): 1 (1 failed)"):
        assert cell in shown[2]


def test_what_was_asked_for_is_shown_even_where_it_is_too_wide(connection: str) -> None:
    columns = (
        "jobId,account,taskCount,succeededTasks,failedTasks,p50DurationSeconds,firstStartTime,lastEndTime,exitCodes"
    )
    shown = lines(connection, "--failed", "--format", "table", "--columns", columns, width=60)
    assert shown[0].split() == columns.split(",")
    assert shown[2].rstrip().endswith("0: 181, 137: 20, none: 1")


def test_whether_a_row_is_fresh() -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    ended = now - timedelta(hours=3)
    assert str(freshness(Job(last_end_time=ended, Timestamp=now), now)) == "● 3h 00m ago"
    assert str(freshness(Job(last_end_time=ended, Timestamp=ended), now)) == "  3h 00m ago"


def test_check_is_about_all_jobs_asked_for(connection: str) -> None:
    assert rollups(connection, "--check").exit_code == 1
    assert rollups(connection, "--check", "--limit", "1", "--columns", "jobId").exit_code == 1
    assert rollups(connection, "--check", "--account", "fabrikam").exit_code == 0
    assert rollups(connection).exit_code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--columns", "jobId,taskcounts"], "there is no column taskcounts; the columns are PartitionKey, "),
        (["--columns", ","], "--columns names none; for example --columns account,jobId,taskCount"),
        (["--sort", "size"], "there is no column size; the columns are "),
        (["--sort", "pools"], "pools has no order; sort by another column"),
        (["--since", "2x"], "is no time; for example 2d, 12h,"),
        (["--since", "1500-01-01"], "is too early"),
        (["--limit", "-1"], "--limit"),
        (["--format", "xml"], "--format"),
        (["--account", "\udcff"], "is no text in UTF-8"),
        (["--frmat", "csv"], "No such option: --frmat"),
    ],
)
def test_what_cannot_be_asked(connection: str, options: list[str], said: str) -> None:
    result = rollups(connection, *options)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""
