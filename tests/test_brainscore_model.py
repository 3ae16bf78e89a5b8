"""blendnet's networks as Brain-Score's models: its own benchmarks call them, and both engines say the same number."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from analysis import tables
from analysis.similarity import pls
from analysis.similarity._splits import shuffle_splits
from analysis.stats.layers import aggregate
from blendnet import activations
from blendnet.data.brain import _brainscore, _brainscore_storage, freemanziemba2013public, majajhong2015public
from blendnet.errors import BlendnetError
from blendnet.run import Run
from pipelines import _brainscore_layers, brain_model, extract, score, sheet
from pipelines.context import Context
from tests import s3_server
from tests.conftest import one_line
from tests.shared import TINY, tiny_chain

pytest.importorskip("brainscore_vision")
RUN = Run("cornet_z", "none", 0, "untrained", 0)
LAYERS = {"V1": "V1.output", "V2": "V2.output", "V4": "V4.output", "IT": "IT.output"}
PROFILE = replace(sheet.DEMO, networks=("cornet_z",), image_size=48, width=200, recordings=())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    """Folder whose home/ holds both stand-ins as downloads; the registry names them."""
    folder = tmp_path_factory.mktemp("brainscore-model")
    patch = pytest.MonkeyPatch()
    _brainscore_storage.ready()
    for module, stand_in in (
        (freemanziemba2013public, s3_server.freeman(folder)),
        (majajhong2015public, s3_server.majaj(folder)),
    ):
        patch.setattr(module, "SOURCE", replace(module.SOURCE, counts=s3_server.COUNTS))
        s3_server.register(stand_in, patch.setitem)
        s3_server.fill_cache(folder / "home", stand_in)
    patch.setenv("BRAINIO_HOME", str(folder / "home"))
    yield folder
    patch.undo()


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(PROFILE, tmp_path / "results", tmp_path, device="cpu", progress=False)


@pytest.mark.parametrize(("module", "region"), [(freemanziemba2013public, "V1"), (majajhong2015public, "IT")])
def test_brain_scores_benchmark_gives_our_score(world, context, module, region: str) -> None:
    """The whole of both ways: place_on_screen -> look_at -> scikit-learn's PLS, against recording -> extract -> ours.
    The V1 stimuli are placed (4 degrees on 8), the IT stimuli fill the screen."""
    (recording,) = module.load(world, regions=(region,))
    extract.extract_run(context, RUN, recording.stimuli)
    x = activations.load_layer(extract.folder(context, RUN, recording.stimuli), LAYERS[region])
    assert x.shape == (len(recording.stimuli), 200)
    splits = shuffle_splits(len(x), **_brainscore.splits_of(recording))
    ours = pls.score(x, recording.mean(), splits)
    model = brain_model.of_run(context, RUN, LAYERS)
    with _brainscore.benchmark(module.SOURCE, region, world) as bench:
        theirs = bench(model)
        ceiling = float(bench.ceiling)
    assert aggregate(ours) == pytest.approx(float(theirs.raw), abs=1e-4)
    by_id = dict(zip(theirs.raw.raw["neuroid_id"].values, theirs.raw.raw.mean("split").values))
    np.testing.assert_allclose(ours.mean(0), [by_id[name] for name in recording.neuroid_ids], atol=1e-3)
    assert float(theirs) == pytest.approx(float(theirs.raw) ** 2 / ceiling)
    # The stand-in's neurons are made from pixels: a score at chance would agree for the wrong reason.
    assert aggregate(ours) > 0.3


def test_a_trained_checkpoint_gives_both_engines_the_same_score(world, tmp_path, tmp_path_factory) -> None:
    """The twin with attention, as `blendnet train` left it, in Brain-Score's own V4 benchmark and in ours."""
    shutil.copytree(tiny_chain(tmp_path_factory) / "demo", tmp_path / "demo")
    context = Context(TINY, tmp_path / "demo", tmp_path, device="cpu", progress=False)
    run = Run("cornet_z", "aacn", 4, "blended", 0)
    (recording,) = majajhong2015public.load(world, regions=("V4",))
    extract.extract_run(context, run, recording.stimuli)
    x = activations.load_layer(extract.folder(context, run, recording.stimuli), LAYERS["V4"])
    ours = aggregate(pls.score(x, recording.mean(), shuffle_splits(len(x), **_brainscore.splits_of(recording))))
    with _brainscore.benchmark(majajhong2015public.SOURCE, "V4", world) as bench:
        theirs = float(bench(brain_model.of_run(context, run, LAYERS)).raw)
        untrained = float(bench(brain_model.of_run(context, replace(run, training="untrained"), LAYERS)).raw)
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert abs(theirs - untrained) > 1e-3  # the checkpoint's weights are what was asked


