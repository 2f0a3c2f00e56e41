"""`make mutants`: every mutant of the pure modules, a table of what became of them, and those that survived.

A survivor that `equivalent.py` gives a reason for is as it should be; the exit status is 1 where there is another one.
What mutmut made is in `mutants/` afterwards, where `mutmut show NAME` finds it.
"""

import argparse
import contextlib
import importlib
import json
import shutil
import subprocess
import sys
import time
import tomllib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from mutmut.__main__ import create_mutants
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir

from tests.mutation.declarations import OPTIONS, declared_mutants, try_declarations
from tests.mutation.equivalent import reason
from tests.mutation.functions import RESULTS, mutant_names

FOLDER = Path("mutants")
LOADED = ("azure.data.tables.aio", "azure.storage.blob.aio", "devstack.oracle", "devstack.workload", "hypothesis")
"""What the tests import and what is no part of them: loaded once, before the forks."""


class Survivor(NamedTuple):
    """A mutant that no test minds."""

    where: str
    """The module, and the function if it is in one."""
    before: str
    after: str

    @property
    def module(self) -> str:
        return self.where.partition(".")[0]

    @property
    def reason(self) -> str | None:
        return reason(self.where, self.before, self.after)


def main(arguments: list[str] | None = None) -> int:
    """The command. 1 where a mutant survived without a reason."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="Mutation testing")
    parser.add_argument("--processes", type=int, default=2, help="mutants tried at a time (default %(default)s)")
    parser.add_argument("--functions", action="store_true", help="without the declarations")
    parser.add_argument("--declarations", action="store_true", help="without the functions")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    settings = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
    paths = [Path(name) for name in settings["only_mutate"]]
    tests: list[str] = settings["pytest_add_cli_args_test_selection"]
    made: Counter[str] = Counter()
    survived: list[Survivor] = []
    if not options.declarations:
        survived += _try_functions(tests, options.processes)
        made.update({path.stem: len(mutant_names(FOLDER / path)) for path in paths})
    if not options.functions:
        for name in LOADED:
            importlib.import_module(name)
        mutants = [mutant for path in paths for mutant in declared_mutants(path)]
        made.update(mutant.module for mutant in mutants)
        for mutant in try_declarations(mutants, tests, options.processes):
            survived.append(Survivor(mutant.module, *mutant.change))
    _print_table(made, survived)
    print(f"in {(time.monotonic() - started) / 60:.0f} min")
    return _print_survivors(survived)


def _try_functions(tests: list[str], processes: int) -> list[Survivor]:
    """Have mutmut write its mutants, all in copies of the modules, and try them there."""
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
    FOLDER.mkdir()
    with contextlib.redirect_stdout(None):
        copy_src_dir()
        copy_also_copy_files()
        create_mutants(processes)
    command = [sys.executable, "-m", "pytest", *OPTIONS, "-s", "-p", "tests.mutation.functions"]
    subprocess.run([*command, f"--mutant-processes={processes}", *tests], cwd=FOLDER, check=True)
    return [_survivor(name) for name in json.loads((FOLDER / RESULTS).read_text(encoding="utf-8"))]


def _survivor(name: str) -> Survivor:
    """`name` is mutmut's: `processors.events.x_cut__mutmut_3`, `processors.metrics.xǁSumsǁadd__mutmut_1`."""
    module, _, function = name.partition("__mutmut_")[0].rpartition(".")
    function = function.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
    lines = get_diff_for_mutant(name, path=f"{module.replace('.', '/')}.py").splitlines()[2:]
    before, after = (" ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
    return Survivor(f"{module.partition('.')[2]}.{function}", before, after)


def _print_table(made: Counter[str], survived: list[Survivor]) -> None:
    alive = Counter(survivor.module for survivor in survived)
    equivalent = Counter(survivor.module for survivor in survived if survivor.reason)
    print("\n| module | mutants | killed | survived | of these equivalent | killed % |\n|---|---:|---:|---:|---:|---:|")
    for name in [*(name for name in made if made[name]), "all"]:
        number, left, same = (counts.total() if name == "all" else counts[name] for counts in (made, alive, equivalent))
        print(f"| {name} | {number:,} | {number - left:,} | {left} | {same} | {100 * (number - left) / number:.1f} |")


def _print_survivors(survived: list[Survivor]) -> int:
    unexplained = [survivor for survivor in survived if survivor.reason is None]
    for survivor in unexplained:
        print(f"{survivor.where}: {survivor.before} → {survivor.after}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
