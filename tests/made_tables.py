"""Invented tables for the tests of statistics, figures and report. Every recording in them is named
'invented-...' or 'planted-...', so that no picture drawn from them can be taken for a result."""

from itertools import combinations

import numpy as np
import pandas as pd

from analysis import tables
from analysis.stats import accuracy, correlation, twins
from blendnet.data.classes import CLASSES
from blendnet.run import Run
from tests import made_answers, made_inside

LAYERS = {"resnet18": ("conv1", "layer1", "layer2", "layer3", "layer4", "avgpool"),
          "cornet_z": ("V1", "V2", "V4", "IT", "decoder"),
          "resnet50": ("conv1", "layer1", "layer2", "layer3", "layer4")}  # fmt: skip
ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
REAL = (("invented-v1", "V1", "pls"), ("invented-v4", "V4", "pls"), ("invented-v4", "V4", "ridge"),
        ("invented-fmri", "EVC", "rsa"), ("invented-fmri", "IT", "rsa"))  # fmt: skip
SOURCE = "resnet18-aacn4-blended-s0"
PLANTED = tuple((f"planted-{area.lower()}", area, "pls") for area in ("V1", "V2", "V4", "IT"))
_TRUTH = {"V1": 0, "V2": 1, "V4": 2, "IT": 3, "EVC": 1}


def runs(networks=("resnet18", "cornet_z"), seeds=(0, 1), trainings=("blended",)):
    """Both twins of each training, and an untrained pair of each network."""
    trained = [Run(n, a, 4 * (a != "none"), t, s)
               for n in networks for a in ("none", "aacn") for t in trainings for s in seeds]  # fmt: skip
    return trained + [Run(n, a, 4 * (a != "none"), "untrained", 0) for n in networks for a in ("none", "aacn")]


def predictions(skill, seed=0, per_pair=3, alphas=ALPHAS, classes=CLASSES):
    """Blends of all pairs at all alphas, with outputs that know the labels as well as `skill` (0 =
    guessing)."""
    rng = np.random.default_rng(seed)
    rows = []
    for (a, b), alpha, i in ((p, w, i) for p in combinations(classes, 2) for w in alphas for i in range(per_pair)):
        p = rng.normal(size=len(classes))
        p[classes.index(a)] += skill * 2 * alpha
        p[classes.index(b)] += skill * 2 * (1 - alpha)
        row = {"blend_id": f"{a}-{b}-{alpha}-{i}", "image_a": f"{a}{i}", "image_b": f"{b}{i}",
               "class_a": a, "class_b": b, "alpha": alpha, "collection_a": "x" if i else "y",
               "collection_b": "x"}  # fmt: skip
        rows.append(row | {f"z_{c}": v for c, v in zip(classes, 1 / (1 + np.exp(-p)))})
    return pd.DataFrame(rows)


def regular(skill, seed=0, per_class=12, classes=CLASSES):
    """One-object images with outputs."""
    rng = np.random.default_rng(seed)
    rows = []
    for k, name in enumerate(classes):
        for i in range(per_class):
            p = rng.normal(size=len(classes))
            p[k] += 2 * skill
            row = {"image_id": f"{name}{i}", "class_name": name, "collection": "x" if i % 2 else "y"}
            rows.append(row | {f"z_{c}": v for c, v in zip(classes, p)})
    return pd.DataFrame(rows)


def _about(run):
    return {"run": run.id, "network": run.network, "attention": run.attention, "heads": run.heads,
            "training": run.training, "seed": run.seed}  # fmt: skip


def _skill(run):
    if run.training == "untrained":
        return 0.0
    learnt = {"blended": 1.2, "regular": 0.7, "curriculum": 1.3}[run.training]
    return learnt + 0.25 * (run.attention != "none") + 0.3 * (run.network == "cornet_z") + 0.1 * run.seed


def accuracy_table(chosen):
    parts = []
    for i, run in enumerate(chosen):
        both = [predictions(_skill(run), seed=i), regular(_skill(run), seed=i)]
        parts.append(accuracy.aggregate(both, run, parameters=11_180_616, flops=1_800_000_000))
    return tables.check(pd.concat(parts), "accuracy")


def _score_row(about, kind, recording, region, metric, score, rng, planted, depth_names):
    truth = _TRUTH[region]
    ceiling = 0.75 if "fmri" not in recording else 0.45
    layer = depth_names[min(truth + (rng.random() < 0.2), len(depth_names) - 1)] if depth_names else "pixels"
    naive = score + abs(rng.normal(0, 0.01))
    return about | {
        "kind": kind, "recording": recording, "region": region,
        "species": "human" if "fmri" in recording else "macaque", "metric": metric, "layer": layer, 
        "score": score, "lo": score - 0.04, "hi": score + 0.05, "ceiling": ceiling,
        "ceiling_lo": ceiling - 0.05, "ceiling_hi": ceiling + 0.05, "score_ceiled": score / ceiling,
        "normalisation": "r/c", "naive_layer": layer, "naive_score": naive, "optimism": naive - score,
        "n_neuroids": np.nan if metric == "rsa" else 50, "n_subjects": 15 if metric == "rsa" else 1,
        "n_stimuli": 92 if metric == "rsa" else 640, "n_report": 46 if metric == "rsa" else 320,
        "planted": planted, "planted_layer": f"{SOURCE}:{LAYERS['resnet18'][truth]}" if planted else "",
        "weights_sha256": "ab" * 32,
        "activations_key": "cd" * 32, "recording_sha256": "ef" * 32, "code_version": "0.1.0+abc1234",
    }  # fmt: skip


