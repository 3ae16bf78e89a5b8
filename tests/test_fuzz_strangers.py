"""Files of strangers, altered where their parsers decide, in child processes: no crash, hang, traceback, wrong number.

Few of each; `python -m benchmarks.bad_input` makes thousands, and writes the counts into its table.
"""

import random
import re
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from benchmarks import _fuzzing, _fuzzing_cases, _fuzzing_child, _fuzzing_guided, _fuzzing_pickle, bad_input
from benchmarks import _fuzzing_hdf5 as hdf5
from benchmarks._fuzzing_child import Count
from blendnet.data.brain import _strangers
from blendnet.errors import BlendnetError
from tests.conftest import one_line

ROOT = Path(__file__).resolve().parent.parent
EACH = {"HDF5": 20, "stimulus": 100, "legacy": 150}
NAMES = [name for name in _fuzzing_cases.cases() if name != _fuzzing_cases.BRAINIO]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("strangers")
    _fuzzing_cases.valid(where, NAMES)
    return where


@pytest.mark.parametrize("name", NAMES)
def test_changed_files_are_read_or_refused_in_one_line(folder: Path, name: str) -> None:
    n = EACH[name.split()[0].rstrip(":")]
    count = _fuzzing_child.run(name, folder, n, seed=1)
    assert count.bad == []
    assert count.n == n
    assert count.taken < 0.9 * n  # or the changes change nothing
    if "published" in name:
        assert count.taken == count.same


def test_changed_downloads_of_brain_score_are_refused_by_their_sha1(tmp_path: Path) -> None:
    pytest.importorskip("brainscore_vision")
    _fuzzing_cases.valid(tmp_path, [_fuzzing_cases.BRAINIO])
    count = _fuzzing_child.run(_fuzzing_cases.BRAINIO, tmp_path, 16, seed=1)
    assert count.bad == []
    assert 0 < count.taken == count.same < count.n == 16


# ---------------------------------------------------------------- the harness sees what it is to see


def forged(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str, n: int = 3) -> Count:
    """What is counted of a reader that does `body` with the second of its files (content b'1')."""
    module = folder / "forged_case.py"
    module.write_text(
        "import os, signal, time\nfrom pathlib import Path\n"
        "from benchmarks import _fuzzing_cases, _fuzzing_child\n"
        "from benchmarks._fuzzing_child import Case\nfrom blendnet.errors import BlendnetError\n"
        "def make(folder):\n"
        "    file = folder / 'x'\n    file.write_bytes(b'valid')\n    left = iter(range(100))\n"
        "    def read():\n"
        "        if file.read_bytes() != b'1':\n            return 'numbers', 'name'\n"
        f"        {body}\n"
        "    return Case(file, lambda content, rng: file.write_bytes(str(at(left)).encode()), read)\n"
        "def at(left):\n    return FIRST + next(left)\n"
        "_fuzzing_cases.cases = lambda: {'forged': make}\n"
        "import sys\nFIRST = int(sys.argv[3])\n"
        "_fuzzing_child.child(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))\n"
    )
    real = _fuzzing_child.subprocess.run

    def run(command: list[str], **more):
        at = command.index("benchmarks._fuzzing_child")
        more["env"] = more["env"] | {"PYTHONPATH": str(ROOT)}
        return real([*command[: at - 1], str(module), *command[at + 1 :]], **more)

    monkeypatch.setattr(_fuzzing_child.subprocess, "run", run)
    return _fuzzing_child.run("forged", folder, n, limit_s=1)


@pytest.mark.parametrize(
    ("body", "where", "says"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashes", "SIGSEGV"),
        ("time.sleep(60)", "hangs", "no answer within 1 s"),
        ("raise ValueError('odd')", "complaints", "ValueError: odd"),
        ("raise BlendnetError('two\\nlines')", "complaints", "not one line"),
        ("return 'other numbers', 'name'", "wrong", "other numbers"),
        ("bytes(2**33)", "complaints", "MemoryError"),
    ],
)
def test_what_is_bad_is_counted_and_the_rest_goes_on(tmp_path, monkeypatch, body: str, where: str, says: str) -> None:
    count = forged(tmp_path, monkeypatch, body)
    assert count.n == 3
    assert count.same == 2
    assert len(getattr(count, where)) == len(count.bad) == 1
    assert says in count.bad[0]
    assert "forged 0.1" in count.bad[0]


def test_other_numbers_under_another_name_are_no_wrong_ones(tmp_path, monkeypatch) -> None:
    count = forged(tmp_path, monkeypatch, "return 'other numbers', 'other name'")
    assert (count.n, count.taken, count.same, count.bad) == (3, 3, 2, [])


def test_every_attack_would_run_where_it_is_obeyed(tmp_path: Path) -> None:
    """Without this a reader that obeys some of them could pass."""
    import pickle

    mark = tmp_path / _fuzzing_pickle.MARK
    ran = 0
    for attack in _fuzzing_pickle.attacks(mark):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            try:
                pickle.loads(b"\x80\x04" + attack + b".")
            except Exception:  # a state for a class that takes none, a class that is not torch's
                assert attack.startswith((b"ctorch", b"ccollections", b"cos"))
        ran += mark.exists()
        mark.unlink(missing_ok=True)
    assert ran >= 5


