"""The columns of scores.csv that say what a row rests on: one small chain, run again with one thing changed at a time.

The recording is made here from pixels and stays what it is when the network or the sheet changes, so that each change
has its own column. Source files are changed for real, in a copy of the repository's that is hashed in its place.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis import tables
from blendnet import checkpoint, keys
from blendnet.data.brain._checked import pixels_sha256
from blendnet.data.brain.recording import Recording, Stimuli
from blendnet.files import sha256_of
from blendnet.run import Run
from pipelines import extract, networks, recordings, score, sheet
from pipelines.context import Context

ROOT = Path(keys.__file__).resolve().parent.parent
RUN = Run("cornet_z", "none", 0, "blended", 0)
OTHER = Run("resnet18", "none", 0, "untrained", 0)
PROFILE = replace(
    sheet.DEMO, networks=("cornet_z", "resnet18"), attentions=("none",), image_size=32, width=40, n_bootstrap=5,
    n_splits=2, split_test=0.3, metrics=("pls", "ridge"), recordings=("cowley2023",), planted=None,
)  # fmt: skip
HASHES = ("weights_sha256", "activations_key", "recording_sha256", "code_version")
N = 40


def recording(change: int = 0) -> Recording:
    """Responses planted in the pixels' first directions; change: added to one pixel of one stimulus."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 200, (N, 16, 16, 3)).astype(np.uint8)
    y = images.reshape(N, -1)[:, :400].astype(float) @ rng.normal(size=(400, 4)) / 1000
    trials = (y[:, None] + rng.normal(size=(N, 3, 4))).astype(np.float32)
    images[7, 3, 4, 0] += np.uint8(change)
    pixels = pixels_sha256(images.__getitem__, N)
    stimuli = Stimuli("made", tuple(f"s{i}" for i in range(N)), images.__getitem__, np.arange(N), 8.0, pixels)
    return Recording(
        "cowley2023-made", "V4", stimuli, trials, None, ("a", "b", "c", "d"), ("m",) * 4, "macaque", "spikes/s", "none",
        "none", sha256_of([trials.tolist(), pixels]),
    )  # fmt: skip


def save(context: Context, change: float = 0.0) -> None:
    """A checkpoint of RUN as training leaves it; change: added to one weight."""
    model = networks.fresh(context, RUN)
    next(model.parameters()).data.view(-1)[0] += change
    key = {"run": RUN.id, "recipe": PROFILE.recipe.asdict(), "image_size": context.profile.size_of(RUN),
           "classes": list(PROFILE.classes), "photos_sha256": "0" * 64}  # fmt: skip
    meta = {name: key[name] for name in ("run", "classes", "image_size", "recipe")} | {"epoch": 0, "seconds": 1.0}
    checkpoint.save(context.folder("checkpoints", RUN.id), model, meta | {"key": key})


def table(context: Context):
    """scores.csv of both networks and the pixels, by network, metric and kind, each step as the verbs run it."""
    for run in (RUN, OTHER):
        own = replace(context, only=run.id)
        extract.extract(own)
        score.score(own)
    score.score(replace(context, only=extract.PIXELS))
    return tables.read(context.tables / "scores.csv").set_index(["network", "metric", "kind"]).sort_index()


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A copy of the source files, which is what the hashes of code are made of."""
    copy = tmp_path / "source"
    for folder in ("blendnet", "analysis", "pipelines"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(keys, "_ROOT", copy)
    _forget()
    yield copy
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    keys.code_version.cache_clear()
    keys.imported.cache_clear()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The results folder of the undisturbed chain and its table."""
    folder = tmp_path_factory.mktemp("chain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recordings, "load_one", lambda name, data: [recording()])
        context = Context(PROFILE, folder, folder, device="cpu", progress=False)
        save(context)
        first = table(context)
    assert len(first) == 10  # two networks with chance rows and the pixels, two metrics
    return folder, first


@pytest.fixture
def chain(made, tmp_path, monkeypatch, source):
    """The chain's surroundings, on a copy of its results, and the table as it was."""
    monkeypatch.setattr(recordings, "load_one", lambda name, data: [recording()])
    shutil.copytree(made[0], tmp_path / "results")
    return Context(PROFILE, tmp_path / "results", tmp_path, device="cpu", progress=False), made[1]


def changed(before, after) -> dict[str, set[tuple[str, str]]]:
    """{column: (network, metric) whose cells differ}, both rows of a network alike; and that of all numbers."""
    assert (before.index == after.index).all()
    found = {}
    for column in HASHES:
        rows = before.index[before[column] != after[column]]
        found[column] = {row[:2] for row in rows}
        assert len(rows) == sum(len(before.loc[name]) for name in found[column]), f"{column}: of one kind of row only"
    found["score"] = {row[:2] for row in before.index[before["score"] != after["score"]]}
    return found


def of(*names: str) -> set[tuple[str, str]]:
    return {(name, metric) for name in names for metric in ("pls", "ridge")}


NOTHING: dict[str, set] = {column: set() for column in (*HASHES, "score")}
ALL = of("cornet_z", "resnet18", "pixels")


def test_the_same_again_changes_nothing(chain):
    context, first = chain
    assert changed(first, table(replace(context, force=True))) == NOTHING


def test_another_image_size_changes_the_activations(chain):
    context, first = chain
    context.profile = replace(PROFILE, image_sizes={"cornet_z": 40})
    save(context)
    assert changed(first, table(context)) == NOTHING | {"activations_key": of("cornet_z"), "score": of("cornet_z")}
    context.profile = replace(PROFILE, image_size=40)
    save(context)
    # Pixels are averaged from the image that the networks see: of 40 px 16 are other averages than of 32.
    assert changed(first, table(context)) == NOTHING | {"activations_key": ALL, "score": ALL}


def test_another_weight_changes_weights_and_activations_of_its_network(chain):
    context, first = chain
    save(context, change=0.5)
    own = of("cornet_z")
    assert changed(first, table(context)) == NOTHING | {"weights_sha256": own, "activations_key": own, "score": own}


def test_another_pixel_changes_recording_and_activations(chain, monkeypatch):
    context, first = chain
    monkeypatch.setattr(recordings, "load_one", lambda name, data: [recording(change=50)])
    assert changed(first, table(context)) == NOTHING | {"recording_sha256": ALL, "activations_key": ALL, "score": ALL}


@pytest.mark.parametrize(
    ("file", "column", "whose"),
    [
        ("analysis/similarity/ridge.py", "code_version", {(n, "ridge") for n, _ in ALL}),
        ("pipelines/scoring.py", "code_version", ALL),
        ("pipelines/_other_animals.py", "code_version", ALL),
        ("blendnet/models/cornet_z.py", "activations_key", of("cornet_z")),
        ("blendnet/projection.py", "activations_key", of("cornet_z", "resnet18")),
        ("analysis/similarity/cka.py", "code_version", set()),
        ("blendnet/models/vit_small.py", "activations_key", set()),
    ],
)
def test_another_line_of_code_changes_what_ran_through_it(chain, source, file, column, whose):
    context, first = chain
    with open(source / file, "a", encoding="utf-8") as handle:
        handle.write("# another line\n")
    _forget()
    after = table(context)
    assert changed(first, after) == NOTHING | {column: whose}  # a comment: the numbers stay
