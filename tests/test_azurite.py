"""devstack.azurite against the real Azurite: what it starts answers, comes back, and fails in plain words."""

import os
import socket
from pathlib import Path

import pytest
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient

from devstack.azurite import Azurite, AzuriteError


def _write(azurite: Azurite, rows: int) -> None:
    with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        table = tables.create_table_if_not_exists("rows")
        for row in range(rows):
            table.upsert_entity({"PartitionKey": "p", "RowKey": f"{row:04}"})


def _count(azurite: Azurite) -> int:
    with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        return sum(1 for _ in tables.get_table_client("rows").list_entities())


def test_blobs_and_tables_answer_and_the_process_ends() -> None:
    with Azurite() as azurite:
        pid = azurite.pid
        assert pid is not None
        assert len({azurite.blob_port, azurite.queue_port, azurite.table_port} - {0}) == 3
        _write(azurite, 3)
        assert _count(azurite) == 3
        with BlobServiceClient.from_connection_string(azurite.connection_string) as blobs:
            container = blobs.create_container("files")
            container.upload_blob("a", b"hello")
            assert container.download_blob("a").readall() == b"hello"
    assert azurite.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_restart_keeps_the_data_and_the_ports(tmp_path: Path) -> None:
    azurite = Azurite(data=tmp_path / "account")
    with azurite:
        connection_string = azurite.connection_string
        _write(azurite, 5)
    with azurite:
        assert azurite.connection_string == connection_string
        assert _count(azurite) == 5


def test_it_starts_again_after_a_kill(tmp_path: Path) -> None:
    azurite = Azurite(data=tmp_path / "account")
    with azurite:
        _write(azurite, 5)
    with azurite:
        azurite.kill()
        assert azurite.pid is None
    with azurite:
        assert _count(azurite) == 5


def test_without_a_folder_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    azurite = Azurite()
    with azurite:
        _write(azurite, 1)
    assert list(tmp_path.iterdir()) == []
    with azurite, TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        assert list(tables.list_tables()) == []


@pytest.mark.parametrize("position", [0, 1, 2], ids=["blob", "queue", "table"])
def test_a_taken_port_is_named(position: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port: int = other.getsockname()[1]
        blob, queue, table = (port if service == position else 0 for service in range(3))
        azurite = Azurite(blob, queue, table)
        with pytest.raises(AzuriteError, match=rf"port {port} of 127\.0\.0\.1 is taken"):
            azurite.start()
        assert azurite.pid is None


def test_the_error_holds_what_the_process_printed(tmp_path: Path) -> None:
    (tmp_path / "account").write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises((AzuriteError, FileExistsError)):
        Azurite(data=tmp_path / "account").start()
    corrupt = tmp_path / "corrupt"
    corrupt.mkdir()
    (corrupt / "__azurite_db_table__.json").write_text("{not json", encoding="utf-8")
    with pytest.raises(AzuriteError, match="It printed:"):
        Azurite(data=corrupt, start_timeout=10).start()
