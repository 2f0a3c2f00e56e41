"""The part of host.json that this host obeys, with the defaults of Azure.

Sources: Microsoft Learn, "host.json reference" and "Azure Event Hubs trigger and bindings", host.json settings
of extension 6.x. Everything else in the file is ignored, as it concerns what does not exist here (scaling,
Application Insights, extension bundles).
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from devstack.functions_host.errors import HostError

_TIME_SPAN = re.compile(r"(?:(\d+)\.)?(\d+):(\d{2}):(\d{2}(?:\.\d+)?)")


@dataclass(frozen=True)
class EventHubOptions:
    """extensions.eventHubs. `max_wait_time` is in seconds, the other numbers are counts of events or batches."""

    max_event_batch_size: int = 100
    min_event_batch_size: int = 1
    max_wait_time: float = 60.0
    prefetch_count: int = 300
    batch_checkpoint_frequency: int = 1
    initial_offset: Literal["fromStart", "fromEnd"] = "fromStart"


@dataclass(frozen=True)
class HostJson:
    """host.json: `route_prefix` (without slashes at its ends) and the Event Hub trigger's options."""

    route_prefix: str = "api"
    event_hubs: EventHubOptions = EventHubOptions()


def load(app_folder: Path) -> HostJson:
    """Read host.json of an app folder. Raises HostError when it is missing, not JSON, or a value cannot be used."""
    path = app_folder / "host.json"
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise HostError(f"cannot read host.json: {error}") from error
    except ValueError as error:
        raise HostError(f"{path} is not JSON: {error}") from error
    extensions = _section(content, "extensions")
    http = _section(extensions, "http")
    return HostJson(
        route_prefix=str(http.get("routePrefix", HostJson.route_prefix)).strip("/"),
        event_hubs=_event_hub_options(_section(extensions, "eventHubs")),
    )


def _event_hub_options(section: dict[str, Any]) -> EventHubOptions:
    defaults = EventHubOptions()
    initial_offset = _section(section, "initialOffsetOptions").get("type", defaults.initial_offset)
    if initial_offset not in ("fromStart", "fromEnd"):
        raise HostError(f"host.json: initialOffsetOptions.type {initial_offset!r}: use fromStart or fromEnd here")
    options = EventHubOptions(
        max_event_batch_size=_count(section, "maxEventBatchSize", defaults.max_event_batch_size),
        min_event_batch_size=_count(section, "minEventBatchSize", defaults.min_event_batch_size),
        max_wait_time=_seconds(section, "maxWaitTime", defaults.max_wait_time),
        prefetch_count=_count(section, "prefetchCount", defaults.prefetch_count),
        batch_checkpoint_frequency=_count(section, "batchCheckpointFrequency", defaults.batch_checkpoint_frequency),
        initial_offset=initial_offset,
    )
    if options.min_event_batch_size > options.max_event_batch_size:
        raise HostError("host.json: minEventBatchSize is greater than maxEventBatchSize")
    return options


def _section(parent: Any, name: str) -> dict[str, Any]:
    if not isinstance(parent, dict):
        raise HostError("host.json has to hold a JSON object")
    section = parent.get(name, {})
    if not isinstance(section, dict):
        raise HostError(f"host.json: {name} has to be a JSON object")
    return section


def _count(section: dict[str, Any], name: str, default: int) -> int:
    value = section.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise HostError(f"host.json: {name} has to be a whole number of at least 1, not {value!r}")
    return value


def _seconds(section: dict[str, Any], name: str, default: float) -> float:
    if name not in section:
        return default
    match = _TIME_SPAN.fullmatch(str(section[name]))
    if match is None:
        raise HostError(f"host.json: {name} has to be a time span hh:mm:ss, not {section[name]!r}")
    days, hours, minutes, seconds = match.groups(default="0")
    return int(days) * 86400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
