"""The tables' contract, spelled out once more: what readers rely on changes here, in the code and in docs/tables.md."""

import re
from pathlib import Path

import pytest

from processors import columns
from processors.columns import JOBS, TASKS
from tests.core.examples import AN_EXECUTION, an_execution, task_rows, write_all
from tests.core.strategies import many_executions
from tests.memory_storage import MemoryTables, edm_type

TASK_CONTRACT = """
PartitionKey Edm.String
RowKey Edm.String
account Edm.String
jobId Edm.String
taskId Edm.String
taskType Edm.String
poolId Edm.String
nodeId Edm.String
startTime Edm.DateTime
endTime Edm.DateTime
durationSeconds Edm.Double
requiredSlots Edm.Int32
numberOfInstances Edm.Int32
slotSeconds Edm.Double
succeeded Edm.Boolean
exitCode Edm.Int32
failureCategory Edm.String
failureCode Edm.String
failureMessage Edm.String
retryCount Edm.Int32
requeueCount Edm.Int32
maxTaskRetryCount Edm.Int32
retriesExhausted Edm.Boolean
systemTaskVersion Edm.Int64
completionCount Edm.Int32
totalDurationSeconds Edm.Double
executions Edm.String
olderExecutions Edm.Binary
"""

JOB_CONTRACT = """
PartitionKey Edm.String
RowKey Edm.String
account Edm.String
jobId Edm.String
taskCount Edm.Int64
succeededTasks Edm.Int64
failedTasks Edm.Int64
completionCount Edm.Int64
retryCount Edm.Int64
requeueCount Edm.Int64
retriesExhausted Edm.Int64
durationCount Edm.Int64
durationSeconds Edm.Double
minDurationSeconds Edm.Double
maxDurationSeconds Edm.Double
meanDurationSeconds Edm.Double
p50DurationSeconds Edm.Double
p90DurationSeconds Edm.Double
p95DurationSeconds Edm.Double
p99DurationSeconds Edm.Double
slotSeconds Edm.Double
firstStartTime Edm.DateTime
lastEndTime Edm.DateTime
spanSeconds Edm.Double
meanConcurrency Edm.Double
longestTaskId Edm.String
exitCodes Edm.String
failures Edm.String
pools Edm.String
shardCount Edm.Int64
bucketCount Edm.Int64
contractVersion Edm.Int64
durationHistogram Edm.String
completionsOverTime Edm.String
"""

DOCS = Path(__file__).parents[2] / "docs" / "tables.md"
_DOCUMENTED = re.compile(r"^\| `(\w+)` \| (Edm\.\w+) \|", re.MULTILINE)


def contract(text: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+) (Edm\.\w+)", text))


CONTRACTS = {TASKS: contract(TASK_CONTRACT), JOBS: contract(JOB_CONTRACT)}


def written() -> MemoryTables:
    """Tables whose rows have every column between them."""
    tables = MemoryTables()
    failed = an_execution(
        20_000,
        succeeded=False,
        exit_code=None,
        failure_category="UserError",
        failure_code="FailureExitCode",
        failure_message="it broke",
    )
    write_all(tables, [("0", [*many_executions(102), AN_EXECUTION, failed])])
    return tables


@pytest.mark.parametrize(("table", "code"), [(TASKS, columns.TASK_COLUMNS), (JOBS, columns.JOB_COLUMNS)])
def test_the_code_declares_the_contracts_columns(table: str, code: dict[str, columns.Edm]) -> None:
    assert {name: str(edm) for name, edm in code.items()} == CONTRACTS[table]


def test_the_rows_written_have_the_contracts_columns() -> None:
    tables = written()
    (task,), (job,) = task_rows(tables).values(), tables.rows(JOBS).values()
    # The latest execution has no exit code, all others have been seen with one.
    assert task.keys() == CONTRACTS[TASKS].keys() - {"exitCode"}
    assert job.keys() == CONTRACTS[JOBS].keys()


@pytest.mark.parametrize("table", [TASKS, JOBS])
def test_the_documentation_lists_the_contracts_columns(table: str) -> None:
    sections = re.split(r"^#+ ", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (documented,) = [
        found for section in sections if section.startswith(table) and (found := dict(_DOCUMENTED.findall(section)))
    ]
    assert documented == CONTRACTS[table]


def test_the_documentation_names_no_column_twice() -> None:
    found = _DOCUMENTED.findall(DOCS.read_text(encoding="utf-8"))
    assert len(found) == sum(len(one) for one in CONTRACTS.values())


def test_a_values_type_is_told_apart_from_its_likes() -> None:
    values = (columns.Int64(1), True, 1, 1.0)
    assert [edm_type(value) for value in values] == ["Edm.Int64", "Edm.Boolean", "Edm.Int32", "Edm.Double"]
