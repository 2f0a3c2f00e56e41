"""The performatives: what an AMQP frame says (parts 2.7 and 5.3 of the specification). Pure.

Each is a dataclass whose fields stand in wire order, each with its wire type and its default. A performative travels
as a described list: `00 53 <code> <list>`.

Rules:
- Written in full: every field, trailing nulls too. azure-eventhub indexes fields by position and never looks at the
  list's length, so a list that elides its tail (as the specification allows) breaks it.
- Read tolerantly: elided and null fields take their defaults, fields beyond the known ones are passed over.
- A field of another type, or a mandatory one that is not there, is an `AmqpDecodeError`.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, ClassVar, NamedTuple, get_args, get_type_hints

from .decoding import decode, skip
from .encoding import encode, encode_list
from .errors import AmqpDecodeError
from .values import UINT32, Encoded, Symbol, UByte, UInt, ULong, UShort

NULL = Encoded(encode(None))
MAX_UINT = 0xFFFFFFFF


class _Kind(NamedTuple):
    """A wire type: which decoded values are of it, and how one is written."""

    name: str
    accepts: Callable[[object], bool]
    write: Callable[[Any], bytes] = encode


def _unsigned(name: str, wire_type: type[int], bits: int) -> _Kind:
    def accepts(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << bits

    return _Kind(name, accepts, lambda value: encode(wire_type(value)))


_UBYTE = _unsigned("ubyte", UByte, 8)
_USHORT = _unsigned("ushort", UShort, 16)
_UINT = _unsigned("uint", UInt, 32)
_ULONG = _unsigned("ulong", ULong, 64)
_BOOLEAN = _Kind("boolean", lambda value: isinstance(value, bool))
_STRING = _Kind("string", lambda value: isinstance(value, str))
_BINARY = _Kind("binary", lambda value: isinstance(value, bytes))
_MAP = _Kind("map", lambda value: isinstance(value, dict))
_ANY = _Kind("value", lambda _: True)
_RAW = _Kind("value", lambda _: True)  # kept encoded, to be echoed or looked into later


# A field's type says its Python type and its wire type; a default makes it optional.
Ubyte = Annotated[int, _UBYTE]
Ushort = Annotated[int, _USHORT]
Uint = Annotated[int, _UINT]
Ulong = Annotated[int, _ULONG]
Boolean = Annotated[bool, _BOOLEAN]
String = Annotated[str, _STRING]
Binary = Annotated[bytes, _BINARY]
Map = Annotated[dict[Any, Any], _MAP]
Anything = Annotated[object, _ANY]
Raw = Annotated[Encoded, _RAW]


@dataclass(slots=True)
class Performative:
    """Any performative; see `encode_performative` and `decode_performative`."""

    CODE: ClassVar[int]


@dataclass(slots=True)
class Open(Performative):
    """Opens a connection. Idle time-out in ms."""

    CODE: ClassVar[int] = 0x10
    container_id: String
    hostname: String | None = None
    max_frame_size: Uint = MAX_UINT
    channel_max: Ushort = 0xFFFF
    idle_time_out: Uint | None = None
    outgoing_locales: Anything = None
    incoming_locales: Anything = None
    offered_capabilities: Anything = None
    desired_capabilities: Anything = None
    properties: Map | None = None


@dataclass(slots=True)
class Begin(Performative):
    """Begins a session. Windows count transfer frames."""

    CODE: ClassVar[int] = 0x11
    remote_channel: Ushort | None = None
    next_outgoing_id: Uint = 0
    incoming_window: Uint = 0
    outgoing_window: Uint = 0
    handle_max: Uint = MAX_UINT
    offered_capabilities: Anything = None
    desired_capabilities: Anything = None
    properties: Map | None = None


@dataclass(slots=True)
class Attach(Performative):
    """Attaches a link. Role: true if the sender of this frame receives."""

    CODE: ClassVar[int] = 0x12
    name: String
    handle: Uint
    is_receiver: Boolean
    snd_settle_mode: Raw = NULL
    rcv_settle_mode: Raw = NULL
    source: Raw = NULL
    target: Raw = NULL
    unsettled: Anything = None
    incomplete_unsettled: Anything = None
    initial_delivery_count: Uint | None = None
    max_message_size: Ulong | None = None
    offered_capabilities: Anything = None
    desired_capabilities: Anything = None
    properties: Map | None = None


@dataclass(slots=True)
class Flow(Performative):
    """Updates windows (transfer frames) and, with a handle, that link's credit (messages)."""

    CODE: ClassVar[int] = 0x13
    next_incoming_id: Uint | None = None
    incoming_window: Uint = 0
    next_outgoing_id: Uint = 0
    outgoing_window: Uint = 0
    handle: Uint | None = None
    delivery_count: Uint | None = None
    link_credit: Uint | None = None
    available: Uint | None = None
    drain: Boolean = False
    echo: Boolean = False
    properties: Anything = None


@dataclass(slots=True)
class Transfer(Performative):
    """A message, or with `more` a part of one; its bytes follow the performative in the frame."""

    CODE: ClassVar[int] = 0x14
    handle: Uint
    delivery_id: Uint | None = None
    delivery_tag: Binary | None = None
    message_format: Uint | None = None
    settled: Boolean = False
    more: Boolean = False
    rcv_settle_mode: Anything = None
    state: Anything = None
    resume: Anything = None
    aborted: Boolean = False
    batchable: Anything = None


