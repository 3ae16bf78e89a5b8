"""How time, memory and disk grow with networks, layers, stimuli and neuroids: planted data through the real steps.

    python -m benchmarks.scaling [--quick] [--limit 400] [--out benchmarks/results/scaling.md]
    python -m benchmarks.scaling --plan        the sheet's full profile in numbers: benchmarks.plan, with its options

Each series grows one size 3, 10, 30 and 100 times from a small base. An exponent is the slope of log CPU seconds, log
bytes held or log bytes written on log size (1 = linear, 0 = flat) with its 95 % interval; those of the last step,
too, since what costs the same at every size hides growth in the small ones. A point that the points before it put over
--limit CPU seconds is left out and named. No training and no GPU is measured here.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from benchmarks import plan
from benchmarks.similarity import commit, processor
from blendnet.errors import BlendnetError
from blendnet.files import read_object, write_text

FACTORS = (1, 3, 10, 30, 100)
# Of one point: all points together take about a quarter of an hour on a machine that does nothing else.
LIMIT_S = 400.0
BASE = {"networks": 1, "layers": 4, "stimuli": 64, "neuroids": 10}
TWINS = BASE | {"networks": 4}
# Metrics that are the same for every network and layer, one after the other, and grow in their own ways with the rest.
OTHERS = ("cka", "procrustes", "one_to_one", "soft_matching", "pls_reverse")
SERIES = (
    *(("extract", BASE, size) for size in ("networks", "layers", "stimuli")),
    *(("score pls", BASE, size) for size in ("networks", "layers", "stimuli", "neuroids")),
    *(("score ridge", BASE, size) for size in ("networks", "layers", "stimuli", "neuroids")),
    *(("score rsa", BASE, size) for size in ("networks", "layers", "stimuli", "neuroids")),
    *((f"score {metric}", BASE, size) for metric in OTHERS for size in ("stimuli", "neuroids")),
    ("gather", BASE, "networks"),
    ("gather", BASE, "layers"),
    ("predict", BASE, "networks"),
    ("dissect", BASE, "networks"),
    ("correlate", TWINS, "networks"),
    ("draw", TWINS, "networks"),
    ("report", TWINS, "networks"),
)


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
    half = float(student.ppf(0.975, free)) * math.sqrt(float(rest @ rest) / free / float(x @ x))
    return slope, slope - half, slope + half


def fitted(sizes: list[float], values: list[float]) -> str:
    """Exponent, its interval, and that of the last step, as words of the table; '-' where nothing was measured."""
    slope, lo, hi = exponent(sizes, values)
    if not math.isfinite(slope):
        return "-"
    last = exponent(sizes[-2:], values[-2:])[0]
    slope, lo, hi, last = (round(value, 2) + 0.0 for value in (slope, lo, hi, last))  # no -0.00
    return f"{slope:.2f}{f' ({lo:.2f} to {hi:.2f})' if math.isfinite(lo) else ''}, {last:.2f}"


def rows(points: list[dict[str, Any]], factors: tuple[int, ...], limit_s: float) -> list[str]:
    """One line of the table a series."""
    out = []
    for step, base, grows in SERIES:
        mine = [p for p in points if (p["step"], p["grows"]) == (step, grows)]
        if not mine:
            continue
        sizes = [float(p[grows]) for p in mine]
        first, most = mine[0], mine[-1]
        dropped = [str(f * base[grows]) for f in factors if f > most["factor"]]
        cells = (
            step, grows, f"{first[grows]} to {most[grows]}", f"{first['cpu']:.2f} to {most['cpu']:.1f}",
            f"{first['seconds']:.2f} to {most['seconds']:.1f}", fitted(sizes, [p["cpu"] for p in mine]),
            " / ".join(f"{p['bytes'] / 1e6:.0f}" for p in mine), fitted(sizes, [p["bytes"] for p in mine]),
            f"{first['disk'] / 1e6:.2g} to {most['disk'] / 1e6:.2g}", fitted(sizes, [p["disk"] for p in mine]),
            f"{', '.join(dropped)}: over {limit_s:.0f} s" if dropped else "",
        )  # fmt: skip
        out.append(f"| {' | '.join(cells)} |")
    return out


def surroundings() -> str:
    """What is measured on, at this moment."""
    return (
        f"{processor()}, load {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores at the end. Python "
        f"{platform.python_version()}, numpy {version('numpy')}, torch {version('torch')}, {commit()}"
    )


def table(
    points: list[dict[str, Any]], factors: tuple[int, ...], quick: bool, limit_s: float = LIMIT_S, about: str = ""
) -> str:
    """The whole table as markdown, with what it was measured on (about: that of points that were kept)."""
    head = ("step", "what grows", "from, to", "CPU, s", "clock, s", "exponent of CPU (95 %), of the last step",
            "MB held at most beyond the start, by point", "exponent of memory (95 %), of the last step",
            "MB written", "exponent of disk (95 %), of the last step", "left out")  # fmt: skip
    return "\n".join(
        [
            "# How the steps grow" + (" (quick size: no claim)" if quick else ""),
            "",
            f"| {' | '.join(head)} |",
            "|" + "---|" * len(head),
            *rows(points, factors, limit_s),
            "",
            *notes(points),
            f"Base: {BASE['networks']} network ({TWINS['networks']} for correlate and draw), {BASE['layers']} layers, "
            f"{BASE['stimuli']} stimuli, {BASE['neuroids']} neuroids, 100 columns a layer, 5 splits, 50 resamples. "
            "Where a last step seemed steeper than 1.1, its two points were measured once more and the lesser time "
            f"counts. One thread, each point in a process of its own, planted data. {about or surroundings()}. Made by "
            "`python -m benchmarks.scaling`.",
            "",
        ]
    )  # fmt: skip


# Over these a last step is named below the table: exponents of seconds, and of bytes where they also grew by a megabyte
# or more in that step. The room above 1 and 0 is for the noise of single measurements.
WORSE, FLAT, FLAT_MB = 1.15, 0.15, 1.0
_HOOKS = "one forward pass serves all layers, each with a projected batch (64 stimuli x width x 4 bytes, 10 MB of 400)"
_PAIRS = "an RDM of n stimuli is n (n - 1) / 2 numbers, each ranked: that is the measure, not the program"
_TABLES = "the tables of all networks, and for one quantity the resamples of all twins, whose covariance is asked for"
_OPTIMAL = (
    "the correlation of every unit with every neuroid, and an optimal assignment (scipy's), which grows like that"
)
_LAYER = "one layer, in double precision, and the responses"
WHY = {
    **{(f"score {metric}", "stimuli"): _LAYER for metric in OTHERS},
    **{(f"score {metric}", "neuroids"): "the responses" for metric in OTHERS},
    ("extract", "layers"): _HOOKS,
    ("extract", "stimuli"): "the names of the stimuli, in the key",
    ("score pls", "stimuli"): _LAYER,
    ("score pls", "neuroids"): "responses, predictions and resamples of every neuroid",
    ("score ridge", "stimuli"): _LAYER,
    ("score ridge", "neuroids"): "responses, predictions and resamples of every neuroid",
    ("score rsa", "stimuli"): _PAIRS,
    ("score rsa", "layers"): "the rows of the tables",
    ("score rsa", "neuroids"): "the responses",
    ("score one_to_one", "neuroids"): f"{_OPTIMAL}; for every split and resample",
    ("score soft_matching", "neuroids"): f"{_OPTIMAL}; where the transport is one",
    ("gather", "networks"): "the rows of the tables",
    ("gather", "layers"): "the rows of the tables",
    ("correlate", "networks"): _TABLES,
    ("draw", "networks"): "the tables and one figure of all networks",
    ("predict", "networks"): "the tables of all networks, and which images each names, for their consistency",
    ("dissect", "networks"): "the rows of the tables",
    ("report", "networks"): "the page, with all tables in it, a few times over while it is put together",
}


def notes(points: list[dict[str, Any]]) -> list[str]:
    """What is worse than linear or not flat at the last step, by the points, each with its reason or 'not known'."""
    slow, fat = [], []
    for step, _, grows in SERIES:
        mine = [p for p in points if (p["step"], p["grows"]) == (step, grows)][-2:]
        sizes = [float(p[grows]) for p in mine]
        why = WHY.get((step, grows), "not known")
        time = exponent(sizes, [p["cpu"] for p in mine])[0]
        if time > WORSE:
            slow.append(f"- {step} by {grows}, {time:.2f}: {why}.")
        held = [p["bytes"] for p in mine]
        memory = exponent(sizes, held)[0]
        if memory > FLAT and held[-1] - held[0] > FLAT_MB * 1e6:
            fat.append(f"- {step} by {grows}, {memory:.2f} ({(held[-1] - held[0]) / 1e6:.0f} MB more): {why}.")
    out = []
    for head, found in (
        (f"Worse than linear in time (exponent of the last step over {WORSE:g}):", slow),
        (f"Memory that is not flat (exponent of the last step over {FLAT:g}, by {FLAT_MB:g} MB or more):", fat),
    ):
        out += [head, "", *found, ""] if found else [f"{head} none.", ""]
    return out


def main() -> None:
    """Measure and print the table; with --plan all else is the plan's."""
    if "--plan" in sys.argv:
        plan.main([word for word in sys.argv[1:] if word != "--plan"])
        return
    parser = argparse.ArgumentParser(description="how time, memory and disk grow with the sizes of a study")
    parser.add_argument("--quick", action="store_true", help="two sizes of few series: shows that it works, no claim")
    parser.add_argument("--plan", action="store_true", help="print the full sheet in numbers, and measure nothing")
    parser.add_argument("--points", type=Path, help="keep all points in this file; or, if it is there, read them")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="CPU seconds of one point (default: %(default)g)")
    parser.add_argument("--only", default="*", help="steps of this pattern alone, e.g. 'score *'")
    parser.add_argument("--out", type=Path, default=None, help="also write the table to this markdown file")
    arguments = parser.parse_args()
    factors = (1, 3) if arguments.quick else FACTORS
    few = (("extract", "layers"), ("score pls", "stimuli"))
    chosen = [s for s in SERIES if fnmatch(s[0], arguments.only) and (not arguments.quick or (s[0], s[2]) in few)]
    series = [{"step": s, "base": b, "grows": g, "factors": factors} for s, b, g in chosen]
    if arguments.points and arguments.points.exists():
        try:
            kept = read_object(arguments.points, {"points": [dict], "about": str}, "delete it, and all is measured")
        except BlendnetError as error:
            raise SystemExit(f"benchmarks.scaling: {error}") from error
        print(f"{arguments.points} is there: nothing is measured", file=sys.stderr)
    else:
        kept = {"points": measure(series, arguments.limit), "about": surroundings()}
        if arguments.points:
            write_text(arguments.points, json.dumps(kept))
    text = table(kept["points"], factors, arguments.quick, arguments.limit, kept["about"])
    print(text)
    if arguments.out:
        write_text(arguments.out, text)


if __name__ == "__main__":
    main()
