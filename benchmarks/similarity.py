"""Our PLS and ridge against Brain-Score's own metrics: same data, same splits, each side in a process of its own.

    python -m benchmarks.similarity [--quick] [--threads N] [--out benchmarks/results/similarity.md]
    python -m benchmarks.similarity --only joint --features 1000

Full size: 2560 stimuli x 1000 features of variance 1/k x 168 neuroids, 10 splits (MajajHong2015 IT after Brain-Score's
PCA), and 8192 features, where Brain-Score takes seven minutes; then layers x regions in one call against single calls.
Some 15 minutes on 2 cores. RSA against rsatoolbox is in benchmarks.rsa.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks._similarity_side import REGIONS
from blendnet.files import write_text

PACKAGES = ("numpy", "scipy", "scikit-learn", "brainscore-vision", "torch")
# (stimuli, features, neuroids), splits; and layers, of which there are fewer where each takes seconds.
FULL = ([(2560, 1000, 168), (2560, 8192, 168)], 10)
QUICK = ([(320, 200, 20)], 3)
MANY = [((2560, 1000, 42), 20), ((2560, 1000, 168), 20), ((2560, 8192, 42), 2), ((2560, 8192, 168), 2)]
PARTS = ("brain-score", "joint", "gpu")
MANY_QUICK = [((320, 200, 20), 3)]


class Measured(NamedTuple):
    """Median seconds by the clock and of all threads, peak bytes beyond the data, r (n_splits, n_neuroids)."""

    seconds: float
    cpu: float
    held: int
    r: np.ndarray


def measure(
    side: str, metric: str, size: tuple[int, int, int], n_splits: int, *, repeats: int, threads: int, layers: int = 1
) -> Measured:
    """Run _similarity_side with so many threads of the linear algebra."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads)), "BS_INSTALL_DEPENDENCIES": "no"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "measured.npz"
        numbers = [str(v) for v in (*size, n_splits, repeats, layers)]
        command = [sys.executable, "-m", "benchmarks._similarity_side", side, metric, *numbers, str(out)]
        ran = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        if ran.returncode:
            raise SystemExit(f"{' '.join(command[2:])} ended with {ran.returncode}:\n{ran.stderr[-2000:]}")
        with np.load(out) as found:
            result = Measured(float(found["seconds"]), float(found["cpu"]), int(found["bytes"]), found["r"])
    what = f"{side} {metric} {size} x {layers}"
    print(f"{what}: {result.seconds:.2f} s, CPU {result.cpu:.2f} s, {megabytes(result)} MB", file=sys.stderr)
    return result


def rows_brain_score(sizes: list[tuple[int, int, int]], n_splits: int, *, repeats: int, threads: int) -> list[str]:
    """Each metric at each size, ours and theirs."""
    out = []
    for size in sizes:
        for metric in ("pls", "ridge"):
            ours = measure("ours", metric, size, n_splits, repeats=repeats, threads=threads)
            theirs = measure("brain-score", metric, size, n_splits, repeats=1, threads=threads)
            medians = [np.median(side.r, axis=1).mean() for side in (ours, theirs)]
            out.append(row(
                metric, text(size), f"{theirs.seconds:.2f}", f"{ours.seconds:.3f}", ratio(theirs.seconds, ours.seconds),
                f"{theirs.cpu:.2f}", f"{ours.cpu:.3f}", ratio(theirs.cpu, ours.cpu), megabytes(theirs), megabytes(ours),
                f"{np.abs(ours.r - theirs.r).max():.1e}", f"{abs(medians[0] - medians[1]):.1e}",
            ))  # fmt: skip
        chosen = measure("ours", "ridge, penalty chosen", size, n_splits, repeats=1, threads=threads)
        out.append(row(
            "ridge, penalty chosen", text(size), "not there", f"{chosen.seconds:.3f}", "", "", f"{chosen.cpu:.3f}", "",
            "", megabytes(chosen), "", "",
        ))  # fmt: skip
    return out


def rows_many(sizes: list[tuple[tuple[int, int, int], int]], n_splits: int, *, threads: int) -> list[str]:
    """Layers x 4 regions: one call for each pair against one for all."""
    out = []
    for size, layers in sizes:
        for metric in ("pls", "ridge"):
            single, together = (
                measure(side, metric, size, n_splits, repeats=1, threads=threads, layers=layers)
                for side in ("single", "together")
            )
            out.append(row(
                metric, f"{layers} x 4, each {text(size)}", f"{single.seconds:.2f}", f"{together.seconds:.2f}",
                f"{together.seconds / single.seconds:.2f}", f"{together.cpu / single.cpu:.2f}",
                f"{own_part(metric, size, n_splits):.2f}", megabytes(single), megabytes(together),
            ))  # fmt: skip
    return out


def own_part(metric: str, size: tuple[int, int, int], n_splits: int) -> float:
    """What of a single call is the region's own, which no other region can share: what each of three more regions
    adds to a call for one layer and one region, as a part of that call; CPU seconds on one thread."""
    one, four = (
        measure(side, metric, size, n_splits, repeats=5, threads=1, layers=1).cpu for side in ("one-region", "together")
    )
    return (four - one) / (len(REGIONS) - 1) / one


