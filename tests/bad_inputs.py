"""What people hand to the program by mistake, or on purpose: a catalogue, one entry an input, and how to look at one.

An entry makes its input in a room of its own and returns a command line (run through pipelines.cli.main, as the user's
shell does) or a call of a public function, for what no command reads. `see` runs it and says what came out. The entries
stand in tests/bad_inputs_*.py; benchmarks/bad_input.py writes their table, tests/test_bad_inputs_table.py judges it.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from blendnet.errors import BlendnetError
from blendnet.files import write_json
from blendnet.training.recipes import recipe
from pipelines import cli, sheet

LIMIT_S = 60  # a stop for what hangs; no entry comes near it
PARTS = ("command", "photographs", "lists", "tables", "recordings", "checkpoints", "legacy", "sheet", "notes")
Call = list[str] | Callable[[], object]

SMALL = replace(
    sheet.DEMO,
    networks=("cornet_z",), attentions=("none",), recipe=recipe("modern", epochs=1, epoch_size=32, batch_size=16),
    image_size=32, n_per_class=12, alphas=(0.3, 0.5), val_per_pair=1, test_per_pair=1, width=50, n_bootstrap=10,
    n_splits=2, metrics=("rsa",), planted=sheet.Planted(
        source="cornet_z-none-blended-s0", layers={"V1": "V1.output", "IT": "IT.output"}, n_stimuli=40, n_neuroids=6
    ),
)  # fmt: skip
RUN = "cornet_z-none-blended-s0"


@dataclass(frozen=True)
class Bad:
    """One bad input. says: what the line must hold; status: of the program, 1, or 2 for argparse's own refusals."""

    category: str
    what: str
    make: Callable[["Room"], Call]
    says: tuple[str, ...]
    status: int = 1


@dataclass(frozen=True)
class Seen:
    """What came of it. line: what the user reads; lines: of stderr altogether; left: files that appeared, changed or
    went below the results folder (see _snapshot); trace: a traceback, '' where there was none."""

    line: str
    lines: int
    status: int | None
    left: tuple[str, ...]
    trace: str
    seconds: float


