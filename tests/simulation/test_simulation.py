"""The simulation itself: some seeds find nothing, one seed is one history, and what is broken is found and shown."""

import pytest

from processors import limits
from tests.simulation.__main__ import first_failing, main, run_seeds, shrunk_trace
from tests.simulation.mutants import MUTANTS, mutated
from tests.simulation.scenario import Fault, Upset, scenario
from tests.simulation.shrink import shrink
from tests.simulation.world import run

SEEDS = 300
QUICK = 150
"""Seeds within which the quick mutants are found."""
SLOW = {
    "shard-etag", "published-etag", "publish-gives-up", "shards-before-etag", "keeps-on-reading", "news-published-twice"
}  # fmt: skip
"""Those that take more: `python -m tests.simulation --mutants` has them all."""


def test_no_seed_finds_a_problem_and_all_that_can_go_wrong_does() -> None:
    outcome = run_seeds(range(SEEDS))
    assert outcome.failing == {}
    unseen = [fault for fault in Fault if not outcome.figures[f"fault: {fault.name.lower()}"]]
    assert unseen == [Fault.NONE]
    assert all(outcome.figures[f"upset: {upset.name.lower()}"] for upset in Upset)
    assert all(outcome.figures[name] for name in ("crashes", "conflicts", "checkpoints lost", "invocations failed"))


@pytest.mark.parametrize("seed", range(20))
def test_the_same_seed_is_the_same_history(seed: int) -> None:
    one, other = (run(scenario(seed), traced=True) for _ in range(2))
    assert one == other
    assert one.steps
    assert run(scenario(seed)).figures == one.figures


def test_bounds_are_put_back_after_a_history() -> None:
    before = {name: getattr(limits, name) for name in scenario(0).bounds._fields}
    for seed in range(20):
        run(scenario(seed))
    assert {name: getattr(limits, name) for name in before} == before


@pytest.mark.parametrize("name", sorted(MUTANTS.keys() - SLOW))
def test_a_mutant_is_found_within_few_seeds(name: str) -> None:
    assert first_failing(name, QUICK) is not None


def test_a_failing_history_is_shrunk_to_what_makes_it_fail() -> None:
    with mutated("duplicates-not-published"):
        failing = [seed for seed in range(15) if run(scenario(seed)).problem]
        small = min((shrink(scenario(seed)) for seed in failing), key=lambda each: sum(map(len, each.partitions)))
        problem = run(small).problem
    assert problem == "JobRollups job: the row is missing"
    assert sum(map(len, small.partitions)) == 1  # the one message, counted and then delivered again
    assert sum(outcome.fault is not Fault.NONE for outcome in small.outcomes) <= 1
    assert len(small.events) <= 1


def test_the_trace_names_every_storage_call_and_ends_with_the_problem() -> None:
    found = first_failing("task-upserted")
    assert found is not None
    seed, problem = found
    steps = shrunk_trace(seed, "task-upserted")
    assert any("commit TaskRollups" in step and "succeeds" in step for step in steps)
    assert sum(step.split()[2] == "!" for step in steps) == 1
    assert len(steps) < 25
    assert problem


def test_the_command_says_what_it_ran_and_fails_where_a_seed_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "5", "--first", "7"]) == 0
    assert "5 seeds from 7" in capsys.readouterr().out
    assert main(["--seeds", "5", "--mutant", "task-upserted"]) == 1
    assert "shrunk:" in capsys.readouterr().out
    assert main(["--trace", "--first", "3"]) == 0
    assert "begins partition" in capsys.readouterr().out
