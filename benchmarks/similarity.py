"""Our PLS and ridge against Brain-Score's own metrics: same data, same splits, same process.

    python -m benchmarks.similarity [--quick] [--wide] [--threads N] [--out benchmarks/results/similarity.md]

Full size: 2560 stimuli x 1000 features of variance 1/k x 168 neuroids, 10 splits (MajajHong2015 IT after Brain-Score's
PCA); Brain-Score takes minutes for it. --wide adds 8192 features, where Brain-Score takes seven minutes.
"""

import argparse
import os
import platform
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

# Read by the linear algebra libraries when they are loaded, so before numpy.
_PARSER = argparse.ArgumentParser(description="our PLS and ridge against Brain-Score's, in one table")
_PARSER.add_argument("--quick", action="store_true", help="a small size, seconds: shows that it works, no claim")
_PARSER.add_argument("--wide", action="store_true", help="8192 features as well")
_PARSER.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of the linear algebra")
_PARSER.add_argument("--repeats", type=int, default=3, help="runs of ours, of which the median counts")
_PARSER.add_argument("--out", type=Path, default=None, help="also write the table to this markdown file")
_ARGS = _PARSER.parse_args() if __name__ == "__main__" else _PARSER.parse_args([])
if __name__ == "__main__":
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[_name] = str(_ARGS.threads)
os.environ["BS_INSTALL_DEPENDENCIES"] = "no"

import numpy as np  # noqa: E402

from analysis.similarity import pls, ridge  # noqa: E402
from analysis.similarity._splits import Splits, shuffle_splits  # noqa: E402
from blendnet.files import write_text  # noqa: E402


def material(n: int, p: int, q: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """x (n, p) with eigenvalues 1/k and y (n, q), half of its variance driven by x."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * np.arange(1, p + 1) ** -0.5
    y = x @ rng.normal(size=(p, q))
    return x, y + y.std(axis=0) * rng.normal(size=y.shape)


def by_brain_score(name: str, x: np.ndarray, y: np.ndarray, n_splits: int) -> tuple[np.ndarray, float]:
    """Brain-Score's metric: r (n_splits, n_neuroids) and its seconds, without import and packaging."""
    from brainscore_core.supported_data_standards.brainio.assemblies import NeuroidAssembly
    from brainscore_vision.metrics.regression_correlation import metric as theirs

    def assembly(values: np.ndarray) -> "NeuroidAssembly":
        coords = {
            "stimulus_id": ("presentation", [f"image{i:06d}" for i in range(len(values))]),
            "object_name": ("presentation", ["object"] * len(values)),
            "neuroid_id": ("neuroid", np.arange(values.shape[1])),
            "region": ("neuroid", ["IT"] * values.shape[1]),
        }
        return NeuroidAssembly(values, coords=coords, dims=["presentation", "neuroid"])

    regression = {"pls": theirs.pls_regression, "ridge": theirs.ridge_regression}[name]()
    metric = theirs.CrossRegressedCorrelation(
        regression=regression,
        correlation=theirs.pearsonr_correlation(),
        crossvalidation_kwargs=dict(splits=n_splits, stratification_coord=None),
    )
    source, target = assembly(x), assembly(y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        score = metric(source, target)
        seconds = time.perf_counter() - start
    return score.attrs["raw"].transpose("split", "neuroid").values, seconds


def timed(call: Callable[[], np.ndarray], repeats: int) -> tuple[np.ndarray, float]:
    """The result and the median seconds of `repeats` calls, after one that is not counted."""
    result, seconds = call(), []
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    return result, float(np.median(seconds))


def rows(n: int, p: int, q: int, n_splits: int, repeats: int) -> list[str]:
    """Table rows of one size."""
    x, y = material(n, p, q)
    splits: Splits = shuffle_splits(n, n_splits=n_splits)
    out = []
    for name, ours in {
        "pls": lambda: pls.score(x, y, splits),
        "ridge": lambda: ridge.score(x, y, splits, fixed_alpha=1.0),
    }.items():
        mine, seconds = timed(ours, repeats)
        theirs, slow = by_brain_score(name, x, y, n_splits)
        print(f"{name} {n}x{p}x{q}: ours {seconds:.2f} s, Brain-Score {slow:.1f} s", flush=True)
        out.append(
            f"| {name} | {n} x {p} x {q}, {n_splits} splits | {slow:.2f} | {seconds:.3f} | {slow / seconds:.0f} "
            f"| {np.abs(mine - theirs).max():.1e} "
            f"| {abs(np.median(mine, axis=1).mean() - np.median(theirs, axis=1).mean()):.1e} |"
        )
    _, seconds = timed(lambda: ridge.score(x, y, splits), 1)
    size = f"{n} x {p} x {q}, {n_splits} splits"
    out.append(f"| ridge, penalty chosen | {size} | not in Brain-Score | {seconds:.3f} | | | |")
    return out


def processor() -> str:
    """The processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def table(*, quick: bool, wide: bool, repeats: int, threads: int) -> str:
    """The whole table as markdown, with what it was measured on."""
    sizes = [(320, 200, 20)] if quick else [(2560, 1000, 168)] + ([(2560, 8192, 168)] if wide else [])
    body = [row for size in sizes for row in rows(*size, n_splits=3 if quick else 10, repeats=repeats)]
    packages = ("numpy", "scipy", "scikit-learn", "brainscore-vision")
    return "\n".join(
        [
            "# PLS and ridge against Brain-Score" + (" (quick size: no claim)" if quick else ""),
            "",
            "| metric | stimuli x features x neuroids | Brain-Score, s | ours, s | ratio | largest difference of r "
            "| of the aggregate |",
            "|---|---|---|---|---|---|---|",
            *body,
            "",
            f"Median of {repeats} runs of ours, one of Brain-Score's, in one process. {processor()}, {threads} "
            f"threads, Python {platform.python_version()}, " + ", ".join(f"{p} {version(p)}" for p in packages) + ".",
            "Features: variances 1/k; half of the response variance is driven by them. Made by `python -m "
            "benchmarks.similarity`.",
            "",
        ]
    )


if __name__ == "__main__":
    text = table(quick=_ARGS.quick, wide=_ARGS.wide, repeats=_ARGS.repeats, threads=_ARGS.threads)
    print(text)
    if _ARGS.out:
        write_text(_ARGS.out, text)
