"""The package: what is deployed, as a zip. `python -m scripts.package`, or `make package`.

The rule: .funcignore alone says what is in it, so that `func azure functionapp publish` deploys the same files; what it
forgot to say is an error, not a surprise in Azure. The same files make the same zip, byte for byte.

By default Azure installs requirements.txt (remote build). With `--vendored` the packages for Linux on x86-64 are in
the zip, where the Python worker looks for them, with the bytecode of all: the app's folder is read-only in Azure, so
that without it every start compiles every source again.
"""

import argparse
import compileall
import json
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pathspec

ROOT = Path(__file__).resolve().parent.parent
ZIP = ROOT / "dist" / "app.zip"
FOLDER = ROOT / "dist" / "app"
"""Where the package is as a folder, which `azd` packs by itself."""
DEPLOYED = frozenset({"function_app.py", "host.json", "requirements.txt", "processors", "reader"})
"""All that may stand at the top of the package, beside the vendored packages."""
SITE_PACKAGES = ".python_packages/lib/site-packages"
"""Where the Python worker looks for packages that were not installed by a remote build."""
PLATFORM = "x86_64-manylinux_2_28"
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can name."""
RUNS = 3


class PackageError(Exception):
    """The package cannot be built; the text says what is in the way."""


def deployed_files(root: Path) -> list[str]:
    """The files that .funcignore leaves, as sorted relative paths. Raises PackageError for one it should name."""
    ignored = pathspec.GitIgnoreSpec.from_lines((root / ".funcignore").read_text(encoding="utf-8").splitlines())
    found: list[str] = []
    for folder, folders, files in os.walk(root):
        here = Path(folder).relative_to(root)
        folders[:] = [name for name in folders if not ignored.match_file(f"{(here / name).as_posix()}/")]
        found += [path for name in files if not ignored.match_file(path := (here / name).as_posix())]
    unknown = {top for path in found if (top := path.split("/")[0]) not in DEPLOYED}
    if unknown:
        raise PackageError(f"not part of the app, and not in .funcignore: {', '.join(sorted(unknown))}")
    if missing := DEPLOYED - {path.split("/")[0] for path in found}:
        raise PackageError(f"missing: {', '.join(sorted(missing))}")
    if "reader/web/dist/dashboard.html" not in found:
        raise PackageError("the pages are not built: make web")
    return sorted(found)


def write_zip(entries: Mapping[str, Path], target: Path) -> None:
    """Pack files, each under its path in the zip, with one time and one mode for all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path, source in sorted(entries.items()):
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, whose mode the next line is
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, source.read_bytes())
    partial.replace(target)


def deployed(root: Path, requirements: Path | None = None) -> dict[str, Path]:
    """What is deployed, by path; with another file for requirements.txt if one is given. Raises PackageError."""
    entries = {path: root / path for path in deployed_files(root)}
    if requirements is not None and not requirements.is_file():
        raise PackageError(f"{requirements}: there is no such file of requirements")
    return entries if requirements is None else entries | {"requirements.txt": requirements}


def build(root: Path, target: Path, requirements: Path | None = None) -> None:
    """The package for a remote build. Raises PackageError."""
    write_zip(deployed(root, requirements), target)


def build_unpacked(root: Path, target: Path, requirements: Path | None = None) -> None:
    """The package for a remote build as a folder, in the place of what was there. Raises PackageError."""
    entries = deployed(root, requirements)
    shutil.rmtree(target, ignore_errors=True)
    for path, source in entries.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target / path)


