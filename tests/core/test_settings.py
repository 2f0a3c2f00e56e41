"""Settings: every mistake at once, with the setting's name, the reason and an example, and never with its value."""

import json
from pathlib import Path

import pytest

from processors import limits
from processors.errors import SettingsError
from processors.settings import FIELDS, NAMES, load

ROOT = Path(__file__).parents[2]

HUB = {
    "EventHubName": "insights-logs-servicelog",
    "EventHubConsumerGroup": "batch-rollups",
    "EventHubConnection": "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=s3cret",
}
ACCOUNT = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=s3cret;EndpointSuffix=core.windows.net"
URIS = {
    "RollupStorage__tableServiceUri": "https://a.table.core.windows.net",
    "RollupStorage__blobServiceUri": "https://a.blob.core.windows.net/",
}
COMPLETE = HUB | {"RollupStorage": ACCOUNT}


def problems(environment: dict[str, str]) -> dict[str, str]:
    """The lines of the error, by the setting that each names."""
    with pytest.raises(SettingsError) as raised:
        load(environment)
    first, *lines = str(raised.value).splitlines()
    assert first == "the settings are not usable:"
    found = {line.split()[0]: line for line in lines}
    assert len(found) == len(lines)
    for name, line in found.items():
        assert line.endswith(f"; for example {name}={FIELDS[name].examples[0]}")
    return found


@pytest.mark.parametrize(
    "storage",
    [
        "UseDevelopmentStorage=true",
        ACCOUNT,
        "TableEndpoint=https://a.table.core.windows.net;SharedAccessSignature=sv=1&sig=2",
    ],
)
def test_a_connection_string_of_any_form_is_used(storage: str) -> None:
    assert load(HUB | {"RollupStorage": storage}).storage_connection == storage


def test_without_storage_of_its_own_the_hosts_is_used() -> None:
    assert load(HUB | {"AzureWebJobsStorage": ACCOUNT}).storage_connection == ACCOUNT


def test_its_own_storage_comes_before_the_hosts() -> None:
    settings = load(COMPLETE | {"AzureWebJobsStorage": "UseDevelopmentStorage=true"})
    assert settings.storage_connection == ACCOUNT


def test_an_identity_needs_both_endpoints_and_no_key() -> None:
    namespace = {
        "EventHubName": "h",
        "EventHubConsumerGroup": "g",
        "EventHubConnection__fullyQualifiedNamespace": "ns.servicebus.windows.net",
    }
    settings = load(namespace | URIS | {"RollupStorage__clientId": "id", "AzureWebJobsStorage": ACCOUNT})
    assert settings.storage_connection is None
    assert settings.rollup_table_uri == URIS["RollupStorage__tableServiceUri"]
    assert settings.rollup_blob_uri == URIS["RollupStorage__blobServiceUri"]
    assert (settings.rollup_client_id, settings.event_hub_connection) == ("id", None)


def test_empty_and_blank_values_count_as_absent() -> None:
    settings = load(COMPLETE | dict.fromkeys(URIS, "") | {"RollupStorage__clientId": "  "})
    assert settings.rollup_table_uri is None
    assert settings.rollup_client_id is None
    assert load({name: f" {value}\n" for name, value in COMPLETE.items()}) == load(COMPLETE)


def test_all_that_is_missing_is_said_at_once() -> None:
    found = problems({})
    assert found.keys() == {"EventHubName", "EventHubConsumerGroup", "EventHubConnection", "RollupStorage"}
    assert all("is missing" in line for line in found.values())
    assert "AzureWebJobsStorage" in found["RollupStorage"]


