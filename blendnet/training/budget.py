"""A number of epochs from a number of hours: `--budget 30m` trains all chosen runs equally long, and in that time.

One number of epochs for all runs, because a comparison of twins is fair only where both were trained alike; cheap
networks therefore take less of the time than dear ones. What in a recipe is counted in epochs (warm-up, steps of the
learning rate, curriculum, patience) keeps its share of the training; what is counted in steps (the decay of averaged
weights) stays as it is.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import floor

from blendnet.errors import BlendnetError
from blendnet.run import Recipe

MARGIN = 0.1  # of the budget, kept for what was not measured: the last writing of weights, a busier machine
LONGEST_S = 10 * 366 * 86400.0  # ten years, which no training takes
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


@dataclass(frozen=True)
class Pace:
    """What one run takes, in seconds: setup (network, first steps), once; a step; the end of an epoch, which is a
    validation of all images and writing the state."""

    setup_s: float
    step_s: float
    end_s: float

    def epoch_s(self, steps: int) -> float:
        """One epoch of so many steps, with its end."""
        return steps * self.step_s + self.end_s


def seconds(text: str) -> float:
    """Seconds of '45s', '30m', '2h', '1h30m', '1.5h'; raises BlendnetError for anything else, 0 and over ten years."""
    match = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?", text.strip().lower())
    try:
        total = sum(float(n) * unit for n, unit in zip(match.groups(), _UNITS.values()) if n) if match else 0.0
    except ValueError:  # '1.2.3h'
        total = 0.0
    if not 0 < total <= LONGEST_S:
        raise BlendnetError(f"--budget {text!r} is no time; write 45s, 30m, 2h or 1h30m")
    return total


def words(total: float) -> str:
    """The shortest writing of a time in seconds that `seconds` reads: 5400 -> '1h30m'. Fractions are rounded up."""
    left = -floor(-total)
    parts = []
    for name, unit in _UNITS.items():
        n, left = divmod(left, int(unit))
        parts += [f"{n}{name}"] if n else []
    return "".join(parts) or "0s"


def measure(
    prepare: Callable[[], tuple[Callable[[int], object], Callable[[], object]]],
    *,
    steps: int = 4,
    warm: int = 2,
    least_s: float = 2.0,
    most: int = 50,
    clock: Callable[[], float] = time.perf_counter,
) -> Pace:
    """Time a run on this machine. prepare() -> (step, end_epoch): step(i) trains one real step and waits for the
    device, end_epoch() does what follows an epoch.

    The first `warm` steps, which compile kernels and fill caches, count as setup; then at least `steps` steps are
    taken until they have lasted least_s or are `most`. step_s is their mean, which holds what a median would hide.
    """
    began = clock()
    step, end_epoch = prepare()
    for i in range(warm):
        step(i)
    ready = clock()
    n = 0
    while n < steps or (clock() - ready < least_s and n < most):
        step(warm + n)
        n += 1
    trained = clock()
    end_epoch()
    return Pace(ready - began, (trained - ready) / n, clock() - trained)


def epochs(
    budget_s: float, paces: Mapping[str, Pace], steps: int, *, used_s: float = 0.0, margin: float = MARGIN
) -> int:
    """The largest number of epochs with which all runs (id -> pace, trained one after another) fit the budget.

    steps: in an epoch; used_s: what of the budget has passed already. Raises BlendnetError, naming the least budget,
    where not even one epoch fits.
    """
    once = sum(p.setup_s for p in paces.values())
    each = sum(p.epoch_s(steps) for p in paces.values())
    found = floor(((budget_s - used_s) * (1 - margin) - once) / each)
    if found < 1:
        least = words(used_s + (once + each) / (1 - margin))
        raise BlendnetError(
            f"--budget {words(budget_s)} is too short: one epoch of {len(paces)} runs needs about {least} here; give "
            "more time, fewer runs with --only, or a smaller epoch_size in pipelines/sheet.py"
        )
    return found


def spent(paces: Mapping[str, Pace], steps: int, n_epochs: int) -> dict[str, float]:
    """The seconds that each run is expected to take, without margin."""
    return {run: p.setup_s + n_epochs * p.epoch_s(steps) for run, p in paces.items()}


def scaled(recipe: Recipe, n_epochs: int) -> Recipe:
    """The recipe with another number of epochs, all that is counted in epochs keeping its share (see the head)."""
    share = n_epochs / recipe.epochs
    return replace(
        recipe,
        epochs=n_epochs,
        step_epochs=max(1, round(recipe.step_epochs * share)),
        warmup_epochs=recipe.warmup_epochs * share,
        curriculum_epochs=recipe.curriculum_epochs * share,
        patience=max(1, round(recipe.patience * share)) if recipe.patience else 0,
    )
