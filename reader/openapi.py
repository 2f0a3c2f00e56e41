"""The API described by OpenAPI 3.1, out of the models that it reads and writes.

The rule: a parameter or a property is in the description because a model has it, never by a hand-written copy.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.json_schema import models_json_schema

from reader.health import Health
from reader.models import Job, Node, Task
from reader.parameters import TEXT_LENGTH, TEXT_PATTERN, JobsQuery, NoQuery, TasksQuery

VERSION = "1"


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class JobList(_Answer):
    """Jobs, in the order that was asked for."""

    jobs: list[Job]
    total: int = Field(description="jobs that the filters leave, listed or not")


class TaskList(_Answer):
    """Some of a job's tasks, in the order of their ids as keys."""

    tasks: list[Task]
    continuation: str | None = Field(
        default=None, description="what the tasks that follow are asked for with; absent at the end"
    )


class NodeList(_Answer):
    """The nodes that a job's tasks ran on, by pool and node."""

    nodes: list[Node]


class ErrorDetails(_Answer):
    """What went wrong."""

    code: str = Field(
        description="for programs: badRequest, unauthenticated, forbidden, notFound, methodNotAllowed, "
        "storageUnavailable, unreadableRow, internal"
    )
    message: str = Field(description="for people: what is wrong, and what would be right")


class Error(_Answer):
    """Every refusal."""

    error: ErrorDetails


_ACCOUNT_JOB = {"account": "Batch account, without case", "job": "job id, without case; percent-encoded"}
_TASK = _ACCOUNT_JOB | {"task": "task id, without case; percent-encoded"}


class _Route(BaseModel):
    path: str
    name: str
    summary: str
    answer: type[BaseModel]
    query: type[BaseModel] = NoQuery
    ids: dict[str, str] = {}


_ROUTES = (
    _Route(path="/api/jobs", name="listJobs", summary="Jobs, newest first", answer=JobList, query=JobsQuery),
    _Route(path="/api/jobs/{account}/{job}", name="getJob", summary="One job", answer=Job, ids=_ACCOUNT_JOB),
    _Route(
        path="/api/jobs/{account}/{job}/tasks",
        name="listTasks",
        summary="A job's tasks, a page at a time; a page may be empty and yet have a continuation",
        answer=TaskList,
        query=TasksQuery,
        ids=_ACCOUNT_JOB,
    ),
    _Route(
        path="/api/jobs/{account}/{job}/tasks/{task}",
        name="getTask",
        summary="One task, with its earlier executions",
        answer=Task,
        ids=_TASK,
    ),
    _Route(
        path="/api/jobs/{account}/{job}/nodes",
        name="listNodes",
        summary="What each node did for a job",
        answer=NodeList,
        ids=_ACCOUNT_JOB,
    ),
    _Route(path="/api/health", name="getHealth", summary="Can the tables be read, and how fresh", answer=Health),
)


def document() -> dict[str, Any]:
    """The description, as JSON has it."""
    answers = {route.answer for route in _ROUTES} | {Error}
    _, definitions = models_json_schema(
        [(model, "serialization") for model in sorted(answers, key=lambda model: model.__name__)],
        ref_template="#/components/schemas/{model}",
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Batch rollups",
            "version": VERSION,
            "description": "Jobs and tasks of Azure Batch, out of the tables JobRollups and TaskRollups. Properties "
            "are the tables' columns; one whose value is unknown, or that was not asked for, is absent.",
        },
        "security": [{"functionKey": []}, {"functionKeyInQuery": []}, {}],
        "paths": {route.path: {"get": _operation(route)} for route in _ROUTES},
        "components": {
            "schemas": {name: _plain(schema) for name, schema in definitions["$defs"].items()},
            "securitySchemes": {
                "functionKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-functions-key",
                    "description": "a function key of the app, where ApiAuthLevel is `function`",
                },
                "functionKeyInQuery": {"type": "apiKey", "in": "query", "name": "code"},
            },
        },
    }


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Without the models' defaults: what is absent in an answer is unknown, or was not asked for."""
    properties = {
        name: {word: value for word, value in property_.items() if word not in ("default", "title")}
        for name, property_ in schema["properties"].items()
    }
    return schema | {"properties": properties}


def _operation(route: _Route) -> dict[str, Any]:
    refused = {
        "400": "What was asked for wrongly, and how to ask",
        "403": "The app is open to anybody; the message says how to close it",
        **({"404": "There is no such job or task"} if route.ids else {}),
        "500": "It failed; the log says why",
        "503": "Storage does not answer; try again",
    }
    responses: dict[str, Any] = {
        "200": {"description": "OK", "content": _json(route.answer)},
        "304": {"description": "Not modified: If-None-Match has the current ETag"},
        # The Functions host answers a wrong key by itself, without a body.
        "401": {"description": "The key is missing or wrong, or nobody is signed in"},
        **{status: {"description": text, "content": _json(Error)} for status, text in refused.items()},
    }
    parameters = [*_path_parameters(route.ids), *_query_parameters(route.query)]
    return {"operationId": route.name, "summary": route.summary, "parameters": parameters, "responses": responses}


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}


def _path_parameters(ids: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "description": text, "schema": {"type": "string"}}
        for name, text in ids.items()
    ]


def _query_parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    found = []
    for name, schema in query.model_json_schema()["properties"].items() if query is not NoQuery else ():
        # Nothing and null are the same to a model; a query string has no null.
        (kind,) = (option for option in schema.get("anyOf", [schema]) if option.get("type") != "null")
        shown = {word: value for word, value in kind.items() if word not in ("title", "description", "default")}
        if schema.get("default") is not None:
            shown["default"] = schema["default"]
        if shown.get("format") == "date-time":
            shown = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}
        elif shown["type"] == "string" and "enum" not in shown:
            shown |= {"maxLength": TEXT_LENGTH, "pattern": TEXT_PATTERN}
        parameter = {"name": name, "in": "query", "description": schema["description"], "schema": shown}
        found.append(parameter | ({"style": "form", "explode": False} if shown.get("type") == "array" else {}))
    return found
