"""The commands: `python -m devstack start | publish | run | chaos | outage`.

start     the local Azure with the app, until Ctrl-C
publish   a generated workload, or files of records, to a hub
run       start, publish a sample, wait until all is consumed, show and check the tables, stop
chaos     the same with faults at random: killed instances, storage restarts, lost links and answers
outage    the same with storage away for minutes, and the memory of the instance
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from devstack import chaos, outage
from devstack.child import StackError
from devstack.consumption import wait_until_consumed
from devstack.publish import PublishError, messages_from_files, publish, shown_progress
from devstack.stack import FREE_PORTS, SAMPLE_SETTINGS, Ports, Stack
from devstack.verdict import ExpectedDeadLetters, Tables, disagreements, show_jobs, show_totals
from devstack.workload import Workload

_DISAGREEMENTS_SHOWN = 20
_PLAIN_WIDTH = 140
_WATCH_SECONDS = 0.2
_LONGEST_SECONDS = 3600.0


def main(argv: list[str] | None = None) -> int:
    """The exit status: 0 all well, 1 not, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=_PLAIN_WIDTH)
    try:
        status: int = arguments.command(arguments, console)
    except (StackError, PublishError) as error:
        print(f"devstack: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m devstack", description="Azure on one machine, without Docker.")
    commands = parser.add_subparsers(required=True, metavar="start | publish | run | chaos | outage")

    start = commands.add_parser("start", help="the local Azure with the app, until Ctrl-C")
    start.set_defaults(command=_start)
    start.add_argument("--ready-file", type=Path, metavar="FILE", help="write the addresses to FILE once all are ready")
    start.add_argument(
        "--data", type=Path, metavar="DIR", help="keep hub, tables and blobs in DIR (default: in memory)"
    )
    _add_stack_options(start, Ports())

    send = commands.add_parser("publish", help="a generated workload, or files of records, to a hub")
    send.set_defaults(command=_publish)
    send.add_argument(
        "files", nargs="*", type=Path, help="files or folders of records, such as PT1H.json; none: generate"
    )
    send.add_argument("--connection", metavar="TEXT", help="the hub's connection string (default: the local one)")
    send.add_argument("--hub", metavar="NAME", default=_sample("EventHubName"), help="default: %(default)s")
    _add_workload_options(send)

    run = commands.add_parser("run", help="start, publish a sample, wait, show and check the tables, stop")
    run.set_defaults(command=_run)
    run.add_argument("--logs", type=Path, metavar="DIR", help="keep the logs of all parts in DIR")
    run.add_argument(
        "--report", type=Path, metavar="FILE", help="write the largest job's report to FILE by `rollups report`"
    )
    _add_workload_options(run)
    _add_stack_options(run, FREE_PORTS)

    storm = commands.add_parser("chaos", help="a run under random faults: killed instances, lost links and answers")
    storm.set_defaults(command=_chaos)
    plan = chaos.Plan()
    _add_workload_options(storm, plan.tasks)
    storm.add_argument("--instances", type=_positive, default=plan.instances, metavar="N", help="default: %(default)s")
    storm.add_argument(
        "--pause", type=_seconds, default=plan.pause, metavar="S", help="mean time between faults; default: %(default)s"
    )
    storm.add_argument("--logs", type=Path, metavar="DIR", help="keep the logs of all parts in DIR")

    away = commands.add_parser("outage", help="a run with storage away for minutes, and the memory of the instance")
    away.set_defaults(command=_outage)
    calm = outage.Plan()
    away.add_argument("--seconds", type=_seconds, default=calm.outage, metavar="S", help="default: %(default)s")
    away.add_argument(
        "--times", type=_positive, default=calm.times, metavar="N", help="outages, one after the other (default: 1)"
    )
    away.add_argument(
        "--rate", type=_positive, default=round(calm.rate), metavar="N", help="messages a second (default: %(default)s)"
    )
    away.add_argument(
        "--records", type=_positive, default=calm.records, metavar="N", help="the most in a message (default: 1)"
    )
    away.add_argument("--seed", type=int, default=calm.seed, metavar="N", help="default: %(default)s")
    away.add_argument("--logs", type=Path, metavar="DIR", help="keep the logs of all parts in DIR")
    return parser


def _add_stack_options(parser: argparse.ArgumentParser, default: Ports) -> None:
    parser.add_argument("--instances", type=_count, default=1, metavar="N", help="processes that share the partitions")
    for name, port in (
        ("event-hubs", default.event_hubs),
        ("control", default.control),
        ("blob", default.blob),
        ("queue", default.queue),
        ("table", default.table),
        ("http", default.http),
    ):
        parser.add_argument(
            f"--{name}-port", type=_port, default=port, metavar="PORT", help="default: %(default)s; 0: free"
        )


