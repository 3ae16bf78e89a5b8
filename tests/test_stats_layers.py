"""Nested commitment: the planted layer is found, the halves stay apart, chance looks like chance."""

import numpy as np
import pytest

from analysis.similarity import pls, ridge, rsa
from analysis.similarity._ceiling import ceiled, resampled_split_half, split_half
from analysis.similarity._splits import halves, shuffle_splits
from analysis.stats import layers
from analysis.stats.intervals import ceiling_in_resamples
from blendnet.errors import BlendnetError


def chain(rng, n, depth, width=80):
    """A random deep network's layers: each is the rectified mixture of the one before, so neighbours correlate."""
    x, out = rng.normal(size=(n, width)), {}
    for level in range(depth):
        x = np.maximum(x @ rng.normal(size=(width, width)) * np.sqrt(2 / width), 0.0)
        out[f"layer{level}"] = x
    return out


def respond(rng, x, n_neuroids, ceiling):
    """Responses driven by random mixtures of the features; `ceiling` is the part of the variance that is signal."""
    signal = x @ rng.normal(size=(x.shape[1], n_neuroids))
    signal = (signal - signal.mean(axis=0)) / signal.std(axis=0)
    return np.sqrt(ceiling) * signal + np.sqrt(1 - ceiling) * rng.normal(size=signal.shape)


def planted(seed, n=300, depth=4, n_neuroids=40, ceiling=0.7):
    rng = np.random.default_rng(seed)
    xs = chain(rng, n, depth)
    source = f"layer{seed % depth}"
    return xs, respond(rng, xs[source], n_neuroids, ceiling), source


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["pls", "rsa"])
def test_finds_the_planted_layer_95_times_of_100(metric):
    found = 0
    for seed in range(100):
        xs, y, source = planted(seed)
        result = layers.nested_commitment(xs, y=y, metric=metric, halves=halves(300, seed=seed), n_splits=4, n_boot=0)
        found += result.layer == source
    assert found >= 95


# Metrics that pair single units see a layer's own units, not mixtures of them, which are few layers' alone.
PAIRING = ("one_to_one", "soft_matching", "one_to_one_reverse", "procrustes_reverse", "pls_reverse", "ridge_reverse")


@pytest.mark.parametrize("metric", layers.METRICS)
def test_finds_the_planted_layer(metric):
    xs, y, source = planted(6, n=160)
    if metric in PAIRING:
        noise = np.random.default_rng(0).normal(size=xs[source].shape)
        y = xs[source] + 0.5 * xs[source].std(axis=0) * noise
    result = layers.nested_commitment(xs, y=y, metric=metric, halves=halves(160, seed=0), n_splits=4, n_boot=100)
    if metric in ("pls_reverse", "ridge_reverse"):
        # A later layer is a function of the source, and may be read off it as well as the source itself.
        assert result.layer >= source
    else:
        assert result.layer == source
    assert result.lo < result.score < result.hi
    assert result.lo > 0
    assert (result.n_commit, result.n_report) == (80, 80)
    assert list(result.profile_a) == list(result.profile_b) == list(xs)
    assert result.optimism >= 0
    assert result.profile_b[result.layer] == result.score


@pytest.mark.parametrize(("metric", "score"), [("pls", pls.score), ("ridge", ridge.score)])
def test_reported_score_is_the_metric_on_half_b(metric, score):
    xs, y, _ = planted(1, n=120)
    y[:, 5] = 4.2  # a dead neuroid
    a, b = halves(120, seed=3)
    result = layers.nested_commitment(xs, y=y, metric=metric, halves=(a, b), n_splits=3, n_boot=0)
    r = score(xs[result.layer][b], y[b], shuffle_splits(len(b), n_splits=3))
    assert np.allclose(result.values, r.mean(axis=0), equal_nan=True)
    assert np.isnan(result.values[5])
    assert result.score == pytest.approx(np.nanmedian(r, axis=1).mean())
    assert np.isnan(result.lo)


