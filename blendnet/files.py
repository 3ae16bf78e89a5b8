"""Files that are either whole or not there, and the hashes that results rest on."""

import errno
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
    process can leave a `*.partial` file behind, never a half-written `path`.
    """
    path = Path(path)
    make_folder(path.parent)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(3)}.partial")
    try:
        yield partial
        # The rename must not become durable before the data.
        with open(partial, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise write_error(path, error) from error
    except Exception as error:
        # Libraries written in Rust (safetensors) report a failed write as an error of their own, with its number.
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None or isinstance(error, BlendnetError):
            raise
        raise write_error(path, OSError(int(number.group(1)), os.strerror(int(number.group(1))))) from error
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text atomically, with \\n line ends on every system."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write bytes atomically."""
    with atomic(path) as partial:
        partial.write_bytes(content)


def write_json(path: Path | str, value: Any) -> None:
    """Write JSON atomically: sorted keys, two spaces; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read JSON; a missing or broken file is one clear line."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BlendnetError(f"{path} is missing") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BlendnetError(f"{path} is not valid JSON ({error}); delete it and run the step again") from error


def sha256_file(path: Path | str) -> str:
    """Hex sha256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_of(value: Any) -> str:
    """Hex sha256 of a JSON-able value in canonical form: equal values give equal hashes in any process."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
