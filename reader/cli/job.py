"""`rollups job`: everything about one job on one page.

The rule: what the job's row says is shown at once; what only its tasks can tell (nodes, stragglers, the longest) is
found in one pass over them, of which a node's sums and a few tasks are kept.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from processors.columns import JOB_COLUMNS
from reader.cli import options, output
from reader.cli.jobs import freshness
from reader.cli.listing import NONE, Listing, sheet, view
from reader.cli.nodes import NODES, lines
from reader.cli.output import Column, Format
from reader.cli.tasks import TASKS
from reader.models import CompletionsOverTime, Job, PoolShare, Task
from reader.outliers import STRAGGLER, failing_nodes, straggler_seconds
from reader.queries import NODE_COLUMNS, Rollups, job_key, nodes_of

_TOP = 5
_CHART_WIDTH = 60
_BLOCKS = " ▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉█"

_JOB = Listing(Job, "jobs", (), (*JOB_COLUMNS, "Timestamp"))


def job(
    job: options.JobArgument,
    top: Annotated[
        int, typer.Option("--top", metavar="N", min=1, help="Codes, pools, nodes and tasks, at most.")
    ] = _TOP,
    no_tasks: Annotated[
        bool, typer.Option("--no-tasks", help="Leave out what only the tasks tell: nodes, stragglers, longest tasks.")
    ] = False,
    columns: options.ColumnsOption = None,
    account: options.AccountOption = None,
    check: options.CheckOption = False,
    format_: options.FormatOption = None,
    storage: options.Storage = None,
) -> None:
    """Show one job: outcome, durations, progress, exit codes, failures, pools, nodes, stragglers, longest tasks."""
    shown = view(_JOB, format_, columns, None, None, reverse=False)
    with options.open_rollups(storage) as rollups:
        found = options.find_job(rollups, job, account)
        if shown.format_ is not Format.TABLE:
            output.write_row(found.columns(), shown.format_, shown.needed())
        elif columns is not None:
            output.console().print(sheet(found, shown.needed()))
        else:
            to = output.console()
            show_row(to, found, datetime.now(UTC), top)
            if not no_tasks:
                show_tasks(to, rollups, found, top)
    options.check_failed(found.failed_tasks, wanted=check)


# --- from the job's row ----------------------------------------------------------------------------------------------


def show_row(to: Console, job: Job, now: datetime, top: int) -> None:
    """What the row says."""
    to.print(heading(job))
    to.print(summary(job, now))
    if job.completions_over_time is not None:
        _section(to, "Completions over time")
        to.print(progress(job.completions_over_time, min(to.width, _CHART_WIDTH)))
    if job.duration_histogram:
        _section(to, "Durations")
        to.print(histogram(job.duration_histogram))
    if set(job.exit_codes) - {"0"}:
        _section(to, "Exit codes, by executions")
        to.print(shares(job.exit_codes, top))
    if job.failures:
        _section(to, "Failure codes, by failed executions")
        to.print(shares(job.failures, top))
    if job.pools:
        _section(to, "Pools, by executions")
        pools = sorted(job.pools.items(), key=lambda pool: (-pool[1].completions, pool[0]))
        output.write_table(to, _POOLS, pools[:top])
        _more(to, len(pools) - top)


def heading(job: Job) -> Text:
    """The job's name."""
    return Text(output.printable(job.job_id), style="bold") + Text(
        output.printable(f"  in Batch account {job.account}"), style="not bold dim"
    )


def summary(job: Job, now: datetime) -> Table:
    """Its numbers."""
    page = output.sheet()
    known = job.succeeded_tasks + job.failed_tasks
    failed = Text(f"{job.failed_tasks:,} failed", style="red" if job.failed_tasks else "")
    if job.failed_tasks:
        failed += Text(f" ({output.percent(job.failed_tasks, known)})", style="red")
    page.add_row(
        "Tasks",
        Text.assemble(
            f"{job.task_count:,}  ",
            output.bar(job.succeeded_tasks, job.failed_tasks, 20),
            f"  {job.succeeded_tasks:,} succeeded, ",
            failed,
        ),
    )
    page.add_row(
        "Executions",
        f"{job.completion_count:,}, with {job.retry_count:,} retries and {job.requeue_count:,} requeues; "
        f"{job.retries_exhausted:,} failed with no retry left",
    )
    page.add_row("First start", output.time(job.first_start_time))
    page.add_row("Last end", Text.assemble(output.time(job.last_end_time), "  ", freshness(job, now)))
    page.add_row("Row written", f"{output.time(job.timestamp)}  {output.ago(job.timestamp, now)}")
    page.add_row("Span", output.duration(job.span_seconds))
    if job.duration_count:
        durations = {
            "min": job.min_duration_seconds,
            "p50": job.p50_duration_seconds,
            "p90": job.p90_duration_seconds,
            "p95": job.p95_duration_seconds,
            "p99": job.p99_duration_seconds,
            "max": job.max_duration_seconds,
        }
        page.add_row("Duration", " · ".join(f"{name} {output.duration(value)}" for name, value in durations.items()))
        page.add_row("", f"mean {output.duration(job.mean_duration_seconds)}, longest: {job.longest_task_id or NONE}")
    page.add_row("Concurrency", f"{output.decimal(job.mean_concurrency)} tasks side by side, on average")
    page.add_row("Slot-hours", output.decimal(job.slot_seconds / 3600))
    return page


