"""One piece of scores.csv and layers.csv: a run, a recording, a metric. Pure: reads and writes nothing."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t as student

from analysis.similarity import rdm_ceiling, rsa_bootstrap, self_ceiling
from analysis.similarity._ceiling import COLUMNS, ceiled, split_half, with_interval
from analysis.similarity._splits import halves, shuffle_splits
from analysis.similarity.rsa import ceiling as subjects_ceiling
from analysis.similarity.rsa import subset
from analysis.stats import half_samples
from analysis.stats.intervals import ceiling_in_resamples
from analysis.stats.layers import REGRESSIONS, Commitment, LayerScore, layer_score, nested_commitment, profile
from blendnet.data.brain._brainscore import splits_of
from blendnet.data.brain.recording import Recording
from blendnet.run import Run
from pipelines import extract
from pipelines._other_animals import other_animals
from pipelines.context import Context

NORMALISATION = "r/c"


def how_of(context: Context, recording: Recording) -> dict[str, Any]:
    """How a recording is cross-validated: by the sheet, or as Brain-Score does it where it is one of its benchmarks."""
    p = context.profile
    device = context.torch_device()
    how: dict[str, Any] = {
        "n_splits": p.n_splits, "test_size": p.split_test, "seed": p.score_seed, "groups": groups_of(recording),
        "device": str(device) if device.type == "cuda" else None,
    }  # fmt: skip
    return how | splits_of(recording) if is_brain_score(recording) else how


def is_brain_score(recording: Recording) -> bool:
    """Is the recording one of Brain-Score's own benchmarks?"""
    return "stratify" in recording.about


class Ceiling(NamedTuple):
    """The ceiling of a recording's reported half with the ends of its interval, None where there is none; samples: for
    RSA the ceiling in the first of the resamples that the score gets, else an empty array."""

    ceiling: float | None
    ceiling_lo: float | None
    ceiling_hi: float | None
    samples: np.ndarray

    def columns(self) -> dict[str, float | None]:
        """What scores.csv says of it."""
        return {"ceiling": self.ceiling, "ceiling_lo": self.ceiling_lo, "ceiling_hi": self.ceiling_hi}


