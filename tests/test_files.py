"""Files are whole or not there; hashes are equal for equal values; errors are one clear line."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from blendnet.errors import BlendnetError, unknown
from blendnet.files import atomic, read_json, sha256_of, write_json, write_text
from blendnet.keys import difference, stale


def test_atomic_leaves_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "table.csv"
    write_text(path, "old\n")
    with pytest.raises(RuntimeError, match="stop"), atomic(path) as partial:
        partial.write_text("half of the ne")
        raise RuntimeError("stop")
    assert path.read_text() == "old\n"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_a_killed_writer_leaves_no_half_written_file(tmp_path):
    path = tmp_path / "table.csv"
    code = f"""
        import os, signal
        from blendnet.files import atomic
        with atomic({str(path)!r}) as partial:
            partial.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -9
    assert not path.exists()


def test_full_disk_is_one_clear_line():
    # /dev/full answers every write with ENOSPC, as a full disk does.
    from pathlib import Path

    from blendnet.files import write_error

    with pytest.raises(OSError, match="No space") as caught, open("/dev/full", "wb", buffering=0) as handle:
        handle.write(b"x")
    line = str(write_error(Path("results/x.csv"), caught.value))
    assert "results/x.csv" in line
    assert "disk is full" in line
    assert "\n" not in line


def test_a_folder_that_is_a_file_is_one_clear_line(tmp_path):
    (tmp_path / "results").write_text("I am a file")
    with pytest.raises(BlendnetError, match="cannot write .*results"):
        write_text(tmp_path / "results" / "a.csv", "x")


def test_json_round_trip_and_damage(tmp_path):
    path = tmp_path / "a.json"
    value = {"b": [1, 2.5], "a": {"x": None}}
    write_json(path, value)
    assert read_json(path) == value
    path.write_text('{"a": 1')
    with pytest.raises(BlendnetError, match=r"a\.json is not valid JSON"):
        read_json(path)
    with pytest.raises(BlendnetError, match="missing"):
        read_json(tmp_path / "none.json")
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"x": float("nan")})


def test_hash_depends_on_content_not_on_order():
    assert sha256_of({"a": 1, "b": 2}) == sha256_of({"b": 2, "a": 1})
    assert sha256_of({"a": 1}) != sha256_of({"a": 2})
    assert sha256_of([1, 2]) != sha256_of([2, 1])


def test_difference_names_what_differs(tmp_path):
    a = {"recipe": {"lr": 0.1, "epochs": 3}, "seed": 0}
    b = {"recipe": {"lr": 0.2, "epochs": 3}, "seed": 0, "new": 1}
    assert difference(a, a) == []
    assert difference(a, b) == ["new: new", "recipe.lr: 0.1 -> 0.2"]
    path = tmp_path / "key.json"
    assert stale(path, a) is None
    write_json(path, {"key": a})
    assert stale(path, a) == []
    assert stale(path, b) == ["new: new", "recipe.lr: 0.1 -> 0.2"]


def test_unknown_name_suggests_the_nearest():
    error = unknown("network", "resnet81", ["resnet18", "cornet_z"])
    assert "did you mean 'resnet18'?" in str(error)
    assert "cornet_z" in str(error)
    assert "\n" not in str(error)


def test_a_folder_is_no_file_to_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path, Path("."), Path("..")):
        with pytest.raises(BlendnetError, match="it is a folder; give the name of a file"):
            write_text(path, "x")
    assert list(tmp_path.iterdir()) == []
