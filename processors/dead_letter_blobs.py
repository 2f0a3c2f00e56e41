"""Dead letters in Blob Storage: `dead_letters.DeadLetters` for the real service.

The rule: nothing of an SDK gets past this module. What keeps a letter from being written is StorageUnavailable; that it
has changed meanwhile is an answer. The container is created when it is first missed.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from azure.core import MatchConditions
from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

from processors.attempts import Attempts
from processors.azure_errors import storage_errors
from processors.dead_letters import DeadLetter
from processors.errors import StorageUnavailable

if TYPE_CHECKING:  # it takes longer to import than all the rest together, and most invocations have no dead letter
    from azure.storage.blob import ContentSettings
    from azure.storage.blob.aio import BlobServiceClient, ContainerClient

CONTAINER = "dead-letters"
ROLE = "Storage Blob Data Contributor"


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
