"""Which storage account is read, and its clients.

The rule: an account is named in one of three places, and the first one that names any decides: the `--storage` option,
the environment, `local.settings.json` in the current folder. What is missing or wrong is said with what to do.
"""

import json
import re
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azure.core.credentials import TokenCredential
from azure.data.tables import TableServiceClient

from processors import limits
from processors.errors import SettingsError
from processors.settings import StorageSettings, load_storage, names_storage

if TYPE_CHECKING:  # it takes longer to import than all the rest together, and most of what reads tables needs none
    from azure.storage.blob import BlobServiceClient

LOCAL_SETTINGS = Path("local.settings.json")

_OF_JOBS = ("JobBuckets",)
"""Settings beside the account's."""

_NAME = re.compile(r"[a-z0-9]{3,24}")
"""A storage account's name (Azure Resource Manager's rule)."""
_SERVICE_URL = re.compile(r"(https?://[^/.]+)\.(?:table|blob)\.([^/]+)/?")


def storage_settings(option: str | None, environment: Mapping[str, str]) -> StorageSettings:
    """The account that `option` (`--storage`), the environment or the local settings name. Raises SettingsError.

    In how many buckets a command spreads new jobs is no part of that, and may be in the environment anyway.
    """
    of_jobs = {name: environment[name] for name in _OF_JOBS if name in environment}
    if option is not None:
        return load_storage(of_jobs | _from_option(option.strip()))
    if names_storage(_without(of_jobs, environment)):
        return load_storage(environment)
    local = _local_settings()
    if not names_storage(_without(_OF_JOBS, local)):
        raise SettingsError(
            "no storage account is named; give --storage (a connection string, an account's name or its table "
            f"endpoint), set RollupStorage or AzureWebJobsStorage, or run this in the folder of {LOCAL_SETTINGS}"
        )
    return load_storage(local | of_jobs)


def _without(names: Container[str], settings: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if name not in names}


def _from_option(option: str) -> dict[str, str]:
    """A connection string, an account's name, or the URL of its table or blob endpoint, as settings."""
    if _NAME.fullmatch(option):
        table, blob = (f"https://{option}.{service}.core.windows.net" for service in ("table", "blob"))
    elif url := _SERVICE_URL.fullmatch(option):
        table, blob = (f"{url[1]}.{service}.{url[2]}" for service in ("table", "blob"))
    elif "=" in option:
        return {"RollupStorage": option}
    else:
        raise SettingsError(
            f"--storage {option} is no connection string, no account's name and no endpoint; "
            "for example --storage myaccount, or --storage https://myaccount.table.core.windows.net"
        )
    return {"RollupStorage__tableServiceUri": table, "RollupStorage__blobServiceUri": blob}


def _local_settings() -> dict[str, str]:
    try:
        values = json.loads(LOCAL_SETTINGS.read_text(encoding="utf-8-sig"))["Values"]
        return {name: value for name, value in values.items() if isinstance(value, str)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise SettingsError(f"{LOCAL_SETTINGS} cannot be read ({error!r}); correct it, or give --storage") from error


@dataclass(frozen=True, slots=True)
class Account:
    """Clients of one storage account, for reading it."""

    tables: TableServiceClient
    blobs: "BlobServiceClient"


_OPTIONS: dict[str, Any] = {
    "retry_total": 2,
    "retry_backoff_factor": 0.2,
    "connection_timeout": limits.REQUEST_SECONDS,
    "read_timeout": limits.REQUEST_SECONDS,
}


@contextmanager
def table_service(settings: StorageSettings) -> Iterator[TableServiceClient]:
    """The account's tables, closed at the end. Raises SettingsError for a connection string that is none."""
    with usable_connection():
        if (connection := settings.storage_connection) is not None:
            opened = TableServiceClient.from_connection_string(connection, **_OPTIONS)
        else:
            opened = TableServiceClient(str(settings.rollup_table_uri), credential=_credential(settings), **_OPTIONS)
    with opened:
        yield opened


@contextmanager
def account(settings: StorageSettings) -> Iterator[Account]:
    """The account's clients, closed at the end. Raises SettingsError for a connection string that is none."""
    from azure.storage.blob import BlobServiceClient

    with table_service(settings) as tables:
        with usable_connection():
            if (connection := settings.storage_connection) is not None:
                blobs = BlobServiceClient.from_connection_string(connection, **_OPTIONS)
            else:
                blobs = BlobServiceClient(str(settings.rollup_blob_uri), credential=_credential(settings), **_OPTIONS)
        with blobs:
            yield Account(tables, blobs)


@contextmanager
def usable_connection() -> Iterator[None]:
    """What the SDKs say of a connection string that is none, as SettingsError."""
    try:
        yield
    except ValueError as error:
        raise SettingsError(f"the connection string is not usable: {error}; copy it again from the account") from error


def _credential(settings: StorageSettings) -> TokenCredential:
    # Imported here: it takes longer than all the rest together.
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential(managed_identity_client_id=settings.rollup_client_id)
