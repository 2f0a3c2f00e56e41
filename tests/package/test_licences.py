"""What ships, by whose licence: the list is in step, every licence is allowed, and every notice ships too."""

import importlib.metadata

import pytest

from scripts import licences
from scripts.licences import DEPLOYED, ROOT, LicenceError, Shipped
from tests.package.requirements import EXTRAS, closure, direct, distributions


def test_the_list_is_in_step() -> None:
    assert licences.LIST.read_text(encoding="utf-8") == licences.document(), "run `make licences`"


@pytest.mark.parametrize("requirements", DEPLOYED)
def test_the_list_has_all_that_ships(requirements: str) -> None:
    shipped = licences.python_packages(requirements)
    assert {package.name for package in shipped} >= closure(direct(EXTRAS[requirements]), distributions())
    document = licences.document()
    assert [package for package in shipped if f"\n| {' | '.join(package)} |\n" not in document] == []


def test_the_list_has_what_is_in_the_pages() -> None:
    assert licences.npm_packages() == licences.locked_npm_packages()
    assert {package.name for package in licences.npm_packages()} >= {"echarts", "zrender"}


def test_every_licence_is_allowed() -> None:
    python = [package for requirements in DEPLOYED for package in licences.python_packages(requirements)]
    assert licences.not_allowed([*python, *licences.npm_packages()]) == []


@pytest.mark.parametrize("licence", ["GPL-3.0-only", "MIT AND GPL-2.0-only", "UNLICENSED", ""])
def test_another_licence_is_not(licence: str) -> None:
    package = Shipped("x", "1", licence)
    assert licences.not_allowed([Shipped("y", "1", "Apache-2.0 OR BSD-3-Clause"), package]) == [package]


def test_a_package_that_does_not_say_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = importlib.metadata.metadata("pytest")
    for field in ("License-Expression", "License", "Classifier"):
        del silent[field]  # type: ignore[attr-defined]  # a message of the email package
    monkeypatch.setattr(importlib.metadata, "metadata", lambda _: silent)
    with pytest.raises(LicenceError, match=r"aiohappyeyeballs: no licence is known by \[''\]"):
        licences.python_packages("requirements.txt")


@pytest.mark.parametrize("page", ["dashboard.js", "report.js"])
def test_the_pages_keep_the_notices_of_what_is_in_them(page: str) -> None:
    head = (ROOT / "reader" / "web" / "dist" / page).read_text(encoding="utf-8").partition("*/")[0]
    for package in licences.npm_packages():
        assert f"\n{package.name} {package.version} ({package.licence})\n" in head
    for text in ("NOTICE", "LICENSE", "licenses/LICENSE-d3"):  # d3 is within ECharts
        assert (ROOT / "node_modules" / "echarts" / text).read_text(encoding="utf-8").strip() in head
    assert (ROOT / "node_modules" / "zrender" / "LICENSE").read_text(encoding="utf-8").strip() in head
