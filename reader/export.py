"""Jobs and tasks → CSV, NDJSON, Parquet, pandas.

The rule: rows are written as they come, so that a million of them take the memory of a few thousand; a file is there
whole or not at all. Columns have their tables' names. JSON columns (maps and lists) are objects in NDJSON and JSON text
everywhere else, as they are in the tables; times are UTC, in Parquet and pandas timestamps of microseconds.
"""

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from processors.columns import JOB_COLUMNS, TASK_COLUMNS, Edm
from processors.errors import BadRequest
from reader.models import Job, Task
from reader.text import csv_cell, json_text

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class FileFormat(StrEnum):
    """What a file of rows may be."""

    CSV = "csv"
    NDJSON = "ndjson"
    PARQUET = "parquet"


_SUFFIXES = {
    ".csv": FileFormat.CSV,
    ".ndjson": FileFormat.NDJSON,
    ".jsonl": FileFormat.NDJSON,
    ".parquet": FileFormat.PARQUET,
}

_WRITTEN = {"Timestamp": Edm.DATETIME}
EXPORTED_JOB_COLUMNS: Mapping[str, Edm] = {**JOB_COLUMNS, **_WRITTEN}
"""The contract's columns, and when the row was written."""
EXPORTED_TASK_COLUMNS: Mapping[str, Edm] = {**TASK_COLUMNS, **_WRITTEN}

ROW_GROUP_ROWS = 20_000
ROW_GROUP_CHARACTERS = 32 * 1024 * 1024
"""A Parquet row group ends at either: it is what is in memory. A job's maps may take 64 KiB each."""


def format_of(path: str) -> FileFormat:
    """The format that a file's name asks for. Raises BadRequest."""
    suffix = Path(path).suffix.lower()
    if suffix not in _SUFFIXES:
        raise BadRequest(f"{path}: no format is known by that name; end it in {', '.join(_SUFFIXES)}, or give --format")
    return _SUFFIXES[suffix]


def known_columns(chosen: Sequence[str] | None, known: Mapping[str, Edm]) -> dict[str, Edm]:
    """The chosen columns, in any case, by default all, with their types. Raises BadRequest for one that is none."""
    by_lower = {column.lower(): column for column in known}
    if unknown := [column for column in chosen or () if column.lower() not in by_lower]:
        raise BadRequest(f"there is no column {unknown[0]}; the columns are {', '.join(known)}")
    return {(named := by_lower[column.lower()]): known[named] for column in chosen or known}


def write[M: (Job, Task)](
    models: Iterable[M], columns: Mapping[str, Edm], file_format: FileFormat, to: IO[bytes]
) -> int:
    """Write rows to an open file; how many. Raises BadRequest where the format's package is not installed."""
    match file_format:
        case FileFormat.CSV:
            return _write_csv(models, columns, to)
        case FileFormat.NDJSON:
            return _write_ndjson(models, columns, to)
        case FileFormat.PARQUET:
            return _write_parquet(models, columns, to)


def write_file[M: (Job, Task)](
    models: Iterable[M], columns: Mapping[str, Edm], file_format: FileFormat, path: Path
) -> int:
    """Write rows to a file that takes its name when it is whole; how many. Raises BadRequest."""
    with whole_file(path) as to:
        return write(models, columns, file_format, to)


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that is at `path` once the block ends, and nowhere if it fails. Raises BadRequest."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        try:
            with partial.open("wb") as to:
                yield to
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise BadRequest(f"{path} cannot be written: {error.strerror or error}") from error


# --- text ------------------------------------------------------------------------------------------------------------


@contextmanager
def _text(to: IO[bytes]) -> Iterator[io.TextIOWrapper]:
    """UTF-8 into `to`, which stays open."""
    text = io.TextIOWrapper(to, encoding="utf-8", newline="", write_through=False)
    try:
        yield text
    finally:
        text.detach()  # flushes


def _write_csv(models: Iterable[Job | Task], columns: Mapping[str, Edm], to: IO[bytes]) -> int:
    written = 0
    with _text(to) as text:
        writer = csv.writer(text, lineterminator="\r\n")  # RFC 4180
        writer.writerow(columns)
        for model in models:
            row = model.columns()
            writer.writerow([csv_cell(row.get(column)) for column in columns])
            written += 1
    return written


