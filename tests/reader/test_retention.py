"""The retention timer's work: what it counts, and that it ends in time."""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from processors import limits
from processors.errors import StorageUnavailable
from processors.settings import load_storage
from reader import retention
from reader.models import Job
from reader.purge import Step
from reader.retention import run

BEFORE = datetime(2026, 1, 2, tzinfo=UTC)
JOB: Any = Job  # no step is asked for its job


def line(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The one log line, parsed."""
    (message,) = caplog.messages
    found: dict[str, Any] = json.loads(message.removeprefix("retention "))
    return found


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "reader.retention")


def test_a_run_without_old_jobs(caplog: pytest.LogCaptureFixture) -> None:
    assert run([], BEFORE).complete
    assert line(caplog) == {
        "before": "2026-01-02T00:00:00+00:00",
        "jobs": 0,
        "tasks": 0,
        "left": 0,
        "complete": True,
        "seconds": 0.0,
    }


def test_jobs_and_their_tasks_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """One of 250 tasks, one that changed after 100, one of 40."""
    steps = [
        *(Step(JOB, deleted) for deleted in (100, 200, 250)),
        Step(JOB, 250, done=True),
        Step(JOB, 100),
        Step(JOB, 100, left="it changed meanwhile"),
        Step(JOB, 40),
        Step(JOB, 40, done=True),
    ]
    run(steps, BEFORE)
    assert line(caplog) | {"jobs": 2, "tasks": 390, "left": 1, "complete": True} == line(caplog)


def test_a_run_stops_between_two_steps_when_its_time_is_over(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    taken = []

    def steps() -> Iterator[Step]:
        nonlocal now
        for number in range(1, 1_000):
            now += 60.0
            taken.append(number)
            yield Step(JOB, 100 * number)

    did = run(steps(), BEFORE, lambda: now)
    assert did.seconds == limits.RETENTION_SECONDS
    assert len(taken) == limits.RETENTION_SECONDS / 60
    assert not did.complete
    assert line(caplog)["tasks"] == 100 * len(taken)


def test_what_was_done_until_storage_ended_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    def steps() -> Iterator[Step]:
        yield Step(JOB, 100)
        raise StorageUnavailable("down")

    with pytest.raises(StorageUnavailable):
        run(steps(), BEFORE)
    assert line(caplog) | {"tasks": 100, "jobs": 0, "complete": False} == line(caplog)


def test_old_is_counted_in_days_from_now(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[datetime] = []

    def purge(_: object, before: datetime) -> list[Step]:
        asked.append(before)
        return []

    monkeypatch.setattr(retention, "purge", purge)
    earliest = datetime.now(UTC)
    retention.retain(load_storage({"RollupStorage": "UseDevelopmentStorage=true"}), 30)
    assert earliest <= asked[0] + timedelta(days=30) <= datetime.now(UTC)


def test_a_run_has_time_to_end_by_itself() -> None:
    """By default the host ends a function after 30 minutes, and a request may take as long as it may."""
    assert limits.RETENTION_SECONDS + 4 * 3 * limits.REQUEST_SECONDS <= 30 * 60
