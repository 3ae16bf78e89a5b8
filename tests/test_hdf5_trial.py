"""An HDF5 file that ends libhdf5, or keeps it, is refused in one line, and the process that asked goes on."""

import random
from pathlib import Path

import h5py
import numpy as np
import pytest

from benchmarks import _fuzzing_cases
from benchmarks._fuzzing_hdf5 import FLAVOURS, changed, places, rewrite
from blendnet.data.brain import _checked, _matlab, _trial
from blendnet.errors import BlendnetError
from blendnet.files import sha256_file
from tests.conftest import one_line

NEWEST = "HDF5 of the newest format, with checksums: bytes"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "population.mat"
    with h5py.File(path, "w") as out:
        out["a/b"] = np.arange(6.0)
        out["a"]["itself"] = h5py.SoftLink("/a")
        out["elsewhere"] = h5py.ExternalLink("other.mat", "/x")
    return path


@pytest.mark.parametrize("i", [185, 259])
def test_changed_bytes_that_end_libhdf5(tmp_path: Path, i: int) -> None:
    # Found by `python -m benchmarks.bad_input`: read in this process they would end it (SIGSEGV, SIGFPE).
    _fuzzing_cases.valid(tmp_path, [NEWEST])
    whole = rewrite(tmp_path / "population.mat", tmp_path / "newest.mat", FLAVOURS[2])
    where = places(whole)
    bad = tmp_path / "bad.mat"
    bad.write_bytes(changed(whole.read_bytes(), random.Random(f"0 {NEWEST} {i}"), where))
    with pytest.raises(BlendnetError) as error, _matlab.open_v73(bad, "henaff2021"):
        pass
    one_line(error, str(bad), "its library ends with SIG", "blendnet data fetch henaff2021")


def test_a_trial_that_is_killed_hangs_or_fails_is_one_line(file: Path, tmp_path: Path, monkeypatch) -> None:
    script = tmp_path / "script.py"
    monkeypatch.setattr(_trial, "__file__", str(script))
    for text, said in (
        ("import os, signal; os.kill(os.getpid(), signal.SIGBUS)", "SIGBUS"),
        ("raise SystemExit('no h5py here')", "status 1 (no h5py here)"),
    ):
        script.write_text(text)
        with pytest.raises(BlendnetError) as error:
            _trial.survives(file, "henaff2021")
        one_line(error, str(file), said, "blendnet data fetch henaff2021")
    script.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(_trial, "SECONDS", 0.5)
    with pytest.raises(BlendnetError) as error:
        _trial.survives(file, "henaff2021")
    one_line(error, str(file), "no answer within", "blendnet data fetch henaff2021")


def test_a_valid_file_is_tried_once_and_a_published_one_never(file: Path, tmp_path: Path, monkeypatch) -> None:
    _trial.survives(file, "henaff2021")
    script = tmp_path / "script.py"
    script.write_text("raise SystemExit(1)")
    monkeypatch.setattr(_trial, "__file__", str(script))
    _trial.survives(file, "henaff2021")  # not read again: it is as it was
    other = tmp_path / "other.mat"
    other.write_bytes(file.read_bytes())
    with pytest.raises(BlendnetError, match="status 1"):
        _trial.survives(other, "henaff2021")
    _checked.checked(other, "henaff2021")  # whose published hash nobody knows
    with pytest.raises(BlendnetError, match="status 1"):
        _trial.survives(other, "henaff2021")
    _checked.checked(other, "henaff2021", sha256_file(other))
    _trial.survives(other, "henaff2021")
    other.write_bytes(file.read_bytes() + b"more")
    with pytest.raises(BlendnetError, match="status 1"):
        _trial.survives(other, "henaff2021")


def test_the_trial_reads_all_that_lies_in_the_file(file: Path, monkeypatch) -> None:
    read = []
    original = h5py.Dataset.__getitem__

    def noted(self, what):
        read.append(self.name)
        return original(self, what)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", noted)
    _trial._read(str(file))
    assert read == ["/a/b"]
