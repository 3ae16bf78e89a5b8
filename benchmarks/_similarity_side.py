"""One measurement of benchmarks.similarity, in a process of its own so that its peak memory is its own.

    python -m benchmarks._similarity_side SIDE METRIC N P Q SPLITS REPEATS LAYERS OUT

SIDE: ours, brain-score, cuda (ours on the GPU), single, together (LAYERS x 4 regions, one call for each or one for
all), one-region (LAYERS x 1 in one call). Writes OUT (.npz): seconds by the clock; cpu, the seconds of all threads
together; bytes, the most held during a call beyond what was held before it; r (n_splits, q).
"""

import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["BS_INSTALL_DEPENDENCIES"] = "no"

import numpy as np

from analysis.similarity import pls, ridge
from analysis.similarity._splits import shuffle_splits

REGIONS = ("V1", "V2", "V4", "IT")
SCORE: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, float]]] = {
    "pls": (pls.score, pls.score_many, {}),
    "ridge": (ridge.score, ridge.score_many, {"fixed_alpha": 1.0}),
    "ridge, penalty chosen": (ridge.score, ridge.score_many, {}),
}


def material(n: int, p: int, q: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """x (n, p) with eigenvalues 1/k and y (n, q), half of its variance driven by x."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * np.arange(1, p + 1) ** -0.5
    y = x @ rng.normal(size=(p, q))
    return x, y + y.std(axis=0) * rng.normal(size=y.shape)


def brain_score(name: str, x: np.ndarray, y: np.ndarray, n_splits: int) -> Callable[[], np.ndarray]:
    """A call of Brain-Score's own metric; import and packaging are done here, and not timed."""
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

    metric = theirs.CrossRegressedCorrelation(
        regression={"pls": theirs.pls_regression, "ridge": theirs.ridge_regression}[name](),
        correlation=theirs.pearsonr_correlation(),
        crossvalidation_kwargs=dict(splits=n_splits, stratification_coord=None),
    )
    source, target = assembly(x), assembly(y)
    return lambda: metric(source, target).attrs["raw"].transpose("split", "neuroid").values


def held(peak: bool = False) -> int:
    """Resident bytes of this process now, or the most since `forget`."""
    wanted = "VmHWM:" if peak else "VmRSS:"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(wanted))


def measured(call: Callable[[], Any], repeats: int) -> tuple[Any, float, float, int]:
    """The result, the median seconds of `repeats` calls, by the clock and of all threads, and the bytes that the first
    held beyond what was held before it.

    The first call is timed too only where there is no other.
    """
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = held()
    times, most, result = [], 0, None
    for number in range(1 + (repeats if repeats > 1 else 0)):
        start, start_cpu = time.perf_counter(), time.process_time()
        result = call()
        times.append((time.perf_counter() - start, time.process_time() - start_cpu))
        most = most if number else held(peak=True) - before
    seconds, cpu = np.median(times[1:] or times, axis=0)
    return result, float(seconds), float(cpu), most


def task(side: str, metric: str, n: int, p: int, q: int, n_splits: int, layers: int) -> Callable[[], Any]:
    """What is measured; its data are made, and moved, here."""
    x, y = material(n, p, q)
    score, score_many, options = SCORE[metric]
    splits = shuffle_splits(n, n_splits=n_splits)
    if side == "brain-score":
        return brain_score(metric, x, y, n_splits)
    if side == "cuda":
        import torch

        on_gpu = torch.from_numpy(x).cuda(), torch.from_numpy(y).cuda()
        return lambda: score(*on_gpu, splits, **options)
    if side == "ours":
        return lambda: score(x, y, splits, **options)
    # The layers hold the same numbers, which costs the same and spares memory.
    xs = {f"layer{i}": x for i in range(layers)}
    ys = {region: material(n, p, q, seed=i)[1] for i, region in enumerate(REGIONS)}
    if side == "one-region":
        ys = {REGIONS[0]: ys[REGIONS[0]]}
    if side in ("together", "one-region"):
        return lambda: score_many(xs, ys, splits, **options)["layer0"][REGIONS[0]]
    pairs = [(x, y) for y in ys.values() for x in xs.values()]
    return lambda: np.stack([score(x, y, splits, **options) for x, y in pairs])[0]


def main() -> None:
    side, metric, *numbers, out = sys.argv[1:]
    n, p, q, n_splits, repeats, layers = map(int, numbers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call = task(side, metric, n, p, q, n_splits, layers)
        r, seconds, cpu, most = measured(call, repeats)
    np.savez(out, r=r, seconds=seconds, cpu=cpu, bytes=most)


if __name__ == "__main__":
    main()
