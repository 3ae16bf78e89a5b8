"""How time, memory and disk grow with networks, layers, stimuli and neuroids: planted data through the real steps.

    python -m benchmarks.scaling [--quick] [--out benchmarks/results/scaling.md]
    python -m benchmarks.scaling --plan        the sheet's full profile in numbers, from sheet and stored results

Each series grows one size 3, 10, 30 and 100 times from a small base. The exponent is the slope of log CPU seconds on
log size (1 = linear) with its 95 % interval; that of the last step, too, since what costs the same at every size hides
growth in the small ones. No training and no GPU is measured here.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.similarity import processor
from blendnet.files import read_json, write_text

FACTORS = (1, 3, 10, 30, 100)
LIMIT_S = 15.0
BASE = {"networks": 1, "layers": 4, "stimuli": 64, "neuroids": 10}
TWINS = BASE | {"networks": 4}
SERIES = (
    *(("extract", BASE, size) for size in ("networks", "layers", "stimuli")),
    *(("score pls", BASE, size) for size in ("networks", "layers", "stimuli", "neuroids")),
    *(("score ridge", BASE, size) for size in ("stimuli", "neuroids")),
    *(("score rsa", BASE, size) for size in ("networks", "layers", "stimuli", "neuroids")),
    ("gather", BASE, "networks"),
    ("correlate", TWINS, "networks"),
    ("draw", TWINS, "networks"),
)
# Two-sided 97.5 % points of Student's t for 1, 2 and 3 degrees of freedom.
_T = {1: 12.706, 2: 4.303, 3: 3.182}


def measure(series: list[dict[str, Any]], limit_s: float = LIMIT_S) -> list[dict[str, Any]]:
    """All points of all series, in one process tree with one thread."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, "1")}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks._scaling_side", str(limit_s)], input=json.dumps(series),
        text=True, env=environment, stdout=subprocess.PIPE, check=False,
    )  # fmt: skip
    if ran.returncode:
        raise SystemExit(f"benchmarks._scaling_side ended with {ran.returncode}; its error stands above")
    return json.loads(ran.stdout)


def exponent(sizes: list[float], values: list[float]) -> tuple[float, float, float]:
    """Slope of log value on log size by least squares, with its 95 % interval (Student's t); NaN for the interval of
    two points, and everywhere for values that are not positive."""
    if len(sizes) < 2 or min(values) <= 0:
        return (math.nan,) * 3
    x, y = np.log(sizes), np.log(values)
    x = x - x.mean()
    slope = float(x @ y / (x @ x))
    free = len(x) - 2
    if free == 0:
        return slope, math.nan, math.nan
    rest = y - y.mean() - slope * x
    half = _T[free] * math.sqrt(float(rest @ rest) / free / float(x @ x))
    return slope, slope - half, slope + half


def rows(points: list[dict[str, Any]], factors: tuple[int, ...]) -> list[str]:
    """One line of the table a series."""
    out = []
    for step, base, grows in SERIES:
        mine = [p for p in points if (p["step"], p["grows"]) == (step, grows)]
        if not mine:
            continue
        cpu = [p["cpu"] for p in mine]
        sizes = [float(p[grows]) for p in mine]
        slope, lo, hi = exponent(sizes, cpu)
        last = exponent(sizes[-2:], cpu[-2:])[0]
        disk = exponent(sizes, [p["disk"] for p in mine])[0]
        first, most = mine[0], mine[-1]
        dropped = [str(f * base[grows]) for f in factors if f > most["factor"]]
        interval = f" ({lo:.2f} to {hi:.2f})" if math.isfinite(lo) else ""
        cells = (
            step, grows, f"{first[grows]} to {most[grows]}", f"{first['cpu']:.2f} to {most['cpu']:.1f}",
            f"{first['seconds']:.2f} to {most['seconds']:.1f}", f"{slope:.2f}{interval}", f"{last:.2f}",
            " / ".join(f"{p['bytes'] / 1e6:.0f}" for p in mine),
            f"{first['disk'] / 1e6:.2g} to {most['disk'] / 1e6:.2g}", f"{disk:.2f}",
            f"{', '.join(dropped)}: over {LIMIT_S:.0f} s" if dropped else "",
        )  # fmt: skip
        out.append(f"| {' | '.join(cells)} |")
    return out


