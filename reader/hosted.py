"""The API within the Azure Functions app: its storage clients, and who may ask.

The rule: rollups are never public by mistake. With `ApiAuthLevel` = `function` the host asks for a function key before
anything gets here. With `anonymous` it is for App Service Authentication to say who asks: an answer has data in it only
where that is on and names somebody; on a developer's machine there is nobody to keep out.

The read side is imported at the first request: an app that is started to ingest does not wait for it.
"""

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from processors.settings import Settings

if TYPE_CHECKING:
    from reader.api import Response, Source

_IN_AZURE = ("WEBSITE_INSTANCE_ID", "CONTAINER_NAME", "WEBSITE_POD_NAME")
"""The Functions host's own marks of App Service, and of the Consumption and Flex Consumption plans."""
_PRINCIPAL = "x-ms-client-principal"
"""Header in which App Service Authentication says who asks. It removes one that came from outside."""

_AUTHENTICATION_OFF = (
    "ApiAuthLevel is anonymous, but App Service Authentication is off, so that anybody could read the rollups. "
    "Turn it on (Settings > Authentication), or set ApiAuthLevel to function"
)
_NOBODY_SIGNED_IN = (
    "nobody is signed in. Sign in, and set App Service Authentication to require authentication for all requests"
)


@dataclass
class Hosted:
    """What the HTTP functions of one process answer with. Safe for threads: functions run in several."""

    settings: Settings
    environment: Mapping[str, str]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: ExitStack = field(default_factory=ExitStack)
    """Holds the clients open: the process ends with them."""
    _source: "Source | None" = None

    def data(self, method: str, url: str, headers: Mapping[str, str]) -> "Response":
        """Answer a request for data."""
        from reader.api import Request, error_response, respond

        request = Request(method, _target(url), headers)
        if (refusal := self._refusal(headers)) is not None:
            return error_response(request, *refusal)
        return respond(request, self._made_source())

    @staticmethod
    def page(method: str, url: str, headers: Mapping[str, str]) -> "Response":
        """Answer a request for the dashboard's files, which have no data in them."""
        from reader.api import Request, respond_with_file

        return respond_with_file(Request(method, _target(url), headers))

    def _refusal(self, headers: Mapping[str, str]) -> tuple[int, str, str] | None:
        """Status, code and message where the request may not be answered."""
        if self.settings.api_auth_level != "anonymous" or _on_a_developers_machine(self.environment):
            return None
        if self.environment.get("WEBSITE_AUTH_ENABLED", "").lower() != "true":
            return 403, "forbidden", _AUTHENTICATION_OFF
        if not headers.get(_PRINCIPAL):
            return 401, "unauthenticated", _NOBODY_SIGNED_IN
        return None

    def _made_source(self) -> "Source":
        from reader.accounts import account
        from reader.api import Source

        with self._lock:
            if self._source is None:
                self._source = Source(self._open.enter_context(account(self.settings)))
            return self._source


def _on_a_developers_machine(environment: Mapping[str, str]) -> bool:
    """Whether Core Tools, or the local stack, run the app."""
    return environment.get("AZURE_FUNCTIONS_ENVIRONMENT") == "Development" and not any(
        environment.get(mark) for mark in _IN_AZURE
    )


def _target(url: str) -> str:
    """Path and query string of a URL, still percent-encoded."""
    return "/" + url.partition("://")[2].partition("/")[2]
