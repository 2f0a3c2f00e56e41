"""Trying again: bounded, with growing pauses, and only where it can help."""

import asyncio

import pytest

from processors import limits
from processors.attempts import Attempts
from processors.errors import Conflict, StorageUnavailable


def tried(*errors: Exception, chance: float = 1.0) -> tuple[Attempts, list[float], str | Exception]:
    """What comes of a request that fails with these errors, one after the other, and then succeeds."""
    left, pauses = list(errors), []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def request() -> str:
        if left:
            raise left.pop(0)
        return "done"

    attempts = Attempts(sleep, lambda: chance)
    try:
        return attempts, pauses, asyncio.run(attempts.of(request))
    except (StorageUnavailable, Conflict) as error:
        return attempts, pauses, error


def test_a_passing_failure_is_tried_again() -> None:
    attempts, pauses, answer = tried(StorageUnavailable("1"), StorageUnavailable("2"))
    assert answer == "done"
    assert attempts.made == 3
    assert pauses == [limits.FIRST_PAUSE_SECONDS, 2 * limits.FIRST_PAUSE_SECONDS]


def test_the_last_failure_goes_up_after_a_bounded_number() -> None:
    failures = [StorageUnavailable(str(number)) for number in range(50)]
    attempts, pauses, answer = tried(*failures, chance=0.0)
    assert answer is failures[limits.ATTEMPTS - 1]
    assert attempts.made == limits.ATTEMPTS
    assert len(pauses) == limits.ATTEMPTS - 1
    assert max(pauses) <= limits.LONGEST_PAUSE_SECONDS / 2


def test_the_time_of_requests_is_summed_and_that_of_pauses_is_not() -> None:
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    left: list[Exception] = [StorageUnavailable("1"), Conflict(0)]

    async def request() -> None:
        nonlocal now
        now += 2.5
        raise left.pop(0)

    attempts = Attempts(sleep, lambda: 1.0, lambda: now)
    with pytest.raises(Conflict):
        asyncio.run(attempts.of(request))
    assert attempts.seconds == 5.0
    assert now == 5.0 + limits.FIRST_PAUSE_SECONDS


@pytest.mark.parametrize("error", [StorageUnavailable("forbidden", transient=False), Conflict(3)])
def test_what_does_not_pass_goes_up_at_once(error: Exception) -> None:
    attempts, pauses, answer = tried(error)
    assert answer is error
    assert (attempts.made, pauses) == (1, [])
