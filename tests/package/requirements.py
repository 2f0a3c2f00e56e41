"""What the files of requirements pin and pyproject.toml names, and what installed packages say that they require."""

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.package import ROOT

EXTRAS = {
    "requirements.txt": None,
    "requirements-azure-monitor.txt": "azure-monitor",
    "requirements-otlp.txt": "otlp",
}
"""The files that may be deployed, each with the extra of pyproject.toml that it is compiled with."""

type Installed = Mapping[str, importlib.metadata.Distribution]


@dataclass(frozen=True, slots=True)
class Pin:
    """A requirement of such a file."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)


def pins(path: Path) -> list[Pin]:
    """The requirements of a file, a line ended by a backslash with the next. Raises where a line is anything else."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        requirement, *hashes = re.split(r"\s+--hash=", line.strip())
        found.append(Pin(Requirement(requirement), tuple(hashes)))
    return found


def named(extra: str | None = None) -> list[Requirement]:
    """What pyproject.toml names for the app, and for an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"][extra] if extra else []
    return [Requirement(line) for line in [*project["dependencies"], *optional]]


def direct(extra: str | None = None) -> set[str]:
    """Their names."""
    return {canonicalize_name(requirement.name) for requirement in named(extra)}


def distributions(*site_packages: Path) -> Installed:
    """The packages installed in folders, by default in those of this Python."""
    found = importlib.metadata.distributions(path=[str(folder) for folder in site_packages] or sys.path)
    return {canonicalize_name(distribution.name): distribution for distribution in found}


def closure(names: Iterable[str], installed: Installed) -> set[str]:
    """The packages named and all that they require on this machine, of no extra."""
    needed, waiting = set[str](), [*names]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            requires = map(Requirement, installed[name].requires or ())
            waiting += [
                canonicalize_name(r.name) for r in requires if r.marker is None or r.marker.evaluate({"extra": ""})
            ]
    return needed
