"""blendnet verify: recompute a random sample of stored scores from the weights on, and compare.

What is drawn is a score with all that was computed with it: its row and its shuffled row of scores.csv and its layers
in layers.csv. Every column of the schema is compared, so that no cell of a sampled row can be other than it was made.
"""

import fnmatch
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import tables
from blendnet import activations, models
from blendnet.data.brain.recording import Recording
from blendnet.errors import BlendnetError
from blendnet.run import Run
from pipelines import _brainscore_pca, extract, networks, recordings, score, scoring
from pipelines.context import Context, say

TOLERANCE = 1e-4  # float32 activations in batches of other sizes differ in the last digits
PIECE = ("run", "recording", "region", "metric")  # what is computed in one go
SHOWN = 6  # differences of one score that are named
Rows = Mapping[str, list[dict[str, Any]]]  # of 'scores' and 'layers'


def verify(context: Context, *, n: int, seed: int) -> int:
    """Draw n scores, extract and score them anew in a temporary folder; returns 0 if all agree, else 1."""
    if n < 1:
        raise BlendnetError(f"--n {n}: at least one score has to be verified")
    if seed < 0:
        raise BlendnetError(f"--seed {seed} is negative; give 0 or more")
    stored = {
        name: tables.read(context.tables / f"{name}.csv", name, context.profile.name) for name in ("scores", "layers")
    }
    pieces = sorted({piece for table in stored.values() for piece in zip(*(table[name] for name in PIECE))})
    pieces = [piece for piece in pieces if _selected(context, piece)]
    if not pieces:
        raise BlendnetError(f"{context.tables / 'scores.csv'} holds no score of the runs and recordings asked for")
    chosen = [pieces[i] for i in np.random.default_rng(seed).permutation(len(pieces))[:n]]
    wrong, n_layers = 0, 0
    loaded: dict[str, list[Recording]] = {}
    for piece in chosen:
        own = {name: _of(table, piece) for name, table in stored.items()}
        try:
            differs = differences(own, _anew(context, piece, loaded, pca=_has_pca(own["scores"])))
        except _NoSuchPiece as error:
            differs = [str(error)]
        wrong += bool(differs)
        n_layers += len(own["layers"])
        row = own["scores"][own["scores"]["kind"] != "shuffled"]
        what = f"stored {row['score'].iloc[0]:.5f} ({row['layer'].iloc[0]})" if len(row) else "no score stored"
        more = [f"{len(differs) - SHOWN} more"] if len(differs) > SHOWN else []
        say(f"  {'DIFFERS' if differs else 'agrees '} {' '.join(piece)}: {'; '.join([what, *differs[:SHOWN], *more])}")
    say(f"  {len(chosen) - wrong} of {len(chosen)} scores agree within {TOLERANCE:g} in every column, with their "
        f"shuffled rows and {n_layers} rows of layers.csv")  # fmt: skip
    return 1 if wrong else 0


class _NoSuchPiece(Exception):
    """A row of the table says it is of a run, recording or metric that the sheet does not have."""


def _selected(context: Context, piece: tuple[str, ...]) -> bool:
    run, recording = piece[:2]
    asked = not context.recording or any(recording == n or recording.startswith(f"{n}-") for n in context.recording)
    return asked and fnmatch.fnmatch(run, context.only)


def _of(table: pd.DataFrame, piece: tuple[str, ...]) -> pd.DataFrame:
    return table[np.logical_and.reduce([table[name] == value for name, value in zip(PIECE, piece)])]


def _has_pca(rows: pd.DataFrame) -> bool:
    return bool((rows["brain_score_pca_layer"] != "").any() or rows["brain_score_pca_raw"].notna().any())


def _anew(context: Context, piece: tuple[str, ...], loaded: dict[str, list[Recording]], *, pca: bool) -> Rows:
    """The rows of one piece from the weights on; raises _NoSuchPiece where the sheet has no such piece. loaded:
    recordings by file, filled here; pca: with the columns of `blendnet brainscore-layers`, which is long."""
    name, recorded, region, metric = piece
    runs: dict[str, Run | None] = {run.id: run for run in context.profile.scored_runs()} | {extract.PIXELS: None}
    if name not in runs:
        raise _NoSuchPiece(f"run: {name!r} is none of profile {context.profile.name}")
    run = runs[name]
    recording = _recording(context, recorded, region, loaded)
    if metric not in score.metrics_for(context, recording):
        raise _NoSuchPiece(f"metric: {metric!r} is not computed for {recorded} by profile {context.profile.name}")
    if run is None:
        features, key = extract.pixels(context, recording.stimuli)
        xs, weights = {extract.PIXELS: features}, ""
    else:
        with tempfile.TemporaryDirectory() as folder:
            key = extract.extract_run(context, run, recording.stimuli, into=Path(folder) / "anew")
            xs = {la: activations.load_layer(Path(folder) / "anew", la) for la in models.layers(run.network)}
        weights = networks.weights(context, run)
    rows = scoring.compute(context, run, recording, xs, metric)
    hashes = score.hashes_of(weights, key, recording, metric)
    scores = [row | hashes for row in rows["scores"]]
    if pca and run is not None:
        found = _brainscore_pca.compute(context, run, [recording])[recording.name, recording.region]
        scores = [row if row["kind"] == "shuffled" else row | found for row in scores]
    return {"scores": scores, "layers": rows["layers"]}


def _recording(context: Context, name: str, region: str, loaded: dict[str, list[Recording]]) -> Recording:
    file = name.split("-")[0]
    asking = replace(context, recording=(file,))
    if file not in loaded:
        try:
            recordings.names(asking)
        except BlendnetError as error:
            raise _NoSuchPiece(f"recording: {error}") from error
        loaded[file] = recordings.load(asking)
    for recording in loaded[file]:
        if (recording.name, recording.region) == (name, region):
            return recording
    raise _NoSuchPiece(f"recording: there is no {name!r} of {region}")


def differences(stored: Mapping[str, pd.DataFrame], new: Rows) -> list[str]:
    """What the stored rows of a piece and those made anew do not share, as 'lo: 0.1 -> 0.2', shuffled rows and layers
    named; every column of the schema is compared, numbers within TOLERANCE, all others exactly."""
    found = []
    for name, place in (("scores", lambda r: "shuffled" if r["kind"] == "shuffled" else ""),
                        ("layers", lambda r: r["layer"])):  # fmt: skip
        old, made = stored[name], tables.from_rows(new[name], name)
        a, b = ({place(row): row for row in table.to_dict("records")} for table in (old, made))
        if len(a) < len(old):
            found.append(f"{name}.csv: {len(old)} rows where {len(made)} are made")
        for which in sorted({*a, *b}):
            where = f"{which or name} " if name == "layers" or which else ""
            if which not in a or which not in b:
                found.append(f"{where}{'is not stored' if which not in a else 'is stored, but not made'}")
                continue
            found += [
                f"{where}{column.name}: {_text(a[which][column.name])} -> {_text(b[which][column.name])}"
                for column in tables.TABLES[name].columns
                if not _same(a[which][column.name], b[which][column.name], column.kind)
            ]
    return found


def _same(a: Any, b: Any, kind: str) -> bool:
    if pd.isna(a) or pd.isna(b):
        return bool(pd.isna(a) and pd.isna(b))
    return abs(a - b) <= TOLERANCE if kind == "number" else str(a) == str(b)


def _text(value: Any) -> str:
    if pd.isna(value) or value == "":
        return "nothing"
    return f"{value:.6f}" if isinstance(value, float) else str(value)