def _write_ndjson(models: Iterable[Job | Task], columns: Mapping[str, Edm], to: IO[bytes]) -> int:
    written = 0
    with _text(to) as text:
        for model in models:
            row = model.columns()
            known = {column: row[column] for column in columns if row.get(column) is not None}
            text.write(json_text(known) + "\n")
            written += 1
    return written


# --- typed -----------------------------------------------------------------------------------------------------------


def _cells[M: (Job, Task)](model: type[M], columns: Mapping[str, Edm]) -> Callable[[M], dict[str, Any]]:
    """What gives a row's values in Python's types: times as datetimes, JSON columns as text."""
    fields = {field.alias: name for name, field in model.model_fields.items()}
    typed = {column: fields[column] for column, edm in columns.items() if edm in {Edm.DATETIME, Edm.BINARY}}

    def cells(read: M) -> dict[str, Any]:
        row = read.columns()
        for column, field in typed.items():
            if column in row:
                row[column] = getattr(read, field)
        return {column: _flat(row.get(column)) for column in columns}

    return cells


def _flat(value: Any) -> Any:
    return json_text(value) if isinstance(value, dict | list) else value


def _model_of(columns: Mapping[str, Edm]) -> type[Job] | type[Task]:
    """Whose columns these are; those that both have are alike in both."""
    return Task if columns.keys() <= EXPORTED_TASK_COLUMNS.keys() else Job


def _write_parquet(models: Iterable[Job | Task], columns: Mapping[str, Edm], to: IO[bytes]) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise BadRequest(
            "Parquet takes the package pyarrow: pip install 'batch-rollups[parquet]', or export as csv or ndjson"
        ) from error
    schema = pa.schema([(column, _arrow_type(edm)) for column, edm in columns.items()])
    cells: Callable[[Any], dict[str, Any]] = _cells(_model_of(columns), columns)
    written = 0
    with pq.ParquetWriter(to, schema, compression="zstd") as writer:
        for group in _groups(map(cells, models)):
            writer.write_table(pa.Table.from_pylist(group, schema))
            written += len(group)
    return written


def _groups(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The rows in lists of bounded size."""
    group: list[dict[str, Any]] = []
    characters = 0
    for row in rows:
        group.append(row)
        characters += sum(len(value) for value in row.values() if isinstance(value, str | bytes))
        if len(group) >= ROW_GROUP_ROWS or characters >= ROW_GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def _arrow_type(edm: Edm) -> "pa.DataType":
    import pyarrow as pa

    return {
        Edm.STRING: pa.string(),
        Edm.INT32: pa.int32(),
        Edm.INT64: pa.int64(),
        Edm.DOUBLE: pa.float64(),
        Edm.BOOLEAN: pa.bool_(),
        Edm.DATETIME: pa.timestamp("us", tz="UTC"),
        Edm.BINARY: pa.binary(),
    }[edm]


_PANDAS_TYPES = {
    Edm.STRING: "str",
    Edm.INT32: "Int32",
    Edm.INT64: "Int64",
    Edm.DOUBLE: "float64",
    Edm.BOOLEAN: "boolean",
    Edm.DATETIME: "datetime64[us, UTC]",
    Edm.BINARY: "object",
}
"""Those of integers and booleans are the ones that can hold a missing value."""


def frame[M: (Job, Task)](models: Iterable[M], kind: type[M], columns: Sequence[str] | None = None) -> "pd.DataFrame":
    """Rows as a pandas DataFrame, with these columns, by default all. Raises BadRequest, also where pandas is missing.

    `frame(rollups.tasks(job), Task)`; all rows are in memory.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise BadRequest("a data frame takes the package pandas: pip install 'batch-rollups[pandas]'") from error
    known = known_columns(columns, EXPORTED_JOB_COLUMNS if kind is Job else EXPORTED_TASK_COLUMNS)
    cells = _cells(kind, known)
    rows = [tuple(cells(model).values()) for model in models]
    values = list(zip(*rows, strict=True)) or [()] * len(known)
    return pd.DataFrame(
        {
            column: pd.Series(list(its), dtype=_PANDAS_TYPES[edm])
            for (column, edm), its in zip(known.items(), values, strict=True)
        }
    )
