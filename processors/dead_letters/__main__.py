"""`python -m processors.dead_letters list | show | replay`: dead letters from the command line.

The rule: `replay` writes nothing without `--yes`. What goes wrong is one line on standard error that says what to do.
Exit status: 0, or 1 where a letter is or would be still bad, or 2 where the command could not do its work.
"""

import argparse
import asyncio
import io
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from processors import limits
from processors.dead_letters import DeadLetter
from processors.errors import BatchRollupsError, SettingsError, UnreadableLetter
from processors.replay import Outcome, Replay
from processors.services import AzureStorage, Services
from processors.settings import load_storage, names_storage
from processors.write import in_parallel

_LOCAL_SETTINGS = Path("local.settings.json")
_STILL_BAD, _FAILED, _INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a letter's text may be beyond the terminal's
    options = _parser().parse_args(arguments)
    try:
        return asyncio.run(_run(options))
    except BatchRollupsError as error:
        print(f"dead_letters: {_one_line(str(error))}", file=sys.stderr)
        return _FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what read us has seen enough
        return _FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m processors.dead_letters", description="List, show and replay dead letters."
    )
    everywhere = argparse.ArgumentParser(add_help=False)
    everywhere.add_argument(
        "--storage",
        metavar="CONNECTION",
        help="connection string of the storage account; by default RollupStorage or AzureWebJobsStorage, "
        f"from the environment or from {_LOCAL_SETTINGS} in the current folder",
    )
    some = argparse.ArgumentParser(add_help=False)
    some.add_argument("--hub", metavar="NAME", help="only letters of this Event Hub")
    some.add_argument("--partition", metavar="ID", help="only letters of this partition")
    commands = parser.add_subparsers(dest="command", required=True)
    list_ = commands.add_parser("list", parents=[everywhere, some], help="name, enqueued time and first error of each")
    list_.add_argument("--json", action="store_true", help="as JSON, with every error")
    show = commands.add_parser("show", parents=[everywhere], help="one letter with all its errors and its body")
    show.add_argument("name", metavar="NAME")
    replay = commands.add_parser(
        "replay", parents=[everywhere, some], help="count what can be counted by now; a dry run without --yes"
    )
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("names", metavar="NAME", nargs="*", default=[])
    which.add_argument("--all", action="store_true", help="every letter, or every one of --hub and --partition")
    replay.add_argument("--yes", action="store_true", help="do it, instead of saying what would be done")
    return parser


async def _run(options: argparse.Namespace) -> int:
    async with _storage(options.storage) as storage:
        match options.command:
            case "list":
                return await _list(storage, await _names(storage, options), as_json=options.json)
            case "show":
                return await _show(storage, options.name)
        names = await _names(storage, options) if options.all else list(dict.fromkeys(options.names))
        return await _replay(storage, names, rehearse=not options.yes)


@asynccontextmanager
async def _storage(connection: str | None) -> AsyncIterator[AzureStorage]:
    services = Services(load_storage(_environment(connection)))
    try:
        storage = services.storage()
    except ValueError as error:
        raise SettingsError(f"the connection string is not usable: {error}; copy it again from the account") from error
    try:
        yield storage
    finally:
        await services.close()