def _add_workload_options(parser: argparse.ArgumentParser, tasks: int = 20_000) -> None:
    parser.add_argument("--tasks", type=_count, default=tasks, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="default: %(default)s")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 up")
    return int(text)


def _positive(text: str) -> int:
    if (number := _count(text)) == 0:
        raise argparse.ArgumentTypeError("0 is too few")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= _LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0 and up to {_LONGEST_SECONDS:.0f}")
    return seconds


def _port(text: str) -> int:
    if (port := _count(text)) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port (0 to 65535)")
    return port


def _ports(arguments: argparse.Namespace) -> Ports:
    return Ports(
        event_hubs=arguments.event_hubs_port,
        control=arguments.control_port,
        blob=arguments.blob_port,
        queue=arguments.queue_port,
        table=arguments.table_port,
        http=arguments.http_port,
    )


def _sample(name: str) -> str:
    value: str = json.loads(SAMPLE_SETTINGS.read_text())["Values"][name]
    return value


# --- start -----------------------------------------------------------------------------------------------------------


def _start(arguments: argparse.Namespace, console: Console) -> int:
    stops: list[int] = []  # a lock, as in an Event, could be held by the very thread that the signal interrupts
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: stops.append(number))
    with Stack(_ports(arguments), arguments.data, arguments.instances) as stack:
        console.print(_addresses(stack), highlight=False, soft_wrap=True)
        if arguments.ready_file:
            _write_ready_file(arguments.ready_file, stack)
        while not stops:
            stack.check()
            time.sleep(_WATCH_SECONDS)
        console.print("stopping")
    return 0


def _addresses(stack: Stack) -> str:
    lines = {
        "Event Hubs": f"{stack.event_hub_connection} (hub {stack.event_hub_name}, group {stack.consumer_group})",
        "Faults": f"http://127.0.0.1:{stack.control_port}",
        "Storage": stack.storage_connection,
    }
    if stack.hosts:
        lines["Functions"] = f"{stack.http_url} ({len(stack.hosts)} instance{'s' * (len(stack.hosts) > 1)})"
        lines["Dashboard"] = f"{stack.http_url}/api/dashboard"
    return "\n".join([f"{name:<11} {where}" for name, where in lines.items()] + ["Ready. Ctrl-C stops."])


