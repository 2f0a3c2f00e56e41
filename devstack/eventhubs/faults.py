"""Faults on request: what can be made to go wrong, and how it is asked for. Pure; `control.py` carries it out.

A command is one JSON object, `{"command": NAME, …}`; its other keys are the fields of the class of that command
below, of which those with a default may be left out. `match` picks links whose address contains it ("" is every
link); an address is `hub`, `hub/Partitions/0` or `hub/ConsumerGroups/$Default/Partitions/0`.

    drop         break every connection, as a lost network does
    detach       end links with an error
    server-busy  refuse the next sends, or the next links
    lost-ack     store the next message, and break its connection instead of acknowledging it
    delay        acknowledge the next messages late
    rewind       give consumers their last events again
    stall        deliver nothing…
    resume       …until now
    clear        forget what is armed, and resume

`server-busy`, `lost-ack` and `delay` are armed: they happen `times` times, to whoever comes first, oldest command
first. The others happen at once. `$cbs` and `$management` are never touched, except by `drop`.

Rule: a command that is unknown, lacks a key, has one too many or a wrong value changes nothing and is a
`CommandError` that says so.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from typing import Any

from .errors import CommandError, Condition

MAX_SECONDS = 3600.0


class Role(StrEnum):
    """Whose link it is."""

    CONSUMER = "consumer"
    PRODUCER = "producer"


class Moment(StrEnum):
    """When to be busy."""

    SEND = "send"
    ATTACH = "attach"


@dataclass(frozen=True, slots=True)
class Drop:
    """`drop`: break every connection, as a lost network does; no AMQP close, and what was being sent is gone."""


@dataclass(frozen=True, slots=True)
class Detach:
    """`detach`: end the links of `match` and `role` (null is both) with the error `condition`."""

    match: str = ""
    role: Role | None = None
    condition: str = Condition.DETACH_FORCED
    description: str = "The link was detached on request."


@dataclass(frozen=True, slots=True)
class ServerBusy:
    """`server-busy`: refuse with `com.microsoft:server-busy`, on "send" a message, on "attach" a link."""

    on: Moment = Moment.SEND
    times: int = 1
    match: str = ""
    role: Role | None = None


@dataclass(frozen=True, slots=True)
class LostAck:
    """`lost-ack`: a message is stored, then its connection breaks before the answer; its producer sends it again."""

    times: int = 1
    match: str = ""


@dataclass(frozen=True, slots=True)
class Delay:
    """`delay`: a message is stored at once, and acknowledged `seconds` (0 to 3600) later."""

    seconds: float
    times: int = 1
    match: str = ""


@dataclass(frozen=True, slots=True)
class Rewind:
    """`rewind`: every consumer of `match` gets its last `events` events again, as after a rebalance."""

    events: int
    match: str = ""


@dataclass(frozen=True, slots=True)
class Stall:
    """`stall`: consumers of `match`, present and future, get no events until `resume` or `clear`."""

    match: str = ""


@dataclass(frozen=True, slots=True)
class Resume:
    """`resume`: end every stall."""


@dataclass(frozen=True, slots=True)
class Clear:
    """`clear`: disarm everything, and end every stall."""


type Command = Drop | Detach | ServerBusy | LostAck | Delay | Rewind | Stall | Resume | Clear
type Armed = ServerBusy | LostAck | Delay

COMMANDS: Mapping[str, type[Command]] = {
    "drop": Drop,
    "detach": Detach,
    "server-busy": ServerBusy,
    "lost-ack": LostAck,
    "delay": Delay,
    "rewind": Rewind,
    "stall": Stall,
    "resume": Resume,
    "clear": Clear,
}


def parse_command(document: object) -> Command:
    """The command that a decoded JSON document asks for.

    Raises:
        CommandError: it asks for none, or not properly.
    """
    if not isinstance(document, dict):
        raise CommandError(f"expected an object with a 'command', got {document!r:.100}")
    name = document.get("command")
    if not isinstance(name, str) or name not in COMMANDS:
        raise CommandError(f"unknown command {name!r:.100}; known are {', '.join(COMMANDS)}")
    cls = COMMANDS[name]
    known = {item.name: item.default is MISSING for item in fields(cls)}
    for key in document:
        if key != "command" and key not in known:
            raise CommandError(f"{name}: unknown key {key!r:.100}; known are {', '.join(known) or 'none'}")
    for key, is_mandatory in known.items():
        if is_mandatory and key not in document:
            raise CommandError(f"{name}: '{key}' is missing")
    values: dict[str, Any] = {key: _read(name, key, value) for key, value in document.items() if key != "command"}
    return cls(**values)


class Faults:
    """What is armed and stalled now. `happened` counts the armed faults that came to pass, by `name_of`."""

    def __init__(self) -> None:
        self.happened: Counter[str] = Counter()
        self._armed: list[tuple[Armed, int]] = []  # with how often it is still to happen
        self._stalls: list[str] = []

    @property
    def armed(self) -> int:
        """How many faults are still to happen."""
        return sum(times for _, times in self._armed)

    @property
    def is_any_stalled(self) -> bool:
        """Whether any consumer may be held up."""
        return bool(self._stalls)

    def arm(self, fault: Armed) -> None:
        """Let it happen `fault.times` times."""
        self._armed.append((fault, fault.times))

    def stall(self, match: str) -> None:
        """Hold up the consumers of `match`."""
        self._stalls.append(match)

    def resume(self) -> None:
        """Hold up nobody."""
        self._stalls.clear()

    def clear(self) -> None:
        """Disarm and resume."""
        self._armed.clear()
        self.resume()

    def is_stalled(self, address: str) -> bool:
        """Whether a consumer's link is held up."""
        return any(match in address for match in self._stalls)

    def on_send(self, address: str) -> Armed | None:
        """What is to happen to a message that arrived on this producer's link; that then has happened once."""

        def concerns(fault: Armed) -> bool:
            if isinstance(fault, ServerBusy):
                return fault.on is Moment.SEND and fault.role is not Role.CONSUMER
            return True

        return self._take(address, concerns)

    def on_attach(self, address: str, role: Role) -> Armed | None:
        """What is to happen to a link that is being opened; that then has happened once."""

        def concerns(fault: Armed) -> bool:
            return isinstance(fault, ServerBusy) and fault.on is Moment.ATTACH and fault.role in (None, role)

        return self._take(address, concerns)

    def _take(self, address: str, concerns: Callable[[Armed], bool]) -> Armed | None:
        for index, (fault, times) in enumerate(self._armed):
            if fault.match in address and concerns(fault):
                if times > 1:
                    self._armed[index] = (fault, times - 1)
                else:
                    del self._armed[index]
                self.happened[name_of(fault)] += 1
                return fault
        return None


