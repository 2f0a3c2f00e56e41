"""HTTP functions, timers and the admin endpoints of a host process. One host serves all of these tests."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.functions_host.harness import Conductor, Process, Stage, request


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, storage: str) -> Iterator[tuple[Stage, Process, Any]]:
    stage = Stage(tmp_path_factory.mktemp("http"), storage)
    try:
        host = stage.host("--instance", "the-host")
        yield stage, host, host.ready()
    finally:
        stage.close()


@pytest.fixture
def port(served: tuple[Stage, Process, Any]) -> int:
    number: int = served[2]["httpPort"]
    return number


@pytest.fixture
def conductor(served: tuple[Stage, Process, Any]) -> Conductor:
    return served[0].conductor


def test_the_ready_line_describes_every_function(served: tuple[Stage, Process, Any]) -> None:
    stage, _, ready = served
    functions = {entry.pop("name"): entry for entry in ready["functions"]}
    assert functions["plain"] == {"trigger": "eventHub", "eventHubName": stage.hubs["plain"]}
    assert functions["by_name"] == {"trigger": "http", "route": "by_name"}
    assert functions["sweep"] == {"trigger": "timer", "schedule": "0 0 0 1 1 *"}
    assert len(functions) == 8


def test_the_function_sees_the_request(port: int) -> None:
    answer = request(
        port,
        "/API/Things/a%20b/-7/x/y%2Fz?q=1&q=2&r=%C3%A9",
        "POST",
        b"\x00\xff body",
        {"X-Mixed-Case": "Kept", "Content-Type": "application/octet-stream"},
    )
    assert answer.status == 202
    seen = json.loads(answer.body)
    assert seen["method"] == "POST"
    assert seen["url"].startswith(f"http://127.0.0.1:{port}/API/Things/a%20b/-7/")
    assert seen["params"] == {"kind": "a b", "number": "-7", "rest": "x/y/z"}
    assert seen["query"] == {"q": "1,2", "r": "é"}
    assert seen["body"] == "\x00\xff body"
    assert seen["headers"]["x-mixed-case"] == "Kept"


def test_the_answer_goes_back_as_it_is(port: int) -> None:
    answer = request(port, "/api/things/a/1")
    assert answer.status == 202
    headers = [(name.lower(), value) for name, value in answer.headers]
    assert ("content-type", "application/json") in headers
    assert ("x-answer", "42") in headers
    cookies = [value for name, value in headers if name == "set-cookie"]
    assert len(cookies) == 2
    assert {part.strip() for part in cookies[0].split(";")} == {
        "a=1",
        "HttpOnly",
        "Max-Age=60",
        "Path=/x",
        "SameSite=Lax",
    }
    assert {"b=2", "Secure", "expires=Wed, 01 Jan 2031 00:00:00 GMT"} <= {
        part.strip() for part in cookies[1].split(";")
    }


def test_the_more_specific_route_wins_and_text_is_an_answer(port: int) -> None:
    answer = request(port, "/api/things/special")
    assert (answer.status, answer.body) == (200, b"special GET")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/nothing"),
        ("GET", "/things/special"),
        ("GET", "/api/things/a/not-a-number"),
        ("DELETE", "/api/things/special"),
        ("POST", "/admin/functions/nothing"),
    ],
)
def test_what_no_function_answers_is_404(port: int, method: str, path: str) -> None:
    assert request(port, path, method).status == 404


def test_an_exception_is_500_and_in_the_log(served: tuple[Stage, Process, Any], port: int) -> None:
    answer = request(port, "/api/by_name")
    assert (answer.status, answer.body) == (500, b"")
    host = served[1]
    host.wait_for_log("ValueError: no answer to GET")
    host.wait_for_log("printed by the app")


def test_invocations_run_together(port: int, conductor: Conductor) -> None:
    conductor.answer(lambda _: None)
    bodies: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: bodies.append(request(port, "/api/together", "POST", b"x").body))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    conductor.wait_for(lambda: len(conductor.records("together")) == 5)
    assert bodies == []
    conductor.answer(lambda _: "ok")
    for thread in threads:
        thread.join()
    assert bodies == [b"\x00\xff"] * 5


def test_a_timer_runs_when_asked(port: int, conductor: Conductor) -> None:
    assert conductor.records("sweep") == []
    assert request(port, "/admin/functions/sweep", "POST", b"{}").status == 202
    conductor.wait_for(lambda: len(conductor.records("sweep")) == 1)
    assert conductor.records("sweep")[0]["past_due"] is False


def test_only_timers_run_when_asked(port: int) -> None:
    assert request(port, "/admin/functions/plain", "POST").status == 400


def test_status_and_front_page(port: int) -> None:
    status = json.loads(request(port, "/admin/host/status").body)
    assert (status["id"], status["state"]) == ("the-host", "Running")
    assert {entry["name"] for entry in status["functions"]} >= {"plain", "echo", "sweep"}
    front = request(port, "/").body.decode()
    assert front.count("\n") == 1
    assert "the-host" in front
    assert "sweep" in front
