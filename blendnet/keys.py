"""Reuse of stored results: only if everything they depend on is equal; otherwise say what differs."""

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from blendnet.files import read_object

_ROOT = Path(__file__).resolve().parent.parent


def difference(stored: Any, wanted: Any, prefix: str = "") -> list[str]:
    """The parts in which two JSON-able keys differ, as 'recipe.lr: 0.1 -> 0.2'; empty where they are equal."""
    if isinstance(stored, dict) and isinstance(wanted, dict):
        found: list[str] = []
        for name in sorted(set(stored) | set(wanted)):
            if name not in stored or name not in wanted:
                found.append(f"{prefix}{name}: {'new' if name not in stored else 'gone'}")
            else:
                found += difference(stored[name], wanted[name], f"{prefix}{name}.")
        return found
    if stored != wanted:
        return [f"{prefix.rstrip('.')}: {_short(stored)} -> {_short(wanted)}"]
    return []


def stale(path: Path, wanted: Any) -> list[str] | None:
    """Compare the key stored in a JSON file with the wanted one: None where nothing is stored, else the differences."""
    if not path.exists():
        return None
    stored = read_object(path, {})
    return difference(stored.get("key", stored), wanted)


_NO_NUMBER = b"# enters no number"


@cache
def code_version(*parts: str) -> str:
    """Short hash of source files, so that a number computed by other code is not taken for this code's.

    parts: paths below the repository root, files or folders, e.g. 'analysis/similarity'. Lines that say of themselves
    that they enter no number (locks, checks of files) are left out: they must not cost a week of scores.
    """
    digest = hashlib.sha256()
    for part in sorted(parts):
        path = _ROOT / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(str(file.relative_to(_ROOT)).encode())
            lines = file.read_bytes().splitlines(keepends=True)
            digest.update(b"".join(line for line in lines if not line.rstrip().endswith(_NO_NUMBER)))
    return digest.hexdigest()[:12]


# Their texts and bytes on disk enter no number.
_NO_NUMBERS = ("blendnet/errors.py", "blendnet/files.py", "blendnet/keys.py", "blendnet/_kinds.py")


@cache
def imported(*files: str) -> tuple[str, ...]:
    """The files and all of this repository's that they import, directly or through others; sorted paths below the root.

    For code_version: a number's code is what it runs through, so that a new metric or network beside it changes
    nothing. What is imported by a name that is made at run time must be given. files: paths below the repository root.
    """
    found = list(files)
    for file in found:  # grows while it is read
        text = (_ROOT / file).read_bytes()
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import | ast.ImportFrom) and lines[node.lineno - 1].rstrip().endswith(_NO_NUMBER):
                continue  # what it brings checks files, and is left out of the hash like the line
            if isinstance(node, ast.ImportFrom):
                base = (node.module or "").replace(".", "/")
                wanted = [base, *(f"{base}/{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                wanted = [alias.name.replace(".", "/") for alias in node.names]
            else:
                continue
            paths = (p for w in wanted if w for p in (f"{w}.py", f"{w}/__init__.py"))
            found += [p for p in paths if p not in found and p not in _NO_NUMBERS and (_ROOT / p).is_file()]
    return tuple(sorted(found))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:12] + "…"
