"""`rollups watch`: rows for changes, the end at a number of tasks, storage that goes away meanwhile."""

import json
from datetime import UTC, datetime, timedelta

from devstack.azurite import Azurite
from processors.settings import load_storage
from reader.accounts import table_service
from reader.cli.watch import _Look, _looks, pace
from reader.models import Job
from reader.queries import Rollups
from tests.core.examples import an_execution
from tests.reader.commands import lines, rollups, start
from tests.reader.filled import fill


def test_it_ends_when_enough_tasks_have(connection: str) -> None:
    head, row = lines(connection, "watch", "nightly-42", "--until-tasks", "201", "--columns", "jobId,taskCount")
    assert (head, row) == ("jobId\ttaskCount", "Nightly-42\t201")
    result = rollups(connection, "watch", "nightly-42", "--until-tasks", "1", "--format", "table", "--check")
    assert result.exit_code == 1
    assert "201 of 1 (100%)" in result.stdout


def test_a_job_of_several_accounts_is_not_watched(connection: str) -> None:
    result = rollups(connection, "watch", "weekly")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "name the account" in result.stderr


def test_a_row_for_every_change_from_before_the_first_task(empty_connection: str) -> None:
    process = start(
        empty_connection, "watch", "JOB-1", "--interval", "0.1", "--until-tasks", "3", "--format", "ndjson",
        "--columns", "taskCount",
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stderr.readline() == "rollups: waiting for the first task of JOB-1 to end\n"
    fill(empty_connection, [an_execution(0, task_id="a")])
    assert json.loads(process.stdout.readline()) == {"taskCount": 1}
    fill(empty_connection, [an_execution(1, task_id="a")])  # another execution: not a change of what is shown
    fill(empty_connection, [an_execution(2, task_id="b"), an_execution(3, task_id="c")])
    out, err = process.communicate(timeout=60)
    assert [json.loads(line) for line in out.splitlines()] == [{"taskCount": 3}]
    assert (process.returncode, err) == (0, "")


def test_storage_may_go_away_meanwhile() -> None:
    with Azurite() as azurite:
        fill(azurite.connection_string, [an_execution()])
        with table_service(load_storage({"RollupStorage": azurite.connection_string})) as tables:
            looks = _looks(Rollups(tables), "job-1", None, 0, None)
            seen = next(looks).job
            assert seen is not None
            azurite.kill()
            away = next(looks)
            assert away.job == seen
            assert "no answer" in away.problem


def test_how_fast_it_goes() -> None:
    start_time = datetime(2026, 11, 22, tzinfo=UTC)
    first = _Look(start_time, Job(task_count=10))
    later = start_time + timedelta(seconds=60)
    assert pace(Job(task_count=40), first, later, None) == "30 tasks in the 1m 00s watched, 30.0 a minute"
    assert pace(Job(task_count=40), first, later, 100).endswith("; 40 of 100 (40.0%), about 2m 00s to go")
    assert pace(Job(task_count=10), first, start_time, 100).endswith("; 10 of 100 (10.0%)")