def _write_ready_file(path: Path, stack: Stack) -> None:
    """Whole or not at all: another process waits for it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(
        json.dumps(
            {
                "eventHubConnection": stack.event_hub_connection,
                "eventHubName": stack.event_hub_name,
                "storageConnection": stack.storage_connection,
                "httpUrl": stack.http_url,
            }
        )
    )
    partial.rename(path)


# --- publish ---------------------------------------------------------------------------------------------------------


def _publish(arguments: argparse.Namespace, console: Console) -> int:
    connection = arguments.connection or _sample("EventHubConnection")
    messages = (
        messages_from_files(arguments.files)
        if arguments.files
        else Workload(seed=arguments.seed, tasks=arguments.tasks, partitions=0).messages()
    )
    with shown_progress(console) as progress:
        asyncio.run(publish(connection, arguments.hub, messages, progress))
    return 0


# --- run -------------------------------------------------------------------------------------------------------------


def _run(arguments: argparse.Namespace, console: Console) -> int:
    workload = Workload(seed=arguments.seed, tasks=arguments.tasks)
    with _logs(arguments.logs) as logs:
        console.print("Starting Azurite, the Event Hubs server and the Functions host …")
        with Stack(_ports(arguments), instances=arguments.instances, logs=logs) as stack:
            expected = ExpectedDeadLetters(stack.event_hub_name)
            started = time.monotonic()
            with shown_progress(console) as progress:
                messages = expected.watch(workload.messages())
                sent = asyncio.run(publish(stack.event_hub_connection, stack.event_hub_name, messages, progress))
            _wait(stack, sent.messages, console)
            seconds = time.monotonic() - started
            tables = Tables(stack.storage_connection)
            if arguments.report and tables.jobs:
                _write_report(arguments.report, stack, tables)
        executions = list(workload.executions())
        show_jobs(console, tables.jobs)
        show_totals(console, tables)
        console.print(
            f"{len(executions):,} executions in {seconds:.1f} s from first send to last checkpoint: "
            f"{len(executions) / seconds:,.0f} executions/s, {sent.messages / seconds:,.0f} messages/s"
        )
        if arguments.report and tables.jobs:
            console.print(f"The largest job's report is {arguments.report}: open it in a browser.", soft_wrap=True)
            console.print("For the dashboard: `make start`, then `make publish` in a second terminal.")
        return judge(console, disagreements(tables, executions, expected.names))


def _write_report(path: Path, stack: Stack, tables: Tables) -> None:
    """By the command, as a user would: this package does not know the app's."""
    largest = max(tables.jobs, key=lambda job: job["taskCount"].value)
    command = ["report", str(largest["jobId"]), "--account", str(largest["account"]), "--output", str(path)]
    done = subprocess.run(
        [sys.executable, "-m", "reader", *command],
        env={**os.environ, "RollupStorage": stack.storage_connection},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StackError(f"the report could not be written: {done.stderr.strip()}")


def _wait(stack: Stack, messages: int, console: Console) -> None:
    columns = (TextColumn("Consuming"), BarColumn(), MofNCompleteColumn(), TextColumn("messages"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=messages)
        wait_until_consumed(stack, lambda done: bar.update(task, completed=done))


# --- chaos and outage ------------------------------------------------------------------------------------------------


def _chaos(arguments: argparse.Namespace, console: Console) -> int:
    plan = chaos.Plan(arguments.seed, arguments.tasks, arguments.instances, arguments.pause)
    with _logs(arguments.logs) as logs, tempfile.TemporaryDirectory(prefix="devstack-") as folder:
        result = chaos.run(plan, Path(folder), logs, _teller(console))
    table = Table(title=f"{result.happened.total():,} faults in {result.seconds_of_faults:.0f} s", title_justify="left")
    table.add_column("fault")
    table.add_column("times", justify="right")
    for fault in chaos.Fault:
        table.add_row(fault, f"{result.happened[fault]:,}")
    console.print(table)
    console.print(
        f"{result.sent:,} messages published, {result.stored:,} stored (the rest sent again), "
        f"{result.delivered:,} delivered; {result.failed_invocations:,} invocations failed\n"
        f"{result.executions:,} executions of {plan.tasks:,} tasks in {result.jobs:,} jobs, "
        f"{result.dead_letters:,} dead letters; {result.seconds:.0f} s from first send to last checkpoint",
        highlight=False,
    )
    return judge(console, result.differences)


def _outage(arguments: argparse.Namespace, console: Console) -> int:
    plan = outage.Plan(
        arguments.seed, arguments.seconds, arguments.times, rate=arguments.rate, records=arguments.records
    )
    with _logs(arguments.logs) as logs, tempfile.TemporaryDirectory(prefix="devstack-") as folder:
        result = outage.run(plan, Path(folder), logs, _teller(console))
    table = Table(title="The instance's memory (RSS), its most in each third of a phase", title_justify="left")
    table.add_column("phase")
    for column in ("seconds", "MB, first third", "second", "last"):
        table.add_column(column, justify="right")
    for phase in result.phases:
        table.add_row(phase.name, f"{phase.seconds:.0f}", *(f"{size / 1e6:.1f}" for size in phase.thirds()))
    console.print(table)
    console.print(
        f"{result.messages:,} messages at {plan.rate:.0f}/s, {result.executions:,} executions; "
        f"up to {result.backlog:,} messages waited as storage came back, "
        f"{result.passed:,} were checkpointed while it was away",
        highlight=False,
    )
    passed = [f"{result.passed:,} messages were checkpointed while storage was away"] if result.passed else []
    return judge(console, passed + result.differences)


def _teller(console: Console) -> Callable[[str], None]:
    """Prints what happens, and when."""
    started = time.monotonic()
    return lambda text: console.print(f"{time.monotonic() - started:7.1f} s  {text}", highlight=False)


def judge(console: Console, found: list[str]) -> int:
    """Say what was found; the exit status."""
    if not found:
        console.print("Tables and dead letters equal what was published.", style="green")
        return 0
    for line in found[:_DISAGREEMENTS_SHOWN]:
        console.print(line, markup=False)
    console.print(f"{len(found):,} differences between the tables and what was published.", style="red")
    return 1


@contextmanager
def _logs(chosen: Path | None) -> Iterator[Path]:
    """Where the parts' logs go: a folder of the user's, else one that is gone afterwards."""
    if chosen is not None:
        yield chosen.resolve()
    else:
        with tempfile.TemporaryDirectory(prefix="devstack-logs-") as folder:
            yield Path(folder)
