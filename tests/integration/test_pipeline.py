"""SDK → Event Hubs server → Microsoft's worker library → the app → Azurite, compared with the oracle."""

import asyncio
import base64
import itertools
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from devstack.azurite import ACCOUNT_KEY
from devstack.consumption import checkpoints, wait_until_consumed
from devstack.oracle import key_part
from devstack.publish import FileMessage
from devstack.stack import Stack
from devstack.verdict import ExpectedDeadLetters, Tables, disagreements
from devstack.workload import Execution, Workload
from tests.integration.harness import (
    SECOND_GROUP,
    config_with_second_group,
    dead_letters,
    envelope,
    process,
    record,
    send,
)
from tests.reader.commands import lines

NINE = datetime(2026, 11, 22, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(logs=tmp_path_factory.mktemp("logs")) as running:
        yield running


def publish_workload(stack: Stack, workload: Workload) -> ExpectedDeadLetters:
    expected = ExpectedDeadLetters(stack.event_hub_name)
    send(stack, expected.watch(workload.messages()))
    return expected


def assert_tables_hold(stack: Stack, workload: Workload, expected: ExpectedDeadLetters) -> None:
    found = disagreements(Tables(stack.storage_connection), workload.executions(), expected.names)
    assert not found, "\n".join(found[:20])


@pytest.mark.timeout(600)
def test_twenty_thousand_tasks_in_every_form_by_two_instances(tmp_path: Path) -> None:
    workload = Workload(seed=2, tasks=20_000, duplicates=0.01)
    with Stack(instances=2, logs=tmp_path) as stack:
        expected = publish_workload(stack, workload)
        wait_until_consumed(stack)
        assert_tables_hold(stack, workload, expected)


def test_jobs_of_several_buckets_are_what_was_published_and_the_readers_see_all_of_it(tmp_path: Path) -> None:
    workload = Workload(seed=12, tasks=400, duplicates=0.02)
    with Stack(instances=0, logs=tmp_path) as stack:
        for _ in range(2):
            stack.add_host(settings={"JobBuckets": "4"})
        expected = publish_workload(stack, workload)
        wait_until_consumed(stack)
        assert_tables_hold(stack, workload, expected)
        tables = Tables(stack.storage_connection)
        assert {row["bucketCount"].value for row in tables.jobs} == {4}
        assert {row["PartitionKey"].split("|")[2:3] == [] for row in tables.tasks} == {True, False}
        largest = max(tables.jobs, key=lambda row: row["taskCount"].value)
        name = f"{largest['account']}/{largest['jobId']}"
        shown = lines(stack.storage_connection, "tasks", name, "--columns", "taskId", "--format", "ndjson")
        ids = [json.loads(line)["taskId"].lower() for line in shown]
        its = [each for each in workload.executions() if key_of(each) == (largest["PartitionKey"], largest["RowKey"])]
        assert sorted(ids) == sorted({each.task_id.lower() for each in its})
        assert [key_part(each) for each in ids] == sorted(key_part(each) for each in ids)
        assert lines(stack.storage_connection, "verify", "--format", "tsv")[1:] == []


def key_of(execution: Execution) -> tuple[str, str]:
    return key_part(execution.account), key_part(execution.job_id)


def test_two_instances_that_process_the_same_partitions_at_once_count_once(tmp_path: Path) -> None:
    workload = Workload(seed=3, tasks=1_500)
    with Stack(instances=1, logs=tmp_path, config=config_with_second_group(tmp_path)) as stack:
        stack.add_host(SECOND_GROUP)
        expected = publish_workload(stack, workload)
        for group in (stack.consumer_group, SECOND_GROUP):
            wait_until_consumed(stack, consumer_group=group)
        assert_tables_hold(stack, workload, expected)


def test_everything_delivered_again_changes_nothing(tmp_path: Path) -> None:
    workload = Workload(seed=4, tasks=1_000)
    with Stack(instances=1, logs=tmp_path, config=config_with_second_group(tmp_path)) as stack:
        expected = publish_workload(stack, workload)
        wait_until_consumed(stack)
        before = {letter: content["bytes"] for letter, content in dead_letters(stack).items()}
        stack.add_host(SECOND_GROUP)
        wait_until_consumed(stack, consumer_group=SECOND_GROUP)
        assert_tables_hold(stack, workload, expected)
        assert {letter: content["bytes"] for letter, content in dead_letters(stack).items()} == before


def test_an_instance_that_is_killed_loses_and_repeats_nothing(tmp_path: Path) -> None:
    workload = Workload(seed=5, tasks=3_000)
    with Stack(instances=1, logs=tmp_path) as stack:
        expected = publish_workload(stack, workload)
        (host,) = stack.hosts

        def kill_in_the_middle(done: int) -> None:
            if done and host in stack.hosts:
                stack.kill_host(host)
                stack.add_host()

        wait_until_consumed(stack, kill_in_the_middle)
        assert host not in stack.hosts
        assert_tables_hold(stack, workload, expected)


def test_while_storage_is_away_the_partition_is_held_and_nothing_is_lost(tmp_path: Path) -> None:
    execution = Execution("acct", "outage", "t1", NINE, NINE + timedelta(seconds=5))
    later = Execution("acct", "outage", "t2", NINE, NINE + timedelta(seconds=9))
    log = tmp_path / "logs" / "instance-0.log"
    with Stack(data=tmp_path / "data", logs=log.parent) as stack:
        process(stack, envelope(record(execution)))
        stack.azurite.stop()
        send(stack, [FileMessage(envelope(record(later)), "0")])
        wait_for_line(log, "StorageUnavailable")
        stack.azurite.start()
        wait_until_consumed(stack)
        found = disagreements(Tables(stack.storage_connection), [execution, later], set())
        assert not found, "\n".join(found)


def test_a_wrong_key_holds_the_partitions_and_the_log_says_what_to_grant_until_it_is_right(tmp_path: Path) -> None:
    execution = Execution("acct", "forbidden", "t", NINE, NINE + timedelta(seconds=5))
    log = tmp_path / "instance-0.log"
    wrong_key = base64.b64encode(bytes(64)).decode()
    with Stack(instances=0, logs=tmp_path) as stack:
        wrong = stack.storage_connection.replace(ACCOUNT_KEY, wrong_key)
        host = stack.add_host(settings={"RollupStorage": wrong})
        send(stack, [FileMessage(envelope(record(execution)), "0"), FileMessage(b"a dead letter", "1")])
        for role in ("Storage Table Data Contributor", "Storage Blob Data Contributor"):
            wait_for_line(log, f'Check the key in RollupStorage, or grant the app\'s identity the role "{role}"')
        for partition in ("0", "1"):
            wait_for_line(log, f"partition {partition}: retry 1 in")
        assert "HTTP 403" in log.read_text()
        assert checkpoints(stack) == {}
        stack.kill_host(host)
        stack.add_host()
        wait_until_consumed(stack)
        letter = f"{stack.event_hub_name}/1/{0:020}-message.json"
        assert disagreements(Tables(stack.storage_connection), [execution], {letter}) == []


def wait_for_line(log: Path, text: str) -> None:
    """Until the log says so; the test's own timeout is the bound."""
    while text not in log.read_text():
        time.sleep(0.1)


def test_a_reactivated_task_shows_its_latest_execution_in_any_order(stack: Stack) -> None:
    orders = list(itertools.permutations(range(3)))

    def executions(order: tuple[int, ...]) -> list[Execution]:
        job = f"reactivated-{''.join(map(str, order))}"
        return [
            Execution("acct", job, "t", NINE, NINE + timedelta(minutes=1), exit_code=1, retries=2),
            Execution("acct", job, "T", NINE + timedelta(hours=1), NINE + timedelta(hours=1, minutes=9), exit_code=3),
            Execution("acct", job, "t", NINE + timedelta(hours=2), NINE + timedelta(hours=2, seconds=7)),
        ]

    for step in range(3):
        arriving = [record(executions(order)[order[step]]) for order in orders]
        process(stack, *(envelope(one, one) for one in arriving))
    tables = Tables(stack.storage_connection)
    tables.jobs = [row for row in tables.jobs if row["RowKey"].startswith("reactivated-")]
    tables.tasks = [row for row in tables.tasks if row["PartitionKey"].startswith("acct|reactivated-")]
    tables.dead_letters = set()
    assert len(tables.tasks) == 3 * len(orders)  # a task, a shard and a layout each
    assert disagreements(tables, [one for order in orders for one in executions(order)], set()) == []


GOOD = record(Execution("acct", "neighbours", "good", NINE, NINE + timedelta(seconds=1)))
BAD_MESSAGES = {
    "empty": b"",
    "blank": b" \r\n",
    "not utf-8": b'{"records": [{"operationName": "\xff"}]}',
    "utf-16": json.dumps({"records": [GOOD]}).encode("utf-16"),
    "cut off": envelope(GOOD)[:-3],
    "plain text": b"hello",
    "a number": b"42",
    "null": b"null",
    "no records": b'{"records": []}',
    "nothing that is a record": b'{"records": [1, "two", null, [], {}]}',
    "10,000 levels": b"[" * 10_000 + b"]" * 10_000,
    "1 MB of nothing": b'{"x": "' + b"x" * 1_000_000 + b'"}',
}


def test_bad_messages_are_dead_letters_as_they_came_and_their_neighbours_count(stack: Stack) -> None:
    first = last_sequence_number(stack, "1") + 1
    process(stack, *BAD_MESSAGES.values(), envelope(GOOD), partition="1")
    letters = dead_letters(stack)
    for number, (name, body) in enumerate(BAD_MESSAGES.items(), first):
        letter = letters[f"{stack.event_hub_name}/1/{number:020}-message.json"]
        assert letter["bytes"] == body, name
        assert letter["errors"], name
        assert letter["recordIndex"] is None
        assert (letter["eventHub"], letter["partition"], letter["sequenceNumber"]) == (
            stack.event_hub_name,
            "1",
            number,
        )
        assert datetime.fromisoformat(letter["enqueuedTime"])
    rows = [row for row in Tables(stack.storage_connection).jobs if row["RowKey"] == "neighbours"]
    assert [row["taskCount"].value for row in rows] == [1]


BAD_RECORDS = {
    "properties.executionInfo.endTime": {"executionInfo": {"endTime": "soon"}},
    "properties.id": {"id": ""},
    "properties.jobId": {"jobId": 7},
    "properties.executionInfo.exitCode": {"executionInfo": {"endTime": "2026-11-22T09:00:00Z", "exitCode": 2**70}},
    "properties.executionInfo": {"executionInfo": None},
    "properties.requiredSlots": {"requiredSlots": "one"},
}


def test_bad_records_are_dead_letters_with_every_error_and_their_neighbours_count(stack: Stack) -> None:
    bad = [GOOD | {"properties": GOOD["properties"] | change} for change in BAD_RECORDS.values()]
    good = record(Execution("acct", "among-bad", "step/1#?\\\x01ä", NINE, NINE + timedelta(seconds=1)))
    number = last_sequence_number(stack, "2") + 1
    process(stack, envelope(good, *bad), partition="2")
    letters = dead_letters(stack)
    for index, (field, sent) in enumerate(zip(BAD_RECORDS, bad, strict=True), 1):
        letter = letters[f"{stack.event_hub_name}/2/{number:020}-{index:05}.json"]
        assert json.loads(letter["bytes"]) == sent
        assert [error.split(":")[0] for error in letter["errors"]] == [field]
    tasks = [row for row in Tables(stack.storage_connection).tasks if row["PartitionKey"] == "acct|among-bad"]
    assert [row["RowKey"] for row in tasks] == ["step=2F1=23=3F=5C=01=C3=A4", "~job~", "~job~2"]
    assert tasks[0]["taskId"] == "step/1#?\\\x01ä"


def test_a_flood_of_bad_messages_stops_neither_its_partition_nor_the_one_beside(stack: Stack) -> None:
    first = last_sequence_number(stack, "3") + 1
    flood = [FileMessage(b"x" * 20_000, "3") for _ in range(400)]
    beside = [Execution("acct", "beside-a-flood", f"t{n}", NINE, NINE + timedelta(seconds=n)) for n in range(1, 41)]
    good = [FileMessage(envelope(record(execution)), "0") for execution in beside]
    after = Execution("acct", "after-a-flood", "t", NINE, NINE + timedelta(seconds=1))
    send(stack, [*flood[:200], *good[:20], *flood[200:], *good[20:], FileMessage(envelope(record(after)), "3")])
    wait_until_consumed(stack)
    names = {f"{stack.event_hub_name}/3/{number:020}-message.json" for number in range(first, first + len(flood))}
    assert names <= Tables(stack.storage_connection).dead_letters
    jobs = {row["RowKey"]: row["completionCount"].value for row in Tables(stack.storage_connection).jobs}
    assert (jobs["beside-a-flood"], jobs["after-a-flood"]) == (len(beside), 1)


def last_sequence_number(stack: Stack, partition: str) -> int:
    from azure.eventhub.aio import EventHubProducerClient

    async def ask() -> int:
        async with EventHubProducerClient.from_connection_string(
            stack.event_hub_connection, eventhub_name=stack.event_hub_name
        ) as client:
            properties = await client.get_partition_properties(partition)
            number: int = properties["last_enqueued_sequence_number"]
            return number

    return asyncio.run(ask())
