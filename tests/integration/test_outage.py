"""The short form of `make outage`: storage goes away under a stream, everything is held, and then counted."""

from pathlib import Path

from devstack.outage import Plan, run


def test_while_storage_is_away_nothing_is_passed_over_and_afterwards_all_is_counted(tmp_path: Path) -> None:
    plan = Plan(seed=3, outage=18.0, before=1.0, rate=20.0)  # so long that a batch fails twice
    result = run(plan, tmp_path / "data", tmp_path / "logs")
    assert result.backlog > 0
    assert result.passed == 0
    assert result.differences == []
    assert [phase.name for phase in result.phases] == [
        "before",
        "storage is away",
        "storage is back",
        "all is consumed",
    ]
