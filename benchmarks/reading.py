"""Reading at size: 10,000 jobs listed; a report of 50,000 tasks built, loaded, sorted, searched and scrolled.

Fills an Azurite of its own through the real write side, which takes some minutes, and then times what a user does: the
commands as processes, the pages in Chromium (by software: there is no GPU). A frame is the time between two calls of
requestAnimationFrame while something moves in each; a table moves by 200
pixels in each. Exit status 1 where a target is missed.
"""

import argparse
import heapq
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.request import urlopen

from azure.data.tables import TableServiceClient
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.table import Table

from devstack.azurite import Azurite
from processors.columns import JOBS
from processors.events import Execution
from tests.core.examples import NOON, SECOND, an_execution
from tests.reader.browser import CHROMIUM, launched, opened, served
from tests.reader.filled import fill

ACCOUNT, JOB = "contosobatch", "Nightly-Render-4211"
POOLS, NODES_A_POOL, SLOTS_A_NODE = ("render-d16", "render-spot", "gpu-nc24"), 20, 4
FILLED_AT_ONCE = 10_000
FRAMES = 150
FRAME_TARGET = 34.0
"""Milliseconds: 30 frames a second, without a GPU, on whatever runs this."""


class Figure(NamedTuple):
    """What was measured, and what it may be at most."""

    name: str
    value: float
    unit: str
    target: float | None = None

    @property
    def missed(self) -> bool:
        return self.target is not None and self.value > self.target


