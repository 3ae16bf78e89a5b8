"""tables -> figures. Nothing but tables is read: no torch, no GPU, no training is ever started."""

from pathlib import Path

import pandas as pd

from analysis import figures, tables
from blendnet.files import read_json, sha256_file, sha256_of, write_json
from blendnet.keys import code_version
from pipelines.sheet import Profile

DRAWN = "drawn.json"
CODE = ("analysis/figures", "analysis/tables.py", "analysis/schema.py")
TABLES = tuple(name for name, table in tables.TABLES.items() if not table.optional)
OPTIONAL = tuple(name for name, table in tables.TABLES.items() if table.optional)


def read_tables(profile: Profile, results: Path) -> dict[str, pd.DataFrame]:
    """All tables of a profile, optional ones where they are there; another that is missing is one line that names the
    command which makes it."""
    found = {}
    for name in TABLES:
        path = _path(results, name)
        if not path.exists():
            raise tables.missing(name, profile.name)
        found[name] = tables.read(path, name)
    return found | {name: tables.read(_path(results, name), name) for name in OPTIONAL if _path(results, name).exists()}


def _path(results: Path, name: str) -> Path:
    return results / "tables" / f"{name}.csv"


def draw(profile: Profile, results: Path) -> None:
    """Draw every figure as PDF and PNG; the same tables give the same bytes."""
    tables_ = read_tables(profile, results)
    for path in figures.draw_all(tables_, results / "figures", profile.name):
        print(f"  {path}", flush=True)
    write_json(results / "figures" / DRAWN, {"tables": tables_sha256(results), "code": code_version(*CODE)})


def drawn(results: Path, name: str) -> bytes | None:
    """The PNG of a figure if it was drawn from the tables that lie there now, by this code; else None."""
    note, path = results / "figures" / DRAWN, results / "figures" / f"{name}.png"
    if not (note.exists() and path.exists()):
        return None
    fresh = read_json(note) == {"tables": tables_sha256(results), "code": code_version(*CODE)}
    return path.read_bytes() if fresh else None


def tables_sha256(results: Path) -> str:
    """Hash of the files of all tables that figures are drawn from."""
    there = [name for name in OPTIONAL if _path(results, name).exists()]
    hashes: list = [sha256_file(_path(results, name)) for name in TABLES]
    return sha256_of(hashes + [[name, sha256_file(_path(results, name))] for name in there])
