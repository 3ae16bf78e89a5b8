"""What a stored number rests on: each thing that changes it changes its key, and nothing beside it does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from blendnet import keys
from blendnet.data.brain.recording import Recording, Stimuli
from blendnet.files import sha256_of
from blendnet.run import Run
from pipelines import extract, networks, recordings, score, sheet
from pipelines.context import Context

RUN = Run("cornet_z", "none", 0, "untrained", 0)
PROFILE = replace(sheet.DEMO, networks=("cornet_z",), image_size=32, width=50, planted=None)


def stimuli(shade: int = 0) -> Stimuli:
    images = np.random.default_rng(0).integers(0, 200, (6, 16, 16, 3)).astype(np.uint8) + np.uint8(shade)
    digest = sha256_of(images.tolist())
    return Stimuli("made", tuple("abcdef"), lambda i: images[i], np.arange(6), 8.0, digest)


def recording(shade: int = 0) -> Recording:
    trials = np.random.default_rng(1).normal(size=(6, 2, 3)).astype(np.float32)
    return Recording(
        "cowley2023-made", "V4", stimuli(shade), trials, None, ("n0", "n1", "n2"), ("m", "m", "m"), "monkey",
        "spikes/s", "none", "none", sha256_of([trials.tolist(), shade]),
    )  # fmt: skip


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(profile=PROFILE, results=tmp_path, data=tmp_path)


def score_key(context: Context, run: Run = RUN, made: Recording | None = None, metric: str = "pls") -> str:
    made = made or recording()
    activations_key = sha256_of(extract.key_of(context, run, made.stimuli))
    return sha256_of(score.key_of(context, activations_key, made, metric))


def test_the_same_things_give_the_same_key(context):
    assert score_key(context) == score_key(context)


@pytest.mark.parametrize(
    "change",
    [{"image_size": 40}, {"width": 51}, {"model_degrees": 4.0}, {"colour": "grey"}, {"projection_seed": 1},
     {"n_splits": 4}, {"split_test": 0.2}, {"score_seed": 2}, {"n_bootstrap": 7}],
)  # fmt: skip
def test_a_changed_setting_changes_the_key(context, change):
    other = replace(context, profile=replace(PROFILE, **change))
    assert score_key(other) != score_key(context)


def test_a_changed_weight_changes_the_key(context):
    other = replace(RUN, seed=1)
    assert networks.weights(context, RUN) != networks.weights(context, other)
    assert score_key(context, other) != score_key(context)


def test_a_single_changed_weight_changes_the_hash(context):
    from blendnet.checkpoint import weights_sha256

    model = networks.fresh(context, RUN)
    before = weights_sha256(model)
    next(model.parameters()).data.view(-1)[0] += 1e-6
    assert weights_sha256(model) != before


def test_a_changed_stimulus_or_response_changes_the_key(context):
    assert score_key(context, made=recording(shade=1)) != score_key(context)
    louder = replace(recording(), sha256="0" * 64)
    assert score_key(context, made=louder) != score_key(context)


def test_a_changed_metric_changes_its_own_key_only(context, monkeypatch):
    """As if analysis/similarity/ridge.py had another byte."""
    before = {metric: score_key(context, metric=metric) for metric in ("pls", "ridge", "cka", "rsa")}
    real = keys.code_version
    touched = "analysis/similarity/ridge.py"
    monkeypatch.setattr(score, "code_version", lambda *parts: real(*parts) + ("!" if touched in parts else ""))
    after = {metric: score_key(context, metric=metric) for metric in before}
    assert {metric for metric in before if before[metric] != after[metric]} == {"ridge"}


def test_a_changed_network_file_changes_its_own_activations_only(context, monkeypatch):
    other = Run("resnet18", "none", 0, "untrained", 0)
    before = [score_key(context, run) for run in (RUN, other)]
    real = keys.code_version
    touched = "blendnet/models/resnet18.py"
    from blendnet import activations

    monkeypatch.setattr(activations, "code_version", lambda *parts: real(*parts) + ("!" if touched in parts else ""))
    after = [score_key(context, run) for run in (RUN, other)]
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_what_a_file_imports_is_its_code():
    found = keys.imported("analysis/similarity/ridge.py")
    assert {"analysis/similarity/ridge.py", "analysis/similarity/_arrays.py", "analysis/similarity/_splits.py"} <= set(
        found
    )
    assert "analysis/similarity/cka.py" not in found
    assert all((Path(keys.__file__).parent.parent / file).is_file() for file in found)
    assert keys.code_version(*found) != keys.code_version(*found[:-1])


def test_planted_source_names_its_code(context):
    assert recordings.preprocessing(context, RUN, stimuli())["code"]
