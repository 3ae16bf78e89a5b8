"""The sheet's full profile in numbers: runs, GPU-hours, CPU-hours, GB and what they cost.

    python -m benchmarks.plan                  the plan, from the sheet and benchmarks/results/plan.md
    python -m benchmarks.plan --measure        measure that file anew (half an hour of one core), then the plan

Counts come from the sheet and the recordings' files, CPU seconds and bytes of weights from what was measured, seconds
of a GPU and prices are assumed; each line says which.
"""

import argparse
import json
import os
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from blendnet.errors import BlendnetError
from blendnet.files import write_text
from blendnet.run import Run

RESULTS = Path("results/photos")
MEASURED = Path("benchmarks/results/plan.md")
# Bytes of a stored score: those of its rows, one a layer and about six together beside them, and of its samples, by
# benchmarks/results/scaling.md ("MB written" by layers and by networks); of a row of predictions and of one of what
# `dissect` writes: estimates, nobody measured them.
ROW_BYTES, SAMPLE_BYTES, PREDICTION_BYTES = 500, 10, 300
# Alphas, readouts and lesions give about so many rows a layer; attention maps come to it in one seed of each kind.
INSIDE_ROWS, MAPS_BYTES = 30, 2e6


class Area(NamedTuple):
    """What a network is scored on: neuroids 0 where there are RDMs only, of so many subjects."""

    recording: str
    region: str
    stimuli: int
    neuroids: int
    subjects: int


class Seconds(NamedTuple):
    """CPU seconds of one metric at one size, see _scoring_side, and MB held at most."""

    layer: float
    once: float
    ceiling: float
    mb: float


class Assumed(NamedTuple):
    """What the plan takes for granted, since nobody measured it here: training images a second of one GPU, prices of a
    GPU-hour, a CPU-hour and a GB-month in any one currency, months that the results are kept, and single photographs in
    the test set."""

    throughput: float = 1000.0
    gpu_hour: float = 2.0
    cpu_hour: float = 0.05
    gb_month: float = 0.02
    months: float = 3.0
    test_photos: float = 2000.0


ASSUMED = Assumed()


def areas(full: Any, results: Path = RESULTS) -> list[Area]:
    """Every area that a profile is scored on: Brain-Score's from what their files expect, the others from the scores in
    `results`."""
    from analysis import tables

    found = []
    for name in full.recordings:
        source = getattr(import_module(f"blendnet.data.brain.{name}"), "SOURCE", None)
        if source is not None:
            found += [Area(f"{name}-{region}", region, n, q, 1) for region, (n, q) in source.counts.items()]
    scores = tables.read(results / "tables" / "scores.csv")
    for (recording, region), rows in scores.groupby(["recording", "region"]):
        if recording.split("-")[0] in full.recordings and (recording, region) not in {f[:2] for f in found}:
            most = rows[["n_stimuli", "n_neuroids", "n_subjects"]].max().fillna(0).astype(int)
            found.append(Area(str(recording), str(region), *most))
    return found


def metrics_of(full: Any, area: Area) -> tuple[str, ...]:
    """The profile's metrics that an area admits."""
    from pipelines import score

    about = SimpleNamespace(name=area.recording, rdm_only=not area.neuroids, stimuli=range(area.stimuli))
    return score.metrics_for(SimpleNamespace(profile=full), about)  # type: ignore[arg-type]


