"""`make bench` runs to its end and shows all its figures: with next to nothing to do, so that none of them counts."""

from pathlib import Path

import pytest

from benchmarks import end_to_end
from benchmarks.writing import Sizes, main
from devstack.stack import APP

TINY = Sizes(
    rounds=1,
    messages=2,
    naive_messages=1,
    consumed=4,
    consumed_naive=1,
    consumed_single=8,
    one_job=2_000,
    many_jobs=1_000,
    step=1_000,
    turns=1,
    instances=(2,),
    partitions=2,
    buckets=(2,),
    cold_starts=1,
    shared_batches=1,
    shared_messages=1,
)


def test_it_runs_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = end_to_end.of_the_app(TINY.consumed)  # once for both shapes of messages: a local Azure takes seconds to start
    monkeypatch.setattr(end_to_end, "of_the_app", lambda count, records=100: app._replace(events=count * records))
    page = tmp_path / "table.md"
    main(["--markdown", str(page), "--images", str(tmp_path)], TINY)
    rows = [line.split(" | ") for line in page.read_text().splitlines() if not line.startswith(("| **", "|--"))]
    assert len(rows) > 35
    assert all(len(row) == 3 for row in rows)
    assert "naive ÷ ingest" in capsys.readouterr().out
    plots = sorted(path.name for path in tmp_path.glob("*.png"))
    assert plots == [f"performance-{name}.png" for name in ("growth", "instances", "processes", "stages")]


@pytest.mark.parametrize("app", ["naive_app", "empty_app"])
def test_what_is_compared_is_triggered_as_the_app_is(app: str) -> None:
    assert (APP / "benchmarks" / app / "host.json").read_text() == (APP / "host.json").read_text()
