"""The pages lead somewhere: of a relative link the file and the heading are there, and so is what a command names."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer import Context
from typer.main import get_command

from reader.cli import app

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


def shown(page: Path) -> list[str]:
    """What is code in a page: the lines of its blocks, and the spans in its text."""
    text = page.read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [
        *re.sub(r" *\\\n *", " ", blocks).splitlines(),
        *(" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest)),
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_target_and_module_is_there(page: Path) -> None:
    code = "\n".join(shown(page))
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"^make ([a-z-]+)", code, re.MULTILINE)) - {*targets} == set()
    modules = [ROOT / name.replace(".", "/") for name in re.findall(r"python -m ([a-z_.]+)", code)]
    assert [m for m in modules if not m.with_suffix(".py").is_file() and not (m / "__main__.py").is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_rollups_has_every_command_and_option_that_is_shown(page: Path) -> None:
    for line in shown(page):
        if called := re.match(r"(?:\$ )?(?:\.venv/bin/)?rollups ([a-z-].*)", line):
            assert unknown(called[1].partition(" #")[0].split()) == [], line


def commands(path: str, command: Any) -> dict[str, set[str]]:
    """The commands at and below one, by what is typed, each with its options."""
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    found = {path: own | {"--help", "--version"}}
    if hasattr(command, "list_commands"):
        context = Context(command)
        for name in command.list_commands(context):
            found |= commands(f"{path} {name}", command.get_command(context, name))
    return found


COMMANDS = commands("rollups", get_command(app))


def unknown(words: list[str]) -> list[str]:
    """What `rollups` does not know of a command line: its command, or else its options."""
    path, rest = "rollups", [*words]
    while rest and f"{path} {rest[0]}" in COMMANDS:
        path = f"{path} {rest.pop(0)}"
    if any(other.startswith(f"{path} ") for other in COMMANDS):  # a group of commands
        if path != "rollups" or (rest and not rest[0].startswith("-")):
            return rest[:1]
        path = "rollups jobs"  # what `rollups` alone is
    return [word for word in rest if word.startswith("--") and word.partition("=")[0] not in COMMANDS[path]]


def test_a_command_that_there_is_not_is_noticed() -> None:
    assert unknown(["purge", "--nothing", "--yes"]) == ["--nothing"]
    assert unknown(["prune"]) == ["prune"]
    assert unknown(["dead-letters", "remove"]) == ["remove"]
    assert unknown(["dead-letters", "replay", "--all", "--yes"]) == unknown(["--limit", "6"]) == []
