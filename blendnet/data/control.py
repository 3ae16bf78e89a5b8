"""The control of the source confound: how much of the class, and of the collection, low-level statistics give away.

Where boats come from one collection only and cats from two, a network can name the collection instead of the object.
So a linear classifier that sees no shapes is asked for both; its rate is the chance level to hold a network against.
"""

from math import sqrt
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from blendnet.data.photoset import PhotoSet
from blendnet.errors import BlendnetError

N_RINGS = 6


def low_level(images: torch.Tensor) -> np.ndarray:
    """Statistics without shape, float64 (n, 20), of uint8 images (n, 3, size, size).

    Columns: mean of each channel, standard deviation of each channel, correlation of each pair of channels, mean
    saturation, skewness of luminance, spectrum slope (log power on log frequency, least squares), share of
    horizontal and of vertical energy, power in N_RINGS rings of equal log width (log, centred).
    """
    blocks = [_low_level(images[i : i + 256].double().numpy() / 255) for i in range(0, len(images), 256)]
    return np.concatenate(blocks)


def _low_level(x: np.ndarray) -> np.ndarray:
    n, _, size, _ = x.shape
    flat = x.reshape(n, 3, -1)
    mean, std = flat.mean(axis=2), flat.std(axis=2)
    centred = (flat - mean[..., None]) / np.maximum(std, 1e-6)[..., None]
    between = [(centred[:, i] * centred[:, j]).mean(axis=1) for i, j in ((0, 1), (0, 2), (1, 2))]
    saturation = (flat.max(axis=1) - flat.min(axis=1)).mean(axis=1)
    grey = flat.mean(axis=1)
    grey = grey - grey.mean(axis=1, keepdims=True)
    skew = (grey**3).mean(axis=1) / np.maximum(grey.std(axis=1), 1e-6) ** 3
    # A window keeps the jump from one edge to the other out of the spectrum.
    window = np.hanning(size)
    power = np.abs(np.fft.fft2(grey.reshape(n, size, size) * np.outer(window, window))) ** 2
    fy, fx = np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size), indexing="ij")
    radius = np.hypot(fx, fy)
    edges = np.geomspace(1 / size, 0.5, N_RINGS + 1)
    rings = np.stack(
        [power[:, (radius >= lo) & (radius < hi * 1.0001)].mean(axis=1) for lo, hi in zip(edges, edges[1:])], axis=1
    )
    log_f, log_p = np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(rings + 1e-12)
    slope = ((log_f - log_f.mean()) * (log_p - log_p.mean(axis=1, keepdims=True))).sum(axis=1)
    slope /= ((log_f - log_f.mean()) ** 2).sum()
    band = (radius > 0) & (radius <= 0.5)
    total = np.maximum(power[:, band].sum(axis=1), 1e-12)
    sideways = power[:, band & (np.abs(fx) > 2 * np.abs(fy))].sum(axis=1) / total
    upright = power[:, band & (np.abs(fy) > 2 * np.abs(fx))].sum(axis=1) / total
    share = log_p - log_p.mean(axis=1, keepdims=True)
    return np.column_stack([mean, std, *between, saturation, skew, slope, sideways, upright, share])


def source_control(photoset: PhotoSet, *, seed: int = 0, folds: int = 5) -> list[dict[str, Any]]:
    """Cross-validated rates of a logistic regression on `low_level`; one row a question, for accuracy.csv.

    Rows: group ('class': the class of all photographs; 'collection': their collection; 'class within NAME': among
    those of one collection; 'collection within CLASS': for classes that two collections have), n, k (right), rate, lo,
    hi (Wilson 95 %), chance (share of the commonest answer), balanced (mean of the rates of each answer),
    balanced_chance (1 / answers). Copies of one photograph are never divided between folds. Questions with one
    possible answer, or an answer with fewer identities than folds, are left out. Raises BlendnetError where none is
    left.
    """
    features = low_level(photoset.images)
    labels = np.array(photoset.classes)[photoset.labels.numpy()]
    collections = np.array(photoset.collections)
    everything = np.ones(len(photoset), bool)
    questions = [("class", everything, labels), ("collection", everything, collections)]
    questions += [(f"class within {c}", collections == c, labels) for c in sorted(set(collections))]
    questions += [(f"collection within {c}", labels == c, collections) for c in photoset.classes]
    rows = []
    for group, mask, answers in questions:
        if group.startswith("class within") and mask.all():
            continue
        y, who = answers[mask], photoset.identity[mask]
        kinds, counts = np.unique(y, return_counts=True)
        if len(kinds) < 2 or min(len(np.unique(who[y == kind])) for kind in kinds) < folds:
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        cut = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        right = cross_val_predict(model, features[mask], y, cv=cut, groups=who) == y
        n, k = len(y), int(right.sum())
        rows.append(
            {
                "group": group, "n": n, "k": k, "rate": k / n, **dict(zip(("lo", "hi"), _wilson(k, n))),
                "chance": float(counts.max() / n),
                "balanced": float(np.mean([right[y == kind].mean() for kind in kinds])),
                "balanced_chance": 1 / len(kinds),
            }
        )  # fmt: skip
    if not rows:
        raise BlendnetError(
            f"no source control with {len(photoset)} photographs: give at least {folds} different ones a class"
        )
    return rows


def _wilson(k: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % score interval of a rate (Wilson 1927, doi 10.1080/01621459.1927.10502953)."""
    middle = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * sqrt(k * (n - k) / n + z * z / 4)
    return middle - half, middle + half
