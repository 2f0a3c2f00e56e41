"""The mutants of what stands outside functions, each tried in a process of its own.

They are made by mutmut's operators, which it applies to functions only: its trampolines choose a mutant at a call, and
a declaration is read at import. So each of these is imported anew, in a fork of a process that has nearly all but our
own modules loaded.
"""

import importlib.abc
import importlib.machinery
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import libcst as cst
import pytest
from mutmut.mutation.file_mutation import create_mutations

OPTIONS = ["-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutation", "--assert=plain"]
CPU_SECONDS = 90
"""More than all tests take; beyond it, a mutant hangs, and that is found too."""


OWN_TESTS = {"columns": "contract"}
"""Where they are not in the file of the module's name."""


class Declared(NamedTuple):
    """A module with one declaration changed."""

    module: str
    change: tuple[str, str]
    """The lines before and after, on one line each."""
    source: str


def declared_mutants(path: Path) -> Iterator[Declared]:
    """Every change of a declaration in the file."""
    code = path.read_text(encoding="utf-8")
    module, mutations, _, _ = create_mutations(str(path), code)
    for mutation in mutations:
        if isinstance(mutation.contained_by_top_level_function, cst.FunctionDef):
            continue
        mutated = module.deep_replace(mutation.original_node, mutation.mutated_node)
        assert isinstance(mutated, cst.Module)
        yield Declared(path.stem, changed_lines(code, mutated.code), mutated.code)


def changed_lines(before: str, after: str) -> tuple[str, str]:
    """Both without the lines that they begin or end with alike."""
    old, new = before.splitlines(), after.splitlines()
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    return _on_one_line(old), _on_one_line(new)


def _on_one_line(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines)


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from the source given, all others as ever."""

    def __init__(self, mutant: Declared) -> None:
        self._name = f"processors.{mutant.module}"
        self._source = mutant.source

    def find_spec(self, name: str, _path: object, _target: object = None) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if name == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, f"<{self._name}>", "exec"), module.__dict__)  # noqa: S102 - our own source, changed


def try_declarations(mutants: Sequence[Declared], tests: list[str], processes: int) -> list[Declared]:
    """Those that survive. The tests of a mutant's own module come first, which find nearly all."""
    survived: list[Declared] = []
    running: dict[int, Declared] = {}
    started = time.monotonic()
    for number, mutant in enumerate(mutants, start=1):
        own = [test for test in tests if test.endswith(f"test_{OWN_TESTS.get(mutant.module, mutant.module)}.py")]
        running[_start(mutant, [own, tests])] = mutant
        if len(running) == processes:
            survived += _finished(running)
        if number % 50 == 0:
            print(f"  {number} of {len(mutants)} declarations in {time.monotonic() - started:.0f} s", flush=True)
    while running:
        survived += _finished(running)
    return survived


def _finished(running: dict[int, Declared]) -> list[Declared]:
    process, status = os.wait()
    mutant = running.pop(process)
    return [mutant] if status == 0 else []


def _start(mutant: Declared, runs: list[list[str]]) -> int:
    process = os.fork()
    if process == 0:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            sys.meta_path.insert(0, _Mutated(mutant))
            status = int(any(pytest.main(["-x", *OPTIONS, *tests]) for tests in runs))
        finally:
            os._exit(status)
    return process
