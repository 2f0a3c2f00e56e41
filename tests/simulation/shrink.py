"""A failing scenario → a smaller one that still fails, for a person to read.

The rule: a smaller scenario is the same with something left out: messages, items, upsets, faults and delays, instances,
small bounds. It is run again, and kept if it has a problem, whichever. It ends when nothing more can be left out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from tests.simulation.scenario import Delivery, Outcome, Published, Scenario
from tests.simulation.world import run

MOST_RUNS = 3_000
"""Runs after which the smallest so far has to do."""


def shrink(failing: Scenario) -> Scenario:
    """The smallest found. `failing` has a problem."""
    smallest, runs = failing, 0
    shrunk = True
    while shrunk:
        shrunk = False
        for smaller in _smaller(smallest):
            runs += 1
            if runs > MOST_RUNS:
                return smallest
            if run(smaller).problem is not None:
                smallest, shrunk = smaller, True
                break
    return smallest


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Scenarios with less in them, those with much less first."""
    for number, published in enumerate(scenario.partitions):
        for fewer in _without_parts(published):
            yield replace(scenario, partitions=_with(scenario.partitions, number, fewer))
    for fewer_events in _without_parts(scenario.events):
        yield replace(scenario, events=fewer_events)
    for outcomes in _calmer(scenario.outcomes, Outcome()):
        yield replace(scenario, outcomes=outcomes)
    for deliveries in _calmer(scenario.deliveries, Delivery()):
        yield replace(scenario, deliveries=deliveries)
    if scenario.instances > 1:
        yield replace(scenario, instances=scenario.instances - 1)
    if scenario.page is not None:
        yield replace(scenario, page=None)
    for name, value in scenario.bounds._asdict().items():
        if value is not None:
            yield replace(scenario, bounds=scenario.bounds._replace(**{name: None}))
    for number, published in enumerate(scenario.partitions):
        for position, message in enumerate(published):
            if len(message.items) > 1:
                for items in _without_parts(message.items):
                    lighter = _with(published, position, Published(items))
                    yield replace(scenario, partitions=_with(scenario.partitions, number, lighter))
    for position, outcome in enumerate(scenario.outcomes):
        plain = outcome._replace(before=Outcome().before, after=Outcome().after)
        if outcome != plain:
            yield replace(scenario, outcomes=_with(scenario.outcomes, position, plain))


def _with[T](items: tuple[T, ...], position: int, item: T) -> tuple[T, ...]:
    return (*items[:position], item, *items[position + 1 :])


def _without_parts[T](items: tuple[T, ...]) -> Iterator[tuple[T, ...]]:
    """The items without a half, a quarter … and without each one of them."""
    return _parts(items, lambda _: ())


def _calmer[T](items: tuple[T, ...], calm: T) -> Iterator[tuple[T, ...]]:
    """The items with a half of them calm, a quarter … and each one; those at the end are left out."""
    for changed in _parts(items, lambda part: (calm,) * len(part)):
        end = len(changed)
        while end and changed[end - 1] == calm:
            end -= 1
        if changed[:end] != items:
            yield changed[:end]


def _parts[T](items: tuple[T, ...], instead: Callable[[Sequence[T]], tuple[T, ...]]) -> Iterator[tuple[T, ...]]:
    size = len(items)
    while size:
        for start in range(0, len(items), size):
            yield items[:start] + instead(items[start : start + size]) + items[start + size :]
        size //= 2
