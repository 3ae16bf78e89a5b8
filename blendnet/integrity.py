"""Files that changed after they were written: hashes beside them, and one worker at a time in a folder of files."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from blendnet import locks, stored
from blendnet.errors import BlendnetError
from blendnet.files import read_object, sha256_file, write_json

SEAL = "sha256.json"
_PAGE_HEAD = "<!-- the sha256 of all bytes before the last line is in that line -->"
_PAGE_END = "<!-- sha256 {} -->\n"
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
    found: dict[str, str] = read_object(path, stored.SEALED).get("files", {}) if path.exists() else {}
    return found


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


def sealed_page(text: str) -> str:
    """An HTML page that carries the hash of its own bytes in a comment at its end: one file that can be sent on and
    still be checked. A comment after its first line says that there is a hash, so that no single damage hides both."""
    first, _, rest = text.partition("\n")
    page = f"{first}\n{_PAGE_HEAD}\n{rest.rstrip()}\n"
    return page + _PAGE_END.format(hashlib.sha256(page.encode()).hexdigest())


def page_has_seal(path: Path) -> bool:
    """Whether a page was written with a hash; an older version's was not. Either mark of the two is enough."""
    content = path.read_bytes()
    # What stands before the hash, and what stands after it: a bit that turned over spares one of them.
    begin, _, end = _PAGE_END.encode().partition(b"{}")
    return _PAGE_HEAD.encode() in content[:500] or begin in content[-500:] or content.endswith(end)


def check_page(path: Path) -> None:
    """Raise BlendnetError, one line, where an HTML page is not, or no longer, what `sealed_page` made. A page of an
    older version, without a hash, passes if it has its end."""
    content = path.read_bytes()
    if not page_has_seal(path):
        if not content.rstrip().endswith(b"</html>"):
            raise BlendnetError(f"{path} is cut short (no </html> at its end)")
        return
    n = len(_PAGE_END.format("0" * 64))
    found = hashlib.sha256(content[:-n]).hexdigest()
    if content[-n:] != _PAGE_END.format(found).encode():
        raise BlendnetError(f"{path} changed after it was written (the sha256 at its end is not that of the page)")


def one_at_a_time(work: Callable[Concatenate[Path, P], R]) -> Callable[Concatenate[Path, P], R]:
    """A function of a folder that two processes never run at once on the same folder: the second waits, and most likely
    finds its work done."""

    @wraps(work)
    def alone(folder: Path, *args: P.args, **kwargs: P.kwargs) -> R:
        with locks.holding(folder.with_name(f".{folder.name}.lock")):
            return work(folder, *args, **kwargs)

    return alone
