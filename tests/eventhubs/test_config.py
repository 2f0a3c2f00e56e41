"""The config file: what is read, and that every mistake is named with its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from devstack.eventhubs import ConfigError, HubConfig, connection_string, load_config
from devstack.eventhubs.config import parse_config


def _document(*entities: Any, kind: str = "EventHub") -> dict[str, Any]:
    return {"UserConfig": {"NamespaceConfig": [{"Type": kind, "Name": "ns", "Entities": list(entities)}]}}


def test_a_config_as_microsofts_emulator_has_it(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    document = _document(
        {"Name": "eh1", "PartitionCount": "2", "ConsumerGroups": [{"Name": "cg1"}, {"Name": "$default"}]},
        {"Name": "dead-letter", "PartitionCount": 1},
        {"Name": "c.d_3", "PartitionCount": 32, "ConsumerGroups": None, "Unknown": "is ignored"},
    )
    path.write_text("\ufeff" + json.dumps(document), encoding="utf-8")
    assert load_config(path) == (
        HubConfig("eh1", 2, ("cg1", "$default")),
        HubConfig("dead-letter", 1),
        HubConfig("c.d_3", 32),
    )


_HUB = {"Name": "eh1", "PartitionCount": 1}
_ENTITY = "UserConfig.NamespaceConfig[0].Entities"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "the document: expected an object"),
        ({}, "UserConfig: missing"),
        ({"UserConfig": {"NamespaceConfig": {}}}, "UserConfig.NamespaceConfig: expected a list"),
        ({"UserConfig": {"NamespaceConfig": []}}, "no event hub"),
        (_document(_HUB, kind="Queue"), "UserConfig.NamespaceConfig[0].Type: expected 'EventHub', got 'Queue'"),
        (_document(_HUB, 5), f"{_ENTITY}[1]: expected an object, got 5"),
        (_document({"PartitionCount": 1}), f"{_ENTITY}[0].Name: missing"),
        (_document({"Name": 5, "PartitionCount": 1}), f"{_ENTITY}[0].Name: expected a string, got 5"),
        (_document({"Name": "a/b", "PartitionCount": 1}), f"{_ENTITY}[0]: event hub name 'a/b'"),
        (_document({"Name": "..", "PartitionCount": 1}), f"{_ENTITY}[0]: event hub name '..'"),
        (_document({"Name": "a", "PartitionCount": "two"}), f"{_ENTITY}[0].PartitionCount: expected a whole number"),
        (_document({"Name": "a", "PartitionCount": True}), f"{_ENTITY}[0].PartitionCount: expected a whole number"),
        (_document({"Name": "a", "PartitionCount": 0}), f"{_ENTITY}[0]: event hub 'a': the partition count is 0"),
        (
            _document({**_HUB, "ConsumerGroups": [{"Name": "x"}, {}]}),
            f"{_ENTITY}[0].ConsumerGroups[1].Name: missing",
        ),
        (_document({**_HUB, "ConsumerGroups": [{"Name": "x"}, {"Name": "X"}]}), "consumer group 'X' is there twice"),
        (_document(_HUB, {"Name": "EH1", "PartitionCount": 1}), "event hub 'EH1' is there twice"),
    ],
)
def test_a_mistake_is_named_with_its_place(document: object, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config(document)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("content", "message"), [(b"{", "not JSON"), (b"\xff\xff", "cannot be read")])
def test_a_file_that_is_no_config(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as error:
        load_config(path)
    assert str(path) in str(error.value)


def test_the_connection_string() -> None:
    assert connection_string(5672) == (
        "Endpoint=sb://localhost:5672;SharedAccessKeyName=RootManageSharedAccessKey;"
        "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
    )
