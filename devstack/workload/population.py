"""What happened: accounts, pools and nodes, jobs, tasks, and every execution of a task.

Jobs come in the order of their arrival. Within a (case-insensitive) job and task, no two executions have both times
in common: that is what makes them distinct, so it holds by construction here and is never repaired afterwards.

Times are counted in microseconds from the base and become datetimes last, so that no rounding can creep in.
"""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

from devstack.workload.model import Execution, Parameters

SECOND = 1_000_000
MINUTE = 60 * SECOND

_MEAN_ARRIVAL_GAP = 90 * SECOND
_TAIL = 0.65  # of the Pareto law of job sizes: most jobs are tiny, most tasks are in large jobs
_LARGEST_JOB = 50_000
_RECREATED = 0.04
_REACTIVATED = 0.2
_SAME_END = 0.05  # of the reactivated: a failed start that is logged with the very end of the execution before


@dataclass(frozen=True, slots=True)
class Pool:
    """Machines that run tasks."""

    pool_id: str
    nodes: tuple[str, ...]
    vm_size: str
    slots_per_node: int
    autoscale: bool
    auto: bool
    """Made for one job, and deleted after it."""


@dataclass(frozen=True, slots=True)
class Job:
    """One life of a job: a job that is deleted and created again is two of these."""

    account: str
    job_id: str
    arrival: datetime
    pools: tuple[Pool, ...]
    executions: list[Execution]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the jobs of one application have in common."""

    weight: int
    job_id: str
    task_id: str
    median: float
    """Of a task's duration, in seconds."""
    sigma: float
    """Of the logarithm of a task's duration."""
    most: int = _LARGEST_JOB
    slots: tuple[int | None, ...] = (1,)
    instances: tuple[int | None, ...] = (None, 1)
    max_retries: tuple[int, ...] = (0, 1, 3)
    failing: float = 1.0
    """How much more often than usual its tasks fail."""
    manager: str = ""
    """The id of its job manager task, in some of the jobs."""


_KINDS = (
    _Kind(20, "nightly-render-{n}", "frame-{i:05}", 240, 0.5, slots=(2, 4), failing=0.6, manager="render-manager"),
    _Kind(14, "MonteCarlo_{n}", "Sim_{i}", 45, 0.3, max_retries=(0, 3, -1)),
    _Kind(12, "etl-{n}-hourly", "extract-{i:04}", 8, 1.0, max_retries=(3, 5), manager="JobManager"),
    _Kind(8, "Genome-Align-{n}", "sample_{i:04}_L001", 3_600, 0.6, most=3_000, slots=(4, 8), failing=1.6),
    _Kind(5, "cfd-mpi-{n}", "case-{i}", 5_400, 0.8, most=40, slots=(1, 16), instances=(2, 4, 16), failing=2.0),
    _Kind(10, "billing:job-{n}", "task-{i}", 30, 0.7, most=25, manager="jobmanager"),
    _Kind(6, "TrainModel-{n}", "epoch-{i}", 7_200, 0.9, most=12, slots=(8,), max_retries=(0, -1), failing=1.5),
    _Kind(6, "smoketest-{n}", "Check{i}", 0.15, 1.4, most=200, slots=(1, None, 0), instances=(None, 0, 1)),
    _Kind(3, "import {n} / größe=100%", "shot {i:02}/take#{i}?.exr", 12, 0.5, most=30),
    _Kind(2, "{n}-" + "x" * 240, "~job~{i}", 20, 0.4, most=6),
)

_ACCOUNTS = ("contosobatch", "fabrikamrender", "woodgrove01", "tailspin", "northwind", "adatum", "proseware")

_VM_SIZES = ("standard_d2s_v3", "standard_d8s_v5", "standard_hb120rs_v3", "standard_nc24ads_a100_v4")

_START_ERRORS = (
    ("UserError", "ResourceContainerAccessDenied", "Access was denied to the container of a resource file"),
    ("UserError", "BlobNotFound", "A resource file was not found:\n\thttps://input.example/scenes/scène-12.json"),
    ("UserError", "CommandProgramNotFound", 'The program "/opt/render/bin/render" was not found'),
    ("ServerError", "ContainerPoolNotSupported", "The pool cannot run the task's container\r\nsee stderr.txt"),
    ("ServerError", "InternalError", "The node could not start the task 起動失敗"),
)
_END_ERRORS = (
    ("UserError", "FileUploadAccessDenied", "Output files could not be uploaded: C:\\batch\\tasks\\out"),
    ("UserError", "TaskEnded", "Task Was Ended by User Request"),
)
_EXIT_ERROR = ("UserError", "FailureExitCode", "The task exited with an exit code representing a failure")
_EXIT_CODES = (1, 1, 1, 2, 3, 127, 137, 139, 255, -1073741819)


@dataclass(frozen=True, slots=True)
class _Setting:
    """What is the same for every task of one life of a job."""

    kind: _Kind
    pools: tuple[Pool, ...]
    grain: int
    """Of its times, in microseconds: older records are in milliseconds or whole seconds."""
    old_form: bool
    """Its records have neither requiredSlots nor result nor schedulingError."""
    slots: int | None
    instances: int | None
    max_retries: int


