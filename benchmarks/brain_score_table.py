"""The table that `make score-brain` writes, computed again with Brain-Score's own regression, correlation and ceiling.

    python -m benchmarks.brain_score_table [--data folder] [--out benchmarks/results/brain_score_table.md]

First what is missing of these is made, then compared:

    make train PROFILE=demo ONLY='resnet18-aacn4-*'
    make score-brain PROFILE=demo ONLY='resnet18-aacn4-*' DATA=folder RECORDING='henaff2021 cowley2023 planted'

One table of all areas: V1 (henaff2021) and V4 (cowley2023) are recordings, the planted V1, V2, V4 and IT are invented
and labelled so. Every PLS score is fitted again on the same activations and splits of half B by brainscore_vision's
pls_regression and pearsonr_correlation, aggregated in its order, and every ceiling whose recording misses no repetition
by its InternalConsistency.
"""

import argparse
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

os.environ["BS_INSTALL_DEPENDENCIES"] = "no"

import numpy as np
import pandas as pd

from analysis import tables
from analysis.similarity._splits import Splits, halves, shuffle_splits
from benchmarks.similarity import commit, processor
from blendnet.data.brain.recording import Recording
from blendnet.files import write_text
from blendnet.run import Run
from pipelines import cli, extract, recordings, score, scoring
from pipelines.context import Context, default_data
from pipelines.sheet import profile

# The source of the planted areas and its untrained self.
ONLY = "resnet18-aacn4-*"
RECORDINGS = ("henaff2021", "cowley2023", "planted")
# Halves of repetitions are drawn at random, by Brain-Score others than by us: what two draws of ten differ by.
CEILING = 0.02


class Again(NamedTuple):
    """A row of scores.csv and Brain-Score's numbers for it; its ceiling NaN where repetitions are missing."""

    row: dict
    score: float
    ceiling: float


def again(context: Context) -> list[Again]:
    """Every PLS score of the context's table that is not the shuffled one, by Brain-Score's classes."""
    table = tables.read(context.tables / "scores.csv", "scores", context.profile.name)
    known = {(r.name, r.region): r for r in recordings.load(context)}
    rows = table[(table["metric"] == "pls") & (table["kind"] != "shuffled")]
    ceilings: dict[tuple[str, str], float] = {}
    found = []
    for row in rows.to_dict("records"):
        name = (row["recording"], row["region"])
        recording = known[name]
        how = scoring.how_of(context, recording)
        half = halves(len(recording.stimuli), seed=context.profile.score_seed, groups=how["groups"])[1]
        groups = None if how["groups"] is None else how["groups"][half]
        splits = shuffle_splits(
            len(half), groups=groups, n_splits=how["n_splits"], test_size=how["test_size"], seed=how["seed"]
        )
        run = None if row["run"] == extract.PIXELS else Run.from_id(row["run"])
        x = score.inputs(context, run, recording)[0][row["layer"]]
        if name not in ceilings:
            ceilings[name] = ceiling(recording, half)
        found.append(Again(row, fitted(x[half], recording.mean()[half], splits), ceilings[name]))
        print(
            f"{row['run']} {name[0]} {name[1]}: {row['score']:.6f}, Brain-Score {found[-1].score:.6f}", file=sys.stderr
        )
    return found


def fitted(x: np.ndarray, y: np.ndarray, splits: Splits) -> float:
    """Brain-Score's PLS score: median over neuroids of r on the test stimuli, mean over splits."""
    from brainscore_vision.metrics.regression_correlation.metric import pearsonr_correlation, pls_regression

    regression, correlation = pls_regression(), pearsonr_correlation()
    medians = []
    for train, test in splits:
        regression.fit(assembly(x[train], train), assembly(y[train], train))
        predicted = regression.predict(assembly(x[test], test))
        medians.append(float(np.nanmedian(correlation(predicted, assembly(y[test], test)).values)))
    return float(np.mean(medians))