def table(points: list[dict[str, Any]], factors: tuple[int, ...], quick: bool) -> str:
    """The whole table as markdown, with what it was measured on."""
    head = ("step", "what grows", "from, to", "CPU, s", "clock, s", "exponent of CPU (95 %)", "of the last step",
            "MB held at most beyond the start, by point", "MB written", "exponent of disk", "left out")  # fmt: skip
    return "\n".join(
        [
            "# How the steps grow" + (" (quick size: no claim)" if quick else ""),
            "",
            f"| {' | '.join(head)} |",
            "|" + "---|" * len(head),
            *rows(points, factors),
            "",
            NOTES,
            "",
            f"Base: {BASE['networks']} network ({TWINS['networks']} for correlate and draw), {BASE['layers']} layers, "
            f"{BASE['stimuli']} stimuli, {BASE['neuroids']} neuroids, 100 columns a layer, 5 splits, 50 resamples; one "
            f"thread, each point in a process of its own, planted data. {processor()}, busy otherwise, too: the clock "
            f"says little. Python {platform.python_version()}, numpy {version('numpy')}, torch "
            f"{version('torch')}. Made by `python -m benchmarks.scaling`.",
            "",
        ]
    )  # fmt: skip


NOTES = """\
Linear in networks and in layers, with memory flat in networks for every step but `correlate`. What is not linear or not
flat, and why:

- RSA by stimuli, time and memory: the square. An RDM of n stimuli has n (n - 1) / 2 numbers and each is ranked; that is
  the measure, not the program.
- Ridge by stimuli, time and memory: about the square at the last step. Where the penalty is chosen, the code
  (`analysis/similarity/ridge.py`) holds the inverse of stimuli x stimuli, also with fewer columns than stimuli, and
  solves for each split's test stimuli, which must become the cube in the end. A form by columns would be linear in
  stimuli; it is not written, and whether it would be faster at the sheet's sizes (1000 columns, at most 3200 stimuli)
  is not measured.
- PLS by neuroids: 1.3 at the last step, over few points.
- Memory of `score` by layers x stimuli: all layers of a network on one set of stimuli are held at once, 4 bytes a
  number (beside the shared stimuli x stimuli above). Read one at a time they would not be: 640 stimuli, RSA, 40 and 160
  layers hold 39 and 70 MB as it is, 28 and 28 MB with layers that are read when they are asked for, in the same time.
- Memory of `extract` by layers: by the code, a sparse projection and a projected batch a layer (0.25 MB here), and
  pages of the mapped files, which the kernel takes back when it needs them; the last is all that grows with stimuli.
- Memory of `correlate` by networks: outcomes by image and score samples of all networks are held, about 0.1 MB each
  here (104 images, 5 scores with 50 resamples)."""


def areas(full: Any, results: Path) -> list[tuple[str, str, int, bool]]:
    """(recording, region, stimuli, RDMs only) of every area that the sheet's full profile is scored on: Brain-Score's
    from what their files expect, the others from the scores in `results`."""
    from importlib import import_module

    from analysis import tables

    found = []
    for name in full.recordings:
        source = getattr(import_module(f"blendnet.data.brain.{name}"), "SOURCE", None)
        if source is not None:
            found += [(f"{name}-{region}", region, n, False) for region, (n, _) in source.counts.items()]
    scores = tables.read(results / "tables" / "scores.csv")
    for (recording, region), rows in scores.groupby(["recording", "region"]):
        if recording.split("-")[0] in full.recordings and (recording, region) not in {f[:2] for f in found}:
            found.append((recording, region, int(rows["n_stimuli"].max()), bool(rows["n_neuroids"].isna().all())))
    return found


