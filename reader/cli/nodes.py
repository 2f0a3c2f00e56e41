"""`rollups nodes`: what each node did for a job, and which ones fail more than the rest."""

from collections.abc import Sequence

from rich.text import Text

from reader.cli import options, output
from reader.cli.listing import NONE, Listing, view
from reader.cli.output import Column
from reader.models import Node
from reader.outliers import failing_nodes
from reader.queries import job_key


class NodeLine(Node):
    """A node in the list."""

    failure_rate: float
    """Failed ÷ tasks."""
    stands_out: bool
    """It fails more than the rest, by the rule of `reader.outliers`."""


def lines(nodes: Sequence[Node]) -> list[NodeLine]:
    """The nodes as they are listed."""
    bad = {(node.pool_id, node.node_id) for node in failing_nodes(nodes)}
    return [
        NodeLine(
            **dict(node),
            failure_rate=node.failed / node.tasks,
            stands_out=(node.pool_id, node.node_id) in bad,
        )
        for node in nodes
    ]


def rate(line: NodeLine) -> Text:
    """The failure rate; marked where the node stands out."""
    text = output.percent(line.failed, line.tasks)
    return Text(f"▲ {text}", style="bold red") if line.stands_out else Text(text, style="" if line.failed else "dim")


NODES = Listing(
    NodeLine,
    "nodes",
    [
        Column("node", lambda line: line.node_id, by="nodeId", elastic=True),
        Column("pool", lambda line: line.pool_id or NONE, priority=2, by="poolId"),
        Column("tasks", lambda line: output.count(line.tasks), right=True, by="tasks"),
        Column("outcome", lambda line: output.bar(line.tasks - line.failed, line.failed), priority=4),
        Column("failed", lambda line: output.count(line.failed), right=True, by="failed"),
        Column("rate", rate, right=True, by="failureRate"),
        Column("retries", lambda line: output.count(line.retries), right=True, priority=3, by="retries"),
        Column("busy", lambda line: output.duration(line.busy_seconds), right=True, priority=1, by="busySeconds"),
        Column("first start", lambda line: output.time(line.first_start_time), priority=6, by="firstStartTime"),
        Column("last end", lambda line: output.time(line.last_end_time), priority=5, by="lastEndTime"),
    ],
    (
        "poolId",
        "nodeId",
        "tasks",
        "failed",
        "failureRate",
        "standsOut",
        "retries",
        "busySeconds",
        "firstStartTime",
        "lastEndTime",
    ),
    order="-failureRate",
)


def nodes(
    job: options.JobArgument,
    sort: options.SortOption = None,
    reverse: options.ReverseOption = False,
    limit: options.LimitOption = None,
    columns: options.ColumnsOption = None,
    account: options.AccountOption = None,
    check: options.CheckOption = False,
    format_: options.FormatOption = None,
    storage: options.Storage = None,
) -> None:
    """List the nodes of a job, the highest failure rate first. ▲ marks those that fail more than the rest."""
    shown = view(NODES, format_, columns, sort, limit, reverse=reverse)
    with options.open_rollups(storage) as rollups:
        found = options.find_job(rollups, job, account)
        with output.working(f"Reading {found.task_count:,} tasks of {found.job_id} …"):
            read = rollups.nodes(job_key(found))
    shown.write(lines(read))
    options.check_failed(found.failed_tasks, wanted=check)
