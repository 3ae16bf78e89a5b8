"""No result is lost, silently wrong or half-written, whatever happens: benchmarks/faults.py at a small size, and what
each fault looks like from near by."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import faults as made
from blendnet import activations, checkpoint, files, integrity, keys
from blendnet.errors import BlendnetError
from blendnet.files import read_json, write_json, write_text
from blendnet.training import state
from pipelines import training_table
from pipelines.context import Context
from tests import faults
from tests.conftest import one_line
from tests.shared import small_chain


@pytest.fixture(scope="module")
def chain(server, tmp_path_factory):
    """An undisturbed chain: its results, and the seconds that its steps took."""
    return small_chain(server, tmp_path_factory)[:2]


def none_lost(rows: list[dict]) -> None:
    for row in rows:
        assert row["n"] > 0
        assert row["losses"] == [], f"{row['fault']}: {row['losses'][:3]}"


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bytes(server, chain, tmp_path):
    """And under a clock that goes back all the while: no result rests on a time."""
    row = made.kills(server, tmp_path, *chain, n=3, rounds=1, fault="clock:-86400")
    none_lost([row])
    assert row["n"] == 3


@pytest.mark.slow
def test_killed_where_it_hurts_it_goes_on_from_there(server, chain, tmp_path):
    """A training state, the second network's checkpoint, an extraction under way: each is a moment to be killed at."""
    for moment in ("**/state.safetensors", "**/cornet_z-aacn4-blended-s0/meta.json", "**/activations/**/*.npy"):
        child = server.start("all", tmp_path)
        while not list(tmp_path.glob(moment)) and not child.ended():
            time.sleep(0.002)
        assert not child.ended(), f"ended before {moment} was there"
        child.kill()
        assert child.wait() == -signal.SIGKILL
        assert not (tmp_path / "demo" / "tables" / "scores.csv").exists()
    child = server.run("all", tmp_path)
    assert child.status == 0, child.output()[-2000:]
    assert child.output().count("is trained") == 2  # not trained from the beginning
    assert made.losses(tmp_path / "demo", faults.snapshot(chain[0])) == []


@pytest.mark.slow
def test_a_full_or_read_only_disk_is_one_line_and_loses_nothing(server, chain, tmp_path):
    try:
        rows = made.disk(server, tmp_path, chain[0], levels=2)
    except PermissionError as error:
        pytest.skip(f"no tmpfs can be mounted here: {error}")
    none_lost(rows)


@pytest.mark.slow
def test_memory_that_ends_and_devices_that_fail_are_one_line_and_resumed(server, chain, tmp_path):
    none_lost(made.stops(server, tmp_path, chain[0], each=1))


@pytest.mark.slow
def test_nothing_rests_on_the_times_of_files(server, chain, tmp_path):
    none_lost(made.clock(server, tmp_path, chain[0], backwards=False))


@pytest.mark.slow
def test_every_damage_is_named_and_repaired(server, chain, tmp_path):
    none_lost(made.damages(server, tmp_path, chain[0], each=1))


def test_a_dealt_plan_has_all_kills_and_every_step():
    decks = [made._dealt(random.Random(0), 100, 8, i) for i in range(8)]
    assert sum(map(len, decks)) == 100
    assert {step for deck in decks for step in deck} == set(faults.CHAIN)


# --- what reads a product refuses a damaged one ----------------------------------------------------------------------


def flip(path: Path, at: int = -3) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(bytes(content))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(12, 5)

    def forward(self, x):
        return self.one(x.flatten(1))


def extracted(folder: Path, **more) -> str:
    torch.manual_seed(0)
    return activations.extract(
        folder, Net(), ["one"], lambda a, b: torch.arange(a, b).float().reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2),
        ["s0", "s1", "s2", "s3"], key={"weights": "w"}, width=20, seed=0, progress=False, say=lambda _: None, **more,
    )  # fmt: skip


def test_a_stored_result_of_json_with_another_digit_is_refused(tmp_path):
    path = tmp_path / "piece.json"
    write_json(path, {"key": {"a": (1, 2)}, "scores": [{"score": 0.125, "none": None}]})
    assert read_json(path) == {"key": {"a": [1, 2]}, "scores": [{"score": 0.125, "none": None}]}
    path.write_text(path.read_text().replace("0.125", "0.135"))
    with pytest.raises(BlendnetError) as error:
        read_json(path)
    one_line(error, str(path), "changed after it was written", "delete it and run the step again")
    whole = path.read_text().replace("0.135", "0.125")
    for name in ("content_sha256", "sealed"):  # a bit of the name: not a result of an older version, which had none
        path.write_text(whole.replace(name, name.replace("e", "d")))
        with pytest.raises(BlendnetError, match="changed after it was written"):
            read_json(path)
    write_json(path, {"free": 1})  # no stored result: people may edit it
    path.write_text('{"free": 2}')
    assert read_json(path) == {"free": 2}


def test_what_an_older_version_stored_without_hashes_is_read(tmp_path):
    (tmp_path / "old.json").write_text('{"key": {"a": 1}, "scores": []}')
    assert read_json(tmp_path / "old.json")["scores"] == []
    folder = tmp_path / "run" / "set"
    extracted(folder)
    (folder / integrity.SEAL).unlink()
    assert activations.load_layer(folder, "one").shape == (4, 5)


def test_activations_with_another_bit_are_refused(tmp_path):
    folder = tmp_path / "run" / "set"
    extracted(folder)
    before = activations.load_layer(folder, "one")
    flip(folder / "one.npy")
    with pytest.raises(BlendnetError) as error:
        activations.load_layer(folder, "one")
    one_line(error, "one.npy changed after it was written", "blendnet doctor --repair")
    shutil.rmtree(folder)
    extracted(folder)
    np.testing.assert_array_equal(activations.load_layer(folder, "one"), before)


