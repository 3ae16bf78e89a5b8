"""tables -> figures. Nothing but tables is read: no torch, no GPU, no training is ever started."""

from pathlib import Path

import pandas as pd

from analysis import figures, tables
from pipelines.sheet import Profile

TABLES = ("scores", "layers", "accuracy", "correlation", "twins")


def read_tables(profile: Profile, results: Path) -> dict[str, pd.DataFrame]:
    """All tables of a profile; a missing one is one line that names the command which makes it."""
    found = {}
    for name in TABLES:
        path = results / "tables" / f"{name}.csv"
        if not path.exists():
            raise tables.missing(name, profile.name)
        found[name] = tables.read(path, name)
    return found


def draw(profile: Profile, results: Path) -> None:
    """Draw every figure as PDF and PNG; the same tables give the same bytes."""
    for path in figures.draw_all(read_tables(profile, results), results / "figures", profile.name):
        print(f"  {path}", flush=True)
