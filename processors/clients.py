"""The storage clients of a process, by the SDKs.

The rule: clients are made when they are first needed, on the event loop that they then stay on, and are shared by all
invocations; what counts or retries is an invocation's own. `services` imports this module with the first invocation: it
takes as long as all else of the app together.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.pipeline.transport import AioHttpTransport
from azure.data.tables.aio import TableServiceClient

from processors import limits
from processors.attempts import Attempts
from processors.dead_letter_blobs import AzureDeadLetters
from processors.recent import Recent
from processors.settings import StorageSettings
from processors.tables import AzureTables, TableAccount, table_account

if TYPE_CHECKING:
    from azure.storage.blob.aio import BlobServiceClient


def _options() -> dict[str, Any]:
    """What every client is made with."""
    return {
        "retry_total": 0,  # repeated and counted by `attempts`
        "connection_timeout": limits.REQUEST_SECONDS,
        "read_timeout": limits.REQUEST_SECONDS,
        # Where aiohttp looks for a proxy, it does so in threads, twice a request, which costs more than the request.
        "transport": AioHttpTransport(use_env_settings=bool(getproxies())),
    }


@dataclass(frozen=True, slots=True)
class AzureStorage:
    """Storage of one invocation."""

    tables: AzureTables
    dead_letters: AzureDeadLetters
    attempts: Attempts
    recent: Recent

    @property
    def requests(self) -> int:
        return self.attempts.made

    @property
    def seconds(self) -> float:
        return self.attempts.seconds


@dataclass
class Clients:
    """The clients of one account, for tables and dead letters."""

    settings: StorageSettings

    def storage(self, recent: Recent) -> AzureStorage:
        """For one invocation."""
        attempts = Attempts()
        return AzureStorage(
            AzureTables(self.table_account, attempts),
            AzureDeadLetters(lambda: self.blob_service, attempts),
            attempts,
            recent,
        )

    async def close(self) -> None:
        """Close the connections. A function app never does: its process ends with them."""
        await self.table_account.pipeline.__aexit__()
        await self.table_service.close()
        if "blob_service" in vars(self):
            await self.blob_service.close()
        if self.settings.storage_connection is None:
            await self._credential.close()

    @cached_property
    def table_service(self) -> TableServiceClient:
        if (connection := self.settings.storage_connection) is not None:
            return TableServiceClient.from_connection_string(connection, **_options())
        return TableServiceClient(str(self.settings.rollup_table_uri), credential=self._credential, **_options())

    @cached_property
    def table_account(self) -> TableAccount:
        credential = None if self.settings.storage_connection is not None else self._credential
        return table_account(self.table_service, credential)

    @cached_property
    def blob_service(self) -> "BlobServiceClient":
        from azure.storage.blob.aio import BlobServiceClient  # when it is needed: see dead_letters

        if (connection := self.settings.storage_connection) is not None:
            return BlobServiceClient.from_connection_string(connection, **_options())
        return BlobServiceClient(str(self.settings.rollup_blob_uri), credential=self._credential, **_options())

    @cached_property
    def _credential(self) -> AsyncTokenCredential:
        # Imported here: it doubles the start-up time of an app that does without.
        from azure.identity.aio import DefaultAzureCredential

        return DefaultAzureCredential(managed_identity_client_id=self.settings.rollup_client_id)