class _Task(NamedTuple):
    """What every execution of a task has in common."""

    account: str
    job_id: str
    task_id: str
    task_type: str
    pool_id: str
    node_id: str
    instances: int | None


def population(parameters: Parameters) -> Iterator[Job]:
    """Every job, by arrival."""
    town = _Town(parameters)
    later: list[tuple[datetime, int, Job]] = []
    for number, job in enumerate(town.first_lives()):
        while later and later[0][0] <= job.arrival:
            yield heapq.heappop(later)[2]
        again = town.second_life(job)
        if again is not None:
            heapq.heappush(later, (again.arrival, number, again))
        yield job
    while later:
        yield heapq.heappop(later)[2]


class _Town:
    """The random choices behind a population."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._random = Random(f"{parameters.seed}/population")
        self._base = parameters.base.astimezone(UTC)
        names = [*_ACCOUNTS, *(f"batch{n:02}" for n in range(len(_ACCOUNTS), parameters.accounts))]
        self._pools = {account: self._standing_pools() for account in names[: parameters.accounts]}

    def first_lives(self) -> Iterator[Job]:
        draw = self._random
        weights = [kind.weight for kind in _KINDS]
        accounts = list(self._pools)
        left = self._parameters.tasks
        largest = max(1, min(_LARGEST_JOB, left // 4))
        arrival = 0
        number = 0
        while left:
            number += 1
            kind = draw.choices(_KINDS, weights)[0]
            account = draw.choices(accounts, range(len(accounts), 0, -1))[0]
            size = min(left, largest, kind.most, int(draw.paretovariate(_TAIL)))
            left -= size
            arrival += round(draw.expovariate(1 / _MEAN_ARRIVAL_GAP))
            setting = self._setting(kind, account)
            task_ids = [kind.task_id.format(i=i) for i in range(1, size + 1)]
            if kind.manager and size > 2 and draw.random() < 0.4:
                task_ids[0] = kind.manager
            yield self._job(account, kind.job_id.format(n=number), task_ids, arrival, setting)

    def second_life(self, job: Job) -> Job | None:
        """The job created again under its id, perhaps spelt otherwise; its tasks are among the first life's."""
        draw = self._random
        if draw.random() >= _RECREATED or len(job.executions) > 3_000:
            return None
        task_ids = list(dict.fromkeys(execution.task_id for execution in job.executions))
        task_ids = task_ids[: draw.randint(1, len(task_ids))]
        job_id = job.job_id
        if draw.random() < 0.5:
            job_id = job_id.upper() if job_id.upper().lower() == job_id.lower() else job_id.lower()
            task_ids = [task_id.title() for task_id in task_ids]
        last = max(execution.end for execution in job.executions)
        arrival = (last - self._base) // timedelta(microseconds=1) + draw.randint(MINUTE, 120 * MINUTE)
        account = job.account.lower()
        kind = draw.choice([kind for kind in _KINDS if kind.most > 1_000])
        return self._job(account, job_id, task_ids, arrival, self._setting(kind, account))

    def _setting(self, kind: _Kind, account: str) -> _Setting:
        draw = self._random
        pools: tuple[Pool, ...] = (draw.choice(self._pools[account]),)
        shape = draw.random()
        if shape < 0.15:
            pools = (self._auto_pool(),)
        elif shape < 0.25:
            pools = self._pools[account][:2]
        old_form = draw.random() < 0.2
        return _Setting(
            kind=kind,
            pools=pools,
            grain=draw.choice((1_000, 1_000, SECOND)) if old_form else draw.choice((1, 1, 1, 10, 1_000)),
            old_form=old_form,
            slots=None if old_form else draw.choice(kind.slots),
            instances=draw.choice(kind.instances),
            max_retries=draw.choice(kind.max_retries),
        )

    def _standing_pools(self) -> tuple[Pool, ...]:
        draw = self._random
        return tuple(
            self._pool(f"{name}-{draw.randint(1, 9)}", auto=False) for name in ("linux-d8", "Windows_HB", "gpu")
        )

    def _auto_pool(self) -> Pool:
        pool_id = f"{self._random.getrandbits(128):032x}"
        return self._pool(f"autopool_{pool_id[:8]}-{pool_id[8:12]}-{pool_id[12:]}", auto=True)

    def _pool(self, pool_id: str, *, auto: bool) -> Pool:
        draw = self._random
        started = (self._base - timedelta(minutes=draw.randint(10, 10_000))).strftime("%Y%m%dt%H%M%Sz")
        machine = draw.randint(10**8, 4 * 10**9)
        nodes = tuple(f"tvm-{machine}_{n}-{started}" for n in range(1, draw.randint(2, 40) + 1))
        return Pool(pool_id, nodes, draw.choice(_VM_SIZES), draw.choice((1, 2, 4, 8)), draw.random() < 0.4, auto)

    def _job(self, account: str, job_id: str, task_ids: list[str], arrival: int, setting: _Setting) -> Job:
        """Runs the tasks: each goes to the slot that is free first, in the order they were added."""
        draw = self._random
        slots = [
            (arrival + draw.randint(SECOND, 90 * SECOND), pool, node) for pool in setting.pools for node in pool.nodes
        ]
        slots = slots[: max(1, len(task_ids) // 2)]
        free = [(time, place) for place, (time, _, _) in enumerate(slots)]
        heapq.heapify(free)
        executions: list[Execution] = []
        spelt = account if draw.random() < 0.05 else account.upper()
        for task_id in task_ids:
            time, place = free[0]
            _, pool, node = slots[place]
            manager = task_id.lower() == setting.kind.manager.lower()
            task = _Task(
                account=spelt if draw.random() > 0.01 else account,
                job_id=job_id,
                task_id=task_id,
                task_type="JobManager" if manager else "User",
                pool_id=pool.pool_id,
                node_id=node,
                instances=1 if manager else setting.instances,
            )
            heapq.heapreplace(free, (self._run(task, time, setting, executions), place))
        return Job(account, job_id, self._base + timedelta(microseconds=arrival), setting.pools, executions)

    def _run(self, task: _Task, time: int, setting: _Setting, executions: list[Execution]) -> int:
        """Appends every execution of a task that is started at this time; returns when its slot is free again."""
        draw = self._random
        chance = min(0.9, self._parameters.failures * setting.kind.failing)
        broken = draw.random() < chance
        while True:
            execution, end = self._execute(task, time, setting, broken=broken)
            executions.append(execution)
            if not broken or draw.random() >= _REACTIVATED:
                return end
            if execution.start is not None and draw.random() < _SAME_END:
                executions.append(self._failed_start(replace(execution, retries=0), setting))
                return end
            time = end + draw.randint(MINUTE, 60 * MINUTE)
            broken = draw.random() < 0.5

    def _execute(self, task: _Task, time: int, setting: _Setting, *, broken: bool) -> tuple[Execution, int]:
        draw = self._random
        grain = setting.grain
        limit = setting.max_retries
        retries = 0
        if broken:
            retries = limit if limit >= 0 else draw.randint(1, 12)
        elif limit and draw.random() < 0.06:
            retries = draw.randint(1, limit if limit > 0 else 6)
        start = (time + draw.randint(20_000, 900_000)) // grain * grain + grain
        duration = math.ceil(draw.lognormvariate(0, setting.kind.sigma) * setting.kind.median * SECOND)
        start += retries * (duration // 3) // grain * grain
        end = (start + max(duration, grain)) // grain * grain
        odd = draw.random()
        if odd < 0.002:
            end = start
        elif odd < 0.004:
            # The clocks of the node and of the service disagree.
            start = end + draw.randint(1, 40) * grain
        exit_code, result = 0, None if setting.old_form else "Success"
        if result is not None:
            odd = draw.random()
            if odd < 0.01:
                result = "success"
            elif odd > 0.999:
                # What the program returned does not matter where Batch says that the task succeeded.
                exit_code = 3
        execution = Execution(
            account=task.account,
            job_id=task.job_id,
            task_id=task.task_id,
            start=self._base + timedelta(microseconds=start),
            end=self._base + timedelta(microseconds=end),
            exit_code=exit_code,
            result=result,
            task_type=task.task_type,
            pool_id=task.pool_id,
            node_id=task.node_id,
            system_task_version=draw.randint(200_000_000, 230_000_000) << draw.choice((0, 0, 0, 8)),
            required_slots=setting.slots,
            instances=task.instances,
            max_retries=setting.max_retries,
            retries=retries,
            requeues=draw.randint(1, 3) if draw.random() < 0.02 else 0,
        )
        return self._failed(execution, setting) if broken else execution, max(start, end)

    def _failed(self, execution: Execution, setting: _Setting) -> Execution:
        draw = self._random
        shape = draw.random()
        if shape < 0.2:
            return self._failed_start(execution, setting)
        if setting.old_form:
            return replace(execution, exit_code=draw.choice(_EXIT_CODES))
        if shape < 0.35:
            return _with_error(replace(execution, exit_code=0, result="Failure"), draw.choice(_END_ERRORS))
        if shape < 0.4:
            return replace(execution, exit_code=0, result="Failure")
        failed = replace(execution, exit_code=draw.choice(_EXIT_CODES), result="Failure")
        return failed if shape < 0.55 else _with_error(failed, _EXIT_ERROR)

    def _failed_start(self, execution: Execution, setting: _Setting) -> Execution:
        draw = self._random
        failed = replace(execution, start=None, exit_code=None)
        if draw.random() < 0.3:
            failed = replace(failed, pool_id="", node_id="")
        if setting.old_form:
            return failed
        return _with_error(replace(failed, result="Failure"), draw.choice(_START_ERRORS))


def _with_error(execution: Execution, error: tuple[str, str, str]) -> Execution:
    category, code, message = error
    return replace(execution, failure_category=category, failure_code=code, failure_message=message)