def ceiling(recording: Recording, half: np.ndarray) -> float:
    """Brain-Score's ceiling of the stimuli `half`: median over neuroids, mean over halvings; NaN where its class, which
    knows no missing repetition, cannot be asked."""
    from brainscore_vision.metrics.internal_consistency.ceiling import InternalConsistency

    trials = None if recording.trials is None else recording.trials[half]
    if trials is None or trials.shape[1] < 2 or not np.isfinite(trials).all():
        return float("nan")
    n_stimuli, n_repetitions, n_neuroids = trials.shape
    stimuli, repetitions = np.divmod(np.arange(n_stimuli * n_repetitions), n_repetitions)
    shown = assembly(trials.reshape(-1, n_neuroids), stimuli)
    return float(InternalConsistency()(shown.assign_coords(repetition=("presentation", repetitions))))


def assembly(values: np.ndarray, stimuli: np.ndarray):
    """A NeuroidAssembly of (n, n_neuroids) values; stimuli: (n,) numbers of the stimuli."""
    from brainscore_core.supported_data_standards.brainio.assemblies import NeuroidAssembly

    coords = {
        "stimulus_id": ("presentation", [f"image{i:06d}" for i in stimuli]),
        "object_name": ("presentation", ["object"] * len(values)),
        "neuroid_id": ("neuroid", np.arange(values.shape[1])),
        "region": ("neuroid", ["any"] * values.shape[1]),
    }
    return NeuroidAssembly(np.asarray(values, dtype=float), coords=coords, dims=["presentation", "neuroid"])


def page(found: list[Again]) -> str:
    """The table as markdown."""
    scores = np.array([[a.row["score"], a.score] for a in found])
    lines = [
        "# One table of all areas, by blendnet and by Brain-Score's own classes",
        "",
        "| run | recording | region | | layer | neuroids | stimuli of half B | r, make score-brain | r, Brain-Score's "
        "classes | difference | ceiling, make score-brain | ceiling, Brain-Score's class |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for a in found:
        r = a.row
        cells = (
            r["run"], r["recording"], r["region"], "planted (invented)" if r["planted"] else "recorded", r["layer"],
            f"{r['n_neuroids']:.0f}", f"{r['n_report']:.0f}", f"{r['score']:.6f}", f"{a.score:.6f}",
            f"{abs(r['score'] - a.score):.0e}", _number(r["ceiling"]), _number(a.ceiling),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([
        *lines, "",
        f"{len(found)} scores, largest difference {np.abs(scores[:, 0] - scores[:, 1]).max():.1e} (scores.csv keeps "
        "six digits). A ceiling of ours and Brain-Score's are the same estimate on other random halves of the "
        f"repetitions (within {CEILING}); '-' where its class cannot be asked, since repetitions are missing or only "
        "means were published. The networks are the demo's, trained for minutes on images drawn by code: no claim "
        "about brains.",
        "",
        f"{processor()}, brainscore-vision {version('brainscore-vision')}, numpy {version('numpy')}, {commit()}. Made "
        "by `python -m benchmarks.brain_score_table`.",
        "",
    ])  # fmt: skip


def _number(value: float | None) -> str:
    return "-" if value is None or pd.isna(value) else f"{value:.3f}"


def make(profile_name: str, results: Path, data: Path) -> Context:
    """The commands of `make train` and `make score-brain` on RECORDINGS; what is stored already is reused."""
    flags = ["--profile", profile_name, "--results", str(results), "--data", str(data), "--only", ONLY]
    chosen = [part for name in RECORDINGS for part in ("--recording", name)]
    for verb, more in (("train", []), ("extract", chosen), ("score", chosen)):
        if code := cli.main([verb, *flags, *more]):
            raise SystemExit(code)
    return Context(profile(profile_name), results / profile_name, data, recording=RECORDINGS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="scores.csv again, by Brain-Score's own classes")
    parser.add_argument("--data", type=Path, default=default_data(), help="where henaff2021/ and cowley2023/ lie")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--out", type=Path, default=None, help="also write the table to this markdown file")
    given = parser.parse_args()
    text = page(again(make("demo", given.results, given.data)))
    print(text)
    if given.out:
        write_text(given.out, text)
