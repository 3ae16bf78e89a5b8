"""A lock that two processes cannot both hold, that a dead owner does not keep, and that works on shared file systems.

A lock is a file that is linked into place, which is atomic on local file systems and on NFS; advisory kernel locks are
switched off on many clusters. The owner writes its host, process and a word of its own into it and touches it every few
seconds. A lock is dead where its process is gone (seen from the same host), or where it was not touched for STALE_S by
the clock of the file server, against which the age is measured, so that clocks that differ or go back do not matter. A
dead lock is taken over by renaming it away; who renamed a live one by mistake (a third process was faster) puts it
back. A lock that was lost all the same (its owner had been suspended for minutes) is not touched any more, and `held`
says so.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from blendnet import stored
from blendnet._kinds import unlike
from blendnet.errors import BlendnetError
from blendnet.files import here, make_folder, partial_of, tidy, write_error

TOUCH_S = 5.0
# Long beside TOUCH_S: a suspended process, a slow file server and attribute caches of a minute are not deaths.
STALE_S = 180.0


class Lock:
    """The lock of one path; `acquire` and `release`, or `with`, which waits. Not to be shared between threads."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._word = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self) -> bool:
        """Take the lock if nobody alive holds it; says whether it was taken. Raises BlendnetError where the folder
        cannot be written."""
        make_folder(self.path.parent)
        for _ in range(2):  # once more after a dead owner's lock was cleared away
            if self._create():
                self._stop.clear()
                self._thread = threading.Thread(target=self._touch, name=f"lock {self.path.name}", daemon=True)
                self._thread.start()
                return True
            found = read(self.path)
            if found is None:
                continue  # released a moment ago
            if not dead(self.path, found) or not self._clear(found):
                return False
        return False

    def release(self) -> None:
        """Give the lock back; nothing where it is not held, or was taken over."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self._thread = None
        found = read(self.path)
        if found is not None and found.get("word") == self._word:
            self.path.unlink(missing_ok=True)

    def held(self) -> bool:
        """Is the lock still ours? False after it was taken over, as from a process that had been suspended."""
        found = read(self.path)
        return self._thread is not None and found is not None and found.get("word") == self._word

    def __enter__(self) -> "Lock":
        wait(self)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def _create(self) -> bool:
        self._word = secrets.token_hex(8)
        about = {"word": self._word, "host": here(), "name": socket.gethostname(), "pid": os.getpid(),
                 "began": _began(os.getpid()), "job": os.environ.get("SLURM_JOB_ID", "")}  # fmt: skip
        # Written whole under another name, then linked: nobody ever reads half a lock.
        draft = partial_of(self.path)
        try:
            draft.write_text(json.dumps(about), encoding="utf-8")
            try:
                os.link(draft, self.path)
            except FileExistsError:
                return False
            except OSError:  # a file system without links
                try:
                    handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
                except FileExistsError:
                    return False
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(json.dumps(about))
            tidy(self.path)
            return True
        except OSError as error:
            raise write_error(self.path, error) from error
        finally:
            with suppress(OSError):  # a file system that became read-only refuses this, too
                draft.unlink(missing_ok=True)

    def _clear(self, judged: dict[str, Any]) -> bool:
        """Rename the lock away that was judged dead; False where another process was faster."""
        aside = partial_of(self.path)
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return True
        except OSError as error:
            raise write_error(self.path, error) from error
        taken = read(aside)
        if taken is not None and taken.get("word") != judged.get("word"):
            # Not the one that was judged: its owner is alive and gets it back, unless one more came in between.
            with suppress(OSError):
                os.link(aside, self.path)
            aside.unlink(missing_ok=True)
            return False
        aside.unlink(missing_ok=True)
        return True

    def _touch(self) -> None:
        while not self._stop.wait(TOUCH_S):
            found = read(self.path)
            if found is None or found.get("word", self._word) != self._word:
                return
            with suppress(OSError):  # a file server that is away for a moment
                os.utime(self.path)  # to its clock, not ours


def read(path: Path) -> dict[str, Any] | None:
    """What a lock says of its owner; None where there is none, and where a part of its path is a file, not a folder. A
    lock that cannot be read (made by a file system without links, a moment ago) or is none of ours says nothing, and
    dies by its age alone."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError):
        return {}
    return {} if unlike(found, stored.LOCK) else found


def dead(path: Path, about: dict[str, Any]) -> bool:
    """Is the owner gone? On this host by its process, whose start is compared, since numbers are used again; else, and
    where the process cannot be seen, by the age of the lock."""
    if about.get("host") == here() and about.get("pid"):
        began = _began(int(about["pid"]))
        if began is None or (about.get("began") is not None and began != about["began"]):
            return True
    try:
        return _server_time(path.parent) - path.stat().st_mtime > STALE_S
    except OSError:
        return False


def wait(lock: Lock, seconds: float | None = None, poll: float = 1.0) -> None:
    """Acquire, however long it takes; raises BlendnetError after `seconds`, if given, with the owner's name."""
    until = None if seconds is None else time.monotonic() + seconds
    while not lock.acquire():
        if until is not None and time.monotonic() > until:
            raise BlendnetError(f"{lock.path} is held by {owner(lock.path)}; wait for it, or end it")
        time.sleep(poll)


def owner(path: Path) -> str:
    """'process 12 on host a (job 7)', for messages."""
    about = read(path) or {}
    job = f" (job {about['job']})" if about.get("job") else ""
    return f"process {about.get('pid', '?')} on {about.get('name', 'an unknown host')}{job}"


@contextmanager
def holding(path: Path | str) -> Iterator[None]:
    """Wait for the lock of this path and hold it."""
    with Lock(path):
        yield


def _began(pid: int) -> str | None:
    """When a process of this host began, in the kernel's ticks; None where there is no such process, '' where there is
    one and /proc does not say."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # a number that no process has, or can have
        return None
    except PermissionError:
        pass
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]  # a zombie holds nothing any more


def _server_time(folder: Path) -> float:
    """Now, by the clock that stamps files in this folder."""
    probe = partial_of(folder / "clock")
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
