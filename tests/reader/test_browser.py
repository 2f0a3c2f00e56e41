"""The dashboard and the report in a real browser: what a user does, and what a hostile id may not do.

Where no Chromium is installed these tests are skipped, and say so.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect, sync_playwright

from processors.events import Execution
from processors.settings import load_storage
from reader.accounts import account
from reader.queries import Rollups
from reader.report import write_report
from tests.core.examples import an_execution
from tests.reader.browser import CHROMIUM, launched, opened, served
from tests.reader.filled import fill

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: the pages are not tested (Debian: apt install chromium)"
)

NIGHTLY = "#/job/CONTOSO/nightly-42"
ROWS = ".grid-body > .grid-row"
PAINTED = """([canvas, color]) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4)
        if (`${data[at]}, ${data[at + 1]}, ${data[at + 2]}` === color) return true;
    return false;
}"""
"""Whether a canvas has pixels of a colour."""
BAR, FAILED_BAR = "99, 133, 221", "192, 41, 59"
"""The light theme's colours of what is drawn."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = launched(playwright)
        yield started
        started.close()


@pytest.fixture(scope="module")
def dashboard(connection: str) -> Iterator[str]:
    with served(connection) as address:
        yield address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with opened(browser) as blank:
        yield blank


def count(connection: str, *executions: Execution) -> None:
    """Fill an account: in a thread of its own, as Playwright runs an event loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(fill, connection, executions).result()


def rows(page: Page, table: str) -> Locator:
    """The rows of a table that are in sight."""
    return page.get_by_role("grid", name=table).locator(ROWS)


def first_cells(page: Page, table: str) -> list[str]:
    expect(rows(page, table).first).to_be_visible()
    return [text.strip() for text in rows(page, table).locator(".grid-cell:first-child").all_inner_texts()]


def expect_painted(page: Page) -> None:
    """The charts and the timeline have bars, and the timeline some that failed."""
    for canvas in page.locator("canvas").all():
        canvas.scroll_into_view_if_needed()
        page.wait_for_function(PAINTED, arg=[canvas.element_handle(), BAR])
    page.wait_for_function(PAINTED, arg=[page.locator(".timeline-canvas").element_handle(), FAILED_BAR])


def refuse(status: int, message: str) -> str:
    return json.dumps({"error": {"code": str(status), "message": message}})


# --- the list of jobs ------------------------------------------------------------------------------------------------


def test_jobs_are_listed_the_last_to_end_first(page: Page, dashboard: str) -> None:
    page.goto(dashboard)
    assert first_cells(page, "Jobs") == ["weekly", "Nightly-42", "Weekly", "<b>'=1+1'</b>"]
    expect(page.get_by_text("1 dead letter")).to_be_visible()
    expect(page.get_by_text("Storage answers")).to_be_visible()
    assert rows(page, "Jobs").nth(1).inner_text().split("\n")[:4] == ["Nightly-42", "CONTOSO", "201", "20"]


def test_jobs_are_sorted_by_a_column(page: Page, dashboard: str) -> None:
    page.goto(dashboard)
    page.get_by_role("button", name="Tasks").click()
    assert first_cells(page, "Jobs")[0] == "Nightly-42"
    expect(page.get_by_role("columnheader", name="Tasks")).to_have_attribute("aria-sort", "descending")
    page.get_by_role("button", name="Tasks").click()
    assert first_cells(page, "Jobs")[-1] == "Nightly-42"
    page.reload()  # the address has it
    assert first_cells(page, "Jobs")[-1] == "Nightly-42"


def test_jobs_are_filtered(page: Page, dashboard: str) -> None:
    page.goto(dashboard)
    expect(page.get_by_text("4 jobs", exact=True)).to_be_visible()
    page.get_by_role("combobox", name="Outcome").select_option("With failed tasks")
    expect(page.get_by_text("1 matching job")).to_be_visible()
    assert first_cells(page, "Jobs") == ["Nightly-42"]
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("combobox", name="Account").select_option("fabrikam")
    expect(page.get_by_text("1 matching job")).to_be_visible()
    assert first_cells(page, "Jobs") == ["weekly"]
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("When the last task ended").select_option("From … to …")
    page.get_by_label("From").fill("2026-11-23")
    page.get_by_label("To, with that day").fill("2026-11-23")
    expect(page.get_by_text("2 matching jobs")).to_be_visible()
    assert first_cells(page, "Jobs") == ["Nightly-42", "Weekly"]


def test_jobs_are_searched(page: Page, dashboard: str) -> None:
    page.goto(dashboard)
    expect(page.get_by_text("4 jobs", exact=True)).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("WEEK fabrikam")
    expect(page.get_by_text("1 matching job")).to_be_visible()
    page.keyboard.type("xx")
    expect(page.get_by_text("No job matches these filters.")).to_be_visible()


def test_the_list_refreshes_itself_and_keeps_the_focus(browser: Browser, empty_connection: str) -> None:
    count(empty_connection, an_execution(60, job_id="first"))
    with served(empty_connection) as address, opened(browser) as page:
        page.clock.install()
        page.goto(address)
        assert first_cells(page, "Jobs") == ["first"]
        rows(page, "Jobs").first.focus()
        count(empty_connection, an_execution(120, job_id="second"))
        page.clock.fast_forward(16_000)
        expect(rows(page, "Jobs")).to_have_count(2)
        assert first_cells(page, "Jobs") == ["second", "first"]
        expect(rows(page, "Jobs").nth(1)).to_be_focused()
        page.get_by_role("button", name="Pause refreshing").click()
        count(empty_connection, an_execution(180, job_id="third"))
        with_count = rows(page, "Jobs")
        page.clock.fast_forward(60_000)
        expect(page.get_by_text("Paused")).to_be_visible()
        expect(with_count).to_have_count(2)
        page.get_by_role("button", name="Refresh by itself again").click()
        expect(with_count).to_have_count(3)


def test_a_job_is_opened_by_keyboard_and_left_again(page: Page, dashboard: str) -> None:
    page.goto(dashboard)
    rows(page, "Jobs").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Nightly-42")).to_be_visible()
    page.go_back()
    expect(rows(page, "Jobs")).to_have_count(4)


def test_an_account_without_jobs_says_how_to_get_some(browser: Browser, empty_connection: str) -> None:
    with served(empty_connection) as address, opened(browser) as page:
        page.goto(address)
        expect(page.get_by_role("heading", name="No jobs yet")).to_be_visible()
        expect(page.get_by_text("make publish")).to_be_visible()


# --- a job -----------------------------------------------------------------------------------------------------------


def test_a_job_has_its_charts(page: Page, dashboard: str) -> None:
    page.goto(dashboard + NIGHTLY)
    expect(page.locator("canvas")).to_have_count(3)
    expect_painted(page)
    expect(page.get_by_role("img", name="Executions that ended, over time: 202 from 2026-11-22")).to_be_visible()
    expect(page.get_by_role("img", name="Executions by duration: 199 up to 16 s, 1 up to")).to_be_visible()
    expect(page.get_by_role("img", name="Timeline of 200 tasks on 4 nodes")).to_be_visible()
    expect(page.get_by_text("1 task without a node or a duration is not shown")).to_be_visible()
    expect(rows(page, "Nodes")).to_have_count(4)


def test_its_tasks_are_filtered_by_the_server(page: Page, dashboard: str) -> None:
    page.goto(dashboard + NIGHTLY)
    expect(page.get_by_text("200 tasks so far")).to_be_visible()
    page.get_by_role("grid", name="Tasks").evaluate("grid => grid.scrollTo(0, grid.scrollHeight)")
    expect(page.get_by_text("201 tasks", exact=True)).to_be_visible()
    page.get_by_label("Any outcome").select_option("Failed")
    expect(page.get_by_text("20 matching tasks")).to_be_visible()
    page.get_by_label("Node", exact=True).fill("tvm-2")
    expect(page.get_by_text("10 matching tasks")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Longer than").fill("1m")
    expect(page.get_by_text("2 matching tasks")).to_be_visible()
    page.get_by_role("button", name="BlobNotFound").click()
    expect(page.get_by_text("1 matching task")).to_be_visible()
    assert first_cells(page, "Tasks") == ["never-ran"]


def test_a_task_tells_its_earlier_executions(page: Page, dashboard: str) -> None:
    page.goto(dashboard + NIGHTLY)
    rows(page, "Tasks").first.click()
    dialog = page.get_by_role("dialog", name="Frame-0000")
    expect(dialog).to_contain_text("2026-11-22 12:00 UTC: failed, exit code 137")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_a_job_that_is_not_there(page: Page, dashboard: str) -> None:
    page.goto(f"{dashboard}#/job/contoso/none%2F%3Cb%3E")
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()
    expect(page.get_by_text("There is no job none/<b> in account contoso")).to_be_visible()
    page.get_by_role("link", name="All jobs").last.click()
    expect(rows(page, "Jobs")).to_have_count(4)


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_storage_goes_away_and_comes_back(page: Page, dashboard: str) -> None:
    page.goto(dashboard)
    expect(rows(page, "Jobs")).to_have_count(4)
    page.route("**/api/jobs?*", lambda route: route.fulfill(status=503, body=refuse(503, "storage is away")))
    page.get_by_role("combobox", name="Outcome").select_option("With failed tasks")
    expect(page.get_by_role("alert")).to_contain_text("What is shown is from")
    expect(rows(page, "Jobs")).to_have_count(4)
    page.unroute("**/api/jobs?*")
    page.get_by_role("button", name="Try again").click()
    expect(rows(page, "Jobs")).to_have_count(1)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_the_network_goes_away(page: Page, dashboard: str) -> None:
    page.goto(dashboard)
    expect(rows(page, "Jobs")).to_have_count(4)
    page.context.set_offline(True)
    expect(page.get_by_role("alert")).to_contain_text("This machine is offline")
    page.context.set_offline(False)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_the_key_is_asked_for_kept_in_the_tab_and_forgotten(page: Page, dashboard: str) -> None:
    def guarded(route: Route) -> None:
        if route.request.headers.get("x-functions-key") == "right":
            route.fallback()
        else:
            route.fulfill(status=401)

    page.route("**/api/jobs*", guarded)
    page.route("**/api/health", guarded)
    page.goto(dashboard)
    page.get_by_label("Key", exact=True).fill("wrong")
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_text("This key was refused")).to_be_visible()
    page.get_by_label("Key", exact=True).fill("right")
    page.keyboard.press("Enter")
    expect(rows(page, "Jobs")).to_have_count(4)
    assert (
        page.evaluate("[JSON.stringify(localStorage), location.href, document.cookie].join().includes('right')")
        is False
    )
    page.reload()
    expect(rows(page, "Jobs")).to_have_count(4)
    page.get_by_role("button", name="Forget key").click()
    expect(page.get_by_role("dialog", name="Function key")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


# --- how it looks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["", NIGHTLY])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_page(browser: Browser, dashboard: str, where: str, scheme: str) -> None:
    with opened(browser, width=390, scheme=scheme) as page:
        page.goto(dashboard + where)
        expect(page.locator(ROWS).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(14, 18, 24)" if scheme == "dark" else "rgb(245, 246, 248)")


def test_the_theme_is_chosen_and_kept(page: Page, dashboard: str) -> None:
    page.goto(dashboard)
    page.get_by_role("button", name="Use the dark theme").click()
    page.reload()
    expect(page.get_by_role("button", name="Use the light theme")).to_be_visible()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


# --- the report ------------------------------------------------------------------------------------------------------

HOSTILE = (
    "</script><script>alert('task')</script>",
    "<!--<script>",
    "<img src=x onerror=\"alert('img')\">",
    "\"'`&lt;\\u003c\u2028${1}",
    "javascript:alert(1)",
)


def report(connection: str, job: str, path: Path) -> str:
    """The address of a job's report, written to `path`."""
    with account(load_storage({"RollupStorage": connection})) as opened_account:
        rollups = Rollups(opened_account.tables)
        write_report(rollups, rollups.job(job), path, datetime(2026, 11, 24, tzinfo=UTC))
    return path.as_uri()


