"""Files that changed after they were written: hashes beside them, and one worker at a time in a folder of files."""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from blendnet import locks
from blendnet.errors import BlendnetError
from blendnet.files import read_json, sha256_file, write_json

SEAL = "sha256.json"
P = ParamSpec("P")
R = TypeVar("R")


def hashes(paths: Iterable[Path]) -> dict[str, str]:
    """{file name: hex sha256} of files that lie in one folder."""
    return {path.name: sha256_file(path) for path in sorted(paths)}


def seal(folder: Path, pattern: str = "*.npy") -> None:
    """Write the hashes of a folder's files beside them, into sha256.json."""
    write_json(folder / SEAL, {"files": hashes(folder.glob(pattern))})


def note(path: Path) -> None:
    """Enter the hash of one file into its folder's sha256.json; several processes may do so at once."""
    with locks.holding(path.with_name(f".{SEAL}.lock")):
        write_json(path.with_name(SEAL), {"files": sealed(path.parent) | hashes([path])})


def sealed(folder: Path) -> dict[str, str]:
    """{file name: hex sha256} as stored beside a folder's files; empty where an older version wrote them."""
    path = folder / SEAL
    found = read_json(path).get("files", {}) if path.exists() else {}
    return {str(name): str(value) for name, value in found.items()}


def check(path: Path, what_to_do: str, known: Mapping[str, str | None] | None = None) -> None:
    """Raise BlendnetError where a file is not, or no longer, what was written; what_to_do: the end of that line. known:
    the hashes to go by instead of those in sha256.json. A file without a stored hash (an older version's) passes."""
    wanted = (sealed(path.parent) if known is None else known).get(path.name)
    if wanted is None:
        return
    found = sha256_file(path) if path.exists() else None
    if found is None:
        raise BlendnetError(f"{path} is missing; {what_to_do}")
    if found != wanted:
        raise BlendnetError(
            f"{path} changed after it was written (sha256 {found[:12]}…, not {wanted[:12]}…); {what_to_do}"
        )


def one_at_a_time(work: Callable[Concatenate[Path, P], R]) -> Callable[Concatenate[Path, P], R]:
    """A function of a folder that two processes never run at once on the same folder: the second waits, and most likely
    finds its work done."""

    @wraps(work)
    def alone(folder: Path, *args: P.args, **kwargs: P.kwargs) -> R:
        with locks.holding(folder.with_name(f".{folder.name}.lock")):
            return work(folder, *args, **kwargs)

    return alone
