"""Dead letters: what cannot be counted, kept with the reason, as a blob each, to be read and replayed.

The rule: a letter's name and content come from the message's position and bytes alone, no clock in it. So a redelivery
overwrites the letter with itself.

    dead-letters/{hub}/{partition}/{sequenceNumber:020}-{recordIndex:05}.json     one record
    dead-letters/{hub}/{partition}/{sequenceNumber:020}-message.json              the whole message
"""

import base64
import json
from dataclasses import dataclass
from typing import Protocol

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import BlobServiceClient

from processors.attempts import Attempts
from processors.azure_errors import storage_errors
from processors.errors import StorageUnavailable

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


class DeadLetters(Protocol):
    """Where dead letters go."""

    async def put(self, letter: DeadLetter) -> None:
        """Keep the letter, over one of the same name. Raises StorageUnavailable, after bounded retries."""


class AzureDeadLetters:
    """Dead letters as blobs of one account, for one invocation. The container is created when it is first missed."""

    def __init__(self, service: BlobServiceClient, attempts: Attempts) -> None:
        self._service = service
        self._attempts = attempts

    async def put(self, letter: DeadLetter) -> None:
        """Write the letter's blob. Raises StorageUnavailable."""

        async def request() -> None:
            with storage_errors(f"writing dead letter {letter.name}", ROLE):
                container = self._service.get_container_client(CONTAINER)
                try:
                    await container.upload_blob(
                        letter.name,
                        letter.content(),
                        overwrite=True,
                        content_settings=ContentSettings(content_type="application/json"),
                    )
                except ResourceNotFoundError as error:
                    if not await container.exists():
                        await container.create_container()
                    raise StorageUnavailable(f"container {CONTAINER} was missing; it is created") from error

        await self._attempts.of(request)
