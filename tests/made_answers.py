"""Invented tables of what attention changes and how similarity goes with accuracy; read with made_tables.py."""

from itertools import combinations

import numpy as np

from analysis import tables
from blendnet.data.classes import CLASSES

ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MARGIN = {"accuracy": 0.05, "alpha": 0.05, "pair": 0.05, "score": 0.02}


def _effect(quantity, family, network, left_out, true, rng, n_networks, n_seeds):
    wide = 0.02 if not network else 0.035
    plain = 0.45 + rng.normal(0, 0.05)
    d = float(np.clip(true + rng.normal(0, wide / 3), -plain, 1 - plain))
    p = float(np.clip(np.exp(-abs(d) / wide * 2), 0.002, 1))
    margin = MARGIN[family]
    same = abs(d) + wide < margin
    verdict = "different" if abs(d) > wide else "equivalent" if same else "undecided"
    n = 1 if network else n_networks - bool(left_out)
    if n_seeds * n < 2:
        verdict = "too few"
    few = verdict == "too few"
    return {
        "quantity": quantity, "family": family, "level": "network" if network else "all", "network": network,
        "left_out": left_out, "plain": plain, "attention": plain + d, "difference": d,
        "lo": np.nan if few else d - wide, "hi": np.nan if few else d + wide, "p": p,
        "p_floor": 2.0 ** (1 - n_seeds * n),
        "p_holm": min(1.0, 4 * p), "p_bh": min(1.0, 2 * p), "effect": d / wide * 2,
        "effect_lo": d / wide * 2 - 1.2, "effect_hi": d / wide * 2 + 1.2, "margin": margin,
        "p_equivalent": float(np.clip(np.exp((abs(d) - margin) / wide * 3), 0.001, 1)), "verdict": verdict,
        "n_networks": n, "n_seeds": n_seeds, "n_stimuli": 84 if family != "score" else 320,
        "n_neuroids": 50 if family == "score" else np.nan,
        "resampled": "stimuli, neuroids, seeds" if family == "score" else "stimuli, seeds",
        "note": "two pairs only" if few else "",
    }  # fmt: skip


def effects_table(chosen, recordings, seed=0):
    """Attention helps on blends, does nothing on single objects and a little to V4; more at the middle of alpha."""
    rng = np.random.default_rng(seed)
    trained = [r for r in chosen if r.training != "untrained"]
    networks, seeds = sorted({r.network for r in trained}), len({r.seed for r in trained})
    wanted = [("accuracy:blended_both", "accuracy", 0.06), ("accuracy:regular_top1", "accuracy", 0.0)]
    wanted += [(f"accuracy:blended_both@alpha={a:g}", "alpha", 0.2 * a * (1 - a)) for a in ALPHAS]
    wanted += [(f"accuracy:blended_both@pair={a}+{b}", "pair", 0.05 + 0.03 * (("face" in (a, b)) - ("cat" in (a, b))))
               for a, b in combinations(CLASSES, 2)]  # fmt: skip
    wanted += [(f"score:{region}:{recording}:{metric}", "score", 0.05 * (region == "V4"))
               for recording, region, metric in recordings]  # fmt: skip
    rows = []
    for training in dict.fromkeys(r.training for r in trained):
        where = {"training": training, "attention_kind": "aacn", "heads": 4}
        for quantity, family, true in wanted:
            cells = [(n, "") for n in networks] + [("", "")]
            cells += [("", n) for n in networks] if len(networks) > 2 else []
            rows += [where | _effect(quantity, family, n, out, true, rng, len(networks), seeds) for n, out in cells]
    return tables.from_rows(rows, "effects")


def relation_table(chosen, recordings, seed=0):
    """Coefficients of the committed layer (depth empty) plain and given covariates, and along depth."""
    rng = np.random.default_rng(seed)
    trained = [r for r in chosen if r.training != "untrained"]
    architectures = len({r.network for r in trained})
    points = len({(r.network, r.attention, r.training) for r in trained})
    rows = []
    adjusted = ("", "regular_top1", "regular_top1+log_parameters+log_flops+readouts")
    cells = [(np.nan, a) for a in adjusted] + [(d, a) for d in np.linspace(0, 1, 5) for a in adjusted[:2]]
    for recording, region, metric in recordings:
        top = {"V1": 0.1, "V2": 0.25, "V4": 0.6, "EVC": 0.2, "IT": 0.8}[region]
        for accuracy in ("blended_both", "regular_top1"):
            for depth, given in cells:
                for statistic in ("spearman", "pearson"):
                    here = 0.8 if np.isnan(depth) else 0.8 * np.exp(-((depth - top) ** 2) / 0.1)
                    value = float(np.clip(here - 0.3 * bool(given) + rng.normal(0, 0.05), -0.95, 0.95))
                    few = points < 4 or (given.count("+") and points < 7)
                    rows.append({
                        "region": region, "recording": recording, "metric": metric, "accuracy": accuracy,
                        "training": "", "depth": depth, "adjusted": given, "statistic": statistic,
                        "value": np.nan if few else value,
                        "lo": np.nan if few else np.tanh(np.arctanh(value) - 0.5),
                        "hi": np.nan if few else np.tanh(np.arctanh(value) + 0.5), "p": np.nan if few else 0.04,
                        "p_within": np.nan if few else 0.2, "n_runs": len(trained), "n_points": points,
                        "n_architectures": architectures,
                        "note": f"not computed: {points} points are too few" if few else "p exact",
                    })  # fmt: skip
    return tables.from_rows(rows, "relation")


