"""The HTTP API as a function: every route, every parameter and every refusal, on a filled account."""

import gzip
import json
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from azure.data.tables import TableServiceClient, UpdateMode
from azure.storage.blob import BlobServiceClient
from pydantic import BaseModel

from devstack.azurite import account_connection_string
from processors.columns import JOB_COLUMNS, JOBS, TASK_COLUMNS
from processors.dead_letter_blobs import CONTAINER
from processors.settings import load_storage
from reader import api, health
from reader.accounts import Account, account
from reader.api import Request, Response, Source, respond, respond_with_file
from reader.health import Checkup, Health
from reader.models import Job, Task
from reader.openapi import Error, JobList, NodeList, TaskList, document
from reader.parameters import SORTABLE, JobsQuery, TasksQuery, parse_query
from reader.queries import JOB_LIST_COLUMNS, JobFilter, TaskFilter
from tests.core.examples import an_execution
from tests.reader.filled import fill

KEYS = {"PartitionKey", "RowKey", "Timestamp"}
JOB_KEYS = KEYS | {"bucketCount", "contractVersion"}
NIGHTLY = "/api/jobs/contoso/nightly-42"
STRANGE_JOB = "<b>'=1+1'</b>"
STRANGE_TASK = "=cmd|' /C calc'!A0"


@pytest.fixture(scope="module", params=["filled", "spread"])
def source(request: pytest.FixtureRequest) -> Source:
    """The same jobs, in one bucket each and in several."""
    return Source(request.getfixturevalue(request.param))


def get(source: Source, target: str, method: str = "GET", **headers: str) -> Response:
    return respond(Request(method, target, {name.replace("_", "-"): text for name, text in headers.items()}), source)


def body(response: Response, status: int = 200) -> Any:
    assert response.status == status, response.body
    assert response.headers["Content-Type"] == "application/json"
    return json.loads(response.body)


def read(source: Source, target: str) -> Any:
    return body(get(source, target))


def refusal(response: Response, status: int) -> tuple[str, str]:
    """Code and message."""
    error = body(response, status)
    Error.model_validate(error)
    assert error.keys() == {"error"}
    assert error["error"].keys() == {"code", "message"}
    return error["error"]["code"], error["error"]["message"]


# --- jobs ------------------------------------------------------------------------------------------------------------


def test_jobs_come_newest_first_with_the_columns_of_a_list(source: Source) -> None:
    answer = read(source, "/api/jobs")
    JobList.model_validate(answer)
    assert answer["total"] == 4
    assert [job["jobId"] for job in answer["jobs"]] == ["weekly", "Nightly-42", "Weekly", STRANGE_JOB]
    assert answer["jobs"][1].keys() == {*JOB_LIST_COLUMNS} | JOB_KEYS
    assert answer["jobs"][1]["lastEndTime"] == "2026-11-23T12:00:10Z"
    assert answer["jobs"][1]["taskCount"] == 201


@pytest.mark.parametrize(
    ("query", "jobs"),
    [
        ("account=FABRIKAM", ["weekly"]),
        ("account=nobody", []),
        ("account=", []),
        ("failed=true", ["Nightly-42"]),
        ("failed=false&account=contoso", ["Weekly", STRANGE_JOB]),
        ("prefix=WEEK", ["weekly", "Weekly"]),
        ("prefix=", ["weekly", "Nightly-42", "Weekly", STRANGE_JOB]),
        ("since=2026-11-24", ["weekly"]),
        ("since=2026-11-23T12:00:10Z&until=2026-11-24T00:00:00%2B01:00", ["Nightly-42", "Weekly"]),
        ("until=2026-11-23T12:00:10", [STRANGE_JOB]),
        ("until=1600-12-31", []),
        ("since=0001-01-01T00:00:00%2B01:00&until=9999-12-31T23:59:59-01:00&limit=1", ["weekly"]),
        ("sort=jobId", [STRANGE_JOB, "Nightly-42", "Weekly", "weekly"]),
        ("sort=-taskCount&limit=1", ["Nightly-42"]),
        ("sort=lastEndTime&limit=1", [STRANGE_JOB]),
        ("limit=1&code=a-function-key&clientId=default", ["weekly"]),
    ],
)
def test_jobs_are_filtered_sorted_and_limited(source: Source, query: str, jobs: list[str]) -> None:
    assert [job["jobId"] for job in read(source, f"/api/jobs?{query}")["jobs"]] == jobs