def rows_cuda(sizes: list[tuple[int, int, int]], n_splits: int, *, repeats: int, threads: int) -> list[str]:
    """The same on the GPU, data on it beforehand, against ours on the CPU; one line where there is none."""
    gpu = gpu_name()
    if gpu is None:
        return ["no GPU here: torch finds no CUDA device."]
    out = ["| metric | size | GPU, s | largest difference of r from the CPU |", "|---|---|---|---|"]
    for size in sizes:
        for metric in ("pls", "ridge", "ridge, penalty chosen"):
            there = measure("cuda", metric, size, n_splits, repeats=max(2, repeats), threads=threads)
            here = measure("ours", metric, size, n_splits, repeats=1, threads=threads)
            difference = np.abs(there.r - here.r).max()
            out.append(f"| {metric} | {text(size)} | {there.seconds:.3f} | {difference:.1e} |")
    return [*out, "", f"{gpu}."]


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def ratio(theirs: float, ours: float) -> str:
    return f"{theirs / ours:.0f}"


def text(size: tuple[int, int, int]) -> str:
    return " x ".join(map(str, size))


def megabytes(side: Measured) -> str:
    return f"{side.held / 2**20:.0f}"


def gpu_name() -> str | None:
    """The GPU's name, None without one or without torch."""
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def processor() -> str:
    """The processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def commit() -> str:
    """The commit that was measured, with a note where the working tree differs from it."""
    asked = [["git", "rev-parse", "--short", "HEAD"], ["git", "status", "--porcelain", "analysis/similarity"]]
    found = [subprocess.run(c, capture_output=True, text=True, check=False).stdout.strip() for c in asked]
    return f"commit {found[0] or 'unknown'}" + (" with changes in analysis/similarity" if found[1] else "")


def table(
    *, quick: bool, repeats: int, threads: int, only: tuple[str, ...] = PARTS, features: int | None = None
) -> str:
    """The tables as markdown, with what they were measured on; only those of PARTS and of so many features, if asked
    for."""
    sizes, n_splits = QUICK if quick else FULL
    sizes = [size for size in sizes if features in (None, size[1])]
    many = [pair for pair in (MANY_QUICK if quick else MANY) if features in (None, pair[0][1])]
    load = os.getloadavg()[0]
    lines = ["# PLS and ridge against Brain-Score" + (" (quick size: no claim)" if quick else ""), ""]
    if "brain-score" in only:
        lines += [
            "Size: stimuli x features x neuroids. CPU s: of all threads together, which other work on the machine "
            "changes less. Memory: MB held at most beyond what was held before the call.",
            "",
            "| metric | size | Brain-Score, s | ours, s | ratio | Brain-Score, CPU s | ours, CPU s | ratio "
            "| Brain-Score, MB | ours, MB | largest difference of r | of the aggregate |",
            "|---|---|---|---|---|---|---|---|---|---|---|---|",
            *rows_brain_score(sizes, n_splits, repeats=repeats, threads=threads),
            "",
        ]
    if "joint" in only:
        lines += [
            "## Layers and regions in one call",
            "",
            "| metric | layers x regions, size | single calls, s | one call, s | of it | of its CPU s | a region's own "
            "| single, MB | one call, MB |",
            "|---|---|---|---|---|---|---|---|---|",
            *rows_many(many, n_splits, threads=threads),
            "",
            "Regions share the Gram matrix of all stimuli and the rows that each split leaves out. A region's own part "
            "is not shared: the products of its responses with the features, and in PLS a power iteration of neuroids "
            "x neuroids for every component of every split. So the part of single calls that is left falls with "
            "features and rises with neuroids, and the faster a single call has become, the larger it is. `a region's "
            "own`: what each of three more regions adds to a call for one, as a part of that (one layer, one thread): "
            "were all else free, one call for any number of regions would still be this part of single calls on one "
            "thread. With more it may be somewhat less, since single calls use those less well.",
            "",
        ]
    if "gpu" in only:
        lines += ["## On a GPU", "", *rows_cuda(sizes, n_splits, repeats=repeats, threads=threads), ""]
    lines += [
        f"{n_splits} splits; ridge with Brain-Score's penalty of 1 where none is chosen. Median of {repeats} runs "
        "of ours after one that is not counted (a region's own: of 5), one run of Brain-Score's and of many calls; "
        f"each side in a process of its own. {processor()}, {threads} threads, load at the start {load:.1f}, Python "
        f"{platform.python_version()}, " + ", ".join(f"{p} {version(p)}" for p in PACKAGES) + f", {commit()}.",
        "Features: variances 1/k; half of the response variance is driven by them. Made by `python -m "
        "benchmarks.similarity`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="our PLS and ridge against Brain-Score's, in tables")
    parser.add_argument("--quick", action="store_true", help="a small size, a minute: shows that it works")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of the linear algebra")
    parser.add_argument("--repeats", type=int, default=3, help="runs of ours, of which the median counts")
    parser.add_argument("--out", type=Path, default=None, help="also write the tables to this markdown file")
    parser.add_argument("--only", choices=PARTS, help="one of the tables, to look at and not to keep")
    parser.add_argument("--features", type=int, default=None, help="only the sizes with so many, e.g. 8192")
    given = parser.parse_args()
    partial = given.only is not None or given.features is not None
    if given.out and partial:
        parser.error("--out takes whole tables: leave out --only and --features, or --out")
    parts = PARTS if given.only is None else (given.only,)
    found = table(quick=given.quick, repeats=given.repeats, threads=given.threads, only=parts, features=given.features)
    print(found)
    if given.out:
        write_text(given.out, found)
