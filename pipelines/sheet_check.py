"""Can a profile be run? Asked before its first hour of computing, of all that can be known without PyTorch."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from analysis.schema import METRICS, TRAINED
from blendnet import attention, models
from blendnet.data import brain, sources
from blendnet.errors import BlendnetError, unknown
from blendnet.run import Run

SMALLEST, LARGEST = 8, 4096  # px
_LISTS = (
    "sources", "networks", "classes", "fractions", "attentions", "trainings", "seeds", "controls", "recordings",
    "metrics", "alphas",
)  # fmt: skip
_COUNTS = ("n_per_class", "width", "n_bootstrap", "val_per_pair", "test_per_pair", "heads")


def check(profile: Any) -> Any:
    """The profile (pipelines.sheet.Profile) itself; raises BlendnetError, one line with profile, name and value, for a
    name that is in no folder, a number that cannot be, and choices that do not go together."""
    for name in _LISTS:
        if not isinstance(getattr(profile, name), tuple | list):
            raise _wrong(profile, name, getattr(profile, name), "is no tuple; a tuple of one is written (x,)")
    _names(profile)
    _numbers(profile)
    _blends(profile)
    _recipe(profile)
    if profile.trainings and profile.networks and not profile.seeds:
        raise _wrong(profile, "seeds", profile.seeds, "has none; give one or more, e.g. (0,)")
    for seed in profile.seeds:
        _whole(profile, "seeds", seed, 0)
    for name in ("seeds", "networks", "trainings", "metrics", "recordings", "sources", "classes", "controls"):
        _once(profile, name, getattr(profile, name))
    return profile


def _wrong(profile: Any, what: str, value: object, why: str) -> BlendnetError:
    return BlendnetError(f"profile {profile.name!r}: {what} {str(value)[:80]} {why} (pipelines/sheet.py)")


def _known(profile: Any, what: str, values: Iterable[str], known: Sequence[str]) -> None:
    for value in values:
        if value not in known:
            raise BlendnetError(f"profile {profile.name!r}: {unknown(what, str(value)[:80], known)}")


def _names(profile: Any) -> None:
    """Everything that is chosen by the name of a file or of a list."""
    _known(profile, "image source", profile.sources, sources.names())
    _known(profile, "recording", profile.recordings, (*brain.names(), "planted"))
    _known(profile, "metric", profile.metrics, METRICS)
    _known(profile, "training", profile.trainings, TRAINED)
    _known(profile, "colour", [profile.colour], ("rgb", "grey"))
    _known(profile, "blend space", [profile.space], ("pixel", "linear"))
    _known(profile, "network of image_sizes", profile.image_sizes, profile.networks)
    _known(profile, "network of attentions_of", profile.attentions_of, profile.networks)
    for network in profile.networks:
        if ":" in network:
            models.split(network)  # whether the library has it is known when it is imported
            continue
        _known(profile, "network", [network], models.names())
        chosen = profile.attentions_of.get(network, profile.attentions)
        _known(profile, f"attention of {network}", chosen, (*attention.names(), "self"))
    for control in profile.controls:
        Run.from_id(control)
    if profile.planted is not None:
        Run.from_id(profile.planted.source)


def _numbers(profile: Any) -> None:
    for name in _COUNTS:
        _whole(profile, name, getattr(profile, name), 1)
    _whole(profile, "n_splits", profile.n_splits, 2)
    if profile.limit_per_class is not None:
        _whole(profile, "limit_per_class", profile.limit_per_class, 3)
    sides = {"image_size": profile.image_size, "control_image_size": profile.control_image_size}
    for name, size in (sides | {f"image_sizes of {n}": s for n, s in profile.image_sizes.items()}).items():
        _whole(profile, name, size, SMALLEST)
        if size > LARGEST:
            raise _wrong(profile, name, size, f"is larger than {LARGEST} px")
    for name, low, high in (("split_test", 0.0, 1.0), ("model_degrees", 0.0, 360.0)):
        value = getattr(profile, name)
        if not _is_number(value) or not low < value < high:
            raise _wrong(profile, name, value, f"is not between {low:g} and {high:g}")
    parts = profile.fractions
    if len(parts) != 3 or not all(_is_number(f) and f > 0 for f in parts) or abs(sum(parts) - 1) > 1e-6:
        raise _wrong(profile, "fractions", parts, "are not three positive numbers (train, val, test) with sum 1")


def _blends(profile: Any) -> None:
    """Classes, their pairs, and the weights of the first object."""
    if len(profile.classes) < 2:
        raise _wrong(profile, "classes", profile.classes, "are fewer than two, which no blend can be made of")
    for alpha in profile.alphas:
        if not _is_number(alpha) or not 0 <= alpha <= 1:
            raise _wrong(profile, "alphas", alpha, "is not within 0 to 1")
    if 0.5 not in profile.alphas:
        raise _wrong(profile, "alphas", profile.alphas, "lack 0.5, on which the accuracy rests")
    _once(profile, "alphas", profile.alphas)
    pairs = set()
    for pair in profile.held_out:
        if len(pair) != 2 or pair[0] == pair[1]:
            raise _wrong(profile, "held_out", pair, "is not a pair of two classes")
        _known(profile, "class of held_out", pair, profile.classes)
        pairs.add(frozenset(pair))
    if 2 * len(pairs) >= len(profile.classes) * (len(profile.classes) - 1):
        raise _wrong(profile, "held_out", len(pairs), "pairs are all there are; leave some for the training")


def _recipe(profile: Any) -> None:
    recipe = profile.recipe
    for name in ("batch_size", "epochs", "epoch_size"):
        _whole(profile, f"recipe.{name}", getattr(recipe, name), 1)
    if not _is_number(recipe.lr) or recipe.lr <= 0:
        raise _wrong(profile, "recipe.lr", recipe.lr, "is not a positive number")
    for name in ("alpha", "alpha_start"):
        low_high = getattr(recipe, name)
        if not isinstance(low_high, tuple | list) or len(low_high) != 2 or not all(map(_is_number, low_high)):
            raise _wrong(profile, f"recipe.{name}", low_high, "is not a pair of numbers")
        if not 0 <= low_high[0] <= low_high[1] <= 1:
            raise _wrong(profile, f"recipe.{name}", low_high, "is not a range within 0 to 1")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(profile: Any, what: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _wrong(profile, what, value, f"is not a whole number of {least} or more")


def _once(profile: Any, what: str, values: Sequence[object]) -> None:
    for value in values:
        if list(values).count(value) > 1:
            raise _wrong(profile, what, value, "is there twice; list it once")
