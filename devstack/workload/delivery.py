"""How the log reaches the hub: interleaved by time, shuffled, late, repeated, and packed into messages.

Every record is delivered at least once. Memory is bounded by the jobs that run at one time, the shuffle window, and
what is late.
"""

import heapq
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import count, cycle
from random import Random
from typing import NamedTuple

from devstack.workload.bad import BAD_MESSAGES, BAD_RECORDS, bad_message
from devstack.workload.envelopes import BOM, FORMS, USUAL, wrap
from devstack.workload.model import BadMessage, BadRecord, Execution, Message, Parameters
from devstack.workload.population import population
from devstack.workload.records import COMPLETE, Event, Writer, events_of

_ENVELOPE_BYTES = 2_048  # more than any form adds around its records
_SEPARATOR_BYTES = 8
_STRANGER = "not-in-the-truth"
_TWIN = 0.15  # of the duplicates: delivered right beside the first


class _Written(NamedTuple):
    """A record on its way. The place decides when it is delivered; the number only breaks ties."""

    place: float
    number: int
    record: bytes
    bad: str


def deliver(parameters: Parameters) -> Iterator[Message]:
    """The messages, in the order they are sent."""
    return _Delivery(parameters).messages()


def _timeline(parameters: Parameters) -> Iterator[Event]:
    """All events by time; those of a job are known once it arrives, and none is before that."""
    draw = Random(f"{parameters.seed}/events")
    ahead: list[tuple[datetime, int, Event]] = []
    numbers = count()
    for job in population(parameters):
        while ahead and ahead[0][0] <= job.arrival:
            yield heapq.heappop(ahead)[2]
        for event in events_of(job, parameters.start_events, draw):
            heapq.heappush(ahead, (event.time, next(numbers), event))
    while ahead:
        yield heapq.heappop(ahead)[2]


class _Delivery:
    """The random choices behind a delivery."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._draw = Random(f"{parameters.seed}/delivery")
        self._writer = Writer(Random(f"{parameters.seed}/records"), parameters.variety)
        self._bad_records = cycle(self._draw.sample(sorted(BAD_RECORDS), len(BAD_RECORDS)))
        self._bad_messages = cycle(self._draw.sample(BAD_MESSAGES, len(BAD_MESSAGES)))
        self._numbers = count()
        stranger = Execution("CONTOSOBATCH", "nightly-render-1", _STRANGER, parameters.base, parameters.base)
        completed = Event(parameters.base, COMPLETE, stranger.account, stranger)
        self._lost = [self._writer.write(completed) for _ in range(3)]

    def messages(self) -> Iterator[Message]:
        draw = self._draw
        parameters = self._parameters
        again: list[tuple[int, Message]] = []
        for packed in self._packed():
            message = self._sent(packed)
            yield message
            if draw.random() < parameters.repeated_messages:
                again.append((message.number + draw.randint(1, 20), message))
            if draw.random() < parameters.bad_messages:
                kind = next(self._bad_messages)
                body = bad_message(kind, self._lost)
                yield self._sent(Message(0, body, None, kind, bad=BadMessage(0, kind)))
            for due, repeated in again:
                if due <= message.number:
                    yield self._sent(repeated)
            again = [(due, repeated) for due, repeated in again if due > message.number]
        for _, repeated in again:
            yield self._sent(repeated)

    def _sent(self, message: Message) -> Message:
        """The message with a number and a partition of its own."""
        number = next(self._numbers)
        partitions = self._parameters.partitions
        return replace(
            message,
            number=number,
            partition=str(self._draw.randrange(partitions)) if partitions else None,
            bad_records=tuple(replace(bad, message=number) for bad in message.bad_records),
            bad=message.bad and replace(message.bad, message=number),
        )

    def _packed(self) -> Iterator[Message]:
        form, room, left = self._next_shape()
        records: list[_Written] = []
        for written in self._shuffled():
            size = len(written.record) + _SEPARATOR_BYTES
            if records and (len(records) == room or size > left):
                yield self._pack(form, records)
                records = []
                form, room, left = self._next_shape()
            records.append(written)
            left -= size
        if records:
            yield self._pack(form, records)

    def _next_shape(self) -> tuple[str, int, int]:
        """A form, and how many records and bytes it is to hold."""
        draw = self._draw
        parameters = self._parameters
        form = USUAL
        if draw.random() < parameters.variety:
            form = draw.choices(list(FORMS), list(FORMS.values()))[0]
        drawn = round(draw.lognormvariate(math.log(parameters.median_records), 1.4))
        room = 1 if form == "bare" else min(parameters.max_records, max(1, drawn))
        return form, room, parameters.max_bytes - _ENVELOPE_BYTES

    def _pack(self, form: str, records: list[_Written]) -> Message:
        draw = self._draw
        body = wrap(form, [written.record for written in records], draw)
        if draw.random() < self._parameters.variety / 5:
            body = BOM + body
        bad = tuple(BadRecord(0, index, written.bad) for index, written in enumerate(records) if written.bad)
        return Message(0, body, None, form, len(records), bad)

    def _shuffled(self) -> Iterator[_Written]:
        """Every record at least once, in the order of delivery."""
        draw = self._draw
        parameters = self._parameters
        window = parameters.shuffle
        ahead: list[_Written] = []
        numbers = count()
        for place, event in enumerate(_timeline(parameters)):
            while ahead and ahead[0].place <= place:
                yield heapq.heappop(ahead)
            delay = window * (draw.uniform(10, 30) if draw.random() < parameters.late else draw.random())
            record = self._writer.write(event)
            heapq.heappush(ahead, _Written(place + delay, next(numbers), record, ""))
            if draw.random() < parameters.duplicates:
                if draw.random() >= _TWIN:
                    delay = 3 * window * draw.random()
                if draw.random() < 0.5:
                    record = self._writer.write(event)
                heapq.heappush(ahead, _Written(place + delay, next(numbers), record, ""))
            if event.operation == COMPLETE and draw.random() < parameters.bad_records:
                kind = next(self._bad_records)
                record = self._writer.write_spoilt(_stranger(event), BAD_RECORDS[kind])
                heapq.heappush(ahead, _Written(place + window * draw.random(), next(numbers), record, kind))
        while ahead:
            yield heapq.heappop(ahead)


def _stranger(event: Event) -> Event:
    """The event of a task that is not in the truth."""
    assert isinstance(event.subject, Execution)
    return event._replace(subject=replace(event.subject, task_id=_STRANGER))