def compute(
    context: Context, run: Run | None, recording: Recording, xs: Mapping[str, np.ndarray], metric: str,
    ceiling_of: Callable[[Context, Recording, str], Ceiling] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Rows of scores.csv and layers.csv for one run, recording and metric, and the score in every resample (the same
    stimuli and neuroids for every network, so that the samples of twins are paired); pure: reads and writes nothing.
    ceiling_of: gives the ceiling, `computed_ceiling` where there is none."""
    p = context.profile
    about = _about(context, run) | {"recording": recording.name, "region": recording.region}
    how = how_of(context, recording)
    split = halves(len(recording.stimuli), seed=p.score_seed, groups=how["groups"])
    brain: dict[str, Any] = {"rdms": recording.rdms} if recording.rdm_only else {"y": recording.mean()}
    depth = {layer: i / max(1, len(xs) - 1) for i, layer in enumerate(xs)}
    found = nested_commitment(xs, **brain, metric=metric, halves=split, n_boot=p.n_bootstrap, **how)
    ceiling = (ceiling_of or computed_ceiling)(context, recording, metric)
    common = about | {
        "species": recording.species, "metric": metric, "normalisation": NORMALISATION,
        "n_neuroids": None if recording.rdm_only else len(recording.neuroid_ids),
        "n_subjects": len(set(recording.subjects)),
        "n_stimuli": len(recording.stimuli), "n_report": found.n_report, "planted": recording.planted,
        "planted_layer": _planted_layer(recording),
    } | ceiling.columns() | other_animals(recording, metric, split[1], how)  # fmt: skip
    # Intervals of the map are left out: they would cost more than all the claims together.
    layers = profile(xs, **brain, metric=metric, n_boot=0, **how)
    by_ceiling = _ceiled(found, recording, metric, split[1], ceiling, how)
    common["ceiling_below"] = by_ceiling["ceiling_below"]
    rows = [common | by_ceiling | _brain_scores_layer(recording, metric, layers) | {
        "layer": found.layer, "score": found.score, "lo": found.lo, "hi": found.hi,
        "naive_layer": found.naive_layer, "naive_score": found.naive_score, "optimism": found.optimism,
    }]  # fmt: skip
    if run is not None:
        rows.append(common | {"kind": "shuffled"} | _shuffled(context, recording, xs[found.layer], metric, split[1]))
    maps = [about | {
        "metric": metric, "layer": layer, "depth": depth[layer], "score": s.score, "lo": None, "hi": None,
        "ceiling": ceiling.ceiling, "n_neuroids": common["n_neuroids"], "n_stimuli": s.n_stimuli,
    } for layer, s in layers.items()]  # fmt: skip
    samples = [float(f"{v:.6g}") if math.isfinite(v) else None for v in found.samples]
    return {"scores": [_plain(r) for r in rows], "layers": [_plain(r) for r in maps], "samples": samples}


def _ceiled(
    found: Commitment, recording: Recording, metric: str, half: np.ndarray, ceiling: Ceiling, how: dict[str, Any]
) -> dict[str, Any]:
    """The score by its ceiling under every rule of COLUMNS; for regressions and RSA with an interval that carries both,
    resampled together; and whether the ceiling is too low to be divided by (None where there is no ceiling).

    Regressions: percentiles. RSA: t times the spread of the ratio, as its score has it: copies of a stimulus are left
    out of a resampled RDM, so that with few clips its resamples lie to one side of the score, and only their spread
    can be used.
    """
    samples, reliability = None, ceiling.samples
    if metric in REGRESSIONS and len(found.samples) and ceiling.ceiling is not None:
        assert recording.trials is not None
        groups = None if how["groups"] is None else how["groups"][half]
        reliability = ceiling_in_resamples(
            recording.trials[half], found.values, groups=groups, n_boot=len(found.samples), seed=how["seed"]
        )
        samples = (found.samples, reliability)
    out: dict[str, Any] = {"ceiling_below": None}
    for rule, column in COLUMNS.items():
        by = ceiled(found.score, _or_nan(ceiling.ceiling), normalisation=rule, samples=samples)
        value, lo, hi = float(by.value), float(by.lo), float(by.hi)
        if samples is None and len(reliability):
            ratios = ceiled(found.samples[: len(reliability)], reliability, normalisation=rule).value
            several = len(np.atleast_2d(recording.rdms)) if recording.rdms is not None else 1
            units = len(half) if how["groups"] is None else len(np.unique(how["groups"][half]))
            dof = min(units, several if several > 1 else units) - 1
            if np.isnan(ratios).mean() <= 0.025 and dof > 0:
                spread = float(student.ppf(0.975, dof) * np.nanstd(ratios, ddof=1))
                lo, hi = value - spread, value + spread
        out |= {column: value, f"{column}_lo": lo, f"{column}_hi": hi}
        if ceiling.ceiling is not None:
            out["ceiling_below"] = bool(by.below)
    return out


def _brain_scores_layer(recording: Recording, metric: str, layers: dict[str, LayerScore]) -> dict[str, Any]:
    """The layer that Brain-Score would commit on projected features, and its raw score: chosen and scored on all
    stimuli, as it does.

    On its own splits the map of PLS scores is Brain-Score's; its PCA to 1000 components changes nothing in layers that
    are projected to 1000 columns or fewer (of all their units: pipelines/brainscore_layers.py). It compares explained
    variance, the square.
    """
    if metric != "pls" or not is_brain_score(recording):
        return {}
    known = {layer: s.score for layer, s in layers.items() if math.isfinite(s.score)}
    best = max(known, key=lambda layer: known[layer] ** 2)
    return {"brain_score_layer": best, "brain_score_raw": known[best]}


def _about(context: Context, run: Run | None) -> dict[str, Any]:
    if run is None:
        return {"run": extract.PIXELS, "network": extract.PIXELS, "attention": "", "heads": None, "training": "",
                "seed": None, "kind": "pixels"}  # fmt: skip
    kind = "network"
    if run.training == "untrained":
        kind = "untrained"
    elif run in context.profile.control_runs():
        kind = "control"
    return {"run": run.id, "network": run.network, "attention": run.attention, "heads": run.heads,
            "training": run.training, "seed": run.seed, "kind": kind}  # fmt: skip


def groups_of(recording: Recording) -> np.ndarray | None:
    """Groups of stimuli that are never divided (clips), None where every stimulus stands alone: then the splits are
    Brain-Score's."""
    groups = recording.stimuli.groups
    return None if len(np.unique(groups)) == len(groups) else groups


def _planted_layer(recording: Recording) -> str:
    """What the planted neurons were made from, as 'run id:layer'; '' for a real recording."""
    if not recording.planted:
        return ""
    return f"{recording.about['source_run']}:{recording.about['planted_layer']}"


def computed_ceiling(context: Context, recording: Recording, metric: str) -> Ceiling:
    """Ceiling of the reported half of a recording; computed once a process, since it is the same for every network.

    Regressions: median over neuroids of the split-half reliability; RSA of trials: that of the RDM; RSA of several
    subjects: the lower bound, with lower and upper bound as its range (Nili et al. 2014); metrics from brain to model:
    1, a model's units have no noise; others: the recording with itself under the same metric (self_ceiling.py).
    """
    p, how = context.profile, how_of(context, recording)
    half = halves(len(recording.stimuli), seed=p.score_seed, groups=how["groups"])[1]
    kind = "regression" if metric in REGRESSIONS else metric
    settings = (p.n_bootstrap, how["n_splits"], how["test_size"], how["seed"])
    key = (recording.sha256, recording.name, recording.region, kind, half.tobytes(), *settings)
    if key not in _CEILINGS:
        _CEILINGS[key] = _ceiling(recording, metric, half, p.n_bootstrap, how)
    return _CEILINGS[key]


_CEILINGS: dict[tuple, Ceiling] = {}
_NONE = Ceiling(None, None, None, np.empty(0))
# The chance row's interval need not be as smooth as those of the claims.
SHUFFLED_BOOTSTRAP = 200


def _ceiling(recording: Recording, metric: str, half: np.ndarray, n_boot: int, how: dict[str, Any]) -> Ceiling:
    seed = how["seed"]
    samples = np.empty(0)
    method = "whitened" if metric == "rsa_whitened" else "spearman"
    if recording.rdms is not None:
        shown = subset(recording.rdms, half)
        lower, upper = subjects_ceiling(shown, method)
        if math.isnan(lower):
            return _NONE
        # The whitened ceilings would cost a solve a resample and subject.
        if metric == "rsa":
            groups = groups_of(recording)
            boot = rsa_bootstrap.bootstrap(
                shown[:1], shown, n=rdm_resamples(n_boot), seed=seed, groups=None if groups is None else groups[half]
            )
            samples = boot.ceiling_samples[:, 0, 0]
        return Ceiling(_or_none(lower), _or_none(lower), _or_none(upper), samples)
    assert recording.trials is not None
    groups = groups_of(recording)
    trials, groups = recording.trials[half], None if groups is None else groups[half]
    if trials.shape[1] < 2:
        return _NONE
    value: Any
    if metric in half_samples.REVERSED:
        return _NONE._replace(ceiling=1.0)
    if metric in half_samples.COMPARED:
        stratify = how.get("stratify")
        folds = {name: how[name] for name in ("n_splits", "test_size", "seed")}
        splits = shuffle_splits(
            len(half), groups=groups, stratify=None if stratify is None else stratify[half], **folds
        )
        few = min(n_boot, half_samples.N)
        value = self_ceiling.ceiling(
            metric, trials, None if metric == "cka" else splits, n=3, seed=seed, n_boot=few, groups=groups
        )
    elif metric in REGRESSIONS:
        by = recording.about.get("ceiling_by", "stimulus")
        values = split_half(trials, seed=seed, n_boot=0, groups=groups, by=by).value
        value = with_interval(values, n=n_boot, seed=seed)
    else:
        few = rdm_resamples(n_boot)
        samples = rdm_ceiling.resampled(trials, method=method, n=10, seed=seed, n_boot=few, groups=groups)[0]
        value = rdm_ceiling.interval(samples)
        samples = samples[1:]
    if math.isnan(value.value):
        return _NONE
    return Ceiling(_or_none(value.value), _or_none(value.lo), _or_none(value.hi), samples)


def rdm_resamples(n_boot: int) -> int:
    """Resamples of an RDM's ceiling, each of which takes many comparisons: enough for the ends of an interval."""
    return max(2, n_boot // 5)


def _shuffled(context: Context, recording: Recording, x: np.ndarray, metric: str, half: np.ndarray) -> dict[str, Any]:
    """The chance row: the same layer with its stimuli in a random order, scored on the same half."""
    p = context.profile
    how = how_of(context, recording)
    for name in ("groups", "stratify"):
        if how.get(name) is not None:
            how[name] = how[name][half]
    order = np.random.default_rng([p.score_seed, 7]).permutation(len(half))
    brain: dict[str, Any]
    if recording.rdm_only:
        brain = {"rdms": subset(np.asarray(recording.rdms), half)}
    else:
        brain = {"y": recording.mean()[half]}
    s = layer_score(x[half][order], **brain, metric=metric, n_boot=min(p.n_bootstrap, SHUFFLED_BOOTSTRAP), **how)
    return {"layer": "", "score": s.score, "lo": s.lo, "hi": s.hi, "score_ceiled": None, "naive_layer": "",
            "naive_score": None, "optimism": None}  # fmt: skip


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: missing numbers are null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
