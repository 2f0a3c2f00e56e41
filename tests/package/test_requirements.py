"""The files of requirements are what pyproject.toml names, compiled: seen in what is installed, with no network."""

import re
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from scripts.licences import DEPLOYED
from scripts.package import ROOT
from tests.package.requirements import EXTRAS, closure, direct, distributions, named, pins

DEVELOPMENT = ROOT / "requirements-dev.txt"
FILES = sorted(ROOT.glob("requirements*.txt"))

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
each_deployed = pytest.mark.parametrize("name", DEPLOYED)


def test_no_file_is_left_out() -> None:
    """`make lock` makes them, these tests hold them, and `make audit` asks about those that ship."""
    assert {path.name for path in FILES} == {*DEPLOYED, DEVELOPMENT.name}
    assert tuple(EXTRAS) == DEPLOYED
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (audit,) = re.findall(r"^\t.*pip-audit .*$", makefile, re.MULTILINE)
    assert re.findall(r" -r (\S+)", audit) == [*DEPLOYED]


@each_file
def test_every_requirement_is_one_version_with_hashes(path: Path) -> None:
    """pip takes hashes for all or for none, and has no hash to compare with for what is no release."""
    found = pins(path)
    assert len(found) == len({pin.name for pin in found})
    for pin in found:
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(pin.requirement.specifier)), pin.name
        assert pin.requirement.url is None
        assert pin.hashes, pin.name
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", given) for given in pin.hashes), pin.name


@each_file
def test_no_line_says_where_to_install_from(path: Path) -> None:
    """An index in the file would win over the one that a company's Azure may be told to use."""
    assert [line for line in path.read_text(encoding="utf-8").splitlines() if re.search(r"://|^\s*-", line)
            and not line.startswith("    --hash=sha256:")] == []  # fmt: skip


@each_deployed
def test_what_pyproject_names_is_pinned_to_the_same_version(name: str) -> None:
    pinned = {pin.name: str(pin.requirement.specifier) for pin in pins(ROOT / name)}
    assert {canonicalize_name(r.name): str(r.specifier) for r in named(EXTRAS[name])}.items() <= pinned.items()


@each_deployed
def test_the_rest_is_exactly_what_those_require(name: str) -> None:
    installed = distributions()
    here = [pin for pin in pins(ROOT / name) if pin.requirement.marker is None or pin.requirement.marker.evaluate()]
    assert {pin.name for pin in here} == closure(direct(EXTRAS[name]), installed)
    for pin in here:
        assert pin.requirement.specifier.contains(installed[pin.name].version), pin.name


@each_deployed
def test_what_is_deployed_with_telemetry_has_all_that_is_deployed_without(name: str) -> None:
    pinned = {pin.name: pin for pin in pins(ROOT / name)}
    assert [pin.name for pin in pins(ROOT / DEPLOYED[0]) if pinned.get(pin.name) != pin] == []


@each_deployed
def test_the_tests_run_with_what_is_deployed(name: str) -> None:
    """The files are installed together: a package of several has one version, and the same files to choose from."""
    development = {pin.name: pin for pin in pins(DEVELOPMENT)}
    for pin in pins(ROOT / name):
        assert str(development[pin.name].requirement.specifier) == str(pin.requirement.specifier)
        assert development[pin.name].hashes == pin.hashes