@pytest.mark.parametrize("width", [390, 1280])
def test_a_report_opens_without_a_network(browser: Browser, connection: str, tmp_path: Path, width: int) -> None:
    address = report(connection, "nightly-42", tmp_path / "report.html")
    with opened(browser, width=width) as page:
        page.context.set_offline(True)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        expect(rows(page, "Tasks").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        if width == 1280:  # on a phone a bar is thinner than a pixel, and has a colour of its own
            expect_painted(page)
        assert [url for url in asked if not url.startswith("data:")] == [address]


def test_tasks_of_a_report_are_sorted_filtered_and_searched(page: Page, connection: str, tmp_path: Path) -> None:
    page.goto(report(connection, "nightly-42", tmp_path / "report.html"))
    expect(page.get_by_text("201 tasks", exact=True)).to_be_visible()
    page.get_by_role("grid", name="Tasks").get_by_role("button", name="Duration").click()
    assert first_cells(page, "Tasks")[:2] == ["Frame-0000", "Frame-0077"]
    page.get_by_label("Search task").fill("tvm-2 failureexit")
    expect(page.get_by_text("10 matching tasks")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="BlobNotFound").click()
    assert first_cells(page, "Tasks") == ["never-ran"]
    rows(page, "Tasks").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="never-ran")).to_contain_text("no such blob")


