"""The Table service's requests and answers on their way through azure-core's pipeline, over aiohttp.

The rule: as little as the pipeline's policies and `tables` need. azure-core's own request, transport and response cost
as much again as aiohttp itself, and a request is a third of what a task event costs (docs/performance.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit
from urllib.request import getproxies

from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout, DummyCookieJar
from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import AsyncHttpTransport
from yarl import URL

from processors import limits


@dataclass(slots=True)
class Request:
    """One request. Its URL is sent as it is spelled: it may be signed."""

    method: str
    url: str
    headers: dict[str, str]
    content: bytes | None = None

    multipart_mixed_info: None = None
    """The pipeline asks for it."""

    @property
    def query(self) -> dict[str, str]:
        """The parameters in the URL, as the policy that adds a shared access signature wants them."""
        return dict(parse_qsl(urlsplit(self.url).query))

    def prepare_multipart_body(self) -> None:
        """The pipeline asks for it: there are no parts to make a body of."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, read to its end."""

    status_code: int
    headers: Mapping[str, str]
    """By name without case."""
    content: bytes


class AiohttpTransport(AsyncHttpTransport[Request, Answer]):
    """One session of aiohttp, opened with the first request, on whose event loop it stays."""

    def __init__(self) -> None:
        self._session: ClientSession | None = None

    async def open(self) -> None:
        """Open the session, where it is not."""
        if self._session is None:
            self._session = ClientSession(
                timeout=ClientTimeout(sock_connect=limits.REQUEST_SECONDS, sock_read=limits.REQUEST_SECONDS),
                cookie_jar=DummyCookieJar(),
                skip_auto_headers=("Accept-Encoding", "Content-Type"),  # an answer in gzip would have to be unpacked
                # Where aiohttp looks for a proxy, it does so in threads, twice a request, which costs more than that.
                trust_env=bool(getproxies()),
            )

    async def close(self) -> None:
        """Close the session's connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, request: Request, **_: Any) -> Answer:
        """The service's answer. Raises ServiceRequestError where none of it was sent, else ServiceResponseError."""
        await self.open()
        assert self._session is not None
        try:
            async with self._session.request(
                request.method,
                URL(request.url, encoded=True),
                data=request.content,
                headers=request.headers,
                allow_redirects=False,
            ) as response:
                return Answer(response.status, response.headers, await response.read())
        except ClientConnectorError as error:
            raise ServiceRequestError(str(error), error=error) from error
        except (ClientError, TimeoutError) as error:
            raise ServiceResponseError(str(error) or type(error).__name__, error=error) from error

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()
