"""`rollups serve`."""

import signal
import sys
import threading
import webbrowser
from http.server import ThreadingHTTPServer
from typing import Annotated

import typer

from reader.cli.options import Storage, open_account
from reader.queries import Rollups

_PORT = 8642


def serve(
    port: Annotated[int, typer.Option(min=0, max=65_535, metavar="PORT", help="0: a free one.")] = _PORT,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0: for everybody.")
    ] = "127.0.0.1",
    storage: Storage = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the dashboard in a browser.")] = False,
) -> None:
    """The dashboard and the HTTP API, from this machine, until Ctrl-C."""
    # Imported here: no other command needs a server.
    from reader.api import DASHBOARD, Source
    from reader.serve import Server, is_loopback

    with open_account(storage) as account:
        # A wrong name or a missing role is better said now than in a browser.
        next(Rollups(account.tables).jobs(columns=["jobId"]), None)
        with Server(Source(account), host, port) as server:
            if not is_loopback(host):
                typer.echo("rollups: whoever reaches this port can read the rollups, without a key", err=True)
            typer.echo(f"Dashboard  {server.url}{DASHBOARD}\nAPI        {server.url}/api/jobs\nCtrl-C stops.")
            sys.stdout.flush()  # it may be piped, and this is all it will say
            if open_:
                webbrowser.open(server.url + DASHBOARD)
            _until_stopped(server)


def _until_stopped(server: ThreadingHTTPServer) -> None:
    """Serve until SIGINT or SIGTERM. A second Ctrl-C does not wait for anything."""

    def stop(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # From this thread it would wait for itself.
        threading.Thread(target=server.shutdown, daemon=True).start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    server.serve_forever()
