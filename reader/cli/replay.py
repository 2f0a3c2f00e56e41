"""`rollups replay`: archived logs into the tables."""

import asyncio
import hashlib
import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import unquote, urlsplit

import typer
from azure.storage.blob.aio import ContainerClient

from processors import limits
from processors.errors import BadRequest
from processors.settings import StorageSettings
from reader.accounts import account, storage_settings
from reader.backfill import Backfill, Journal, Source, Totals, blob_sources, local_sources
from reader.cli import options, output
from reader.cli.progress import progress
from reader.cli.services import opened_services
from reader.queries import Rollups

_CLIENT: dict[str, Any] = {
    "retry_total": 0,  # what reads repeats
    "connection_timeout": limits.REQUEST_SECONDS,
    "read_timeout": limits.REQUEST_SECONDS,
}


def replay(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            show_default=False,
            help="Files, folders, `-`, URLs of blob containers or of prefixes in them; "
            "with --from-storage CONTAINER or CONTAINER/PREFIX.",
        ),
    ],
    from_storage: Annotated[
        str | None,
        typer.Option(
            "--from-storage", metavar="ACCOUNT", help="Storage account of the archive, as --storage; SOURCE is in it."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what there is, and write nothing.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Begin again, whatever was done before.")] = False,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="FILE", help="Where it is noted what is done. Default: one for each account."),
    ] = None,
    storage: options.Storage = None,
) -> None:
    """Count archived diagnostic logs into the tables, each execution once; may be broken off and run again."""
    settings = None if dry_run else storage_settings(storage, os.environ)
    if settings is None:
        journal = Journal(None)
    else:
        journal = Journal(state or _state_of(settings), restart=restart or _empty(settings))
    totals = asyncio.run(_run(sources, from_storage, settings, journal))
    _tell(totals, dry_run=dry_run)
    if totals.unreadable:
        raise typer.Exit(options.FAILED)


def _state_of(settings: StorageSettings) -> Path:
    """The journal of this account."""
    with account(settings) as opened:
        name = hashlib.sha256(opened.tables.url.encode()).hexdigest()[:16]
    return Path(typer.get_app_dir("rollups")) / "replay" / f"{name}.ndjson"


def _empty(settings: StorageSettings) -> bool:
    """Whether nothing is in the tables: then nothing is done either, whatever the journal says."""
    with account(settings) as opened:
        return next(Rollups(opened.tables).jobs(columns=["jobId"]), None) is None


async def _run(
    names: Sequence[str], from_storage: str | None, settings: StorageSettings | None, journal: Journal
) -> Totals:
    async with AsyncExitStack() as opened:
        sources = await _archive(names, from_storage, opened)
        services = None if settings is None else await opened.enter_async_context(opened_services(settings))
        sizes = [source.size for source in sources]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        with progress("replaying", total, in_bytes=True) as advance:
            backfill = Backfill(None if services is None else services.storage, journal, time.time, advance)
            return (await backfill.run(sources)).totals


# --- the archive -----------------------------------------------------------------------------------------------------


async def _archive(names: Sequence[str], from_storage: str | None, opened: AsyncExitStack) -> list[Source]:
    """What the arguments name, in their order. Raises BadRequest, SettingsError and StorageUnavailable."""
    found: list[Source] = []
    if from_storage is not None:
        archive = await opened.enter_async_context(opened_services(storage_settings(from_storage, {})))
        for name in names:
            container, _, prefix = name.strip("/").partition("/")
            found += await blob_sources(archive.clients.blob_service.get_container_client(container), prefix)
        return found
    for name in names:
        if _is_url(name):
            place = _place(name)
            found += await blob_sources(await _container(place, opened), place.prefix)
        else:
            found += local_sources([name])
    return found


def _is_url(name: str) -> bool:
    return name.lower().startswith(("https://", "http://"))


class _Place(NamedTuple):
    """A container, and what the names of its blobs begin with."""

    account: str
    """URL of the account's blob endpoint."""
    container: str
    prefix: str
    sas: str
    """The shared access signature, empty where there is none."""


def _place(url: str) -> _Place:
    """What the URL of a container, or of a prefix or blob in it, names. Raises BadRequest."""
    parts = urlsplit(url)
    path = unquote(parts.path).strip("/").split("/")
    base = f"{parts.scheme}://{parts.netloc}"
    if _is_address(parts.hostname or ""):  # as emulators have it: the account is the first segment
        base, path = f"{base}/{path[0]}", path[1:]
    if not path or not path[0]:
        raise BadRequest(f"{base} names no container; for example https://ACCOUNT.blob.core.windows.net/CONTAINER")
    return _Place(base, path[0], "/".join(path[1:]), parts.query)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


async def _container(place: _Place, opened: AsyncExitStack) -> ContainerClient:
    """The client of a container, until `opened` is closed; with the user's own identity where there is no signature."""
    credential = None
    if not place.sas:
        if not place.account.startswith("https:"):
            raise BadRequest(f"{place.account} takes a shared access signature in the URL, or --from-storage")
        # Imported here: it takes longer than all the rest together.
        from azure.identity.aio import DefaultAzureCredential

        credential = await opened.enter_async_context(DefaultAzureCredential())
    url = f"{place.account}/{place.container}" + (f"?{place.sas}" if place.sas else "")
    return await opened.enter_async_context(ContainerClient.from_container_url(url, credential, **_CLIENT))


# --- what became of it -----------------------------------------------------------------------------------------------


def _tell(totals: Totals, *, dry_run: bool) -> None:
    ignored = sum(totals.ignored.values())
    sources, records = output.counted(totals.sources, "source"), output.counted(totals.records, "record")
    lines = [f"{sources}, {totals.bytes / 1e6:,.1f} MB, {records}"]
    if totals.skipped:
        lines[0] += f"; {totals.skipped:,} more were done before (--restart does them again)"
    if dry_run:
        lines.append(f"{output.counted(totals.executions, 'execution')}, duplicates not told apart")
    else:
        lines.append(
            f"{output.counted(totals.counted, 'execution')} counted, {output.counted(totals.duplicates, 'duplicate')}"
        )
    lines.append(f"{output.counted(ignored, 'record')} of other operations ignored")
    lines.append(output.counted(totals.dead_letters, "dead letter"))
    if dry_run:
        lines.append("This was a dry run: nothing is written.")
    for line in lines:
        typer.echo(line)
    for line in totals.unreadable:
        typer.echo(f"rollups: {output.printable(line)}; what was read of it is counted", err=True)
