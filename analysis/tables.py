"""The tables that pass between the steps: their columns, what a wrong one looks like, and how they are
written.

A table is tidy: one score, rate or coefficient a row. Its file is the same to the byte whenever its values
are the same: columns in the order below, rows sorted by the key, floats as %.6g, \\n line ends. The guide
for readers is results/README.md; a test holds the two together.
"""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.schema import KINDS, METRICS, REGIONS, TABLES, TRAINED, TRAININGS, Column, Table
from blendnet import integrity, tabular
from blendnet.errors import BlendnetError, unknown
from blendnet.files import write_text

__all__ = ["KINDS", "METRICS", "REGIONS", "TABLES", "TRAINED", "TRAININGS", "Column", "Table"]
FLOAT = "%.6g"


def columns(name: str) -> list[str]:
    """The column names of a table, in file order; raises BlendnetError for an unknown table."""
    return [column.name for column in _table(name).columns]


def missing(name: str, profile: str | None = None) -> BlendnetError:
    """The error for a table that is not there: it names the command which makes it."""
    command = f"blendnet {_table(name).step}" + (f" --profile {profile}" if profile else "")
    return BlendnetError(f"{name}.csv is missing; run `{command}`")


def check(df: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table with its columns in order, its types set and its rows sorted; further columns stay, at the
    end.

    df: any column types, also all text as read from a CSV. Numbers become float64, counts Int64 (nullable),
    flags bool (nullable boolean where cells may be empty), text str with '' for empty. Raises BlendnetError,
    one line, for a missing column, a cell that is not of its column's type, range or list, and two rows of one
    key. Row numbers in messages count from 1 without the header.
    """
    table = _table(name)
    out: dict[str, Any] = {}
    for column in table.columns:
        if column.name not in df.columns and column.absent:
            out[column.name] = _column(pd.Series([""] * len(df), dtype=object), column, name)
            continue
        if column.name not in df.columns:
            near = unknown("column", column.name, [str(c) for c in df.columns if c not in columns(name)])
            hint = str(near).split("; ")[1].split(" (")[0] if "did you mean" in str(near) else ""
            raise BlendnetError(
                f"{name}.csv has no column {column.name!r}{f' ({hint})' if hint else ''}; "
                f"run `blendnet {table.step} --force` to make it again"
            )
        out[column.name] = _column(df[column.name].reset_index(drop=True), column, name)
    for extra in sorted(set(map(str, df.columns)) - set(out)):
        out[extra] = df[extra].reset_index(drop=True)
    result = pd.DataFrame(out)
    twice = result.duplicated(list(table.key))
    if twice.any():
        row = result[twice].iloc[0]
        what = ", ".join(f"{k}={_cell(row[k])[:60]}" for k in table.key)
        raise BlendnetError(f"{name}.csv has two rows for {what}; delete one, or make the table again")
    return result.sort_values(list(table.key), kind="stable", na_position="first").reset_index(drop=True)


def empty(name: str) -> pd.DataFrame:
    """The table with no rows."""
    return check(pd.DataFrame({c: [] for c in columns(name)}), name)


def from_rows(rows: Iterable[dict[str, Any]], name: str) -> pd.DataFrame:
    """A checked table from dicts; a column that no row names is left empty."""
    frame = pd.DataFrame(list(rows))
    known = columns(name)
    return check(frame.reindex(columns=known + [c for c in frame.columns if c not in known]), name)


def read(path: Path | str, name: str | None = None, profile: str | None = None) -> pd.DataFrame:
    """Read and check a table; `name` is the file's stem where not given.

    Raises BlendnetError where the file is missing (naming the command that makes it), is not a CSV, or is
    wrong.
    """
    path = Path(path)
    name = name or path.stem
    _table(name)
    again = "delete it and make it again"
    try:
        content = tabular.read(path, again)
    except FileNotFoundError as error:
        raise missing(name, profile) from error
    try:
        # "none" and "NA" are words here, so nothing but an empty cell is empty.
        df = pd.read_csv(
            io.BytesIO(content), dtype=str, keep_default_na=False, na_values=[], encoding="utf-8-sig", index_col=False
        )
    except (ValueError, OverflowError) as error:
        first = str(error).strip().splitlines()[0]
        raise BlendnetError(f"{path} cannot be read as a table ({first}); {again}") from error
    return check(df, name)


def to_csv(df: pd.DataFrame, name: str) -> str:
    """The text of the file that `write` writes."""
    table = check(df, name)
    text = pd.DataFrame({c: [_cell(v) for v in table[c]] for c in table.columns}, dtype=object)
    return text.to_csv(index=False, lineterminator="\n")


def write(df: pd.DataFrame, path: Path | str, name: str | None = None) -> None:
    """Check and write a table atomically; the same values give the same bytes, whatever the order of the
    rows."""
    path = Path(path)
    integrity.sealed(path.parent)  # which it is entered into: raises before anything is written
    write_text(path, to_csv(df, name or path.stem))
    integrity.note(path)  # for blendnet doctor


def _table(name: str) -> Table:
    if name not in TABLES:
        raise unknown("table", name, TABLES)
    return TABLES[name]


def _cell(value: Any) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, float | np.floating):
        # Without the sum, a -0.0 would be written apart from 0.
        return FLOAT % (float(FLOAT % value) + 0.0)
    return str(value)


def _is_empty(values: pd.Series) -> np.ndarray:
    return np.asarray(values.isna() | (values.astype(str).str.strip() == ""))


def _column(values: pd.Series, column: Column, table: str) -> pd.Series:
    is_empty = _is_empty(values)
    if is_empty.any() and not column.empty:
        raise _wrong(table, column, int(np.argmax(is_empty)), "", "may not be empty")
    if column.kind == "text":
        text = values.astype(object).where(~is_empty, "").map(str)
        if column.allowed:
            bad = ~text.isin(column.allowed) & ~is_empty
            if bad.any():
                row = int(np.argmax(bad))
                problem = unknown(column.name, text[row][:60], [a for a in column.allowed if a])
                raise BlendnetError(f"{table}.csv row {row + 1}: {problem}")
        return text.astype(object)
    if column.kind == "flag":
        words = values.astype(str).str.strip()
        bad = ~words.isin(("True", "False")) & ~is_empty
        if bad.any():
            row = int(np.argmax(bad))
            raise _wrong(table, column, row, values[row], "is neither True nor False")
        yes = (words == "True").astype(bool)
        return yes.astype("boolean").where(~is_empty) if column.empty else yes
    numbers = pd.to_numeric(values.where(~is_empty, np.nan), errors="coerce").astype("Float64")
    array = numbers.to_numpy(dtype=float, na_value=np.nan)
    for bad, why in (
        (~np.isfinite(array) & ~is_empty, "is not a number"),
        (
            ~is_empty & ((array < column.low) | (array > column.high)),
            f"is not within {column.low:g} to {column.high:g}",
        ),
        (~is_empty & (column.kind == "count") & (np.abs(array) > 2.0**53), "is too large a number to count to"),
        (~is_empty & (column.kind == "count") & (array != np.round(array)), "is not a whole number"),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise _wrong(table, column, row, values[row], why)
    if column.kind == "count":
        return numbers.astype("Int64")
    return pd.Series(array, index=values.index)


def _wrong(table: str, column: Column, row: int, value: Any, why: str) -> BlendnetError:
    return BlendnetError(f"{table}.csv row {row + 1}: {column.name} {tabular.short(value)} {why}; make the table again")
