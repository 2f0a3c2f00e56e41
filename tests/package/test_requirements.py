"""requirements.txt is what pyproject.toml names, compiled: known from the installed packages, without a network."""

import re
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from scripts.package import ROOT
from tests.package.requirements import closure, direct, distributions, named, pins

RUNTIME = ROOT / "requirements.txt"
DEVELOPMENT = ROOT / "requirements-dev.txt"


@pytest.mark.parametrize("path", [RUNTIME, DEVELOPMENT], ids=lambda path: path.name)
def test_every_requirement_is_one_version_with_hashes(path: Path) -> None:
    """pip takes hashes for all or for none, and has no hash to compare with for what is no release."""
    found = pins(path)
    assert len(found) == len({pin.name for pin in found})
    for pin in found:
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(pin.requirement.specifier)), pin.name
        assert pin.requirement.url is None
        assert pin.hashes, pin.name
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", given) for given in pin.hashes), pin.name


@pytest.mark.parametrize("path", [RUNTIME, DEVELOPMENT], ids=lambda path: path.name)
def test_no_line_says_where_to_install_from(path: Path) -> None:
    """An index in the file would win over the one that a company's Azure may be told to use."""
    assert [line for line in path.read_text(encoding="utf-8").splitlines() if re.search(r"://|^\s*-", line)
            and not line.startswith("    --hash=sha256:")] == []  # fmt: skip


def test_what_pyproject_names_is_pinned_to_the_same_version() -> None:
    pinned = {pin.name: str(pin.requirement.specifier) for pin in pins(RUNTIME)}
    assert {canonicalize_name(r.name): str(r.specifier) for r in named()}.items() <= pinned.items()


def test_the_rest_is_exactly_what_those_require() -> None:
    installed = distributions()
    here = [pin for pin in pins(RUNTIME) if pin.requirement.marker is None or pin.requirement.marker.evaluate()]
    assert {pin.name for pin in here} == closure(direct(), installed)
    for pin in here:
        assert pin.requirement.specifier.contains(installed[pin.name].version), pin.name


def test_the_tests_run_with_what_is_deployed() -> None:
    """Both files are installed together: a package of both has one version, and the same files to choose from."""
    development = {pin.name: pin for pin in pins(DEVELOPMENT)}
    for pin in pins(RUNTIME):
        assert str(development[pin.name].requirement.specifier) == str(pin.requirement.specifier)
        assert development[pin.name].hashes == pin.hashes