def mixed_table(chosen, recordings, seed=0):
    rng = np.random.default_rng(seed)
    trained = [r for r in chosen if r.training != "untrained"]
    rows = []
    for recording, region, metric in recordings:
        for term, true in (("intercept", 0.3), ("accuracy", 0.4), ("attention", 0.03)):
            estimate = true + rng.normal(0, 0.02)
            rows.append({
                "region": region, "recording": recording, "metric": metric, "accuracy": "blended_both", "training": "",
                "term": term, "estimate": estimate, "se": 0.03, "lo": estimate - 0.06, "hi": estimate + 0.06, "p": 0.03,
                "network_sd": 0.05, "residual_sd": 0.02, "n_runs": len(trained),
                "n_architectures": len({r.network for r in trained}), "note": "",
            })  # fmt: skip
    return tables.from_rows(rows, "mixed")


def power_table():
    """Power that grows with networks and seeds; two differences, one test."""
    rows = []
    for difference in (0.02, 0.05):
        for n_networks in (2, 3, 4, 6, 8, 12):
            for n_seeds in (1, 2, 4, 8):
                se = np.sqrt((0.04**2 + 0.02**2 / n_seeds) / n_networks)
                power = float(1 / (1 + np.exp(-2.5 * (difference / se - 2.2)))) if n_networks > 2 else 0.0
                half = 1.96 * np.sqrt(power * (1 - power) / 1000)
                rows.append({
                    "quantity": "accuracy:blended_both", "difference": difference, "network_sd": 0.04, "seed_sd": 0.02,
                    "n_networks": n_networks, "n_seeds": n_seeds, "test": "sign-flip over networks", "power": power,
                    "lo": max(0.0, power - half), "hi": min(1.0, power + half), "n_simulations": 1000,
                    "source": "invented spread", "note": "no p below 0.05 exists" if n_networks == 2 else "",
                })  # fmt: skip
    return tables.from_rows(rows, "power")


def _relation(a, b):
    if a.network != b.network:
        return "network"
    if a.attention == b.attention:
        return "seed"
    return "twin" if a.seed == b.seed else "attention"


def consistency_table(chosen, seed=0):
    """Twins err most alike, other architectures least; one pair is at the ceiling and has no kappa."""
    rng = np.random.default_rng(seed)
    level = {"twin": 0.35, "seed": 0.45, "attention": 0.3, "network": 0.12}
    trained = sorted((r for r in chosen if r.training != "untrained"), key=lambda r: r.id)
    rows = []
    for test, outcome, n in (("blended", "both", 84), ("regular", "top1", 96)):
        for a, b in combinations(trained, 2):
            if a.training != b.training:
                continue
            kappa = level[_relation(a, b)] + rng.normal(0, 0.04)
            expected = 0.55
            gone = test == "regular" and rows[-1]["test"] == "blended"
            rows.append({
                "test": test, "outcome": outcome, "run_a": a.id, "run_b": b.id, "relation": _relation(a, b),
                "network_a": a.network, "attention_a": a.attention, "network_b": b.network, "attention_b": b.attention,
                "training": a.training, "agreement": expected + kappa * (1 - expected), "expected": expected,
                "kappa": np.nan if gone else kappa, "lo": np.nan if gone else kappa - 0.15,
                "hi": np.nan if gone else kappa + 0.15, "n": n,
                "note": f"no kappa: {a.id} names every image" if gone else "",
            })  # fmt: skip
    return tables.from_rows(rows, "consistency")


def psychometric_tables(chosen, about, seed=0):
    """(psychometric, psychometric_points): attention lowers the threshold; untrained networks have none."""
    rng = np.random.default_rng(seed)
    floor, n = 0.15, 84
    fits, points = [], []
    for run in chosen:
        flat = run.training == "untrained"
        for group in ("", *CLASSES):
            threshold = 0.35 - 0.05 * (run.attention != "none") + 0.03 * (run.network == "cornet_z")
            threshold += rng.normal(0, 0.01)
            top, slope = 0.93 + rng.normal(0, 0.01), 11 + rng.normal(0, 0.5)
            n_here = n if not group else n // 4
            unknown = np.nan if flat else 0.0
            fits.append(about(run) | {
                "group": group, "threshold": threshold + unknown, "threshold_lo": threshold - 0.03 + unknown,
                "threshold_hi": threshold + 0.03 + unknown, "slope": slope + unknown, "slope_lo": slope - 2 + unknown,
                "slope_hi": slope + 2 + unknown, "floor": floor, "top": top + unknown, "deviance": 8.2 + unknown,
                "p_fit": 0.4 + unknown, "n": n_here * len(ALPHAS) * 2,
                "note": "no threshold: the curve is flat" if flat else "",
            })  # fmt: skip
            for weight in ALPHAS:
                fitted = floor if flat else floor + (top - floor) / (1 + np.exp(-slope * (weight - threshold)))
                k = rng.binomial(2 * n_here, fitted)
                half = 1.96 * np.sqrt(fitted * (1 - fitted) / (2 * n_here))
                rate = k / (2 * n_here)
                points.append(about(run) | {
                    "group": group, "weight": weight, "n": 2 * n_here, "k": k, "rate": rate,
                    "lo": max(0.0, rate - half), "hi": min(1.0, rate + half), "fitted": np.nan if flat else fitted,
                })  # fmt: skip
    return tables.from_rows(fits, "psychometric"), tables.from_rows(points, "psychometric_points")
