"""local.settings.json, and what refers to a setting by name.

Its Values become environment variables before the app is imported, and a variable that is already set in the
real environment wins: what `func start` does (Microsoft Learn, "Develop Azure Functions locally", Local
settings file). From then on a setting is an environment variable and nothing else, as in Azure.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from devstack.azurite import account_connection_string
from devstack.functions_host.errors import HostError

_REFERENCE = re.compile(r"%([^%]*)%")


def load_into_environment(path: Path) -> None:
    """Read local.settings.json and set the environment variables of this process from its Values.

    Raises HostError when the file is missing, is not such a file, is encrypted, or holds a value that is no text.
    """
    for name, value in _read_values(path).items():
        os.environ.setdefault(name, value)


def is_set(name: str) -> bool:
    """Whether the setting `name` has a value."""
    return bool(os.environ.get(name))


def require(name: str, wanted_by: str) -> str:
    """The setting `name`. Raises HostError, naming it and `wanted_by`, when it is absent or empty."""
    value = os.environ.get(name)
    if not value:
        raise HostError(f"{wanted_by} needs the setting {name!r}, which is not set (Values in local.settings.json)")
    return value


def require_storage(name: str, wanted_by: str) -> str:
    """The storage connection string in the setting `name`, with the emulator's short form written out.

    The checkpoint store's copy of the storage SDK does not know the short form. Raises HostError as `require` does.
    """
    value = require(name, wanted_by)
    return account_connection_string() if value.rstrip(";").lower() == "usedevelopmentstorage=true" else value


def resolve(text: str, wanted_by: str) -> str:
    """`text` with every %Name% replaced by that setting. Raises HostError as `require` does."""
    return _REFERENCE.sub(lambda reference: require(reference[1], wanted_by), text)


def _read_values(path: Path) -> dict[str, str]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise HostError(f"cannot read the settings: {error}") from error
    except ValueError as error:
        raise HostError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("Values"), dict):
        raise HostError(f'{path} has no "Values" object: is it in the format of local.settings.json?')
    if content.get("IsEncrypted"):
        raise HostError(f"{path} is encrypted; only Azure Functions Core Tools can read it")
    values: dict[str, Any] = content["Values"]
    for name, value in values.items():
        if not isinstance(value, str):
            raise HostError(f"{path}: the value of {name!r} has to be a JSON string, as in Azure")
    return values