def rows(text: str, first: str) -> list[list[str]]:
    """The cells of the table of a markdown text whose first column is called `first`."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    starts = [i for i, cells in enumerate(lines) if cells[0] == first]
    if not starts:
        raise BlendnetError(f"{MEASURED} has no table of {first}; make it: python -m benchmarks.plan --measure")
    end = next((i for i in range(starts[0] + 2, len(lines)) if len(lines[i]) != len(lines[starts[0]])), len(lines))
    return lines[starts[0] + 2 : end]


def measured(text: str) -> dict[tuple[int, int, int, str], Seconds]:
    """{(stimuli, neuroids, subjects, metric): what one takes}."""
    return {(int(n), int(q), int(s), m): Seconds(*map(float, rest)) for n, q, s, m, *rest in rows(text, "stimuli")}


def weights(text: str) -> dict[tuple[str, str], float]:
    """{(network, attention): MB of its weights}."""
    return {(network, attention): float(mb) for network, attention, mb in rows(text, "network")}


def at(known: dict[tuple[int, int, int, str], Seconds], area: Area, metric: str) -> tuple[Seconds | None, int]:
    """What a metric takes on an area, and at how many stimuli that was measured: at its own size, else at the smallest
    with as many stimuli or more (too much rather than too little); None where there is none."""
    fits = [k for k in known if k[3] == metric and k[0] >= area.stimuli and bool(k[1]) == bool(area.neuroids)]
    if not fits:
        return None, 0
    best = min(fits, key=lambda k: (k[0], k[:3] != area[2:], abs(k[1] - area.neuroids), abs(k[2] - area.subjects)))
    return known[best], best[0]


@cache
def layers_of(network: str) -> int:
    """Readout layers of a network."""
    from blendnet import models

    return len(models.layers(network))


def scoring_hours(full: Any, found: list[Area], text: str) -> tuple[float, float, list[str], float]:
    """(CPU-hours of all scores, hours of the longest network, what was not measured, MB held at most). A ceiling is
    kept: one network computes it, the others wait for it or read it."""
    known = measured(text)
    per_layer = once = ceilings = most = 0.0
    missing = []
    for area in found:
        for metric in metrics_of(full, area):
            takes, _ = at(known, area, metric)
            if takes is None:
                missing.append(metric)
                continue
            per_layer += takes.layer
            once += takes.once
            ceilings += takes.ceiling
            most = max(most, takes.mb)
    counts = [layers_of(run.network) for run in full.scored_runs()] + [1]  # the pixels
    total = sum(n * per_layer + once for n in counts) + ceilings
    left = [f"{metric} of {missing.count(metric)} areas" for metric in dict.fromkeys(missing)]
    return total / 3600, (max(counts) * per_layer + once + ceilings) / 3600, left, most


def lines(results: Path = RESULTS, assumed: Assumed = ASSUMED, text: str | None = None) -> list[tuple[str, str, str]]:
    """(what, how much, from what) of the full profile. text: of MEASURED, read by default."""
    from pipelines import sheet

    full = sheet.FULL
    text = MEASURED.read_text() if text is None else text
    trained, scored, found = full.trained_runs(), full.scored_runs(), areas(full, results)
    metrics = [len(metrics_of(full, area)) for area in found]
    # Recordings of one file and as many stimuli share their images.
    stimuli = sum(n for _, n in {(a.recording.split("-")[0], a.stimuli) for a in found})
    layers = sum(layers_of(run.network) for run in scored)
    images = len(trained) * full.recipe.epochs * full.recipe.epoch_size
    blends = 28 * full.test_per_pair * len(full.alphas)
    tested = len(trained) + len(full.untrained_runs())
    passes = len(scored) * stimuli + tested * (blends + assumed.test_photos)
    hours = (images + passes / 3) / 3600 / assumed.throughput
    cpu, longest, missing, most = scoring_hours(full, found, text)
    known = weights(text)
    gb = {
        "checkpoints": sum(known[run.network, run.attention] for run in trained) / 1e3,
        "activations": layers * stimuli * full.width * 4 / 1e9,
        "predictions": tested * (blends + assumed.test_photos) * PREDICTION_BYTES / 1e9,
        "scores": sum(metrics) * (ROW_BYTES * (layers + 6 * len(scored)) + SAMPLE_BYTES * full.n_bootstrap
                                  * len(scored)) / 1e9,
        "inside": sum(layers_of(r.network) * INSIDE_ROWS * ROW_BYTES + MAPS_BYTES * _mapped(full, r)
                      for r in trained) / 1e9,
    }  # fmt: skip
    total = sum(gb.values())
    cost = (hours * assumed.gpu_hour, cpu * assumed.cpu_hour, total * assumed.months * assumed.gb_month)
    out = f"; left out, not measured: {', '.join(missing)}" if missing else ""
    return [
        ("runs", f"{len(trained)} trained, {len(full.untrained_runs())} untrained, {len(full.control_runs())} controls",
         "sheet"),
        ("areas", f"{len(found)}, {sum(metrics)} with their metrics", "sheet, recordings"),
        ("scores", f"{(len(scored) + 1) * sum(metrics)}", f"{len(scored)} runs and the pixels"),
        ("training images", f"{images:.3g}", f"{full.recipe.epochs} epochs of {full.recipe.epoch_size} a run"),
        ("GPU-hours", f"{hours:.0f}", f"{assumed.throughput:g} images a second on average (assumed); a third of it for "
         f"the {passes:.2g} images of extract and predict, no training"),
        ("CPU-hours", f"{cpu:.0f}", f"scores, one thread, measured{out}"),
        ("longest score job", f"{longest:.1f} h", f"a network on all recordings; {most:.0f} MB beside Python at most"),
        *((kind, f"{value:.2g} GB" if value < 10 else f"{value:.0f} GB", where) for (kind, value), where in zip(
            gb.items(), ("bytes of the weights of each kind", f"{layers} layers x {stimuli} stimuli x {full.width} x 4 "
            "bytes at most", f"{blends} blends and {assumed.test_photos:g} photographs (assumed) a network",
            "rows and samples", "rows and maps"))),
        ("storage", f"{total:.0f} GB", "together"),
        ("cost", f"{sum(cost):.0f}", f"{cost[0]:.0f} GPU (x {assumed.gpu_hour:g}) + {cost[1]:.0f} CPU (x "
         f"{assumed.cpu_hour:g}) + {cost[2]:.0f} storage ({assumed.months:g} months x {assumed.gb_month:g}); prices "
         "assumed"),
    ]  # fmt: skip


def _mapped(full: Any, run: Run) -> bool:
    """Does `dissect` store attention maps of a run?"""
    return run.attention != "none" and run.seed == min(full.seeds)


def table(results: Path = RESULTS, assumed: Assumed = ASSUMED, text: str | None = None) -> str:
    """The plan as markdown."""
    body = [f"| {' | '.join(cells)} |" for cells in lines(results, assumed, text)]
    return "\n".join(["| what | how much | from what |", "|---|---|---|", *body])


def written(points: list[dict[str, Any]], sizes: dict[tuple[str, str], float], about: str) -> str:
    """The text of MEASURED."""
    head = ["# What the plan of the full sheet rests on", "", "CPU seconds of one thread, one layer of 1000 columns, "
            "the full profile's splits and resamples: of every layer; once a network; of the ceiling, once a "
            "recording. MB held at most beside layer and recording.", "",
            "| stimuli | neuroids | subjects | metric | layer, s | once, s | ceiling, s | MB |",
            "|" + "---|" * 8]  # fmt: skip
    body = [f"| {p['stimuli']} | {p['neuroids']} | {p['subjects']} | {p['metric']} | {p['layer']:.3g} | "
            f"{p['once']:.3g} | {p['ceiling']:.3g} | {p['bytes'] / 1e6:.0f} |" for p in points]  # fmt: skip
    other = [f"| {network} | {attention} | {mb:.1f} |" for (network, attention), mb in sizes.items()]
    return "\n".join([*head, *body, "", "MB of the weights, 8 classes.", "", "| network | attention | MB |",
                      "|---|---|---|", *other, "", about, ""])  # fmt: skip


def megabytes(run: Run, size: int) -> float:
    """Of the weights of a run's network: what its checkpoint holds."""
    from blendnet import models

    model = models.build(run.network, attention=run.attention, heads=run.heads or 4, image_size=size)
    return sum(v.numel() * v.element_size() for v in model.state_dict().values()) / 1e6


