"""One Azurite for all tests of the read side, with the jobs of `filled.EXECUTIONS` in it. Nobody changes them.

A second one has the same jobs, each spread over `BUCKETS`.
"""

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


BUCKETS = 3


@pytest.fixture(scope="session")
def spread_connection() -> Iterator[str]:
    """The connection string of the account with jobs of several buckets."""
    with Azurite() as azurite:
        fill(azurite.connection_string, EXECUTIONS[::2], bad=BAD, partition="0", buckets=BUCKETS)
        fill(azurite.connection_string, EXECUTIONS[1::2], partition="1")  # a job keeps what it began with
        yield azurite.connection_string


@pytest.fixture(scope="session")
def filled(connection: str) -> Iterator[Account]:
    with account(load_storage({"RollupStorage": connection})) as opened:
        yield opened


@pytest.fixture(scope="session")
def spread(spread_connection: str) -> Iterator[Account]:
    with account(load_storage({"RollupStorage": spread_connection})) as opened:
        yield opened


@pytest.fixture(scope="session")
def rollups(filled: Account) -> Rollups:
    return Rollups(filled.tables)


@pytest.fixture
def empty_connection() -> Iterator[str]:
    """An account in which nothing has been counted yet, for a test to do with as it likes."""
    with Azurite() as azurite:
        yield azurite.connection_string
