"""The package under Microsoft's worker library, with what requirements.txt brings and nothing else of ours.

Host and worker are two processes, as in Azure: only the host has this project's development packages.
"""

import ast
import importlib.metadata
import json
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from devstack.child import Child
from devstack.consumption import wait_until_consumed
from devstack.stack import SAMPLE_SETTINGS, Stack
from devstack.verdict import ExpectedDeadLetters, Tables, disagreements
from devstack.workload import Workload
from scripts.package import ROOT, site_packages_of
from tests.integration.harness import send
from tests.package.requirements import closure, direct, distributions

WORKER_PACKAGES = ("azure-functions-runtime", "azurefunctions-extensions-base", "protobuf")
"""What the worker in Azure brings. Those of its requirements that the app has as well come from the app."""
OF_THE_WORKER = {"azure_functions_runtime", "azurefunctions", "google", "devstack"}
OPTIONAL = {"reader/export.py": {"pandas", "pyarrow"}, "processors/telemetry.py": {"opentelemetry"}}
"""Imports within functions that say what to install where it is missing; no function of the app gets there, unless a
setting has telemetry on."""
WITH_AN_IDENTITY_ONLY = {"azure-identity"}
"""Imported where a setting names an endpoint in place of a connection string: there is no identity here."""
REPORT_SECONDS = 30.0


@dataclass(frozen=True)
class Ran:
    """What is known after the run. `modules` is where each of the worker's modules came from."""

    modules: dict[str, Path]
    base: Path
    worker_packages: Path
    disagreements: list[str]
    answers: dict[str, tuple[int, bytes]]
    log: str


@pytest.fixture(scope="module")
def worker_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worker") / "packages"
    pins = [f"{name}=={importlib.metadata.version(name)}" for name in WORKER_PACKAGES]
    command = [str(ROOT / "scripts" / "uv"), "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*command, "--python", sys.executable, "--target", str(folder), *pins], check=True)
    (folder / "devstack").symlink_to(ROOT / "devstack")
    return folder


@pytest.fixture(scope="module")
def ran(app: Path, python: Path, worker_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The sample, processed; then a page of the dashboard and a list of jobs, asked for."""
    folder = tmp_path_factory.mktemp("run")
    workload = Workload(seed=9, tasks=300)
    with Stack(instances=0, logs=folder) as stack:
        values = json.loads(SAMPLE_SETTINGS.read_text())["Values"] | {
            "AzureWebJobsStorage": stack.storage_connection,
            "RollupStorage": stack.storage_connection,
            "EventHubConnection": stack.event_hub_connection,
        }
        (folder / "settings.json").write_text(json.dumps({"Values": values}))
        report = folder / "report.json"
        arguments = [str(python), str(worker_packages), str(report), "--app", str(app)]
        arguments += ["--settings", str(folder / "settings.json"), "--http-port", "0", "--instance", "package"]
        host = Child("package", "tests.package.host", arguments, log=folder / "package.log")
        stack.hosts.append(host)
        try:
            port = host.start()["httpPort"]
            expected = ExpectedDeadLetters(stack.event_hub_name)
            send(stack, expected.watch(workload.messages()))
            wait_until_consumed(stack)
            found = disagreements(Tables(stack.storage_connection), workload.executions(), expected.names)
            answers = {path: get(f"http://127.0.0.1:{port}/api/{path}") for path in ("jobs", "dashboard/", "health")}
        finally:
            stack.hosts.remove(host)
            host.stop()
        wait_for(report)
    reported = json.loads(report.read_text())
    modules = {name: Path(path) for name, path in reported["modules"].items() if path and name != "__main__"}
    log = (folder / "package.log").read_text()
    return Ran(modules, Path(reported["base"]), worker_packages, found, answers, log)


def get(url: str) -> tuple[int, bytes]:
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310  our own server
        return response.status, response.read()


def wait_for(path: Path) -> None:
    until = time.monotonic() + REPORT_SECONDS
    while not path.exists():
        assert time.monotonic() < until, f"{path.name} was not written"
        time.sleep(0.05)


def test_the_sample_is_in_the_tables(ran: Ran) -> None:
    assert not ran.disagreements, "\n".join(ran.disagreements[:20])


def test_the_api_and_the_dashboard_answer(ran: Ran) -> None:
    assert {path: status for path, (status, _) in ran.answers.items()} == dict.fromkeys(ran.answers, 200)
    assert json.loads(ran.answers["jobs"][1])["jobs"]
    assert b"<script" in ran.answers["dashboard/"][1]


def test_nothing_failed(ran: Ran) -> None:
    assert "ERROR" not in ran.log


def test_every_module_comes_from_the_package_its_requirements_or_python(ran: Ran, app: Path, python: Path) -> None:
    packages = site_packages_of(python)
    standard = [path for path in (ran.base / "lib").glob("python3*") if path.is_dir()]
    outside = {
        name: str(path)
        for name, path in ran.modules.items()
        if not any(path.is_relative_to(folder) for folder in (app, packages))
        and not (any(map(path.is_relative_to, standard)) and "site-packages" not in path.parts)
        and not (path.is_relative_to(ran.worker_packages) and name.split(".")[0] in OF_THE_WORKER)
    }
    assert outside == {}
    assert ran.modules["function_app"] == app / "function_app.py"
    assert ran.modules["azure.functions"].is_relative_to(packages)


def owners(python: Path) -> dict[Path, str]:
    """Which package each installed file is of."""
    return {
        Path(str(file.locate())): name
        for name, distribution in distributions(site_packages_of(python)).items()
        for file in distribution.files or ()
    }


def test_every_requirement_is_needed(ran: Ran, python: Path) -> None:
    """What pyproject.toml names was imported, by us or by a client on our behalf; the rest is what that requires."""
    owner = owners(python)
    used = {owner[path] for path in ran.modules.values() if path in owner}
    imported = imported_packages(python)
    assert direct() - used == WITH_AN_IDENTITY_ONLY
    assert imported >= WITH_AN_IDENTITY_ONLY
    needed = closure(direct(), distributions(site_packages_of(python)))
    assert imported <= needed
    assert distributions(site_packages_of(python)).keys() == needed


def imported_packages(python: Path) -> set[str]:
    """The packages that the app's sources import, wherever they do. Fails where its environment lacks one."""
    names: set[str] = set()
    for path in [ROOT / "function_app.py", *(ROOT / "processors").rglob("*.py"), *(ROOT / "reader").rglob("*.py")]:
        relative = path.relative_to(ROOT)
        if relative.parts[:2] == ("reader", "cli") or relative.name == "__main__.py":
            continue
        own = {"processors", "reader", *sys.stdlib_module_names} | OPTIONAL.get(relative.as_posix(), set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found = [node.module or ""]
            else:
                continue
            names |= {name for name in found if name.split(".")[0] not in own}
    find = "import importlib.util as u, json, sys; print(json.dumps({n: u.find_spec(n).origin for n in sys.argv[1:]}))"
    ran = subprocess.run([str(python), "-I", "-c", find, *sorted(names)], check=True, capture_output=True, text=True)
    owner = owners(python)
    return {owner[Path(origin)] for origin in json.loads(ran.stdout).values()}
