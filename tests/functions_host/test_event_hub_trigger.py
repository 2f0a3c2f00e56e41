"""The Event Hub trigger against real parts: host process, Azurite, Event Hubs server, unmodified SDK."""

import signal
from datetime import UTC, datetime, timedelta

import pytest

from tests.functions_host.harness import Process, Record, Stage


def _numbers(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def test_the_function_sees_what_was_sent(stage: Stage) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    stage.send("plain", ["one", "", "\x00\xff"], key="some key")
    stage.send("plain", ["four"])
    host = stage.host()
    host.ready()
    stage.conductor.wait_for(lambda: len(stage.conductor.bodies("plain")) == 4)

    (record,) = stage.conductor.records("plain")
    assert record["bodies"] == ["one", "", "\x00\xff", "four"]
    assert record["sequence_numbers"] == [0, 1, 2, 3]
    assert record["partition_keys"] == ["some key", "some key", "some key", None]
    assert record["context"] == {
        "IsCheckpointingAfterInvocation": True,
        "FullyQualifiedNamespace": record["context"]["FullyQualifiedNamespace"],
        "EventHubName": stage.hubs["plain"],
        "ConsumerGroup": "$Default",
        "PartitionId": "0",
    }
    assert record["context"]["FullyQualifiedNamespace"].startswith("localhost")
    times = [datetime.fromisoformat(time).replace(tzinfo=UTC) for time in record["enqueued_times"]]
    assert len(times) == 4
    assert all(before <= time <= datetime.now(UTC) for time in times)
    assert record["offsets"] == sorted(record["offsets"])
    arrays = record["arrays"]
    assert arrays["SequenceNumberArray"] == [0, 1, 2, 3]
    assert arrays["OffsetArray"] == [str(offset) for offset in record["offsets"]]
    assert arrays["PartitionKeyArray"] == ["some key"] * 3
    assert arrays["PropertiesArray"] == [{"number": 0}, {"number": 1}, {"number": 2}, {"number": 0}]
    assert [entry["SequenceNumber"] for entry in arrays["SystemPropertiesArray"]] == [0, 1, 2, 3]
    assert [datetime.fromisoformat(time).replace(tzinfo=UTC) for time in arrays["EnqueuedTimeUtcArray"]] == times
    assert record["retry_count"] == 0


@pytest.mark.parametrize("stage", [3], indirect=True)
def test_partitions_side_by_side_and_one_invocation_at_a_time_in_each(stage: Stage) -> None:
    stage.conductor.answer(lambda _: None)
    host = stage.host()
    for partition in range(3):
        stage.send("plain", _numbers(f"p{partition}-", 25), partition)
    host.ready()
    stage.conductor.wait_for(lambda: len(stage.conductor.records("plain")) == 3)
    held = stage.conductor.records("plain")
    assert {record["partition"] for record in held} == {"0", "1", "2"}

    stage.conductor.answer(lambda record: "ok" if record["partition"] == "1" else None)
    stage.conductor.wait_for(lambda: len(stage.conductor.bodies("plain")) == 25)
    others = [record for record in stage.conductor.records("plain") if record["partition"] != "1"]
    assert len(others) == 2, "the two held partitions have one invocation each"

    stage.conductor.answer(lambda _: "ok")
    stage.conductor.wait_for(lambda: len(stage.conductor.bodies("plain")) == 75)
    for partition in range(3):
        bodies = [body for body in stage.conductor.bodies("plain") if body.startswith(f"p{partition}-")]
        assert bodies == _numbers(f"p{partition}-", 25)
    assert max(len(record["bodies"]) for record in stage.conductor.records("plain")) == 10, "host.json says so"


@pytest.mark.parametrize("stage", [2], indirect=True)
def test_a_retry_policy_holds_its_partition_while_the_other_goes_on(stage: Stage) -> None:
    def failing(record: Record) -> str:
        return "fail" if "bad" in record["bodies"] else "ok"

    stage.conductor.answer(failing)
    host = stage.host()
    stage.send("held", ["bad", "after"], 0)
    stage.send("held", _numbers("good", 25), 1)
    host.ready()
    stage.conductor.wait_for(
        lambda: len(stage.conductor.bodies("held")) == 25 and len(stage.conductor.bodies("held", "fail")) >= 8
    )
    assert stage.conductor.bodies("held") == _numbers("good", 25)
    attempts = [record for record in stage.conductor.records("held") if record["partition"] == "0"]
    assert all(record["bodies"] == attempts[0]["bodies"] for record in attempts)
    assert [record["retry_count"] for record in attempts[:4]] == [0, 1, 2, 3]
    assert attempts[1]["max_retry_count"] == -1
    assert attempts[1]["retry_message"] == "RuntimeError: the test wants this to fail"

    # Its retries end with the host, and nothing of the batch was checkpointed.
    assert host.end() == 0
    stage.conductor.answer(lambda _: "ok")
    stage.host().ready()
    stage.conductor.wait_for(lambda: {"bad", "after"} <= set(stage.conductor.bodies("held")))
    assert stage.conductor.bodies("held") == [*_numbers("good", 25), "bad", "after"]


def test_used_up_retries_give_the_batch_up(stage: Stage) -> None:
    stage.conductor.answer(lambda record: "fail" if "bad" in record["bodies"] else "ok")
    host = stage.host()
    stage.send("limited", ["bad"])
    host.ready()
    host.wait_for_log("the retries are used up")
    stage.send("limited", ["next"])
    stage.conductor.wait_for(lambda: stage.conductor.bodies("limited") == ["next"])
    assert stage.conductor.bodies("limited", "fail") == ["bad"] * 3


def test_without_a_retry_policy_every_failure_is_checkpointed_and_the_host_goes_on(stage: Stage) -> None:
    stage.conductor.answer(lambda record: record["bodies"][0])
    host = stage.host()
    stage.send("plain", ["fail"])
    host.ready()
    for raised, following in (("fail", "cancel"), ("cancel", "exit"), ("exit", "ok")):
        stage.conductor.wait_for(lambda raised=raised: stage.conductor.bodies("plain", raised) == [raised])  # type: ignore[misc]
        stage.send("plain", [following])
    stage.conductor.wait_for(lambda: stage.conductor.bodies("plain") == ["ok"])
    assert host.end() == 0
    assert "RuntimeError: the test wants this to fail" in host.log()
    assert "CancelledError leaked from the function" in host.log()
    assert "SystemExit: 3" in host.log()

    stage.conductor.answer(lambda _: "ok")
    host = stage.host()
    stage.send("plain", ["next"])
    host.ready()
    stage.conductor.wait_for(lambda: "next" in stage.conductor.bodies("plain"))
    assert stage.conductor.bodies("plain") == ["ok", "next"]


def test_stopping_lets_an_invocation_end_within_the_grace_and_checkpoints_only_what_ended(stage: Stage) -> None:
    stage.conductor.answer(lambda _: None)
    impatient = stage.host("--grace", "0.2")
    stage.send("held", ["running"])
    impatient.ready()
    stage.conductor.wait_for(lambda: len(stage.conductor.records("held")) == 1)
    assert impatient.end() == 1
    assert "1 invocations did not end in time" in impatient.log()

    patient = stage.host()
    patient.ready()
    stage.conductor.wait_for(lambda: len(stage.conductor.records("held")) == 2)
    assert stage.conductor.records("held")[1]["bodies"] == ["running"], "it was not checkpointed"
    patient.popen.send_signal(signal.SIGINT)
    patient.wait_for_log("Stopping")
    stage.conductor.answer(lambda _: "ok")
    assert patient.end() == 0

    last = stage.host()
    stage.send("held", ["next"])
    last.ready()
    stage.conductor.wait_for(lambda: "next" in stage.conductor.bodies("held"))
    assert [record["bodies"] for record in stage.conductor.records("held")] == [["running"], ["running"], ["next"]]


@pytest.mark.parametrize("stage", [4], indirect=True)
def test_two_instances_share_the_partitions_and_a_killed_one_hands_its_own_over(stage: Stage) -> None:
    def partitions_of(host: Process, since: int) -> set[str]:
        heard = stage.conductor.records("held")[since:]
        return {record["partition"] for record in heard if record["pid"] == host.popen.pid}

    first, second = stage.host("--instance", "first"), stage.host("--instance", "second")
    first.ready()
    second.ready()
    sent: list[str] = []

    def send_to_all() -> int:
        since = len(stage.conductor.records("held"))
        for partition in range(4):
            sent.append(f"p{partition}-{len(sent)}")
            stage.send("held", [sent[-1]], partition)
        stage.conductor.wait_for(lambda: set(sent) <= set(stage.conductor.bodies("held")))
        return since

    balanced = 0
    for _ in range(100):
        since = send_to_all()
        mine, theirs = partitions_of(first, since), partitions_of(second, since)
        # A partition on its way from one to the other may be seen on both.
        balanced = balanced + 1 if len(mine) == len(theirs) == 2 and not mine & theirs else 0
        if balanced == 2:
            break
    assert balanced == 2

    # Its partitions hold an unanswered batch when it dies: that must come again on the survivor.
    stage.conductor.answer(lambda record: None if record["pid"] == first.popen.pid else "ok")
    for partition in range(4):
        sent.append(f"p{partition}-last")
        stage.send("held", [sent[-1]], partition)
    stage.conductor.wait_for(
        lambda: {r["partition"] for r in stage.conductor.records("held") if "answer" not in r} == mine
    )
    first.end(signal.SIGKILL)
    stage.conductor.wait_for(lambda: set(sent) <= set(stage.conductor.bodies("held")))
    assert second.end() == 0


@pytest.mark.parametrize("stage", [2], indirect=True)
def test_a_partition_that_was_taken_is_no_longer_retried(stage: Stage) -> None:
    def of_first(partition: str) -> list[Record]:
        heard = stage.conductor.records("held")
        return [r for r in heard if r["pid"] == first.popen.pid and r["partition"] == partition]

    first = stage.host("--instance", "first")
    stage.conductor.answer(lambda record: "fail" if record["pid"] == first.popen.pid else "ok")
    for partition in range(2):
        stage.send("held", [f"p{partition}"], partition)
    first.ready()
    stage.conductor.wait_for(lambda: bool(of_first("0") and of_first("1")))
    stage.host("--instance", "second").ready()
    stage.conductor.wait_for(lambda: bool(stage.conductor.bodies("held")))
    (body,) = set(stage.conductor.bodies("held"))
    taken, kept = ("0", "1") if body == "p0" else ("1", "0")
    first.wait_for_log(f"held: partition {taken} is given up")
    tried, others = len(of_first(taken)), len(of_first(kept))
    stage.conductor.wait_for(lambda: len(of_first(kept)) >= others + 20)
    # One attempt may have been on its way when the partition was taken.
    assert len(of_first(taken)) <= tried + 1
