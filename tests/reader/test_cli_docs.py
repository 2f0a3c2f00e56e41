"""docs/cli.md has a section for every command, with every option; and none that there is not."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer import Context
from typer.main import get_command

from reader.cli import app
from tests.reader.commands import ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
COMMON = "Options of all commands"


def _sections() -> dict[str, str]:
    """Heading → the text below it, up to the next heading."""
    parts = re.split(
        r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL), flags=re.MULTILINE
    )
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _commands(command: Any, path: str = "rollups") -> Iterator[tuple[str, Any]]:
    yield path, command
    if hasattr(command, "list_commands"):
        context = Context(command)
        for name in command.list_commands(context):
            yield from _commands(command.get_command(context, name), f"{path} {name}")


COMMANDS = dict(_commands(get_command(app)))
SECTIONS = _sections()


def _options(command: Any) -> set[str]:
    return {
        name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts) if name[0] == "-"
    }


def test_the_walk_finds_the_commands() -> None:
    assert {
        "rollups",
        "rollups jobs",
        "rollups watch",
        "rollups export",
        "rollups dead-letters list",
    } <= COMMANDS.keys()
    assert {"--since", "--failed", "--succeeded"} <= _options(COMMANDS["rollups jobs"])


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_and_option_is_documented(path: str) -> None:
    assert f"`{path}`" in SECTIONS, f"docs/cli.md has no section `{path}`"
    said = SECTIONS[f"`{path}`"] + SECTIONS[COMMON]
    named = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", " ".join(re.findall(r"`([^`]+)`", said))))
    assert _options(COMMANDS[path]) - named == set()


def test_no_option_is_documented_that_there_is_not() -> None:
    known = {"--help"}.union(*map(_options, COMMANDS.values()))
    named = {
        name
        for heading, text in SECTIONS.items()
        if heading.startswith("`rollups") or heading == COMMON
        for quoted in re.findall(r"`([^`]+)`", text)
        for name in re.findall(r"(?<![\w-])--[a-z][\w-]*", quoted)
    }
    assert named - known == set()
    assert {heading.strip("`") for heading in SECTIONS if heading.startswith("`rollups")} <= COMMANDS.keys()