def a_job(tasks: int) -> Iterator[Execution]:
    """Tasks that queue for the slots of three pools; one node fails a third of them, a few take very long."""
    chance = random.Random(1)
    slots = []
    for number in range(len(POOLS) * NODES_A_POOL):
        node = f"tvmps_{number:02x}{chance.getrandbits(24):06x}_d"
        start = NOON + chance.randrange(600) * SECOND
        slots += [(start + slot * SECOND, node, POOLS[number // NODES_A_POOL]) for slot in range(SLOTS_A_NODE)]
    failing = slots[7 * SLOTS_A_NODE][1]
    heapq.heapify(slots)
    for number in range(tasks):
        start, node, pool = heapq.heappop(slots)
        start += chance.randrange(1, 4 * SECOND)
        failed = chance.random() < (0.35 if node == failing else 0.012)
        seconds = chance.lognormvariate(4.3, 0.7) * (chance.random() if failed else 1)
        end = start + int(seconds * (25 if chance.random() < 0.0006 else 1) * SECOND)
        denied = failed and chance.random() < 0.15
        yield an_execution(
            account=ACCOUNT,
            job_id=JOB,
            task_id=f"frame-{number:05}",
            pool_id=pool,
            node_id=node,
            start=start,
            end=end,
            succeeded=not failed,
            exit_code=None if denied else chance.choice((1, 1, 1, 137, 139)) if failed else 0,
            failure_category="UserError" if denied else "",
            failure_code="FileUploadAccessDenied" if denied else "",
            failure_message="Access for one of the specified Azure Blob(s) is denied" if denied else "",
            retry_count=chance.randrange(1, 4) if failed or chance.random() < 0.02 else 0,
            max_task_retry_count=3,
        )
        heapq.heappush(slots, (end, node, pool))


def add_jobs(connection: str, number: int) -> None:
    """So many more rows of JobRollups, each as the one that is there but for its id and its end."""
    with TableServiceClient.from_connection_string(connection) as service:
        table = service.get_table_client(JOBS)
        row = dict(table.get_entity(ACCOUNT, JOB.lower()))
        end = row["lastEndTime"]
        rows = [
            row
            | {"RowKey": f"etl-{n:05}-hourly", "jobId": f"ETL-{n:05}-hourly", "lastEndTime": end.replace(minute=n % 60)}
            for n in range(number)
        ]
        for first in range(0, number, 100):
            table.submit_transaction([("create", row) for row in rows[first : first + 100]])


def command(connection: str, folder: Path, *arguments: str) -> float:
    """Seconds that `rollups` takes, from start to end of its process."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "reader", *arguments],
        cwd=folder,
        env={**os.environ, "RollupStorage": connection, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - started


FRAMES_SCRIPT = """([step, frames]) => new Promise((done) => {
    const move = new Function("frame", step);
    const times = [];
    let before = performance.now();
    const frame = () => {
        const now = performance.now();
        times.push(now - before);
        before = now;
        if (times.length > frames) return done(times.slice(1));
        move(times.length);
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
})"""
"""Milliseconds of each frame while a step of JavaScript moves something in each."""

SCROLL_TASKS = "document.querySelector('.tasktable .grid').scrollBy(0, 200)"
SCROLL_PAGE = "scrollBy(0, frame % 100 < 50 ? 45 : -45)"
PAN_TIMELINE = """document.querySelector('.timeline-canvas').dispatchEvent(
    new KeyboardEvent('keydown', { key: frame % 80 < 40 ? 'ArrowRight' : 'ArrowLeft' }))"""


def frames(page: Page, name: str, step: str) -> list[Figure]:
    times: list[float] = page.evaluate(FRAMES_SCRIPT, [step, FRAMES])
    ninety_fifth = sorted(times)[int(len(times) * 0.95)]
    return [
        Figure(f"{name}: frame, median", median(times), "ms"),
        Figure(f"{name}: frame, p95", ninety_fifth, "ms", FRAME_TARGET),
    ]


def blocked(page: Page, name: str, action: str) -> Figure:
    """How long the page is busy with an action of the user."""
    script = f"() => {{ const before = performance.now(); {action}; return performance.now() - before; }}"
    return Figure(name, page.evaluate(script), "ms")


def in_browser(browser: Browser, address: str, report: Path) -> Iterator[Figure]:
    with opened(browser) as page:
        started = time.perf_counter()
        page.goto(address)
        page.locator(".joblist .grid-body > .grid-row").first.wait_for()
        yield Figure("dashboard: jobs shown", time.perf_counter() - started, "s")
        yield from frames(page, "dashboard: scrolling the jobs", "document.querySelector('.grid').scrollBy(0, 200)")
    with opened(browser) as page:
        started = time.perf_counter()
        page.goto(report.as_uri())
        page.locator("[data-ready]").wait_for()
        yield Figure("report: loaded and drawn", time.perf_counter() - started, "s")
        yield blocked(
            page, "report: sorted by duration", "document.querySelector('[data-column=durationSeconds]').click()"
        )
        yield blocked(
            page, "report: sorted by task", "document.querySelector('.tasktable [data-column=taskId]').click()"
        )
        page.wait_for_timeout(500)
        yield from frames(page, "report: scrolling the tasks", SCROLL_TASKS)
        yield from frames(page, "report: scrolling the page", SCROLL_PAGE)
        page.locator(".timeline-canvas").scroll_into_view_if_needed()
        yield from frames(page, "report: timeline, all in sight, redrawn", PAN_TIMELINE)
        page.evaluate("for (let n = 0; n < 4; n++) document.querySelector('[aria-label=\"Zoom in\"]').click()")
        yield from frames(page, "report: timeline, zoomed, panned", PAN_TIMELINE)


def measure(tasks: int, jobs: int, tell: Any) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="reading-") as folder, Azurite() as azurite:
        connection, report = azurite.connection_string, Path(folder) / "report.html"
        executions = list(a_job(tasks))
        for first in range(0, tasks, FILLED_AT_ONCE):
            tell(f"Counting tasks: {first:,} of {tasks:,}")
            fill(connection, executions[first : first + FILLED_AT_ONCE])
        add_jobs(connection, jobs - 1)
        tell("Measuring")
        yield Figure(
            f"rollups jobs: {jobs:,} jobs as a table",
            command(connection, report.parent, "jobs", "--format", "table", "--limit", "0"),
            "s",
        )
        yield Figure(
            f"rollups jobs: the newest of {jobs:,}",
            command(connection, report.parent, "jobs", "--format", "table"),
            "s",
            2.0,
        )
        yield Figure(f"rollups report: {tasks:,} tasks", command(connection, report.parent, "report", JOB), "s", 20.0)
        yield Figure("report: size", report.stat().st_size / 1e6, "MB")
        with served(connection) as address:
            started = time.perf_counter()
            with urlopen(f"{address.removesuffix('/dashboard')}/jobs?limit={jobs}") as response:  # noqa: S310 - our own
                response.read()
            yield Figure(f"GET /api/jobs: {jobs:,} jobs", time.perf_counter() - started, "s", 2.0)
            if CHROMIUM is None:
                tell("No Chromium on this machine: the pages are not measured")
                return
            with sync_playwright() as playwright:
                browser = launched(playwright)
                yield from in_browser(browser, address, report)
                browser.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading", description=__doc__)
    parser.add_argument("--tasks", type=int, default=50_000, metavar="N", help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=10_000, metavar="N", help="default: %(default)s")
    arguments = parser.parse_args()
    console = Console()
    table = Table(title="Reading", title_justify="left")
    table.add_column("what")
    for column in ("measured", "target"):
        table.add_column(column, justify="right")
    missed = 0
    for figure in measure(arguments.tasks, arguments.jobs, lambda text: console.print(text, highlight=False)):
        target = "" if figure.target is None else f"< {figure.target:g} {figure.unit}"
        table.add_row(figure.name, f"{figure.value:.1f} {figure.unit}", target, style="red" if figure.missed else None)
        missed += figure.missed
    console.print(table)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
