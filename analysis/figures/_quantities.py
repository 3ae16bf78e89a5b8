"""The quantities that attention may change, as effects.csv names them: in words, in order, and which recordings."""

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures import _style as s

_WORDS = {"accuracy:blended_both": "blends: both named", "accuracy:regular_top1": "one object: top-1"}


def place(quantity: str) -> tuple[str, str, str] | None:
    """(region, recording, metric) of 'score:REGION:RECORDING:METRIC'; None for an accuracy."""
    kind, *rest = quantity.split(":")
    if kind != "score" or len(rest) < 3:
        return None
    return rest[0], ":".join(rest[1:-1]), rest[-1]


def order(quantities: pd.Series) -> list[str]:
    """Accuracies first, then scores by area, recording and metric."""

    def rank(quantity: str) -> tuple:
        where = place(quantity)
        if where is None:
            return (0, quantity)
        return (1, s.REGIONS.index(where[0]), where[1], s.columns.METRICS.index(where[2]))

    return sorted(set(quantities), key=rank)


def title(quantity: str) -> str:
    """What stands above a panel, two lines at the most."""
    where = place(quantity)
    return s.title(where) if where else _WORDS.get(quantity, quantity.split(":")[-1])


def words(quantity: str) -> str:
    """The same in one line, for captions."""
    return title(quantity).replace("\n", " ")


def factor(quantity: str) -> float:
    """Rates are drawn in percentage points."""
    return 1.0 if place(quantity) else 100.0


def invented(fig: Figure, recordings: list[str]) -> None:
    """Says in the figure itself that its recordings are planted, where the table has only their names."""
    if any(name.startswith("planted") for name in recordings):
        fig.suptitle("planted (invented) recordings", fontsize=7, color=s.DARK)


def signed(value: float) -> str:
    """Three digits, with a minus sign that is as wide as a plus."""
    return f"{value:.3g}".replace("-", "−")
