"""Every relative link in the pages leads somewhere: the file is there, and so is the heading."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\]\(\s*(?P<to>[^)\s]+)\s*\)|^\[[^]]+\]:\s*(?P<reference>\S+)", re.MULTILINE)


def prose(page: Path) -> str:
    """A page without its code: what is in it is shown, not linked."""
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]+`", "``", text)


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them: the second of a name gets `-1`, and so on."""
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = set[str]()
    for heading in re.findall(r"^#+ +(.+?) *#*$", text, re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", shown).strip().lower().replace(" ", "-")
        number = 0
        while (anchor := f"{name}-{number}" if number else name) in found:
            number += 1
        found.add(anchor)
    return found


def links(page: Path) -> Iterator[str]:
    """Those that lead to this project's own files."""
    for link in LINK.finditer(prose(page)):
        to = link["to"] or link["reference"]
        if not re.match(r"[a-z+]+:", to):
            yield to


def is_broken(page: Path, to: str) -> bool:
    path, _, anchor = to.partition("#")
    target = (page.parent / path).resolve() if path else page
    return not target.exists() or not target.is_relative_to(ROOT) or bool(anchor and anchor not in anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert [to for to in links(page) if is_broken(page, to)] == []


def test_the_links_are_found_and_a_wrong_one_is_noticed(tmp_path: Path) -> None:
    assert sum(1 for page in PAGES for _ in links(page)) > 100
    page = ROOT / "docs" / "operations.md"
    assert not is_broken(page, "#hostjson")
    assert is_broken(page, "#host.json")
    assert is_broken(page, "operation.md")
    made = tmp_path / "page.md"
    made.write_text(
        "# A\n```\n# B\n[no](no.md)\n```\n## A\n[x](x.md) and `[y](y.md)`, [z](#a-1), [w](https://w.example)\n"
    )
    assert list(links(made)) == ["x.md", "#a-1"]
    assert anchors(made) == {"a", "a-1"}
