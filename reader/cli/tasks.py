"""`rollups tasks`: the tasks of a job; `rollups task`: one of them with all its executions."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from processors.events import to_datetime
from processors.rollups import NO_START, read_older
from reader.cli import options, output
from reader.cli.listing import Listing, sheet, view
from reader.cli.output import Column, Format
from reader.models import EarlierExecution, Task
from reader.queries import TaskFilter, job_key

TASK_LIST_COLUMNS = (
    "taskId",
    "succeeded",
    "exitCode",
    "failureCode",
    "durationSeconds",
    "retryCount",
    "requeueCount",
    "completionCount",
    "poolId",
    "nodeId",
    "startTime",
    "endTime",
)


def outcome(succeeded: bool | None) -> Text:
    """In a word."""
    if succeeded is None:
        return Text("")
    return Text("ok", style="green") if succeeded else Text("failed", style="red")


def exit_code(code: int | None) -> str:
    return "" if code is None else str(code)


TASKS = Listing(
    Task,
    "tasks",
    [
        Column("task", lambda task: task.task_id, by="taskId", elastic=True),
        Column("outcome", lambda task: outcome(task.succeeded), by="succeeded"),
        Column("exit", lambda task: exit_code(task.exit_code), right=True, by="exitCode"),
        Column("failure", lambda task: task.failure_code, priority=2, by="failureCode"),
        Column("duration", lambda task: output.duration(task.duration_seconds), right=True, by="durationSeconds"),
        Column("retries", lambda task: output.count(task.retry_count), right=True, priority=4, by="retryCount"),
        Column("requeues", lambda task: output.count(task.requeue_count), True, 8, "requeueCount"),
        Column("runs", lambda task: output.count(task.completion_count), True, 7, "completionCount"),
        Column("pool", lambda task: task.pool_id, priority=6, by="poolId"),
        Column("node", lambda task: task.node_id, priority=3, by="nodeId"),
        Column("start", lambda task: output.time(task.start_time), priority=5, by="startTime"),
        Column("end", lambda task: output.time(task.end_time), priority=1, by="endTime"),
    ],
    TASK_LIST_COLUMNS,
)

_INT32 = 2**31


def tasks(
    job: options.JobArgument,
    failed: Annotated[bool | None, typer.Option("--failed/--succeeded", help="Only these.")] = None,
    retried: Annotated[
        bool | None, typer.Option("--retried/--never-retried", help="Only tasks that Batch retried; only others.")
    ] = None,
    requeued: Annotated[
        bool | None, typer.Option("--requeued/--never-requeued", help="Only tasks that Batch requeued; only others.")
    ] = None,
    pool: Annotated[
        str | None, typer.Option("--pool", metavar="ID", help="Only of this pool, as it is written.")
    ] = None,
    node: Annotated[
        str | None, typer.Option("--node", metavar="ID", help="Only of this node, as it is written.")
    ] = None,
    exit_code: Annotated[
        int | None,
        typer.Option("--exit-code", metavar="N", min=-_INT32, max=_INT32 - 1, help="Only with this exit code."),
    ] = None,
    failure_code: Annotated[
        str | None, typer.Option("--failure-code", metavar="CODE", help="Only with this scheduling error.")
    ] = None,
    min_duration: Annotated[
        float | None,
        typer.Option(
            "--min-duration",
            metavar="TIME",
            parser=options.parse_duration,
            help="Only tasks that took so long: seconds, or 5m, 2h, 1d.",
        ),
    ] = None,
    max_duration: Annotated[
        float | None,
        typer.Option(
            "--max-duration", metavar="TIME", parser=options.parse_duration, help="Only tasks that took no longer."
        ),
    ] = None,
    since: options.SinceOption = None,
    until: options.UntilOption = None,
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Only tasks whose id begins so.")] = "",
    sort: options.SortOption = None,
    reverse: options.ReverseOption = False,
    limit: options.LimitOption = None,
    columns: options.ColumnsOption = None,
    account: options.AccountOption = None,
    check: options.CheckOption = False,
    format_: options.FormatOption = None,
    storage: options.Storage = None,
) -> None:
    """List the tasks of a job, by their latest execution; in the order of their ids where no other is asked for."""
    where = TaskFilter(
        failed=failed,
        retried=retried,
        requeued=requeued,
        pool=pool,
        node=node,
        exit_code=exit_code,
        failure_code=failure_code,
        min_duration=min_duration,
        max_duration=max_duration,
        since=since,
        until=until,
        prefix=prefix,
    )
    shown = view(TASKS, format_, columns, sort, limit, reverse=reverse)
    with options.open_rollups(storage) as rollups:
        found = options.find_job(rollups, job, account)
        shown.write(rollups.tasks(job_key(found), where, options.stored(shown.needed())))
    options.check_failed(found.failed_tasks, wanted=check)


def task(
    job: options.JobArgument,
    task: Annotated[str, typer.Argument(metavar="TASK", show_default=False, help="Task id, without case.")],
    columns: options.ColumnsOption = None,
    account: options.AccountOption = None,
    check: options.CheckOption = False,
    format_: options.FormatOption = None,
    storage: options.Storage = None,
) -> None:
    """Show one task with all its executions."""
    shown = view(TASKS, format_, columns or "all", None, None, reverse=False)
    with options.open_rollups(storage) as rollups:
        found = rollups.task(job_key(options.find_job(rollups, job, account)), task)
    names = shown.columns or ()
    if shown.format_ is Format.TABLE:
        _show(output.console(), found, [name for name in names if columns or name not in _NOT_IN_A_SHEET])
    else:
        output.write_row(found.columns(), shown.format_, names)
    options.check_failed(int(found.succeeded is False), wanted=check)


_NOT_IN_A_SHEET = frozenset({"PartitionKey", "RowKey", "executions", "olderExecutions"})
"""Keys are the ids once more; the executions are a table of their own."""


def _show(to: Console, task: Task, names: list[str]) -> None:
    to.print(sheet(task, names))
    if task.completion_count > 1:
        to.print(f"\nExecutions: {task.completion_count:,}, newest first", style="bold")
        output.write_table(to, _EXECUTIONS, executions(task))


def executions(task: Task) -> Iterator[EarlierExecution]:
    """Every execution that the row knows, newest first; of the oldest only the times."""
    yield EarlierExecution(
        start_time=task.start_time, end_time=task.end_time, exit_code=task.exit_code, succeeded=task.succeeded
    )
    yield from (earlier for earlier in task.executions if earlier.other is None)
    for end, start in read_older(task.older_executions):
        yield EarlierExecution(end_time=to_datetime(end), start_time=None if start == NO_START else to_datetime(start))


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None or end < start else (end - start).total_seconds()


_EXECUTIONS = [
    Column[EarlierExecution]("start", lambda run: output.time(run.start_time)),
    Column[EarlierExecution]("end", lambda run: output.time(run.end_time)),
    Column[EarlierExecution](
        "duration", lambda run: output.duration(_seconds(run.start_time, run.end_time)), right=True
    ),
    Column[EarlierExecution]("outcome", lambda run: outcome(run.succeeded)),
    Column[EarlierExecution]("exit", lambda run: exit_code(run.exit_code), right=True),
]
