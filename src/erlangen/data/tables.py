"""Tables of vectors: CSV, Parquet and Arrow files, one sample a row."""

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np

from erlangen.data.raw import Raw

LABEL_NAMES = ("label", "labels", "class", "target", "y")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def label_position(header: list[str], label_column: str | None, path: Path) -> int | None:
    """Which column holds the labels: the named one, else the first that is called label, class, target or y."""
    if label_column is not None:
        if label_column in header:
            return header.index(label_column)
        if label_column.lstrip("-").isdigit() and -len(header) <= int(label_column) < len(header):
            return int(label_column) % len(header)
        raise ValueError(f"label_column: {path} has no column {label_column!r}; it has {', '.join(header)}")
    return next((i for name in LABEL_NAMES for i, column in enumerate(header) if column.lower() == name), None)


def _labels(column: list[str]) -> np.ndarray:
    numbers = [_number(entry) for entry in column]
    if any(n is None for n in numbers):
        return np.asarray(column)
    return np.asarray(numbers, dtype=np.float64)


def read_csv(path: Path, *, label_column: str | None = None) -> Raw:
    """A CSV file, plain or gzipped, with or without a header: every column but the label is a feature."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"data: {path} is not readable as CSV ({error})") from None
    if not rows:
        raise ValueError(f"data: {path} has no rows")
    has_header = all(_number(entry) is None for entry in rows[0])
    header = [entry.strip() for entry in rows[0]] if has_header else [str(i) for i in range(len(rows[0]))]
    body = rows[1:] if has_header else rows
    if not body:
        raise ValueError(f"data: {path} has a header and no rows")
    for position, row in enumerate(body, start=2 if has_header else 1):
        if len(row) != len(header):
            raise ValueError(f"data: line {position} of {path} has {len(row)} entries, the first has {len(header)}")
    label = label_position(header, label_column, path)
    features = [i for i in range(len(header)) if i != label]
    if not features:
        raise ValueError(f"data: {path} has no columns besides the label")
    x = np.empty((len(body), len(features)), dtype=np.float64)
    for out, column in enumerate(features):
        for line, row in enumerate(body):
            value = _number(row[column])
            if value is None:
                raise ValueError(
                    f"data: column {header[column]!r} of {path} holds {row[column]!r}, not a number; "
                    "drop it, or name it as label_column"
                )
            x[line, out] = value
    return Raw(x, None if label is None else _labels([row[label] for row in body]))


def read_arrow(path: Path, *, label_column: str | None = None) -> Raw:
    """A Parquet or Arrow (IPC, Feather) file: numeric columns and columns of equally long lists are features."""
    try:
        import pyarrow as pa
        import pyarrow.feather
        import pyarrow.parquet
    except ImportError:
        raise ImportError(f"data: {path.name} needs pyarrow; pip install 'erlangen[parquet]'") from None
    try:
        table = pa.parquet.read_table(path) if path.suffix == ".parquet" else pa.feather.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"data: {path} is damaged or of another format ({str(error).splitlines()[0]})") from None
    if table.num_rows == 0:
        raise ValueError(f"data: {path} has no rows")
    label = label_position(table.column_names, label_column, path)
    features = [_feature(table, name, path) for i, name in enumerate(table.column_names) if i != label]
    if not features:
        raise ValueError(f"data: {path} has no columns besides the label")
    y = None if label is None else np.asarray(table.column(label).to_pylist())
    return Raw(np.concatenate(features, axis=1), y)


def _feature(table: Any, name: str, path: Path) -> np.ndarray:
    column = table.column(name)
    rows = [np.nan if entry is None else entry for entry in column.to_pylist()] if column.null_count else _rows(column)
    values = np.asarray(rows)
    if values.dtype.kind not in "buif":
        raise ValueError(
            f"data: column {name!r} of {path} holds {column.type}, not numbers or lists of one length; "
            "drop it, or name it as label_column"
        )
    return values.reshape(len(values), -1)


def _rows(column: Any) -> Any:
    import pyarrow as pa

    if not (pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)):
        return column.to_numpy()
    lists = column.to_pylist()
    lengths = {len(entry) for entry in lists}
    return lists if len(lengths) == 1 else np.asarray(["lists of several lengths"])
