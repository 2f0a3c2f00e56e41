"""What requests to the Table service have in common, whether the write side sends them or a reader.

The rule: nothing here sends anything. Authentication is azure-core's, but for the account key's signature, which only
the Tables SDK has, and keeps to itself.
"""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import quote, urlsplit

from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import AzureSasCredentialPolicy, SansIOHTTPPolicy
from azure.data.tables import TableServiceClient
from azure.data.tables.aio import TableServiceClient as AsyncTableServiceClient

from processors.table_wire import VERSION

SCOPE = "https://storage.azure.com/.default"
"""Azure Storage's audience for tokens, in every cloud."""

HEADERS = {"x-ms-version": VERSION, "DataServiceVersion": "3.0", "MaxDataServiceVersion": "3.0;NetFx"}


def endpoint(service: TableServiceClient | AsyncTableServiceClient) -> str:
    """The account's address, without a trailing slash and without a signature."""
    split = urlsplit(service.url)
    return f"{split.scheme}://{split.netloc}{split.path}".rstrip("/")


def key_or_signature(service: TableServiceClient | AsyncTableServiceClient) -> SansIOHTTPPolicy[Any, Any] | None:
    """The policy that signs requests as the SDK's client would; None where it does so with an identity."""
    if query := urlsplit(service.url).query:
        return AzureSasCredentialPolicy(AzureSasCredential(query))
    match service.credential:
        case AzureNamedKeyCredential() as key:
            return _SharedKey(key)
        case AzureSasCredential() as signature:
            return AzureSasCredentialPolicy(signature)
        case _:
            return None


class _SharedKey(SansIOHTTPPolicy[Any, Any]):
    """Signs requests with the account's key ("Authorize with Shared Key": Shared Key Lite for the Table service)."""

    def __init__(self, credential: AzureNamedKeyCredential) -> None:
        self._credential = credential

    def on_request(self, request: PipelineRequest[Any]) -> None:
        http = request.http_request
        name, key = self._credential.named_key
        date = formatdate(usegmt=True)
        signed = f"{date}\n/{name}{urlsplit(http.url).path}".encode()
        signature = b64encode(hmac.digest(b64decode(key), signed, "sha256")).decode()
        http.headers["x-ms-date"] = date
        http.headers["Authorization"] = f"SharedKeyLite {name}:{signature}"


def query_path(table: str, filter_: str, select: str | None = None, top: int | None = None) -> str:
    """The path and query of a query's first page, below the account's endpoint."""
    options = {"$filter": filter_, "$select": select, "$top": top}
    given = [f"{name}={quote(str(value), safe="'=:,")}" for name, value in options.items() if value not in (None, "")]
    return f"{table}()?{'&'.join(given)}"


CONTINUATION = ("NextPartitionKey", "NextRowKey")


def next_page(headers: Mapping[str, str]) -> dict[str, str]:
    """What the next page is asked for with, by parameter; empty after the last."""
    found = {name: headers.get(f"x-ms-continuation-{name}") for name in CONTINUATION}
    return {name: value for name, value in found.items() if value}


def page_query(page: Mapping[str, str]) -> str:
    """The continuation as the end of a query's path."""
    return "".join(f"&{name}={quote(value, safe='')}" for name, value in page.items())


def text(value: str) -> str:
    """A string in a filter."""
    return "'" + value.replace("'", "''") + "'"


def key_range(partition_key: str, first: str, end: str) -> str:
    """The filter of a partition's rows with first <= RowKey < end."""
    return f"PartitionKey eq {text(partition_key)} and RowKey ge {text(first)} and RowKey lt {text(end)}"