def plan(results: Path) -> str:
    """The full profile in numbers: runs, scores and bytes from sheet.FULL and what lies in `results`; GPU-hours and
    cost are formulas, since the throughput was never measured."""
    from types import SimpleNamespace

    from blendnet import models
    from pipelines import score, sheet

    full = sheet.FULL
    trained, scored = full.trained_runs(), full.scored_runs()
    found = areas(full, results)
    metrics = [
        len(score.metrics_for(SimpleNamespace(profile=full), SimpleNamespace(  # type: ignore[arg-type]
            name=name, rdm_only=rdm_only, stimuli=range(n))))
        for name, _, n, rdm_only in found
    ]  # fmt: skip
    # Recordings of one file and as many stimuli share their images.
    stimuli = sum(n for _, n in {(name.split("-")[0], n) for name, _, n, _ in found})
    layers = sum(len(models.layers(run.network)) for run in scored)
    images = len(trained) * full.recipe.epochs * full.recipe.epoch_size
    lines = [
        f"runs: {len(trained)} trained, {len(full.untrained_runs())} untrained, {len(full.control_runs())} controls",
        f"areas: {len(found)} (recording and region), {sum(metrics)} with their metrics",
        f"scores: {(len(scored) + 1) * sum(metrics)} ({len(scored)} runs and the pixels)",
        f"training: {images:.3g} images ({full.recipe.epochs} epochs of {full.recipe.epoch_size} in each run)",
        f"GPU-hours: {images / 3600:.3g} / (images a second on your GPU); not measured: no GPU was available",
        f"activations: {layers * stimuli * full.width * 4 / 1e9:.0f} GB at most "
        f"({layers} layers of all runs x {stimuli} stimuli x {full.width} columns x 4 bytes)",
    ]
    for kind in ("checkpoints", "predictions", "scores", "inside"):
        sizes = [sum(f.stat().st_size for f in d.rglob("*") if f.is_file()) for d in results.glob(f"{kind}/*")]
        n = len(trained) if kind in ("checkpoints", "inside") else len(scored)
        if sizes:
            each = f"{min(sizes) / 1e6:.2g} to {max(sizes) / 1e6:.2g} MB a run in {results}"
            lines.append(f"{kind}: {each}; {n} runs: {np.mean(sizes) * n / 1e9:.2g} GB at its mean")
        else:
            lines.append(f"{kind}: not measured, there are none in {results}")
    return "\n".join([*lines, "cost: GPU-hours x price of a GPU-hour + GB x months x price of a GB-month"])


def main() -> None:
    """Measure and print the table, or the plan."""
    parser = argparse.ArgumentParser(description="how time, memory and disk grow with the sizes of a study")
    parser.add_argument("--quick", action="store_true", help="two sizes of few series: shows that it works, no claim")
    parser.add_argument("--plan", action="store_true", help="print the full sheet in numbers, and measure nothing")
    parser.add_argument("--results", type=Path, default=Path("results/photos"), help="--plan: whose bytes a run")
    parser.add_argument("--points", type=Path, help="keep all points in this file; or, if it is there, read them")
    parser.add_argument("--out", type=Path, default=None, help="also write the table to this markdown file")
    arguments = parser.parse_args()
    if arguments.plan:
        print(plan(arguments.results))
        return
    factors = (1, 3) if arguments.quick else FACTORS
    chosen = [s for s in SERIES if not arguments.quick or (s[0], s[2]) in (("extract", "layers"), ("score pls", "stimuli"))]  # fmt: skip # noqa: E501
    series = [{"step": s, "base": b, "grows": g, "factors": factors} for s, b, g in chosen]
    if arguments.points and arguments.points.exists():
        points = read_json(arguments.points)
    else:
        points = measure(series)
        if arguments.points:
            write_text(arguments.points, json.dumps(points))
    text = table(points, factors, arguments.quick)
    print(text)
    if arguments.out:
        write_text(arguments.out, text)


if __name__ == "__main__":
    main()
