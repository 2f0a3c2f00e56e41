"""What the indexed functions are triggered by, read from their bindings.

The rule: what this host cannot do as Azure does it, it refuses when it starts, in a sentence that names the
function; it never runs a function in a way of its own. Every %Setting% is resolved here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from devstack.functions_host import settings
from devstack.functions_host.errors import HostError
from devstack.functions_host.worker import Function

_DEFAULT_CONSUMER_GROUP = "$Default"


@dataclass(frozen=True)
class EventHubTrigger:
    """`connection_string` reaches the namespace; `argument` is the name of the function's parameter."""

    function: Function
    argument: str
    event_hub_name: str
    consumer_group: str
    connection_string: str


@dataclass(frozen=True)
class HttpTrigger:
    """`route` is without the prefix. `methods` are upper-case; none means every method."""

    function: Function
    argument: str
    route: str
    methods: frozenset[str]


@dataclass(frozen=True)
class TimerTrigger:
    """`schedule` is the NCRONTAB expression, which this host never runs by itself."""

    function: Function
    argument: str
    schedule: str
    run_on_startup: bool


@dataclass(frozen=True)
class Triggers:
    """Every function of the app, by the kind of its trigger."""

    event_hub: tuple[EventHubTrigger, ...]
    http: tuple[HttpTrigger, ...]
    timer: tuple[TimerTrigger, ...]


def read_triggers(functions: Iterable[Function]) -> Triggers:
    """Sort the functions by trigger. Raises HostError for a missing setting or for what this host does not do."""
    event_hub: list[EventHubTrigger] = []
    http: list[HttpTrigger] = []
    timer: list[TimerTrigger] = []
    for function in functions:
        binding = _trigger_binding(function)
        match binding["type"].lower():
            case "eventhubtrigger":
                event_hub.append(_event_hub_trigger(function, binding))
            case "httptrigger":
                http.append(_http_trigger(function, binding))
            case "timertrigger":
                timer.append(_timer_trigger(function, binding))
            case _:
                raise HostError(
                    f"function {function.name}: {binding['type']} is not run here; "
                    "eventHubTrigger, httpTrigger and timerTrigger are"
                )
    return Triggers(tuple(event_hub), tuple(http), tuple(timer))


def _trigger_binding(function: Function) -> dict[str, Any]:
    for binding in function.bindings:
        if str(binding.get("type", "")).lower().endswith("trigger"):
            return binding
    raise HostError(f"function {function.name} has no trigger")


def _event_hub_trigger(function: Function, binding: dict[str, Any]) -> EventHubTrigger:
    wanted_by = f"function {function.name}"
    if str(binding.get("cardinality", "MANY")).upper() != "MANY":
        raise HostError(f"{wanted_by}: only cardinality=func.Cardinality.MANY is run here")
    if str(binding.get("dataType", "")).upper() != "BINARY":
        raise HostError(
            f"{wanted_by}: only data_type=func.DataType.BINARY is run here; "
            "with another one the host parses or drops message bodies before the function sees them"
        )
    connection = str(binding.get("connection", ""))
    if settings.is_set(f"{connection}__fullyQualifiedNamespace"):
        raise HostError(f"{wanted_by}: {connection} is an identity-based connection; here it takes a connection string")
    return EventHubTrigger(
        function=function,
        argument=binding["name"],
        event_hub_name=settings.resolve(str(binding.get("eventHubName", "")), wanted_by),
        consumer_group=settings.resolve(str(binding.get("consumerGroup") or _DEFAULT_CONSUMER_GROUP), wanted_by),
        connection_string=settings.require(connection, wanted_by),
    )


def _http_trigger(function: Function, binding: dict[str, Any]) -> HttpTrigger:
    route = binding.get("route")
    return HttpTrigger(
        function=function,
        argument=binding["name"],
        route=settings.resolve(str(function.name if route is None else route), f"function {function.name}"),
        methods=frozenset(str(method).upper() for method in binding.get("methods") or ()),
    )


def _timer_trigger(function: Function, binding: dict[str, Any]) -> TimerTrigger:
    return TimerTrigger(
        function=function,
        argument=binding["name"],
        schedule=settings.resolve(str(binding.get("schedule", "")), f"function {function.name}"),
        run_on_startup=bool(binding.get("runOnStartup", False)),
    )
