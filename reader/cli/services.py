"""The write side's own clients, for the commands that count."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from processors.errors import SettingsError
from processors.services import Services
from processors.settings import StorageSettings


@asynccontextmanager
async def opened_services(settings: StorageSettings) -> AsyncGenerator[Services]:
    """The account's clients, closed at the end. Raises SettingsError for a connection string that is none."""
    services = Services(settings)
    try:
        services.storage()
    except ValueError as error:
        raise SettingsError(f"the connection string is not usable: {error}; copy it again from the account") from error
    try:
        yield services
    finally:
        await services.close()