def test_each_half_does_its_own_part_only():
    xs, y, _ = planted(2, n=120)
    a, b = halves(120, seed=0)
    options = dict(metric="ridge", halves=(a, b), n_splits=3, n_boot=50)
    before = layers.nested_commitment(xs, y=y, **options)
    other_b, other_a = y.copy(), y.copy()
    other_b[b] = np.random.default_rng(0).normal(size=other_b[b].shape)
    after = layers.nested_commitment(xs, y=other_b, **options)
    assert after.profile_a == before.profile_a
    assert after.layer == before.layer
    other_a[a] = respond(np.random.default_rng(1), xs["layer0"], 40, 0.9)[a]
    after = layers.nested_commitment(xs, y=other_a, **options)
    assert after.profile_b == before.profile_b
    assert after.layer == "layer0" != before.layer
    assert after.naive_layer == before.naive_layer
    assert after.optimism == pytest.approx(after.profile_b[before.naive_layer] - after.profile_b["layer0"])


def test_choosing_on_noise_is_optimistic_when_naive():
    """Nothing to find among 12 unrelated layers: the naive best is above chance, the committed one is not."""
    naive, nested = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        xs = {f"layer{i}": rng.normal(size=(80, 20)) for i in range(12)}
        result = layers.nested_commitment(
            xs, y=rng.normal(size=(80, 8)), metric="ridge", halves=halves(80, seed=seed), n_splits=4, n_boot=0
        )
        naive.append(result.naive_score)
        nested.append(result.score)
    standard_error = np.std(nested) / np.sqrt(10)
    assert abs(np.mean(nested)) < 3 * standard_error
    assert np.mean(naive) > np.mean(nested) + 3 * standard_error


def unrelated(seed, n=120, n_neuroids=30):
    """Two recordings of the same stimuli that have nothing in common; neuroids share three signals each."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 60)) * np.arange(1, 61) ** -0.5
    y = respond(rng, rng.normal(size=(n, 3)), n_neuroids, 0.8)
    return x, y


@pytest.mark.parametrize("metric", layers.METRICS)
def test_interval_of_unrelated_recordings_contains_chance(metric):
    held = 0
    for seed in range(12):
        x, y = unrelated(seed)
        result = layers.layer_score(x, y=y, metric=metric, n_splits=6, n_boot=150)
        held += result.lo <= 0 <= result.hi
    assert held >= 10


def test_neuroids_alone_claim_too_much():
    """Correlated neuroids are not independent evidence; resampling stimuli too says so."""
    width = {over: 0.0 for over in (("neuroids",), ("stimuli",), layers.OVER)}
    held = dict.fromkeys(width, 0)
    for seed in range(12):
        x, y = unrelated(seed)
        for over in width:
            result = layers.layer_score(x, y=y, metric="ridge", n_splits=6, n_boot=150, over=over)
            width[over] += result.hi - result.lo
            held[over] += result.lo <= 0 <= result.hi
    assert width[("neuroids",)] < 0.6 * width[layers.OVER]
    assert width[("stimuli",)] < width[layers.OVER]
    assert held[("neuroids",)] < held[layers.OVER]


def test_frames_of_a_clip_do_not_teach_their_neighbours():
    """Features and responses fixed per clip and unrelated: only divided clips give a score."""
    rng = np.random.default_rng(0)
    clips = np.repeat(np.arange(20), 6)
    x = rng.normal(size=(20, 50))[clips] + 0.05 * rng.normal(size=(120, 50))
    y = rng.normal(size=(20, 10))[clips] + 0.3 * rng.normal(size=(120, 10))
    for metric in layers.REGRESSIONS:
        options = dict(y=y, metric=metric, n_boot=0)
        assert layers.layer_score(x, **options).score > 0.8
        # r = 0 within a test fold of one or two clips is not to be expected exactly.
        assert abs(layers.layer_score(x, groups=clips, test_size=0.3, **options).score) < 0.35
    a, b = halves(120, seed=0, groups=clips)
    result = layers.nested_commitment(
        {"only": x}, y=y, metric="ridge", halves=(a, b), groups=clips, n_boot=50, test_size=0.3
    )
    assert abs(result.score) < 0.5
    assert result.lo < 0 < result.hi


def repeated(seed, n=150, n_neuroids=20, n_repetitions=8):
    """A layer, and trials whose mean responses it drives to a part."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 40))
    signal = respond(rng, x, n_neuroids, 0.6)
    return x, signal[:, None] + 1.5 * rng.normal(size=(n, n_repetitions, n_neuroids))


