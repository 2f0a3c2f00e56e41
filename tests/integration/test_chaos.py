"""The short form of `make chaos`: every kind of fault at least once, and every execution counted once."""

from pathlib import Path

import pytest

from devstack.chaos import Fault, Plan, run


@pytest.mark.timeout(600)
def test_two_thousand_tasks_under_every_fault_count_once(tmp_path: Path) -> None:
    plan = Plan(seed=6, tasks=2_000, instances=2, pause=1.0, outage=5.0)
    result = run(plan, tmp_path / "data", tmp_path / "logs")
    assert result.differences == []
    assert all(result.happened[fault] for fault in Fault), result.happened
    assert result.stored > result.sent  # what was sent again after a lost answer
