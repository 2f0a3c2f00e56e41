"""docs/operations.md explains every line of host.json, with the value that it has."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.files import OPERATIONS, ROOT

HOST_JSON: dict[str, Any] = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
ROWS = dict(re.findall(r"^\| `([\w.]+)` \| (.+?) \|", OPERATIONS[OPERATIONS.index("## host.json") :], re.MULTILINE))
"""What the page says of a line: its path → its value."""
TOGETHER = {"extensionBundle", "logging.applicationInsights.samplingSettings"}
"""Sections that the page explains as one."""


def _lines(section: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, content in section.items():
        here = f"{path}{name}".removeprefix("extensions.")
        if isinstance(content, dict) and here not in TOGETHER:
            yield from _lines(content, f"{here}." if here != "extensions" else "")
        else:
            yield here, content


LINES = dict(_lines(HOST_JSON))


def test_it_explains_the_lines_that_there_are() -> None:
    assert ROWS.keys() == LINES.keys()


@pytest.mark.parametrize("line", LINES)
def test_it_says_the_value(line: str) -> None:
    content = LINES[line]
    values = [v for v in content.values() if isinstance(v, str)] if isinstance(content, dict) else [content]
    said = ROWS[line].replace(",", "").replace("`", "")
    assert all(str(value).replace(",", "") in said for value in values if value != HOST_JSON["extensionBundle"]["id"])
