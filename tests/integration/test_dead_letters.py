"""`rollups dead-letters` against Azurite: what is listed, shown, counted, removed and kept."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient, ContainerClient

from devstack.azurite import Azurite
from processors.clients import AzureStorage
from processors.columns import JOBS, TASKS
from processors.dead_letter_blobs import AzureDeadLetters
from processors.dead_letters import DeadLetter
from processors.ingest import Batch, Message, ingest
from processors.limits import BAD_RECORDS_A_MESSAGE
from processors.replay import Replay
from processors.services import Services
from processors.settings import load_storage
from reader.cli import app
from tests.core.examples import ENQUEUED, NOW, an_execution, message, record


def main(arguments: list[str]) -> int:
    """Run the command in this process; its exit status."""
    with pytest.raises(SystemExit) as ended:
        app(["dead-letters", *arguments], prog_name="rollups")
    assert isinstance(ended.value.code, int)
    return ended.value.code


GOOD = [an_execution(number, task_id=f"t{number}") for number in range(3)]
LATER = an_execution(3, task_id="t3")
BAD = record() | {"properties": None}


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    with Azurite() as running:
        yield running


@pytest.fixture
def container(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Iterator[ContainerClient]:
    """The dead letters of an empty account, which the environment names."""
    monkeypatch.setenv("RollupStorage", azurite.connection_string)
    with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        for table in tables.list_tables():
            for entity in tables.get_table_client(table.name).list_entities():
                tables.get_table_client(table.name).delete_entity(entity)
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        container = service.get_container_client("dead-letters")
        if not container.exists():
            container.create_container()
        for name in list(container.list_blob_names()):
            container.delete_blob(name)
        yield container


def letter(
    body: bytes, number: int = 0, index: int | None = None, hub: str = "hub", partition: str = "0"
) -> DeadLetter:
    return DeadLetter(hub, partition, number, index, ENQUEUED.isoformat(), ("an old error",), body)


def put(container: ContainerClient, *letters: DeadLetter) -> list[str]:
    for each in letters:
        container.upload_blob(each.name, each.content())
    return [each.name for each in letters]


def stored(container: ContainerClient) -> dict[str, dict[str, Any]]:
    return {name: json.loads(content) for name, content in contents(container).items()}


def contents(container: ContainerClient) -> dict[str, bytes]:
    return {name: container.download_blob(name).readall() for name in sorted(container.list_blob_names())}


def rows(azurite: Azurite) -> dict[tuple[str, str, str], Any]:
    """All rows of both tables."""
    with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
        return {
            (table.name, entity["PartitionKey"], entity["RowKey"]): dict(entity)
            for table in tables.list_tables()
            for entity in tables.get_table_client(table.name).list_entities()
        }


def completions(azurite: Azurite) -> int:
    """Executions in the published rows."""
    return sum(row["completionCount"].value for (table, _, _), row in rows(azurite).items() if table == JOBS)


def with_storage[T](connection: str, work: Callable[[AzureStorage], Any], buckets: int = 1) -> None:
    async def run() -> None:
        services = Services(load_storage({"RollupStorage": connection, "JobBuckets": str(buckets)}))
        try:
            await work(services.storage())
        finally:
            await services.close()

    asyncio.run(run())


def count(azurite: Azurite, *bodies: bytes) -> None:
    """What the function does with the messages."""
    batch = Batch("hub", "0", [Message(body, number, ENQUEUED) for number, body in enumerate(bodies)])
    with_storage(azurite.connection_string, lambda storage: ingest(batch, storage, lambda: NOW))


# --- list and show ---------------------------------------------------------------------------------------------------


def test_letters_are_listed_with_their_first_error(
    container: ContainerClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    names = put(container, letter(b"x"), letter(b"y", 1, hub="other"), letter(b"z", 2, 7, partition="3"))
    assert main(["list"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split("\t") == ["name", "enqueuedTime", "errors"]
    assert [line.split("\t") for line in lines] == [
        [name, ENQUEUED.isoformat(), '["an old error"]'] for name in sorted(names)
    ]
    assert main(["list", "--format", "table"]) == 0
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "enqueued", "first", "error"]
    assert len(lines) >= 3


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--hub", "hub"], [0, 2]),
        (["--hub", "hub", "--partition", "3"], [2]),
        (["--partition", "0"], [0, 1]),
        (["--hub", "hu"], []),
    ],
)
def test_letters_are_filtered_and_given_as_json(
    container: ContainerClient, capsys: pytest.CaptureFixture[str], filters: list[str], expected: list[int]
) -> None:
    names = put(container, letter(b"x"), letter(b"y", 1, hub="other"), letter(b"z", 2, 7, partition="3"))
    assert main(["list", "--format", "json", *filters]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"name": names[number], "enqueuedTime": ENQUEUED.isoformat(), "errors": ["an old error"]} for number in expected
    ]


def test_a_letter_is_shown_without_what_could_steer_the_terminal(
    container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    text, other, binary = put(
        container,
        letter(b'{"a": "\\u001b[2J\xc2\x9b"}', 1, 5),
        letter(b"\x1b[2J caf\xc3\xa9\n", 2),
        letter(b"\xff\x00", 3),
    )
    shown = []
    for name in (text, other, binary):
        assert main(["show", name]) == 0
        shown.append(capsys.readouterr().out)
    assert '"a": "\\u001b[2J\\x9b"' in shown[0]
    assert "sequence number 1, record 5 of the message" in shown[0]
    assert "error: an old error" in shown[0]
    assert "\\x1b[2J café\n" in shown[1]
    assert "the whole message" in shown[1]
    assert "\\xff\\x00" in shown[2]


# --- replay ----------------------------------------------------------------------------------------------------------


def test_a_dry_run_tells_everything_and_writes_nothing(
    container: ContainerClient, azurite: Azurite, capsys: pytest.CaptureFixture[str]
) -> None:
    count(azurite, message(record(GOOD[0])))
    names = put(
        container,
        letter(message(record(GOOD[0]), record(GOOD[1])), 1),
        letter(json.dumps(record(GOOD[1])).encode(), 2, 4),
        letter(json.dumps(BAD).encode(), 3, 1),
        letter(message(record(GOOD[2]), BAD, record() | {"operationName": "x"}), 4),
    )
    before = contents(container), rows(azurite)
    assert main(["replay", "--all"]) == 1
    assert (contents(container), rows(azurite)) == before
    error = "properties: Field required"
    assert capsys.readouterr().out.splitlines() == [
        f"{names[0]}: 1 counted, 1 duplicate, would be removed",
        f"{names[1]}: 1 duplicate, would be removed",
        f"{names[2]}: 1 still bad",
        f"    {names[2]}: {error}",
        f"{names[3]}: 1 counted, 1 ignored, 1 still bad",
        f"    hub/0/00000000000000000004-00001.json: {error}",
        "2 would be solved, 2 not. This was a dry run: add --yes to do it.",
    ]


def test_jobs_are_founded_as_the_setting_says_and_a_dry_run_leaves_nothing_to_remember(
    container: ContainerClient, azurite: Azurite
) -> None:
    """Two letters of one job: were the first's partial sums remembered, the second's would conflict with them."""
    put(container, letter(message(*map(record, GOOD))), letter(message(record(GOOD[0]), record(LATER)), 1))

    async def replay(storage: AzureStorage) -> None:
        rehearsal = Replay(storage, lambda: NOW, rehearse=True)
        rehearsed = [await rehearsal.of(name) for name in names]
        assert storage.recent.shards == 0
        assert rows(azurite) == {}
        real = Replay(storage, lambda: NOW, rehearse=False)
        assert [await real.of(name) for name in names] == rehearsed
        assert [(each.counted, each.duplicates) for each in rehearsed] == [(3, 0), (1, 1)]
        assert storage.recent.shards > 0

    names = list(stored(container))
    with_storage(azurite.connection_string, replay, buckets=3)
    (job,) = [row for (table, _, _), row in rows(azurite).items() if table == JOBS]
    assert (job["taskCount"].value, job["bucketCount"].value) == (4, 3)
    assert stored(container) == {}


def test_a_dry_run_in_an_account_without_tables_or_letters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Azurite() as azurite, BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        monkeypatch.setenv("AzureWebJobsStorage", azurite.connection_string)
        assert main(["list", "--format", "table"]) == 0
        assert capsys.readouterr().out == "no dead letters\n"
        container = service.create_container("dead-letters")
        put(container, letter(message(record(GOOD[0]))))
        assert main(["replay", "--all"]) == 0
        assert "1 counted, would be removed" in capsys.readouterr().out
        with TableServiceClient.from_connection_string(azurite.connection_string) as tables:
            assert list(tables.list_tables()) == []
        assert main(["replay", "--all", "--yes"]) == 0
        assert completions(azurite) == 1


def test_what_is_good_by_now_is_counted_once_and_its_letter_removed(
    container: ContainerClient, azurite: Azurite, capsys: pytest.CaptureFixture[str]
) -> None:
    one, _ = put(
        container,
        letter(json.dumps(record(GOOD[0])).encode(), 1, 3),
        letter(message(*map(record, GOOD)), 2, partition="1"),
    )
    assert main(["replay", one, one, "--yes"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{one}: 1 counted, removed", "1 solved, 0 not."]
    assert main(["replay", "--all", "--yes"]) == 0
    assert "2 counted, 1 duplicate, removed" in capsys.readouterr().out
    assert contents(container) == {}
    assert completions(azurite) == 3
    assert {key[2] for key in rows(azurite) if key[0] == TASKS} == {"t0", "t1", "t2", "~job~", "~job~0", "~job~1"}


def test_what_is_still_bad_keeps_its_letter_with_the_new_error(container: ContainerClient) -> None:
    letters = [
        letter(json.dumps(BAD).encode(), 1, 3),
        letter(b'{"x": 1}', 2, 12),
        letter(b"[1, 2", 3, 0),
        letter(b"oops", 4),
        letter(b"\xff\xfe", 5),
    ]
    put(container, *letters)
    before = stored(container)
    assert main(["replay", "--all", "--yes"]) == 1
    after = stored(container)
    assert [after[each.name] | {"errors": ["an old error"]} for each in letters] == list(before.values())
    assert after.keys() == before.keys()
    assert [after[each.name]["errors"][0].split(":")[0] for each in letters] == [
        "properties",
        "holds no record",
        "not JSON",
        "not JSON",
        "not UTF-8",
    ]
    written = {blob.name: blob.etag for blob in container.list_blobs()}
    assert main(["replay", "--all", "--yes"]) == 1
    assert {blob.name: blob.etag for blob in container.list_blobs()} == written  # the same errors: nothing to write


def test_a_message_of_which_some_is_bad_becomes_a_letter_for_each_bad_record(
    container: ContainerClient, azurite: Azurite
) -> None:
    """The same letters as if the message came today."""
    body = message(record(GOOD[0]), BAD, record(GOOD[1]), 7)
    put(container, letter(body, 4))
    assert main(["replay", "--all", "--yes"]) == 1
    assert completions(azurite) == 2
    after = contents(container)
    assert [name.rpartition("-")[2] for name in after] == ["00001.json", "00003.json"]
    count(azurite, b"1", b"1", b"1", b"1", body)
    assert after.items() <= contents(container).items()


def test_a_message_with_too_many_bad_records_stays_one_letter(container: ContainerClient, azurite: Azurite) -> None:
    (name,) = put(container, letter(message(record(GOOD[0]), *[BAD] * (BAD_RECORDS_A_MESSAGE + 1)), 4))
    assert main(["replay", name, "--yes"]) == 1
    assert list(stored(container)) == [name]
    assert stored(container)[name]["errors"][0].startswith(f"{BAD_RECORDS_A_MESSAGE + 1} of its records are bad")
    assert completions(azurite) == 1


def test_one_record_whose_bytes_hold_several_keeps_one_letter(container: ContainerClient, azurite: Azurite) -> None:
    """The rest of a message with too many broken lines is one item."""
    body = b"\n".join([json.dumps(record(GOOD[0])).encode(), b"oops", b"7"])
    (name,) = put(container, letter(body, 4, 101))
    assert main(["replay", name, "--yes"]) == 1
    assert completions(azurite) == 1
    assert [held["errors"] for held in stored(container).values()] == [
        [f"not JSON: Expecting value: line 2 column 1 (char {body.index(b'oops')})", "not a record: a JSON number"]
    ]
    assert list(stored(container)) == [name]


def test_letters_that_were_edited_into_something_unreadable_are_left_and_the_others_go_on(
    container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    good = letter(message(record(GOOD[0])), 9)
    content = json.loads(good.content())
    edits: dict[str, Any] = {
        "hub/0/00000000000000000001-message.json": b"",
        "hub/0/00000000000000000002-message.json": b'{"errors": ["\x1b[2J',
        "hub/0/00000000000000000003-message.json": {**content, "sequenceNumber": "3"},
        "hub/0/00000000000000000004-message.json": {**content, "sequenceNumber": 4, "encoding": "base64", "body": "?"},
        "hub/0/00000000000000000005-message.json": {**content, "sequenceNumber": 5, "enqueuedTime": "soon"},
        "hub/0/00000000000000000006-message.json": content,
        "hub/0/00000000000000000007-message.json": {**content, "sequenceNumber": 7, "body": "\ud800"},
        "note.txt": b"hello",
    }
    for name, edit in edits.items():
        container.upload_blob(name, edit if isinstance(edit, bytes) else json.dumps(edit).encode())
    before = contents(container)
    put(container, good)
    assert main(["replay", "--all", "--yes"]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    told = dict(line.split(": ", 1) for line in lines)
    assert told.pop(good.name) == "1 counted, removed"
    assert told.keys() == edits.keys()
    for reason in told.values():
        assert reason.startswith("the letter cannot be read: ")
        assert reason.endswith("; correct the blob or delete it")
    assert last == "1 solved, 8 not."
    assert contents(container) == before
    assert main(["list"]) == 0
    assert capsys.readouterr().out.count("the letter cannot be read: ") == 8
    assert main(["show", "hub/0/00000000000000000002-message.json"]) == 2
    shown = capsys.readouterr()
    assert "\\x1b[2J" in shown.out
    assert shown.err.startswith("rollups: the letter cannot be read: ")


@pytest.mark.parametrize("body", [message(record(GOOD[0])), b"oops"])
def test_a_letter_that_changes_during_its_replay_is_left_as_it_is(
    container: ContainerClient,
    azurite: Azurite,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    body: bytes,
) -> None:
    """The live function writes a letter again, or someone corrects it, between reading and settling."""
    ours = letter(body, 1)
    theirs = replace(ours, errors=("another error",))
    put(container, ours)
    get = AzureDeadLetters.get

    async def get_and_change(self: AzureDeadLetters, name: str) -> Any:
        found = await get(self, name)
        await self.put(theirs)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(AzureDeadLetters, "get", get_and_change)
        assert main(["replay", "--all", "--yes"]) == 1
    assert "the letter was changed meanwhile and is left as it is; replay it again" in capsys.readouterr().out
    assert contents(container) == {theirs.name: theirs.content()}
    main(["replay", "--all", "--yes"])
    assert completions(azurite) == (1 if body != b"oops" else 0)


def test_replays_beside_the_live_function_count_once(container: ContainerClient, azurite: Azurite) -> None:
    body = message(*map(record, GOOD), BAD)
    put(container, *(letter(body, number) for number in range(3)))
    with subprocess.Popen(command("replay", "--all", "--yes"), env=os.environ | {"PYTHONPATH": "."}) as replaying:
        while replaying.poll() is None:
            count(azurite, body, body, body)
    assert replaying.returncode == 1
    assert completions(azurite) == 3
    assert [name.rpartition("-")[2] for name in contents(container)] == ["00003.json"] * 3


# --- where it cannot do its work -------------------------------------------------------------------------------------


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "reader", "dead-letters", *arguments]


def test_the_local_settings_name_the_account(container: ContainerClient, azurite: Azurite, tmp_path: Path) -> None:
    put(container, letter(b"oops"))
    environment = {name: value for name, value in os.environ.items() if name != "RollupStorage"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    settings = {"Values": {"AzureWebJobsStorage": azurite.connection_string, "RollupStorage": "", "n": 1}}
    (tmp_path / "local.settings.json").write_text(json.dumps(settings))
    ran = subprocess.run(
        command("replay", "--all"), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (1, "")
    assert "1 still bad" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "local", "says"),
    [
        (["list"], None, "give --storage"),
        (["list"], "{}", "local.settings.json cannot be read"),
        (["list"], '{"Values": {}}', "give --storage"),
        (["list", "--storage", "secret=1"], None, "RollupStorage has the wrong form"),
        (["list", "--storage", "AccountName=secret"], None, "the connection string is not usable"),
        (["show", "x"], "", "local.settings.json cannot be read"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    local: str | None,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if local is not None:
        (tmp_path / "local.settings.json").write_text(local)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert "secret" not in err
    assert err.startswith("rollups: ")


def test_a_letter_that_is_not_there_and_a_wrong_key_say_so(
    container: ContainerClient, azurite: Azurite, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "hub/0/x.json"]) == 2
    assert "there is no letter hub/0/x.json" in capsys.readouterr().err
    assert main(["replay", "hub/0/x.json", "--yes"]) == 1
    assert "hub/0/x.json: there is no such letter" in capsys.readouterr().out
    assert contents(container) == {}
    wrong = azurite.connection_string.replace("AccountKey=", "AccountKey=AAAA")
    assert main(["list", "--storage", wrong]) == 2
    assert "Check the key" in capsys.readouterr().err
