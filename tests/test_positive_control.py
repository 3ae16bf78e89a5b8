"""ImageNet weights must beat their untrained twin on macaque V4, and that must beat pixels; reference values met.

The weights come out of a package of the Python registry (a development dependency of this test and of the
`controls` of the photos profile, nothing else).
"""

from pathlib import Path

import numpy as np
import pytest

from analysis.similarity import pls
from analysis.similarity._splits import shuffle_splits
from blendnet import activations, models
from blendnet.data import brain, fetch
from blendnet.errors import BlendnetError
from pipelines import extract, networks, recordings, sheet
from pipelines.context import Context

# facts of the project: PLS, 25 components, 10 splits, sparse projection to 2000, 224 px, median r over 50 neurons
UNTRAINED = (0.300, 0.330, 0.346, 0.364, 0.360)
IMAGENET = (0.388, 0.440, 0.519, 0.516, 0.553)
LAYERS = ("features.2", "features.4", "features.7", "features.11", "features.14")


@pytest.fixture(scope="module")
def weights(tmp_path_factory, data_root) -> Path:
    """The data folder that holds weights/mobilenet_v2-b0353104.pth; fetched once where it is nowhere."""
    for folder in (data_root, Path("data")):
        if (folder / "weights" / "mobilenet_v2-b0353104.pth").exists():
            return folder
    folder = tmp_path_factory.mktemp("weights")
    try:
        fetch.fetch("mobilenet_v2", folder, progress=False)
    except BlendnetError as error:
        pytest.skip(f"no ImageNet weights: {error}")
    return folder


@pytest.mark.data
@pytest.mark.slow
def test_imagenet_beats_untrained_beats_pixels_on_v4(weights, data_root, tmp_path):
    from dataclasses import replace

    profile = replace(sheet.PHOTOS, width=2000)
    context = Context(profile, tmp_path, weights, device="cpu", progress=False)
    recording = next(r for r in brain.load("cowley2023", data_root) if r.name == "cowley2023-210325")
    splits = shuffle_splits(len(recording.stimuli))
    responses = recording.mean()

    def score(features: np.ndarray) -> float:
        return float(np.median(pls.score(features, responses, splits), axis=1).mean())

    found = {}
    for run in profile.control_runs():
        folder = tmp_path / run.id
        model = networks.ready(context, run)
        activations.extract(
            folder, model, LAYERS, recordings.show(context, run, recording.stimuli), recording.stimuli.ids,
            key={"run": run.id}, width=2000, seed=0, say=lambda s: None, progress=False,
        )  # fmt: skip
        found[run.training] = np.array([score(activations.load_layer(folder, la)) for la in LAYERS])
    pixels, _ = extract.pixels(
        Context(replace(profile, colour="rgb"), tmp_path, weights, progress=False), recording.stimuli
    )
    assert (found["imagenet"] > found["untrained"]).all()
    assert found["untrained"].max() > score(pixels)
    np.testing.assert_allclose(found["imagenet"], IMAGENET, atol=0.03)
    np.testing.assert_allclose(found["untrained"], UNTRAINED, atol=0.03)
    assert score(pixels) == pytest.approx(0.228, abs=0.03)
    assert models.layers("mobilenet_v2")[:5] == LAYERS
