"""Who may ask the API within the app: whatever the settings are, data is for those who were let in."""

import json

import pytest

from processors.settings import Settings, load
from reader.hosted import Hosted
from tests.core.test_settings import HUB

PRINCIPAL = {"x-ms-client-principal": "eyJhdXRoX3R5cCI6ImFhZCJ9"}
LOCAL = {"AZURE_FUNCTIONS_ENVIRONMENT": "Development"}
ON = {"WEBSITE_AUTH_ENABLED": "True"}
URL = "https://app.example/api/jobs?limit=1"

IN_AZURE = [
    {"WEBSITE_INSTANCE_ID": "0123"},  # App Service, Elastic Premium, Consumption on Windows
    {"CONTAINER_NAME": "0123"},  # Consumption and Flex Consumption
    {"WEBSITE_POD_NAME": "0123"},  # Flex Consumption
    {"WEBSITE_INSTANCE_ID": "0123", **LOCAL},  # a setting that somebody left there
    {},  # anywhere else: not known to be a developer's machine
]


def settings(connection: str, level: str) -> Settings:
    return load(HUB | {"RollupStorage": connection, "ApiAuthLevel": level})


@pytest.mark.parametrize("azure", IN_AZURE)
def test_open_to_anybody_is_refused_with_what_to_do(connection: str, azure: dict[str, str]) -> None:
    for environment in (azure, azure | {"WEBSITE_AUTH_ENABLED": "False"}):
        status, _, body = Hosted(settings(connection, "anonymous"), environment).data("GET", URL, PRINCIPAL)
        error = json.loads(body)["error"]
        assert (status, error["code"]) == (403, "forbidden")
        assert "App Service Authentication is off" in error["message"]


@pytest.mark.parametrize("azure", IN_AZURE)
def test_with_authentication_in_front_it_is_for_who_signed_in(connection: str, azure: dict[str, str]) -> None:
    hosted = Hosted(settings(connection, "anonymous"), azure | ON)
    status, _, body = hosted.data("GET", URL, {})
    assert (status, json.loads(body)["error"]["code"]) == (401, "unauthenticated")
    status, _, body = hosted.data("GET", URL, PRINCIPAL)
    assert (status, len(json.loads(body)["jobs"])) == (200, 1)


@pytest.mark.parametrize("environment", [*IN_AZURE, LOCAL])
def test_with_function_keys_the_host_has_asked_for_one(connection: str, environment: dict[str, str]) -> None:
    assert Hosted(settings(connection, "function"), environment).data("GET", URL, {}).status == 200


def test_on_a_developers_machine_there_is_nobody_to_keep_out(connection: str) -> None:
    assert Hosted(settings(connection, "anonymous"), LOCAL).data("GET", URL, {}).status == 200


@pytest.mark.parametrize("url", ["https://app.example/api/jobs", "https://app.example", "https://app.example/", "x"])
def test_the_page_never_is_data(url: str) -> None:
    assert Hosted.page("GET", url, {}).status == 404


def test_the_clients_are_made_once(connection: str) -> None:
    hosted = Hosted(settings(connection, "function"), {})
    hosted.data("GET", URL, {})
    made = hosted._source  # noqa: SLF001 - what must not be made again
    hosted.data("GET", URL, {})
    assert made is not None
    assert hosted._source is made  # noqa: SLF001
