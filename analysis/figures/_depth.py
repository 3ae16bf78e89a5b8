"""Lines along the depth of a network, for what dissect measures by layer: plain, attention, attention silenced."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.figures import _style as s

LESIONED = "#7a7a7a"


def lines(
    ax: Axes, df: pd.DataFrame, value: str, shade: str, factor: float = 1.0, band: bool = True, **look: Any
) -> None:
    """A line an attention kind and lesion through the means over seeds of `value`, its band from the lowest to the
    highest end of the seeds' intervals (columns value_lo, value_hi, or lo, hi)."""
    ends = (f"{value}_lo", f"{value}_hi") if f"{value}_lo" in df else ("lo", "hi")
    for kind in s.twins(df):
        for lesion, own in s.of_twin(df, kind).groupby("lesion", sort=True):
            colour = LESIONED if lesion else shade
            means = own.groupby("depth").agg(value=(value, "mean"), lo=(ends[0], "min"), hi=(ends[1], "max"))
            if band and means["lo"].notna().any():
                ax.fill_between(means.index, factor * means["lo"], factor * means["hi"], color=colour, alpha=0.13, lw=0)
            style: dict[str, Any] = {"marker": s.marker(kind[0]), "ms": 3.0, "color": colour}
            style["ls"] = ":" if lesion else s.line(kind[0])
            ax.plot(means.index, factor * means["value"], **(style | look))


def axis(ax: Axes) -> None:
    """Depth from the first layer to the last."""
    ax.set_xlim(-0.04, 1.04)
    ax.set_xticks([0, 0.5, 1])
    ax.set_xlabel("depth")


def keys(df: pd.DataFrame) -> list[Line2D]:
    """The legend entries of the attention kinds and the lesion."""
    found = [s.key(s.twin(*k), marker=s.marker(k[0]), ls=s.line(k[0])) for k in s.twins(df)]
    for kind in s.twins(df[df["lesion"] != ""]):
        found.append(s.key(f"{s.twin(*kind)} silenced", LESIONED, marker=s.marker(kind[0]), ls=":"))
    return found


def networks(df: pd.DataFrame) -> list[str]:
    """The architectures in order."""
    return s.ordered(df["network"])


def words(df: pd.DataFrame) -> str:
    """For captions: how many runs and seeds, and what was silenced."""
    seeds = df.groupby(["network", "attention", "heads"], dropna=False)["seed"].nunique()
    silenced = " Grey: the same networks with their attention half silenced." if (df["lesion"] != "").any() else ""
    return (
        f"Means over {s.span(seeds)} seeds ({df['run'].nunique()} runs) along depth (0 first layer read, 1 last); "
        f"bands reach over the seeds' 95 % intervals.{silenced}"
    )


def middle(df: pd.DataFrame) -> float:
    """The alpha nearest to equal weights."""
    alphas = np.array(sorted(set(df["alpha"])))
    return float(alphas[np.abs(alphas - 0.5).argmin()])
