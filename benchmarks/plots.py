"""The plots of docs/performance.md, one file each. What is plotted is in the table as well, or leads to it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from benchmarks.end_to_end import Consumed
from benchmarks.scaling import Shared, Step
from benchmarks.whole import Whole

COLOURS = ("#2a6f97", "#61a5c2", "#a9d6e5", "#e9c46a", "#f4a261", "#c8c8c8")
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "legend.frameon": False,
}
_DPI = 120


@contextmanager
def _plot(path: Path, height: float, columns: int = 1) -> Iterator[list[Axes]]:
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(8, height), layout="constrained")
        made = canvas.subplots(1, columns, squeeze=False)
        yield list(made[0])
        canvas.savefig(path, dpi=_DPI, metadata={"Software": None})


def stages(path: Path, costs: Mapping[str, float], whole: Whole) -> None:
    """The stages of an event's cost, stacked up to the whole of `ingest`."""
    rest = max(whole.first - sum(costs.values()), 0.0)
    parts = {**costs, "requests, publishing, the rest": rest}
    with _plot(path, 2.4) as (axes,):
        left = 0.0
        for colour, (name, cost) in zip(COLOURS, parts.items(), strict=True):
            axes.barh([0], [cost], left=left, color=colour, label=f"{name}: {cost:.1f}", height=0.5)
            left += cost
        axes.set_yticks([])
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("CPU an event in µs (100-record messages, 100 jobs)")
        axes.legend(ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def growth(path: Path, steps: Sequence[Step]) -> None:
    """One job that grows: the cost of an event, and the memory of the instance."""
    tasks = [step.tasks for step in steps]
    with _plot(path, 3.2, 2) as (cost, memory):
        cost.plot(tasks, [step.cost for step in steps], color=COLOURS[0])
        cost.set_ylabel("CPU an event in µs")
        memory.plot(tasks, [step.megabytes for step in steps], color=COLOURS[0])
        memory.set_ylabel("resident memory in MB")
        for axes in (cost, memory):
            axes.set_ylim(0, axes.get_ylim()[1] * 1.1)
            axes.set_xlabel("tasks in the job")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.tick_params(axis="x", labelrotation=30)


def instances(path: Path, runs: Mapping[str, Sequence[Shared]]) -> None:
    """CPU and conflicts against the number of instances, a line for each workload."""
    with _plot(path, 3.2, 2) as (cost, conflicts):
        for colour, (name, shared) in zip((COLOURS[0], COLOURS[4]), runs.items(), strict=False):
            numbers = [run.instances for run in shared]
            cost.plot(numbers, [run.cost for run in shared], marker="o", color=colour, label=name)
            conflicts.plot(numbers, [run.conflicts for run in shared], marker="o", color=colour, label=name)
            for axes in (cost, conflicts):
                axes.set_xticks(numbers)
        cost.set_ylabel("CPU an event in µs")
        conflicts.set_ylabel("conflicts an invocation")
        for axes in (cost, conflicts):
            axes.set_ylim(0, axes.get_ylim()[1] * 1.1)
            axes.set_xlabel("instances that share the hub's partitions")
        cost.legend()


def processes(path: Path, runs: Mapping[str, Consumed]) -> None:
    """How much of a core each process had, end to end."""
    with _plot(path, 2.8) as (axes,):
        names = list(next(iter(runs.values())).cpu)
        height = 0.8 / len(names)
        for number, (colour, name) in enumerate(zip(COLOURS, names, strict=False)):
            places = [row + (number - (len(names) - 1) / 2) * height for row in range(len(runs))]
            bars = axes.barh(places, [run.busy(name) for run in runs.values()], height, color=colour, label=name)
            axes.bar_label(bars, fmt="%.2f", padding=3)
        axes.set_yticks(range(len(runs)), [f"{name}\n{run.rate:,.0f} events/s" for name, run in runs.items()])
        axes.grid(visible=False, axis="y")
        axes.invert_yaxis()
        axes.margins(x=0.1)
        axes.set_xlabel("CPU seconds a second (1 = one core)")
        axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