def name_of(fault: Armed) -> str:
    """What a fault is counted under: its command, and when it strikes where that is a choice."""
    match fault:
        case ServerBusy():
            return f"server-busy on {fault.on}"
        case LostAck():
            return "lost-ack"
        case Delay():
            return "delay"


def _read(command: str, key: str, value: object) -> object:
    expected, accepts, make = _VALUES[key]
    if not accepts(value):
        raise CommandError(f"{command}: '{key}' must be {expected}, got {value!r:.100}")
    return make(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_symbol(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and bool(value)


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_SECONDS


def _same(value: object) -> object:
    return value


# A key means the same in every command: what it must be, whether a value is that, and how the value is kept.
_VALUES: Mapping[str, tuple[str, Callable[[object], bool], Callable[..., object]]] = {
    "match": ("a string", _is_text, _same),
    "description": ("a string", _is_text, _same),
    "condition": ("an ASCII string", _is_symbol, _same),
    "times": ("a whole number above 0", _is_positive, _same),
    "events": ("a whole number above 0", _is_positive, _same),
    "seconds": (f"a number from 0 to {MAX_SECONDS:g}", _is_seconds, float),
    "on": ('"send" or "attach"', lambda value: value in list(Moment), Moment),
    "role": (
        '"consumer", "producer" or null',
        lambda value: value is None or value in list(Role),
        lambda value: value and Role(value),
    ),
}
