"""`make fuzz RUNS=1000000`: libFuzzer, by atheris, on the target. Its own options follow on the command line.

What it adds to the corpus stays in `.fuzz/`, and so does an input that fails, whose name it prints; give that as an
argument to run it alone. The bounds: an input may take 5 s and the process 1 GiB.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["processors.records", "processors.events"]):
    from tests.fuzz.target import check

FOLDER = Path(__file__).parent
FOUND = Path(".fuzz")


def _target(body: bytes) -> None:
    check(body)


def main(arguments: list[str]) -> None:
    (FOUND / "corpus").mkdir(parents=True, exist_ok=True)
    options = [
        f"-dict={FOLDER / 'dictionary.txt'}",
        f"-artifact_prefix={FOUND}/",
        "-timeout=5",
        "-rss_limit_mb=1024",
        "-max_len=16384",
    ]
    given_inputs = any(not argument.startswith("-") for argument in arguments)
    folders = [] if given_inputs else [str(FOUND / "corpus"), str(FOLDER / "corpus")]
    atheris.Setup([sys.argv[0], *options, *arguments, *folders], _target)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
