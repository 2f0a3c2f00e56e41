"""The write side's own clients, for the commands that count."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from processors.services import Services
from processors.settings import StorageSettings
from reader.accounts import usable_connection


@asynccontextmanager
async def opened_services(settings: StorageSettings) -> AsyncGenerator[Services]:
    """The account's clients, closed at the end. Raises SettingsError for a connection string that is none."""
    services = Services(settings)
    with usable_connection():
        services.storage()
    try:
        yield services
    finally:
        await services.close()
