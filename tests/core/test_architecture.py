"""Which module may know which: read from the source, so that an import inside a function counts too."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PURE = ("records", "events", "metrics", "rollups", "plan", "columns", "table_wire", "limits", "errors")
IMPURE = {"azure", "asyncio", "time", "os", "random", "socket", "pathlib", "logging", "threading", "secrets"}


def imports(path: Path) -> set[str]:
    """The full names of the modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:  # a relative one stays in its package
            assert node.module is not None
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def sources(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found
    return found


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_imports_nothing_that_is_not(module: str) -> None:
    """No Azure, no I/O, no clock, no chance; nor a module of ours that has them."""
    path = ROOT / "processors" / f"{module}.py"
    assert packages(path).isdisjoint(IMPURE)
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("processors.")}
    assert ours <= set(PURE)


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_reads_no_clock(module: str) -> None:
    text = (ROOT / "processors" / f"{module}.py").read_text(encoding="utf-8")
    assert re.findall(r"\b(?:utcnow|now|today|open|print)\(", text) == []


def test_only_tables_and_dead_letters_and_what_builds_them_talk_to_storage() -> None:
    folder = ROOT / "processors"
    knowing = {str(path.relative_to(folder)) for path in sources("processors") if "azure" in packages(path)}
    assert knowing == {
        "tables.py",
        "table_http.py",
        "table_transport.py",
        "dead_letter_blobs.py",
        "azure_errors.py",
        "clients.py",
    }


def test_only_telemetry_knows_opentelemetry() -> None:
    for folder in ("processors", "reader", "devstack"):
        knowing = {path.name for path in sources(folder) if "opentelemetry" in packages(path)}
        assert knowing == ({"telemetry.py"} if folder == "processors" else set())


def test_nothing_but_the_command_replays() -> None:
    """`ingest` knows dead letters, a replay knows `ingest`: no way back."""
    assert [path.name for path in sources("processors") if "processors.replay" in imports(path)] == []


COUNTING = {"processors.ingest", "processors.replay", "processors.services", "processors.clients"}


def test_of_the_read_side_only_what_replays_can_count() -> None:
    folder = ROOT / "reader"
    knowing = {str(path.relative_to(folder)) for path in sources("reader") if imports(path) & COUNTING}
    assert knowing == {"backfill.py", "cli/dead_letters.py", "cli/services.py"}


def test_the_library_is_without_the_command_line() -> None:
    """What is beside `reader/cli` neither prints nor knows who asks; what writes files needs none of it."""
    for path in sources("reader"):
        if "cli" not in path.relative_to(ROOT / "reader").parts and path.name != "__main__.py":
            assert packages(path).isdisjoint({"typer", "rich", "click"}), path.name
            assert not any(name.startswith("reader.cli") for name in imports(path)), path.name


def test_the_write_side_knows_neither_the_read_side_nor_the_local_azure() -> None:
    for path in sources("processors"):
        assert packages(path).isdisjoint({"reader", "devstack", "tests", "function_app"}), path.name


def test_the_local_azure_knows_nothing_of_the_write_side() -> None:
    for path in sources("devstack"):
        assert packages(path).isdisjoint({"processors", "tests"}), path.name


def test_the_function_app_is_bindings_only() -> None:
    standard = {"os", "typing"}
    assert packages(ROOT / "function_app.py") - standard == {"azure", "processors", "reader"}
    azure = {name for name in imports(ROOT / "function_app.py") if name.startswith("azure")}
    assert azure == {"azure.functions"}
    reader = {name for name in imports(ROOT / "function_app.py") if name.startswith("reader")}
    # `retention` is imported when the timer runs: see the test of what is imported at the start.
    assert reader == {"reader.hosted", "reader.hosted.Hosted", "reader.retention", "reader.retention.retain"}


NOT_DEPLOYED = {"typer", "rich", "click", "pandas", "pyarrow", "playwright"}
"""Packages that requirements.txt does not have."""


def test_what_the_function_app_imports_is_deployed() -> None:
    """Followed from function_app.py through all modules of ours, none of which is of the command line."""
    found: set[Path] = set()
    waiting = [ROOT / "function_app.py"]
    while waiting:
        path = waiting.pop()
        found.add(path)
        for name in imports(path):
            module = ROOT.joinpath(*name.split("."))
            named = (module.with_suffix(".py"), module / "__init__.py")
            waiting.extend(source for source in named if source.is_file() and source not in found)
    assert ROOT / "reader" / "api.py" in found
    for path in found:
        assert packages(path).isdisjoint(NOT_DEPLOYED | {"devstack", "tests"}), path
        assert ROOT / "reader" / "cli" not in path.parents, path


ITS_SETTINGS = {
    "EventHubName": "h",
    "EventHubConsumerGroup": "g",
    "EventHubConnection": "Endpoint=sb://h",
    "RollupStorage": "UseDevelopmentStorage=true",
}


def test_only_what_every_start_needs_is_imported_at_the_start() -> None:
    """The read side, telemetry and the SDKs of storage would slow it down, each as much as all the rest together."""
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, function_app; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
        env=ITS_SETTINGS,
    ).stdout.split()
    assert {name for name in loaded if name.startswith("reader")} == {"reader", "reader.hosted"}
    late = ("opentelemetry", "azure.monitor", "azure.core", "azure.data", "azure.storage", "azure.identity", "aiohttp")
    assert [name for name in loaded if name.startswith(late)] == []