def test_the_total_counts_what_the_limit_leaves_out(source: Source) -> None:
    answer = read(source, "/api/jobs?limit=1&account=contoso")
    assert (len(answer["jobs"]), answer["total"]) == (1, 3)


def test_columns_are_what_was_asked_for_and_what_sorts(source: Source) -> None:
    (job,) = read(source, "/api/jobs?columns=jobId,failures,pools&sort=-taskCount&limit=1")["jobs"]
    assert job.keys() == JOB_KEYS | {"jobId", "failures", "pools", "taskCount"}
    assert job["failures"] == {"FailureExitCode": 20, "BlobNotFound": 1}
    assert job["pools"]["pool0"]["completions"] == 101


@pytest.mark.parametrize("column", SORTABLE)
@pytest.mark.parametrize("sign", ["", "-"])
def test_every_column_sorts_with_absent_values_last(source: Source, column: str, sign: str) -> None:
    jobs = read(source, f"/api/jobs?sort={sign}{column}&columns={column}")["jobs"]
    given = [job[column].casefold() if isinstance(job[column], str) else job[column] for job in jobs if column in job]
    assert given == sorted(given, reverse=bool(sign))
    assert all(column in job for job in jobs[: len(given)])
    assert len(jobs) == 4


def test_jobs_without_a_value_come_last_either_way(empty_connection: str) -> None:
    never_started = an_execution(90, job_id="none", start=None, succeeded=False, exit_code=None)
    fill(empty_connection, [an_execution(1, job_id="first"), never_started, an_execution(2, job_id="second")])
    with account(load_storage({"RollupStorage": empty_connection})) as opened:
        for sign, order in (("", ["first", "second", "none"]), ("-", ["second", "first", "none"])):
            jobs = read(Source(opened), f"/api/jobs?sort={sign}firstStartTime")["jobs"]
            assert [job["jobId"] for job in jobs] == order


def test_one_job_has_all_its_columns(source: Source) -> None:
    job = read(source, "/api/jobs/CONTOSO/NIGHTLY-42")
    Job.model_validate({**job, **{name: json.dumps(job[name]) for name in job if isinstance(job[name], dict)}})
    assert job.keys() == {*JOB_COLUMNS, "Timestamp"}
    assert job["exitCodes"] == {"0": 181, "137": 20, "none": 1}


def test_an_id_with_anything_in_it_is_percent_encoded(source: Source) -> None:
    job = f"/api/jobs/contoso/{quote(STRANGE_JOB, safe='')}"
    assert read(source, job)["jobId"] == STRANGE_JOB
    assert [task["taskId"] for task in read(source, f"{job}/tasks")["tasks"]] == [STRANGE_TASK]
    assert read(source, f"{job}/tasks/{quote(STRANGE_TASK, safe='')}")["nodeId"] == "&"
    assert refusal(get(source, "/api/jobs/contoso/<b>'=1+1'</b>"), 404)[0] == "notFound"


# --- tasks and nodes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 201),
        ("failed=true", 20),
        ("failed=false", 181),
        ("retried=true", 40),
        ("requeued=true", 0),
        ("pool=pool1", 100),
        ("node=tvm-2", 50),
        ("exitCode=137", 19),
        ("exitCode=-1", 0),
        ("failureCode=BlobNotFound", 1),
        ("minDuration=10.5", 2),
        ("maxDuration=10", 198),
        ("since=2026-11-23", 1),
        ("until=2026-11-22T12:00:11Z", 1),
        ("prefix=FRAME-001", 10),
    ],
)
def test_tasks_are_filtered(source: Source, query: str, count: int) -> None:
    answer = read(source, f"{NIGHTLY}/tasks?limit=1000&{query}")
    TaskList.model_validate({"tasks": []} | {name: answer[name] for name in answer if name != "tasks"})
    assert len(answer["tasks"]) == count
    assert "continuation" not in answer
    assert all(task["jobId"] == "Nightly-42" for task in answer["tasks"])


