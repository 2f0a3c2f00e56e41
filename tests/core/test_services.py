"""The storage clients: which account they are for, with which credentials, and how quiet they are."""

import asyncio
import logging

import pytest

from processors.services import SDK_REQUEST_LOG, Services
from processors.settings import load

HUB = {"EventHubName": "h", "EventHubConsumerGroup": "g", "EventHubConnection": "Endpoint=sb://h"}
EMULATOR = {"RollupStorage": "UseDevelopmentStorage=true"}
IDENTITY = {
    "RollupStorage__tableServiceUri": "https://a.table.core.windows.net",
    "RollupStorage__blobServiceUri": "https://a.blob.core.windows.net",
    "RollupStorage__clientId": "00000000-0000-0000-0000-000000000000",
}


@pytest.mark.parametrize(
    ("storage", "tables", "blobs"),
    [
        (EMULATOR, "http://127.0.0.1:10002/devstoreaccount1", "http://127.0.0.1:10000/devstoreaccount1"),
        (IDENTITY, "https://a.table.core.windows.net", "https://a.blob.core.windows.net"),
    ],
    ids=["a connection string", "an identity"],
)
def test_both_clients_are_of_the_account_in_the_settings(storage: dict[str, str], tables: str, blobs: str) -> None:
    async def urls() -> tuple[str, str]:
        services = Services(load(HUB | storage))
        try:
            return services.clients.table_service.url, services.clients.blob_service.url
        finally:
            await services.close()

    table_url, blob_url = asyncio.run(urls())
    assert table_url.startswith(tables)
    assert blob_url.startswith(blobs)


def test_the_sdks_do_not_log_every_request() -> None:
    logging.getLogger(SDK_REQUEST_LOG).setLevel(logging.NOTSET)
    Services(load(HUB | EMULATOR))
    assert not logging.getLogger(SDK_REQUEST_LOG).isEnabledFor(logging.INFO)
