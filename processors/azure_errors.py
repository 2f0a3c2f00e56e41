"""The Azure SDKs' errors → ours. One place says which failures pass by themselves and what an operator has to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.exceptions import AzureError, HttpResponseError

from processors.errors import StorageUnavailable

_FORBIDDEN = frozenset({401, 403})
_PASSING = frozenset({404, 408, 409, 429})
"""404 and 409 reach this place only for a table or container that is missing or being deleted."""


@contextmanager
def storage_errors(what: str, role: str) -> Iterator[None]:
    """Turn whatever an SDK call raises into StorageUnavailable. `role` is what the app's identity needs for `what`."""
    try:
        yield
    except HttpResponseError as error:
        raise unavailable(what, role, error.status_code, _first_line(error)) from error
    except (AzureError, OSError, TimeoutError) as error:
        raise StorageUnavailable(f"{what}: no answer ({_first_line(error)})") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StorageUnavailable(f"{what}: the answer cannot be read ({_first_line(error)})") from error


def unavailable(what: str, role: str, status: int | None, reason: str) -> StorageUnavailable:
    """What an HTTP answer that is no success means for `what`, which `role` allows."""
    answer = f"{what}: {reason}" if status is None else f"{what}: HTTP {status} ({reason})"
    if status in _FORBIDDEN:
        return StorageUnavailable(
            f'{answer}. Check the key in RollupStorage, or grant the app\'s identity the role "{role}"', transient=False
        )
    passing = status is None or status in _PASSING or status >= 500
    return StorageUnavailable(answer, transient=passing)


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