def test_a_list_of_tasks_leaves_out_what_is_large(source: Source) -> None:
    first, *_ = read(source, f"{NIGHTLY}/tasks")["tasks"]
    assert first.keys() == {*TASK_COLUMNS, "Timestamp"} - {
        "executions",
        "olderExecutions",
        "failureCategory",
        "failureCode",
        "failureMessage",
    }
    assert first["completionCount"] == 2
    (listed,) = read(source, f"{NIGHTLY}/tasks?columns=taskId,executions&limit=1")["tasks"]
    assert listed.keys() == KEYS | {"taskId", "executions"}
    assert len(listed["executions"]) == 1


def test_pages_join_to_all_tasks_once(source: Source) -> None:
    ids: list[str] = []
    continuation = ""
    pages = 0
    while True:
        page = read(source, f"{NIGHTLY}/tasks?columns=taskId&limit=70{continuation}")
        ids += [task["taskId"] for task in page["tasks"]]
        pages += 1
        if "continuation" not in page:
            break
        continuation = f"&continuation={quote(page['continuation'])}"
    assert (len(ids), len(set(ids)), pages) == (201, 201, 3)


def test_one_task_has_its_earlier_executions(source: Source) -> None:
    task = read(source, f"{NIGHTLY}/tasks/FRAME-0000")
    Task.model_validate({**task, "executions": json.dumps(task["executions"])})
    assert task["executions"] == [
        {
            "startTime": "2026-11-22T12:00:00Z",
            "endTime": "2026-11-22T12:00:10Z",
            "exitCode": 137,
            "succeeded": False,
        }
    ]


def test_nodes(source: Source) -> None:
    answer = read(source, f"{NIGHTLY}/nodes")
    NodeList.model_validate(answer)
    assert [(node["poolId"], node["nodeId"], node["tasks"], node["failed"]) for node in answer["nodes"]] == [
        ("pool0", "tvm-0", 50, 9),
        ("pool0", "tvm-2", 50, 10),
        ("pool1", "tvm-1", 50, 0),
        ("pool1", "tvm-3", 50, 0),
    ]