@pytest.mark.parametrize("over", [("neuroids",), ("stimuli",), layers.OVER])
@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(50), 3)])
def test_ceiling_is_resampled_with_the_score(over, groups):
    """The same stimuli, clips and neuroids, drawn again by hand."""
    x, trials = repeated(0)
    trials[:, :, 3] = 1.0  # a dead neuroid is in neither
    options = dict(groups=groups, n_boot=30, seed=5, over=over)
    found = layers.layer_score(x, y=trials.mean(axis=1), metric="ridge", n_splits=3, **options)
    ours = ceiling_in_resamples(trials, found.values, **options)
    assert found.samples.shape == ours.shape == (30,)
    known = np.delete(np.arange(20), 3)
    rng = np.random.default_rng(5)
    labels = np.arange(150) if groups is None else groups
    n_groups = labels.max() + 1
    weights = np.ones((30, 150), dtype=int)
    if "stimuli" in over:
        weights = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=30)[:, labels]
    drawn = rng.integers(19, size=(30, 19)) if "neuroids" in over else np.tile(np.arange(19), (30, 1))
    splits = shuffle_splits(150, n_splits=3, seed=5, groups=groups)
    predictions = ridge.predict(x, trials.mean(axis=1), splits, groups=groups)
    for b in (0, 13, 29):
        value = resampled_split_half(trials, weights[b : b + 1], seed=5)[0]
        assert ours[b] == pytest.approx(np.median(value[known[drawn[b]]]), abs=1e-10)
        medians = []
        for p, (_, test) in zip(predictions, splits):
            index = np.repeat(np.arange(len(test)), weights[b, test])
            r = [np.corrcoef(p[index, j], trials.mean(axis=1)[test[index], j])[0, 1] for j in known]
            medians.append(np.median(np.array(r)[drawn[b]]))
        assert found.samples[b] == pytest.approx(np.mean(medians), abs=1e-9)
    assert (found.lo, found.hi) == tuple(np.quantile(found.samples, [0.025, 0.975]))


def test_interval_of_the_ceiled_score_carries_the_ceiling():
    """Few, unreliable stimuli: the ceiling varies too, so the interval is not that of the score, scaled."""
    x, trials = repeated(1, n=80, n_neuroids=10)
    trials += 3.0 * np.random.default_rng(0).normal(size=trials.shape)
    found = layers.layer_score(x, y=trials.mean(axis=1), metric="ridge", n_splits=5, n_boot=200)
    ceiling = split_half(trials, n_boot=0).value
    samples = (found.samples, ceiling_in_resamples(trials, found.values, n_boot=200))
    ratio = ceiled(found.score, np.median(ceiling), samples=samples)
    assert ratio.lo < ratio.value < ratio.hi
    scaled = (found.hi - found.lo) / np.median(ceiling)
    assert abs((ratio.hi - ratio.lo) / scaled - 1) > 0.02
    alone = ceiled(found.score, np.median(ceiling), samples=(found.samples, np.full(200, np.median(ceiling))))
    assert alone.hi - alone.lo == pytest.approx(scaled)


def test_trials_of_other_neuroids_are_refused():
    _, trials = repeated(0)
    with pytest.raises(BlendnetError, match="do not go with the scores of 19 neuroids"):
        ceiling_in_resamples(trials, np.ones(19))


class Counted(dict):
    """Layers that say how often each is read."""

    def __init__(self, xs):
        super().__init__(xs)
        self.read = []

    def __getitem__(self, layer):
        self.read.append(layer)
        return super().__getitem__(layer)


