"""docs/reading.md is true: its Python, run from top to bottom against the filled account, prints what it says."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from tests.reader.commands import ROOT

PAGE = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
SNIPPET = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<printed>.*?)^```\n)?", re.MULTILINE | re.DOTALL)
"""Code, and what it prints where it prints anything."""


def _lines(text: str) -> list[str]:
    """pandas pads its lines; the page need not."""
    return [line.rstrip() for line in text.splitlines()]


def test_the_python_prints_what_the_page_shows(
    connection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RollupStorage", connection)
    monkeypatch.chdir(tmp_path)
    snippets = list(SNIPPET.finditer(PAGE))
    assert len(snippets) == len(re.findall(r"^```python$", PAGE, re.MULTILINE)) > 0
    names: dict[str, Any] = {"__name__": "reading"}  # later snippets use what earlier ones defined
    for snippet in snippets:
        line = PAGE.count("\n", 0, snippet.start()) + 1
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            # Moved down, so that a traceback names the page's own lines.
            exec(compile("\n" * line + snippet["code"], "docs/reading.md", "exec"), names)  # noqa: S102 - our own page
        assert _lines(printed.getvalue()) == _lines(snippet["printed"] or ""), f"docs/reading.md, line {line}"
