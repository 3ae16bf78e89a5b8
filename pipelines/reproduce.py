"""blendnet reproduce RUN: one run's numbers from nothing (training, outputs, activations, scores), against the stored.

The recorded recipe and seed are used, the sheet's recordings and settings, and a results folder of its own; nothing
that is stored is written to, and nothing but the stored tables, checkpoint and provenance is read.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import tables
from blendnet import checkpoint, stored
from blendnet.errors import BlendnetError, unknown
from blendnet.files import read_object
from blendnet.keys import difference
from blendnet.run import Recipe, Run
from pipelines import dissect, extract, predict, recordings, score, sheet_check, train
from pipelines._anew import SURROUNDINGS, TOLERANCES, Verdict, compare, differing, rests, weights
from pipelines.context import Context, duration, say
from pipelines.sheet import Profile

TABLES = tuple(name for name in TOLERANCES if name != "weights")
INSIDE = dissect.TABLES


def reproduce(context: Context, run_id: str, *, keep: bool = False) -> int:
    """Rebuild the numbers of one run in a temporary folder and compare them with the stored; prints a line a kind.

    Returns 0 where all are identical or within TOLERANCES, else 1. context.recording: only these recordings. keep: the
    folder stays, and its place is printed. Raises BlendnetError for a run that the sheet has not, that nothing is
    stored of, or that was imported and not trained here.
    """
    run = _run(context.profile, run_id)
    stored = _stored(context, run)
    record = recorded(context, run)
    if run.training not in ("untrained", "imagenet") and "recipe" not in record:
        raise BlendnetError(
            f"the recipe of {run.id} is recorded neither in its checkpoint nor in provenance.json of {context.tables}; "
            f"run blendnet train --profile {context.profile.name} --only {run.id}"
        )
    say(f"  {_forecast(record)}")
    with _folder(keep) as results:
        made = _again(context, run, record, stored, results)
        verdicts = list(_compared(context, made, run, stored, record))
        surroundings = differing(record, recorded(made, run))
    say(f"{run.id}, anew against stored:")
    for verdict in verdicts:
        say(f"  {verdict.kind:20}{verdict.text}")
    if surroundings:
        say(f"  surroundings differ: {'; '.join(surroundings)}")
    elif not all(v.identical for v in verdicts):
        say("  nothing that is recorded of the surroundings differs; look at the hardware's exact model")
    wrong = [v.kind for v in verdicts if not v.ok]
    say(f"  {len(verdicts) - len(wrong)} of {len(verdicts)} kinds reproduced" +
        (f"; not reproduced: {', '.join(wrong)}" if wrong else ""))  # fmt: skip
    return 1 if wrong else 0


def recorded(context: Context, run: Run) -> dict[str, Any]:
    """What is recorded of a run's making: weights_sha256, recipe, seconds, processes, key and surroundings. From its
    checkpoint, else from provenance.json, else only the surroundings of the tables; {} where there is neither."""
    folder = context.folder("checkpoints", run.id)
    if checkpoint.is_finished(folder):
        meta = checkpoint.load_meta(folder)
        if meta.get("legacy"):
            raise BlendnetError(f"{run.id} was imported, not trained here; blendnet verify recomputes its scores")
        names = ("weights_sha256", "recipe", "seconds", "processes", "surroundings", "key")
        return {name: meta[name] for name in names if name in meta}
    path = context.tables / "provenance.json"
    found = read_object(path, stored.PROVENANCE) if path.exists() else {}
    entry = found.get("trained", {}).get(run.id, {})
    about = {name: entry[name] for name in SURROUNDINGS if entry.get(name) is not None}
    record = {name: entry[name] for name in entry if name in ("weights_sha256", "recipe", "seconds", "processes")}
    if "photos_sha256" in entry:
        record["key"] = {"photos_sha256": entry["photos_sha256"]}
    return record | {"surroundings": about or found.get("surroundings", {})}


def _run(profile: Profile, run_id: str) -> Run:
    known = {r.id: r for r in profile.scored_runs()}
    if run_id not in known:
        raise unknown(f"run of profile {profile.name}", run_id, known)
    return known[run_id]


def _stored(context: Context, run: Run) -> dict[str, pd.DataFrame]:
    """The rows of this run in every stored table that has some; of scores only the recordings that were asked for."""
    asked, named = recordings.names(context), context.recording
    found = {}
    for name in TABLES:
        path = context.tables / f"{name}.csv"
        if not path.exists():
            continue
        table = tables.read(path, name, context.profile.name)
        mine = table["run"] == run.id
        if "recording" in table:
            mine &= table["recording"].map(lambda r: r.split("-")[0] in asked)
            if named:
                mine &= table["recording"].map(lambda r: any(r == n or r.startswith(n + "-") for n in named))
        if mine.any():
            found[name] = table[mine].reset_index(drop=True)
    if not found:
        raise BlendnetError(
            f"the tables in {context.tables} hold no row of {run.id}; "
            f"run blendnet all --profile {context.profile.name} --only {run.id}"
        )
    return found


def _forecast(record: dict[str, Any]) -> str:
    about = record.get("surroundings", {})
    if "seconds" not in record:
        return "no training to repeat; the times of the other steps are not recorded"
    on = f"{about.get('hardware', 'unknown hardware')}, {about.get('threads', '?')} threads"
    return (
        f"training took {duration(record['seconds'])} when it was stored ({on}); the other steps come to it, and their "
        "times are not recorded"
    )


@contextmanager
def _folder(keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="blendnet-reproduce-"))
    try:
        yield folder
    finally:
        if keep:
            say(f"  kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def alone(context: Context, run: Run) -> Profile:
    """The profile with this run and no other, everything else being the sheet's."""
    profile = context.profile
    planted = recordings.planted_design(context) if "planted" in recordings.names(context) else profile.planted
    if run in profile.control_runs():
        return replace(profile, networks=(), controls=(run.id,), planted=planted)
    return replace(
        profile, networks=(run.network,), attentions_of={run.network: (run.attention,)}, seeds=(run.seed,),
        trainings=() if run.training == "untrained" else (run.training,), controls=(), planted=planted,
    )  # fmt: skip


