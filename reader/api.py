"""The HTTP API and the dashboard's files, as a function from request to response: no framework, no server.

    GET /api/jobs                                   jobs, newest first
    GET /api/jobs/{account}/{job}                   one job
    GET /api/jobs/{account}/{job}/tasks             its tasks, a page at a time
    GET /api/jobs/{account}/{job}/tasks/{task}      one task
    GET /api/jobs/{account}/{job}/nodes             its nodes
    GET /api/health                                 can the tables be read, and how fresh are they
    GET /api/openapi.json                           all this, described
    GET /api/dashboard, /api/dashboard/{file}       the page and what it loads: no data in them

The rule: `respond` always returns. What was asked wrongly is a 4xx that names it and says what would be right; storage
that is away is a 503; everything else that goes wrong is in the log, and a 500 without a word of it.
"""

import gzip
import hashlib
import heapq
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from processors import limits
from processors.errors import BadRequest, NotFound, StorageUnavailable, UnreadableRow
from processors.events import key
from processors.rollups import JobKey
from reader.accounts import Account
from reader.health import Checkup
from reader.models import Job
from reader.parameters import JobsQuery, NoQuery, TasksQuery, parse_query
from reader.queries import JobBuckets, Rollups, job_key

DASHBOARD = "/api/dashboard"
WEB = Path(__file__).parent / "web" / "dist"
"""The dashboard as it is built."""

METHODS = ("GET", "HEAD")
RETRY_AFTER_SECONDS = 5

_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": _JSON,
    ".map": _JSON,
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
    ".txt": _TEXT,
}
_COMPRESSED = frozenset({".html", ".js", ".css", ".json", ".map", ".svg", ".webmanifest", ".txt"})
_WORTH_COMPRESSING = 1_024

logger = logging.getLogger(__name__)


class Request(NamedTuple):
    """What came: `target` is path and query string as on the wire, percent-encoded; header names are lower-case."""

    method: str
    target: str
    headers: Mapping[str, str]


class Response(NamedTuple):
    """What goes back. The server counts and frames the body, and leaves it out for HEAD."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Source:
    """What is served: an account's rollups. Safe for threads, as the SDK's clients are."""

    account: Account
    checkup: Checkup = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "checkup", Checkup(self.account))

    @property
    def rollups(self) -> Rollups:
        return Rollups(self.account.tables)


def respond(request: Request, source: Source) -> Response:
    """Answer a request for data or for the dashboard's files."""
    path = request.target.partition("?")[0]
    if path == DASHBOARD or path.startswith(f"{DASHBOARD}/"):
        return respond_with_file(request)
    return _finished(request, _answer(request, source))


def respond_with_file(request: Request, folder: Path = WEB) -> Response:
    """Answer a request for the dashboard's page or a file of it. Reaches nothing else: it may be called by anybody."""
    path = request.target.partition("?")[0]
    if request.method not in METHODS:
        return _finished(request, _wrong_method(request.method))
    if path == f"{DASHBOARD}/":
        return _finished(request, _Answer(HTTPStatus.PERMANENT_REDIRECT, b"", _TEXT, {"Location": DASHBOARD}))
    name = "dashboard.html" if path == DASHBOARD else path.removeprefix(f"{DASHBOARD}/")
    return _finished(request, _file(folder, name))


def error_response(request: Request, status: int, code: str, message: str, **headers: str) -> Response:
    """A refusal, in the form that all errors have."""
    return _finished(request, _error(status, code, message, headers))


# --- routes ----------------------------------------------------------------------------------------------------------


class _Answer(NamedTuple):
    status: int
    body: bytes
    type: str = _JSON
    headers: Mapping[str, str] = {}
    compressed: bytes | None = None
    """The body, compressed before."""


