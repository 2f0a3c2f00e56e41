"""What a task event costs on its way into the tables, beside its limits: one table, and the plots of the docs.

Figures are CPU of the process that runs `ingest`, in microseconds an event, unless they say otherwise. What is compared
runs in turn, in one run. Exit status 0, whatever is missed: a busy machine is no error.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from benchmarks import coldstart, conversion, end_to_end, plots, scaling, stages, whole
from benchmarks.coldstart import ColdStart
from benchmarks.end_to_end import AZURITE, INSTANCE, Consumed
from benchmarks.figures import Figure, Sections, at_least, at_most, markdown, table
from benchmarks.scaling import Growth, Shared
from benchmarks.whole import Whole
from devstack.azurite import Azurite


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rounds: int = 5
    """Of `ingest` beside the naive function."""
    messages: int = 100
    """In a round, 100 records each."""
    naive_messages: int = 4
    consumed: int = 1_000
    """Messages end to end."""
    consumed_naive: int = 12
    consumed_single: int = 4_000
    """Messages of one record."""
    one_job: int = 1_000_000
    """Tasks."""
    many_jobs: int = 1_000_000
    """Tasks, ten a job."""
    step: int = 10_000
    turns: int = 9
    instances: tuple[int, ...] = (1, 2, 4)
    partitions: int = 32
    """Which they share."""
    buckets: tuple[int, ...] = (2, 4, 8)
    """Of the hot job, with the most instances."""
    shared_batches: int = 2
    """Of each partition."""
    shared_messages: int = 10
    """A batch."""
    cold_starts: int = 5


QUICK = Sizes(
    rounds=2,
    messages=50,
    naive_messages=1,
    consumed=150,
    consumed_naive=4,
    consumed_single=400,
    one_job=20_000,
    many_jobs=5_000,
    step=5_000,
    turns=3,
    instances=(1, 2),
    partitions=8,
    buckets=(4,),
    shared_batches=1,
    shared_messages=2,
    cold_starts=1,
)


class Measured(NamedTuple):
    """All of it."""

    stages: dict[str, float]
    cold: ColdStart
    conversion: float
    whole: Whole
    app: Consumed
    single: Consumed
    naive: Consumed
    one_job: Growth
    many_jobs: Growth
    hot: list[Shared]
    spread: list[Shared]
    bucketed: list[Shared]


def measure(sizes: Sizes, tell: Callable[[str], None]) -> Measured:
    """Measure, and tell what is begun."""
    tell("The stages, and starting")
    costs, cold, library = stages.measured(), coldstart.measured(sizes.cold_starts), conversion.measured()
    tell("The whole of ingest, and the naive function beside it, into Azurite")
    with Azurite() as azurite:
        wholes = whole.measured(azurite.connection_string, sizes.rounds, sizes.messages, sizes.naive_messages)
    tell("End to end: the app, one record a message, the naive function")
    app = end_to_end.of_the_app(sizes.consumed)
    single = end_to_end.of_the_app(sizes.consumed_single, records=1)
    naive = end_to_end.of_the_naive_function(sizes.consumed_naive)
    tell(f"One job of {sizes.one_job:,} tasks, into the stub")
    one = scaling.one_job(sizes.one_job, sizes.step, sizes.turns)
    tell(f"{sizes.many_jobs // 10:,} jobs of 10 tasks, into the stub")
    many = scaling.many_jobs(sizes.many_jobs, 10, sizes.step, sizes.turns)
    tell(f"Instances that share {sizes.partitions} partitions, into the stub")
    hot, spread = (
        [
            scaling.shared(number, sizes.partitions, jobs, sizes.shared_batches, sizes.shared_messages)
            for number in sizes.instances
        ]
        for jobs in (1, 100)
    )
    bucketed = [
        scaling.shared(
            sizes.instances[-1], sizes.partitions, 1, sizes.shared_batches, sizes.shared_messages, buckets=number
        )
        for number in sizes.buckets
    ]
    return Measured(costs, cold, library, wholes, app, single, naive, one, many, hot, spread, bucketed)


def sections(got: Measured) -> Sections:
    """The table."""
    one, many, of = got.one_job, got.many_jobs, got.whole
    return {
        "Stages, one transaction of 99 tasks": [
            *(Figure(name, cost) for name, cost in got.stages.items()),
            Figure("all of them", sum(got.stages.values())),
        ],
        "ingest, everything included": [
            Figure("messages of 100 records, 100 jobs", of.first, limit=at_most(40)),
            Figure("the naive function", of.naive),
            Figure("naive ÷ ingest", of.naive / of.first, "", at_least(80)),
            Figure("everything again", of.again),
            Figure("again ÷ first", of.again / of.first, "", at_most(2), 2),
            Figure("one record a message, 200 a batch", of.single, limit=at_most(60)),
            Figure("beside it, the worker library's conversion", got.conversion),
        ],
        "End to end: SDK, Event Hubs server, worker library, Azurite": [
            Figure("the app", got.app.rate, "events/s", digits=0),
            Figure("the naive function", got.naive.rate, "events/s", digits=0),
            Figure("app ÷ naive", got.app.rate / got.naive.rate, "", at_least(30)),
            *(Figure(f"{name}, of one core", got.app.busy(name), "", digits=2) for name in got.app.cpu),
            Figure("Azurite ÷ instance, CPU", got.app.cpu[AZURITE] / got.app.cpu[INSTANCE], "", at_least(1), 2),
            Figure("the instance, CPU an event", got.app.cpu[INSTANCE] / got.app.events * 1e6),
            Figure("one record a message: the app", got.single.rate, "events/s", digits=0),
            Figure("one record a message: the instance, CPU", got.single.cpu[INSTANCE] / got.single.events * 1e6),
            Figure("the instance's memory at most", got.app.peak, "MB", at_most(300)),
        ],
        "Size": [
            Figure(f"one job at {one.steps[-1].tasks:,} tasks", one.last),
            Figure("one job at 1,000 tasks, in turn with it", one.compared),
            Figure("large ÷ small", one.last / one.compared, "", at_most(1.1), 2),
            Figure(f"{many.steps[-1].tasks // 10:,} jobs of 10 tasks", many.last),
            Figure("100 jobs, in turn with it", many.compared),
            Figure("many ÷ 100", many.last / many.compared, "", digits=2),
            Figure("memory at most, one job", one.peak, "MB", at_most(300)),
            Figure("memory at most, many jobs", many.peak, "MB", at_most(300)),
            Figure("the stub's CPU a row, one job", one.stub),
        ],
        "Instances": [
            figure
            for name, runs in (("one hot job", got.hot), ("100 jobs", got.spread))
            for run in runs
            for figure in (
                Figure(f"{name}, {run.instances} of them", run.cost),
                Figure(f"{name}, {run.instances}: conflicts an invocation", run.conflicts, "", digits=2),
                Figure(f"{name}, {run.instances}: the stub, of one core", run.stub, "", digits=2),
            )
        ],
        f"One hot job over several buckets, {got.bucketed[0].instances} instances": [
            figure
            for run in got.bucketed
            for figure in (
                Figure(f"{run.buckets} buckets", run.cost),
                Figure(f"{run.buckets} buckets: conflicts an invocation", run.conflicts, "", digits=2),
            )
        ],
        "Starting": [
            Figure("importing function_app", got.cold.importing, "s", at_most(0.5), 2),
            Figure("the first invocation, beyond a later one", got.cold.first_invocation, "s", digits=2),
        ],
    }


def draw(got: Measured, folder: Path) -> None:
    """Write the plots."""
    folder.mkdir(parents=True, exist_ok=True)
    plots.stages(folder / "performance-stages.png", got.stages, got.whole)
    plots.growth(folder / "performance-growth.png", got.one_job.steps)
    plots.instances(folder / "performance-instances.png", {"one hot job": got.hot, "100 jobs": got.spread})
    plots.processes(
        folder / "performance-processes.png",
        {"the app": got.app, "one record a message": got.single, "the naive function": got.naive},
    )


def main(argv: list[str] | None = None, sizes: Sizes | None = None) -> None:
    """Measure, print, and write what was asked for. `sizes` is for tests."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.writing", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="in under a minute: the same figures of less work")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the table to FILE, for docs/performance.md"
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="where plots go (default: docs/images, with --quick nowhere)"
    )
    given = parser.parse_args(argv)
    console = Console()
    got = measure(
        sizes or (QUICK if given.quick else Sizes()), lambda text: console.print(f"{text} …", highlight=False)
    )
    made = sections(got)
    console.print(table(made))
    if given.markdown:
        given.markdown.write_text(markdown(made))
    images = given.images or (None if given.quick else Path(__file__).parents[1] / "docs" / "images")
    if images:
        draw(got, images)


if __name__ == "__main__":
    main()
