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
        raise _from_response(error, what, role) from error
    except (AzureError, OSError, TimeoutError) as error:
        raise StorageUnavailable(f"{what}: no answer ({_first_line(error)})") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StorageUnavailable(f"{what}: the answer cannot be read ({_first_line(error)})") from error


def _from_response(error: HttpResponseError, what: str, role: str) -> StorageUnavailable:
    status = error.status_code
    answer = f"{what}: HTTP {status} ({_first_line(error)})"
    if status in _FORBIDDEN:
        return StorageUnavailable(
            f'{answer}. Check the key in RollupStorage, or grant the app\'s identity the role "{role}"', transient=False
        )
    passing = status is None or status in _PASSING or status >= 500
    return StorageUnavailable(answer, transient=passing)


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
