"""The points of benchmarks.scaling: the real steps on planted data, each point in a process of its own.

    python -m benchmarks._scaling_side LIMIT_S < series.json > measured.json

series.json: list of {step, base: {networks, layers, stimuli, neuroids}, grows, factors}. The parent imports everything
once and forks for every point, so that a point's peak memory is its own and no point pays for imports. What is planted
(activations, pieces, predictions, tables) is made before the clock starts; nothing is trained. A point that is expected
to take more than LIMIT_S of CPU, by those before it, is left out, and so are those after it.
"""

import ctypes
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from analysis import figures, tables
from analysis.stats import accuracy, correlation
from analysis.stats import twins as paired
from benchmarks._similarity_side import held
from blendnet import activations, integrity, models
from blendnet.data.brain import planted
from blendnet.data.brain.recording import Recording, Stimuli
from blendnet.files import read_json, sha256_of, write_json, write_text
from pipelines import (
    correlate,
    dissect,
    draw,
    extract,
    networks,
    photographs,
    predict,
    recordings,
    report,
    score,
    sheet,
)
from pipelines.context import Context
from tests import made_tables

WIDTH = 100
SIDE = 32
BOOTSTRAP = 50
# The recording is invented; it bears the name of a file in blendnet/data/brain because scores name their source file.
NAME = "henaff2021"
# Those that differ in how they work; of the reverse ones the costliest.
METRICS = ("pls", "ridge", "rsa", "cka", "procrustes", "one_to_one", "soft_matching", "pls_reverse")
FIGURES = ("accuracy_twins", "similarity_accuracy", "similarity_by_area", "layer_maps")


def design(n_networks: int, metric: str) -> sheet.Profile:
    """Plain networks that differ in their seed, one recording, one metric."""
    return replace(
        sheet.DEMO, networks=("cornet_z",), attentions=("none",), seeds=tuple(range(n_networks)), recordings=(NAME,),
        metrics=(metric,), width=WIDTH, n_splits=5, n_bootstrap=BOOTSTRAP, planted=None,
    )  # fmt: skip


def shown(n_stimuli: int) -> Stimuli:
    """So many invented colour images, each drawn when it is asked for, as from a disk."""

    def read(i: int) -> np.ndarray:
        return np.random.default_rng(i).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)

    return Stimuli("invented", tuple(f"s{i:06d}" for i in range(n_stimuli)), read, np.arange(n_stimuli), None,
                   f"{n_stimuli:064d}")  # fmt: skip


def brain(n_stimuli: int, n_neuroids: int) -> Recording:
    """Invented responses of so many neuroids, 4 repetitions."""
    made = planted.unrelated(shown(n_stimuli), region="V1", n_neuroids=n_neuroids, n_repetitions=4, seed=0)
    return replace(made, name=NAME, planted=False)


def network(n_layers: int) -> nn.Module:
    """As many small layers of 4 x 32 x 32 units, all of which are read out."""
    torch.manual_seed(0)
    parts = [nn.Sequential(nn.Conv2d(3 if i == 0 else 4, 4, 3, padding=1), nn.ReLU()) for i in range(n_layers)]
    return nn.Sequential(*parts)


def extraction(folder: Path, p: dict[str, int]) -> Callable[[], Any]:
    """blendnet.activations.extract of every network, with the chain's own reader: stimuli are placed and made grey for
    the first network, kept in a file, and read back for the others."""
    names = [str(i) for i in range(p["layers"])]
    model = network(p["layers"])
    profile = replace(design(p["networks"], "rsa"), image_size=SIDE, colour="grey")
    context = Context(profile, folder, folder / "data", progress=False)
    stimuli = shown(p["stimuli"])

    def run() -> None:
        for i, one in enumerate(profile.trained_runs()):
            activations.extract(folder / f"n{i}", model, names, recordings.show(context, one, stimuli), stimuli.ids,
                                key={"network": i}, width=WIDTH, seed=0, progress=False,
                                say=lambda _: None)  # fmt: skip

    return run


def scoring(folder: Path, p: dict[str, int], metric: str) -> Callable[[], Any]:
    """score.score_run of every network: reads its activations, scores, writes its piece."""
    context = Context(design(p["networks"], metric), folder, folder / "data", progress=False)
    recording = brain(p["stimuli"], p["neuroids"])
    names = tuple(f"layer{i}" for i in range(p["layers"]))
    # The layers and weights of an invented network; everything else is the chain's own.
    models.layers = lambda _network: names  # type: ignore[assignment]
    networks.weights = lambda _context, _run: "0" * 64  # type: ignore[assignment]
    extract.key_of = lambda *_: _key(recording.stimuli.ids, names)
    runs = context.profile.trained_runs()
    for run in runs:
        _plant_activations(extract.folder(context, run, recording.stimuli), recording.stimuli.ids, names, run.seed)

    def all_runs() -> None:
        for run in runs:
            score.score_run(context, run, recording)

    return all_runs


