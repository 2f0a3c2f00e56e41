"""Run seeds, and show the first that fail; or run every mutant until a seed finds it.

python -m tests.simulation --seeds 1000 [--first N] [--processes 2] [--mutant NAME]
python -m tests.simulation --mutants
python -m tests.simulation --seeds 1 --first N --trace
"""

import argparse
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

from tests.simulation.mutants import MUTANTS, mutated
from tests.simulation.scenario import scenario
from tests.simulation.shrink import shrink
from tests.simulation.world import run

CHUNK = 250
"""Seeds that a process runs at a time."""
SEEDS_A_MUTANT = 20_000
"""Without a problem in so many, a mutant has survived."""


class Outcome(NamedTuple):
    """What came of some seeds."""

    seeds: int
    failing: dict[int, str]
    """Seed → problem."""
    figures: Counter[str]


def run_seeds(seeds: range, mutant: str | None = None) -> Outcome:
    """Each seed's history, one after the other."""
    failing: dict[int, str] = {}
    figures: Counter[str] = Counter()
    with mutated(mutant):
        for seed in seeds:
            history = run(scenario(seed))
            figures += history.figures
            if history.problem is not None:
                failing[seed] = history.problem
    return Outcome(len(seeds), failing, figures)


def first_failing(mutant: str, most: int = SEEDS_A_MUTANT) -> tuple[int, str] | None:
    """The first seed that finds the mutant, and how; None where it survives them all."""
    with mutated(mutant):
        for seed in range(most):
            problem = run(scenario(seed)).problem
            if problem is not None:
                return seed, problem
    return None


def shrunk_trace(seed: int, mutant: str | None = None) -> list[str]:
    """What happens in the smallest scenario that the seed's failing one leads to."""
    with mutated(mutant):
        return run(shrink(scenario(seed)), traced=True).steps


def main(arguments: list[str] | None = None) -> int:
    """The command. 1 where a seed failed, or a mutant survived."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description="Deterministic simulation of ingest"
    )
    logging.disable()  # every history has its failed invocations
    parser.add_argument("--seeds", type=int, default=1_000, help="how many (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="how many run them (default %(default)s)")
    parser.add_argument("--mutant", choices=MUTANTS, metavar="NAME", help="break this rule: " + ", ".join(MUTANTS))
    parser.add_argument("--mutants", action="store_true", help="how many seeds each mutant survives")
    parser.add_argument("--trace", action="store_true", help="print the first seed's history, whatever comes of it")
    options = parser.parse_args(arguments)
    if options.mutants:
        return _try_mutants(options.processes)
    if options.trace:
        with mutated(options.mutant):
            print("\n".join(run(scenario(options.first), traced=True).steps))
        return 0
    return _try_seeds(range(options.first, options.first + options.seeds), options.processes, options.mutant)


def _try_seeds(seeds: range, processes: int, mutant: str | None) -> int:
    started = time.monotonic()
    total, failing, figures = 0, dict[int, str](), Counter[str]()
    for outcome in _in_chunks(seeds, processes, mutant):
        total += outcome.seeds
        failing |= outcome.failing
        figures += outcome.figures
        if failing:
            break
    print(f"{total:,} seeds from {seeds.start} in {time.monotonic() - started:.1f} s, {len(failing)} failing")
    for name, number in sorted(figures.items()):
        print(f"  {number:>12,}  {name}")
    for seed in sorted(failing)[:1]:
        print(f"\nseed {seed}: {failing[seed]}\n\nshrunk:")
        print("\n".join(shrunk_trace(seed, mutant)))
    return 1 if failing else 0


def _in_chunks(seeds: range, processes: int, mutant: str | None) -> Iterator[Outcome]:
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    if processes == 1:
        yield from (run_seeds(chunk, mutant) for chunk in chunks)
        return
    with ProcessPoolExecutor(processes) as pool:
        try:
            yield from pool.map(partial(run_seeds, mutant=mutant), chunks)
        finally:
            pool.shutdown(cancel_futures=True)


def _try_mutants(processes: int) -> int:
    survivors = 0
    print("| mutant | what is done, against the rule | seeds survived | how it was found |\n|---|---|---:|---|")
    with ProcessPoolExecutor(processes) as pool:
        for name, found in zip(MUTANTS, pool.map(first_failing, MUTANTS), strict=True):
            survivors += found is None
            seeds, how = found or (SEEDS_A_MUTANT, "not at all")
            print(f"| `{name}` | {MUTANTS[name].broken} | {seeds:,} | {_short(how)} |", flush=True)
    return 1 if survivors else 0


def _short(problem: str) -> str:
    problem = problem.split("; ")[0].replace("|", "\\|")
    return problem if len(problem) <= 110 else problem[:110] + "…"


if __name__ == "__main__":
    sys.exit(main())
