"""What `ingest` needs, built from the settings, with as little as can be before the first invocation."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from processors.recent import Recent
from processors.settings import StorageSettings

if TYPE_CHECKING:
    from processors.clients import AzureStorage, Clients

SDK_REQUEST_LOG = "azure.core.pipeline.policies.http_logging_policy"


@dataclass
class Services:
    """The process's storage clients, what it knows of the jobs, and its clock."""

    settings: StorageSettings
    clock: Callable[[], float] = field(default=time.time)
    _recent: Recent = field(init=False)

    def __post_init__(self) -> None:
        self._recent = Recent(self.settings.job_buckets)
        # At the level at which functions log, the SDKs would write two lines for every storage request.
        logging.getLogger(SDK_REQUEST_LOG).setLevel(logging.WARNING)

    def storage(self) -> "AzureStorage":
        """For one invocation."""
        return self.clients.storage(self._recent)

    async def close(self) -> None:
        """Close the connections. A function app never does: its process ends with them."""
        await self.clients.close()

    @cached_property
    def clients(self) -> "Clients":
        """The SDKs' clients; importing them takes as long as starting all the rest of the app."""
        from processors.clients import Clients

        return Clients(self.settings)