def _answer(request: Request, source: Source) -> _Answer:
    if request.method not in METHODS:
        return _wrong_method(request.method)
    try:
        path, _, query = request.target.partition("?")
        return _Answer(HTTPStatus.OK, _encode(_find(source, _segments(path), query)))
    except NotFound as error:
        return _error(HTTPStatus.NOT_FOUND, "notFound", str(error))
    except BadRequest as error:
        return _error(HTTPStatus.BAD_REQUEST, "badRequest", str(error))
    except StorageUnavailable as error:
        logger.warning("%s", error)
        return _error(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "storageUnavailable",
            "the storage account does not answer as it should; try again, or see the log for what it said",
            {"Retry-After": str(RETRY_AFTER_SECONDS)},
        )
    except UnreadableRow as error:
        logger.exception("a row cannot be read")
        return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "unreadableRow", str(error))
    except Exception:
        logger.exception("a request failed")
        return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the request failed; the log says why")


def _segments(path: str) -> list[str]:
    """The decoded parts of a path. A slash within an id is %2F."""
    try:
        return [unquote(segment, errors="strict") for segment in path.split("/")[1:]]
    except UnicodeDecodeError:
        raise BadRequest("the path is not UTF-8; percent-encode its ids as UTF-8") from None


def _find(source: Source, segments: list[str], query: str) -> Any:
    """What is at a path, as JSON has it. Raises BadRequest, StorageUnavailable and UnreadableRow."""
    match segments:
        case ["api", "jobs"]:
            return _jobs(source.rollups, parse_query(JobsQuery, query))
        case ["api", "jobs", account, job]:
            parse_query(NoQuery, query)
            return _job(source.rollups, account, job).columns()
        case ["api", "jobs", account, job, "tasks"]:
            return _tasks(source.rollups, account, job, parse_query(TasksQuery, query))
        case ["api", "jobs", account, job, "tasks", task]:
            parse_query(NoQuery, query)
            return _task(source.rollups, account, job, task)
        case ["api", "jobs", account, job, "nodes"]:
            parse_query(NoQuery, query)
            nodes = source.rollups.nodes(job_key(_job(source.rollups, account, job)))
            return {"nodes": [node.columns() for node in nodes]}
        case ["api", "health"]:
            parse_query(NoQuery, query)
            return source.checkup.health().model_dump(mode="json", by_alias=True, exclude_none=True)
        case ["api", "openapi.json"]:
            parse_query(NoQuery, query)
            return _description()
    raise NotFound(f"there is nothing at /{'/'.join(segments)}; /api/openapi.json describes what there is")


def _jobs(rollups: Rollups, query: JobsQuery) -> dict[str, Any]:
    column = query.sort.removeprefix("-")
    name = next(name for name, field_ in Job.model_fields.items() if field_.alias == column)
    total = 0

    def counted() -> Iterator[Job]:
        nonlocal total
        for job in rollups.jobs(query, [*query.columns, column]):
            total += 1
            yield job

    def rank(job: Job) -> tuple[Any, ...]:
        value = getattr(job, name)
        if value is None:
            return (not descending,)
        return (descending, value.casefold() if isinstance(value, str) else value)

    descending = query.sort.startswith("-")
    pick = heapq.nlargest if descending else heapq.nsmallest
    # Only what is listed is in memory, however many there are.
    found = pick(query.limit, counted(), key=rank)
    return {"jobs": [job.columns() for job in found], "total": total}


def _job(rollups: Rollups, account: str, job: str) -> Job:
    if len(key(account)) + len(key(job)) >= limits.KEY_UNITS:
        raise NotFound("there is no job of so long a name")
    return rollups.job(job, account)


def _tasks(rollups: Rollups, account: str, job: str, query: TasksQuery) -> dict[str, Any]:
    of = job_key(_job(rollups, account, job))
    page = rollups.task_page(of, query, query.columns, query.limit, query.continuation)
    answer: dict[str, Any] = {"tasks": [task.columns() for task in page.tasks]}
    if page.continuation is not None:
        answer["continuation"] = page.continuation
    return answer


