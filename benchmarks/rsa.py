"""Our RDMs and RSA bootstrap against rsatoolbox: same data, same process.

    python -m benchmarks.rsa [--quick] [--threads N] [--out benchmarks/results/rsa.md]

Full size: RDM of 1000 stimuli x 25088 features; bootstrap over 315 stimuli and 4 subjects of 10 models, with noise
ceilings and the 2-factor variance, ours with all 1000 resamples. rsatoolbox takes 5 to 22 minutes for 1000, so it is
timed on a few of them and the ratio is that of the times per resample; what ours spends before the first one counts.
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
_PARSER = argparse.ArgumentParser(description="our RDMs and RSA bootstrap against rsatoolbox's, in one table")
_PARSER.add_argument("--quick", action="store_true", help="a small size, seconds: shows that it works, no claim")
_PARSER.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of ours and of linear algebra")
_PARSER.add_argument("--out", type=Path, default=None, help="also write the table to this markdown file")
_ARGS = _PARSER.parse_args() if __name__ == "__main__" else _PARSER.parse_args([])
if __name__ == "__main__":
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[_name] = str(_ARGS.threads)

import numpy as np  # noqa: E402

from analysis.similarity import rsa, rsa_bootstrap  # noqa: E402
from benchmarks.similarity import commit, gpu_name, processor  # noqa: E402
from blendnet.files import write_text  # noqa: E402

NAMES = {"spearman": "spearman", "pearson": "corr"}


def seconds_of(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def rdms(n: int, n_stimuli: int, seed: int) -> np.ndarray:
    """n noisy RDMs of one geometry, (n, n_pairs)."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n_stimuli, 6))
    return np.stack([rsa.rdm(common + rng.normal(size=common.shape)) for _ in range(n)])


def rdm_row(n: int, p: int) -> str:
    """Correlation-distance RDM of one layer."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm

    x = np.random.default_rng(0).normal(size=(n, p))
    rsa.rdm(x)  # the first call pays for memory
    ours = min(seconds_of(lambda: rsa.rdm(x)) for _ in range(3))
    data = Dataset(x)
    slow = seconds_of(lambda: calc_rdm(data, method="correlation"))
    difference = np.abs(rsa.rdm(x) - calc_rdm(data, method="correlation").get_vectors()[0]).max()
    return f"| RDM | {n} x {p} | {slow:.2f} | {ours:.3f} | {slow / ours:.0f} | {difference:.0e} |"


def bootstrap_row(method: str, n_stimuli: int, n_models: int, n_subjects: int, n: int, few: int) -> str:
    """The crossed bootstrap; seconds are those of 1 resample."""
    from rsatoolbox.inference import eval_dual_bootstrap
    from rsatoolbox.model import ModelFixed
    from rsatoolbox.rdm import RDMs

    models, brain = rdms(n_models, n_stimuli, 1), rdms(n_subjects, n_stimuli, 2)
    ours = seconds_of(lambda: rsa_bootstrap.bootstrap(models, brain, method=method, n=n, threads=_ARGS.threads)) / n
    theirs = [ModelFixed(f"m{k}", m) for k, m in enumerate(models)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        slow = seconds_of(lambda: eval_dual_bootstrap(theirs, RDMs(brain), method=NAMES[method], N=few)) / few
    print(f"bootstrap {method}: ours {ours * n:.1f} s for {n}, rsatoolbox {slow * n:.0f} s (from {few})", flush=True)
    size = f"{n_stimuli} stimuli, {n_models} models, {n_subjects} subjects"
    return f"| bootstrap, {method}, 1 resample | {size} | {slow:.3f} | {ours:.5f} | {slow / ours:.0f} | see tests |"


def gpu_row(n_stimuli: int, n_models: int, n_subjects: int, n: int) -> str:
    """The crossed bootstrap on the GPU against ours on the CPU, equal draws; one line where there is no GPU."""
    gpu = gpu_name()
    if gpu is None:
        return "On a GPU: no GPU here, torch finds no CUDA device."
    models, brain = rdms(n_models, n_stimuli, 1), rdms(n_subjects, n_stimuli, 2)
    rsa_bootstrap.bootstrap(models, brain, n=2, device="cuda")  # the first call pays for the device's warm-up
    there = rsa_bootstrap.bootstrap(models, brain, n=n, device="cuda")
    seconds = seconds_of(lambda: rsa_bootstrap.bootstrap(models, brain, n=n, device="cuda")) / n
    difference = np.nanmax(np.abs(there.samples - rsa_bootstrap.bootstrap(models, brain, n=n).samples))
    return (
        f"On a GPU ({gpu}): {seconds:.6f} s a resample of Spearman, largest difference from the CPU {difference:.0e}."
    )


def table(*, quick: bool, threads: int) -> str:
    """The whole table as markdown, with what it was measured on."""
    warnings.simplefilter("ignore")
    load = os.getloadavg()[0]
    if quick:
        body = [rdm_row(100, 500)] + [bootstrap_row(m, 40, 3, 3, 100, 5) for m in NAMES]
    else:
        body = [rdm_row(1000, 25088)] + [bootstrap_row(m, 315, 10, 4, 1000, 12) for m in NAMES]
    return "\n".join(
        [
            "# RDMs and RSA bootstrap against rsatoolbox" + (" (quick size: no claim)" if quick else ""),
            "",
            "| what | size | rsatoolbox, s | ours, s | ratio | largest difference |",
            "|---|---|---|---|---|---|",
            *body,
            "",
            gpu_row(*((40, 3, 3, 100) if quick else (315, 10, 4, 1000))),
            "",
            f"One process, {processor()}, {threads} threads, load at the start {load:.1f}, {commit()}, Python "
            f"{platform.python_version()}, numpy {version('numpy')}, rsatoolbox {version('rsatoolbox')}. Bootstrap: "
            "`eval_dual_bootstrap` and ours, both with noise ceilings; seconds per resample, ours from 1000 of them "
            "with all preparations, rsatoolbox's from 12. Equal numbers on equal draws: "
            "tests/test_similarity_rsa_bootstrap.py. Made by `python -m benchmarks.rsa`.",
            "",
        ]
    )


if __name__ == "__main__":
    text = table(quick=_ARGS.quick, threads=_ARGS.threads)
    print(text)
    if _ARGS.out:
        write_text(_ARGS.out, text)
