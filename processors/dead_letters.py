"""Dead letters: what cannot be counted, kept with the reason, as a blob each, to be read and replayed.

The rule: a letter's name and content come from the message's position and bytes alone, no clock in it. So a redelivery
overwrites the letter with itself. A letter that was read is replaced or removed only as long as it is as it was read.

    dead-letters/{hub}/{partition}/{sequenceNumber:020}-{recordIndex:05}.json     one record
    dead-letters/{hub}/{partition}/{sequenceNumber:020}-message.json              the whole message

`rollups dead-letters` lists, shows and replays them. `dead_letter_blobs` writes and reads them.
"""

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from processors.errors import UnreadableLetter


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One bad record or message, where it stood, and why it is bad."""

    hub: str
    partition: str
    sequence_number: int
    record_index: int | None
    """None: the whole message."""
    enqueued_time: str | None
    """ISO 8601, as Event Hubs set it."""
    errors: tuple[str, ...]
    body: bytes
    """The original bytes: of the record, or of the message."""

    @property
    def name(self) -> str:
        """The blob's name in the container."""
        item = "message" if self.record_index is None else f"{self.record_index:05}"
        return f"{self.hub}/{self.partition}/{self.sequence_number:020}-{item}.json"

    def content(self) -> bytes:
        """The letter as JSON. The body is text where it is UTF-8, else base64: `encoding` says which."""
        try:
            encoding, body = "utf-8", self.body.decode()
        except UnicodeDecodeError:
            encoding, body = "base64", base64.b64encode(self.body).decode()
        letter = {
            "errors": self.errors,
            "eventHub": self.hub,
            "partition": self.partition,
            "sequenceNumber": self.sequence_number,
            "recordIndex": self.record_index,
            "enqueuedTime": self.enqueued_time,
            "encoding": encoding,
            "body": body,
        }
        return json.dumps(letter, ensure_ascii=False, indent=1).encode()

    @classmethod
    def read(cls, name: str, content: bytes) -> Self:
        """The letter that the blob `name` holds. Raises UnreadableLetter."""
        try:
            stored = _Content.model_validate_json(content)
            if stored.enqueued_time is not None:
                datetime.fromisoformat(stored.enqueued_time)
            body = stored.body.encode() if stored.encoding == "utf-8" else base64.b64decode(stored.body, validate=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            reason = ": ".join([*map(str, first["loc"]), first["msg"]])
            raise UnreadableLetter(f"the letter cannot be read: {reason}") from error
        except ValueError as error:
            raise UnreadableLetter(f"the letter cannot be read: enqueuedTime or body: {error}") from error
        letter = cls(
            stored.event_hub,
            stored.partition,
            stored.sequence_number,
            stored.record_index,
            stored.enqueued_time,
            stored.errors,
            body,
        )
        if letter.name != name:
            raise UnreadableLetter(f"the letter cannot be read: its fields are those of {letter.name}")
        return letter


class _Content(BaseModel):
    """What `DeadLetter.content` writes."""

    model_config = ConfigDict(strict=True, alias_generator=to_camel)

    errors: tuple[str, ...]
    event_hub: str
    partition: str
    sequence_number: Annotated[int, Field(ge=0)]
    record_index: Annotated[int, Field(ge=0)] | None
    enqueued_time: str | None
    encoding: Literal["utf-8", "base64"]
    body: str


class DeadLetters(Protocol):
    """Where dead letters go."""

    async def put(self, letter: DeadLetter) -> None:
        """Keep the letter, over one of the same name. Raises StorageUnavailable, after bounded retries."""
