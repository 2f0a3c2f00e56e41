"""Realistic Azure Batch diagnostic logs, by seed: the truth, and the Event Hub messages that carry it.

    workload = Workload(seed=7, tasks=20_000)
    for message in workload.messages(): ...      # lazily: body, partition, and the bad records in it
    rows = expected_task_rows(workload.executions())

Equal parameters give equal bytes, in every process: nothing here reads a clock, and each stage draws from a random
stream of its own, so that how a record is wrapped or delivered never changes what happened.

`population` decides what happened (accounts, pools, jobs, tasks, executions), `records` writes it down as Azure
Monitor does, `envelopes` wraps records into bodies, `delivery` shuffles, repeats and packs them. `bad` holds
everything that is wrong on purpose.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from devstack.workload.delivery import deliver
from devstack.workload.model import BadMessage, BadRecord, Execution, Message, Parameters, Truth
from devstack.workload.population import population

__all__ = ["BadMessage", "BadRecord", "Execution", "Message", "Parameters", "Truth", "Workload"]


@dataclass(frozen=True)
class Workload(Parameters):
    """The log of `tasks` tasks; see Parameters for what else can be chosen."""

    def executions(self) -> Iterator[Execution]:
        """Every distinct execution, job after job."""
        for job in population(self):
            yield from job.executions

    def messages(self) -> Iterator[Message]:
        """What is sent, in the order of sending; memory is bounded by the jobs that run at one time."""
        return deliver(self)

    def truth(self) -> Truth:
        """All of it at once, for workloads that fit into memory."""
        bad_records: list[BadRecord] = []
        bad_messages: list[BadMessage] = []
        for message in self.messages():
            bad_records += message.bad_records
            if message.bad is not None:
                bad_messages.append(message.bad)
        return Truth(list(self.executions()), bad_records, bad_messages)