def _again(
    context: Context, run: Run, record: dict[str, Any], stored: dict[str, pd.DataFrame], results: Path
) -> Context:
    """Everything that is stored of the run, made once more below `results`; returns the context that made it."""

    def surroundings(of: Run, recipe: Recipe) -> Context:
        profile = replace(alone(context, of), recipe=recipe)
        return replace(context, profile=profile, results=results / profile.name, only=of.id, force=False,
                       whole_chain=False, tracker="none")  # fmt: skip

    made = surroundings(run, _recipe(context, record))
    if run in made.profile.trained_runs():
        train.train(made)
    scored = "scores" in stored
    if scored and "planted" in recordings.names(context):
        _source(context, run, made, surroundings)
    if "accuracy" in stored:
        predict.predict(made)
    if any(name in stored for name in INSIDE):
        dissect.dissect(made)
    if scored:
        extract.extract(made)
        score.score(made)
    return made


def _source(context: Context, run: Run, made: Context, surroundings) -> None:
    """Invented responses need the network that they are made from."""
    source = Run.from_id(recordings.planted_design(context).source)
    if source != run and source.training != "untrained":
        say(f"  {source.id} is trained, too: the planted recording is made from it")
        train.train(surroundings(source, made.profile.recipe))


def _recipe(context: Context, record: dict[str, Any]) -> Recipe:
    """The recorded recipe; the sheet's where there is no training to repeat."""
    if "recipe" not in record:
        return context.profile.recipe
    known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record["recipe"].items()}
    try:
        recipe = Recipe(**known)
    except TypeError as error:
        raise BlendnetError(
            f"the recorded recipe is not one of this version ({error}); check out its commit"
        ) from error
    sheet_check.check(replace(context.profile, recipe=recipe))
    differs = difference(recipe.asdict(), context.profile.recipe.asdict())
    if differs:
        say(f"  trained by the recorded recipe, from which the sheet's differs in {'; '.join(differs[:3])}")
    return recipe


def _compared(
    context: Context, made: Context, run: Run, stored: dict[str, pd.DataFrame], record: dict[str, Any]
) -> Iterator[Verdict]:
    if "weights_sha256" in record:
        before, after = (c.folder("checkpoints", run.id) for c in (context, made))
        yield weights(before, after, record["weights_sha256"])
    for name, old in stored.items():
        path = made.tables / f"{name}.csv"
        new = tables.read(path, name) if path.exists() else tables.empty(name)
        new = new[new["run"] == run.id].reset_index(drop=True)
        if name == "attention_maps" and run.seed != min(context.profile.seeds):
            new = new.iloc[:0]
        verdict = compare(name, old, new)
        yield replace(verdict, text=verdict.text + rests(old, new))
