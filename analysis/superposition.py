"""The response to a blend as a weighted sum of the responses to its two objects alone.

With A, B and X a layer's responses to the first photograph, the second and their blend, each less the layer's mean
response, the weights are those of least squares over the layer's units, for every blend on its own:

    X = w1 A + w2 B + rest,      [<A,A> <A,B>; <A,B> <B,B>] [w1; w2] = [<A,X>; <B,X>]

so that inner products are all that is needed of a layer. The same was asked of neurons (Zoccolan, Cox, DiCarlo 2005,
doi 10.1523/JNEUROSCI.2058-05.2005: responses to several objects are near the average of those to each) and of fMRI
patterns (MacEvoy, Epstein 2009, doi 10.1016/j.cub.2009.04.020; Reddy, Kanwisher, VanRullen 2009, doi
10.1073/pnas.0907330106: the weights move towards the attended object). A linear layer gives w1 = alpha, w2 = 1 - alpha
and a perfect fit whatever mean is taken away, since those weights sum to 1.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t

from blendnet.errors import BlendnetError

OUTCOMES = ("all", "both", "one", "none")
# A mean over fewer blends than these says nothing of its group.
FEWEST = 5
# Above this squared cosine the two responses are one direction, and which of them the blend follows is not to be said:
# the error of a weight grows by 1 / sqrt(1 - cosine^2), here tenfold.
MOST_ALIKE = 0.99
LEVEL = 0.95


class Sum(NamedTuple):
    """Of n blends, each (n,), NaN where they are not to be had: first, second: weights of the two responses; r2: part
    of the blend's squared distance from the mean response that the sum explains; r2_mixture: the same of the fixed sum
    with the weights of the pixels."""

    first: np.ndarray
    second: np.ndarray
    r2: np.ndarray
    r2_mixture: np.ndarray


def weighted_sum(gram: np.ndarray, alpha: np.ndarray | float) -> Sum:
    """The weights and fits of n blends from their inner products.

    gram: (n, 3, 3), inner products of the responses to first, second and blend, each less the mean response; alpha:
    weight of the first object in the pixels, a number or (n,). NaN where the two single responses are zero or one
    direction (MOST_ALIKE) or the blend's response is the mean response. r2_mixture has no lower bound. Raises
    BlendnetError for another shape and for values that are not finite.
    """
    gram = np.asarray(gram, dtype=np.float64)
    if gram.ndim != 3 or gram.shape[1:] != (3, 3):
        raise BlendnetError(f"inner products of shape {gram.shape} are not (n, 3, 3)")
    if not np.isfinite(gram).all():
        row = int(np.argmax(~np.isfinite(gram).all(axis=(1, 2))))
        raise BlendnetError(f"blend {row + 1} has a response that is not finite; train the network again")
    alpha = np.broadcast_to(np.asarray(alpha, dtype=np.float64), len(gram))
    aa, ab, bb = gram[:, 0, 0], gram[:, 0, 1], gram[:, 1, 1]
    ax, bx, xx = gram[:, 0, 2], gram[:, 1, 2], gram[:, 2, 2]
    known = (aa * bb > 0) & (xx > 0) & (ab**2 <= MOST_ALIKE * aa * bb)
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = np.where(known, aa * bb - ab**2, np.nan)
        first, second = (bb * ax - ab * bx) / determinant, (aa * bx - ab * ax) / determinant
        r2, mixture = (
            1 - (xx - 2 * (u * ax + v * bx) + u**2 * aa + 2 * u * v * ab + v**2 * bb) / np.where(known, xx, np.nan)
            for u, v in ((first, second), (alpha, 1 - alpha))
        )
    # Rounding may take a perfect fit a little above 1.
    return Sum(first, second, np.minimum(r2, 1), np.minimum(mixture, 1))


def bias(found: Sum, alpha: np.ndarray | float, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How much more weight the object that the network recognises better when alone has, than the pixels give it.

    The weight of the better recognised object less that of the other, less the same difference of the pixels' weights
    (nothing at alpha 0.5): a layer that only mixes has no bias at any alpha. A weight is a part of the response to that
    object alone, which is usually the stronger the better the object is recognised; so a negative bias says that the
    stronger response is compressed more than the weaker, not that the weaker makes up more of the blend's. first,
    second: how well each is recognised alone (n,), the logit of its own class; n numbers, NaN where both are recognised
    equally well or a weight is NaN.
    """
    towards = np.sign(np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64))
    excess = found.first - found.second - (2 * np.asarray(alpha, dtype=np.float64) - 1)
    return np.where(towards == 0, np.nan, towards * excess)


def mean_interval(values: np.ndarray, shared: np.ndarray) -> tuple[float, float, float]:
    """Mean over blends and its 95 % interval, which knows that blends with a photograph in common are no independent
    draws: (mean, lo, hi), NaN for no value and an interval of NaN for one.

    values: (n,), NaN left out; shared: bool (n, n), true for blends with a photograph in common and for each with
    itself (see `sharing`). The variance of the mean is the sum of e_i e_j over all such pairs, over n (n - 1) (Aronow,
    Samii, Assenova 2015, arXiv 1312.3398, for dyads); it is not taken below that of independent blends, since few
    blends can make it too small, even negative. Quantile: Student's t with n - 1 degrees of freedom.
    """
    known = np.isfinite(values)
    n, v = int(known.sum()), values[known]
    if n < 2:
        return (float(v[0]) if n else np.nan), np.nan, np.nan
    e = v - v.mean()
    variance = max(e @ shared[np.ix_(known, known)] @ e, e @ e) / (n * (n - 1))
    half = float(t.ppf(0.5 + LEVEL / 2, n - 1) * np.sqrt(variance))
    return float(v.mean()), float(v.mean() - half), float(v.mean() + half)


def sharing(image_a: np.ndarray, image_b: np.ndarray) -> np.ndarray:
    """Which of n blends have a photograph in common, bool (n, n), each with itself; image_a, image_b: names (n,)."""
    a, b = np.asarray(image_a), np.asarray(image_b)
    return (a[:, None] == a) | (b[:, None] == b) | (a[:, None] == b) | (b[:, None] == a)


def summary(
    found: Sum, biases: np.ndarray, outcomes: np.ndarray, shared: np.ndarray, fewest: int = FEWEST
) -> list[dict[str, Any]]:
    """A row for all blends and for those whose objects the network named both, one or none: the columns `outcome` to
    `n_blends` of superposition.csv.

    outcomes: (n,) of 'both', 'one', 'none'; shared: (n, n). Means over the blends that have weights, n_blends of them;
    a group of fewer than `fewest` has no row. The bias also leaves out the blends without one.
    """
    rows: list[dict[str, Any]] = []
    for outcome in OUTCOMES:
        chosen = np.isfinite(found.first) & ((outcomes == outcome) | (outcome == "all"))
        if chosen.sum() < fewest:
            continue
        row: dict[str, Any] = {"outcome": outcome, "n_blends": int(chosen.sum())}
        among = shared[np.ix_(chosen, chosen)]
        for name, values in (
            ("weight_first", found.first), ("weight_second", found.second), ("r2", found.r2), ("bias", biases),
        ):  # fmt: skip
            mean, lo, hi = mean_interval(values[chosen], among)
            row |= {name: mean, f"{name}_lo": lo, f"{name}_hi": min(hi, 1.0) if name == "r2" else hi}
        rows.append(row | {"r2_mixture": float(found.r2_mixture[chosen].mean())})
    return rows
