"""The columns of every table: what each cell may hold, which columns name a row, and which step makes the table.

The guide for readers is results/README.md; a test holds the two together. Reading, checking and writing: tables.py.
"""

from dataclasses import dataclass

import numpy as np

REGIONS = ("V1", "V2", "V4", "EVC", "IT")
METRICS = (
    "pls", "ridge", "rsa", "rsa_whitened", "cka", "procrustes", "one_to_one", "soft_matching",
    "pls_reverse", "ridge_reverse", "one_to_one_reverse", "procrustes_reverse",
)  # fmt: skip
KINDS = ("network", "untrained", "pixels", "control", "shuffled")
TRAINED = ("blended", "regular", "curriculum")  # the ways to train that the sheet may choose from
STATISTICS = ("spearman", "pearson")
TRAININGS = (*TRAINED, "untrained", "imagenet", "")


@dataclass(frozen=True)
class Column:
    """One column. kind: 'text', 'number' (float), 'count' (whole number) or 'flag' (True/False, and neither where it
    may be empty); empty: may a cell be empty; allowed: the values it may hold, () = any; low, high: the range of a
    number; absent: may the whole column be missing, as in tables from before it existed, and is then empty."""

    name: str
    kind: str = "text"
    empty: bool = False
    allowed: tuple[str, ...] = ()
    low: float = -np.inf
    high: float = np.inf
    absent: bool = False


@dataclass(frozen=True)
class Table:
    """A table: its columns in order, the columns that together name a row (unique, and the sort order), the step
    that makes it, and whether figures and report do without it where it is not there."""

    columns: tuple[Column, ...]
    key: tuple[str, ...]
    step: str
    optional: bool = False


def _text(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name) for name in names)


def _numbers(names: str, low: float = -np.inf, high: float = np.inf, empty: bool = True) -> tuple[Column, ...]:
    return tuple(Column(name, "number", empty, (), low, high) for name in names.split())


def _counts(names: str, empty: bool = False) -> tuple[Column, ...]:
    return tuple(Column(name, "count", empty, (), 0) for name in names.split())


_RUN = (
    Column("run"), Column("network"), Column("attention", empty=True), Column("heads", "count", True, (), 0),
    Column("training", empty=True, allowed=TRAININGS), Column("seed", "count", True, (), 0),
)  # fmt: skip
_KIND = (Column("kind", allowed=KINDS),)
_REGION = Column("region", allowed=REGIONS)
_METRIC = Column("metric", allowed=METRICS)

