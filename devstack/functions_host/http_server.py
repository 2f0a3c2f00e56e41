"""The HTTP side of the host: HTTP functions, and the admin endpoints that a developer needs.

The rule: a function gets the request as Azure's host gives it (full URL, lower-case header names, body as bytes,
repeated query and header values joined by a comma) and its answer goes back as it is. Authorisation levels are
not enforced: the server listens on 127.0.0.1 only and every function is open to whoever is on this machine.

    GET  /                        one line, unless a function has that route
    GET  /admin/host/status       what runs here, as JSON
    POST /admin/functions/{name}  runs a timer function once, in the background; 202
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from datetime import UTC
from email.utils import format_datetime
from typing import Any

from aiohttp import web

from devstack.functions_host import rpc
from devstack.functions_host.bindings import HttpTrigger, TimerTrigger, Triggers
from devstack.functions_host.errors import HostError
from devstack.functions_host.routes import Route, compile_route
from devstack.functions_host.timer import invoke_timer
from devstack.functions_host.worker import Worker

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
# What the Functions host accepts by default (Microsoft Learn, "Azure Functions HTTP trigger", Limits): 100 MB.
_MAX_BODY = 104_857_600
_SAME_SITE = {1: "Lax", 2: "Strict", 3: "None"}


class HttpServer:
    """Serves the HTTP functions of one app. `start` and `stop` it on the same event loop.

    `grace` is how long, in seconds, `stop` lets running requests and timers go on.
    """

    def __init__(self, triggers: Triggers, worker: Worker, *, route_prefix: str, instance: str, grace: float) -> None:
        self._triggers = triggers
        self._worker = worker
        self._instance = instance
        self._grace = grace
        self._started = time.monotonic()
        self._routes = _routes(triggers.http, route_prefix)
        self._timers = {trigger.function.name: trigger for trigger in triggers.timer}
        self._background: set[asyncio.Task[bool]] = set()
        application = web.Application(client_max_size=_MAX_BODY)
        application.router.add_get("/admin/host/status", self._status)
        application.router.add_post("/admin/functions/{name}", self._run_timer)
        application.router.add_route("*", "/{path:.*}", self._dispatch)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=grace)

    async def start(self, port: int) -> int:
        """Listen on `port` (0: a free one) and return the port. Raises HostError when it is taken."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, port)
        try:
            await site.start()
        except OSError as error:
            raise HostError(f"cannot listen on port {port} of {HOST}: {error.strerror}") from error
        if self._routes:
            logger.info("Authorisation levels of HTTP functions are not enforced here")
        listening: int = self._runner.addresses[0][1]
        return listening

    def run_in_background(self, trigger: TimerTrigger) -> None:
        """Invoke a timer function once, without waiting for it."""
        task = asyncio.create_task(invoke_timer(self._worker, trigger))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def stop(self) -> bool:
        """Take no more requests and let what runs end; whether the timers did within the grace."""
        await self._runner.cleanup()
        if self._background:
            await asyncio.wait(self._background, timeout=self._grace)
        return not self._background

    async def _status(self, _request: web.Request) -> web.Response:
        status = {
            "id": self._instance,
            "state": "Running",
            "processUptime": round((time.monotonic() - self._started) * 1000),
            "functions": describe(self._triggers),
        }
        return web.json_response(status)

    async def _run_timer(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name in self._timers:
            self.run_in_background(self._timers[name])
            return web.Response(status=202)
        if any(function.name == name for function in self._worker.functions):
            return web.Response(status=400, text=f"{name} is no timer function; only these can be run from here\n")
        return web.Response(status=404, text=f"there is no function {name}\n")

    async def _dispatch(self, request: web.Request) -> web.Response:
        path = request.rel_url.raw_path.strip("/")
        for route, trigger in self._routes:
            params = route.match(path)
            if params is not None and (not trigger.methods or request.method in trigger.methods):
                return await self._invoke(trigger, request, params)
        if not path and request.method == "GET":
            names = ", ".join(function.name for function in self._worker.functions)
            return web.Response(text=f"The functions host {self._instance} runs {names}.\n")
        return web.Response(status=404)

    async def _invoke(self, trigger: HttpTrigger, request: web.Request, params: dict[str, str]) -> web.Response:
        data = rpc.http_request(
            method=request.method,
            url=str(request.url),
            headers=_joined((name.lower(), value) for name, value in request.headers.items()),
            query=_joined(request.query.items()),
            params=params,
            body=await request.read(),
        )
        outcome = await self._worker.invoke(trigger.function, trigger.argument, data)
        if not outcome.succeeded:
            return web.Response(status=500)
        return _response(outcome.return_value)


def describe(triggers: Triggers) -> list[dict[str, Any]]:
    """The functions as JSON: name, kind of trigger, and what tells where it listens."""
    return [
        *(
            {"name": trigger.function.name, "trigger": "eventHub", "eventHubName": trigger.event_hub_name}
            for trigger in triggers.event_hub
        ),
        *({"name": trigger.function.name, "trigger": "http", "route": trigger.route} for trigger in triggers.http),
        *(
            {"name": trigger.function.name, "trigger": "timer", "schedule": trigger.schedule}
            for trigger in triggers.timer
        ),
    ]


def _routes(triggers: Iterable[HttpTrigger], prefix: str) -> list[tuple[Route, HttpTrigger]]:
    routes = [(compile_route(f"{prefix}/{trigger.route}"), trigger) for trigger in triggers]
    return sorted(routes, key=lambda entry: entry[0].specificity)


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _response(returned: Any) -> web.Response:
    """The HTTP response for what a function returned: an RpcHttp, a text, or nothing."""
    kind = None if returned is None else returned.WhichOneof("data")
    if kind is None:
        return web.Response(status=204)
    if kind != "http":
        return web.Response(text=getattr(returned, kind))
    answer = returned.http
    # The server counts and frames the body itself.
    headers = {
        name: value
        for name, value in answer.headers.items()
        if name.lower() not in ("content-length", "transfer-encoding")
    }
    response = web.Response(status=int(answer.status_code), headers=headers, body=_body(answer.body))
    for cookie in answer.cookies:
        _set_cookie(response, cookie)
    return response


def _body(data: Any) -> bytes:
    kind = data.WhichOneof("data")
    if kind is None:
        return b""
    value = getattr(data, kind)
    return value if isinstance(value, bytes) else str(value).encode()


def _set_cookie(response: web.Response, cookie: Any) -> None:
    def optional(name: str) -> Any:
        return getattr(cookie, name).value if cookie.HasField(name) else None

    expires = optional("expires")
    max_age = optional("max_age")
    response.set_cookie(
        cookie.name,
        cookie.value,
        domain=optional("domain") or None,
        path=optional("path") or "/",
        expires=None if expires is None else format_datetime(expires.ToDatetime(UTC), usegmt=True),
        max_age=None if max_age is None else int(max_age),
        secure=optional("secure"),
        httponly=optional("http_only"),
        samesite=_SAME_SITE.get(cookie.same_site),
    )