def measure(results: Path) -> str:
    """Measure every size of the full profile, and the weights of every kind of network."""
    from benchmarks.similarity import processor
    from pipelines import sheet

    full = sheet.FULL
    sizes = [{"stimuli": a.stimuli, "neuroids": a.neuroids, "subjects": a.subjects, "metric": metric}
             for a in {a[2:]: a for a in areas(full, results)}.values() for metric in metrics_of(full, a)]  # fmt: skip
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    ran = subprocess.run([sys.executable, "-W", "ignore", "-m", "benchmarks._scoring_side"], input=json.dumps(sizes),
                         text=True, env={**os.environ, **dict.fromkeys(names, "1")}, stdout=subprocess.PIPE,
                         check=False)  # fmt: skip
    if ran.returncode:
        raise SystemExit(f"benchmarks._scoring_side ended with {ran.returncode}; its error stands above")
    kinds = {(run.network, run.attention): run for run in full.trained_runs()}
    found = {kind: megabytes(run, full.size_of(run)) for kind, run in kinds.items()}
    about = f"{processor()}, load {os.getloadavg()[1]:.1f} at the end. Made by `python -m benchmarks.plan --measure`."
    return written(json.loads(ran.stdout), found, about)


def main(given: list[str] | None = None) -> None:
    """Print the plan."""
    parser = argparse.ArgumentParser(description="the full sheet in GPU-hours, CPU-hours, GB and cost")
    parser.add_argument("--measure", action="store_true", help=f"measure {MEASURED} anew first")
    parser.add_argument("--results", type=Path, default=RESULTS, help="whose tables say how large the recordings are")
    for name, value in ASSUMED._asdict().items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=float, default=value, help="see Assumed (default: %(default)g)")
    arguments = parser.parse_args(given)
    if arguments.measure:
        write_text(MEASURED, measure(arguments.results))
    print(table(arguments.results, Assumed(*(getattr(arguments, name) for name in Assumed._fields))))


if __name__ == "__main__":
    main()
