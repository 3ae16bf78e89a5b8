"""Planted recordings: reliable as stated, made of the layer they name, and the unrelated ones of none."""

import numpy as np
import pytest

from blendnet.data.brain import planted
from blendnet.data.brain.recording import Stimuli
from blendnet.errors import BlendnetError

N = 240


def stimuli(n: int = N) -> Stimuli:
    grey = np.full((4, 4, 3), 128, np.uint8)
    return Stimuli("made", tuple(f"made/{i}" for i in range(n)), lambda i: grey, np.arange(n) // 2, None, "0" * 64)


def chain(n: int = N, width: int = 120, seed: int = 0) -> dict[str, np.ndarray]:
    """Six layers, each a rectified random mixture of the one before, so that neighbours are much alike."""
    rng = np.random.default_rng(seed)
    # A falling spectrum, as that of images.
    x = rng.standard_normal((n, 40)) * np.arange(1, 41) ** -0.5 @ rng.standard_normal((40, width))
    layers = {}
    for i in range(6):
        x = x - x.mean(0)
        x = np.maximum(0.8 * x / x.std() + 0.5 * (x / x.std()) @ rng.standard_normal((width, width)) / width**0.5, 0)
        layers[f"layer{i}"] = x.astype(np.float32)
    return layers


def ridge_score(x: np.ndarray, y: np.ndarray, folds: int = 5) -> float:
    """Cross-validated median correlation, the best of four penalties: written down plainly, apart from analysis/."""
    x = x.astype(np.float64) - x.mean(0)
    x /= np.sqrt((x**2).sum(1).mean())
    best = -1.0
    for penalty in (1e-3, 1e-2, 1e-1, 1.0):
        predicted = np.empty_like(y)
        for fold in range(folds):
            test = np.arange(len(y)) % folds == fold
            kernel = x[~test] @ x[~test].T + penalty * np.eye((~test).sum())
            mean = y[~test].mean(0)
            predicted[test] = x[test] @ x[~test].T @ np.linalg.solve(kernel, y[~test] - mean) + mean
        best = max(best, float(np.median([np.corrcoef(p, t)[0, 1] for p, t in zip(predicted.T, y.T)])))
    return best


@pytest.mark.parametrize("ceiling", [0.3, 0.7, 0.95])
def test_reliability_is_the_ceiling(ceiling: float) -> None:
    """Spearman-Brown from random halves, and the correlation with the noiseless signal, sqrt(ceiling)."""
    features = chain()
    (noisy,) = planted.plant(features, {"V4": "layer2"}, stimuli(), n_neuroids=200, ceiling=ceiling, seed=3)
    (clean,) = planted.plant(features, {"V4": "layer2"}, stimuli(), n_neuroids=200, ceiling=1.0, seed=3)
    rng = np.random.default_rng(0)
    corrected = []
    for _ in range(4):
        order = rng.permutation(10)
        a, b = noisy.trials[:, order[:5]].mean(1), noisy.trials[:, order[5:]].mean(1)
        r = np.array([np.corrcoef(p, q)[0, 1] for p, q in zip(a.T, b.T)])
        corrected.append(2 * r.mean() / (1 + r.mean()))
    assert np.mean(corrected) == pytest.approx(ceiling, abs=0.02)
    perfect = [np.corrcoef(p, q)[0, 1] for p, q in zip(noisy.mean().T, clean.mean().T)]
    assert np.mean(perfect) == pytest.approx(np.sqrt(ceiling), abs=0.01)


def test_a_recording_says_what_it_is() -> None:
    layers = {"V1": "layer0", "IT": "layer4"}
    v1, it = planted.plant(chain(), layers, stimuli(), n_neuroids=7, n_repetitions=3, seed=1, source_run="a-none-b-s0")
    assert (v1.name, v1.region, it.name, it.region) == ("planted-V1", "V1", "planted-IT", "IT")
    assert v1.planted
    assert v1.about["planted_layer"] == "layer0"
    assert it.about["source_run"] == "a-none-b-s0"
    assert v1.trials.shape == (N, 3, 7)
    assert v1.trials.dtype == np.float32
    assert len(set(v1.neuroid_ids) | set(it.neuroid_ids)) == 14
    assert v1.species == "none"


def test_the_signal_lies_in_the_planted_layer() -> None:
    """Without noise, every neuroid is an exact linear combination of the features of its layer."""
    features = chain()
    (r,) = planted.plant(features, {"V4": "layer3"}, stimuli(), ceiling=1.0, n_repetitions=1, seed=0)
    for layer, exact in (("layer3", True), ("layer5", False)):
        x = features[layer].astype(np.float64)
        x -= x.mean(0)
        fitted = x @ np.linalg.lstsq(x, r.mean(), rcond=1e-8)[0]
        assert (np.abs(fitted - r.mean()).max() < 1e-4) == exact


def test_the_planted_layer_is_found_on_half_the_stimuli() -> None:
    features = chain()
    rng = np.random.default_rng(0)
    found = 0
    for seed in range(12):
        layer = f"layer{seed % 6}"
        (r,) = planted.plant(features, {"V4": layer}, stimuli(), n_neuroids=30, seed=seed)
        half = rng.permutation(N)[: N // 2]
        y = r.mean().astype(np.float64)[half]
        scores = {name: ridge_score(x[half], y) for name, x in features.items()}
        found += max(scores, key=scores.get) == layer
    assert found == 12


def test_unrelated_is_reliable_and_at_chance() -> None:
    r = planted.unrelated(stimuli(), n_neuroids=100, seed=5)
    assert r.planted
    assert r.name == "unrelated-V4"
    assert r.about["planted_layer"] is None
    half = [r.trials[:, i::2].mean(1) for i in range(2)]
    reliability = np.mean([np.corrcoef(p, q)[0, 1] for p, q in zip(half[0].T, half[1].T)])
    assert 2 * reliability / (1 + reliability) == pytest.approx(0.7, abs=0.03)
    for x in chain().values():
        assert abs(ridge_score(x, r.mean().astype(np.float64))) < 0.06
    # No help from groups: two stimuli of one group have nothing in common.
    mean = r.mean()
    assert abs(np.mean([np.corrcoef(mean[0::2, i], mean[1::2, i])[0, 1] for i in range(100)])) < 0.03


def test_seeds() -> None:
    features = chain()
    one = planted.plant(features, {"V1": "layer0", "V4": "layer2"}, stimuli(), seed=1)
    same = planted.plant(features, {"V4": "layer2"}, stimuli(), seed=1)[0]
    other = planted.plant(features, {"V4": "layer2"}, stimuli(), seed=2)[0]
    # A region's numbers do not depend on which others are asked for.
    np.testing.assert_array_equal(one[1].trials, same.trials)
    assert one[1].sha256 == same.sha256 != other.sha256
    assert planted.unrelated(stimuli(), seed=1).sha256 != planted.unrelated(stimuli(), seed=2).sha256
    # Two regions from one layer have neuroids of their own.
    v1, v4 = planted.plant(features, {"V1": "layer2", "V4": "layer2"}, stimuli(), seed=1)
    assert abs(np.corrcoef(v1.mean()[:, 0], v4.mean()[:, 0])[0, 1]) < 0.9


def test_constant_and_scaled_features_do_no_harm() -> None:
    features = chain()
    x = np.concatenate([features["layer1"] * 1e4 + 1e5, np.zeros((N, 3), np.float32)], axis=1)
    a = planted.plant({"x": x}, {"V4": "x"}, stimuli(), ceiling=1.0, seed=0)[0].mean()
    b = planted.plant({"x": features["layer1"]}, {"V4": "x"}, stimuli(), ceiling=1.0, seed=0)[0].mean()
    assert np.isfinite(a).all()
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"layers": {"V4": "layer9"}}, "did you mean"),
        ({"stimuli": stimuli(10)}, "expected (10 stimuli, width)"),
        ({"components": 500}, "fewer than the 500"),
        ({"ceiling": 0.0}, "a ceiling of 0.0"),
        ({"ceiling": 1.5}, "a ceiling of 1.5"),
        ({"features": {"layer2": np.full((N, 50), np.nan)}}, "not all finite"),
        ({"features": {"layer2": np.ones((N, 50))}}, "0 components"),
    ],
)
def test_bad_arguments(change: dict, says: str) -> None:
    arguments = {"features": chain(), "layers": {"V4": "layer2"}, "stimuli": stimuli(), "seed": 0} | change
    positional = [arguments.pop(name) for name in ("features", "layers", "stimuli")]
    with pytest.raises(BlendnetError) as error:
        planted.plant(*positional, **arguments)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