def test_a_training_state_with_another_bit_is_refused(tmp_path):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(2, 3, 2, 2)).sum().backward()
    optimizer.step()
    progress = state.Progress(epoch=3, best_epoch=2, best=(0.5, -1.0), log=[{"epoch": 0, "loss": 1.5}])
    state.save(tmp_path, {"run": "r"}, progress, model, dict(model.state_dict()), optimizer)
    assert state.load(tmp_path, model, optimizer)[0] == progress
    whole = (tmp_path / state.STATE).read_bytes()
    for place in (-1, whole.index(b"epoch") + 9):  # a weight, and a word of the progress in the header
        (tmp_path / state.STATE).write_bytes(whole)
        flip(tmp_path / state.STATE, place)
        with pytest.raises(BlendnetError, match="state.safetensors"):
            state.load(tmp_path, Net(), optimizer)
        with pytest.raises(BlendnetError, match="state.safetensors"):
            state.check(tmp_path)


def test_weights_with_another_bit_are_refused_and_named_with_their_command(tmp_path):
    folder = tmp_path / "checkpoints" / "net-none-blended-s0"
    checkpoint.save(folder, Net(), {"key": {}, "run": "r", "classes": ["a"], "image_size": 2})
    assert "0 damaged" in made.diagnosed(tmp_path)
    flip(folder / checkpoint.WEIGHTS)
    with pytest.raises(BlendnetError, match="the file changed after it was written"):
        checkpoint.load(folder, Net())
    said = made.diagnosed(tmp_path)
    assert f"damaged: {folder / checkpoint.WEIGHTS}: changed after it was written" in said
    assert "again with: blendnet train --only net-none-blended-s0 --profile demo" in said
    made.diagnosed(tmp_path, repair=True)
    assert not checkpoint.is_finished(folder)
    assert "0 damaged" in made.diagnosed(tmp_path)


def test_a_log_of_a_training_with_another_digit_is_refused(chain, tmp_path):
    shutil.copytree(chain[0] / "checkpoints", tmp_path / "checkpoints")
    context = Context(profile=faults.tiny(), results=tmp_path, data=tmp_path)
    training_table.gather(context)
    log = next(tmp_path.glob("checkpoints/*/log.csv"))
    log.write_text(log.read_text().replace("0.", "1.", 1))
    with pytest.raises(BlendnetError) as error:
        training_table.gather(context)
    one_line(error, "log.csv changed after it was written", "blendnet train --profile demo --only")


@pytest.mark.parametrize(("content", "says"), [
    ("epoch,lr\n0,0.1\n", "not in index"), ("no table", "its last line has no end"), ("{}\n", "None of"),
    ("whole", "Unable to parse string"),
])  # fmt: skip
def test_a_log_from_before_hashes_is_read_with_care(chain, tmp_path, content, says):
    shutil.copytree(chain[0] / "checkpoints", tmp_path / "checkpoints")
    context = Context(profile=faults.tiny(), results=tmp_path, data=tmp_path)
    log = next(tmp_path.glob("checkpoints/*/log.csv"))
    meta = log.parent / checkpoint.META
    write_json(meta, {k: v for k, v in read_json(meta).items() if k != "log_sha256"})
    training_table.gather(context)
    log.write_text(log.read_text().replace("\n0,", "\nzero,", 1) if content == "whole" else content)
    with pytest.raises(BlendnetError, match=says) as error:
        training_table.gather(context)
    one_line(error, str(log), "blendnet train --profile demo --only")


# --- what a killed writer leaves -------------------------------------------------------------------------------------


def killed_writer(path: Path) -> None:
    code = f"""if True:
        import os, signal
        from blendnet.files import atomic
        with atomic({str(path)!r}) as partial:
            partial.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9


def test_what_dead_writers_left_is_removed_by_the_next_write(tmp_path):
    killed_writer(tmp_path / "a.csv")
    killed_writer(tmp_path / "b.csv")
    assert len(list(tmp_path.glob(".*.partial"))) == 2
    write_text(tmp_path / "c.csv", "whole")
    assert [p.name for p in tmp_path.iterdir()] == ["c.csv"]


def test_what_a_living_writer_or_another_host_writes_is_left_alone(tmp_path):
    theirs = tmp_path / ".a.csv.0123abcd-1-abcdef.partial"
    strange = tmp_path / ".a.lock.0123456789abcdef.partial"
    for path in (theirs, strange):
        path.write_text("half")
    with files.atomic(tmp_path / "mine.csv") as mine:
        mine.write_text("half")
        write_text(tmp_path / "c.csv", "whole")
        assert mine.exists()
        assert theirs.exists()
        assert strange.exists()
    hour = theirs.stat().st_mtime - files.LEFT_OVER_S - 5
    for path in (theirs, strange):
        os.utime(path, (hour, hour))
    write_text(tmp_path / "c.csv", "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.csv", "mine.csv"]


def test_a_number_is_known_by_the_lines_that_enter_it(tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "_ROOT", tmp_path)

    def version(text: str) -> str:
        (tmp_path / "a.py").write_text(text)
        keys.code_version.cache_clear()
        return keys.code_version("a.py")

    try:
        plain = version("x = 1\ny = x\n")
        assert version("x = 1\ncheck(x)  # enters no number\ny = x\n") == plain
        assert version("x = 1\ncheck(x)\ny = x\n") != plain
        assert version("x = 2  # enters no number\ny = x\n") != plain
    finally:
        keys.code_version.cache_clear()
