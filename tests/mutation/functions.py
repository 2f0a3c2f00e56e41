"""A pytest plugin that tries mutmut's mutants of functions, each in a fork of the session that has run all tests.

mutmut's own runner starts pytest once more for every mutant, which takes much longer than the tests that find it. Here
the tests are collected and run once, which also says which of them get to which function, and how long they take.
Then a mutant is chosen in a fork, and the tests that get to its function run, the quickest first, until one fails.
"""

import gc
import json
import os
import resource
import signal
import time
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import pytest
from mutmut.state import state

CHOSEN = "MUTANT_UNDER_TEST"
"""What mutmut's trampolines read."""
RESULTS = Path("survivors.json")
CPU_SECONDS_A_TEST = 10
"""Many times what any takes: a mutant that is not done by then hangs. A busy machine makes no difference to these."""
QUICK_SECONDS = 1
"""What a mutant's tests may take together before all others have had their turn."""
MEMORY_BYTES = 4 * 1024**3

type Tests = defaultdict[str, list[pytest.Item]]
"""By the function that they get to, as mutmut calls it."""


def mutant_names(path: Path) -> list[str]:
    """Those that mutmut has made of the file."""
    return list(json.loads(Path(f"{path}.meta").read_text(encoding="utf-8"))["exit_code_by_key"])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutant-processes", type=int, default=2)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    quick, slow = _measured(session)
    if session.testsfailed:
        return True
    gc.freeze()  # else every fork's first collection copies all of it
    paths = sorted(Path("processors").glob("*.py.meta"))
    left = [name for path in paths for name in mutant_names(path.with_suffix(""))]
    for kind, tests in (("quick", quick), ("slow", slow)):
        print(f"\n{len(left):,} mutants of functions, {kind} tests", flush=True)
        left = _survivors(session, left, tests)
        RESULTS.write_text(json.dumps(left, indent=1), encoding="utf-8")
    return True


def _survivors(session: pytest.Session, names: list[str], tests: Tests) -> list[str]:
    survived: list[str] = []
    running: dict[int, str] = {}
    started = time.monotonic()

    def finish() -> None:
        process, status = os.wait()
        name = running.pop(process)
        if status == 0:
            survived.append(name)

    for number, name in enumerate(names, start=1):
        running[_start(session, name, tests[name.partition("__mutmut_")[0]])] = name
        if len(running) == session.config.getoption("--mutant-processes"):
            finish()
        if number % 100 == 0:
            print(f"{number:,}: {len(survived)} left, {time.monotonic() - started:.0f} s", flush=True)
    while running:
        finish()
    return sorted(survived)


def _measured(session: pytest.Session) -> tuple[Tests, Tests]:
    """For every function the tests that get to it: the quickest, and the others. Runs them all; each has to pass."""
    seconds: dict[str, float] = {}
    reached: Tests = defaultdict(list)
    os.environ[CHOSEN] = "stats"
    for item, following in zip(session.items, [*session.items[1:], None], strict=True):
        noted = state()._stats  # noqa: SLF001 - where its trampolines note their calls
        noted.clear()
        before = time.process_time()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        seconds[item.nodeid] = time.process_time() - before
        for function in noted:
            reached[function].append(item)
    quick: Tests = defaultdict(list)
    slow: Tests = defaultdict(list)
    for function, items in reached.items():
        spent = 0.0
        for item in sorted(items, key=lambda item: seconds[item.nodeid]):
            spent += seconds[item.nodeid]
            (quick if spent <= QUICK_SECONDS else slow)[function].append(item)
    return quick, slow


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    try:
        return (yield)
    except BaseException:
        if os.environ[CHOSEN] == "stats":
            raise
        os._exit(1)  # without the report of a failure, which takes longer than most tests


def _start(session: pytest.Session, name: str, tests: list[pytest.Item]) -> int:
    process = os.fork()
    if process == 0:
        try:
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            signal.signal(signal.SIGPROF, lambda *_: os._exit(1))
            os.environ[CHOSEN] = name
            for item, following in zip(tests, [*tests[1:], None], strict=True):
                signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS_A_TEST)
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.testsfailed:
                    os._exit(1)
            os._exit(0)
        finally:
            os._exit(1)
    return process
