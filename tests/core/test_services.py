"""The storage clients: which account they are for, with which credentials, and how quiet they are."""

import asyncio
import logging

from processors.services import SDK_REQUEST_LOG, Services
from processors.settings import load

HUB = {"EventHubName": "h", "EventHubConsumerGroup": "g", "EventHubConnection": "Endpoint=sb://h"}


def test_a_connection_string_is_the_account_of_both_clients() -> None:
    async def urls() -> tuple[str, str]:
        services = Services(load(HUB | {"RollupStorage": "UseDevelopmentStorage=true"}))
        try:
            return services.table_service.url, services.blob_service.url
        finally:
            await services.close()

    tables, blobs = asyncio.run(urls())
    assert tables.startswith("http://127.0.0.1:10002/devstoreaccount1")
    assert blobs.startswith("http://127.0.0.1:10000/devstoreaccount1")


def test_with_service_uris_the_identity_is_used() -> None:
    async def urls() -> tuple[str, str]:
        uris = {
            "RollupStorage__tableServiceUri": "https://a.table.core.windows.net",
            "RollupStorage__blobServiceUri": "https://a.blob.core.windows.net",
            "RollupStorage__clientId": "00000000-0000-0000-0000-000000000000",
        }
        services = Services(load(HUB | uris))
        try:
            return services.table_service.url, services.blob_service.url
        finally:
            await services.close()

    tables, blobs = asyncio.run(urls())
    assert tables.startswith("https://a.table.core.windows.net")
    assert blobs.startswith("https://a.blob.core.windows.net")


def test_the_sdks_do_not_log_every_request() -> None:
    logging.getLogger(SDK_REQUEST_LOG).setLevel(logging.NOTSET)
    Services(load(HUB | {"RollupStorage": "UseDevelopmentStorage=true"}))
    assert not logging.getLogger(SDK_REQUEST_LOG).isEnabledFor(logging.INFO)
