"""The lock files with telemetry: what runs in Azure, at the same versions, and what the extra adds to it."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def pins(name: str) -> set[str]:
    """`package==version` of every line that has one."""
    return set(re.findall(r"(?m)^([a-z0-9.-]+==\S+)", (ROOT / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize("extra", ["azure-monitor", "otlp"])
def test_a_lock_file_is_the_deployed_one_and_its_extra(extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = pins(f"requirements-{extra}.txt")
    assert len(pins("requirements.txt")) > 30
    assert pins("requirements.txt") < found
    assert set(project["optional-dependencies"][extra]) <= found
    assert found <= pins("requirements-dev.txt") | pins("requirements.txt")  # what is tested is what is deployed