@pytest.mark.parametrize("metric", ["pls", "ridge"])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_layers_in_one_call_are_scored_as_each_alone(metric, device, monkeypatch):
    """A layer is read once a half, the committed one alone gets an interval, and all settings reach every score."""
    xs, y, _ = planted(0, n=120, depth=3)
    clips, kinds = np.arange(120) // 4, np.arange(120) // 4 % 3
    a, b = halves(120, seed=0, groups=clips)
    how = dict(metric=metric, n_splits=3, test_size=0.2, seed=4, device=device)
    if metric == "ridge":
        how |= dict(groups=clips)
    else:
        how |= dict(stratify=kinds)
    with_interval, real = [], layers.layer_score
    monkeypatch.setattr(layers, "layer_score", lambda x, **how: with_interval.append(how["n_boot"]) or real(x, **how))
    counted = Counted(xs)
    result = layers.nested_commitment(counted, y=y, halves=(a, b), n_boot=20, over=("stimuli",), **how)
    assert sorted(counted.read) == sorted([*xs, *xs])
    assert with_interval == [20]
    assert result.samples.shape == (20,)
    everything = layers.profile(xs, y=y, n_boot=0, **how)
    assert list(everything) == list(xs)
    on = dict(how, device=None)
    for layer, x in xs.items():
        for half, found in ((a, result.profile_a), (b, result.profile_b)):
            own = on | {name: on[name][half] for name in ("groups", "stratify") if name in on}
            assert found[layer] == pytest.approx(real(x[half], y=y[half], n_boot=0, **own).score, abs=1e-9)
        alone = real(x, y=y, n_boot=0, **on)
        assert everything[layer].score == pytest.approx(alone.score, abs=1e-9)
        assert everything[layer].values == pytest.approx(alone.values, abs=1e-9)
        other = real(x, y=y, n_boot=0, **on | dict(seed=5))
        assert everything[layer].score != pytest.approx(other.score, abs=1e-6)


def test_rsa_against_subjects():
    rng = np.random.default_rng(0)
    xs = chain(rng, 60, 3)
    brain = np.stack([rsa.rdm(xs["layer1"] + 2.0 * rng.normal(size=(60, 80))) for _ in range(4)])
    a, b = halves(60, seed=1)
    for metric, method in (("rsa", "spearman"), ("rsa_whitened", "whitened")):
        result = layers.nested_commitment(xs, rdms=brain, metric=metric, halves=(a, b), n_boot=60)
        assert result.layer == "layer1"
        expected = rsa.score(xs["layer1"][b], rsa.subset(brain, b), method=method)
        assert np.allclose(result.values, expected)
        assert result.values.shape == (4,)
        assert result.score == pytest.approx(expected.mean())
        assert 0 < result.lo < result.score < result.hi


def test_profile_scores_every_layer_on_all_stimuli():
    xs, y, _ = planted(0, n=100)
    found = layers.profile(xs, y=y, metric="pls", n_splits=3, n_boot=40)
    assert list(found) == list(xs)
    for layer, value in found.items():
        assert value.n_stimuli == 100
        assert value.score == pytest.approx(
            np.median(pls.score(xs[layer], y, shuffle_splits(100, n_splits=3)), axis=1).mean()
        )
        assert value.lo < value.score < value.hi


def test_commit_takes_the_best_known_and_the_earlier_of_equals():
    assert layers.commit({"a": 0.1, "b": 0.3, "c": float("nan"), "d": 0.3}) == "b"
    with pytest.raises(BlendnetError, match="none of the 2 layers"):
        layers.commit({"a": float("nan"), "b": float("nan")})


def test_impossible_input_is_one_line():
    xs, y, _ = planted(0, n=40)
    a, b = halves(40, seed=0)
    brain = rsa.rdm(y)
    for options, says in [
        (dict(y=y, halves=(a, a)), "20 stimuli are in both halves"),
        (dict(y=y, halves=(a, b), metric="plss"), "did you mean 'pls'"),
        (dict(halves=(a, b)), "exactly one"),
        (dict(y=y, rdms=brain, halves=(a, b)), "exactly one"),
        (dict(rdms=brain, halves=(a, b)), "has RDMs only"),
        (dict(y=y[:30], halves=(a, b)), "layer 'layer0' has 40 stimuli, the recording 30"),
        (dict(y=y, halves=(a, b + 100)), "the halves name stimulus 139, there are 40"),
        (dict(y=y, halves=(a, b), over=("neurons",), n_boot=5), "did you mean 'neuroids'"),
    ]:
        with pytest.raises(BlendnetError, match=says) as error:
            layers.nested_commitment(xs, **options)
        assert "\n" not in str(error.value)
    with pytest.raises(BlendnetError, match="no layers"):
        layers.nested_commitment({}, y=y, halves=(a, b))
