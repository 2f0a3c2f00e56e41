"""The data folder: one folder a hub, one file a partition, one server at a time.

    <data>/.lock
    <data>/<hub, in lower case>/<partition id>.log

Rules: two servers never write to one folder (a lock that ends with its process, however that ends); a hub's number of
partitions never shrinks below what the folder holds, for events would silently vanish.
"""

import os
from pathlib import Path

from .config import HubConfig
from .errors import DataError

try:
    import fcntl
except ImportError:  # not POSIX: no lock
    fcntl = None  # type: ignore[assignment]


class DataFolder:
    """A data folder, made if it is not there, and locked until `close`.

    Raises (when made):
        DataError: another server uses it.
        OSError: it cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        if fcntl is not None:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(self._lock)
                raise DataError(f"{path}: another server is using this data folder") from error

    def partition_paths(self, hub: HubConfig) -> list[Path]:
        """Where a hub's partitions are kept.

        Raises:
            DataError: the folder holds more partitions than the hub has.
        """
        folder = self._path / hub.name.lower()
        folder.mkdir(exist_ok=True)
        held = len(list(folder.glob("*.log")))
        if held > hub.partition_count:
            raise DataError(
                f"{folder}: holds {held} partitions, but the config gives the hub {hub.partition_count}: "
                "restore the number, or delete the folder and its events"
            )
        return [folder / f"{index}.log" for index in range(hub.partition_count)]

    def close(self) -> None:
        """Let another server have it."""
        os.close(self._lock)
