"""Every error this package raises, and the AMQP conditions it answers with.

    EventHubsServerError
    ├── ConfigError        the config file: names what is wrong and where
    ├── DataError          the data folder: in use, foreign, or of another shape
    ├── CommandError       a command to the control port: answered with HTTP 400
    ├── AmqpError          carries a condition for the peer
    │   ├── ProtocolError      ends the connection that caused it
    │   ├── LinkRefusedError   ends, or never opens, one link
    │   └── AmqpDecodeError    bytes that are no AMQP; ends the connection, or rejects one message

Rule: whatever a peer sends, it can cause only an `AmqpError`.
"""

from enum import StrEnum


class Condition(StrEnum):
    """Error conditions: AMQP 1.0 part 2.8.15 to 2.8.18, and those that Event Hubs adds."""

    DECODE_ERROR = "amqp:decode-error"
    INTERNAL_ERROR = "amqp:internal-error"
    NOT_FOUND = "amqp:not-found"
    NOT_ALLOWED = "amqp:not-allowed"
    NOT_IMPLEMENTED = "amqp:not-implemented"
    RESOURCE_LIMIT_EXCEEDED = "amqp:resource-limit-exceeded"
    FRAMING_ERROR = "amqp:connection:framing-error"
    DETACH_FORCED = "amqp:link:detach-forced"
    MESSAGE_SIZE_EXCEEDED = "amqp:link:message-size-exceeded"
    STOLEN = "amqp:link:stolen"
    ARGUMENT_ERROR = "com.microsoft:argument-error"
    ARGUMENT_OUT_OF_RANGE = "com.microsoft:argument-out-of-range"
    SERVER_BUSY = "com.microsoft:server-busy"


class EventHubsServerError(Exception):
    """Root of this package's errors."""


class ConfigError(EventHubsServerError):
    """The config is unusable; the message is one line that names the place."""


class DataError(EventHubsServerError):
    """The data folder cannot be used as it is."""


class CommandError(EventHubsServerError):
    """A control command that is unknown or malformed."""


class AmqpError(EventHubsServerError):
    """What the peer is told: a condition (an AMQP symbol) and a description."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(f"{condition}: {description}")
        self.condition = condition
        self.description = description


class ProtocolError(AmqpError):
    """The peer broke the protocol or a limit: its connection is closed."""


class LinkRefusedError(AmqpError):
    """A link that may not be opened, or may not go on."""


class AmqpDecodeError(AmqpError):
    """Bytes that are no valid AMQP value, performative or message."""

    def __init__(self, description: str) -> None:
        super().__init__(Condition.DECODE_ERROR, description)