class Room:
    """A place for one input: a data folder, a results folder, and the sheet's profile 'demo' to be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data, self.results = folder / "data", folder / "results"
        self.data.mkdir(parents=True)

    def command(self, *words: str) -> list[str]:
        """A command line on this room's folders."""
        return [*words, "--data", str(self.data), "--results", str(self.results)]

    def profile(self, **changes: Any) -> sheet.Profile:
        """Change the profile 'demo'; it is put back by see()."""
        sheet.PROFILES["demo"] = replace(sheet.PROFILES["demo"], **changes)
        return sheet.PROFILES["demo"]

    def photographs(self, n: int = 12) -> Path:
        """Class-named folders of small photographs, as the profile's only source; returns the folder of the cats."""
        self.profile(sources=("imagefolder",), classes=("car", "cat"))
        rng = np.random.default_rng(0)
        for name in ("car", "cat", "dog"):
            folder = self.data / "imagefolder" / name
            folder.mkdir(parents=True)
            for i in range(n):
                Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(folder / f"{i:02d}.png")
        return self.data / "imagefolder" / "cat"

    def finished(self) -> Path:
        """Results of a whole small chain (train, predict, extract, score), as they were written; the profile's own."""
        shutil.copytree(_chain(), self.results, copy_function=os.link)
        return self.results / "demo"

    def put(self, path: Path, content: bytes | str) -> Path:
        """Put other content in the place of a file, not into it: files of finished() are shared."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def put_json(self, path: Path, value: Any) -> Path:
        """Put other JSON in the place of a file, with a right hash of its content where the program stores one: as
        somebody would who wants it to be believed. Text and bytes are put as they are."""
        if isinstance(value, str | bytes):
            return self.put(path, value)
        path.unlink(missing_ok=True)
        try:
            write_json(path, value)
        except ValueError:  # NaN, which the program itself does not write
            path.write_text(json.dumps(value))
        return path


@cache
def _chain() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="blendnet-bad-inputs-"))
    import atexit

    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with _sheet(), contextlib.redirect_stdout(io.StringIO()):
        for verb in ("train", "predict", "extract", "score"):
            if cli.main([verb, "--results", str(folder), "--tracker", "none"][: 5 if verb == "train" else 3]):
                raise RuntimeError(f"the small chain failed at {verb}")
    return folder


@contextlib.contextmanager
def _sheet() -> Iterator[None]:
    before = sheet.PROFILES["demo"]
    sheet.PROFILES["demo"] = SMALL
    try:
        yield
    finally:
        sheet.PROFILES["demo"] = before


def bad(category: str, what: str, *says: str, status: int = 1) -> Callable[[Callable[[Room], Call]], Bad]:
    """Make an entry of the function below it."""
    return lambda make: Bad(category, what, make, says, status)


def catalogue() -> list[Bad]:
    """All entries, in the order of their files."""
    found = []
    for part in PARTS:
        module = import_module(f"tests.bad_inputs_{part}")
        found += [value for value in vars(module).values() if isinstance(value, Bad)]
        found += list(getattr(module, "MORE", ()))
    return found


class _TooLongError(BaseException):
    """Not an Exception, so that no reader takes it for a broken file."""


def _stop(*_: object) -> None:
    raise _TooLongError


def see(entry: Bad, folder: Path) -> Seen:
    """Make the input in `folder`, run it, and say what came out."""
    with _sheet():
        room = Room(folder)
        with contextlib.redirect_stdout(io.StringIO()):
            call = entry.make(room)
        before = _snapshot(room.results)
        status: int | None = None
        trace = ""
        began = time.perf_counter()
        handler = signal.signal(signal.SIGALRM, _stop)
        signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
        with _stderr() as said, contextlib.redirect_stdout(io.StringIO()):
            try:
                status = _run(call)
            except _TooLongError:
                trace = f"no answer within {LIMIT_S} s"
            except SystemExit as error:
                status = error.code if isinstance(error.code, int) else 1
            except Exception:
                trace = traceback.format_exc()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, handler)
        seconds = time.perf_counter() - began
        lines = [line for line in said().splitlines() if line.strip()]
        mine = [line for line in lines if line.startswith("blendnet")]
        after = _snapshot(room.results)
        left = tuple(sorted(p for p in before.keys() | after.keys() if before.get(p) != after.get(p)))
        return Seen(mine[-1] if mine else "", len(lines), status, left, trace, seconds)


def _run(call: Call) -> int:
    if isinstance(call, list):
        return cli.main(call)
    try:
        call()
    except BlendnetError as error:
        print(f"blendnet: error: {error}", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def _stderr() -> Iterator[Callable[[], str]]:
    """Everything that reaches file descriptor 2, Python's warnings and C libraries' messages among it."""
    sys.stderr.flush()
    held, saved = os.dup(2), sys.stderr
    with tempfile.TemporaryFile() as file, warnings.catch_warnings():
        warnings.showwarning = lambda m, c, f, n, *_: print(f"{f}:{n}: {c.__name__}: {m}", file=sys.stderr)
        # As blendnet.data.sources._image does when it is imported; pytest has put its own filters in their place.
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        os.dup2(file.fileno(), 2)
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
        whole: list[str] = []

        def said() -> str:
            return whole[0]

        try:
            yield said
        finally:
            sys.stderr.close()
            sys.stderr = saved
            os.dup2(held, 2)
            os.close(held)
            file.seek(0)
            whole.append(file.read().decode("utf-8", errors="replace"))


def _snapshot(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder, by its path there. Locks, whole files of the cache of decoded pixels and
    whole manifests are no results and may come."""
    if not folder.is_dir():
        return {"": hashlib.sha256(folder.read_bytes()).hexdigest()} if folder.is_file() else {}
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "no file"
        for p in sorted(folder.rglob("*"))
        if not p.is_dir() and (p.name.endswith(".partial") or not {"locks", "cache", "manifests"} & set(p.parts))
    }
