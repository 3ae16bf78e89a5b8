"""scores and accuracy -> correlation.csv, twins.csv, effects.csv, relation.csv, mixed.csv. No torch."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import predictions, tables
from analysis.stats import accuracy as rates
from analysis.stats import correlation, effects, mixed, relation, twins
from blendnet import integrity, stored
from blendnet._kinds import unlike
from blendnet.files import read_object
from pipelines.sheet import Profile

_TESTS = ("blended", "regular")
_ABOUT = ["run", "network", "attention", "heads", "training", "seed"]
# Twins' resamples are the same stimuli and neuroids where all of a score's key but the network is the same.
_OWN = ("activations",)
_RESAMPLED = stored.SCORES | {"samples": stored.SCORES["samples?"]}


def correlate(profile: Profile, results: Path) -> None:
    """Relate brain similarity to accuracy across runs, and attention to its plain twin within runs.

    Where predictions and score pieces lie beside the tables, intervals of the effects carry images, stimuli and
    neuroids, too. Only those are used that the tables themselves were made from; what is left out is said in a line.
    """
    folder = results / "tables"
    scores, accuracy = (tables.read(folder / f"{name}.csv", name, profile.name) for name in ("scores", "accuracy"))
    layers = tables.read(folder / "layers.csv", "layers", profile.name)
    outcomes, samples = read_outcomes(results, accuracy), read_samples(results, scores)
    for what, found, of in (("predictions", outcomes, "accuracy"), ("score samples", samples, "score")):
        if not found:
            print(f"  no {what} that the tables rest on: intervals of {of} effects rest on networks and seeds alone")
    made = {
        "correlation": correlation.compute(scores, accuracy),
        "twins": twins.compute(scores, accuracy),
        "effects": effects.compute(scores, accuracy, outcomes, samples),
        "relation": relation.compute(scores, layers, accuracy),
        "mixed": mixed.compute(scores, accuracy),
    }
    for name, table in made.items():
        tables.write(table, folder / f"{name}.csv")
    words = {"correlation": "coefficients", "twins": "twin differences", "effects": "effects",
             "relation": "relations", "mixed": "terms of mixed models"}  # fmt: skip
    print(f"  {', '.join(f'{len(made[name])} {word}' for name, word in words.items())}", flush=True)


def read_outcomes(results: Path, accuracy: pd.DataFrame) -> dict[str, dict[str, pd.DataFrame]]:
    """{run: {'blended': frame, 'regular': frame}} (effects.correct), of the runs whose predictions give the very counts
    of accuracy.csv; a run whose predictions give others is left out, in one line."""
    found: dict[str, dict[str, pd.DataFrame]] = {}
    first: dict[str, pd.DataFrame] = {}
    stale = []
    for run, rows in accuracy.groupby("run", sort=True):
        paths = {test: results / "predictions" / str(run) / f"{test}.csv" for test in _TESTS}
        if not all(path.exists() for path in paths.values()):
            continue
        key = results / "predictions" / str(run) / "key.json"
        known = read_object(key, stored.PREDICTION).get("files", {}) if key.exists() else {}
        for path in paths.values():
            integrity.check(path, f"make it again: blendnet predict --only {run} --force", known)
        frames = {test: predictions.read(path) for test, path in paths.items()}
        about = {name: rows[name].iloc[0] for name in _ABOUT}
        if _counts(rates.aggregate(frames.values(), about)) == _counts(rows[rows["test"].isin(_TESTS)]):
            found[str(run)] = {test: _like(effects.correct(frame), first, test) for test, frame in frames.items()}
            first = first or found[str(run)]
        else:
            stale.append(str(run))
    _say_left_out("predictions that are not those of accuracy.csv", stale, "run blendnet predict")
    return found


def _like(outcomes: pd.DataFrame, first: dict[str, pd.DataFrame], test: str) -> pd.DataFrame:
    """The same table; what it says of the images themselves is that of the first run's where it is equal, so that the
    names of thousands of images are held once and not once a run."""
    if test in first and len(first[test]) == len(outcomes):
        for name in outcomes.columns.difference(["correct"]):
            if name in first[test] and outcomes[name].equals(first[test][name]):
                outcomes[name] = first[test][name]
    return outcomes


def _counts(accuracy: pd.DataFrame) -> dict[tuple, tuple[int, int]]:
    keys = zip(accuracy["test"], accuracy["by"], accuracy["group"], accuracy["outcome"])
    return dict(zip(keys, zip(accuracy["k"].astype(int), accuracy["n"].astype(int))))


class Samples(Mapping[tuple[str, str, str, str], np.ndarray]):
    """{(run, recording, region, metric): (n_boot,)} the score in each resample, NaN where one has no score. Of one
    recording, region and metric at a time: asked for another they are read anew, so that a study of many metrics and
    areas holds the resamples of one."""

    def __init__(self, paths: dict[tuple[str, str, str, str], Path]) -> None:
        self._paths = paths
        self._what: tuple[str, ...] = ()
        self._held: dict[str, np.ndarray] = {}

    def __getitem__(self, key: tuple[str, str, str, str]) -> np.ndarray:
        run, *what = key
        if tuple(what) != self._what:
            self._what, self._held = tuple(what), {}
        if run not in self._held:
            samples = read_object(self._paths[key], _RESAMPLED)["samples"]
            self._held[run] = np.array(samples, dtype=float)  # None becomes NaN
        return self._held[run]

    def __iter__(self) -> Iterator[tuple[str, str, str, str]]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def read_samples(results: Path, scores: pd.DataFrame) -> Samples:
    """The score in each resample, by run, recording, region and metric.

    From the pieces that hold the scores of scores.csv and were resampled alike for all runs; what others there are is
    said in one line and left out."""
    found: dict[tuple[str, str, str, str], Path] = {}
    alike: dict[tuple[str, str, str], str] = {}
    stale = []
    rows = scores[scores["kind"].isin(("network", "untrained"))]
    for row in rows.sort_values("run", kind="stable").to_dict("records"):
        what = (str(row["recording"]), str(row["region"]), str(row["metric"]))
        path = results / "scores" / str(row["run"]) / f"{'-'.join(what)}.json"
        if not path.exists():
            continue
        piece = read_object(path, stored.SCORES)
        if not piece.get("samples"):
            continue
        own = {k: v for k, v in piece["key"].items() if k not in _OWN}
        shared = json.dumps([own, len(piece["samples"])], sort_keys=True)
        if not _holds(piece, row) or alike.setdefault(what, shared) != shared:
            stale.append(f"{row['run']}/{path.stem}")
            continue
        found[(str(row["run"]), *what)] = path
    _say_left_out("score samples that are not those of scores.csv", stale, "run blendnet score")
    return Samples(found)


def _holds(piece: dict[str, Any], row: dict[str, Any]) -> bool:
    """Is the row of scores.csv, of six digits, one of the piece's?"""
    names = ("run", "kind", "recording", "region", "metric", "activations_key", "recording_sha256", "code_version")
    for own in piece["scores"]:
        if all(str(own.get(name)) == str(row[name]) for name in names):
            near = not unlike(own, {"score": float}) and np.isclose(own["score"], row["score"], rtol=1e-5, atol=1e-9)
            return bool(near)
    return False


def _say_left_out(what: str, names: list[str], what_to_do: str) -> None:
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        print(f"  not used, {what}: {', '.join(names[:3])}{more}; {what_to_do}", flush=True)