TABLES: dict[str, Table] = {
    "scores": Table(
        _RUN + _KIND + (Column("recording"), _REGION, Column("species", empty=True), _METRIC,
            Column("layer", empty=True))
        + _numbers("score lo hi", -1.5, 1.5) + _numbers("ceiling ceiling_lo ceiling_hi", -1.5, 1.5)
        + _numbers("score_ceiled") + (Column("normalisation", empty=True), Column("naive_layer", empty=True))
        + _numbers("naive_score", -1.5, 1.5) + _numbers("optimism", -3, 3)
        + _counts("n_neuroids n_subjects", True) + _counts("n_stimuli n_report")
        + (Column("planted", "flag"), Column("planted_layer", empty=True))
        + tuple(Column(n, empty=True)
                for n in ("weights_sha256", "activations_key", "recording_sha256", "code_version"))
        + tuple(Column(n, "number", True, absent=True) for n in ("score_ceiled_lo", "score_ceiled_hi"))
        + (Column("brain_score_layer", empty=True, absent=True),
            Column("brain_score_raw", "number", True, (), -1.5, 1.5, absent=True),
            Column("brain_score_pca_layer", empty=True, absent=True),
            Column("brain_score_pca_raw", "number", True, (), -1.5, 1.5, absent=True),
            Column("ceiling_below", "flag", True, absent=True))
        + tuple(Column(f"score({rule}){end}", "number", True, absent=True)
                for rule in ("r^2/c", "(r/c)^2") for end in ("", "_lo", "_hi"))
        + (Column("other_animals", "number", True, (), -1.5, 1.5, absent=True),),
        ("recording", "region", "metric", "kind", "run"), "score"),
    "layers": Table(
        _RUN + _KIND + (Column("recording"), _REGION, _METRIC, Column("layer"))
        + _numbers("depth", 0, 1, False) + _numbers("score lo hi ceiling", -1.5, 1.5)
        + _counts("n_neuroids", True) + _counts("n_stimuli"),
        ("recording", "region", "metric", "kind", "run", "depth", "layer"), "score"),
    "accuracy": Table(
        _RUN + (Column("test", allowed=("blended", "regular", "ready_made")),
            Column("by", allowed=("all", "pair", "hyperpair", "class", "alpha", "collection", "first_found",
                                  "first_found_class", "held_out", "control")),
            Column("group", empty=True), Column("outcome", allowed=("both", "one", "none", "top1", "found")))
        + _counts("n k") + _numbers("rate lo hi chance", 0, 1) + _counts("parameters flops", True),
        ("run", "test", "by", "group", "outcome"), "predict"),
    "correlation": Table(
        (_REGION, Column("recording"), _METRIC, Column("accuracy", allowed=("blended_both", "regular_top1")),
            Column("statistic", allowed=("spearman", "pearson")))
        + _numbers("value lo hi", -1, 1) + _numbers("p p_within", 0, 1)
        + _counts("n_runs n_points n_architectures")
        + (Column("left_out", empty=True), Column("note", empty=True),
            Column("training", empty=True, allowed=(*TRAINED, ""), absent=True)),
        ("recording", "region", "metric", "accuracy", "statistic", "training", "left_out"), "correlate"),
    "twins": Table(
        (Column("level", allowed=("pair", "network", "all")), Column("network", empty=True),
            Column("training", allowed=TRAININGS), Column("seed", "count", True, (), 0),
            Column("attention_kind"), Column("heads", "count", True, (), 0), Column("quantity"))
        + _numbers("plain attention difference lo hi") + _numbers("p", 0, 1) + _counts("n")
        + tuple(Column(n, empty=True) for n in ("interval", "plain_run", "attention_run")),
        ("quantity", "training", "level", "network", "attention_kind", "heads", "seed"), "correlate"),
    "training": Table(
        _RUN + _counts("epoch") + _numbers("lr", 0, empty=False) + _numbers("train_loss val_loss", empty=False)
        + _numbers("val_both val_top1", 0, 1, False) + _counts("n_val_blends n_val_regular")
        + _numbers("seconds images_per_s", 0, empty=False) + (Column("kept", "flag"), Column("stopped_early", "flag"))
        + _counts("epochs_trained") + (Column("hardware", empty=True),),
        ("run", "epoch"), "train", True),
    "lr_finder": Table(
        _RUN + _counts("step") + _numbers("lr", 0, empty=False) + _numbers("loss smoothed", empty=False)
        + (Column("suggested", empty=True, allowed=("steepest", "tenth", "both")),)
        + _numbers("recipe_lr", 0, empty=False) + (Column("recipe_sha256"),),
        ("run", "step"), "find-lr", True),
    "effects": Table(
        (Column("quantity"), Column("family", allowed=("accuracy", "alpha", "pair", "score")),
            Column("training", allowed=TRAININGS), Column("attention_kind"), Column("heads", "count", True, (), 0),
            Column("level", allowed=("network", "all")), Column("network", empty=True), Column("left_out", empty=True))
        + _numbers("plain attention difference lo hi") + _numbers("p p_floor p_holm p_bh", 0, 1)
        + _numbers("effect effect_lo effect_hi") + _numbers("margin", 0) + _numbers("p_equivalent", 0, 1)
        + (Column("verdict", allowed=("different", "equivalent", "undecided", "too few")),)
        + _counts("n_networks n_seeds n_stimuli n_neuroids", True)
        + (Column("resampled"), Column("note", empty=True)),
        ("quantity", "training", "attention_kind", "heads", "level", "network", "left_out"), "correlate", True),
    "relation": Table(
        (_REGION, Column("recording"), _METRIC, Column("accuracy", allowed=("blended_both", "regular_top1")),
            Column("training", empty=True, allowed=(*TRAINED, "")))
        + _numbers("depth", 0, 1) + (Column("adjusted", empty=True), Column("statistic", allowed=STATISTICS))
        + _numbers("value lo hi", -1, 1) + _numbers("p p_within", 0, 1)
        + _counts("n_runs n_points n_architectures") + (Column("note", empty=True),),
        ("recording", "region", "metric", "accuracy", "training", "depth", "adjusted", "statistic"), "correlate", True),
    "mixed": Table(
        (_REGION, Column("recording"), _METRIC, Column("accuracy", allowed=("blended_both", "regular_top1")),
            Column("training", empty=True, allowed=(*TRAINED, "")), Column("term"))
        + _numbers("estimate") + _numbers("se", 0) + _numbers("lo hi") + _numbers("p", 0, 1)
        + _numbers("network_sd residual_sd", 0) + _counts("n_runs n_architectures") + (Column("note", empty=True),),
        ("recording", "region", "metric", "accuracy", "training", "term"), "correlate", True),
    "power": Table(
        (Column("quantity"),) + _numbers("difference") + _numbers("network_sd seed_sd", 0, empty=False)
        + _counts("n_networks n_seeds") + (Column("test"),) + _numbers("power lo hi", 0, 1) + _counts("n_simulations")
        + (Column("source", empty=True), Column("note", empty=True)),
        ("quantity", "difference", "network_sd", "seed_sd", "test", "n_networks", "n_seeds"), "power", True),
    "consistency": Table(
        (Column("test", allowed=("blended", "regular")), Column("outcome", allowed=("both", "top1")),
            Column("run_a"), Column("run_b"), Column("relation", allowed=("twin", "seed", "attention", "network")),
            Column("network_a"), Column("attention_a"), Column("network_b"), Column("attention_b"),
            Column("training", allowed=TRAINED))
        + _numbers("agreement expected", 0, 1) + _numbers("kappa lo hi", -1, 1) + _counts("n")
        + (Column("note", empty=True),),
        ("test", "outcome", "run_a", "run_b"), "predict", True),
    "psychometric": Table(
        _RUN + (Column("group", empty=True),) + _numbers("threshold threshold_lo threshold_hi")
        + _numbers("slope slope_lo slope_hi", 0) + _numbers("floor top", 0, 1) + _numbers("deviance", 0)
        + _numbers("p_fit", 0, 1) + _counts("n") + (Column("note", empty=True),),
        ("run", "group"), "predict", True),
    "psychometric_points": Table(
        _RUN + (Column("group", empty=True),) + _numbers("weight", 0, 1, False) + _counts("n k")
        + _numbers("rate lo hi fitted", 0, 1),
        ("run", "group", "weight"), "predict", True),
    "superposition": Table(
        _RUN + (Column("lesion", empty=True, allowed=("attention", "")), Column("layer"))
        + _numbers("depth alpha", 0, 1, False) + (Column("outcome", allowed=("all", "both", "one", "none")),)
        + _numbers("weight_first weight_first_lo weight_first_hi weight_second weight_second_lo weight_second_hi")
        + _numbers("r2 r2_lo r2_hi r2_mixture", -np.inf, 1) + _numbers("bias bias_lo bias_hi") + _counts("n_blends"),
        ("run", "lesion", "depth", "layer", "alpha", "outcome"), "dissect", True),
    "decoding": Table(
        _RUN + (Column("lesion", empty=True, allowed=("attention", "")), Column("layer"))
        + _numbers("depth", 0, 1, False)
        + (Column("outcome", allowed=("both", "one", "top1")),) + _numbers("rate lo hi chance", 0, 1)
        + _counts("n n_train"),
        ("run", "lesion", "depth", "layer", "outcome"), "dissect", True),
    "attention_maps": Table(
        _RUN + (Column("layer"), Column("blend_id"), Column("class_a"), Column("class_b"),
            Column("head", "count", True, (), 0))
        + _counts("row column") + _numbers("received", 0, empty=False)
        + _numbers("luminance luminance_a luminance_b", 0, 1),
        ("run", "layer", "blend_id", "head", "row", "column"), "dissect", True),
}  # fmt: skip