def test_models_of_other_fields_of_view_are_shown_other_screens(world, context) -> None:
    """4 degrees are half of 8 and a quarter of 16: what a model answers depends on it, as on the real screen."""
    from brainscore_vision.benchmark_helpers.screen import place_on_screen

    answers = []
    for degrees in (8.0, 16.0):
        model = brain_model.of_run(replace(context, profile=replace(PROFILE, model_degrees=degrees)), RUN, LAYERS)
        assert model.visual_degrees() == degrees
        model.start_recording("V1", time_bins=[(50, 200)])
        with _brainscore.benchmark(freemanziemba2013public.SOURCE, "V1", world) as bench:
            answers.append(model.look_at(place_on_screen(bench._assembly.stimulus_set, degrees, 4)))
    near, far = (a.sortby("stimulus_id").values for a in answers)
    assert np.abs(near - far).max() > 0.1 * np.abs(near).max()


def stimuli_of(world):
    (recording,) = majajhong2015public.load(world, regions=("V4",))
    with _brainscore.benchmark(majajhong2015public.SOURCE, "V4", world) as bench:
        return recording, bench._assembly.stimulus_set


def test_look_at_in_the_form_that_brain_score_expects(world, context) -> None:
    recording, stimuli = stimuli_of(world)
    model = brain_model.of_run(context, RUN, LAYERS, projected=False)
    with pytest.raises(BlendnetError) as error:
        model.look_at(stimuli)
    one_line(error, "start_recording")
    model.start_recording("V4", time_bins=[(70, 170)])
    seen = model.look_at(stimuli, number_of_trials=50)
    assert seen.dims == ("presentation", "neuroid")
    assert list(seen["stimulus_id"].values) == list(stimuli["stimulus_id"])
    assert list(seen["object_name"].values) == list(stimuli["object_name"])
    assert set(seen["layer"].values) == {"V4.output"}
    assert set(seen["region"].values) == {"V4"}
    assert len(set(seen["neuroid_id"].values)) == seen.shape[1] > 1000
    # Against the network called by hand on one stimulus.
    x = brain_model.recordings.show(context, RUN, recording.stimuli)(5, 6)
    out = activations.read_layers(model.network, ("V4.output",), x, lambda _, o: o.flatten(1))["V4.output"][0]
    row = list(seen["stimulus_id"].values).index(recording.stimuli.ids[5])
    np.testing.assert_allclose(seen.values[row], out.numpy(), rtol=1e-4, atol=1e-5)
    model.start_recording("V4", time_bins=[(70, 120), (120, 170)])
    twice = model.look_at(stimuli)
    assert twice.dims == ("presentation", "neuroid", "time_bin")
    assert twice.shape[2] == 2
    np.testing.assert_array_equal(twice.values[:, :, 1], seen.values)
    paths = [stimuli.get_stimulus(name) for name in stimuli["stimulus_id"]][:3]
    model.start_recording("V4", time_bins=[(70, 170)])
    np.testing.assert_allclose(model.look_at(paths).values, seen.values[:3], rtol=1e-4, atol=1e-5)


def test_what_it_does_not_do_is_said(world, context) -> None:
    from brainscore_vision.model_interface import BrainModel

    model = brain_model.of_run(context, RUN, {"V1": "V1.output"})
    assert isinstance(model, BrainModel)
    model.start_task(BrainModel.Task.passive)
    with pytest.raises(NotImplementedError, match="probabilities"):
        model.start_task(BrainModel.Task.probabilities, None)
    with pytest.raises(BlendnetError) as error:
        model.start_recording("V4", time_bins=[(70, 170)])
    one_line(error, "V4", "V1")
    with pytest.raises(BlendnetError) as error:
        brain_model.of_run(context, RUN, {"V1": "V1.outputs"})
    one_line(error, "V1.outputs", "did you mean 'V1.output'")


