"""Archived logs into the tables: equal to the oracle, whatever happens on the way; what is cut, noted, and left."""

import asyncio
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from hypothesis import given
from hypothesis import strategies as st

from devstack.azurite import Azurite
from devstack.verdict import Tables, dead_letter_bodies, disagreements
from devstack.workload import Execution, Workload
from processors import limits
from processors.errors import BadRequest, StorageUnavailable
from processors.ingest import Batch, Message, ingest
from processors.services import Services
from processors.settings import load_storage
from reader import backfill as module
from reader.backfill import Backfill, Cutter, Journal, Piece, Source, Totals, blob_sources, local_sources
from tests.core.examples import an_execution, message, record
from tests.reader.archive import LOGS, a_workload, files_of, write

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    with Azurite() as running:
        yield running


@pytest.fixture
def connection(azurite: Azurite) -> str:
    """An account without rows, letters and archives."""
    with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        for table in list(tables.list_tables()):
            tables.delete_table(table.name)
    with BlobServiceClient.from_connection_string(azurite.connection_string) as blobs:
        for container in list(blobs.list_containers()):
            blobs.delete_container(container.name)
    return azurite.connection_string


@pytest.fixture(scope="module")
def workload() -> Workload:
    return a_workload(seed=5, tasks=600)


@pytest.fixture(scope="module")
def executions(workload: Workload) -> list[Execution]:
    return list(workload.executions())


@pytest.fixture(scope="module")
def archived(workload: Workload) -> tuple[dict[str, bytes], int]:
    return files_of(workload)


@pytest.fixture
def folder(archived: tuple[dict[str, bytes], int], tmp_path: Path) -> Path:
    return write(archived[0], tmp_path / "archive")


def replayed(
    connection: str | None,
    sources: list[Source],
    journal: Path | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    restart: bool = False,
) -> Totals:
    async def run() -> Totals:
        services = None if connection is None else Services(load_storage({"RollupStorage": connection}))
        try:
            storage = None if services is None else services.storage
            done = await Backfill(storage, Journal(journal, restart=restart), time.time, progress).run(sources)
            return done.totals
        finally:
            if services is not None:
                await services.close()

    return asyncio.run(run())


def differences(connection: str, executions: list[Execution]) -> list[str]:
    tables = Tables(connection)
    return disagreements(tables, executions, tables.dead_letters)


# --- cutting ---------------------------------------------------------------------------------------------------------


def pieces(chunks: list[bytes]) -> list[Piece]:
    cutter = Cutter()
    return [piece for chunk in chunks for piece in cutter.feed(chunk)] + list(cutter.end())