def test_opcodes_put_together_again_are_the_pickle(folder: Path) -> None:
    with zipfile.ZipFile(folder / "zip.pth") as archive:
        stream = archive.read(next(n for n in archive.namelist() if n.endswith("data.pkl")))
    ops, rest = _fuzzing_pickle.pieces(stream)
    assert b"".join(ops) + rest == stream
    assert rest == b""
    assert len(ops) > 100
    changes = {b"".join(_fuzzing_pickle.altered(ops, random.Random(i), folder)) for i in range(50)}
    assert len(changes - {stream}) > 40


def test_repaired_checksums_are_hdf5s_own(folder: Path) -> None:
    """Without them a changed file of the newest format never gets past its checksums."""
    path = hdf5.rewrite(folder / "population.mat", folder / "newest.mat", hdf5.FLAVOURS[2])
    content = path.read_bytes()
    blocks = hdf5.sealed_blocks(content)
    assert len(blocks) > 200
    for begin, end in blocks:
        assert int.from_bytes(content[end : end + 4], "little") == hdf5.lookup3(content[begin:end])
    changed = bytearray(content)
    changed[blocks[1][0] + 12] ^= 1
    assert hdf5.repaired(bytes(changed), content)[blocks[1][1] :][:4] != content[blocks[1][1] :][:4]
    assert hdf5.repaired(content, content) == content


def test_a_data_set_larger_than_its_file_can_hold_is_refused(tmp_path: Path) -> None:
    """Never-written chunks read as zeros; gzip's own limit is 1032 to 1."""
    path = tmp_path / "a.mat"
    with h5py.File(path, "w") as file:
        file.create_dataset("right", data=np.zeros(2_500_000), chunks=(250_000,), compression="gzip")
    with h5py.File(path, "r") as file:
        assert file["right"].nbytes > 500 * path.stat().st_size
        _strangers.inside(file, path, "henaff2021")
    with h5py.File(path, "r+") as file:
        file.create_dataset("wrong", (2**26,), "f8", chunks=(2**20,))
    with h5py.File(path, "r") as file, pytest.raises(BlendnetError) as error:
        _strangers.inside(file, path, "henaff2021")
    one_line(error, "'/wrong' claims 0.5 GiB")


def test_the_table_has_a_row_for_every_reader() -> None:
    text = (ROOT / "benchmarks" / "results" / "bad_input.md").read_text()
    rows = {c[0]: c for c in (re.split(r" *\| *", line)[1:-1] for line in text.splitlines()) if len(c) == 11}
    assert set(rows) - {"files"} - {c for c in rows if set(c) == {"-"}} == set(_fuzzing_cases.cases())
    for name in _fuzzing_cases.cases():
        n, refused, same, others, *bad = map(int, rows[name][1:9])
        assert bad == [0, 0, 0, 0]
        assert refused + same + others == n >= (50 if name == _fuzzing_cases.BRAINIO else 100), name


# ---------------------------------------------------------------- the engine that is guided by coverage


def test_what_the_engine_says_is_counted() -> None:
    text = (
        "#2\tINITED cov: 60 ft: 60 corp: 1/2b exec/s: 0 rss: 500Mb\n"
        "#37\tNEW    cov: 66 ft: 90 corp: 4/40b lim: 4096 exec/s: 20 rss: 500Mb L: 12/20 MS: 1 Custom-\n"
        "a line of a library\n"
        "#812\tDONE   cov: 73 ft: 120 corp: 16/8Kb lim: 4096 exec/s: 100 rss: 501Mb\n"
    )
    found = _fuzzing_guided.counted(text)
    assert (found.n, found.points, found.kept) == (812, 73, 16)
    assert _fuzzing_guided.counted("Segmentation fault").n == 0


def test_without_the_engine_there_is_one_line(monkeypatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setattr(_fuzzing_guided, "find_spec", lambda name: None)
    assert bad_input.main(["--guided", "1", "--changed", "0", "--out", str(tmp_path / "x.md")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "atheris is not installed: pip install" in said
    assert list(tmp_path.iterdir()) == []


def test_every_reader_that_is_guided_is_made() -> None:
    with _fuzzing.made() as targets:
        names = {target.name for target in targets}
        assert set(_fuzzing_guided.READERS) <= names


def test_the_engine_reads_on_to_its_end() -> None:
    pytest.importorskip("atheris", reason="not a dependency: pip install --target DIR atheris, and PYTHONPATH=DIR")
    found = _fuzzing_guided.run(3, names=["JSON"])["JSON"]
    assert found.n > 10
    assert found.crashes == found.findings == []


def test_what_is_not_measured_anew_stays_in_the_page(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("# Bad input\n\nrows\n\n## One\n\n| a |\n\n## Two\n\nb\n")
    assert bad_input.standing(path) == {"## One": "## One\n\n| a |\n", "## Two": "## Two\n\nb\n"}
    assert bad_input.standing(tmp_path / "none.md") == {}


def test_the_page_has_a_row_for_every_guided_reader() -> None:
    part = bad_input.standing(ROOT / "benchmarks" / "results" / "bad_input.md")[_fuzzing_guided.HEAD]
    rows = [re.split(r" *\| *", line)[1:-1] for line in part.splitlines() if line.startswith("| ")][1:]
    assert [row[0] for row in rows] == list(_fuzzing_guided.READERS)
    for name, n, points, kept, crashes, findings in rows:
        assert int(n) >= (10 if name == "HDF5" else 500)
        assert int(points) > 0
        assert int(kept) > 0
        assert (crashes, findings) == ("0", "0")
    assert f"{sum(int(row[1]) for row in rows)} executions, 0 not as asked" in part