@dataclass(slots=True)
class Disposition(Performative):
    """The outcome of deliveries `first` to `last`. Role: true if the sender of this frame received them."""

    CODE: ClassVar[int] = 0x15
    is_receiver: Boolean
    first: Uint
    last: Uint | None = None
    settled: Boolean = False
    state: Raw = NULL
    batchable: Anything = None


@dataclass(slots=True)
class Detach(Performative):
    """Detaches a link."""

    CODE: ClassVar[int] = 0x16
    handle: Uint
    closed: Boolean = False
    error: Raw = NULL


@dataclass(slots=True)
class End(Performative):
    """Ends a session."""

    CODE: ClassVar[int] = 0x17
    error: Raw = NULL


@dataclass(slots=True)
class Close(Performative):
    """Closes a connection."""

    CODE: ClassVar[int] = 0x18
    error: Raw = NULL


@dataclass(slots=True)
class SaslMechanisms(Performative):
    """The mechanisms that a server offers."""

    CODE: ClassVar[int] = 0x40
    mechanisms: Raw


@dataclass(slots=True)
class SaslInit(Performative):
    """The mechanism that a client chose, with its credentials."""

    CODE: ClassVar[int] = 0x41
    mechanism: String
    initial_response: Anything = None
    hostname: Anything = None


@dataclass(slots=True)
class SaslOutcome(Performative):
    """How the authentication went; 0 is well."""

    CODE: ClassVar[int] = 0x44
    code: Ubyte
    additional_data: Anything = None


_CLASSES: tuple[type[Performative], ...] = (
    Open,
    Begin,
    Attach,
    Flow,
    Transfer,
    Disposition,
    Detach,
    End,
    Close,
    SaslMechanisms,
    SaslInit,
    SaslOutcome,
)


class _Field(NamedTuple):
    name: str
    kind: _Kind
    mandatory: bool


def _fields_of(cls: type[Performative]) -> tuple[_Field, ...]:
    hints = get_type_hints(cls, include_extras=True)
    return tuple(_Field(item.name, _kind_of(hints[item.name]), item.default is MISSING) for item in fields(cls))


def _kind_of(hint: Any) -> _Kind:
    """The wire type in `Annotated[…]` or in `Annotated[…] | None`."""
    return next(part for part in (*get_args(hint), *get_args(get_args(hint)[0])) if isinstance(part, _Kind))


_BY_CODE: Mapping[int, type[Performative]] = {cls.CODE: cls for cls in _CLASSES}
_FIELDS: Mapping[type[Performative], tuple[_Field, ...]] = {cls: _fields_of(cls) for cls in _CLASSES}


def encode_performative(performative: Performative) -> bytes:
    """The bytes of a performative, every field written."""
    parts = []
    for name, kind, _ in _FIELDS[type(performative)]:
        value = getattr(performative, name)
        parts.append(NULL if value is None else kind.write(value))
    return _described(performative.CODE, *parts)


def decode_performative(body: bytes) -> tuple[Performative, int]:
    """The performative at the start of a frame's body, and the position of what follows it.

    Raises:
        AmqpDecodeError: no performative that this server knows, or one that breaks its definition.
    """
    code, count, at, end = _list_head(body)
    cls = _BY_CODE.get(code)
    if cls is None:
        raise AmqpDecodeError(f"no performative has the code {code:#04x}")
    values: dict[str, object] = {}
    for name, kind, mandatory in _FIELDS[cls]:
        value: object = None
        if count:
            count -= 1
            if kind is _RAW:
                start, at = at, skip(body, at)
                value = Encoded(body[start:at]) if body[start:at] != NULL else None
            else:
                value, at = decode(body, at)
        if value is not None:
            if not kind.accepts(value):
                raise AmqpDecodeError(f"{cls.__name__}.{name}: {value!r:.100} is no {kind.name}")
            values[name] = value
        elif mandatory:
            raise AmqpDecodeError(f"{cls.__name__}.{name} is missing")
    for _ in range(count):
        at = skip(body, at)
    if at != end:
        raise AmqpDecodeError(f"{cls.__name__}: its fields end at byte {at}, not at {end}")
    return cls(**values), end


def _list_head(body: bytes) -> tuple[int, int, int, int]:
    """(descriptor, number of items, position of the first item, position after the list)."""
    if body[:1] != b"\x00":
        raise AmqpDecodeError("a frame's body that is no described list")
    code, at = decode(body, 1)
    end = skip(body, at)
    if not isinstance(code, int):
        raise AmqpDecodeError(f"a performative described by {code!r:.100}")
    match body[at]:
        case 0x45:
            return code, 0, end, end
        case 0xC0 if body[at + 1]:
            return code, body[at + 2], at + 3, end
        case 0xD0 if end - at >= 9:
            return code, UINT32.unpack_from(body, at + 5)[0], at + 9, end
    raise AmqpDecodeError("a performative that is no list")


def _described(code: int, *encoded: bytes) -> Encoded:
    return Encoded(b"\x00\x53" + bytes((code,)) + encode_list(encoded))


# ---------------------------------------------------------------- states and errors

ACCEPTED = Encoded(b"\x00\x53\x24\x45")


def amqp_error(condition: str, description: str) -> Encoded:
    """An error, with its third field too: azure-eventhub reads it unasked."""
    return _described(0x1D, encode(Symbol(condition)), encode(description), NULL)


def rejected(condition: str, description: str) -> Encoded:
    """The outcome of a message that was not taken."""
    return _described(0x25, amqp_error(condition, description))
