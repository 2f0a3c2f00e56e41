"""THIRD-PARTY.md: what ships, by whose licence. `python -m scripts.licences`, or `make licences`.

The rule: nothing is known by heart. Python packages are those of the files of requirements that may be deployed, their
licences those of the installed packages' metadata; npm packages are those that the built pages say they contain. A
licence that is in nobody's list of words is an error, so that somebody reads it first.
"""

import importlib.metadata
import json
import re
import sys
from collections.abc import Iterable
from importlib.metadata import PackageMetadata
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "THIRD-PARTY.md"
DEPLOYED = ("requirements.txt", "requirements-azure-monitor.txt", "requirements-otlp.txt")
"""The files of requirements that may be deployed; the first is, where nothing else is chosen (docs/telemetry.md)."""

ALLOWED = frozenset({"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0"})
"""SPDX identifiers of what may ship: nothing of them reaches our own code. MPL-2.0 does for changes of its own files,
of which we make none."""

_NAMES = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
}
"""Words that metadata have for a licence that SPDX calls otherwise. "BSD License" alone does not say which: isodate,
which says no more, has the text with three clauses in its metadata."""


class LicenceError(Exception):
    """What ships cannot be listed; the text says of which package."""


class Shipped(NamedTuple):
    """A package that is deployed; its licence as an SPDX expression."""

    name: str
    version: str
    licence: str


def python_packages(requirements: str) -> list[Shipped]:
    """Those of a file of requirements that this platform takes, as they are installed. Raises LicenceError."""
    text = (ROOT / requirements).read_text(encoding="utf-8")
    found = []
    for name in re.findall(r"^([a-z0-9][a-z0-9._-]*)==", text, re.MULTILINE):
        try:
            metadata = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            raise LicenceError(f"{name} is not installed: make setup") from None
        found.append(Shipped(name, metadata["Version"], _licence(name, metadata)))
    return sorted(found)


def npm_packages() -> list[Shipped]:
    """Those at the heads of the built pages' scripts."""
    heads = [path.read_text(encoding="utf-8").partition("*/")[0] for path in ROOT.glob("reader/web/dist/*.js")]
    if not heads:
        raise LicenceError("the pages are not built: make web")
    named = re.compile(r"^(@?[a-z0-9][a-z0-9./_-]*) ([0-9]\S*) \(([^()]+)\)$", re.MULTILINE)
    return sorted({Shipped(*found) for head in heads for found in named.findall(head)})


def locked_npm_packages() -> list[Shipped]:
    """Those that package-lock.json has for what ships, the developer's tools left out."""
    locked = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    return sorted(
        {
            Shipped(path.rpartition("node_modules/")[2], package["version"], package["license"])
            for path, package in locked.items()
            if path and not package.get("dev")
        }
    )


def not_allowed(packages: Iterable[Shipped]) -> list[Shipped]:
    """Those whose licence has a part that is not allowed."""
    return [package for package in packages if not set(re.split(r" (?:AND|OR) ", package.licence)) <= ALLOWED]


def document() -> str:
    """The text of THIRD-PARTY.md. Raises LicenceError."""
    always = python_packages(DEPLOYED[0])
    telemetry = [
        line
        for name in DEPLOYED[1:]
        for line in (
            f"With `{name}`, which is deployed instead where telemetry is on, these as well:",
            "",
            *_table(package for package in python_packages(name) if package not in always),
            "",
        )
    ]
    return "\n".join(
        [
            "# What ships of others",
            "",
            "Listed by `make licences` from the packages' own metadata; a test keeps it in step and each licence among",
            "those that are allowed (`scripts/licences.py`). What a developer's machine needs beyond it does not ship.",
            "",
            "## Python packages",
            "",
            "Of `requirements.txt`. Their licence texts are in their `dist-info` folders, wherever they are installed.",
            "",
            *_table(always),
            "",
            *telemetry,
            "## npm packages in the dashboard's and the report's pages",
            "",
            "Their notices and licence texts stand at the head of each script, and so in every report.",
            "",
            *_table(npm_packages()),
            "",
        ]
    )


def _table(packages: Iterable[Shipped]) -> list[str]:
    return ["| Package | Version | Licence |", "|---|---|---|", *(f"| {' | '.join(package)} |" for package in packages)]


def _licence(name: str, metadata: PackageMetadata) -> str:
    """Of a package: its expression, else the first of its older fields that is known."""
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = [line for line in metadata.get_all("Classifier") or () if line.startswith("License ::")]
    words: list[str] = [metadata.get("License") or "", *(line.rpartition(" :: ")[2] for line in classifiers)]
    known = [licence for word in words if (licence := _NAMES.get(word, word)) in ALLOWED]
    if not known:
        raise LicenceError(f"{name}: no licence is known by {words}")
    return known[0]


def main() -> int:
    """Write the list."""
    try:
        LIST.write_text(document(), encoding="utf-8")
    except LicenceError as error:
        print(f"licences: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