def _environment(connection: str | None) -> Mapping[str, str]:
    """Where the settings of storage are: the option, the environment, or the local settings."""
    if connection is not None:
        return {"RollupStorage": connection}
    if names_storage(os.environ):
        return os.environ
    try:
        values = json.loads(_LOCAL_SETTINGS.read_text(encoding="utf-8-sig"))["Values"]
        local = {name: value for name, value in values.items() if isinstance(value, str)}
    except FileNotFoundError:
        local = {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise SettingsError(f"{_LOCAL_SETTINGS} cannot be read ({error!r}); correct it, or give --storage") from error
    if not names_storage(local):
        raise SettingsError(
            "no storage account is named; give --storage CONNECTION, set RollupStorage or AzureWebJobsStorage, "
            f"or run this in the folder of {_LOCAL_SETTINGS}"
        )
    return local


async def _names(storage: AzureStorage, options: argparse.Namespace) -> list[str]:
    names = await storage.dead_letters.names("" if options.hub is None else f"{options.hub}/")
    if options.partition is None:
        return names
    return [name for name in names if name.split("/")[1:2] == [options.partition]]


# --- list ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Line:
    """One letter in the list."""

    name: str
    enqueued_time: str | None
    errors: tuple[str, ...]


async def _list(storage: AzureStorage, names: Sequence[str], *, as_json: bool) -> int:
    async def line(name: str) -> _Line | None:
        stored = await storage.dead_letters.get(name)
        if stored is None:
            return None  # solved meanwhile
        try:
            letter = DeadLetter.read(name, stored.content)
        except UnreadableLetter as error:
            return _Line(name, None, (str(error),))
        return _Line(name, letter.enqueued_time, letter.errors)

    lines = [line for line in await in_parallel(line, names, limits.CONCURRENT_DEAD_LETTERS) if line is not None]
    if as_json:
        found = [{"name": each.name, "enqueuedTime": each.enqueued_time, "errors": each.errors} for each in lines]
        print(json.dumps(found, indent=1))
        return 0
    if not lines:
        print("no dead letters")
        return 0
    rows = [("NAME", "ENQUEUED", "FIRST ERROR")]
    rows += [(each.name, each.enqueued_time or "unknown", _one_line("".join(each.errors[:1]))) for each in lines]
    name_width, time_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, enqueued, error in rows:
        print(f"{_printable(name):{name_width}}  {enqueued:{time_width}}  {error}")
    return 0


# --- show ------------------------------------------------------------------------------------------------------------


async def _show(storage: AzureStorage, name: str) -> int:
    stored = await storage.dead_letters.get(name)
    if stored is None:
        raise UnreadableLetter(f"there is no letter {name}; `list` names them all")
    try:
        letter = DeadLetter.read(name, stored.content)
    except UnreadableLetter as unreadable:
        print(_printable(stored.content.decode(errors="backslashreplace")))
        raise UnreadableLetter(f"{unreadable}; correct the blob or delete it") from unreadable
    item = "the whole message" if letter.record_index is None else f"record {letter.record_index} of the message"
    print(f"{_printable(letter.name)}")
    print(f"  hub {_printable(letter.hub)}, partition {_printable(letter.partition)}", end="")
    print(f", sequence number {letter.sequence_number}, {item}")
    print(f"  enqueued {letter.enqueued_time or 'at an unknown time'}")
    for error in letter.errors:
        print(f"  error: {_one_line(error)}")
    print(f"  {len(letter.body):,} bytes:\n\n{_readable(letter.body)}")
    return 0


def _readable(body: bytes) -> str:
    """JSON indented, other text as it is, other bytes escaped."""
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body.decode(errors="backslashreplace")
    return _printable(text)


# --- replay ----------------------------------------------------------------------------------------------------------


async def _replay(storage: AzureStorage, names: Sequence[str], *, rehearse: bool) -> int:
    replay = Replay(storage, time.time, rehearse=rehearse)
    solved = 0
    for name in names:
        outcome = await replay.of(name)
        solved += outcome.solved
        print(_told(outcome, rehearse=rehearse), flush=True)
    unsolved = len(names) - solved
    if rehearse:
        print(f"{solved:,} would be solved, {unsolved:,} not. This was a dry run: add --yes to do it.")
    else:
        print(f"{solved:,} solved, {unsolved:,} not.")
    return _STILL_BAD if unsolved else 0


def _told(outcome: Outcome, *, rehearse: bool) -> str:
    """What became of a letter, and the reasons for what is still bad, a line each."""
    removed = "would be removed" if rehearse else "removed"
    numbers = {"counted": outcome.counted, "duplicate": outcome.duplicates, "ignored": outcome.ignored}
    facts = [f"{number:,} {what}" for what, number in numbers.items() if number]
    if outcome.bad:
        facts.append(f"{len(outcome.bad):,} still bad")
    facts.append(outcome.failure or ("" if outcome.bad else removed))
    lines = [f"{_printable(outcome.name)}: {_one_line(', '.join(filter(None, facts)))}"]
    for letter in outcome.bad:
        lines += [f"    {_printable(letter.name)}: {_one_line(error)}" for error in letter.errors]
    return "\n".join(lines)


# --- text ------------------------------------------------------------------------------------------------------------


def _one_line(text: str) -> str:
    return _printable(" ".join(text.split()))


def _printable(text: str) -> str:
    """The text with whatever could steer a terminal escaped: letters hold what anyone may have sent."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else ascii(character)[1:-1] for character in text
    )


if __name__ == "__main__":
    sys.exit(main())
