"""`rollups job`, `tasks`, `task` and `nodes`: one job from all sides."""

import json

import pytest

from processors.columns import JOB_COLUMNS, TASK_COLUMNS
from reader.cli.tasks import executions
from reader.models import Task
from tests.reader.commands import lines, rollups

FAILED = [f"Frame-{number:04}" for number in range(10, 200, 10)]


def objects(connection: str, *arguments: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in lines(connection, *arguments, "--format", "ndjson")]


def ids(connection: str, *arguments: str) -> list[object]:
    return [task["taskId"] for task in objects(connection, "tasks", "NIGHTLY-42", *arguments, "--columns", "taskId")]


def test_a_job_on_one_page(connection: str) -> None:
    page = lines(connection, "job", "nightly-42", "--format", "table")
    text = "\n".join(line.rstrip() for line in page)
    for said in (
        "Nightly-42  in Batch account CONTOSO",
        "181 succeeded, 20 failed (10.0%)",
        "202, with 41 retries and 0 requeues; 0 failed with no retry left",
        "2026-11-22 12:00:00Z",
        "max 24h 00m",
        "longest: Frame-0000",
        "32m 00s a block; at most 201 in one",
        "≤ 16.0 s  199  ██████████████████████████████",
        "137    20  ███▍",
        "BlobNotFound      1  █▌",
        "(none)           1       1   100%    0.0 s",
        "Nodes: 4, of which 1 fail more than the rest",
        "tvm-2  pool0     50  ████████░░      10  ▲ 20.0%       10  8m 20s",
        "Longest tasks; 2 stragglers took more than 2 times p95, 20.2 s",
        "Frame-0077    1m 10s      6.9x  ok          0  tvm-1",
    ):
        assert said in text
    assert max(map(len, page)) <= 120


def test_a_page_without_the_tasks_or_with_fewer_lines(connection: str) -> None:
    text = "\n".join(lines(connection, "job", "nightly-42", "--format", "table", "--no-tasks", "--top", "1"))
    assert "Nodes: " not in text
    assert "Longest" not in text
    assert "2 more; --top shows more" in text  # pools
    assert "\n2 more" in text  # exit codes


@pytest.mark.parametrize("width", [80, 200])
def test_a_page_fits(connection: str, width: int) -> None:
    assert max(map(len, lines(connection, "job", "nightly-42", "--format", "table", width=width))) <= width


def test_a_job_for_programs_is_its_row(connection: str) -> None:
    row = json.loads("\n".join(lines(connection, "job", "contoso/NIGHTLY-42", "--format", "json")))
    assert row.keys() == {*JOB_COLUMNS, "Timestamp"}
    head, values = lines(connection, "job", "nightly-42", "--columns", "taskCount,jobId")
    assert (head, values) == ("taskCount\tjobId", "201\tNightly-42")
    sheet = lines(connection, "job", "nightly-42", "--columns", "taskCount,jobId", "--format", "table")
    assert [line.split() for line in sheet] == [["taskCount", "201"], ["jobId", "Nightly-42"]]


def test_ids_need_no_case_and_may_name_the_account(connection: str) -> None:
    for arguments in (["FABRIKAM/WEEKLY"], ["weekly", "--account", "fabrikam"]):
        (job,) = objects(connection, "job", *arguments, "--columns", "account,jobId")
        assert job == {"account": "Fabrikam", "jobId": "weekly"}
    (job,) = objects(connection, "job", "<b>'=1+1'</b>", "--columns", "jobId")  # has a slash, and names no account
    assert job == {"jobId": "<b>'=1+1'</b>"}


@pytest.mark.parametrize("command", ["job", "tasks", "nodes"])
def test_jobs_that_cannot_be_found(connection: str, command: str) -> None:
    missing = rollups(connection, command, "nightly-43")
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert missing.stderr == "rollups: there is no job nightly-43; `rollups jobs` lists what there is\n"
    several = rollups(connection, command, "weekly")
    assert several.exit_code == 2
    assert several.stderr == "rollups: several accounts have a job weekly: CONTOSO, Fabrikam; name the account\n"
    nowhere = rollups(connection, command, "fabrikam/nightly-42")
    assert "there is no job nightly-42 in account fabrikam" in nowhere.stderr


@pytest.mark.parametrize(
    ("options", "tasks"),
    [
        (["--failed"], [*FAILED, "never-ran"]),
        (["--failed", "--never-retried"], ["never-ran"]),
        (["--succeeded", "--prefix", "frame-019"], [f"Frame-019{number}" for number in range(1, 10)]),
        (["--retried", "--node", "tvm-3", "--until", "2026-11-22T12:01Z"], ["Frame-0015", "Frame-0035"]),
        (["--requeued"], []),
        (["--never-requeued", "--pool", "pool1", "--min-duration", "1m"], ["Frame-0077"]),
        (["--max-duration", "9.5"], []),
        (["--exit-code", "137", "--prefix", "Frame-00"], [f"Frame-00{number}0" for number in range(1, 10)]),
        (["--failure-code", "BlobNotFound"], ["never-ran"]),
        (["--since", "2026-11-23"], ["Frame-0000"]),
        (["--sort", "-duration", "--limit", "2"], ["Frame-0000", "Frame-0077"]),
        (["--sort", "endTime", "--limit", "2"], ["never-ran", "Frame-0001"]),
        (["--sort", "startTime", "--reverse", "--limit", "2"], ["Frame-0199", "Frame-0198"]),
        (["--limit", "3"], ["Frame-0000", "Frame-0001", "Frame-0002"]),
    ],
)
def test_which_tasks_in_which_order(connection: str, options: list[str], tasks: list[str]) -> None:
    assert ids(connection, *options) == tasks