@pytest.mark.parametrize("name", HUB)
def test_each_missing_hub_setting_is_named(name: str) -> None:
    assert problems({key: value for key, value in COMPLETE.items() if key != name}).keys() == {name}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EventHubConnection", "s3cret"),
        ("EventHubConnection", "Endpoint=https://s3cret"),
        ("RollupStorage", "s3cret"),
        ("RollupStorage", "AccountKey=s3cret"),
        ("AzureWebJobsStorage", "s3cret"),
        ("RollupStorage__tableServiceUri", "s3cret.table.core.windows.net"),
        ("RollupStorage__blobServiceUri", "ftp://s3cret"),
    ],
)
def test_a_wrong_form_is_named_without_its_value(name: str, value: str) -> None:
    found = problems(HUB | ({} if "Storage" in name and name not in URIS else URIS) | {name: value})
    assert found.keys() == {name}
    assert "has the wrong form" in found[name]
    assert "s3cret" not in found[name]


@pytest.mark.parametrize(("given", "missing"), [tuple(URIS), tuple(reversed(URIS))])
def test_one_endpoint_without_the_other_names_the_missing_one(given: str, missing: str) -> None:
    found = problems(HUB | {given: URIS[given]})
    assert found.keys() == {missing}
    assert f"is missing beside {given}" in found[missing]


def test_a_key_beside_the_identitys_endpoints_is_a_mistake() -> None:
    found = problems(COMPLETE | URIS)
    assert found.keys() == {"RollupStorage"}
    assert "not both" in found["RollupStorage"]


def test_mistakes_of_every_kind_are_said_together() -> None:
    found = problems({"EventHubName": "h", "EventHubConnection": "s3cret", "RollupStorage__tableServiceUri": "s3cret"})
    assert found.keys() == {
        "EventHubConsumerGroup",
        "EventHubConnection",
        "RollupStorage__tableServiceUri",
        "RollupStorage__blobServiceUri",
    }
    assert "s3cret" not in "".join(found.values())


def test_the_api_takes_a_function_key_unless_told_otherwise() -> None:
    assert load(COMPLETE).api_auth_level == "function"
    assert load(COMPLETE | {"ApiAuthLevel": " "}).api_auth_level == "function"
    assert load(COMPLETE | {"ApiAuthLevel": "anonymous"}).api_auth_level == "anonymous"
    for wrong in ("Anonymous", "admin", "none"):
        assert problems(COMPLETE | {"ApiAuthLevel": wrong}).keys() == {"ApiAuthLevel"}


def test_jobs_are_kept_unless_told_otherwise() -> None:
    for off in ({}, {"RetentionDays": ""}, {"RetentionDays": "0"}):
        assert load(COMPLETE | off).retention_days == 0
    assert load(COMPLETE | {"RetentionDays": " 365 "}).retention_days == 365
    assert load(COMPLETE | {"RetentionDays": str(limits.RETENTION_DAYS)}).retention_days == limits.RETENTION_DAYS
    for wrong in ("-1", "1.5", "a year", "365d", str(limits.RETENTION_DAYS + 1)):
        assert problems(COMPLETE | {"RetentionDays": wrong}).keys() == {"RetentionDays"}


def test_the_timer_has_a_schedule_always() -> None:
    assert load(COMPLETE | {"RetentionSchedule": ""}).retention_schedule == "0 30 2 * * *"
    for right in ("0 */5 * * * *", "0 0 1-5,7 * JAN-MAR Mon-Fri", "0  30 2 * * *"):
        assert load(COMPLETE | {"RetentionSchedule": right}).retention_schedule == right
    for wrong in ("30 2 * * *", "daily", "%Other%", "0 30 2 * * * *", "0 30 2 * * ?"):
        assert problems(COMPLETE | {"RetentionSchedule": wrong}).keys() == {"RetentionSchedule"}


def test_other_environment_variables_are_ignored() -> None:
    assert load(COMPLETE | {"PATH": "/bin", "event_hub_name": "other"}) == load(COMPLETE)


def test_the_sample_holds_every_setting_and_loads() -> None:
    sample = json.loads((ROOT / "local.settings.sample.json").read_text(encoding="utf-8"))["Values"]
    assert sample.keys() == {*NAMES, "FUNCTIONS_WORKER_RUNTIME"}
    load(sample)


@pytest.mark.parametrize("name", NAMES)
def test_the_documentation_names_every_setting(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


def test_every_setting_has_a_description_and_an_example() -> None:
    assert all(field.description and field.examples for field in FIELDS.values())
