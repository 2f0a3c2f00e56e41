"""One Azurite for all tests of the read side, with the jobs of `filled.EXECUTIONS` in it. Nobody changes them."""

from collections.abc import Iterator

import pytest

from devstack.azurite import Azurite
from processors.settings import load_storage
from reader.accounts import Account, account
from reader.queries import Rollups
from tests.reader.filled import BAD, EXECUTIONS, fill


@pytest.fixture(scope="session")
def connection() -> Iterator[str]:
    """The connection string of the filled account."""
    with Azurite() as azurite:
        fill(azurite.connection_string, EXECUTIONS[::2], bad=BAD, partition="0")
        fill(azurite.connection_string, EXECUTIONS[1::2], partition="1")
        yield azurite.connection_string


@pytest.fixture(scope="session")
def filled(connection: str) -> Iterator[Account]:
    with account(load_storage({"RollupStorage": connection})) as opened:
        yield opened


@pytest.fixture(scope="session")
def rollups(filled: Account) -> Rollups:
    return Rollups(filled.tables)


@pytest.fixture
def empty_connection() -> Iterator[str]:
    """An account in which nothing has been counted yet, for a test to do with as it likes."""
    with Azurite() as azurite:
        yield azurite.connection_string