def _task(rollups: Rollups, account: str, job: str, task: str) -> dict[str, Any]:
    of = JobKey(key(account), key(job))
    if max(len(of.partition()), len(key(task))) > limits.KEY_UNITS:
        raise NotFound("there is no task of so long a name")
    try:
        return rollups.task(JobBuckets(of, 1), task).columns()
    except NotFound:  # in the job's first bucket; most jobs have no other, and their row need not be read
        spread = job_key(rollups.job(job, account))
        if spread.buckets == 1:
            raise
        return rollups.task(spread, task).columns()


@lru_cache(maxsize=1)
def _description() -> dict[str, Any]:
    from reader.openapi import document  # needed once, if at all

    return document()


# --- the dashboard's files -------------------------------------------------------------------------------------------


def _file(folder: Path, name: str) -> _Answer:
    # Compared with what the folder has: no path can be made of `name`.
    known = {path.name: path for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {}
    if "dashboard.html" not in known:
        return _Answer(
            HTTPStatus.SERVICE_UNAVAILABLE,
            b"The dashboard is not built here: run `make web`, then load this page again.\n",
            _TEXT,
        )
    path = known.get(name)
    if path is None or path.suffix not in _TYPES:
        return _error(HTTPStatus.NOT_FOUND, "notFound", "the dashboard has no such file")
    return _read_file(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def _read_file(path: Path, _modified: int) -> _Answer:
    body = path.read_bytes()
    compressed = _compress(body) if path.suffix in _COMPRESSED else None
    return _Answer(HTTPStatus.OK, body, _TYPES[path.suffix], compressed=compressed)


# --- responses -------------------------------------------------------------------------------------------------------


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> _Answer:
    return _Answer(status, _encode({"error": {"code": code, "message": message}}), headers=headers or {})


def _wrong_method(method: str) -> _Answer:
    allowed = ", ".join(METHODS)
    message = f"{method} changes nothing here; the methods are {allowed}"
    return _error(HTTPStatus.METHOD_NOT_ALLOWED, "methodNotAllowed", message, {"Allow": allowed})


def _compress(body: bytes) -> bytes | None:
    return gzip.compress(body, mtime=0) if len(body) >= _WORTH_COMPRESSING else None


def _finished(request: Request, answer: _Answer) -> Response:
    """With the headers that every response has; unchanged, compressed or whole."""
    headers = {"Content-Type": answer.type, **_SECURITY, **answer.headers}
    if answer.status != HTTPStatus.OK:
        return Response(answer.status, headers | {"Cache-Control": "no-store"}, answer.body)
    # Weak, as it is of the content, compressed or not.
    etag = f'W/"{hashlib.sha256(answer.body).hexdigest()[:32]}"'
    # Nobody but the one who asked may keep it, and that one asks each time whether it has changed.
    headers |= {"Cache-Control": "private, no-cache", "ETag": etag, "Vary": "Accept-Encoding"}
    if _matches(request.headers.get("if-none-match", ""), etag):
        del headers["Content-Type"]
        return Response(HTTPStatus.NOT_MODIFIED, headers, b"")
    if _accepts_gzip(request.headers.get("accept-encoding", "")):
        compressed = answer.compressed or (_compress(answer.body) if answer.type == _JSON else None)
        if compressed is not None:
            return Response(answer.status, headers | {"Content-Encoding": "gzip"}, compressed)
    return Response(answer.status, headers, answer.body)


def _matches(condition: str, etag: str) -> bool:
    opaque = etag.removeprefix("W/")
    return any(tag.strip().removeprefix("W/") in (opaque, "*") for tag in condition.split(","))


def _accepts_gzip(accepted: str) -> bool:
    weights = {}
    for part in accepted.lower().split(","):
        coding, _, parameters = part.partition(";")
        weights[coding.strip()] = parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return weights.get("gzip", weights.get("*", False))
