"""How a notebook begins: where the repository is, whether the results it needs are there, and errors of one line."""

import contextlib
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from blendnet.errors import BlendnetError, unknown

TABLES = ("scores", "layers", "accuracy")


class Place(NamedTuple):
    """Absolute folders. root: the repository; results: holds one folder a profile; data: photographs, recordings."""

    root: Path
    results: Path
    data: Path


def start(
    profile: str,
    *,
    tables: Collection[str] = (),
    folders: Collection[str] = (),
    known: Collection[str] = (),
    results: str | Path | None = None,
    data: str | Path = "data",
) -> Place:
    """The folders of a notebook that shows `profile`; to be called in its first cell, after which an error that the
    reader can put right is one line and no traceback.

    tables: names of tables it reads; folders: of results/<profile> that hold what is not kept in git ('activations');
    known: profiles that the sheet knows; results, data: absolute, or relative to the repository, which is found from
    the present folder upward; without results, RESULTS of the environment is taken, else 'results'. Raises
    BlendnetError for an unknown profile and for whatever is missing, naming the command that makes it.
    """
    one_line_errors()
    if known and profile not in known:
        raise unknown("profile", profile, known)
    root = find_root(Path.cwd())
    place = Place(root, root / (results or os.environ.get("RESULTS") or "results"), root / data)
    here = place.results / profile
    absent = [f"tables/{name}.csv" for name in tables if not (here / "tables" / f"{name}.csv").exists()]
    absent += [folder for folder in folders if not any((here / folder).glob("*"))]
    if absent:
        raise BlendnetError(f"{here / absent[0]} is missing; run `{command(profile)}` in {root} first")
    return place


def command(profile: str) -> str:
    """What makes all results of a profile."""
    return "make demo" if profile == "demo" else f"make all PROFILE={profile}"


def find_root(start_at: Path) -> Path:
    """The repository that holds this folder; raises BlendnetError where none does."""
    for folder in (start_at, *start_at.parents):
        if (folder / "pyproject.toml").exists() and (folder / "notebooks").is_dir():
            return folder
    raise BlendnetError(f"{start_at} is not in a blendnet repository; start Jupyter in it: `jupyter lab notebooks`")


def one_line_errors() -> None:
    """From now on an uncaught BlendnetError in a cell prints its one line; the cell has failed all the same, so that
    'run all cells' stops there. Does nothing outside IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None:
        shell.set_custom_exc((BlendnetError,), _one_line)


def _one_line(_shell: Any, _kind: type, error: BaseException, _trace: Any, tb_offset: int | None = None) -> list[str]:
    line = f"blendnet: {error}"
    print(line)
    return [line]


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """What the steps of the chain say about their progress is not shown; errors are."""
    with contextlib.redirect_stdout(None):
        yield
