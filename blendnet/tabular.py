"""A CSV file before anything is made of it: is it text, whole, and does every row have the header's cells?

Without these questions a reader shifts columns (a cell too many in every row), fills up rows (a file that was cut
short), or takes the half of a number for the number.
"""

import csv
import io
from pathlib import Path

from blendnet.errors import BlendnetError


def short(value: object, most: int = 60) -> str:
    """A value as the line of an error shows it: quoted, on one line, not endless."""
    text = str(value)
    return repr(text if len(text) <= most else text[:most] + "…")


def read(path: Path | str, do: str) -> bytes:
    """The bytes of a CSV file, checked. do: the end of an error's line, what to do.

    Raises BlendnetError, one line, for what is not UTF-8 text with commas, for a column that is there twice, a line (1
    is the header) of another number of cells, a cell of more than 131 072 letters, and a last line
    without its end; FileNotFoundError where there is no file.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise BlendnetError(f"{path} is no file; {do}")
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BlendnetError(f"{path} cannot be read ({error.strerror or error}); {do}") from error
    if problem := _problem(content):
        raise BlendnetError(f"{path} cannot be read as a table ({problem}); {do}")
    return content


def _problem(content: bytes) -> str:
    """What is wrong with the bytes of a CSV file, '' if nothing."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return f"byte {error.start + 1} is no UTF-8 text"
    if "\0" in text:
        return f"it holds a zero byte at character {text.index(chr(0)) + 1}"
    if not text.strip():
        return "it is empty"
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(rows)
        if len(header) == 1 and header[0].count(";") > 1:
            return "its cells are parted by semicolons, not commas"
        twice = next((name for name in header if header.count(name) > 1), None)
        if twice is not None:
            return f"the column {short(twice)} is there twice"
        for row in rows:
            if row and len(row) != len(header):
                return f"line {rows.line_num} has {len(row)} cells, the header {len(header)}"
    except (csv.Error, StopIteration) as error:
        return f"line {rows.line_num}: {error or 'no header'}"
    if not text.endswith(("\n", "\r")):
        return "its last line has no end: it was cut short"
    return ""
