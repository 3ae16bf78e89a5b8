"""Reuse of stored results: only if everything they depend on is equal; otherwise say what differs."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from blendnet.files import read_json

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
    stored = read_json(path)
    return difference(stored.get("key", stored), wanted)


@cache
def code_version(*parts: str) -> str:
    """Short hash of source files, so that a number computed by other code is not taken for this code's.

    parts: paths below the repository root, files or folders, e.g. 'analysis/similarity'.
    """
    digest = hashlib.sha256()
    for part in sorted(parts):
        path = _ROOT / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(str(file.relative_to(_ROOT)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:12] + "…"
