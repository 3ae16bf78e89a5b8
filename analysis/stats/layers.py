"""Which layer goes with a region, chosen on one half of the stimuli and scored on the other.

A layer that is chosen and scored on the same stimuli scores too high, the more so the more layers there are
(Kriegeskorte et al. 2009, doi 10.1038/nn.2303). The layer is therefore committed on half A and reported on
half B, where the score is itself cross-validated; what the naive way, choosing on half B too, would have
added is kept as `optimism`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, TypedDict, Unpack

import numpy as np

from analysis.similarity import pls, ridge, rsa, rsa_bootstrap
from analysis.similarity._arrays import constant, held_out_r
from analysis.similarity._backend import Array, on_device
from analysis.similarity._splits import shuffle_splits
from analysis.stats import half_samples
from analysis.stats.intervals import OVER, aggregate, draw, interval, nanmean, score_samples
from blendnet.errors import BlendnetError, unknown

REGRESSIONS = ("pls", "ridge")
_RSA = {"rsa": "spearman", "rsa_whitened": "whitened"}
METRICS = (*REGRESSIONS, *_RSA, *half_samples.METRICS)


class How(TypedDict, total=False):
    """How a layer is scored, the same for all layers and halves: see `layer_score`, where the defaults are."""

    metric: str
    n_splits: int
    test_size: float
    seed: int
    n_boot: int
    over: tuple[str, ...]
    device: str | None


@dataclass(frozen=True)
class LayerScore:
    """Score of one layer on some stimuli.

    score: median over neuroids, mean over splits (regressions, see `aggregate`), or mean similarity over subjects
    (RSA); lo, hi: 95 % interval, NaN where none was asked for; values: float64 (n_neuroids,) or (n_subjects,);
    samples: the score in each bootstrap resample (n_boot,), or half-sample (half_samples.N,), drawn alike for all
    networks; empty where none was asked for.
    """

    score: float
    lo: float
    hi: float
    values: np.ndarray
    n_stimuli: int
    samples: np.ndarray = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class Commitment:
    """A layer committed on half A and its score on half B.

    values: float64 (n_neuroids,) or (n_subjects,), the score of each on half B; lo, hi: 95 % interval of
    score; samples: the score in each bootstrap resample (n_boot,); naive_layer, naive_score: the best layer of
    half B and its score there; optimism: naive_score - score, never negative; profile_a, profile_b: score of every
    layer on each half; n_commit, n_report: stimuli of the halves.
    """

    metric: str
    layer: str
    score: float
    lo: float
    hi: float
    values: np.ndarray
    naive_layer: str
    naive_score: float
    optimism: float
    profile_a: dict[str, float]
    profile_b: dict[str, float]
    n_commit: int
    n_report: int
    samples: np.ndarray = field(default_factory=lambda: np.empty(0))


def commit(scores: Mapping[str, float]) -> str:
    """The layer with the highest score; the earlier one of equals; BlendnetError where no layer has a score."""
    known = {layer: value for layer, value in scores.items() if np.isfinite(value)}
    if not known:
        raise BlendnetError(f"none of the {len(scores)} layers has a score; check the responses for constant neuroids")
    return max(known, key=lambda layer: known[layer])


def nested_commitment(
    xs: Mapping[str, np.ndarray],
    *,
    halves: tuple[np.ndarray, np.ndarray],
    y: np.ndarray | None = None,
    rdms: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    stratify: np.ndarray | None = None,
    **how: Unpack[How],
) -> Commitment:
    """Commit a layer on half A, report its score on half B.

    xs: {layer: features (n_stimuli, n_features)} in the order of the layers; halves: (A, B) of _splits.halves;
    exactly one of y: responses (n_stimuli, n_neuroids) and rdms: (n_subjects, n_pairs), RSA only; groups: n_stimuli
    labels never divided (clips); stratify: n_stimuli categories; how: as in `layer_score`, the cross-validation
    being that within each half, the interval that of the committed layer. Raises BlendnetError for halves that
    overlap and for layers of unequal numbers of stimuli.
    """
    a, b = (np.asarray(half) for half in halves)
    metric = how.get("metric", "pls")
    n = _stimuli(y, rdms, metric)
    shared = np.intersect1d(a, b)
    if len(shared):
        raise BlendnetError(
            f"{len(shared)} stimuli are in both halves, the first is {shared[0]}; make them with halves()"
        )
    outside = max(a.max(initial=0), b.max(initial=0))
    if outside >= n:
        for layer in xs:
            _ = _Some(xs, [layer], n)[layer]  # which says whether the layers are of other stimuli
        raise BlendnetError(f"the halves name stimulus {outside}, there are {n} from 0; make them with halves()")

    def about(half: np.ndarray) -> dict[str, Any]:
        return {
            "y": None if y is None else np.asarray(y)[half],
            "rdms": None if rdms is None else rsa.subset(np.atleast_2d(rdms), half),
            "groups": None if groups is None else np.asarray(groups)[half],
            "stratify": None if stratify is None else np.asarray(stratify)[half],
        }

    plain: How = {**how, "n_boot": 0}
    profile_a = {layer: s.score for layer, s in profile(_Some(xs, list(xs), n, a), **about(a), **plain).items()}
    layer = commit(profile_a)
    reported = layer_score(_Some(xs, [layer], n, b)[layer], **about(b), **how)
    others = [other for other in xs if other != layer]
    found_b = profile(_Some(xs, others, n, b), **about(b), **plain) if others else {}
    profile_b = {other: reported.score if other == layer else found_b[other].score for other in xs}
    naive = commit(profile_b)
    return Commitment(
        metric=metric,
        layer=layer,
        score=reported.score,
        lo=reported.lo,
        hi=reported.hi,
        values=reported.values,
        naive_layer=naive,
        naive_score=profile_b[naive],
        optimism=profile_b[naive] - reported.score,
        profile_a=profile_a,
        profile_b=profile_b,
        n_commit=len(a),
        n_report=len(b),
        samples=reported.samples,
    )


def profile(
    xs: Mapping[str, np.ndarray],
    *,
    y: np.ndarray | None = None,
    rdms: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    stratify: np.ndarray | None = None,
    **how: Unpack[How],
) -> dict[str, LayerScore]:
    """Score of every layer over all stimuli: for maps. The best of it is not to be reported (see nested_commitment).

    Arguments as in nested_commitment; the order of the layers is kept. Regressions without an interval go through all
    layers in one call, several side by side (pls.score_many); xs may read a layer when it is asked for it.
    """
    metric = how.get("metric", "pls")
    n = _stimuli(y, rdms, metric)
    if not xs:
        raise BlendnetError("there are no layers to score; extract activations first")
    features = _Some(xs, list(xs), n)
    if metric not in REGRESSIONS or how.get("n_boot", 1):
        return {
            layer: layer_score(x, y=y, rdms=rdms, groups=groups, stratify=stratify, **how)
            for layer, x in features.items()
        }
    responses = np.asarray(y, dtype=np.float64)
    splits = shuffle_splits(len(responses), groups=groups, stratify=stratify, **_folds(how))
    placed = _Some(xs, list(xs), n, device=how.get("device"))
    found: Any
    if metric == "pls":
        found = pls.score_many(placed, responses, splits)
    else:
        found = ridge.score_many(placed, responses, splits, groups=groups)
    return {
        layer: LayerScore(aggregate(r), float("nan"), float("nan"), nanmean(r), len(responses))
        for layer, r in found.items()
    }


class _Some(Mapping[str, Array]):
    """Some layers of xs, which are of n stimuli: of the stimuli `rows` (None: all), on a device where one is named. A
    layer is read when it is asked for."""

    def __init__(
        self,
        xs: Mapping[str, np.ndarray],
        layers: list[str],
        n: int,
        rows: np.ndarray | None = None,
        device: str | None = None,
    ):
        self._xs, self._layers, self._n, self._rows, self._device = xs, layers, n, rows, device

    def __getitem__(self, layer: str) -> Array:
        x = np.asarray(self._xs[layer])
        if len(x) != self._n:
            raise BlendnetError(
                f"layer {layer!r} has {len(x)} stimuli, the recording {self._n}; align them by stimulus_id"
            )
        return on_device(x if self._rows is None else x[self._rows], self._device)

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)


def _folds(how: How) -> dict[str, Any]:
    """The cross-validation of `layer_score`, with its defaults."""
    return _FOLDS | {name: value for name, value in how.items() if name in _FOLDS}


def layer_score(
    x: np.ndarray,
    *,
    y: np.ndarray | None = None,
    rdms: np.ndarray | None = None,
    metric: str = "pls",
    groups: np.ndarray | None = None,
    stratify: np.ndarray | None = None,
    n_splits: int = 10,
    test_size: float = 0.1,
    seed: int = 1,
    n_boot: int = 1000,
    over: tuple[str, ...] = OVER,
    device: str | None = None,
) -> LayerScore:
    """Score of one layer on all the stimuli given, with a 95 % interval (none for n_boot = 0).

    x: features (n_stimuli, n_features); exactly one of y: responses (n_stimuli, n_neuroids) and rdms: (n_subjects,
    n_pairs), RSA only; metric: one of METRICS, 'rsa' being Spearman and 'X_reverse' metric X from brain to model;
    groups: n_stimuli labels never divided (clips); stratify: n_stimuli categories; n_splits, test_size, seed: of the
    cross-validation; n_boot: resamples; device: where regressions and the resamples of 'rsa' are computed, e.g. 'cuda',
    None for numpy.

    over: what is resampled. 'neuroids' says how the score would vary with other neuroids, 'stimuli' with
    other test stimuli: the same resample for all neuroids, whose errors go together, and for all splits, the
    fitted regressions kept. Neuroids alone give intervals that are too short wherever neuroids are
    correlated. Clips are resampled whole. RSA resamples stimuli, and subjects where there are several. The
    other metrics take random halves of the stimuli (half_samples.py), and `over` has no meaning.
    """
    x = _Some({"layer": x}, ["layer"], _stimuli(y, rdms, metric))["layer"]
    if metric in _RSA:
        target = rdms if rdms is not None else rsa.rdm(np.asarray(y))
        # A layer that answers some stimulus with one number everywhere has no correlation distances; it is passed
        # over by `commit`, as a layer whose regression has no score is, and does not end a long scoring.
        if constant(x.T).any():
            nothing = np.full(len(np.atleast_2d(np.asarray(target))), np.nan)
            return LayerScore(float("nan"), float("nan"), float("nan"), nothing, len(x))
        return _rsa_score(rsa.rdm(x), np.atleast_2d(np.asarray(target)), _RSA[metric], groups, n_boot, seed, device)
    responses = np.asarray(y, dtype=np.float64)
    folds: dict[str, Any] = {"n_splits": n_splits, "test_size": test_size, "seed": seed}
    if metric not in REGRESSIONS:
        value, lo, hi, values, samples = half_samples.score(
            metric, x, responses, folds, groups=groups, stratify=stratify, n_boot=n_boot
        )
        return LayerScore(value, lo, hi, values, len(x), samples)
    splits = shuffle_splits(len(x), groups=groups, stratify=stratify, **folds)
    features = on_device(x, device)
    if metric == "pls":
        predictions = pls.predict(features, responses, splits)
    else:
        predictions = ridge.predict(features, responses, splits, groups=groups)
    r = held_out_r(predictions, responses, splits)
    values = nanmean(r)
    if not n_boot or not np.isfinite(values).any():
        return LayerScore(aggregate(r), float("nan"), float("nan"), values, len(x))
    drawn = draw(np.flatnonzero(np.isfinite(values)), len(x), groups, n_boot, seed, over)
    samples = score_samples(r, predictions, responses, splits, drawn, n_boot)
    return LayerScore(aggregate(r), *interval(samples), values, len(x), samples)


_FOLDS: dict[str, Any] = {
    name: signature(layer_score).parameters[name].default for name in ("n_splits", "test_size", "seed")
}


def _rsa_score(
    model: np.ndarray,
    brain: np.ndarray,
    method: str,
    groups: np.ndarray | None,
    n_boot: int,
    seed: int,
    device: str | None,
) -> LayerScore:
    values = rsa.compare(model, brain, method)
    if not n_boot:
        return LayerScore(float(values.mean()), float("nan"), float("nan"), values, rsa.n_stimuli(model))
    boot = rsa_bootstrap.bootstrap(
        model, brain, method=method, n=n_boot, seed=seed, groups=groups, ceilings=False, device=device
    )
    lo, hi, samples = float(boot.lo[0]), float(boot.hi[0]), boot.samples[:, 0, 0]
    return LayerScore(float(values.mean()), lo, hi, values, rsa.n_stimuli(model), samples)


def _stimuli(y: np.ndarray | None, rdms: np.ndarray | None, metric: str) -> int:
    """How many stimuli the responses or RDMs are about; BlendnetError where the metric cannot use them."""
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if (y is None) == (rdms is None):
        raise BlendnetError("a layer is scored against responses y or against rdms; give exactly one of them")
    if y is None and metric not in _RSA:
        raise BlendnetError(f"metric {metric!r} needs responses, but this recording has RDMs only; use 'rsa'")
    return len(np.asarray(y)) if y is not None else rsa.n_stimuli(np.asarray(rdms))
