"""tables -> figures. Nothing but tables is read: no torch, no GPU, no training is ever started."""

from pathlib import Path

import pandas as pd

from analysis import figures, tables
from blendnet import stored
from blendnet.files import read_object, sha256_file, sha256_of, write_json
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
    """Draw every figure as PDF, PNG and SVG; the same tables give the same bytes. Figures of this house that the tables
    no longer ask for are removed: they would show what is no longer so."""
    tables_ = read_tables(profile, results)
    folder = results / "figures"
    (folder / DRAWN).unlink(missing_ok=True)  # what is half drawn is not drawn
    paths = figures.draw_all(tables_, folder, profile.name)
    for path in paths:
        print(f"  {path}", flush=True)
    missed = [name + (f" ({why})" if why else "") for name, why in figures.not_drawable(tables_).items()]
    if missed:
        print(f"  not drawn, since the tables have nothing for it: {', '.join(missed)}", flush=True)
    for old in sorted({folder / f"{name}.{kind}" for name in figures.names() for kind in figures.FORMATS} - {*paths}):
        old.unlink(missing_ok=True)
    files = {path.name: sha256_file(path) for path in paths}
    write_json(folder / DRAWN, _rests_on(results) | {"files": files})


def check(profile: Profile, results: Path) -> list[str]:
    """What keeps the figures from being those of the tables that lie there now, a phrase a figure; [] if nothing does.

    A figure is stale where a table or the code of figures is not that which it was drawn from, and each of its files
    where its bytes are not those that were drawn (edited, or copied by half); a file that is not there is missing.
    Raises BlendnetError where a table is missing.
    """
    wanted = figures.drawable(read_tables(profile, results))
    folder = results / "figures"
    note = read_object(folder / DRAWN, stored.DRAWN) if (folder / DRAWN).exists() else {}
    files, rests_on = note.get("files", {}), _rests_on(results)
    changed = [f"{what} changed" for what, value in rests_on.items() if note.get(what) != value]
    changed = changed if note else [f"{DRAWN} is missing"]
    found = []
    for name in wanted:
        paths = [folder / f"{name}.{kind}" for kind in figures.FORMATS]
        gone = [p.name for p in paths if not p.exists()]
        other = [p.name for p in paths if p.exists() and files.get(p.name) != sha256_file(p)]
        if gone:
            found.append(f"{', '.join(gone)} missing")
        if changed and len(gone) < len(paths):
            found.append(f"{name} stale ({' and '.join(changed)})")
        elif other:
            found.append(f"{', '.join(other)} not as drawn")
    unwanted = sorted({name.rpartition(".")[0] for name in files} - set(wanted))
    return found + [f"{name} drawn, but the tables no longer ask for it" for name in unwanted]


def drawn(results: Path, name: str) -> bytes | None:
    """The PNG of a figure if it was drawn from the tables that lie there now, by this code; else None."""
    note, path = results / "figures" / DRAWN, results / "figures" / f"{name}.png"
    if not (note.exists() and path.exists()):
        return None
    found = read_object(note, stored.DRAWN)
    fresh = all(found.get(what) == value for what, value in _rests_on(results).items())
    return path.read_bytes() if fresh and found.get("files", {}).get(path.name) == sha256_file(path) else None


def _rests_on(results: Path) -> dict[str, str]:
    return {"tables": tables_sha256(results), "code": code_version(*CODE)}


def tables_sha256(results: Path) -> str:
    """Hash of the files of all tables that figures are drawn from."""
    there = [name for name in OPTIONAL if _path(results, name).exists()]
    hashes: list = [sha256_file(_path(results, name)) for name in TABLES]
    return sha256_of(hashes + [[name, sha256_file(_path(results, name))] for name in there])
