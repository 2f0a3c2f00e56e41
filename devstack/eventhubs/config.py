"""The hubs to serve, from a config file in the format of Microsoft's own Event Hubs emulator.

    {"UserConfig": {"NamespaceConfig": [{"Type": "EventHub", "Name": "emulatorNs1", "Entities": [
        {"Name": "eh1", "PartitionCount": "2", "ConsumerGroups": [{"Name": "cg1"}]}]}],
     "LoggingConfig": {"Type": "File"}}}

Rule: a config is accepted whole or refused with one line that says where (`UserConfig.NamespaceConfig[0]…`) and
what. Keys that this server has no use for are ignored, so that one file serves both emulators.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigError

DEFAULT_GROUP = "$Default"
MAX_PARTITIONS = 1024  # the most that any tier of the service allows in one hub

# The service's rule for hub and group names; it also makes a hub's name safe as a folder's name.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,254}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class HubConfig:
    """One event hub. `$Default` exists whether or not it is among the consumer groups.

    Raises:
        ConfigError: for a name, partition count or group that the service would not allow.
    """

    name: str
    partition_count: int = 4
    consumer_groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_name(self.name, "event hub")
        if not 1 <= self.partition_count <= MAX_PARTITIONS:
            raise ConfigError(
                f"event hub '{self.name}': the partition count is {self.partition_count}, not 1 to {MAX_PARTITIONS}"
            )
        for group in self.consumer_groups:
            if group.lower() != DEFAULT_GROUP.lower():
                _check_name(group, "consumer group")
        _check_distinct(self.consumer_groups, "consumer group")


def load_config(path: Path) -> tuple[HubConfig, ...]:
    """The hubs in a config file.

    Raises:
        ConfigError: the file cannot be read, is no JSON, or describes no usable set of hubs.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    try:
        return parse_config(document)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse_config(document: object) -> tuple[HubConfig, ...]:
    """The hubs that a decoded config describes; several namespaces count as one.

    Raises:
        ConfigError: as for `load_config`.
    """
    hubs: list[HubConfig] = []
    user = _get(document, "UserConfig", "", _object)
    for namespace, where in _items(user, "NamespaceConfig", "UserConfig"):
        kind = namespace.get("Type", "EventHub")
        if str(kind).lower() != "eventhub":
            raise ConfigError(f"{where}.Type: expected 'EventHub', got {kind!r}")
        hubs.extend(_hub(entity, at) for entity, at in _items(namespace, "Entities", where))
    if not hubs:
        raise ConfigError("UserConfig.NamespaceConfig: no event hub in any Entities")
    check_hubs(hubs)
    return tuple(hubs)


def check_hubs(hubs: list[HubConfig]) -> None:
    """Refuse two hubs of one name; the service compares names without case.

    Raises:
        ConfigError: names the hub.
    """
    _check_distinct([hub.name for hub in hubs], "event hub")


def _hub(entity: dict[str, Any], where: str) -> HubConfig:
    name = _get(entity, "Name", where, _text)
    partitions = _get(entity, "PartitionCount", where, _count)
    groups: list[str] = []
    if entity.get("ConsumerGroups") is not None:
        groups = [_get(group, "Name", at, _text) for group, at in _items(entity, "ConsumerGroups", where)]
    try:
        return HubConfig(name, partitions, tuple(groups))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _get[T](parent: object, key: str, where: str, read: Callable[[object, str], T]) -> T:
    members = _object(parent, where or "the document")
    path = f"{where}.{key}" if where else key
    if key not in members:
        raise ConfigError(f"{path}: missing")
    return read(members[key], path)


def _items(parent: dict[str, Any], key: str, where: str) -> list[tuple[dict[str, Any], str]]:
    """The objects of a list, each with its place."""
    path = f"{where}.{key}"
    items = _get(parent, key, where, lambda value, _: value)
    if not isinstance(items, list):
        raise ConfigError(f"{path}: expected a list, got {items!r}")
    return [(_object(item, f"{path}[{i}]"), f"{path}[{i}]") for i, item in enumerate(items)]


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected an object, got {value!r}")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{where}: expected a string, got {value!r}")
    return value


def _count(value: object, where: str) -> int:
    """A whole number; Microsoft's own samples write it as a string."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip()):
        return int(value)
    raise ConfigError(f"{where}: expected a whole number, got {value!r}")


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{what} name {name!r}: 1 to 256 letters, digits, '.', '-' or '_', with a letter or digit at both ends"
        )


def _check_distinct(names: list[str] | tuple[str, ...], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise ConfigError(f"{what} {name!r} is there twice")
        seen.add(name.lower())
