"""Fixtures of the host's tests: one Azurite for all, and a Stage for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.azurite import Azurite
from tests.functions_host.harness import Stage


@pytest.fixture(scope="session")
def storage() -> Iterator[str]:
    with Azurite() as azurite:
        yield azurite.connection_string


@pytest.fixture
def stage(request: pytest.FixtureRequest, tmp_path: Path, storage: str) -> Iterator[Stage]:
    """Parametrize it indirectly with the number of partitions of each hub; otherwise they have one."""
    stage = Stage(tmp_path, storage, getattr(request, "param", 1))
    try:
        yield stage
    finally:
        stage.close()
