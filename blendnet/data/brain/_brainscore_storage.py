"""Brain-Score's own loading code, with its surroundings put in order and its failures in one line.

Brain-Score fetches stimuli and assemblies from public object storage and checks their sha1. Left alone it runs
`pip install` for every plugin, pickles assemblies under names that say nothing of their contents, leaves a file
with a wrong sha1 where the next call finds it again, and takes a zip that was half unpacked for whole.
"""

import contextlib
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blendnet.data.brain import _strangers  # enters no number
from blendnet.errors import BlendnetError
from blendnet.files import make_folder

HOME = "BRAINIO_HOME"
FOLDER = "brainio"
STORAGE = "Brain-Score's public storage, s3://brainscore-storage"


def ready() -> Any:
    """The package brainscore_vision, imported so that it installs nothing. Raises BlendnetError where it is missing."""
    # Before the import, and whatever the user's shell says: 'yes' is 100 s of pip for each plugin.
    os.environ["BS_INSTALL_DEPENDENCIES"] = "no"
    try:
        import brainscore_vision
    except ModuleNotFoundError as error:
        raise BlendnetError(
            f"Brain-Score's benchmarks need the package {error.name}, which is not installed; "
            "install brainscore-vision (see requirements.in), or leave its recordings out with --recording"
        ) from error
    return brainscore_vision


def home(root: Path, chosen: Path | None = None) -> Path:
    """Where downloads lie: `chosen`, else $BRAINIO_HOME, else root/brainio where this folder exists, else ~/.brainio,
    which is Brain-Score's own place. root: the data folder of --data."""
    if chosen is not None:
        return Path(chosen)
    if os.environ.get(HOME):
        return Path(os.environ[HOME]).expanduser()
    below = Path(root) / FOLDER
    return below if below.is_dir() else Path("~/.brainio").expanduser()


@contextlib.contextmanager
def opened(where: Path, stimulus_set: str, what: str) -> Iterator[Any]:
    """Brain-Score (the module) with downloads in `where`, its result cache off, and failures as one BlendnetError.

    stimulus_set: identifier of the stimuli, whose unpacked folder is compared with its zip first; what: what an error
    calls the thing that was asked for. Everything is put back afterwards. One process at a time works in a folder.
    """
    brainscore = ready()
    from brainscore_core.supported_data_standards.brainio import fetch
    from brainscore_vision.benchmark_helpers import screen

    make_folder(where)
    before = fetch._local_data_path, screen.root_path
    # Its cache names an assembly by region and access only: a changed file would never be noticed. The last two
    # keep a machine without a network from waiting for minutes.
    settings = {"RESULTCACHING_DISABLE": "1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "2"}
    settings = {k: v for k, v in settings.items() if k.startswith("RESULT") or k not in os.environ}
    with _alone(where), _environment(settings):
        fetch._local_data_path = str(where)
        # Placed stimuli are removed and written anew for every model: below the folder that is locked.
        screen.root_path = where / "stimuli_on_screen"
        try:
            _unpacked_whole(where, stimulus_set)
            yield brainscore
        except BlendnetError:
            raise
        except Exception as error:
            translated = _one_line(error, where, what)
            if translated is None:
                raise
            raise translated from error
        finally:
            fetch._local_data_path, screen.root_path = before


@contextlib.contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _alone(where: Path) -> Iterator[None]:
    """Hold the folder's lock: another process must not read a zip that this one is unpacking."""
    import fcntl

    try:
        handle = open(where / ".blendnet.lock", "w")  # noqa: SIM115
    except OSError:
        # A read-only folder that others filled: nothing is written there, so nothing can be half-written.
        yield
        return
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _unpacked_whole(where: Path, stimulus_set: str) -> None:
    """Remove an unpacked folder that is not what its zip holds, so that Brain-Score unpacks it anew."""
    for path in where.glob(f"*/stimulus_{stimulus_set.replace('.', '_')}.zip"):
        folder = path.with_suffix("")
        if folder.exists() and not _same(path, folder):
            shutil.rmtree(folder)


@_strangers.else_false  # enters no number
def _same(path: Path, folder: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
    except (zipfile.BadZipFile, OSError):
        return False
    for member in members:
        if member.filename.startswith("/") or ".." in Path(member.filename).parts:  # enters no number
            return False  # enters no number
        file = folder / member.filename
        if not file.is_file() or file.stat().st_size != member.file_size:
            return False
        if zlib.crc32(file.read_bytes()) != member.CRC:
            return False
    return True


def _one_line(error: Exception, where: Path, what: str) -> BlendnetError | None:
    """What went wrong in the loading, None for what is no such failure. A file that failed its sha1 is removed."""
    mismatch = re.search(r"SHA1 mismatch. Expected: (\w+), Actual: (\w+)", str(error))
    if mismatch:
        expected, found = mismatch.groups()
        names = sorted(p.name for p in (where / expected).glob("*") if p.is_file())
        shutil.rmtree(where / expected, ignore_errors=True)
        return BlendnetError(
            f"{what}: {', '.join(names) or 'a file'} has sha1 {found[:12]}…, expected {expected[:12]}…: cut short or "
            "altered; it was removed, run the same command again, and if that repeats update brainscore-vision"
        )
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    if reasons and all(isinstance(reason, Exception) for reason in reasons):
        reason = " ".join(str(reasons[-1]).split())
        return BlendnetError(
            f"{what} could not be fetched from {STORAGE} ({reason[:200]}); connect to a network, or set {HOME} to a "
            f"folder that holds it (now {where})"
        )
    if isinstance(error, zipfile.BadZipFile):
        return BlendnetError(f"{what}: not a readable zip archive ({error}); delete {where} and run the command again")
    if isinstance(error, AssertionError) and "unzipped stimuli" in str(error):
        return BlendnetError(f"{what}: the stimuli are not those of their table; delete {where} and run it again")
    return None