def test_no_two_models_have_one_identifier(context) -> None:
    """Brain-Score keeps activations and scores under the identifier: whatever changes the answers must change it."""
    other = Run("cornet_z", "none", 0, "untrained", 1)
    models = [
        brain_model.of_run(context, RUN, LAYERS),
        brain_model.of_run(context, other, LAYERS),
        brain_model.of_run(context, RUN, {**LAYERS, "V2": "V4.output"}),
        brain_model.of_run(context, RUN, LAYERS, projected=False),
    ]
    for change in ({"image_size": 32}, {"colour": "grey"}, {"model_degrees": 10.0}, {"projection_seed": 1}):
        changed = replace(context, profile=replace(PROFILE, **change))
        models.append(brain_model.of_run(changed, RUN, LAYERS))
    assert len({model.identifier for model in models}) == len(models)
    assert brain_model.of_run(context, RUN, LAYERS).identifier == models[0].identifier


def table(*rows: dict) -> pd.DataFrame:
    base = {"run": "a", "kind": "network", "species": "macaque", "planted": False, "n_stimuli": 100, "metric": "pls"}
    return pd.DataFrame([base | row for row in rows])


def test_committed_layers_from_the_table() -> None:
    scores = table(
        {"recording": "cowley2023-1", "region": "V4", "layer": "small"},
        {"recording": "cowley2023-2", "region": "V4", "layer": "large", "n_stimuli": 200},
        {"recording": "cowley2023-2", "region": "V4", "layer": "", "n_stimuli": 200, "kind": "shuffled"},
        {"recording": "henaff2021-all", "region": "V1", "layer": "by-rsa", "metric": "rsa", "n_stimuli": 999},
        {"recording": "henaff2021-all", "region": "V1", "layer": "by-pls"},
        {"recording": "majajhong2015public-IT", "region": "IT", "layer": "theirs", "n_stimuli": 10},
        {"recording": "kriegeskorte2008-monkey", "region": "IT", "layer": "other", "metric": "rsa"},
        {"recording": "planted-V2", "region": "V2", "layer": "invented", "planted": True},
        {"recording": "algonauts2019-EVC", "region": "EVC", "layer": "none"},
        {"recording": "cowley2023-1", "region": "V4", "layer": "of another", "run": "b", "n_stimuli": 9999},
    )
    found = _brainscore_layers.committed(scores, "a")
    assert {region: c.layer for region, c in found.items()} == {"V1": "by-pls", "V4": "large", "IT": "theirs"}
    assert found["V4"] == _brainscore_layers.Committed("large", "cowley2023-2", "pls")
    one = _brainscore_layers.committed(scores, "a", recordings=("cowley2023-1", "planted"))
    assert {region: c.layer for region, c in one.items()} == {"V2": "invented", "V4": "small"}
    named = _brainscore_layers.committed(scores, "a", named={"V2": "mine", "IT": "mine too"})
    assert (named["V2"].layer, named["IT"].layer, named["V1"].layer) == ("mine", "mine too", "by-pls")
    with pytest.raises(BlendnetError) as error:
        _brainscore_layers.committed(scores, "c")
    one_line(error, "c", "blendnet score")
    with pytest.raises(BlendnetError) as error:
        _brainscore_layers.committed(scores, "a", recordings=("cowley2033",))
    one_line(error, "cowley2033", "cowley2023-1")


