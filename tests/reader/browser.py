"""A real browser for the tests of the pages: Debian's Chromium, driven by Playwright."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from processors.settings import load_storage
from reader.accounts import account
from reader.api import DASHBOARD, Source
from reader.serve import Server

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""Where the browser is; None where there is none."""

_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
)
_COLLECT_VIOLATIONS = """
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) =>
        window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


def launched(playwright: Playwright) -> Browser:
    """The browser, started."""
    return playwright.chromium.launch(executable_path=CHROMIUM, args=_QUIET)


@contextmanager
def opened(browser: Browser, width: int = 1280, scheme: str = "light") -> Iterator[Page]:
    """A page; at its end it must have met no error, and nothing that its content security policy forbids."""
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": 844},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    context.add_init_script(_COLLECT_VIOLATIONS)
    page = context.new_page()
    page.set_default_timeout(15_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(f"a script of the data ran: {dialog.message}"))
    try:
        yield page
        assert errors == []
        assert page.evaluate("window.violations") == []
    finally:
        context.close()


@contextmanager
def served(connection: str) -> Iterator[str]:
    """The dashboard's address, over an account."""
    with account(load_storage({"RollupStorage": connection})) as opened_account:
        server = Server(Source(opened_account), "127.0.0.1", 0)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.url + DASHBOARD
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
