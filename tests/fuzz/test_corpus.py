"""The short run of the fuzzer's target: the corpus, its neighbours, and what Hypothesis makes of JSON's pieces."""

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings

from tests.core.test_records import any_bytes
from tests.fuzz.seeds import CORPUS, file_name, seeds
from tests.fuzz.target import check

FILES = sorted(CORPUS.iterdir())
_SHORT = 10_000


def test_the_corpus_is_what_its_code_writes() -> None:
    for name, body in seeds():
        assert (CORPUS / file_name(name)).read_bytes() == body, "run `python -m tests.fuzz.seeds`"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_corpus_and_its_neighbours_hold_the_invariant(file: Path) -> None:
    """Each file, then cut off, spliced with others, and with bytes changed: the same ones in every run."""
    body = file.read_bytes()
    check(body)
    if len(body) > _SHORT:
        return
    draw = Random(file.name)
    for _ in range(40):
        check(_mutated(body, draw))


def _mutated(body: bytes, draw: Random) -> bytes:
    changed = bytearray(body)
    for _ in range(draw.randint(1, 3)):
        at = draw.randint(0, len(changed))
        match draw.randrange(4):
            case 0:
                del changed[at:]
            case 1:
                del changed[at : at + draw.randint(1, 20)]
            case 2:
                changed[at : at + 1] = draw.choice(b'{}[],:"\\\n 19\x00\xff').to_bytes()
            case _:
                other = draw.choice(FILES).read_bytes()[:_SHORT]
                start = draw.randint(0, len(other))
                changed[at:at] = other[start : start + draw.randint(1, 200)]
    return bytes(changed)


@settings(max_examples=1_000)
@given(any_bytes)
def test_pieces_of_json_hold_the_invariant(body: bytes) -> None:
    check(body)
