"""The layer-by-area explorer of the report: what its script needs to know beside the tables of the page.

The drawing is done by page_assets/explorer.js from layers.csv and scores.csv as they lie in the page's JSON island;
no number is written twice.
"""

from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd

from analysis import tables as columns
from analysis.figures import _style as s
from analysis.page import plain


def there(tables: Mapping[str, pd.DataFrame]) -> bool:
    """Whether there is anything to explore: a layer profile of a trained or ready-made network."""
    layers = tables.get("layers")
    return layers is not None and bool(layers["kind"].isin(("network", "control")).any())


def section() -> str:
    """The place that the script fills, and what a reader without scripts is told."""
    intro = (
        "The score of every layer with one recorded area, plain against attention: choose area, metric, network and "
        "training. Raw scores over all stimuli, means over seeds, no intervals: for orientation. The scores that "
        "claims rest on are of the committed layer (ringed) on the other half of the stimuli, in scores.csv."
    )
    missing = "The explorer needs JavaScript. Its numbers are in layers.csv, and the figures above show most of them."
    without = f"<noscript><p>{escape(missing)}</p></noscript>"
    return f'<p>{escape(intro)}</p>\n<div class="explorer" id="explorer-view">{without}</div>'


def words(tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Labels and orders for the script: {'labels', 'regions', 'metrics', 'networks', 'trainings', 'planted'}."""
    layers, scores = tables["layers"], tables["scores"]
    names = sorted({*layers["network"], *layers["attention"], *layers["metric"]})
    trainings = {f"trained:{t}": s.trained_on(t) for t in columns.TRAINED}
    trainings |= {"trained:imagenet": "trained on ImageNet, ready made", "trained:": "ready made"}
    return {
        "labels": {name: s.label(name) for name in names} | trainings,
        "regions": list(columns.REGIONS),
        "metrics": list(columns.METRICS),
        "networks": s.ordered(layers["network"]),
        "trainings": list(columns.TRAININGS),
        "planted": plain_list(scores.loc[scores["planted"], "recording"]),
    }


def plain_list(values: pd.Series) -> list[str]:
    """Distinct values, sorted."""
    return sorted({plain(v) for v in values})