def test_the_timeline_zooms_and_names_the_task_under_the_pointer(page: Page, connection: str, tmp_path: Path) -> None:
    page.goto(report(connection, "nightly-42", tmp_path / "report.html"))
    canvas = page.get_by_role("img", name="Timeline of")
    canvas.focus()
    before = canvas.screenshot()
    for _ in range(7):
        page.get_by_role("button", name="Zoom in").click()
    assert canvas.screenshot() != before
    page.get_by_role("button", name="Show all").click()
    canvas.hover(position={"x": 600, "y": 34})  # the lane of tvm-0, in which the first task took a day
    expect(page.locator(".timeline-tip")).to_contain_text("Frame-0000")
    page.mouse.down()
    page.mouse.up()
    expect(page.get_by_role("dialog", name="Frame-0000")).to_be_visible()


def test_no_id_acts_in_a_page(browser: Browser, empty_connection: str, tmp_path: Path) -> None:
    job = HOSTILE[0]
    texts = [
        {"task_id": text, "pool_id": text, "node_id": text, "failure_code": text, "failure_category": text,
         "failure_message": text}
        for text in HOSTILE
    ]  # fmt: skip
    count(
        empty_connection,
        *(an_execution(n, job_id=job, succeeded=False, exit_code=None, **each) for n, each in enumerate(texts)),
    )
    with opened(browser) as page:
        page.goto(report(empty_connection, job, tmp_path / "report.html"))
        expect(page.get_by_role("heading", level=1)).to_have_text(job)
        expect(page).to_have_title(f"{job} · Batch rollups")
        assert sorted(first_cells(page, "Tasks")) == sorted(text.strip() for text in HOSTILE)
        rows(page, "Tasks").first.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert page.locator("img:not([role])").count() == 0
    with served(empty_connection) as address, opened(browser) as page:
        page.goto(address)
        assert first_cells(page, "Jobs") == [job]
        rows(page, "Jobs").first.click()
        expect(page.get_by_role("heading", level=1)).to_have_text(job)
        expect(rows(page, "Tasks")).to_have_count(len(HOSTILE))
        expect(rows(page, "Nodes")).to_have_count(len(HOSTILE))
