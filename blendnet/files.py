"""Files that are either whole or not there, and the hashes that results rest on."""

import errno
import hashlib
import json
import os
import re
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from blendnet._kinds import AGAIN, must_be, not_deep
from blendnet.errors import BlendnetError

_IN_THE_WAY = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again, it resumes",
    errno.EDQUOT: "your disk quota is used up; free some space and run the same command again, it resumes",
    errno.EROFS: "the file system is read-only; choose another folder with --results",
    errno.EACCES: "no permission to write there; choose another folder with --results",
    errno.EPERM: "no permission to write there; choose another folder with --results",
    errno.EEXIST: "a file of that name is in the way; choose another folder with --results",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another folder with --results",
}


# In a stored result, which is what holds a key: the hash of all else in it.
SEAL = "content_sha256"
# Says that there is a hash: without it, a damaged name of the hash would look like a result of an older version.
_MARK = "sealed"
_PARTIAL = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-[0-9a-f]{6}\.partial")
LEFT_OVER_S = 3600.0


def write_error(path: Path, error: OSError) -> BlendnetError:
    """One clear line for a write that failed. Shapes: none. Source: errno of the operating system."""
    reason = _IN_THE_WAY.get(error.errno or 0, error.strerror or str(error))
    return BlendnetError(f"cannot write {path}: {reason}")


def make_folder(path: Path) -> Path:
    """Create a folder and its parents; raises BlendnetError where that is impossible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from error
    return path


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed to `path`.

    After an exception the temporary file is removed and whatever stood at `path` is untouched. A killed
    process can leave a `*.partial` file behind, never a half-written `path`; the next write into the folder removes it.
    """
    path = Path(path)
    if path.is_dir():
        raise BlendnetError(f"cannot write {path}: it is a folder; give the name of a file")
    make_folder(path.parent)
    partial = partial_of(path)
    try:
        yield partial
        # The rename must not become durable before the data.
        with open(partial, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(partial, path)
        with suppress(OSError):
            tidy(path)
    except OSError as error:
        raise write_error(path, error) from error
    except Exception as error:
        # Libraries written in Rust (safetensors) report a failed write as an error of their own, with its number.
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None or isinstance(error, BlendnetError):
            raise
        raise write_error(path, OSError(int(number.group(1)), os.strerror(int(number.group(1))))) from error
    finally:
        with suppress(OSError):  # a file system that became read-only refuses this, too
            partial.unlink(missing_ok=True)


def partial_of(path: Path) -> Path:
    """A new hidden name beside `path` that says which process writes there."""
    return path.with_name(f".{path.name}.{here()}-{os.getpid()}-{secrets.token_hex(3)}.partial")


def tidy(path: Path) -> None:
    """Remove what dead writers left in the folder of `path`, a file that was written just now."""
    for left in left_over(path.parent, now=path.stat().st_mtime):
        left.unlink(missing_ok=True)


def left_over(folder: Path, *, now: float) -> list[Path]:
    """The `*.partial` files directly in a folder that nobody will finish: those of dead processes of this host, and
    those of other hosts that were last written an hour before `now`, the present time by the clock of the file server
    (st_mtime of a file just written there)."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not (entry.name.startswith(".") and entry.name.endswith(".partial") and entry.is_file()):
                continue
            made = _PARTIAL.fullmatch(entry.name)
            ours = made is not None and made.group(1) == here()
            with suppress(FileNotFoundError):
                gone = not _alive(int(made.group(2))) if made and ours else now - entry.stat().st_mtime > LEFT_OVER_S
                if gone:
                    found.append(Path(entry.path))
    return sorted(found)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@cache
def here() -> str:
    """Eight digits for the place where a process number means something: a host since its start, a container in it."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text atomically, with \\n line ends on every system."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write bytes atomically."""
    with atomic(path) as partial:
        partial.write_bytes(content)


def write_json(path: Path | str, value: Any) -> None:
    """Write JSON atomically: sorted keys, two spaces; NaN is refused, since JSON has none.

    A stored result (a dict that holds a "key") gets the hash of its content, which read_json checks.
    """
    if isinstance(value, dict) and "key" in value:
        value = {k: v for k, v in value.items() if k not in (SEAL, _MARK)}
        # As it will be read: tuples are lists there, and all names are text.
        value = value | {SEAL: sha256_of(json.loads(json.dumps(value, allow_nan=False))), _MARK: True}
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def read_json(path: Path | str) -> Any:
    """Read JSON; a missing or broken file is one clear line, as is a stored result changed after writing. What the
    value is, is not looked at: see `read_object`."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text, parse_constant=_no_number)
        if "\\ud" in text or "\\uD" in text:  # halves of letters, which can be neither printed nor written
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        not_deep(value)
    except FileNotFoundError as error:
        raise BlendnetError(f"{path} is missing") from error
    except (ValueError, RecursionError) as error:  # no JSON, no text, or nested as deep as no file of ours
        raise BlendnetError(f"{path} is not valid JSON ({error}); {AGAIN}") from error
    if isinstance(value, dict) and (SEAL in value or _MARK in value):
        seal = value.pop(SEAL, "none")
        value.pop(_MARK, None)
        if seal != sha256_of(value):
            raise BlendnetError(
                f"{path} changed after it was written (its {SEAL} is {str(seal)[:12]}…, its content has another); "
                f"{AGAIN}"
            )
    return value


def read_object(path: Path | str, kind: Mapping[Any, Any], again: str = AGAIN) -> dict[str, Any]:
    """Read a JSON object whose parts are of these kinds (see `unlike`); what is none, since somebody or a crash changed
    it, is one clear line with the part that is wrong. again: the end of that line, what to do."""
    value: dict[str, Any] = read_json(path)
    must_be(path, value, kind, again)
    return value


def sha256_file(path: Path | str) -> str:
    """Hex sha256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_of(value: Any) -> str:
    """Hex sha256 of a JSON-able value in canonical form: equal values give equal hashes in any process."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