def build_vendored(root: Path, target: Path, requirements: Path | None = None) -> None:
    """The package with its packages and the bytecode of all. Raises PackageError."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "app"
        build_unpacked(root, folder, requirements)
        site_packages = folder / SITE_PACKAGES
        _uv(
            "pip", "install", "--target", str(site_packages), "--python", sys.executable,
            "--python-platform", PLATFORM, "--python-version", "3.13", "--only-binary", ":all:",
            "--require-hashes", "--no-deps", "--requirements", str(folder / "requirements.txt"),
        )  # fmt: skip
        shutil.rmtree(site_packages / "bin", ignore_errors=True)  # commands, with this machine's Python in them
        compile_bytecode(folder)
        write_zip({path: folder / path for path in _files(folder)}, target)


def compile_bytecode(folder: Path) -> None:
    """Compile all sources below. The bytecode is not compared with them again: in Azure neither can change."""
    compileall.compile_dir(
        folder,
        quiet=2,  # a package may bring sources for another Python, which nothing imports
        stripdir=str(folder),  # a module learns where it is when it is imported
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def create_environment(folder: Path, requirements: Path) -> Path:
    """An environment with what a file of requirements says and nothing else; its Python. Raises PackageError."""
    _uv("venv", "--no-project", "--python", sys.executable, str(folder))
    python = folder / "bin" / "python"
    hashed = ("--require-hashes", "--no-deps", "--requirements", str(requirements))
    _uv("pip", "install", "--python", str(python), *hashed)
    _uv("pip", "check", "--python", str(python))
    return python


def site_packages_of(python: Path) -> Path:
    """Where an environment's packages are."""
    (folder,) = python.parent.parent.glob("lib/python*/site-packages")
    return folder


@dataclass(frozen=True, slots=True)
class Start:
    """What importing function_app.py takes a new process, in seconds, the interpreter's own start left out."""

    wall: float
    cpu: float


_IMPORT = """
import sys, time
sys.path.insert(0, sys.argv[1])
wall, cpu = time.perf_counter(), time.process_time()
import function_app
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def measure_import(python: Path, app: Path) -> Start:
    """The best of some runs, by an environment's Python, which writes no bytecode."""
    environment = json.loads((ROOT / "local.settings.sample.json").read_text(encoding="utf-8"))["Values"]
    starts = []
    for _ in range(RUNS):
        command = [str(python), "-I", "-B", "-c", _IMPORT, str(app)]
        ran = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        wall, cpu = map(float, ran.stdout.split())
        starts.append(Start(wall, cpu))
    return min(starts, key=lambda start: start.cpu)


def report(target: Path) -> None:
    """Print what the package weighs, and what its start takes, in an environment made for it."""
    with tempfile.TemporaryDirectory() as temporary:
        app = Path(temporary) / "app"
        with zipfile.ZipFile(target) as archive:
            count = len(archive.namelist())
            archive.extractall(app, [name for name in archive.namelist() if not name.endswith(".pyc")])
        shutil.rmtree(app / SITE_PACKAGES, ignore_errors=True)
        python = create_environment(Path(temporary) / "environment", app / "requirements.txt")
        packages = site_packages_of(python)
        installed = sum((packages / path).stat().st_size for path in _files(packages))
        print(f"{os.path.relpath(target)}: {target.stat().st_size / 1e6:.2f} MB, {count:,} files")
        print(f"requirements.txt installed: {installed / 1e6:.1f} MB")
        _print_start("without bytecode", measure_import(python, app))
        for folder in (app, packages):
            compile_bytecode(folder)
        _print_start("with bytecode", measure_import(python, app))


def _print_start(name: str, start: Start) -> None:
    print(f"import of function_app {name}: {start.wall:.2f} s, CPU {start.cpu:.2f} s (best of {RUNS})")


def _files(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _uv(*arguments: str) -> None:
    command = [str(ROOT / "scripts" / "uv"), *arguments]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    if ran.returncode:
        raise PackageError(f"uv {' '.join(arguments[:2])} failed:\n{ran.stderr.strip()}")


def main() -> int:
    """Build, and say what it weighs."""
    parser = argparse.ArgumentParser(prog="python -m scripts.package", description="Build what is deployed.")
    parser.add_argument("--output", type=Path, help="the zip (default dist/app.zip)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--vendored", action="store_true", help="with the packages for Linux on x86-64, and bytecode")
    form.add_argument("--unpacked", action="store_true", help="as the folder dist/app, for azd; not measured")
    parser.add_argument("--requirements", type=Path, help="file to deploy as requirements.txt")
    parser.add_argument("--quick", action="store_true", help="do not measure its start")
    options = parser.parse_args()
    if options.unpacked and options.output:
        parser.error("--unpacked writes to dist/app, which it empties first, and to no other --output")
    target = FOLDER if options.unpacked else options.output or ZIP
    build_it = build_unpacked if options.unpacked else build_vendored if options.vendored else build
    try:
        build_it(ROOT, target, options.requirements)
        if options.quick or options.unpacked:
            print(os.path.relpath(target))
        else:
            report(target)
    except PackageError as error:
        print(f"package: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
