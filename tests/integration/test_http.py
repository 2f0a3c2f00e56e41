"""The app's HTTP functions, run by Microsoft's worker library: the API and the dashboard as they are in Azure."""

import gzip
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from devstack.stack import Stack
from tests.functions_host.harness import Answer, request
from tests.reader.filled import BAD, EXECUTIONS, fill

STRANGE = "/api/jobs/contoso/" + quote("<b>'=1+1'</b>", safe="")
IN_AZURE = {"ApiAuthLevel": "anonymous", "CONTAINER_NAME": "a-flex-consumption-instance"}
SIGNED_IN = {"X-MS-CLIENT-PRINCIPAL": "eyJhdXRoX3R5cCI6ImFhZCJ9"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(logs=tmp_path_factory.mktemp("logs")) as running:
        fill(running.storage_connection, EXECUTIONS, bad=BAD)
        yield running


def ask(stack: Stack, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
    port = urlsplit(stack.http_url).port
    assert port is not None
    return request(port, path, method, headers=headers)


def read(stack: Stack, path: str) -> Any:
    answer = ask(stack, path)
    assert answer.status == 200, answer.body
    assert ("Content-Type", "application/json") in answer.headers
    return json.loads(answer.body)


def code(answer: Answer, status: int) -> str:
    assert answer.status == status
    found: str = json.loads(answer.body)["error"]["code"]
    return found


def test_the_routes_reach_the_api(stack: Stack) -> None:
    assert read(stack, "/api/jobs?limit=2&account=CONTOSO")["total"] == 3
    assert read(stack, "/api/jobs/contoso/NIGHTLY-42")["taskCount"] == 201
    assert len(read(stack, "/api/jobs/contoso/nightly-42/tasks?failed=true")["tasks"]) == 20
    assert read(stack, "/api/jobs/contoso/nightly-42/tasks/frame-0010")["exitCode"] == 137
    assert len(read(stack, "/api/jobs/contoso/nightly-42/nodes")["nodes"]) == 4
    assert read(stack, "/api/health")["deadLetters"] == {"count": 1, "more": False}
    assert read(stack, "/api/openapi.json")["openapi"].startswith("3.1")


def test_an_id_with_a_slash_and_a_quote_arrives_as_it_was(stack: Stack) -> None:
    assert "%2F" in STRANGE
    assert read(stack, STRANGE)["jobId"] == "<b>'=1+1'</b>"
    (task,) = read(stack, f"{STRANGE}/tasks?columns=taskId")["tasks"]
    assert read(stack, f"{STRANGE}/tasks/{quote(task['taskId'], safe='')}")["nodeId"] == "&"


def test_a_query_string_arrives_as_it_was(stack: Stack) -> None:
    first = read(stack, "/api/jobs/contoso/nightly-42/tasks?limit=1&node=tvm-1&since=2026-11-22T13:00:00%2B01:00")
    token = quote(first["continuation"], safe="")
    second = read(stack, f"/api/jobs/contoso/nightly-42/tasks?limit=1&node=tvm-1&continuation={token}")
    assert first["tasks"][0]["taskId"] < second["tasks"][0]["taskId"]
    assert code(ask(stack, "/api/jobs?account=a&account=b"), 400) == "badRequest"
    assert read(stack, "/api/jobs?account=&code=key") == {"jobs": [], "total": 0}


def test_refusals_leave_the_app_as_they_are(stack: Stack) -> None:
    assert code(ask(stack, "/api/jobs?limit=none"), 400) == "badRequest"
    assert code(ask(stack, "/api/jobs/contoso/nope"), 404) == "notFound"
    assert code(ask(stack, "/api/nothing"), 404) == "notFound"
    refused = ask(stack, "/api/jobs", "DELETE")
    assert code(refused, 405) == "methodNotAllowed"
    assert ("Allow", "GET, HEAD") in refused.headers


def test_head_conditions_and_compression_survive_the_host(stack: Stack) -> None:
    whole = ask(stack, "/api/jobs")
    etag = dict(whole.headers)["ETag"]
    head = ask(stack, "/api/jobs", "HEAD")
    assert (head.status, head.body, dict(head.headers)["ETag"]) == (200, b"", etag)
    unchanged = ask(stack, "/api/jobs", headers={"If-None-Match": etag})
    assert (unchanged.status, unchanged.body) == (304, b"")
    compressed = ask(stack, "/api/jobs", headers={"Accept-Encoding": "gzip"})
    assert ("Content-Encoding", "gzip") in compressed.headers
    assert gzip.decompress(compressed.body) == whole.body
    assert ("X-Content-Type-Options", "nosniff") in whole.headers


def test_requests_side_by_side_share_the_clients(stack: Stack) -> None:
    paths = [f"/api/jobs/contoso/nightly-42/tasks?node=tvm-{number % 4}&columns=nodeId" for number in range(24)]
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda path: read(stack, path), paths))
    for number, answer in enumerate(answers):
        assert {task["nodeId"] for task in answer["tasks"]} == {f"tvm-{number % 4}"}
        assert len(answer["tasks"]) == 50


def test_the_dashboard_is_a_function_of_its_own(stack: Stack) -> None:
    page = ask(stack, "/api/dashboard?anything=1")
    assert page.status in (200, 503)  # 503: not built
    assert ("X-Content-Type-Options", "nosniff") in page.headers
    # The one that needs no key has no way to the data.
    for path in ("/api/dashboard/../jobs", "/api/dashboard/%2e%2e/jobs", "/api/dashboard/..%2fjobs"):
        assert ask(stack, path).status in (404, 503)


@pytest.fixture(scope="module")
def in_azure(stack: Stack) -> Stack:
    """The stack with its host replaced by one that believes to be in Azure, open to anybody."""
    stack.kill_host(stack.hosts[0])
    stack.add_host(settings=IN_AZURE)
    return stack


def test_an_open_app_without_authentication_in_front_answers_nothing(in_azure: Stack) -> None:
    for path in ("/api/jobs", "/api/jobs/contoso/nightly-42/tasks", "/api/health", "/api/nothing"):
        answer = ask(in_azure, path, headers=SIGNED_IN)  # anybody can send this header
        assert code(answer, 403) == "forbidden"
        assert b"Turn it on" in answer.body
        assert b"ApiAuthLevel to function" in answer.body


def test_the_page_itself_is_still_for_everybody(in_azure: Stack) -> None:
    assert ask(in_azure, "/api/dashboard").status in (200, 503)
