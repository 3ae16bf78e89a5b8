"""Training: pure streams, resume to the same bits, best epoch, both trainings, errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from blendnet import checkpoint
from blendnet.data import manifest as manifests
from blendnet.data import photoset
from blendnet.data.photos import Photo
from blendnet.errors import BlendnetError
from blendnet.run import Recipe, Run
from blendnet.training import augment, evaluate, loop, schedule
from blendnet.training.recipes import STUDY, recipe

CLASSES = ("bar", "dot", "grid")
TINY = Recipe("tiny", "adamw", 3e-3, 0.9, 0.01, 16, 3, 64, warmup_epochs=0.5, crop_scale=0.8, alpha=(0.4, 0.6))


def _image(kind: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    # strong noise: grids on a calm ground would be taken for copies of one photograph
    image = rng.integers(0, 150, (16, 16, 3)).astype(np.uint8)
    if kind == "bar":
        image[:, rng.integers(4, 12)] = 255
    elif kind == "dot":
        i, j = rng.integers(3, 11, 2)
        image[i : i + 4, j : j + 4] = 200
    else:
        image[:: rng.integers(3, 5)] = 220
    return image


@pytest.fixture(scope="module")
def photos() -> photoset.PhotoSet:
    made = [
        Photo(f"t/{c}/{i}", c, "t", lambda c=c, i=i, k=k: _image(c, 1000 * k + i))
        for k, c in enumerate(CLASSES)
        for i in range(30)
    ]
    return photoset.load(made, image_size=16, classes=CLASSES, progress=False)


@pytest.fixture
def val(photos, tmp_path):
    path = tmp_path / "val.csv"
    manifests.save_manifest(manifests.manifest(photos, "val", n_per_pair=3), path)
    return manifests.load_manifest(path, photos)


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(8 * 49, 3)
    )


def go(folder, photos, val, run=None, rec=TINY, **options):
    run = run or Run("net", "none", 0, "blended", 0)
    return loop.train(
        folder, run, rec, net(), photos, val, image_size=16, say=options.pop("say", lambda s: None),
        progress_bar=False, **options,
    )  # fmt: skip


def test_step_generator_is_a_pure_function_and_streams_differ():
    draw = lambda *k: torch.rand(4, generator=augment.step_generator(*k))  # noqa: E731
    assert torch.equal(draw(0, 5), draw(0, 5))
    seen = {tuple(draw(s, t).tolist()) for s in range(10) for t in range(10)}
    assert len(seen) == 100


def test_augment_crops_stay_inside_and_flip_is_exact():
    x = torch.arange(16.0).repeat(16, 1)[None, None].expand(64, 3, 16, 16) / 15
    out = augment.augment(x, augment.step_generator(0), crop_scale=0.5, flip=True)
    assert out.shape == x.shape
    assert out.min() >= 0
    assert out.max() <= 1
    left, right = out[:, 0, 8, 0], out[:, 0, 8, -1]
    flipped = (left > right).float().mean()
    assert 0.3 < flipped < 0.7
    # a crop of at least half the area never shows less than sqrt(.5 * 3/4) of the ramp
    assert ((left - right).abs() > 0.55).all()
    plain = augment.augment(x, augment.step_generator(0), crop_scale=1.0, flip=True)
    assert all(torch.equal(p, a) or torch.equal(p, a.flip(-1)) for p, a in zip(plain, x))


def test_learning_rates_against_the_definitions():
    r = replace(TINY, epochs=10, warmup_epochs=1.0, lr=1.0)
    values = [schedule.learning_rate(r, s, 4) for s in range(40)]
    np.testing.assert_allclose(values[:4], [0.2, 0.4, 0.6, 0.8])
    np.testing.assert_allclose(values[4:], [0.5 * (1 + np.cos(np.pi * (s - 4) / 36)) for s in range(4, 40)])
    study = [schedule.learning_rate(STUDY, 10 * e, 10) for e in (0, 19, 20, 39, 40, 69)]
    np.testing.assert_allclose(study, [0.1, 0.1, 0.01, 0.01, 0.001, 0.0001])


def test_study_recipe_is_the_studys():
    assert (STUDY.optimizer, STUDY.lr, STUDY.momentum, STUDY.weight_decay) == ("rmsprop", 0.1, 0.9, 1e-5)
    assert (STUDY.batch_size, STUDY.epochs, STUDY.step_epochs, STUDY.crop_scale) == (128, 70, 20, 1.0)
    optim = schedule.optimizer(net(), STUDY)
    assert isinstance(optim, torch.optim.RMSprop)
    with pytest.raises(BlendnetError, match="did you mean 'modern'"):
        recipe("modren")


def test_killed_after_any_epoch_it_resumes_to_the_same_bits(photos, val, tmp_path):
    whole = go(tmp_path / "whole", photos, val)
    for stop in (1, 2):
        folder = tmp_path / f"cut{stop}"
        assert go(folder, photos, val, stop_after=stop) == {}
        assert not checkpoint.is_finished(folder)
        said = []
        meta = go(folder, photos, val, say=said.append)
        assert any(f"resumed: net-none-blended-s0 after epoch {stop}" in s for s in said)
        assert meta["weights_sha256"] == whole["weights_sha256"]
        assert meta["validation"]["val_loss"] == whole["validation"]["val_loss"]
        assert not (folder / "state.safetensors").exists()
        assert len((folder / "log.csv").read_text().splitlines()) == 1 + TINY.epochs


@pytest.mark.parametrize("optimizer", ["rmsprop", "sgd"])
def test_resume_keeps_the_state_of_every_optimizer(photos, val, tmp_path, optimizer):
    rec = replace(TINY, optimizer=optimizer, lr=1e-3, epochs=2)
    whole = go(tmp_path / "whole", photos, val, rec=rec)
    go(tmp_path / "cut", photos, val, rec=rec, stop_after=1)
    assert go(tmp_path / "cut", photos, val, rec=rec)["weights_sha256"] == whole["weights_sha256"]


def test_a_changed_recipe_starts_anew_and_says_why(photos, val, tmp_path):
    go(tmp_path / "a", photos, val, rec=replace(TINY, epochs=1))
    said = []
    go(tmp_path / "a", photos, val, rec=replace(TINY, epochs=1), say=said.append)
    assert said == ["  reused: net-none-blended-s0 is trained"]
    said.clear()
    go(tmp_path / "a", photos, val, rec=replace(TINY, epochs=1, lr=1e-3), say=said.append)
    assert "recipe.lr: 0.003 -> 0.001" in said[0]


def test_best_epoch_is_judged_on_all_of_validation(photos, val, tmp_path):
    meta = go(tmp_path / "a", photos, val, rec=replace(TINY, epochs=4))
    import pandas as pd

    log = pd.read_csv(tmp_path / "a" / "log.csv")
    assert (log["n_val_blends"] == len(val)).all()
    best = log.sort_values(["val_both", "val_loss"], ascending=[False, True]).iloc[0]
    assert meta["epoch"] == best["epoch"]
    model = net(5)
    checkpoint.load(tmp_path / "a", model)
    again = loop.validate(model, Run("net", "none", 0, "blended", 0), photos, val, torch.device("cpu"))
    assert again["val_both"] == pytest.approx(best["val_both"])
    assert again["val_loss"] == pytest.approx(best["val_loss"], rel=1e-5)


def test_training_learns_blends_and_regular_images(photos, val, tmp_path):
    rec = replace(TINY, epochs=8, epoch_size=256)
    both = go(tmp_path / "b", photos, val, rec=rec)["validation"]
    assert both["val_both"] > 0.6  # guessing gives 1/3
    run = Run("net", "none", 0, "regular", 0)
    regular = go(tmp_path / "r", photos, val, run=run, rec=rec)
    assert regular["criterion"] == "val_top1"
    assert regular["validation"]["val_top1"] > 0.7


def test_held_out_pairs_are_never_trained(photos):
    batches = loop.Batches(
        photos, Run("n", "none", 0, "blended", 0), TINY, frozenset({(0, 1)}), "pixel", torch.device("cpu")
    )
    targets = torch.cat([batches(step, 64)[1] for step in range(10)])
    assert (targets.sum(1) == 2).all()
    assert not ((targets[:, 0] > 0) & (targets[:, 1] > 0)).any()
    assert (targets[:, 2] > 0).all()


def test_a_diverging_training_is_one_clear_line(photos, val, tmp_path):
    with pytest.raises(BlendnetError, match=r"training loss is .*lower the recipe's lr \(1e\+30\)"):
        go(tmp_path / "a", photos, val, rec=replace(TINY, optimizer="sgd", lr=1e30))
    assert not checkpoint.is_finished(tmp_path / "a")


def test_losses_and_outcomes_against_torch_and_a_loop():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(50, 5)) * 3
    targets = np.zeros((50, 5))
    for row in targets:
        row[rng.choice(5, 2, replace=False)] = 1
    expected = nn.functional.binary_cross_entropy_with_logits(torch.tensor(logits), torch.tensor(targets))
    assert evaluate.bce(logits, targets) == pytest.approx(float(expected))
    hits = [len(set(np.argsort(lo)[-2:]) & set(np.flatnonzero(t))) for lo, t in zip(logits, targets)]
    assert evaluate.both_one_none(logits, targets) == tuple(np.mean([h == k for h in hits]) for k in (2, 1, 0))


def test_tensorboard_holds_every_epoch(photos, val, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    go(tmp_path / "a", photos, val, stop_after=2)
    go(tmp_path / "a", photos, val)
    events = EventAccumulator(str(tmp_path / "a" / "tensorboard")).Reload()
    assert [e.step for e in events.Scalars("val_both")] == [0, 1, 2]
