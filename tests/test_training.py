"""Training: pure streams, resume to the same bits, best epoch, both trainings, errors."""

import math
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from blendnet import checkpoint
from blendnet.data import manifest as manifests
from blendnet.data import photoset
from blendnet.data.photos import Photo
from blendnet.errors import BlendnetError
from blendnet.run import Recipe, Run
from blendnet.training import augment, averaging, evaluate, feed, loop, schedule
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
        progress_bar=False, tracker=options.pop("tracker", "none"), **options,
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


@pytest.mark.parametrize("size", [16, 33])
def test_views_are_those_of_affine_grid(size):
    views = augment.draw_views(8, augment.step_generator(1), crop_scale=0.4, flip=True)
    x = torch.rand(8, 3, size, size + 2, generator=augment.step_generator(2))
    grid = nn.functional.affine_grid(views, list(x.shape), align_corners=False)
    expected = nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    # to the bit on x86-64; elsewhere its matrix product may round otherwise
    torch.testing.assert_close(augment.show(x, views), expected, rtol=0, atol=1e-5)


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


def reference(photos, run: Run, rec: Recipe, n_steps: int) -> nn.Module:
    """The training of the first version, written out: one generator a step, flips before crops, first photographs
    before second, dropout tied to the step. Old checkpoints are those of this loop, bit for bit."""
    from blendnet.data.blended import blend, draw_pairs

    at = np.flatnonzero(photos.split == "train")
    images, labels = photos.images[torch.from_numpy(at)], photos.labels[torch.from_numpy(at)]
    model = net().train()
    weights, others = ([p for p in model.parameters() if (p.ndim >= 2) == wide] for wide in (True, False))
    groups = [{"params": weights, "weight_decay": rec.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optim = torch.optim.AdamW(groups, lr=rec.lr, betas=(rec.momentum, 0.999))
    for step in range(n_steps):
        g = augment.step_generator(run.seed, step)

        def seen(index, g=g):
            n = len(index)
            sign = torch.where(torch.rand(n, generator=g) < 0.5, -1.0, 1.0)
            area = rec.crop_scale + (1 - rec.crop_scale) * torch.rand(n, generator=g)
            ratio = torch.exp((2 * torch.rand(n, generator=g) - 1) * math.log(4 / 3))
            w, h = (area * ratio).sqrt().clamp(max=1.0), (area / ratio).sqrt().clamp(max=1.0)
            x = (2 * torch.rand(n, generator=g) - 1) * (1 - w)
            y = (2 * torch.rand(n, generator=g) - 1) * (1 - h)
            ramp = torch.linspace(-1, 1, 16) * 15 / 16
            grid = torch.stack(
                [
                    torch.stack(torch.meshgrid(ramp * w[i] * sign[i] + x[i], ramp * h[i] + y[i], indexing="xy"), -1)
                    for i in range(n)
                ]
            )
            return nn.functional.grid_sample(
                images[index].float() / 255, grid, padding_mode="border", align_corners=False
            )

        onehot = nn.functional.one_hot
        if run.training == "regular":
            index = torch.randint(len(labels), (rec.batch_size,), generator=g)
            x, y = seen(index), onehot(labels[index], 3).float()
        else:
            a, b, alpha = draw_pairs(
                labels, photos.identity[at], rec.batch_size, seed=run.seed, step=step, alpha=rec.alpha
            )
            x = blend(seen(a), seen(b), alpha)
            y = (onehot(labels[a], 3) + onehot(labels[b], 3)).float()
        y = y * (1 - rec.label_smoothing) + rec.label_smoothing / 2
        mean, std = (torch.tensor(v)[:, None, None] for v in (augment.MEAN, augment.STD))
        for group in optim.param_groups:
            group["lr"] = schedule.learning_rate(rec, step, 4)
        torch.manual_seed(int(augment.step_generator(run.seed, step, 1).initial_seed() % 2**31))
        loss = nn.functional.binary_cross_entropy_with_logits(model((x - mean) / std), y)
        optim.zero_grad()
        loss.backward()
        optim.step()
    return model


@pytest.mark.parametrize("training", ["blended", "regular"])
def test_without_the_new_choices_training_is_what_it_was_to_the_bit(photos, val, tmp_path, training):
    run, rec = Run("net", "none", 0, training, 3), replace(TINY, epochs=1, label_smoothing=0.1)
    assert "jitter" not in rec.asdict()
    meta = go(tmp_path / "a", photos, val, run=run, rec=rec)
    assert meta["weights_sha256"] == checkpoint.weights_sha256(reference(photos, run, rec, 4))


def test_jitter_is_drawn_last_and_is_torchvisions(photos):
    from torchvision.transforms import functional as tv

    batches = lambda **new: loop.Batches(  # noqa: E731
        photos, Run("n", "none", 0, "blended", 0), replace(TINY, **new), frozenset(), "pixel", torch.device("cpu")
    )
    plain, coloured = batches().plan(5, 16), batches(jitter=0.4).plan(5, 16)
    assert plain.factors is None
    assert torch.equal(plain.rows, coloured.rows)
    assert torch.equal(plain.views, coloured.views)
    factors = coloured.factors.flatten(0, 1)
    assert factors.shape == (32, 3)
    assert 0.6 <= factors.min() < 0.75
    assert 1.25 < factors.max() <= 1.4
    x = torch.rand(32, 3, 8, 8, generator=augment.step_generator(1))
    expected = torch.stack(
        [
            tv.adjust_saturation(tv.adjust_contrast(tv.adjust_brightness(one, b), c), s)
            for one, (b, c, s) in zip(x, factors.tolist())
        ]
    )
    # torchvision's luma has .2989 where ours has .299
    torch.testing.assert_close(augment.jitter(x, factors), expected, rtol=0, atol=2e-4)
    torch.testing.assert_close(augment.jitter(x, torch.ones(32, 3)), x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("training", ["blended", "regular", "curriculum"])
def test_streamed_and_resident_photographs_give_the_same_bits(photos, training):
    rec = replace(TINY, jitter=0.3)
    made = [
        feed.Batches(photos, Run("n", "none", 0, training, 2), rec, frozenset(), "pixel", torch.device("cpu"),
                     resident=resident)
        for resident in (True, False)
    ]  # fmt: skip
    for step, a, b in zip(range(4, 11), made[0].steps(4, 11, 16), made[1].steps(4, 11, 16), strict=True):
        alone = made[0](step, 16)
        assert all(torch.equal(p, q) and torch.equal(p, r) for p, q, r in zip(a, b, alone))
    assert step == 10


def test_an_error_while_feeding_arrives_and_the_thread_ends(photos):
    every = frozenset({(0, 1), (0, 2), (1, 2)})
    batches = loop.Batches(photos, Run("n", "none", 0, "blended", 0), TINY, every, "pixel", torch.device("cpu"))
    before = threading.active_count()
    with pytest.raises(BlendnetError, match="no pair of classes is left"):
        list(batches.steps(0, 3, 16))
    stream = loop.Batches(photos, Run("n", "none", 0, "blended", 0), TINY, frozenset(), "pixel", torch.device("cpu"))
    feeding = stream.steps(0, 100, 16)
    next(feeding)
    feeding.close()
    assert threading.active_count() == before


def test_photographs_stay_on_the_host_where_the_gpu_is_full(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 5000))
    gpu = torch.device("cuda", 0)
    assert feed.fits(250, gpu)
    assert not feed.fits(251, gpu)
    assert feed.fits(10**15, torch.device("cpu"))


def test_a_curriculum_moves_alpha_as_said(photos):
    rec = replace(TINY, alpha=(0.3, 0.7), alpha_start=(0.9, 1.0), curriculum_epochs=2.0)  # 4 steps an epoch
    at = [0, 2, 4, 6, 8, 100]
    found = np.array([schedule.alpha_range(rec, step, 4) for step in at])
    np.testing.assert_allclose(found[:, 0], np.interp(at, [0, 8], [0.9, 0.3]))
    np.testing.assert_allclose(found[:, 1], np.interp(at, [0, 8], [1.0, 0.7]))
    assert schedule.alpha_range(rec, 8, 4) == rec.alpha
    assert schedule.alpha_range(replace(rec, curriculum_epochs=0.0), 0, 4) == rec.alpha
    run = Run("n", "none", 0, "curriculum", 0)
    batches = loop.Batches(photos, run, rec, frozenset(), "pixel", torch.device("cpu"))
    drawn = [batches.plan(step, 512).alpha for step in (0, 4, 8)]
    for alpha, (low, high) in zip(drawn, ((0.9, 1.0), (0.6, 0.85), (0.3, 0.7))):
        assert low <= alpha.min() < low + 0.02
        assert high - 0.02 < alpha.max() <= high
    assert torch.equal(drawn[1], batches.plan(4, 512).alpha)


def test_a_curriculum_is_trained_resumed_and_judged_on_blends(photos, val, tmp_path):
    run, rec = Run("net", "none", 0, "curriculum", 0), replace(TINY, curriculum_epochs=2.0)
    whole = go(tmp_path / "whole", photos, val, run=run, rec=rec)
    go(tmp_path / "cut", photos, val, run=run, rec=rec, stop_after=1)
    meta = go(tmp_path / "cut", photos, val, run=run, rec=rec)
    assert meta["weights_sha256"] == whole["weights_sha256"]
    assert (meta["criterion"], meta["training"]) == ("val_both", "curriculum")
    plain = go(tmp_path / "plain", photos, val, rec=rec)
    assert plain["weights_sha256"] != meta["weights_sha256"]


def test_the_average_is_that_of_its_formula():
    model, decay = net(), 0.8
    average, kept = averaging.start(model), []
    for step in range(5):
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.add_(torch.rand(tensor.shape) if tensor.is_floating_point() else 1)
        kept.append({k: v.clone().double() for k, v in model.state_dict().items()})
        averaging.update(average, model, decay, step)
    weights = np.array([decay ** (4 - k) for k in range(5)])
    for name, tensor in average.items():
        if tensor.is_floating_point():
            expected = sum(w * state[name] for w, state in zip(weights / weights.sum(), kept))
            torch.testing.assert_close(tensor.double(), expected, rtol=1e-6, atol=1e-6)
        else:
            assert tensor == 5
    own = {k: v.clone() for k, v in model.state_dict().items()}
    with averaging.shown(model, average):
        assert all(torch.equal(v, average[k]) for k, v in model.state_dict().items())
    assert all(torch.equal(v, own[k]) for k, v in model.state_dict().items())


def test_averaged_weights_are_validated_kept_and_resumed(photos, val, tmp_path):
    rec = replace(TINY, ema=0.7, epochs=2)
    whole = go(tmp_path / "whole", photos, val, rec=rec)
    go(tmp_path / "cut", photos, val, rec=rec, stop_after=1)
    assert go(tmp_path / "cut", photos, val, rec=rec)["weights_sha256"] == whole["weights_sha256"]
    plain = go(tmp_path / "plain", photos, val, rec=replace(rec, ema=0.0))
    assert plain["weights_sha256"] != whole["weights_sha256"]
    # the weights that are trained do not know of their average
    losses = [pd.read_csv(tmp_path / name / "log.csv")["train_loss"] for name in ("plain", "whole")]
    np.testing.assert_array_equal(losses[0], losses[1])
    model = net(5)
    checkpoint.load(tmp_path / "whole", model)
    again = loop.validate(model, Run("net", "none", 0, "blended", 0), photos, val, torch.device("cpu"))
    assert again["val_loss"] == pytest.approx(whole["validation"]["val_loss"], rel=1e-5)


def test_early_stopping_waits_for_its_patience(photos, val, tmp_path):
    # lr 0: nothing gets better after the first epoch
    rec = replace(TINY, epochs=9, lr=0.0, patience=2, optimizer="sgd")
    model = net()
    model[1].momentum = 0.0  # running statistics, too
    meta = loop.train(tmp_path / "a", Run("net", "none", 0, "blended", 0), rec, model, photos, val, image_size=16,
                      say=lambda s: None, progress_bar=False, tracker="none")  # fmt: skip
    assert (meta["epoch"], meta["epochs_trained"], meta["stopped_early"]) == (0, 3, True)
    assert len(pd.read_csv(tmp_path / "a" / "log.csv")) == 3
    patient = go(tmp_path / "b", photos, val, rec=replace(TINY, patience=3))
    assert (patient["epochs_trained"], patient["stopped_early"]) == (3, False)
    assert patient["weights_sha256"] == go(tmp_path / "c", photos, val)["weights_sha256"]


def test_early_stopping_after_a_kill_stops_at_the_same_epoch(photos, val, tmp_path):
    rec = replace(TINY, epochs=6, lr=0.0, patience=1, optimizer="sgd")

    def train(**options):
        model = nn.Sequential(nn.Flatten(), nn.Linear(768, 3))
        return loop.train(tmp_path / "a", Run("net", "none", 0, "blended", 0), rec, model, photos, val, image_size=16,
                          say=lambda s: None, progress_bar=False, tracker="none", **options)  # fmt: skip

    assert train(stop_after=1) == {}
    assert train()["epochs_trained"] == 2


def test_a_gpu_without_enough_memory_says_batch_size(photos, val, tmp_path, monkeypatch):
    def too_much(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 EiB")

    monkeypatch.setattr(loop, "train_step", too_much)
    with pytest.raises(BlendnetError, match="too little memory for batch size 16 at 16 px; lower batch_size"):
        go(tmp_path / "a", photos, val)


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

    go(tmp_path / "a", photos, val, stop_after=2, tracker="tensorboard")
    go(tmp_path / "a", photos, val, tracker="tensorboard")
    events = EventAccumulator(str(tmp_path / "a" / "tensorboard")).Reload()
    assert [e.step for e in events.Scalars("val_both")] == [0, 1, 2]
