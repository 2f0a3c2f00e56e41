"""`rollups`: the tables from a command line.

    options    the options that commands share, and what they open
    output     rows as tables for people, as JSON, CSV and TSV for programs
    the rest   a module for each command or family of commands

The rule: 0 is done, 1 is a finding (`--check`: failed tasks), 2 could not be done, 130 is interrupted. Every error is a
line that says what to do, never a traceback.
"""

import io
import logging
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from azure.core.exceptions import ClientAuthenticationError
from typer.core import TyperGroup
from typer.main import get_command, get_group

from processors.errors import BatchRollupsError, StorageUnavailable
from reader.cli.output import printable

COMMANDS: Mapping[str, str] = {
    "jobs": "jobs",
    "job": "job",
    "tasks": "tasks",
    "task": "tasks",
    "nodes": "nodes",
    "watch": "watch",
    "report": "report",
    "serve": "serve",
    "export": "export",
    "verify": "verify",
    "replay": "replay",
    "purge": "purge",
    "dead-letters": "dead_letters",
}
"""Command → the module that has it, as a function or a Typer of the command's name. Only the one that is called is
imported: together they take more than a second, most of it for clients that a list of jobs has no use for."""

_DEFAULT = "jobs"
UNABLE = 2
"""Exit status of what could not be done; a usage error has the same."""
_CLOSED_PIPE = 128 + 13
"""Exit status when the reader of a pipe has enough: as a shell shows SIGPIPE."""


class _Rollups(TyperGroup):
    """`rollups` alone is `rollups jobs`; every error leaves here, as a line and an exit status."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for argument in args:
            if not _is_text(argument):
                raise typer.BadParameter(f"{argument!r} is no text in UTF-8; no id has such bytes")
        if not ctx.resilient_parsing and (not args or self._belongs_to_default(ctx, args[0])):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)

    def _belongs_to_default(self, ctx: Any, first: str) -> bool:
        own = {option for parameter in self.get_params(ctx) for option in parameter.opts}
        return first.startswith("-") and first.partition("=")[0] not in own

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as Typer calls it
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        # For a name that there is none of, all are there: what is nearest is suggested.
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.commands[name] = _load(name)
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is still in the buffer would be written, and fail again, when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(_CLOSED_PIPE) from None
        except (BatchRollupsError, OSError) as error:
            typer.echo(f"rollups: {_explained(error)}", err=True)
            raise typer.Exit(UNABLE) from error
        return result


def _is_text(argument: str) -> bool:
    """Python keeps bytes of the command line that are no text as lone surrogates; no request can carry them."""
    return not any("\ud800" <= character <= "\udfff" for character in argument)


def _load(name: str) -> Any:
    found = getattr(import_module(f"reader.cli.{COMMANDS[name]}"), name.replace("-", "_"))
    if isinstance(found, typer.Typer):
        group = get_group(found)
        group.name = name
        return group
    single = typer.Typer(add_completion=False)
    single.command(name)(found)
    return get_command(single)


def _explained(error: Exception) -> str:
    text = "\n".join(map(printable, str(error).splitlines()))
    if isinstance(error.__cause__, ClientAuthenticationError):
        return f"{text}. Check the key in the connection string, or sign in with `az login`"
    if isinstance(error, StorageUnavailable) and error.transient:
        return f"{text}. Check the storage account's name and the network, then try again"
    return text


app = typer.Typer(
    cls=_Rollups,
    name="rollups",
    help="What Azure Batch's jobs and tasks did, from the rollup tables. `rollups` alone is `rollups jobs`.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rollups {version('batch-rollups')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Nothing to do: the commands do it."""


def main() -> None:
    """Run the command line and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Programs read UTF-8; a terminal that cannot show a character shows its number.
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")
    # The Azure SDK's own account of an error that is told here in a line.
    logging.getLogger("azure").addHandler(logging.NullHandler())
    app(prog_name="rollups")
