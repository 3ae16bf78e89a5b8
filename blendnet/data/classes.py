"""The eight classes of the study, their order, and its hyperclasses (Portscher et al. 2022,
doi 10.1109/IPAS55744.2022.10052853)."""

from itertools import combinations

CLASSES = ("boat", "car", "cat", "chair", "dog", "face", "flower", "plane")

HYPERCLASS = {
    "boat": "ManMade", "car": "ManMade", "chair": "ManMade", "plane": "ManMade",
    "cat": "Nature", "dog": "Nature", "flower": "Nature",
    "face": "Human",
    # CIFAR-10's own names, so that its ten classes group in the same way
    "airplane": "ManMade", "automobile": "ManMade", "ship": "ManMade", "truck": "ManMade",
    "bird": "Nature", "deer": "Nature", "frog": "Nature", "horse": "Nature",
}  # fmt: skip


def class_pairs(classes: tuple[str, ...]) -> list[tuple[str, str]]:
    """All unordered pairs of different classes, in class order: 28 for the study's eight."""
    return list(combinations(classes, 2))


def hyperclass_pair(a: str, b: str) -> str:
    """The pair of hyperclasses of two classes, in the study's spelling, e.g. 'Human-ManMade', 'Nature-Nature'."""
    return "-".join(sorted((HYPERCLASS[a], HYPERCLASS[b])))
