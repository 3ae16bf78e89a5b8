"""Invented tables of what blending does inside a network; read with made_tables.py."""

import numpy as np

from analysis import tables


def _lesions(run):
    return ("", "attention") if run.attention != "none" and run.training != "untrained" else ("",)


def superposition_table(chosen, layers, about, seed=0):
    """The weights fall short of a mean more and more with depth; attention keeps them up until it is lesioned."""
    rng = np.random.default_rng(seed)
    rows = []
    for run in chosen:
        for lesion in _lesions(run):
            names = layers[run.network]
            for i, layer in enumerate(names):
                depth = i / (len(names) - 1)
                for alpha in (0.3, 0.5, 0.7):
                    for outcome in ("all", "both", "one", "none") if alpha == 0.5 else ("all",):
                        loss = 0.25 * depth * (0.6 if run.attention != "none" and not lesion else 1.0)
                        first, second = (w * (1 - loss) + rng.normal(0, 0.01) for w in (alpha, 1 - alpha))
                        r2 = 0.95 - 0.45 * depth + rng.normal(0, 0.005)
                        bias = 0.12 * depth * (outcome == "one") + 0.03 * depth + rng.normal(0, 0.005)
                        few = outcome == "none" and run.network == "cornet_z"
                        gone = np.nan if few else 0.0
                        rows.append(about(run) | {
                            "lesion": lesion, "layer": layer, "depth": depth, "alpha": alpha, "outcome": outcome,
                            "weight_first": first + gone, "weight_first_lo": first - 0.03 + gone,
                            "weight_first_hi": first + 0.03 + gone, "weight_second": second + gone,
                            "weight_second_lo": second - 0.03 + gone, "weight_second_hi": second + 0.03 + gone,
                            "r2": r2 + gone, "r2_lo": r2 - 0.04 + gone, "r2_hi": min(1.0, r2 + 0.02) + gone,
                            "r2_mixture": r2 - 0.3 * loss + gone, "bias": bias + gone, "bias_lo": bias - 0.02 + gone,
                            "bias_hi": bias + 0.02 + gone, "n_blends": 1 if few else 112 if outcome == "all" else 30,
                        })  # fmt: skip
    return tables.from_rows(rows, "superposition")


def decoding_table(chosen, layers, about, seed=0):
    """What a linear readout finds in each layer: more with depth."""
    rng = np.random.default_rng(seed)
    chance = {"both": 1 / 28, "one": 12 / 28, "top1": 1 / 8}
    rows = []
    for run in chosen:
        for lesion in _lesions(run):
            names = layers[run.network]
            for i, layer in enumerate(names):
                depth = i / (len(names) - 1)
                both = 0.1 + (0.1 if run.training == "untrained" else 0.5 - 0.1 * bool(lesion)) * depth
                for outcome, rate in (("both", both), ("one", 0.5 - 0.25 * depth), ("top1", min(0.95, both + 0.25))):
                    rate = float(np.clip(rate + rng.normal(0, 0.01), 0, 1))
                    rows.append(about(run) | {
                        "lesion": lesion, "layer": layer, "depth": depth, "outcome": outcome, "rate": rate,
                        "lo": max(0.0, rate - 0.06), "hi": min(1.0, rate + 0.06), "chance": chance[outcome],
                        "n": 112, "n_train": 448,
                    })  # fmt: skip
    return tables.from_rows(rows, "decoding")


def attention_maps_table(chosen, layers, about, seed=0):
    """Two blends of two blobs each; attention of both heads falls on the blobs, finer in the earlier of two layers."""
    rng = np.random.default_rng(seed)
    rows = []
    blends = (("dog+plane/0001", "dog", "plane", (0.3, 0.3), (0.7, 0.6)),
              ("cat+face/0004", "cat", "face", (0.6, 0.3), (0.3, 0.7)))  # fmt: skip
    for run in chosen:
        if run.attention == "none" or run.training == "untrained":
            continue
        names = layers[run.network]
        for layer, side in ((names[-3], 8), (names[-2], 4)):
            at = (np.arange(side) + 0.5) / side
            for blend, class_a, class_b, a, b in blends:
                spots = [np.exp(-((at[:, None] - y) ** 2 + (at[None] - x) ** 2) / 0.03) for y, x in (a, b)]
                for head in (0, 1):
                    received = 0.3 + 0.9 * spots[head] + 0.5 * spots[1 - head] + 0.1 * rng.random((side, side))
                    received /= received.sum()
                    for r, c in np.ndindex(side, side):
                        light = [float(0.15 + 0.7 * s[r, c]) for s in spots]
                        rows.append(about(run) | {
                            "layer": layer, "blend_id": blend, "class_a": class_a, "class_b": class_b, "head": head,
                            "row": r, "column": c, "received": received[r, c], "luminance": sum(light) / 2,
                            "luminance_a": light[0], "luminance_b": light[1],
                        })  # fmt: skip
    return tables.from_rows(rows, "attention_maps")
