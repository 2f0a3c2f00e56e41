"""Dead letters: what cannot be counted, kept with the reason, as a blob each, to be read and replayed.

The rule: a letter's name and content come from the message's position and bytes alone, no clock in it. So a redelivery
overwrites the letter with itself. A letter that was read is replaced or removed only as long as it is as it was read.

    dead-letters/{hub}/{partition}/{sequenceNumber:020}-{recordIndex:05}.json     one record
    dead-letters/{hub}/{partition}/{sequenceNumber:020}-message.json              the whole message

`rollups dead-letters` lists, shows and replays them.
"""

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Protocol, Self

from azure.core import MatchConditions
from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from processors.attempts import Attempts
from processors.azure_errors import storage_errors
from processors.errors import StorageUnavailable, UnreadableLetter

if TYPE_CHECKING:  # it takes longer to import than all the rest together, and most invocations have no dead letter
    from azure.storage.blob import ContentSettings
    from azure.storage.blob.aio import BlobServiceClient, ContainerClient

CONTAINER = "dead-letters"
ROLE = "Storage Blob Data Contributor"


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


class StoredLetter(NamedTuple):
    """A letter's blob as it was read."""

    content: bytes
    etag: str


class AzureDeadLetters:
    """Dead letters as blobs of one account, for one invocation. The container is created when it is first missed.

    Every method may raise StorageUnavailable, after bounded retries.
    """

    def __init__(self, service: "Callable[[], BlobServiceClient]", attempts: Attempts) -> None:
        """`service` makes the client when the first letter needs it."""
        self._service = service
        self._attempts = attempts

    async def put(self, letter: DeadLetter) -> None:
        """Write the letter's blob."""

        async def write(container: "ContainerClient") -> None:
            try:
                await container.upload_blob(letter.name, letter.content(), overwrite=True, content_settings=_json())
            except ResourceNotFoundError as error:
                if not await container.exists():
                    await container.create_container()
                raise StorageUnavailable(f"container {CONTAINER} was missing; it is created") from error

        await self._request(f"writing dead letter {letter.name}", write)

    async def names(self, prefix: str = "") -> list[str]:
        """The names of all letters that begin so, in their order."""

        async def read(container: "ContainerClient") -> list[str]:
            try:
                return [name async for name in container.list_blob_names(name_starts_with=prefix)]
            except ResourceNotFoundError:
                return []  # the container comes with the first letter

        return await self._request("listing dead letters", read)

    async def get(self, name: str) -> StoredLetter | None:
        """The letter's blob, None where there is none."""

        async def read(container: "ContainerClient") -> StoredLetter | None:
            try:
                blob = await container.download_blob(name)
                return StoredLetter(await blob.readall(), blob.properties.etag)
            except ResourceNotFoundError:
                return None

        return await self._request(f"reading dead letter {name}", read)

    async def replace(self, letter: DeadLetter, etag: str) -> bool:
        """Write the letter over the one that was read with this ETag; False where that has changed or gone."""

        async def write(container: "ContainerClient") -> bool:
            try:
                await container.upload_blob(
                    letter.name,
                    letter.content(),
                    overwrite=True,
                    content_settings=_json(),
                    etag=etag,
                    match_condition=MatchConditions.IfNotModified,
                )
            except (ResourceModifiedError, ResourceNotFoundError):
                return False
            return True

        return await self._request(f"writing dead letter {letter.name}", write)

    async def remove(self, name: str, etag: str) -> bool:
        """Delete the letter that was read with this ETag; False where it has changed. One that is gone is removed."""

        async def delete(container: "ContainerClient") -> bool:
            try:
                await container.delete_blob(name, etag=etag, match_condition=MatchConditions.IfNotModified)
            except ResourceModifiedError:
                return False
            except ResourceNotFoundError:
                return True
            return True

        return await self._request(f"deleting dead letter {name}", delete)

    async def _request[T](self, what: str, work: "Callable[[ContainerClient], Awaitable[T]]") -> T:
        async def request() -> T:
            with storage_errors(what, ROLE):
                return await work(self._service().get_container_client(CONTAINER))

        return await self._attempts.of(request)


def _json() -> "ContentSettings":
    from azure.storage.blob import ContentSettings

    return ContentSettings(content_type="application/json")
