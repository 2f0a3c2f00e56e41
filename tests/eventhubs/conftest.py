"""Servers for tests."""

from collections.abc import Iterator

import pytest

from .running import RunningServer


@pytest.fixture
def server() -> Iterator[RunningServer]:
    """A server that keeps its events in memory; the SDK must have nothing to object to it, nor it to the SDK."""
    with RunningServer() as running:
        yield running
        assert running.status()["statistics"]["connectionsFailed"] == 0