def progress(completions: CompletionsOverTime, width: int) -> Text:
    """Executions by end time as a line of blocks, and what a block and the ends are."""
    counts, each = squeezed(completions.counts, width)
    seconds = each * completions.width_seconds
    end = completions.start + timedelta(seconds=seconds * len(counts))
    return Text.assemble(
        (sparkline(counts), "cyan"),
        f"\n{output.time(completions.start)} to {output.time(end)}, {output.duration(seconds)} a block; "
        f"at most {max(counts):,} in one",
    )


def squeezed(counts: list[int], width: int) -> tuple[list[int], int]:
    """Neighbours added up until there are no more than `width`, and how many were added up to one."""
    each = -(-len(counts) // width)
    return [sum(counts[i : i + each]) for i in range(0, len(counts), each)], each


def sparkline(counts: list[int]) -> str:
    """A block for each count; a space is none at all."""
    most = max(counts, default=0)
    return "".join(_BLOCKS[-(-count * (len(_BLOCKS) - 1) // most)] if count else " " for count in counts)


def histogram(bounds: Mapping[str, int]) -> Table:
    """A line for every power of two between the shortest and the longest; many empty ones are one line."""
    by_bound = sorted((float(bound), count) for bound, count in bounds.items())
    most = max(count for _, count in by_bound)
    chart = output.sheet(bold=False)
    before: float | None = None
    for bound, count in by_bound:
        if before is not None and bound > 4 * before:
            chart.add_row("⋮", "", "")
        elif before is not None and bound > 2 * before:
            chart.add_row(f"≤ {output.duration(2 * before)}", "0", "")
        chart.add_row(f"≤ {output.duration(bound)}", f"{count:,}", Text(_length(count, most), style="cyan"))
        before = bound
    chart.columns[0].justify = chart.columns[1].justify = "right"
    return chart


def shares(counts: Mapping[str, int], top: int) -> Table:
    """Counts by name, the largest first."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    chart = output.sheet(bold=False)
    for name, count in ranked[:top]:
        chart.add_row(output.printable(name), f"{count:,}", Text(_length(count, ranked[0][1]), style="cyan"))
    if len(ranked) > top:
        chart.add_row(f"{len(ranked) - top:,} more", f"{sum(count for _, count in ranked[top:]):,}", "")
    chart.columns[1].justify = "right"
    return chart


def _length(count: int, most: int, width: int = 30) -> str:
    eighths = max(1, round(8 * width * count / most)) if count else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


_POOLS = [
    Column[tuple[str, PoolShare]]("pool", lambda pool: pool[0] or NONE, elastic=True),
    Column[tuple[str, PoolShare]]("executions", lambda pool: output.count(pool[1].completions), right=True),
    Column[tuple[str, PoolShare]]("failed", lambda pool: output.count(pool[1].failed), right=True),
    Column[tuple[str, PoolShare]]("rate", lambda pool: output.percent(pool[1].failed, pool[1].completions), right=True),
    Column[tuple[str, PoolShare]]("busy", lambda pool: output.duration(pool[1].duration_seconds), right=True),
]


# --- from the tasks --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Durations:
    """The longest tasks of all that pass, and how many are stragglers."""

    top: int
    limit: float | None
    stragglers: int = 0
    longest: list[tuple[float, str, Task]] = field(default_factory=list)
    """A heap; the id tells equals apart."""

    def watch(self, tasks: Iterable[Task]) -> Iterator[Task]:
        for task in tasks:
            if task.duration_seconds is not None:
                self.stragglers += self.limit is not None and task.duration_seconds > self.limit
                heapq.heappush(self.longest, (task.duration_seconds, task.row_key, task))
                if len(self.longest) > self.top:
                    heapq.heappop(self.longest)
            yield task


def show_tasks(to: Console, rollups: Rollups, job: Job, top: int) -> None:
    """What only the tasks tell."""
    limit = straggler_seconds(job)
    durations = _Durations(top, limit)
    columns = [*NODE_COLUMNS, "taskId", "exitCode", "failureCode"]
    with output.working(f"Reading {job.task_count:,} tasks …"):
        nodes = nodes_of(durations.watch(rollups.tasks(job_key(job), columns=columns)))
    worst = failing_nodes(nodes)
    _section(to, f"Nodes: {len(nodes):,}, of which {len(worst):,} fail more than the rest")
    if worst:
        marked = {(line.pool_id, line.node_id): line for line in lines(nodes)}
        output.write_table(to, NODES.shown, [marked[node.pool_id, node.node_id] for node in worst[:top]])
        _more(to, len(worst) - top)
    if limit is None:
        return
    beyond = f"{STRAGGLER:g} times p95, {output.duration(limit)}"
    _section(to, f"Longest tasks; {durations.stragglers:,} stragglers took more than {beyond}")

    def times_p95(task: Task) -> Text:
        assert task.duration_seconds is not None  # only such tasks are kept
        factor = task.duration_seconds / (limit / STRAGGLER) if limit else 0.0
        return Text(f"{factor:,.1f}x", style="bold yellow" if task.duration_seconds > limit else "")

    shown = {column.by: column for column in TASKS.shown}
    columns_shown = [
        shown["taskId"],
        shown["durationSeconds"],
        Column[Task]("of p95", times_p95, right=True),
        shown["succeeded"],
        shown["exitCode"],
        shown["nodeId"],
        shown["endTime"],
    ]
    output.write_table(to, columns_shown, [task for _, _, task in sorted(durations.longest, reverse=True)])


def _section(to: Console, title: str) -> None:
    to.print()
    to.print(title, style="bold")


def _more(to: Console, number: int) -> None:
    if number > 0:
        to.print(f"{number:,} more; --top shows more", style="dim")