@given(
    st.lists(st.binary(max_size=60).map(lambda line: line.replace(b"\n", b".")), max_size=30).map(b"\n".join),
    st.lists(st.integers(0, 900), max_size=8),
)
def test_how_a_source_is_cut_depends_on_its_bytes_alone(content: bytes, cuts: list[int]) -> None:
    """In whole lines, none lost, from every piece's end on as from the beginning."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MESSAGE_BYTES", 50)
        patch.setattr(module, "_HEAD", 55)
        places = sorted({0, *(cut for cut in cuts if cut < len(content)), len(content)})
        found = pieces([content[start:end] for start, end in pairwise(places)])
        assert found == pieces([content])
        assert [piece.offset for piece in found[1:]] == [piece.end for piece in found[:-1]]
        for number, piece in enumerate(found):
            whole = content[piece.offset : piece.end].rstrip(b"\r\n")
            assert piece.body == whole[:55]
            assert len(whole) <= 50 or b"\n" not in whole
            assert piece.end == len(content) or content[piece.end - 1 : piece.end] == b"\n"
            rest = Cutter(piece.end)
            assert [*rest.feed(content[piece.end :]), *rest.end()] == found[number + 1 :]
        assert not content or found[-1].end == len(content)


def test_a_line_of_any_length_takes_bounded_memory() -> None:
    cutter = Cutter()
    for _ in range(20):
        assert list(cutter.feed(b"x" * 1_000_000)) == []
        assert len(cutter._buffer) <= 2 * limits.MESSAGE_BYTES  # noqa: SLF001 - what is in memory
    (piece, _) = [*cutter.feed(b"\n{}"), *cutter.end()]
    assert (piece.end, len(piece.body)) == (20_000_001, limits.MESSAGE_BYTES + 1)


# --- counting --------------------------------------------------------------------------------------------------------


def test_a_folder_becomes_the_tables_that_the_oracle_expects(
    connection: str, folder: Path, executions: list[Execution], archived: tuple[dict[str, bytes], int]
) -> None:
    files, bad = archived
    advanced: list[int] = []
    totals = replayed(connection, local_sources([str(folder)]), progress=advanced.append)
    assert differences(connection, executions) == []
    assert (totals.sources, totals.skipped, totals.counted, totals.dead_letters) == (
        len(files), 0, len(executions), bad,
    )  # fmt: skip
    assert totals.bytes == sum(advanced) == sum(map(len, files.values()))
    assert totals.records == sum(content.count(b"\n") for content in files.values()) - _no_records(connection)
    assert totals.ignored["TaskFailEvent"] > 0
    letters = Tables(connection).dead_letters
    assert bad > 3
    assert len(letters) == bad
    assert all(name.startswith("replay/") and "PT1H.json-" in name for name in letters)
    again = replayed(connection, local_sources([str(folder)]))
    assert (again.counted, again.duplicates) == (0, totals.executions)
    assert Tables(connection).dead_letters == letters
    assert differences(connection, executions) == []


def _no_records(connection: str) -> int:
    """Dead letters of what is no record at all."""
    return sum(not _is_record(body) for body in dead_letter_bodies(connection).values())


def _is_record(body: bytes) -> bool:
    try:
        return any(key.lower() == "operationname" and value for key, value in json.loads(body, strict=False).items())
    except (ValueError, AttributeError):
        return False


def test_gzip_standard_input_and_lines_that_are_envelopes(connection: str, tmp_path: Path) -> None:
    told = [an_execution(number, task_id=f"t{number}") for number in range(6)]
    lines = [json.dumps(record(each)).encode() + b"\n" for each in told[:4]]
    (tmp_path / "one.json.gz").write_bytes(gzip.compress(lines[0]) + gzip.compress(lines[1]))  # two members
    (tmp_path / "two.jsonl").write_bytes(b"\xef\xbb\xbf" + lines[2] + b"\r\n" + message(record(told[4])) + b"\n\n")
    (tmp_path / "note.txt").write_text("not of the archive")
    stdin = io.BytesIO(lines[3] + json.dumps(record(told[5])).encode())  # without an end of line
    totals = replayed(connection, local_sources([str(tmp_path), "-"], stdin))
    assert (totals.sources, totals.counted, totals.dead_letters) == (3, 6, 0)
    assert len([row for row in Tables(connection).tasks if not row["RowKey"].startswith("~")]) == 6


def test_large_gzip_is_unpacked_in_bounded_pieces(tmp_path: Path) -> None:
    (tmp_path / "zeros.json.gz").write_bytes(gzip.compress(b"[0]\n" * 5_000_000, 9))
    (source,) = local_sources([str(tmp_path)])

    async def largest() -> tuple[int, int]:
        sizes = [len(part.piece.body) async for part in module._parts(source, 0) if part.piece]  # noqa: SLF001
        return max(sizes), len(sizes)

    assert asyncio.run(largest()) == (module.MESSAGE_BYTES - 1, 77)


@pytest.mark.parametrize(
    "broken", [b"\x1f\x8b nonsense", gzip.compress(b'{"x": 1}\n' * 99)[:-12]], ids=["nonsense", "cut short"]
)
def test_a_source_that_cannot_be_read_is_named_and_the_others_go_on(
    connection: str, tmp_path: Path, broken: bytes
) -> None:
    (tmp_path / "a.json.gz").write_bytes(broken)
    (tmp_path / "b.json").write_text(json.dumps(record()))
    journal = tmp_path / "state" / "journal"
    totals = replayed(connection, local_sources([str(tmp_path)]), journal)
    assert (totals.counted, totals.sources) == (1, 1)
    assert [line.partition(": ")[2].partition(":")[0] for line in totals.unreadable] == ["it cannot be unpacked"]
    assert replayed(connection, local_sources([str(tmp_path)]), journal).skipped == 1


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"none\.json cannot be read: No such file or directory"):
        local_sources([str(tmp_path / "none.json")])
    with pytest.raises(BadRequest, match=r"has no file named \.json"):
        local_sources([str(tmp_path)])


def test_a_dry_run_counts_and_writes_nothing(
    connection: str, folder: Path, archived: tuple[dict[str, bytes], int]
) -> None:
    totals = replayed(None, local_sources([str(folder)]))
    assert totals.dead_letters == archived[1]
    assert totals.executions >= 600
    tables = Tables(connection)
    assert (tables.jobs, tables.tasks, tables.dead_letters) == ([], [], set())


def test_a_dead_letter_is_named_for_its_place_in_the_source(connection: str, tmp_path: Path) -> None:
    good = json.dumps(record()).encode() + b"\n"
    path = tmp_path / LOGS / "resourceId=" / "S" / "PT1H.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(
        good + b'{"operationName": "TaskCompleteEvent"}\n' + b"x" * (limits.MESSAGE_BYTES + 5) + b"\n" + good
    )
    replayed(connection, local_sources([str(tmp_path)]))
    letters = Tables(connection).dead_letters
    (partition,) = {letter.split("/")[1] for letter in letters}
    assert partition.startswith(f"{LOGS}-resourceId=-S-PT1H.json-")
    offset = len(good) + len(b'{"operationName": "TaskCompleteEvent"}\n')
    assert {letter.rpartition("/")[2] for letter in letters} == {
        "00000000000000000000-00001.json",
        f"{offset:020}-message.json",
    }
    assert [each["completionCount"].value for each in Tables(connection).jobs] == [1]


# --- going on --------------------------------------------------------------------------------------------------------


def test_what_is_done_is_not_done_again_unless_it_has_changed(connection: str, folder: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    first = replayed(connection, local_sources([str(folder)]), journal)
    done = replayed(connection, local_sources([str(folder)]), journal)
    assert (done.sources, done.skipped, done.records) == (0, first.sources, 0)
    grown = min(folder.rglob("*.json"))
    with grown.open("a") as file:
        file.write(json.dumps(record()) + "\n")
    more = replayed(connection, local_sources([str(folder)]), journal)
    assert (more.sources, more.skipped, more.counted) == (1, first.sources - 1, 1)
    assert replayed(connection, local_sources([str(folder)]), journal, restart=True).sources == first.sources


class BrokenOffError(Exception):
    """Ends a replay where a test wants it to."""


@pytest.mark.parametrize("packed", [False, True])
def test_it_goes_on_within_a_source(
    connection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setattr(module, "MESSAGE_BYTES", 2_000)
    monkeypatch.setattr(module, "BATCH_BYTES", 4_000)
    monkeypatch.setattr(module, "CHUNK_BYTES", 3_000)
    content = b"".join(
        json.dumps(record(an_execution(number, task_id=f"t{number}"))).encode() + b"\n" for number in range(40)
    )
    path = tmp_path / "log.json"
    path.write_bytes(gzip.compress(content) if packed else content)
    journal = tmp_path / "journal"
    batches: list[int] = []

    def stop_at_the_third(advanced: int) -> None:
        batches.append(advanced)
        if len(batches) > 6:
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        replayed(connection, local_sources([str(path)]), journal, stop_at_the_third)
    with journal.open("a") as file:
        file.write('{"source": "torn')  # as a kill leaves it
    totals = replayed(connection, local_sources([str(path)]), journal)
    assert 0 < totals.records < 40
    assert totals.duplicates == 0
    assert [job["taskCount"].value for job in Tables(connection).jobs] == [40]


def test_a_state_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequest, match="give --state FILE"):
        Journal(tmp_path / "file" / "journal")


def test_storage_that_is_busy_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log.json").write_text(json.dumps(record()))
    waited: list[float] = []
    tries = iter([StorageUnavailable("busy"), StorageUnavailable("busy"), None])

    async def busy(batch: Batch, *rest: object) -> object:
        if (error := next(tries)) is not None:
            raise error
        return await ingest(batch, *rest)  # type: ignore[arg-type]

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(module, "ingest", busy)
    backfill = Backfill(None, Journal(None), time.time, lambda _: None, sleep)
    assert asyncio.run(backfill.run(local_sources([str(tmp_path)]))).totals.executions == 1
    assert waited == [1.0, 2.0]
    tries = iter([StorageUnavailable("forbidden", transient=False)])
    with pytest.raises(StorageUnavailable, match="forbidden"):
        asyncio.run(Backfill(None, Journal(None), time.time, lambda _: None, sleep).run(local_sources([str(tmp_path)])))


def rollups(connection: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "reader", *arguments],
        cwd=ROOT,
        env=os.environ | {"RollupStorage": connection},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def counted(connection: str) -> int:
    """Task rows, as far as there is a table."""
    with TableServiceClient.from_connection_string(connection) as tables:
        try:
            found = tables.get_table_client("TaskRollups").query_entities("RowKey lt '~'", select=["RowKey"])
            return sum(1 for _ in found)
        except ResourceNotFoundError:
            return 0


def test_a_replay_that_is_killed_and_repeated_counts_everything_once(
    connection: str, folder: Path, tmp_path: Path, executions: list[Execution]
) -> None:
    command = ["replay", str(folder), "--state", str(tmp_path / "journal")]
    reached = 0
    for _ in range(2):
        with rollups(connection, *command) as running:
            while running.poll() is None and counted(connection) <= reached:
                pass
            assert running.poll() is None, running.communicate()
            running.send_signal(signal.SIGKILL)
            running.wait()
        reached = counted(connection)
        assert 0 < reached < 600
    with rollups(connection, *command) as running:
        out, err = running.communicate()
    assert (running.returncode, err) == (0, "")
    assert "dead letter" in out
    assert differences(connection, executions) == []


def test_a_replay_beside_the_live_function_counts_everything_once(
    connection: str, folder: Path, workload: Workload, executions: list[Execution]
) -> None:
    """The same log comes through the hub at the same time."""

    async def live() -> None:
        services = Services(load_storage({"RollupStorage": connection}))
        try:
            for each in workload.messages():
                one = Message(each.body, each.number, None)
                await ingest(Batch("hub", each.partition or "0", [one]), services.storage(), time.time)
        finally:
            await services.close()

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    try:
        totals = replayed(connection, local_sources([str(folder)]))
    finally:
        thread.join()
    assert totals.counted < len(executions)  # both had a share in it
    assert differences(connection, executions) == []


# --- containers ------------------------------------------------------------------------------------------------------


def test_a_container_as_a_diagnostic_setting_fills_it(
    connection: str, archived: tuple[dict[str, bytes], int], executions: list[Execution], tmp_path: Path
) -> None:
    """Append blobs, which grow while they are read."""
    files, _ = archived
    blobs = {path.partition("/")[2]: content for path, content in files.items()}
    with BlobServiceClient.from_connection_string(connection) as service:
        container = service.create_container(LOGS)
        container.upload_blob("readme.txt", b"not of the archive")
        for name, content in blobs.items():
            client = container.get_blob_client(name)
            client.create_append_blob()
            half = content.index(b"\n", len(content) // 2 - 1) + 1
            client.append_block(content[:half])
        late = container.get_blob_client(max(blobs, key=lambda name: len(blobs[name])))

        async def read_while_it_grows(journal: Path) -> Totals:
            services = Services(load_storage({"RollupStorage": connection}))
            try:
                found = await blob_sources(services.clients.blob_service.get_container_client(LOGS), "")
                grown = [replace(each, chunks=growing(each)) for each in found]
                done = await Backfill(services.storage, Journal(journal), time.time, lambda _: None).run(grown)
                return done.totals
            finally:
                await services.close()

        def growing(source: Source) -> Callable[[int], AsyncGenerator[bytes]]:
            name = source.name.partition("/")[2]

            async def chunks(offset: int) -> AsyncGenerator[bytes]:
                assert source.size is not None
                if container.get_blob_client(name).get_blob_properties().size == source.size and blobs[name]:
                    container.get_blob_client(name).append_block(blobs[name][source.size :] or b"\n")
                async for chunk in source.chunks(offset):
                    yield chunk

            return chunks

        journal = tmp_path / "journal"
        first = asyncio.run(read_while_it_grows(journal))
        assert first.sources == len(blobs)
        assert first.counted < len(executions)
        assert late.get_blob_properties().size >= len(blobs[late.blob_name])
    source = f"{LOGS}/resourceId="
    with rollups(connection, "replay", source, "--from-storage", connection, "--state", str(journal)) as running:
        out, err = running.communicate()
    assert (running.returncode, err) == (0, "")
    assert f"{len(blobs):,} sources, " in out
    assert differences(connection, executions) == []
    with rollups(connection, "replay", "nothing", "--from-storage", connection) as running:
        _, err = running.communicate()
    assert running.returncode == 2
    assert "Traceback" not in err
