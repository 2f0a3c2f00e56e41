"""Start positions: the filter with which a consumer says where in a partition it begins. Pure.

The filter is a text in the source of the consumer's attach:

    amqp.annotation.x-opt-offset > '1024'              also '-1' (the first event) and '@latest' (the end)
    amqp.annotation.x-opt-sequence-number >= '12'
    amqp.annotation.x-opt-enqueued-time > '1700000000000'     ms since 1970, UTC

Rule: `>` starts behind the event that is named, `>=` with it.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from .errors import Condition, LinkRefusedError

BEGINNING = "-1"
LATEST = "@latest"

_FILTER = re.compile(r"\s*amqp\.annotation\.x-opt-([a-z-]+)\s*(>=?)\s*'(@latest|-?[0-9]{1,19})'\s*")


class Measure(StrEnum):
    """What a position is given in."""

    OFFSET = "offset"
    SEQUENCE_NUMBER = "sequence-number"
    ENQUEUED_TIME = "enqueued-time"


@dataclass(frozen=True, slots=True)
class StartPosition:
    """Where to begin. The value is a whole number in the measure's unit, or for an offset `-1` or `@latest`."""

    measure: Measure
    value: str
    inclusive: bool


FROM_BEGINNING = StartPosition(Measure.OFFSET, BEGINNING, False)


def parse_position(text: str | None) -> StartPosition:
    """The position that a filter names; without a filter the beginning.

    Raises:
        LinkRefusedError: the filter is none of the forms above.
    """
    if text is None:
        return FROM_BEGINNING
    match = _FILTER.fullmatch(text)
    if match is None or match[1] not in set(Measure) or (match[3] == LATEST and match[1] != Measure.OFFSET):
        raise LinkRefusedError(Condition.ARGUMENT_ERROR, f"The filter {text[:200]!r} is not supported.")
    return StartPosition(Measure(match[1]), match[3], match[2] == ">=")
