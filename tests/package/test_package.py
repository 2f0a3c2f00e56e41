"""What is in the package, whichever tool reads .funcignore."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts import package
from scripts.package import ROOT, PackageError, build, deployed_files

PAGES = ("dashboard.css", "dashboard.html", "dashboard.js", "icon.svg", "report.css", "report.html", "report.js")


def tracked(*folders: str) -> set[str]:
    """The Python sources in folders."""
    return {path for path in project_files(*folders) if path.endswith(".py")}


def project_files(*folders: str) -> list[str]:
    """The files of the project, by default all, as git has them or would."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [path for path in listed if (ROOT / path).exists()]


def test_the_package_is_the_app_and_nothing_else(app: Path) -> None:
    files = {path.relative_to(app).as_posix() for path in app.rglob("*") if path.is_file()}
    reader = {path for path in tracked("reader") if not path.startswith(("reader/cli/", "reader/__main__.py"))}
    pages = {f"reader/web/dist/{name}" for name in PAGES}
    assert files == {"function_app.py", "host.json", "requirements.txt"} | tracked("processors") | reader | pages


def core_tools_denies(lines: list[str], path: str) -> bool:
    """Whether `func` leaves a path out: a line is the beginning of a path, up to the end of a word.

    Rule: GitIgnoreParser.cs of Azure Functions Core Tools 4. `*` takes what has no slash, `**` anything, both at least
    a character; a slash before it all is nothing.
    """
    patterns = [line.removeprefix("/") for line in lines if line and not line.startswith("#")]
    parts = {"**": "(.+)", "*": r"([^/]+)"}
    as_regex = ["".join(parts.get(p, re.escape(p)) for p in re.split(r"(\*\*|\*)", pattern)) for pattern in patterns]
    return re.match(rf"({'|'.join(as_regex)})\b", path) is not None


def test_core_tools_read_the_same_of_funcignore() -> None:
    lines = (ROOT / ".funcignore").read_text(encoding="utf-8").splitlines()
    assert not any(line.startswith("!") for line in lines)  # Core Tools let these win wherever they stand
    made = [
        *(f"reader/web/dist/{page}" for page in PAGES), "__pycache__/function_app.cpython-313.pyc",
        "processors/__pycache__/write.cpython-313.pyc", "reader/web/__pycache__/x.pyc", ".venv/bin/python",
        "node_modules/echarts/index.js", "local.settings.json", "report.html", "mutants/processors/plan.py",
        ".azure/.env", "batch_rollups.egg-info/PKG-INFO", "dist/app.zip", "rollups_env/.env",
    ]  # fmt: skip
    assert {path for path in {*project_files(), *made} if not core_tools_denies(lines, path)} == set(
        deployed_files(ROOT)
    )


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A project with the least that can be packed."""
    shutil.copy(ROOT / ".funcignore", tmp_path)
    for path in ("function_app.py", "host.json", "requirements.txt", "processors/__init__.py", "reader/__init__.py",
                 "reader/web/dist/dashboard.html", "tests/test_x.py", "README.md"):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    return tmp_path


def test_the_same_files_make_the_same_zip(small: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.mktemp("zips")
    build(small, target / "first.zip")
    for path in small.rglob("*.py"):
        path.touch(mode=0o600)
        path.chmod(0o700)
    build(small, target / "second.zip")
    assert (target / "first.zip").read_bytes() == (target / "second.zip").read_bytes()
    assert sorted(path.name for path in target.iterdir()) == ["first.zip", "second.zip"]


def test_another_file_may_be_deployed_as_its_requirements(
    small: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = tmp_path_factory.mktemp("zips") / "package.zip"
    (small / "requirements-other.txt").write_text("other")
    build(small, target, small / "requirements-other.txt")
    with zipfile.ZipFile(target) as archive:
        assert archive.read("requirements.txt") == b"other"
        assert "requirements-other.txt" not in archive.namelist()


def test_the_folder_is_the_zip_unpacked_and_nothing_that_was_there(
    small: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = tmp_path_factory.mktemp("folders") / "app"
    (target / "old").mkdir(parents=True)
    (small / "requirements-other.txt").write_text("other")
    package.build_unpacked(small, target, small / "requirements-other.txt")
    files = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert files == set(deployed_files(small))
    assert not (target / "old").exists()
    assert (target / "requirements.txt").read_text() == "other"


def test_requirements_that_are_not_there_are_an_error(small: Path) -> None:
    with pytest.raises(PackageError, match=r"requirements-typo\.txt: there is no such file"):
        build(small, small / "package.zip", small / "requirements-typo.txt")


@pytest.mark.parametrize("forgotten", ["passwords.txt", "notes/today.py"])
def test_a_file_that_nobody_meant_to_deploy_is_an_error(small: Path, forgotten: str) -> None:
    (small / forgotten).parent.mkdir(exist_ok=True)
    (small / forgotten).write_text("x")
    with pytest.raises(PackageError, match=rf"not in \.funcignore: {forgotten.split('/')[0]}$"):
        deployed_files(small)


@pytest.mark.parametrize(
    ("lost", "says"), [("host.json", "missing: host.json"), ("reader/web/dist/dashboard.html", "make web")]
)
def test_a_package_without_a_part_is_not_built(small: Path, lost: str, says: str) -> None:
    (small / lost).unlink()
    with pytest.raises(PackageError, match=says):
        deployed_files(small)


def test_bytecode_is_used_without_a_look_at_its_source(tmp_path: Path) -> None:
    """That is what saves the compiling where the folder is read-only and times were lost in a zip."""
    source = tmp_path / "app" / "module.py"
    source.parent.mkdir()
    source.write_text("print('from bytecode')\n")
    package.compile_bytecode(source.parent)
    source.write_text("raise RuntimeError('compiled again')\n")
    code = f"import sys; sys.path.insert(0, {str(source.parent)!r}); import module"
    ran = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "from bytecode\n"
