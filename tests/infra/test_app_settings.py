"""The app settings in Bicep are those that the app and its host know, and the app starts with them."""

import re
from typing import Any

import pytest

from processors.settings import FIELDS, NAMES, load
from processors.telemetry import APPLICATION_INSIGHTS
from tests.infra.bicep import Expression
from tests.infra.files import FILES, ROOT, blocks

TELEMETRY = (ROOT / "docs" / "telemetry.md").read_text(encoding="utf-8")

HOST = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "AzureFunctionsJobHost__telemetryMode",
    "AzureWebJobsStorage__accountName",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__credential",
    "EventHubConnection__clientId",
    "EventHubConnection__credential",
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY",
}
"""What the Functions host, its Event Hubs trigger, its Python worker and OpenTelemetry read themselves."""

NOT_ON_FLEX = re.compile(r"^(FUNCTIONS_|WEBSITE_|SCM_DO_BUILD|ENABLE_ORYX|AzureWebJobsStorage$)")
"""What Flex Consumption sets by itself or refuses, and the connection string that an identity takes the place of."""


@pytest.fixture
def given() -> dict[str, Any]:
    """The settings that the app is always deployed with: name → value."""
    settings: dict[str, Any] = FILES["app.bicep"].variables["settingsAlways"]
    return settings


@pytest.fixture
def telemetry() -> dict[str, Any]:
    """Those that it has with OpenTelemetry as well."""
    settings: dict[str, Any] = FILES["app.bicep"].variables["settingsOfTelemetry"]
    return settings


def test_every_setting_is_known(given: dict[str, Any], telemetry: dict[str, Any]) -> None:
    settings = given | telemetry
    assert settings.keys() - NAMES - HOST == set()
    assert HOST - settings.keys() == set()
    assert [name for name in settings if NOT_ON_FLEX.search(name)] == []


def test_those_of_telemetry_are_all_there_or_none(given: dict[str, Any], telemetry: dict[str, Any]) -> None:
    """The host's mode without the worker's has each log line twice, or not at all."""
    assert given.keys() & telemetry.keys() == set()
    properties = FILES["app.bicep"].resources["settings"].body["properties"]
    assert properties.text == "union(settingsAlways, empty(openTelemetry) ? {} : settingsOfTelemetry)"
    assert {APPLICATION_INSIGHTS, "AzureFunctionsJobHost__telemetryMode"} <= telemetry.keys()


def test_the_page_sets_the_same_by_hand(telemetry: dict[str, Any]) -> None:
    (commands,) = (block for block in blocks(TELEMETRY, "") if APPLICATION_INSIGHTS in block)
    assert dict(re.findall(r"(?m)^ +(\w+)=(\S+?)(?: \\)?$", commands)) == telemetry


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