class Tiny(torch.nn.Module):
    """Three layers: one of more than 1000 units, one of fewer, one of channel means."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.wide = torch.nn.Conv2d(3, 16, 4, stride=2)
        self.narrow = torch.nn.Conv2d(16, 30, 3, stride=3)
        self.mean = torch.nn.AdaptiveAvgPool2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mean(self.narrow(torch.relu(self.wide(x)))).flatten(1)


@pytest.mark.slow
def test_the_layer_that_brain_score_would_commit(world, tmp_path: Path, monkeypatch) -> None:
    """Against Brain-Score's own LayerSelection with its PCA of 1000 components. Replaced: only where the 1000 images
    come from on which it fits them (it would download ImageNet's validation set)."""
    from brainscore_vision.model_helpers.activations import pca
    from brainscore_vision.model_helpers.activations.pytorch import PytorchWrapper, load_preprocess_images
    from brainscore_vision.model_helpers.brain_transformation import LayerScores, LayerSelection
    from PIL import Image

    rng = np.random.default_rng(0)
    images = []
    for i in range(1000):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        images.append(str(tmp_path / f"{i}.png"))
        coarse.resize((40, 40), Image.Resampling.BICUBIC).save(images[-1])
    monkeypatch.setattr(pca, "_get_imagenet_val", lambda num_images: images[:num_images])
    network, size, layers = Tiny().eval(), 24, ["wide", "narrow", "mean"]

    def show(paths) -> torch.Tensor:
        return torch.from_numpy(load_preprocess_images(paths, image_size=size))

    wrapper = PytorchWrapper(
        identifier="tiny", model=network, preprocessing=lambda paths: load_preprocess_images(paths, image_size=size)
    )
    kept = []

    def score_layers(self, *args, _own=LayerScores.__call__, **kwargs):
        kept.append(_own(self, *args, **kwargs))
        return kept[-1]

    monkeypatch.setattr(LayerScores, "__call__", score_layers)
    selection = LayerSelection(model_identifier="tiny", activations_model=wrapper, layers=layers, visual_degrees=8)
    (recording,) = majajhong2015public.load(world, regions=("IT",))
    with _brainscore.benchmark(majajhong2015public.SOURCE, "IT", world) as bench:
        theirs = str(selection(selection_identifier="IT", benchmark=bench))
        stimuli = bench._assembly.stimulus_set
        paths = [str(stimuli.get_stimulus(name)) for name in recording.stimuli.ids]
        ceiling = float(bench.ceiling)

    def read(files) -> dict[str, np.ndarray]:
        out = activations.read_layers(network, layers, show(files), lambda _, o: o.flatten(1))
        return {layer: value.numpy() for layer, value in out.items()}

    xs = read(paths)
    assert xs["wide"].shape[1] > 1000 > xs["narrow"].shape[1]
    splits = shuffle_splits(len(paths), **_brainscore.splits_of(recording))
    layer, raw = _brainscore_layers.brain_score_layer(xs, recording.mean(), splits, bases=read(images))
    assert layer == theirs
    for name in layers:
        assert raw[name] ** 2 / ceiling == pytest.approx(float(kept[0].sel(layer=name)), abs=1e-4), name
    with pytest.raises(BlendnetError) as error:
        _brainscore_layers.brain_score_layer(xs, recording.mean(), splits)
    one_line(error, "'wide'", "1000 principal components")


def test_the_score_verb_gives_brain_scores_raw_score_and_layer(world, tmp_path: Path) -> None:
    """extract and score as the user runs them; the table's brain_score_raw is what Brain-Score's benchmark returns."""
    profile = replace(PROFILE, recordings=("majajhong2015public",), metrics=("pls",), n_bootstrap=20)
    context = Context(profile, tmp_path / "results", world, only=RUN.id, device="cpu", progress=False)
    extract.extract(context)
    score.score(context)
    table = tables.read(context.tables / "scores.csv", "scores")
    rows = table[table["kind"] == "untrained"].set_index("region")
    assert set(rows.index) == {"V4", "IT"}
    assert rows["ceiling"].between(0.1, 1).all()
    for region, row in rows.iterrows():
        model = brain_model.of_run(context, RUN, {str(region): row["brain_score_layer"]})
        with _brainscore.benchmark(majajhong2015public.SOURCE, str(region), world) as bench:
            theirs = float(bench(model).raw)
        assert row["brain_score_raw"] == pytest.approx(theirs, abs=1e-4)
        assert row["brain_score_raw"] > 0.3
