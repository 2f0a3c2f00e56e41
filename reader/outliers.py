"""What is far from the rest: nodes that fail more than the others, tasks that take much longer than most.

The rule: a node is named only where chance explains its failures badly; one failed task on one node is no finding.
"""

import math
from collections.abc import Sequence

from reader.models import Job, Node

STRAGGLER = 2.0
"""A straggler took longer than this many times the job's 95th percentile."""

CHANCE = 0.01
"""The chance, over all nodes of a job together, that one of them is named although it is no worse than the others."""


def straggler_seconds(job: Job) -> float | None:
    """A task whose latest execution took longer than this is a straggler; None where no duration is known."""
    return None if job.p95_duration_seconds is None else STRAGGLER * job.p95_duration_seconds


def failing_nodes(nodes: Sequence[Node]) -> list[Node]:
    """The nodes that fail more than the rest, the least likely first.

    A node with n tasks of which k failed is one of them if k or more failures among n have a chance below
    CHANCE ÷ number of nodes (Bonferroni), each task failing with the rate of all other nodes' tasks: (failed + 1) ÷
    (tasks + 2), Laplace's rule of succession, so that others without any failure do not make the first one a finding.
    """
    tasks, failed = sum(node.tasks for node in nodes), sum(node.failed for node in nodes)
    found = []
    for index, node in enumerate(nodes):
        others = (failed - node.failed + 1) / (tasks - node.tasks + 2)
        if len(nodes) > 1 and node.failed > node.tasks * others:
            chance = at_least(node.failed, node.tasks, others)
            if chance < CHANCE / len(nodes):
                found.append((chance, index, node))
    return [node for _, _, node in sorted(found, key=lambda item: item[:2])]


def at_least(successes: int, trials: int, rate: float) -> float:
    """The chance of `successes` or more in `trials`, each with a chance of `rate` (above 0, below 1): binomial."""
    if successes <= 0:
        return 1.0
    term = math.exp(
        math.lgamma(trials + 1)
        - math.lgamma(successes + 1)
        - math.lgamma(trials - successes + 1)
        + successes * math.log(rate)
        + (trials - successes) * math.log1p(-rate)
    )
    total, k = 0.0, successes
    # Beyond the mean each term is smaller than the one before: what is left then cannot change the sum.
    while k <= trials and (term > total * 1e-16 or k <= trials * rate):
        total += term
        term *= (trials - k) / (k + 1) * rate / (1 - rate)
        k += 1
    return min(total, 1.0)