def scores_table(chosen, recordings=REAL, planted=False, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for recording, region, metric in recordings:
        level = {"V1": 0.35, "V2": 0.4, "V4": 0.5, "EVC": 0.2, "IT": 0.3}[region] - 0.05 * (metric == "ridge")
        for run in chosen:
            value = level * (0.65 if run.training == "untrained" else 1.0) + rng.normal(0, 0.01)
            value += 0.03 * (run.attention != "none") * (run.training == "blended")
            args = (recording, region, metric)
            kind = "untrained" if run.training == "untrained" else "network"
            rows.append(_score_row(_about(run), kind, *args, value, rng, planted, LAYERS[run.network]))
            if kind == "network":
                near_nothing = rng.normal(0, 0.015)
                rows.append(_score_row(_about(run), "shuffled", *args, near_nothing, rng, planted, LAYERS[run.network]))
        pixels = {
            "run": "pixels",
            "network": "pixels",
            "attention": "none",
            "heads": 0,
            "training": "",
            "seed": np.nan,
        }
        rows.append(_score_row(pixels, "pixels", *args, level * 0.45, rng, planted, ()))
        if recording == "invented-v4":
            control = pixels | {"run": "mobilenet_v2", "network": "mobilenet_v2", "training": "imagenet"}
            untrained = control | {
                "run": "mobilenet_v2-none-untrained-s0",
                "training": "untrained",
                "seed": 0,
            }
            rows.append(_score_row(control, "control", *args, level + 0.1, rng, planted, ("features.11",)))
            rows.append(_score_row(untrained, "untrained", *args, level - 0.1, rng, planted, ("features.7",)))
    return tables.from_rows(rows, "scores")


def layers_table(chosen, recordings=REAL, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for recording, region, metric in recordings:
        for run in chosen:
            names = LAYERS[run.network]
            for i, layer in enumerate(names):
                score = 0.5 * np.exp(-((i - _TRUTH[region]) ** 2) / 4) + rng.normal(0, 0.02)
                kind = "untrained" if run.training == "untrained" else "network"
                rows.append(_about(run) | {
                    "kind": kind, "recording": recording, "region": region, "metric": metric, "layer": layer,
                    "depth": i / (len(names) - 1), "score": score, "lo": score - 0.05, "hi": score + 0.05,
                    "ceiling": 0.75, "n_neuroids": 50, "n_stimuli": 640})  # fmt: skip
    return tables.from_rows(rows, "layers")


def training_table(chosen, epochs=8, seed=0):
    """Curves that fall and rise; the second seed of each stops two epochs early, the best is the last but one."""
    rng = np.random.default_rng(seed)
    rows = []
    for run in chosen:
        if run.training == "untrained":
            continue
        n = epochs - 2 * (run.seed == 1)
        for epoch in range(1, n + 1):
            loss = 0.15 + 0.5 * np.exp(-epoch / (4 + (run.attention != "none"))) + rng.normal(0, 0.005)
            rows.append(_about(run) | {
                "epoch": epoch, "lr": 1e-3 * (1 - epoch / epochs) + 1e-5, "train_loss": loss,
                "val_loss": loss + 0.03 + 0.004 * epoch, "val_both": 0.9 - loss, "val_top1": 1.1 - loss,
                "n_val_blends": 280, "n_val_regular": 96, "seconds": 12.5, "images_per_s": 210.0,
                "kept": epoch == n - 1, "stopped_early": n < epochs, "epochs_trained": n, "hardware": "two cores",
            })  # fmt: skip
    return tables.from_rows(rows, "training")


def lr_finder_table(chosen, seed=0):
    """A fall at about 1e-3 and a wall at about 1, of each trained run of the first seed."""
    rng = np.random.default_rng(seed)
    lrs = np.geomspace(1e-7, 3, 100)
    rows = []
    for run in chosen:
        if run.training == "untrained" or run.seed:
            continue
        x = np.log10(lrs) - 0.4 * (run.attention != "none")
        smoothed = 0.7 - 0.3 / (1 + np.exp(-4 * (x + 3))) + np.exp(6 * (x + 0.3))
        for i, lr in enumerate(lrs):
            mark = "steepest" if abs(x[i] + 3) < 0.038 else "tenth" if i == 62 else ""
            rows.append(_about(run) | {
                "step": i, "lr": lr, "loss": smoothed[i] + rng.normal(0, 0.03), "smoothed": smoothed[i],
                "suggested": mark, "recipe_lr": 1e-3, "recipe_sha256": "12" * 32})  # fmt: skip
    return tables.from_rows(rows, "lr_finder")


def made(networks=("resnet18", "cornet_z"), seeds=(0, 1), planted=False, quick=False, trainings=("blended",)):
    """All tables. quick: small permutation and bootstrap counts."""
    chosen = runs(networks, seeds, trainings)
    recordings = PLANTED if planted else REAL
    scores, acc = scores_table(chosen, recordings, planted), accuracy_table(chosen)
    counts = {"n_permutations": 200} if quick else {}
    fits, points = made_answers.psychometric_tables(chosen, _about)
    return {"scores": scores, "accuracy": acc, "layers": layers_table(chosen, recordings),
            "correlation": correlation.compute(scores, acc, **counts),
            "twins": twins.compute(scores, acc), "training": training_table(chosen),
            "lr_finder": lr_finder_table(chosen), "effects": made_answers.effects_table(chosen, recordings),
            "relation": made_answers.relation_table(chosen, recordings),
            "mixed": made_answers.mixed_table(chosen, recordings), "power": made_answers.power_table(),
            "consistency": made_answers.consistency_table(chosen), "psychometric": fits, "psychometric_points": points,
            "superposition": made_inside.superposition_table(chosen, LAYERS, _about),
            "decoding": made_inside.decoding_table(chosen, LAYERS, _about),
            "attention_maps": made_inside.attention_maps_table(chosen, LAYERS, _about)}  # fmt: skip
