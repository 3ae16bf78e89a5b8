"""JSON that the program itself wrote, and that somebody or a crash put into another shape."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bad_inputs import RUN, Bad, Room

C = "notes of the program"
AGAIN = "delete it"


def note(what: str, name: str, value: Any, words: list[str], *says: str) -> Bad:
    """A file of finished results, another value in its place, and a verb that reads it. value: of a function, what it
    makes of the right one."""

    def make(room: Room) -> list[str]:
        path = room.finished() / name
        changed = value(json.loads(path.read_text())) if isinstance(value, Callable) else value  # type: ignore[arg-type]
        room.put_json(path, changed)
        return room.command(*words)

    return Bad(C, what, make, (path_of(name), *says))


def path_of(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def deep(n: int) -> str:
    return '{"units":' * n + "1" + "}" * n


PIECE = f"scores/{RUN}/planted-V1-V1-rsa.json"
MORE: tuple[Bad, ...] = (
    note("jobs without their units", "jobs/train.json", {}, ["status"], "it has no 'units'", "squeue", AGAIN),
    note("jobs that are a list", "jobs/train.json", [], ["status"], "it is a list, no object", AGAIN),
    note("a job that is a number", "jobs/score.json", {"units": {RUN: 7}}, ["status"], f"units.{RUN} is 7", AGAIN),
    note("jobs nested 100 deep", "jobs/train.json", deep(100), ["status"], "not valid JSON", "deep"),
    note("jobs nested 100 000 deep", "jobs/train.json", deep(100_000), ["status"], "not valid JSON"),
    note("half a letter, which no terminal prints", "jobs/train.json", r'{"units": {"\ud800": {}}}', ["status"],
         "not valid JSON"),
    note("a training that took 'x' seconds", f"checkpoints/{RUN}/meta.json", lambda m: m | {"seconds": "x"}, ["status"],
         "seconds is 'x'", AGAIN),
    note("a recipe that is a number", f"checkpoints/{RUN}/meta.json", lambda m: m | {"recipe": 5}, ["train"],
         "recipe is 5, no object", "delete its folder"),
    note("hashes of tables that are a list", "tables/sha256.json", [], ["correlate"], "it is a list, no object", AGAIN),
    note("a hash that is a number", "tables/sha256.json", {"files": {"scores.csv": 1}}, ["correlate"],
         "files.scores.csv is 1, no text", AGAIN),
    note("predictions whose files are a list", f"predictions/{RUN}/key.json", lambda k: k | {"files": []},
         ["correlate"], "files is a list", AGAIN),
    note("predictions of no photographs", f"predictions/{RUN}/key.json",
         lambda k: k | {"key": {**k["key"], "photos": None}}, ["score"], "key.photos is None", AGAIN),
    note("activations of -1 stimuli", f"activations/{RUN}/planted/key.json", lambda k: k | {"n_stimuli": -1}, ["score"],
         "n_stimuli is -1", "blendnet extract"),
    note("activations of other stimuli than their key says", f"activations/{RUN}/planted/key.json",
         lambda k: k | {"stimulus_id": k["stimulus_id"][::-1]}, ["score"], "lists other stimuli", "blendnet extract"),
    note("resampled scores that are words", PIECE, lambda p: p | {"samples": ["high"]}, ["correlate"],
         "samples[0] is 'high', no number", AGAIN),
    note("a plan of ten epochs in letters", "plan.json",
         {"budget_s": 60, "epochs": "ten", "sheet_recipe": {}, "runs": {}}, ["train"], "is no plan", "'ten'", AGAIN),
    note("a plan of no epoch", "plan.json", {"budget_s": 60, "epochs": 0, "sheet_recipe": {}, "runs": {}}, ["train"],
         "is no plan", "no epoch"),
)  # fmt: skip


def told(what: str, value: Any, *says: str) -> Bad:
    """provenance.json alone says how a run was made, whose checkpoint is gone."""

    def make(room: Room) -> list[str]:
        results = room.finished()
        shutil.rmtree(results / "checkpoints")
        room.put_json(results / "tables" / "provenance.json", value)
        return room.command("reproduce", RUN)

    return Bad(C, f"provenance: {what}", make, ("provenance.json", *says))


MORE += (
    told("a list", [], "it is a list, no object", AGAIN),
    told("a run that is a word", {"trained": {RUN: "yes"}}, f"trained.{RUN} is 'yes', no object"),
    told("a recipe that is a number", {"trained": {RUN: {"recipe": 5}}}, f"trained.{RUN}.recipe is 5, no object"),
    told(
        "a learning rate that is a word",
        {"trained": {RUN: {"recipe": {"lr": "fast"}}}},
        "recipe.lr is 'fast', no number",
    ),
)


def drawn(what: str, value: Any, *says: str) -> Bad:
    """figures/drawn.json beside the committed tables."""

    def make(room: Room) -> list[str]:
        tables = Path(__file__).resolve().parent.parent / "results" / "photos" / "tables"
        shutil.copytree(tables, room.results / "photos" / "tables")
        room.put_json(room.results / "photos" / "figures" / "drawn.json", value)
        return room.command("draw", "--profile", "photos", "--check")

    return Bad(C, f"figures: {what}", make, ("drawn.json", *says))


MORE += (
    drawn("a list", [], "it is a list, no object", AGAIN),
    drawn("a hash that is null", {"files": {"V1.png": None}}, "files.V1.png is None, no text", AGAIN),
)
