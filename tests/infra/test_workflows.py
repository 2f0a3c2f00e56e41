"""The GitHub workflows and azure.yaml: read by linters that come as packages, and what they name exists."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from scripts import package
from tests.infra.files import FILES, ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
AZD: dict[str, Any] = YAML(typ="safe").load(ROOT / "azure.yaml")
SCRIPTS = Path(sys.executable).parent
CHOICES = re.findall(
    r"'([^']*)'", re.findall(r"@allowed\(\[(.*)\]\)\nparam openTelemetry ", FILES["main.bicep"].path.read_text())[0]
)
"""What OPEN_TELEMETRY may be."""
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def _steps(path: Path) -> list[dict[str, Any]]:
    jobs = YAML(typ="safe").load(path)["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


def _run(program: str, *arguments: str) -> None:
    files = [str(path) for path in WORKFLOWS]
    done = subprocess.run(
        [str(SCRIPTS / program), *arguments, *files], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_they_are_workflows() -> None:
    _run("check-jsonschema", "--builtin-schema", "vendor.github-workflows")


def test_they_are_safe() -> None:
    _run("zizmor", "--offline", "--pedantic", "--no-progress")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(path: Path) -> None:
    used = [step["uses"] for step in _steps(path) if "uses" in step]
    assert [name for name in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", name)] == []


def test_no_workflow_takes_a_secret() -> None:
    for path in WORKFLOWS:
        assert "secrets." not in path.read_text(encoding="utf-8")


def test_what_they_make_can_be_made() -> None:
    hooks = [service["hooks"]["prepackage"]["run"] for service in AZD["services"].values()]
    runs = [*hooks, *(step["run"] for path in WORKFLOWS for step in _steps(path) if "run" in step)]
    made = {target for run in runs for target in re.findall(r"\bmake ([a-z-]+)", run)}
    assert made - TARGETS == set()
    assert made >= {"audit", "package"}


def test_azd_finds_infra_and_app() -> None:
    infra = AZD["infra"]
    assert (ROOT / infra["path"] / f"{infra['module']}.bicep").is_file()
    (name,) = AZD["services"]
    site = FILES["app.bicep"].resources["site"].body
    assert f"'azd-service-name': '{name}'" in site["tags"].text
    assert (ROOT / AZD["services"][name]["project"] / "host.json").is_file()


def test_azd_deploys_the_package_that_its_hook_writes() -> None:
    (service,) = AZD["services"].values()
    assert ROOT / service["project"] / service["dist"] == package.FOLDER
    assert "--unpacked" in service["hooks"]["prepackage"]["run"]


@pytest.mark.parametrize("choice", CHOICES)
def test_azd_and_the_workflow_deploy_the_requirements_that_the_choice_needs(choice: str, tmp_path: Path) -> None:
    """Their lines, run by a shell with a `make` that writes down what it is asked for."""
    (service,) = AZD["services"].values()
    (workflow,) = (
        step for step in _steps(ROOT / ".github/workflows/deploy.yml") if "make package" in step.get("run", "")
    )
    assert workflow["env"] == {"OPEN_TELEMETRY": "${{ vars.OPEN_TELEMETRY }}"}
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    make.chmod(0o700)
    environment = {"PATH": f"{tmp_path}:{os.defpath}", "OPEN_TELEMETRY": choice}
    wanted = f"--requirements requirements-{choice}.txt" if choice else ""
    assert not choice or (ROOT / wanted.split()[-1]).is_file()
    for command in (service["hooks"]["prepackage"]["run"], workflow["run"]):
        made = subprocess.run(["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, check=True)
        target, arguments = made.stdout.rstrip("|").split("|")
        assert target == "package"
        assert arguments.removeprefix("ARGS=").removeprefix("--unpacked").strip() == wanted
