"""blendnet verify: recompute a random sample of stored scores from the weights on, and compare."""

import fnmatch
import tempfile
from pathlib import Path

import numpy as np

from analysis import tables
from blendnet import activations, models
from blendnet.errors import BlendnetError
from blendnet.run import Run
from pipelines import extract, recordings, scoring
from pipelines.context import Context, say

TOLERANCE = 1e-4  # float32 activations in batches of other sizes differ in the last digits


def verify(context: Context, *, n: int, seed: int) -> int:
    """Draw n rows of scores.csv, extract and score them anew in a temporary folder; returns 0 if all agree, else 1."""
    if n < 1:
        raise BlendnetError(f"--n {n}: at least one score has to be verified")
    if seed < 0:
        raise BlendnetError(f"--seed {seed} is negative; give 0 or more")
    table = tables.read(context.tables / "scores.csv", "scores", context.profile.name)
    found = {(r.name, r.region): r for r in recordings.load(context)}
    rows = table[[
        kind != "shuffled" and fnmatch.fnmatch(run, context.only) and (recording, region) in found
        for kind, run, recording, region in zip(table["kind"], table["run"], table["recording"], table["region"])
    ]]  # fmt: skip
    if rows.empty:
        raise BlendnetError(f"{context.tables / 'scores.csv'} holds no score of this profile's recordings")
    chosen = rows.iloc[np.random.default_rng(seed).permutation(len(rows))[:n]]
    wrong = 0
    for row in chosen.to_dict("records"):
        recording = found[row["recording"], row["region"]]
        run = None if row["run"] == extract.PIXELS else Run.from_id(row["run"])
        new = _anew(context, run, recording, row["metric"])
        differs = _differences(row, new)
        wrong += bool(differs)
        what = f"{row['run']} {row['recording']} {row['region']} {row['metric']}"
        say(f"  {'DIFFERS' if differs else 'agrees '} {what}: stored {row['score']:.5f} ({row['layer']})"
            + (f"; {'; '.join(differs)}" if differs else ""))  # fmt: skip
    say(f"  {len(chosen) - wrong} of {len(chosen)} scores agree within {TOLERANCE:g}")
    return 1 if wrong else 0


def _anew(context: Context, run: Run | None, recording, metric: str) -> dict:
    if run is None:
        xs = {extract.PIXELS: extract.pixels(context, recording.stimuli)[0]}
        weights = ""
    else:
        from pipelines import networks

        with tempfile.TemporaryDirectory() as folder:
            extract.extract_run(context, run, recording.stimuli, into=Path(folder) / "anew")
            xs = {la: activations.load_layer(Path(folder) / "anew", la) for la in models.layers(run.network)}
        weights = networks.weights(context, run)
    rows = scoring.compute(context, run, recording, xs, metric)["scores"]
    return next(r for r in rows if r["kind"] != "shuffled") | {
        "weights_sha256": weights, "recording_sha256": recording.sha256,
    }  # fmt: skip


def _differences(stored: dict, new: dict) -> list[str]:
    found = [
        f"{name}: {stored[name]} -> {new[name]}"
        for name in ("layer", "weights_sha256", "recording_sha256", "n_report")
        if str(stored[name]) != str(new[name])
    ]
    for name in ("score", "lo", "hi", "ceiling", "naive_score"):
        a, b = stored[name], new[name]
        a, b = (float("nan") if v is None else float(v) for v in (a, b))
        if not (np.isnan(a) and np.isnan(b)) and not abs(a - b) <= TOLERANCE:
            found.append(f"{name}: {a:.6f} -> {b:.6f}")
    return found