def _key(ids: tuple[str, ...], names: tuple[str, ...]) -> dict[str, Any]:
    return {"planted": True, "layers": list(names), "stimulus_ids": sha256_of(list(ids))}


def _plant_activations(folder: Path, ids: tuple[str, ...], names: tuple[str, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, WIDTH + 1, dtype=np.float32) ** -0.5  # variances 1/k
    folder.mkdir(parents=True)
    for name in names:
        values = rng.standard_normal((len(ids), WIDTH), dtype=np.float32) * spectrum
        np.save(folder / f"{name}.npy", values)
    integrity.seal(folder)
    about = {"key": _key(ids, names), "sha256": f"{seed:064d}", "n_stimuli": len(ids), "stimulus_id": list(ids)}
    write_json(folder / activations.KEY, about)


def gathering(folder: Path, p: dict[str, int]) -> Callable[[], Any]:
    """score.gather: the tables from one piece a network."""
    one = folder / "one"
    scoring(one, p | {"networks": 1}, "rsa")()
    context = Context(design(p["networks"], "rsa"), folder / "many", folder / "data", progress=False)
    first = next((one / "scores").rglob("*.json"))
    piece = read_json(first)
    for run in context.profile.trained_runs():
        rows = {kind: [r | {"run": run.id, "seed": run.seed} for r in piece[kind]] for kind in ("scores", "layers")}
        write_json(context.folder("scores", run.id, first.name), piece | rows)
    recordings.load_one = lambda *_: []  # type: ignore[assignment]
    return lambda: score.gather(context)


def photographed(folder: Path, n_networks: int) -> Context:
    """Photographs of the demo, few and small, and so many networks of one kind whose weights are those they begin
    with: what `predict` and `dissect` read, all but the checkpoints."""
    profile = replace(design(n_networks, "rsa"), image_size=32, n_per_class=16, val_per_pair=1, test_per_pair=1,
                      alphas=(0.5,))  # fmt: skip
    context = Context(profile, folder, folder / "data", device="cpu", progress=False)
    networks.ready = networks.fresh
    for split in ("val", "test"):
        photographs.manifest(context, photographs.load(context), split)
    return context


def predicting(folder: Path, p: dict[str, int]) -> Callable[[], Any]:
    """predict: the outputs of every network for all test images, then the tables."""
    context = photographed(folder, p["networks"])
    return lambda: predict.predict(context)


def dissecting(folder: Path, p: dict[str, int]) -> Callable[[], Any]:
    """dissect: every layer of every network on 28 blends to take apart, 28 to test; then the tables."""
    context = photographed(folder, p["networks"])
    dissect.N_BLENDS = dissect.N_TRAIN = dissect.N_TEST = 28
    dissect.WIDTH = WIDTH
    return lambda: dissect.dissect(context)


def reporting(folder: Path, p: dict[str, int]) -> Callable[[], Any]:
    """report: the page from the tables of all networks and the one figure that was drawn before."""
    twins(folder, p["networks"])
    correlate.correlate(sheet.PHOTOS, folder)
    figures.names = lambda: ["accuracy_twins"]  # type: ignore[assignment]
    draw.draw(sheet.PHOTOS, folder)
    return lambda: report.report(sheet.PHOTOS, folder)


def twins(folder: Path, n: int) -> dict[str, pd.DataFrame]:
    """Tables, predictions and pieces with samples of n networks (a multiple of 4): trained twins of ResNet18 and
    CORnet-Z, all seeds."""
    chosen = [run for run in made_tables.runs(seeds=tuple(range(n // 4))) if run.training != "untrained"]
    made = {"scores": made_tables.scores_table(chosen), "layers": made_tables.layers_table(chosen)}
    parts = []
    for i, run in enumerate(chosen):
        frames = {"blended": made_tables.predictions(made_tables._skill(run), seed=i, per_pair=1, alphas=(0.3, 0.5)),
                  "regular": made_tables.regular(made_tables._skill(run), seed=i, per_class=6)}  # fmt: skip
        for test, frame in frames.items():
            write_text(folder / "predictions" / run.id / f"{test}.csv", frame.to_csv(index=False))
        parts.append(accuracy.aggregate(frames.values(), run, parameters=1, flops=1))
    made["accuracy"] = tables.check(pd.concat(parts), "accuracy")
    for name, table in made.items():
        tables.write(table, folder / "tables" / f"{name}.csv")
    rng = np.random.default_rng(0)
    rows = tables.read(folder / "tables" / "scores.csv")
    for row in rows[rows["kind"].isin(("network", "untrained"))].to_dict("records"):
        name = f"{row['recording']}-{row['region']}-{row['metric']}.json"
        kept = {k: row[k] for k in ("run", "kind", "recording", "region", "metric", "activations_key",
                                    "recording_sha256", "code_version", "score")}  # fmt: skip
        samples = (row["score"] + 0.02 * rng.standard_normal(BOOTSTRAP)).tolist()
        piece = {"key": {"recording_name": row["recording"]}, "scores": [kept], "layers": [], "samples": samples}
        write_json(folder / "scores" / row["run"] / name, piece)
    return made


def correlating(folder: Path, p: dict[str, int]) -> Callable[[], Any]:
    """correlate: correlation, twins, effects, relation and mixed from tables, predictions and samples."""
    twins(folder, p["networks"])
    return lambda: correlate.correlate(sheet.PHOTOS, folder)


def drawing(folder: Path, p: dict[str, int]) -> Callable[[], Any]:
    """The figures that show every network, in all formats."""
    made = twins(folder, p["networks"])
    made["correlation"] = correlation.compute(made["scores"], made["accuracy"], n_permutations=200)
    made["twins"] = paired.compute(made["scores"], made["accuracy"])
    return lambda: figures.draw_all(made, folder / "figures", "demo", list(FIGURES))


STEPS: dict[str, Callable[[Path, dict[str, int]], Callable[[], Any]]] = {
    "extract": extraction,
    **{f"score {metric}": partial(scoring, metric=metric) for metric in METRICS},
    "gather": gathering,
    "predict": predicting,
    "dissect": dissecting,
    "correlate": correlating,
    "draw": drawing,
    "report": reporting,
}


# What steps put in the place of the chain's own, for as long as they are measured.
REPLACED = (
    (models, "layers"), (networks, "weights"), (networks, "ready"), (extract, "key_of"), (recordings, "load_one"),
    (dissect, "N_BLENDS"), (dissect, "N_TRAIN"), (dissect, "N_TEST"), (dissect, "WIDTH"), (figures, "names"),
)  # fmt: skip


def measure(point: dict[str, Any], folder: Path) -> dict[str, float]:
    """One point: seconds, CPU seconds, bytes held at most beyond the start, bytes on disk that were written."""
    own = [(module, name, getattr(module, name)) for module, name in REPLACED]
    try:
        return _measure(point, folder)
    finally:
        for module, name, value in own:
            setattr(module, name, value)


def _measure(point: dict[str, Any], folder: Path) -> dict[str, float]:
    call = STEPS[point["step"]](folder, {k: v for k, v in point.items() if k != "step"})
    before_disk = size(folder)
    # What was freed before, here and in the parent, is given back: else the step would be held in it and seem to need
    # nothing.
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = held()
    start, cpu = time.perf_counter(), time.process_time()
    call()
    found = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    return found | {"bytes": held(peak=True) - before, "disk": size(folder) - before_disk}


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def forked(point: dict[str, Any]) -> dict[str, float]:
    """`measure` in a child process; a child that fails ends the benchmark with its error."""
    with tempfile.TemporaryDirectory() as folder:
        return apart(lambda: measure(point, Path(folder) / "results"), Path(folder) / "answer.json")


def apart(call: Callable[[], dict[str, float]], answer: Path) -> dict[str, float]:
    """What a call gives, in a child process that writes it to `answer`."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            write_json(answer, call())
            status = 0
        finally:
            sys.stderr.flush()
            if status:
                sys.excepthook(*sys.exc_info())
            os._exit(status)
    if os.waitpid(child, 0)[1]:
        raise SystemExit("a measurement failed; its error stands above")
    return read_json(answer)


def grown(series: dict[str, Any], limit_s: float) -> list[dict[str, Any]]:
    """The points of one series, as long as they are expected to take no more than limit_s of CPU."""
    found: list[dict[str, Any]] = []
    for factor in series["factors"]:
        if len(found) > 1:
            (f0, c0), (f1, c1) = ((m["factor"], m["cpu"]) for m in found[-2:])
            slope = max(0.5, np.log(c1 / c0) / np.log(f1 / f0))
            if c1 * (factor / f1) ** slope > limit_s:
                break
        point = {"step": series["step"]} | series["base"]
        point[series["grows"]] *= factor
        found.append({"grows": series["grows"], "factor": factor} | point | forked(point))
        print(found[-1], file=sys.stderr, flush=True)
    if len(found) > 1 and np.log(found[-1]["cpu"] / found[-2]["cpu"]) > 1.1 * np.log(
        found[-1]["factor"] / found[-2]["factor"]
    ):
        # Before a step is called worse than linear its two points are measured once more: what else the machine does
        # adds to a time and never takes from it.
        for point in found[-2:]:
            again = forked({name: point[name] for name in ("step", *series["base"])})
            point |= {name: min(point[name], again[name]) for name in ("cpu", "seconds")}
    return found


def main() -> None:
    """Read series, write points."""
    torch.set_num_threads(1)
    wanted = json.load(sys.stdin)
    answer, out = [], os.dup(1)
    os.dup2(2, 1)  # what the steps say is not part of the answer
    with tempfile.TemporaryDirectory() as folder:  # what is slow the first time only
        for step in sorted({s["step"] for s in wanted} - {"draw", "report"}):
            measure({"step": step, "networks": 8, "layers": 2, "stimuli": 40, "neuroids": 5}, Path(folder) / step)
    for series in wanted:
        answer += grown(series, float(sys.argv[1]))
    with os.fdopen(out, "w") as handle:
        json.dump(answer, handle)


if __name__ == "__main__":
    main()
