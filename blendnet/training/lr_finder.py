"""The learning-rate range test (Smith 2017, doi 10.1109/WACV.2017.58): train a few steps while the learning rate rises
from far too small to far too large, and see where the loss falls fastest and where it breaks.

It says nothing about decay, warm-up or how long to train: it gives the order of magnitude of a recipe's lr.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from blendnet.errors import BlendnetError

DIVERGED = 4.0  # times the best smoothed loss


@dataclass(frozen=True)
class Curve:
    """What the test saw, one entry a step: lrs, losses and smoothed losses, float64 (n_steps,); diverged: was it ended
    by the loss and not by the highest rate."""

    lrs: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    diverged: bool


@dataclass(frozen=True)
class Suggestion:
    """Positions in a curve. steepest: where the smoothed loss falls fastest against log(lr); tenth: the last rate not
    above a tenth of that with the lowest smoothed loss; lowest: that one."""

    steepest: int
    tenth: int
    lowest: int


def rates(low: float, high: float, steps: int) -> np.ndarray:
    """Exponentially rising learning rates, float64 (steps,), from low to high."""
    if not 0 < low < high or steps < 10:
        raise BlendnetError(
            f"learning rates from {low:g} to {high:g} in {steps} steps: give 0 < low < high and at least 10 steps"
        )
    return np.geomspace(low, high, steps)


def range_test(
    step: Callable[[int, float], float],
    *,
    low: float = 1e-7,
    high: float = 10.0,
    steps: int = 120,
    beta: float = 0.9,
    stop: float = DIVERGED,
) -> Curve:
    """Call step(i, lr), which trains one step at that rate and returns its loss, with rising rates.

    The loss is smoothed with weight beta on the past, corrected for its start at 0 (as Adam's moments are; Kingma and
    Ba 2015, arXiv 1412.6980). The test ends when the smoothed loss exceeds `stop` times its lowest value, or the loss
    is no number; a loss that is no number is not in the curve. Raises BlendnetError where the first loss is none.
    """
    lrs, losses, smoothed = rates(low, high, steps), [], []
    mean, diverged = 0.0, False
    for i, lr in enumerate(lrs):
        loss = step(i, float(lr))
        if not np.isfinite(loss):
            diverged = True
            break
        mean = beta * mean + (1 - beta) * loss
        losses.append(loss)
        smoothed.append(mean / (1 - beta ** (i + 1)))
        if smoothed[-1] > stop * min(smoothed):
            diverged = True
            break
    if not losses:
        raise BlendnetError(f"the loss is no number at the lowest learning rate, {low:g}; look at images and labels")
    return Curve(lrs[: len(losses)], np.array(losses), np.array(smoothed), diverged)


def suggestion(lrs: np.ndarray, losses: np.ndarray) -> Suggestion | None:
    """Where to set the learning rate, from rates and smoothed losses (n_steps,); None where the loss never falls.

    The slope against log(lr) is that of a line through 2w + 1 neighbours, w = n / 20 but at least 1, so that the
    noise of single batches does not decide; places after the lowest loss do not count.
    """
    x, y = np.log(np.asarray(lrs, float)), np.asarray(losses, float)
    lowest = int(np.argmin(y))
    w = max(1, len(y) // 20)
    if lowest < 1:
        return None
    slopes = np.full(lowest + 1, np.inf)
    for i in range(lowest + 1):
        near = slice(max(0, i - w), min(len(y), i + w + 1))
        dx = x[near] - x[near].mean()
        slopes[i] = dx @ y[near] / (dx @ dx)
    steepest = int(np.argmin(slopes))
    if slopes[steepest] >= 0:
        return None
    # The small factor keeps a rate that is a tenth but for its last digit.
    tenth = int(np.searchsorted(x, x[lowest] - np.log(10) + 1e-9, side="right")) - 1
    return Suggestion(steepest, max(0, tenth), lowest)
