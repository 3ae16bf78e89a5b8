"""HDF5 files of strangers are read once in a process of their own before they are read in ours.

libhdf5 believes what a file says of itself: of 500 files of its newest format with changed bytes two ended the process
that read them (SIGSEGV, SIGFPE) and one kept it for ever (benchmarks/results/bad_input.md). Files whose published hash
we know are what was published and need no trial. Nothing here enters a number.
"""

import signal
import subprocess
import sys
from pathlib import Path

# For the start of Python, and for the reading at the speed of a slow network file system.
SECONDS, BYTES_A_SECOND = 15.0, 10e6
MAX_BYTES = 2**30  # of one data set: larger ones are refused unread (_strangers)
TEXT = 300  # characters of what the other process said
_published: set[tuple[str, int, int]] = set()


def remember(path: Path, sha256: str | None) -> None:
    """This file has just been found to have its published hash; None: there is none."""
    if sha256 is not None:
        _published.add(_state(path))


def survives(path: Path, dataset: str) -> None:
    """Raise BlendnetError where reading all of an HDF5 file of unknown origin ends, or keeps, the process that does it.

    What the library merely complains of is left to the reader, which knows what to call it.
    """
    from blendnet.data.brain._checked import missing, not_as_published

    try:
        state = _state(path)
    except OSError as error:
        raise missing(path, dataset) from error
    if state in _published:
        return
    limit = SECONDS + state[1] / BYTES_A_SECOND
    try:
        # As a script and isolated (-I): the trial needs h5py and nothing of ours.
        done = subprocess.run([sys.executable, "-I", str(Path(__file__)), str(path)], capture_output=True, text=True,
                              errors="replace", check=False, timeout=limit)  # fmt: skip
    except subprocess.TimeoutExpired as error:
        problem = f"not a readable HDF5 file: its library had no answer within {limit:.0f} s"
        raise not_as_published(path, problem, dataset) from error
    if done.returncode < 0:
        ended = signal.Signals(-done.returncode).name
        problem = f"not a readable HDF5 file: its library ends with {ended} on it"
        raise not_as_published(path, problem, dataset)
    if done.returncode:
        said = " ".join(done.stderr.split())[-TEXT:]
        raise not_as_published(path, f"its trial ended with status {done.returncode} ({said})", dataset)
    _published.add(state)


def _state(path: Path) -> tuple[str, int, int]:
    about = path.stat()
    return str(path.absolute()), about.st_size, about.st_mtime_ns


def _read(path: str) -> None:
    """Read every data set and attribute of the file that lies in it, as far as the library lets us."""
    import h5py

    def visit(group) -> None:
        try:
            address = h5py.h5o.get_info(group.id).addr
            if address in seen:
                return
            seen.add(address)
            list(group.attrs.items())
            names = list(group)
        except Exception:
            return
        for name in names:
            try:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    continue  # what it points to is read by its own name, or lies in another file
                held = group[name]
                if isinstance(held, h5py.Group):
                    waiting.append(held)
                    continue
                list(held.attrs.items())
                made = held.id.get_create_plist()
                if made.get_external_count() or held.is_virtual or not 0 < held.nbytes <= MAX_BYTES:
                    continue
                values = held[()]
                for reference in values.ravel() if held.dtype == h5py.ref_dtype else ():
                    if reference:
                        file[reference][()]
            except Exception:
                continue

    try:
        file = h5py.File(path, "r")
    except Exception:
        return
    seen: set[int] = set()
    waiting = [file["/"]]
    while waiting:
        visit(waiting.pop())


if __name__ == "__main__":
    _read(sys.argv[1])