def test_all_tasks_and_all_their_columns(connection: str) -> None:
    assert len(ids(connection)) == 201
    (task,) = objects(connection, "tasks", "nightly-42", "--columns", "all", "--prefix", "frame-0000")
    assert task.keys() == {*TASK_COLUMNS, "Timestamp"} - {
        "failureCategory", "failureCode", "failureMessage", "olderExecutions",
    }  # fmt: skip


def test_tasks_as_a_table(connection: str) -> None:
    shown = lines(connection, "tasks", "nightly-42", "--failed", "--limit", "2", "--format", "table", width=80)
    assert shown[2].split() == ["Frame-0010", "failed", "137", "10.0", "s", "tvm-2", "2026-11-22", "12:00:20Z"]
    assert shown[4:] == ["The first 2; --limit 0 shows all"]
    everything = lines(connection, "tasks", "nightly-42", "--limit", "0", "--format", "table")
    assert len(everything) == 2 + 201
    none = lines(connection, "tasks", "nightly-42", "--requeued", "--format", "table")
    assert none == ["No tasks match."]


def test_one_task_with_all_its_executions(connection: str) -> None:
    shown = [line.split() for line in lines(connection, "task", "nightly-42", "FRAME-0000", "--format", "table")]
    assert ["durationSeconds", "24h", "00m"] in shown
    assert ["Executions:", "2,", "newest", "first"] in shown
    assert [row[-2:] for row in shown[-2:]] == [["ok", "0"], ["failed", "137"]]
    task = json.loads("\n".join(lines(connection, "task", "nightly-42", "frame-0000", "--format", "json")))
    assert task["executions"][0]["exitCode"] == 137
    (only,) = objects(connection, "task", "nightly-42", "frame-0000", "--columns", "nodeId,exitCode")
    assert only == {"nodeId": "tvm-0", "exitCode": 0}
    missing = rollups(connection, "task", "nightly-42", "frame-9")
    assert missing.exit_code == 2
    assert missing.stderr == "rollups: there is no task frame-9 in job nightly-42 of account contoso\n"


def test_ids_can_neither_act_on_a_terminal_nor_in_a_spreadsheet(connection: str) -> None:
    head, row = lines(connection, "tasks", "<b>'=1+1'</b>", "--columns", "taskId", "--format", "csv")
    assert (head, row) == ("taskId", "'=cmd|' /C calc'!A0")
    assert "=cmd|' /C calc'!A0" in "\n".join(lines(connection, "tasks", "<b>'=1+1'</b>", "--format", "table"))


def test_nodes_the_worst_first(connection: str) -> None:
    nodes = objects(connection, "nodes", "nightly-42")
    assert [(node["nodeId"], node["failureRate"], node["standsOut"]) for node in nodes] == [
        ("tvm-2", 0.2, True), ("tvm-0", 0.18, False), ("tvm-1", 0.0, False), ("tvm-3", 0.0, False),
    ]  # fmt: skip
    assert nodes[0]["busySeconds"] == 500.0
    by_busy = objects(connection, "nodes", "nightly-42", "--sort", "-busy", "--limit", "1", "--columns", "node,tasks")
    assert by_busy == [{"nodeId": "tvm-0", "tasks": 50}]
    shown = lines(connection, "nodes", "nightly-42", "--format", "table", width=80)
    assert "▲ 20.0%" in shown[2]
    assert "▲" not in shown[3]


@pytest.mark.parametrize("command", [["job"], ["tasks", "--succeeded", "--limit", "1"], ["nodes"]])
def test_check_is_about_the_job(connection: str, command: list[str]) -> None:
    name, *options = command
    assert rollups(connection, name, "nightly-42", *options).exit_code == 0
    assert rollups(connection, name, "nightly-42", *options, "--check").exit_code == 1
    assert rollups(connection, name, "fabrikam/weekly", *options, "--check").exit_code == 0


def test_check_of_a_task_is_about_the_task(connection: str) -> None:
    assert rollups(connection, "task", "nightly-42", "frame-0010", "--check").exit_code == 1
    assert rollups(connection, "task", "nightly-42", "frame-0011", "--check").exit_code == 0


def test_the_oldest_executions_are_known_by_their_times() -> None:
    task = Task.model_validate({"olderExecutions": "AAAAAAAPQkCAAAAAAAAAAA=="})
    assert [(run.end_time is not None, run.start_time) for run in executions(task)][1:] == [(True, None)]