# --- what is asked wrongly -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/api",
        "/api/",
        "/",
        "",
        "*",
        "/api/nothing",
        "/api/jobs/",
        "/api/jobs/contoso",
        f"{NIGHTLY}/",
        f"{NIGHTLY}/task",
        f"{NIGHTLY}/nodes/tvm-0",
        "//api/jobs",
        "/API/jobs",
        "/api/jobs%2Fcontoso",
    ],
)
def test_a_path_that_leads_nowhere(source: Source, target: str) -> None:
    code, message = refusal(get(source, target), 404)
    assert code == "notFound"
    assert "/api/openapi.json" in message


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("/api/jobs/contoso/nope", "there is no job nope in account contoso"),
        ("/api/jobs/fabrikam/nightly-42", "there is no job nightly-42 in account fabrikam"),
        ("/api/jobs/contoso/nope/tasks", "there is no job nope"),
        ("/api/jobs/contoso/nope/nodes", "there is no job nope"),
        ("/api/jobs/contoso/nope/tasks/t", "there is no job nope"),
        (f"{NIGHTLY}/tasks/nope", "there is no task nope in job nightly-42"),
        (f"/api/jobs/contoso/{'x' * 600}", "so long a name"),
        (f"/api/jobs/contoso/{'%C3%A9' * 100}/tasks", "so long a name"),
        (f"{NIGHTLY}/tasks/{'x' * 600}", "so long a name"),
        (f"/api/jobs/{'x' * 512}/j/tasks/t", "so long a name"),
    ],
)
def test_what_is_not_there_is_named(source: Source, target: str, said: str) -> None:
    code, message = refusal(get(source, target), 404)
    assert code == "notFound"
    assert said in message


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("/api/jobs?colour=red", ("there is no parameter colour", "account, since, until, failed, prefix, columns")),
        ("/api/jobs?exitCode=1", ("there is no parameter exitCode",)),
        ("/api/jobs?failed=yes", ("failed is 'yes'", "true or false")),
        ("/api/jobs?failed=", ("failed is ''", "true or false")),
        ("/api/jobs?failed", ("failed is ''", "true or false")),
        ("/api/jobs?failed=true&failed=true", ("failed is given twice",)),
        ("/api/jobs?since=yesterday", ("since is 'yesterday'", "2026-11-01")),
        ("/api/jobs?since=2026-11-01T00:00:00+01:00", ("since is", "%2B")),
        ("/api/jobs?limit=0", ("limit is 0", "greater than or equal to 1")),
        ("/api/jobs?limit=10001", ("limit is 10001", "less than or equal to 10000")),
        ("/api/jobs?limit=ten", ("limit is 'ten'", "a number")),
        ("/api/jobs?limit=1.5", ("limit is 1.5", "integer")),
        ("/api/jobs?limit=%D9%A1", ("limit is", "a number")),
        ("/api/jobs?sort=speed", ("sort is speed", "lastEndTime")),
        ("/api/jobs?sort=failures", ("sort is failures", "lastEndTime")),
        ("/api/jobs?sort=--taskCount", ("sort is --taskCount",)),
        ("/api/jobs?columns=jobId,speed", ("columns has 'speed'", "taskCount")),
        ("/api/jobs?columns=", ("columns has ''",)),
        ("/api/jobs?account=%FF", ("UTF-8",)),
        ("/api/jobs?account=%00", ("account has control characters",)),
        (f"/api/jobs?prefix={'x' * 1025}", ("prefix has 1,025 characters", "1,024")),
        ("/api/jobs/contoso/%FF", ("the path is not UTF-8",)),
        (f"{NIGHTLY}?failed=true", ("there is no parameter failed", "takes no parameters")),
        (f"{NIGHTLY}/nodes?limit=1", ("there is no parameter limit",)),
        (f"{NIGHTLY}/tasks/frame-0000?columns=taskId", ("there is no parameter columns",)),
        (f"{NIGHTLY}/tasks?limit=1001", ("limit is 1001", "1000")),
        (f"{NIGHTLY}/tasks?sort=taskId", ("there is no parameter sort",)),
        (f"{NIGHTLY}/tasks?columns=jobId,taskCount", ("columns has 'taskCount'", "exitCode")),
        (f"{NIGHTLY}/tasks?exitCode=2147483648", ("exitCode is 2147483648",)),
        (f"{NIGHTLY}/tasks?exitCode=1e999", ("exitCode is inf",)),
        (f"{NIGHTLY}/tasks?minDuration=NaN", ("minDuration is 'NaN'",)),
        (f"{NIGHTLY}/tasks?minDuration=-1", ("minDuration is -1", "greater than or equal to 0")),
        (f"{NIGHTLY}/tasks?maxDuration=1e999", ("maxDuration is inf", "finite")),
        (f"{NIGHTLY}/tasks?exit_code=1", ("there is no parameter exit_code",)),
        (f"{NIGHTLY}/tasks?continuation=nope", ("continuation", "first page")),
        (f"{NIGHTLY}/tasks?continuation=WzEsMl0=", ("continuation", "first page")),
        ("/api/health?deep=true", ("there is no parameter deep",)),
        ("/api/openapi.json?v=3", ("there is no parameter v",)),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_right(source: Source, target: str, said: tuple[str, ...]) -> None:
    code, message = refusal(get(source, target), 400)
    assert code == "badRequest"
    for part in said:
        assert part in message


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "ANY"])
@pytest.mark.parametrize("target", ["/api/jobs", "/api/dashboard"])
def test_other_methods_are_refused(source: Source, method: str, target: str) -> None:
    response = get(source, target, method)
    assert refusal(response, 405)[0] == "methodNotAllowed"
    assert response.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("1600-12-31", "1601-01-01T00:00:00+00:00"),
        ("0001-01-01T00:00:00%2B01:00", "1601-01-01T00:00:00+00:00"),
        ("9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59.999999+00:00"),
        ("2026-11-22T13:00:00%2B01:00", "2026-11-22T12:00:00+00:00"),
    ],
)
def test_a_time_beyond_those_of_rows_is_asked_for_as_the_nearest(given: str, asked: str) -> None:
    """The server knows none before 1601, and refuses them."""
    assert str(parse_query(JobsQuery, f"since={given}").since).replace(" ", "T") == asked


