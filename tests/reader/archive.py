"""Archives of diagnostic logs as a diagnostic setting writes them, made of generated workloads."""

import json
from collections import defaultdict
from pathlib import Path

from devstack.workload import Workload
from processors.records import raw_records

LOGS = "insights-logs-servicelog"


def a_workload(seed: int, tasks: int) -> Workload:
    """With duplicates and bad records, one record a line."""
    return Workload(seed=seed, tasks=tasks, variety=0, bad_messages=0, bad_records=0.01)


def files_of(workload: Workload) -> tuple[dict[str, bytes], int]:
    """The archive's files by their paths, and how many records in them are bad."""
    lines: dict[str, list[bytes]] = defaultdict(list)
    bad = 0
    for message in workload.messages():
        bad += len(message.bad_records)
        for _, record in sorted(raw_records(message.body, set(range(message.records))).items()):
            lines[_path(record)].append(record.replace(b"\r", b"\\r").replace(b"\n", b"\\n"))
    return {path: b"".join(line + b"\n" for line in its) for path, its in lines.items()}, bad


def write(files: dict[str, bytes], folder: Path) -> Path:
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


def _path(record: bytes) -> str:
    """Of the hour's blob; records that do not tell go into the first."""
    try:
        fields = json.loads(record, strict=False)
        account = str(fields["resourceId"]).rstrip("/").rpartition("/")[2].upper()
        time = str(fields["time"])
        day, hour = time[:10].split("-"), int(time[11:13])
        year, month, date = (int(part) for part in day)
    except (ValueError, LookupError, TypeError):
        account, year, month, date, hour = "X", 2026, 1, 1, 0
    resource = f"SUBSCRIPTIONS/S/RESOURCEGROUPS/R/PROVIDERS/MICROSOFT.BATCH/BATCHACCOUNTS/{account or 'X'}"
    return f"{LOGS}/resourceId={resource}/y={year}/m={month:02}/d={date:02}/h={hour:02}/m=00/PT1H.json"
