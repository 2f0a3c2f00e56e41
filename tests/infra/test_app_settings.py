"""The app settings in Bicep are those that the app and its host know, and the app starts with them."""

import re
from typing import Any

import pytest

from processors.settings import FIELDS, NAMES, load
from tests.infra.bicep import Expression
from tests.infra.files import FILES, ROOT

HOST = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "AzureWebJobsStorage__accountName",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__credential",
    "EventHubConnection__clientId",
    "EventHubConnection__credential",
    "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY",
}
"""What the Functions host, its Event Hubs trigger and its Python worker read themselves."""

COMING = {"JobBuckets", "RetentionDays"}
"""Settings that processors.settings is about to know."""

NOT_ON_FLEX = re.compile(r"^(FUNCTIONS_|WEBSITE_|SCM_DO_BUILD|ENABLE_ORYX|AzureWebJobsStorage$)")
"""What Flex Consumption sets by itself or refuses, and the connection string that an identity takes the place of."""


@pytest.fixture
def given() -> dict[str, Any]:
    """The settings that the app is deployed with: name → value."""
    properties: dict[str, Any] = FILES["app.bicep"].resources["settings"].body["properties"]
    return properties


def test_every_setting_is_known(given: dict[str, Any]) -> None:
    assert given.keys() - NAMES - HOST - COMING == set()
    assert [name for name in given if NOT_ON_FLEX.search(name)] == []


def test_the_app_starts_with_them(given: dict[str, Any]) -> None:
    settings = load({name: str(FIELDS[name].examples[0]) for name in given if name in NAMES})
    assert settings.storage_connection is None  # the identity is used
    assert settings.event_hub_connection is None


def test_every_identity_setting_names_the_same_identity(given: dict[str, Any]) -> None:
    clients = [value for name, value in given.items() if name.endswith("__clientId")]
    assert clients == [Expression("identityClientId", clients[0].node)] * 3
    assert given["AzureWebJobsStorage__credential"] == given["EventHubConnection__credential"] == "managedidentity"


def test_the_always_ready_group_is_a_function_of_the_app() -> None:
    text = FILES["app.bicep"].path.read_text(encoding="utf-8")
    functions = re.findall(r'^@app\.function_name\("(\w+)"\)$', (ROOT / "function_app.py").read_text(), re.MULTILINE)
    assert re.findall(r"'function:(\w+)'", text) == ["ingest"]
    assert "ingest" in functions