def test_every_filter_is_a_parameter_under_its_column_like_name() -> None:
    described = {path: {p["name"] for p in item["get"]["parameters"]} for path, item in document()["paths"].items()}
    jobs, tasks = described["/api/jobs"], described["/api/jobs/{account}/{job}/tasks"]
    assert len(jobs) == len(JobFilter.model_fields) + 3 == len(JobsQuery.model_fields)
    assert len(tasks) - 2 == len(TaskFilter.model_fields) + 3 == len(TasksQuery.model_fields)
    assert {"exitCode", "failureCode", "minDuration", "maxDuration"} <= tasks


# --- health ----------------------------------------------------------------------------------------------------------


def test_health(source: Source) -> None:
    answer = read(source, "/api/health")
    Health.model_validate(answer)
    newest = max(job["Timestamp"] for job in read(source, "/api/jobs")["jobs"])
    assert answer == {
        "status": "ok",
        "jobs": 4,
        "newestEvent": "2026-11-24T12:00:10Z",
        "newestWrite": newest,
        "deadLetters": {"count": 1, "more": False},
    }


def test_health_of_an_account_in_which_nothing_was_counted(empty_connection: str) -> None:
    with account(load_storage({"RollupStorage": empty_connection})) as opened:
        answer = read(Source(opened), "/api/health")
        assert answer == {"status": "ok", "jobs": 0, "deadLetters": {"count": 0, "more": False}}
        assert read(Source(opened), "/api/jobs") == {"jobs": [], "total": 0}


