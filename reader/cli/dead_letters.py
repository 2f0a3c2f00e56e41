"""`rollups dead-letters list | show | replay`: what could not be counted.

The rule: `replay` writes nothing without `--yes`. Exit status 1 where a letter is or would be still bad.
"""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from processors import limits
from processors.clients import AzureStorage
from processors.dead_letters import DeadLetter
from processors.errors import UnreadableLetter
from processors.replay import Outcome, Replay
from processors.write import in_parallel
from reader.accounts import storage_settings
from reader.cli import options, output
from reader.cli.output import Column, Format
from reader.cli.services import opened_services

dead_letters = typer.Typer(
    help="List, show and replay dead letters: what came and could not be counted.", no_args_is_help=True
)

_HubOption = Annotated[str | None, typer.Option("--hub", metavar="NAME", help="Only letters of this Event Hub.")]
_PartitionOption = Annotated[
    str | None, typer.Option("--partition", metavar="ID", help="Only letters of this partition.")
]


@dead_letters.command("list")
def list_letters(
    hub: _HubOption = None,
    partition: _PartitionOption = None,
    format_: options.FormatOption = None,
    storage: options.Storage = None,
) -> None:
    """List dead letters: name, enqueued time, errors."""

    async def read(opened: AzureStorage) -> list[_Line]:
        return await _lines(opened, await _names(opened, hub, partition))

    _write(_with(storage, read), output.chosen(format_))


@dead_letters.command("show")
def show_letter(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="As `list` has it.")],
    storage: options.Storage = None,
) -> None:
    """Show one dead letter with all its errors and its original bytes."""
    _with(storage, lambda opened: _show(opened, name))


@dead_letters.command("replay")
def replay_letters(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", show_default=False, help="As `list` has them.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every letter, or every one of --hub and --partition.")] = False,
    hub: _HubOption = None,
    partition: _PartitionOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it, instead of saying what would be done.")] = False,
    storage: options.Storage = None,
) -> None:
    """Count what can be counted by now; without --yes, say what would be."""
    if bool(names) == all_:
        raise typer.BadParameter("name the letters, or give --all")

    async def replay(opened: AzureStorage) -> int:
        chosen = await _names(opened, hub, partition) if all_ else list(dict.fromkeys(names or ()))
        return await _replay(opened, chosen, rehearse=not yes)

    if _with(storage, replay):
        raise typer.Exit(options.FAILED)


def _with[T](storage: str | None, work: Callable[[AzureStorage], Awaitable[T]]) -> T:
    async def run() -> T:
        async with opened_services(storage_settings(storage, os.environ)) as services:
            return await work(services.storage())

    return asyncio.run(run())


async def _names(storage: AzureStorage, hub: str | None, partition: str | None) -> list[str]:
    names = await storage.dead_letters.names("" if hub is None else f"{hub}/")
    if partition is None:
        return names
    return [name for name in names if name.split("/")[1:2] == [partition]]


# --- list ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Line:
    """One letter in the list."""

    name: str
    enqueued_time: str | None
    errors: tuple[str, ...]

    def columns(self) -> dict[str, object]:
        return {"name": self.name, "enqueuedTime": self.enqueued_time, "errors": list(self.errors)}


async def _lines(storage: AzureStorage, names: Sequence[str]) -> list[_Line]:
    async def line(name: str) -> _Line | None:
        stored = await storage.dead_letters.get(name)
        if stored is None:
            return None  # solved meanwhile
        try:
            letter = DeadLetter.read(name, stored.content)
        except UnreadableLetter as error:
            return _Line(name, None, (str(error),))
        return _Line(name, letter.enqueued_time, letter.errors)

    return [line for line in await in_parallel(line, names, limits.CONCURRENT_DEAD_LETTERS) if line is not None]


def _write(lines: Sequence[_Line], format_: Format) -> None:
    if format_ is not Format.TABLE:
        output.write_rows((line.columns() for line in lines), format_, ("name", "enqueuedTime", "errors"))
        return
    if not lines:
        typer.echo("no dead letters")
        return
    columns: list[Column[_Line]] = [
        Column("name", lambda line: line.name),
        Column("enqueued", lambda line: line.enqueued_time or "unknown", priority=1),
        Column("first error", lambda line: _one_line("".join(line.errors[:1])), elastic=True),
    ]
    output.write_table(output.console(), columns, lines)


# --- show ------------------------------------------------------------------------------------------------------------


async def _show(storage: AzureStorage, name: str) -> None:
    stored = await storage.dead_letters.get(name)
    if stored is None:
        raise UnreadableLetter(f"there is no letter {name}; `list` names them all")
    try:
        letter = DeadLetter.read(name, stored.content)
    except UnreadableLetter as unreadable:
        typer.echo(_text(stored.content.decode(errors="backslashreplace")))
        raise UnreadableLetter(f"{unreadable}; correct the blob or delete it") from unreadable
    item = "the whole message" if letter.record_index is None else f"record {letter.record_index} of the message"
    place = f"hub {output.printable(letter.hub)}, partition {output.printable(letter.partition)}"
    lines = [
        output.printable(letter.name),
        f"  {place}, sequence number {letter.sequence_number}, {item}",
        f"  enqueued {letter.enqueued_time or 'at an unknown time'}",
        *(f"  error: {_one_line(error)}" for error in letter.errors),
        f"  {len(letter.body):,} bytes:\n\n{_readable(letter.body)}",
    ]
    typer.echo("\n".join(lines))


def _readable(body: bytes) -> str:
    """JSON indented, other text as it is, other bytes escaped."""
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body.decode(errors="backslashreplace")
    return _text(text)


# --- replay ----------------------------------------------------------------------------------------------------------


async def _replay(storage: AzureStorage, names: Sequence[str], *, rehearse: bool) -> int:
    """Replay the letters and tell what became of each; how many are still bad."""
    replay = Replay(storage, time.time, rehearse=rehearse)
    solved = 0
    for name in names:
        outcome = await replay.of(name)
        solved += outcome.solved
        typer.echo(_told(outcome, rehearse=rehearse))
    unsolved = len(names) - solved
    if rehearse:
        typer.echo(f"{solved:,} would be solved, {unsolved:,} not. This was a dry run: add --yes to do it.")
    else:
        typer.echo(f"{solved:,} solved, {unsolved:,} not.")
    return unsolved


def _told(outcome: Outcome, *, rehearse: bool) -> str:
    """What became of a letter, and the reasons for what is still bad, a line each."""
    removed = "would be removed" if rehearse else "removed"
    numbers = {"counted": outcome.counted, "duplicate": outcome.duplicates, "ignored": outcome.ignored}
    facts = [f"{number:,} {what}" for what, number in numbers.items() if number]
    if outcome.bad:
        facts.append(f"{len(outcome.bad):,} still bad")
    facts.append(outcome.failure or ("" if outcome.bad else removed))
    lines = [f"{output.printable(outcome.name)}: {_one_line(', '.join(filter(None, facts)))}"]
    for letter in outcome.bad:
        lines += [f"    {output.printable(letter.name)}: {_one_line(error)}" for error in letter.errors]
    return "\n".join(lines)


# --- text ------------------------------------------------------------------------------------------------------------


def _one_line(text: str) -> str:
    return output.printable(" ".join(text.split()))


def _text(text: str) -> str:
    """Several lines, safe on a terminal: letters hold what anyone may have sent."""
    return "\n".join(output.printable(line.expandtabs()) for line in text.split("\n"))
