"""Several processes on one results folder: each piece of work is done once, nothing is corrupted, and the tables are
those of one process to the byte, in whatever order and whoever dies."""

import json
import os
import shutil
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from blendnet import activations, files, integrity
from blendnet.files import write_json
from tests import faults
from tests.shared import small_chain

COMPUTING = faults.CHAIN[:5]
PIECES = ("checkpoints/*", "predictions/*", "inside/*", "activations/*", "scores/*")


@pytest.fixture(scope="module")
def alone(server, tmp_path_factory):
    """Results of one process, all but figures and report, and the units of work that it did."""
    whole, _, units = small_chain(server, tmp_path_factory)
    assert len(units) == len(set(units)) > 60
    results = tmp_path_factory.mktemp("alone") / "demo"
    shutil.copytree(whole, results, ignore=shutil.ignore_patterns("figures", "report.html"))
    return results, units


def same(results: Path, wanted: Path) -> None:
    assert faults.differences(faults.snapshot(results), faults.snapshot(wanted)) == []
    assert faults.leftovers(results) == []


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 4])
def test_processes_at_once_compute_each_unit_once(server, alone, tmp_path, n):
    """Two of every step, four of those that scores rest on."""
    units: Counter[str] = Counter()
    verbs = COMPUTING if n == 2 else ("train", "extract", "score")
    for verb in verbs:
        children = [server.start(verb, tmp_path) for _ in range(n)]
        for child in children:
            assert child.wait() == 0, child.output()[-2000:]
            units.update(child.units())
        assert faults.leftovers(tmp_path) == []
    assert units == Counter(unit for unit in alone[1] if unit.split()[0] in verbs)
    found, wanted = faults.snapshot(tmp_path / "demo"), faults.snapshot(alone[0])
    assert [path for path in found if found[path] != wanted[path]] == []
    assert {"tables/scores.csv", "tables/layers.csv", "tables/training.csv"} <= set(found)


@pytest.mark.slow
def test_one_of_two_is_killed_and_the_other_finishes_all(server, alone, tmp_path):
    for verb in ("train", "extract", "score"):
        children = [server.start(verb, tmp_path) for _ in range(2)]
        # Whichever computes first, in the midst of its first unit, whose lock nobody gives back: the other may find
        # nothing left to do, and would have ended by the time that it were killed.
        while not any(child.units() or child.ended() for child in children):
            time.sleep(0.005)
        killed, other = sorted(children, key=lambda child: not child.units())
        killed.kill()
        assert killed.wait() == -signal.SIGKILL
        assert other.wait() == 0, other.output()[-2000:]
    for verb in ("predict", "dissect", "correlate"):
        assert server.run(verb, tmp_path).status == 0
    same(tmp_path / "demo", alone[0])


@pytest.mark.slow
def test_tables_gathered_in_any_order_are_the_same(server, alone, tmp_path):
    """Runs scored one by one, in the opposite order and by two processes at once, in a folder that was filled in the
    opposite order."""
    whole = alone[0]
    results = tmp_path / "demo"
    for pattern in ("cache", "manifests", *reversed(PIECES)):
        for path in sorted(whole.glob(pattern), reverse=True):
            if not pattern.startswith("scores"):
                shutil.copytree(path, results / path.relative_to(whole))
    runs = [p.name for p in sorted((whole / "checkpoints").iterdir())]
    children = [server.start("score", tmp_path, "--only", f"{run[:13]}*") for run in reversed(runs)]
    children.append(server.start("score", tmp_path, "--only", "pixels"))
    for child in children:
        assert child.wait() == 0, child.output()[-2000:]
    for verb in ("dissect", "predict", "train", "correlate"):
        assert server.run(verb, tmp_path).status == 0
    same(results, whole)


def test_a_lock_of_a_dead_owner_stops_nobody(server, alone, tmp_path):
    shutil.copytree(alone[0], tmp_path / "demo")
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    for name in ("score-pixels", "gather-tables"):
        write_json(tmp_path / "demo" / "locks" / f"{name}.lock",
                   {"word": "dead", "host": files.here(), "name": "here", "pid": gone, "began": "1"})  # fmt: skip
    child = server.run("score", tmp_path, "--only", "pixels")
    assert child.status == 0
    assert "waiting" not in child.output()
    same(tmp_path / "demo", alone[0])


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Flatten()

    def forward(self, x):
        return self.one(x)


def test_one_extraction_at_a_time_in_a_folder(tmp_path):
    """The same folder from two threads, each with a lock of its own, as two processes have: one computes, the other
    reuses, and nobody sees the other's half."""
    shown: list[int] = []

    def images(start: int, stop: int) -> torch.Tensor:
        shown.append(start)
        return torch.arange(start, stop).float().reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2)

    said: list[str] = []

    def work(_: int) -> str:
        return activations.extract(
            tmp_path / "run" / "set", Net(), ["one"], images, [f"s{i}" for i in range(8)], key={"weights": "w"},
            width=20, seed=0, batch_size=2, say=said.append, progress=False,
        )  # fmt: skip

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(work, range(3)))) == 1
    assert sum("reused" in line for line in said) == 2
    assert shown == [0, 0, 2, 4, 6]  # the forecast, then each batch once
    stored = activations.load_layer(tmp_path / "run" / "set", "one")
    np.testing.assert_array_equal(stored[:, 0], np.arange(8))
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["set"]


def test_hashes_noted_at_once_are_all_there(tmp_path):
    """sha256.json of a folder is read, added to and written: without its lock two at once would lose some."""
    paths = [tmp_path / f"{i}.csv" for i in range(12)]
    for path in paths:
        path.write_text(path.name)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(integrity.note, paths))
    assert integrity.sealed(tmp_path) == integrity.hashes(paths)
    assert set(json.loads((tmp_path / integrity.SEAL).read_text())["files"]) == {p.name for p in paths}