def test_dead_letters_are_counted_up_to_a_bound(empty_connection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LETTERS_COUNTED", 2)
    with account(load_storage({"RollupStorage": empty_connection})) as opened:
        container = opened.blobs.create_container(CONTAINER)
        for number, counted in enumerate([(1, False), (2, False), (2, True), (2, True)]):
            container.upload_blob(f"hub/0/{number}", b"{}")
            letters = Checkup(opened).health().dead_letters
            assert letters is not None
            assert (letters.count, letters.more) == counted


def test_an_account_is_looked_at_once_in_a_while(empty_connection: str) -> None:
    now = 0.0
    with account(load_storage({"RollupStorage": empty_connection})) as opened:
        checkup = Checkup(opened, lambda: now)
        assert checkup.health().jobs == 0
        fill(empty_connection, [an_execution()])
        now = health.CACHED_SECONDS - 0.1
        assert checkup.health().jobs == 0
        now = health.CACHED_SECONDS
        assert checkup.health().jobs == 1


# --- storage that is away, rows that are not ours --------------------------------------------------------------------


@contextmanager
def clients(tables: str, blobs: str) -> Iterator[Account]:
    """Clients that do not try again."""
    with (
        TableServiceClient.from_connection_string(tables, retry_total=0) as table_service,
        BlobServiceClient.from_connection_string(blobs, retry_total=0) as blob_service,
    ):
        yield Account(table_service, blob_service)


@pytest.fixture
def nowhere() -> Iterator[str]:
    """The connection string of an account at a port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        yield account_connection_string(port, port, port)


@pytest.mark.parametrize("target", ["/api/jobs", NIGHTLY, f"{NIGHTLY}/tasks", f"{NIGHTLY}/nodes", "/api/health"])
def test_storage_that_is_away_is_503(nowhere: str, target: str, caplog: pytest.LogCaptureFixture) -> None:
    with clients(nowhere, nowhere) as gone:
        response = get(Source(gone), target)
    code, message = refusal(response, 503)
    assert code == "storageUnavailable"
    assert "127.0.0.1" not in message
    assert int(response.headers["Retry-After"]) > 0
    assert "127.0.0.1" in caplog.text


def test_health_remembers_that_storage_was_away(nowhere: str, connection: str) -> None:
    now = 0.0
    with clients(nowhere, nowhere) as gone, clients(connection, connection) as back:
        source = Source(gone)
        object.__setattr__(source, "checkup", checkup := Checkup(gone, lambda: now))
        refusal(get(source, "/api/health"), 503)
        checkup.account = back
        refusal(get(source, "/api/health"), 503)
        now = health.CACHED_SECONDS
        assert read(source, "/api/health")["jobs"] == 4


def test_a_wrong_key_is_503_for_the_client_and_advice_in_the_log(
    connection: str, caplog: pytest.LogCaptureFixture
) -> None:
    parts = dict(part.split("=", 1) for part in connection.rstrip(";").split(";"))
    wrong = ";".join(f"{name}={value}" for name, value in {**parts, "AccountKey": "d3Jvbmc="}.items())
    with clients(wrong, wrong) as forbidden:
        assert refusal(get(Source(forbidden), "/api/jobs"), 503)[0] == "storageUnavailable"
    assert 'the role "Storage Table Data Reader"' in caplog.text


def test_dead_letters_that_cannot_be_listed_are_absent(filled: Account, nowhere: str) -> None:
    with clients(nowhere, nowhere) as gone:
        answer = read(Source(replace(filled, blobs=gone.blobs)), "/api/health")
    assert answer["status"] == "ok"
    assert "deadLetters" not in answer


def test_a_row_that_is_not_ours_is_500_and_named(empty_connection: str) -> None:
    fill(empty_connection, [an_execution(account="contoso", job_id="edited")])
    with account(load_storage({"RollupStorage": empty_connection})) as opened:
        table = opened.tables.get_table_client(JOBS)
        table.update_entity({"PartitionKey": "contoso", "RowKey": "edited", "failures": "{"}, UpdateMode.MERGE)
        code, message = refusal(get(Source(opened), "/api/jobs/contoso/edited"), 500)
    assert code == "unreadableRow"
    assert "'contoso' / 'edited'" in message
    assert "failures" in message


def test_a_mistake_of_ours_is_500_without_internals(
    source: Source, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("s3cret")

    monkeypatch.setattr(api, "_jobs", fail)
    response = get(source, "/api/jobs")
    assert refusal(response, 500) == ("internal", "the request failed; the log says why")
    assert "RuntimeError: s3cret" in caplog.text
    assert [record.levelno for record in caplog.records if record.name == "reader.api"] == [logging.ERROR]


# --- HTTP ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/api/jobs", "/api/nothing", "/api/dashboard", "/api/dashboard/"])
def test_every_response_has_the_security_headers(source: Source, target: str) -> None:
    headers = get(source, target).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_head_is_get_without_its_body(source: Source) -> None:
    assert get(source, "/api/jobs", "HEAD") == get(source, "/api/jobs")  # the server leaves the body out


def test_what_has_not_changed_is_not_sent_again(source: Source) -> None:
    whole = get(source, "/api/jobs")
    etag = whole.headers["ETag"]
    assert whole.headers["Cache-Control"] == "private, no-cache"
    for condition in (etag, f'"other", {etag}', "*", etag.removeprefix("W/")):
        unchanged = get(source, "/api/jobs", if_none_match=condition)
        assert (unchanged.status, unchanged.body, unchanged.headers["ETag"]) == (304, b"", etag)
    for condition in ('"other"', "", "W/"):
        assert get(source, "/api/jobs", if_none_match=condition) == whole
    assert get(source, "/api/jobs?limit=1").headers["ETag"] != etag
    assert get(source, "/api/nothing", if_none_match="*").status == 404


@pytest.mark.parametrize("accepted", ["gzip", "GZIP", "br, gzip;q=0.5", "*", "gzip ; q=1"])
def test_a_large_answer_is_compressed_where_that_is_accepted(source: Source, accepted: str) -> None:
    plain = get(source, f"{NIGHTLY}/tasks")
    compressed = get(source, f"{NIGHTLY}/tasks", accept_encoding=accepted)
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(compressed.body) == plain.body
    assert compressed.headers["ETag"] == plain.headers["ETag"]
    assert plain.headers["Vary"] == compressed.headers["Vary"] == "Accept-Encoding"
    assert len(compressed.body) < len(plain.body) / 5


@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0", "*;q=0", "gzip; q=0.0, *"])
def test_it_is_whole_where_that_is_not_accepted(source: Source, accepted: str) -> None:
    assert "Content-Encoding" not in get(source, f"{NIGHTLY}/tasks", accept_encoding=accepted).headers


def test_a_small_answer_is_not_compressed(source: Source) -> None:
    assert "Content-Encoding" not in get(source, "/api/health", accept_encoding="gzip").headers


# --- the dashboard's files -------------------------------------------------------------------------------------------


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    folder.mkdir()
    (folder / "dashboard.html").write_text("<!doctype html>ö", encoding="utf-8")
    (folder / "dashboard.js").write_text("// " + "x" * 5000)
    (folder / "notes").write_text("no type")
    (tmp_path / "secret.txt").write_text("s3cret")
    return folder


def file(folder: Path, path: str, **headers: str) -> Response:
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    return respond_with_file(Request("GET", path, given), folder)


def test_the_page_and_its_files(built: Path) -> None:
    page = file(built, "/api/dashboard?job=1")
    assert (page.status, page.body.decode()) == (200, "<!doctype html>ö")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    script = file(built, "/api/dashboard/dashboard.js", accept_encoding="gzip")
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert gzip.decompress(script.body).startswith(b"// xxx")
    assert file(built, "/api/dashboard/dashboard.js", if_none_match=script.headers["ETag"]).status == 304


def test_a_file_that_was_built_again_is_read_again(built: Path) -> None:
    before = file(built, "/api/dashboard/dashboard.js").headers["ETag"]
    (built / "dashboard.js").write_text("// new")
    after = file(built, "/api/dashboard/dashboard.js")
    assert after.body == b"// new"
    assert after.headers["ETag"] != before


@pytest.mark.parametrize(
    "name",
    ["nothing.js", "notes", "../secret.txt", "%2e%2e/secret.txt", "..%2Fsecret.txt", "/etc/passwd", "dashboard.html/"],
)
def test_nothing_else_is_a_file_of_it(built: Path, name: str) -> None:
    assert refusal(file(built, f"/api/dashboard/{name}"), 404)[0] == "notFound"


def test_a_slash_at_the_end_leads_to_the_page(built: Path) -> None:
    response = file(built, "/api/dashboard/")
    assert (response.status, response.headers["Location"]) == (308, "/api/dashboard")


@pytest.mark.parametrize("path", ["/api/jobs", NIGHTLY, "/api/dashboard/../jobs", "/api/dashboardx", "/API/dashboard"])
def test_the_files_are_never_data(built: Path, path: str) -> None:
    """The function that serves them asks for no key."""
    assert refusal(file(built, path), 404)[0] == "notFound"


@pytest.mark.parametrize("path", ["/api/dashboard", "/api/dashboard/dashboard.js"])
def test_a_dashboard_that_is_not_built_says_so(tmp_path: Path, path: str) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        response = file(folder, path)
        assert response.status == 503
        assert b"is not built" in response.body
        assert response.headers["Content-Type"].startswith("text/plain")


# --- the description -------------------------------------------------------------------------------------------------


def test_the_description_is_served_and_names_every_route(source: Source) -> None:
    described = read(source, "/api/openapi.json")
    assert described == document()
    assert described["openapi"].startswith("3.1")
    assert described["paths"].keys() == {
        "/api/jobs",
        "/api/jobs/{account}/{job}",
        "/api/jobs/{account}/{job}/tasks",
        "/api/jobs/{account}/{job}/tasks/{task}",
        "/api/jobs/{account}/{job}/nodes",
        "/api/health",
    }


def test_every_column_and_every_reference_is_in_the_description() -> None:
    described = document()
    schemas = described["components"]["schemas"]
    assert {*JOB_COLUMNS, "Timestamp"} == schemas["Job"]["properties"].keys()
    assert {*TASK_COLUMNS, "Timestamp"} == schemas["Task"]["properties"].keys()
    references = {part.split('"')[0] for part in json.dumps(described).split('"#/components/schemas/')[1:]}
    assert references <= schemas.keys()
    assert references >= {"Job", "Task", "Node", "Health", "Error"}


@pytest.mark.parametrize("model", [JobList, TaskList, NodeList, Health])
def test_answers_have_no_property_that_is_not_described(model: type[BaseModel]) -> None:
    properties = document()["components"]["schemas"][model.__name__]["properties"]
    assert properties.keys() == {field.alias or name for name, field in model.model_fields.items()}


def test_the_documentation_names_every_route_parameter_and_code() -> None:
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    described = document()
    for path, item in described["paths"].items():
        assert f"`GET {path}`" in text
        for parameter in item["get"]["parameters"]:
            assert parameter["in"] == "path" or f"`{parameter['name']}`" in text
    codes = described["components"]["schemas"]["ErrorDetails"]["properties"]["code"]["description"]
    for code in codes.removeprefix("for programs: ").split(", "):
        assert f"`{code}`" in text
