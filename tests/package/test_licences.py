"""What ships, by whose licence: the list is in step, every licence is allowed, and every notice ships too."""

import importlib.metadata

import pytest

from scripts import licences
from scripts.licences import ROOT, LicenceError, Shipped
from tests.package.requirements import closure, direct, distributions


def test_the_list_is_in_step() -> None:
    assert licences.LIST.read_text(encoding="utf-8") == licences.document(), "run `make licences`"


def test_the_list_has_all_that_ships() -> None:
    assert {package.name for package in licences.python_packages()} >= closure(direct(), distributions())
    assert licences.npm_packages() == licences.locked_npm_packages()
    assert {package.name for package in licences.npm_packages()} >= {"echarts", "zrender"}


def test_every_licence_is_allowed() -> None:
    assert licences.not_allowed([*licences.python_packages(), *licences.npm_packages()]) == []


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
        licences.python_packages()


@pytest.mark.parametrize("page", ["dashboard.js", "report.js"])
def test_the_pages_keep_the_notices_of_what_is_in_them(page: str) -> None:
    head = (ROOT / "reader" / "web" / "dist" / page).read_text(encoding="utf-8").partition("*/")[0]
    for package in licences.npm_packages():
        assert f"\n{package.name} {package.version} ({package.licence})\n" in head
    for text in ("NOTICE", "LICENSE", "licenses/LICENSE-d3"):  # d3 is within ECharts
        assert (ROOT / "node_modules" / "echarts" / text).read_text(encoding="utf-8").strip() in head
    assert (ROOT / "node_modules" / "zrender" / "LICENSE").read_text(encoding="utf-8").strip() in head
