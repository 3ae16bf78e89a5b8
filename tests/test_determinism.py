"""Same seed, same numbers: to the byte in another process, within stated tolerances with other threads, another Python.

Each side is a process of its own with another hash seed, so that an order of a set or a dict that leaked into a number
would show. What may differ, and by how much, stands in pipelines._anew.TOLERANCES and nowhere else.
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from blendnet.files import read_json
from blendnet.training.recipes import recipe
from pipelines import sheet
from pipelines._anew import TOLERANCES
from tests.shared import TINY

ROOT = Path(__file__).resolve().parent.parent
RUN = "cornet_z-aacn4-blended-s0"
SMALL = replace(
    TINY,
    attentions=("aacn",),
    recipe=recipe("modern", epochs=2, epoch_size=64, batch_size=32),
    n_per_class=14,
    val_per_pair=1,
    test_per_pair=2,
    width=80,
    planted=sheet.Planted(source=RUN, layers={"V4": "V4.output"}, n_stimuli=60, n_neuroids=12),
)
CODE = """
    import sys
    from pathlib import Path
    from pipelines import cli, dissect, sheet
    from tests.test_determinism import RUN, SMALL
    dissect.N_BLENDS = dissect.N_TRAIN = dissect.N_TEST = 56
    sheet.PROFILES["demo"] = SMALL
    where = Path(sys.argv[2])
    def make(verb):
        assert cli.main([verb, "--results", str(where), "--device", "cpu", "--only", RUN]) == 0
    if sys.argv[1] == "make":
        for verb in ("train", "predict", "dissect", "extract", "score"):
            make(verb)
        provenance = where / "demo" / "tables" / "provenance.json"
        provenance.rename(where / "after_score.json")
        make("predict")
        raise SystemExit(0)
    from pipelines.context import Context
    from pipelines.reproduce import reproduce
    context = Context(SMALL, where / "demo", Path("data"), device="cpu")
    for threads in sys.argv[3:]:
        import torch
        from threadpoolctl import threadpool_limits
        torch.set_num_threads(int(threads))
        with threadpool_limits(int(threads)):
            print(f"== {threads} threads: status {reproduce(context, RUN)}")
"""


def side(*arguments: str, hash_seed: int, python: str = sys.executable) -> str:
    """What one process printed that began with one thread."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    env = os.environ | dict.fromkeys(names, "1") | {
        "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(hash_seed), "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_WAIT_POLICY": "passive",  # threads that wait must not take the core that others need
    }  # fmt: skip
    done = subprocess.run([python, "-c", textwrap.dedent(CODE), *arguments], cwd=ROOT, env=env, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    """A results folder with one run's tables."""
    where = tmp_path_factory.mktemp("stored")
    side("make", str(where), hash_seed=1)
    return where


@pytest.fixture(scope="module")
def anew(stored) -> dict[str, str]:
    """{number of threads: what `reproduce` said}, both in one process, which spares the imports."""
    parts = side("reproduce", str(stored), "1", "2", hash_seed=2).split("== ")
    assert [p.partition("\n")[0] for p in parts[1:]] == ["1 threads: status 0", "2 threads: status 0"], parts
    return {"1": parts[0], "2": parts[1]}


def verdicts(out: str) -> dict[str, str]:
    """{kind: what is said of it}, all kinds being there."""
    found = dict(re.findall(r"^  (\w+) +((?:identical|within|DIFFERS|not to the bit).*)$", out, re.M))
    assert set(found) == set(TOLERANCES), out
    return found


def test_another_process_gives_the_same_bytes(anew):
    said = verdicts(anew["1"])
    assert {k: v for k, v in said.items() if not v.startswith("identical")} == {}
    # One region, two metrics, each with its chance row; nine layers.
    assert (said["scores"], said["layers"]) == ("identical: 4 rows", "identical: 18 rows")
    assert "10 of 10 kinds reproduced" in anew["1"]
    assert "threads" not in anew["1"].partition("anew against stored")[2]


def test_two_threads_stay_within_the_stated_tolerances(anew):
    said = verdicts(anew["2"])
    assert {k: v for k, v in said.items() if not v.startswith(("identical", "within tolerance"))} == {}
    assert "threads: 1 -> 2 (OMP_NUM_THREADS=1 gives the recorded)" in anew["2"]
    for kind in ("accuracy", "decoding"):  # losses may differ in their last digit, as they do on an Intel Xeon
        assert said[kind].startswith("identical"), said[kind]


def other_python() -> tuple[str, str]:
    """A Python of the other supported version with the packages, and why there is none ('' if there is one).

    BLENDNET_OTHER_PYTHON names one; else python3.12 (or 3.11) of the path is asked.
    """
    wanted = "3.12" if sys.version_info[:2] == (3, 11) else "3.11"
    python = os.environ.get("BLENDNET_OTHER_PYTHON") or shutil.which(f"python{wanted}")
    if not python:
        return "", f"no python{wanted} here; set BLENDNET_OTHER_PYTHON to one with the packages of requirements.lock"
    code = "import sys, torch, scipy, pandas, xarray, safetensors; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        return "", f"{python} lacks packages: {done.stderr.strip().splitlines()[-1]}"
    if done.stdout.strip() != wanted:
        return "", f"{python} is Python {done.stdout.strip()}, not {wanted}"
    return python, ""


def test_another_python_gives_the_same_numbers(stored):
    """Measured: to the byte, with the packages of requirements.lock."""
    python, why_not = other_python()
    if not python:
        pytest.skip(why_not)
    out = side("reproduce", str(stored), "1", hash_seed=4, python=python)
    assert "== 1 threads: status 0" in out
    assert {k: v for k, v in verdicts(out).items() if not v.startswith("identical")} == {}
    assert "surroundings differ: python: 3." in out


def test_provenance_is_the_same_whatever_step_came_last(stored):
    path = stored / "demo" / "tables" / "provenance.json"
    assert path.read_bytes() == (stored / "after_score.json").read_bytes()
    kept = read_json(path)
    assert set(kept) == {"lock_sha256", "photographs", "recordings", "surroundings", "trained"}
    meta = read_json(stored / "demo" / "checkpoints" / RUN / "meta.json")
    entry = kept["trained"][RUN]
    assert {n: entry[n] for n in ("weights_sha256", "recipe")} == {n: meta[n] for n in ("weights_sha256", "recipe")}
    assert entry["threads"] == kept["surroundings"]["threads"] == 1
    assert kept["photographs"] == {meta["key"]["photos_sha256"]: [RUN]}
    for name in ("python", "torch", "numpy", "hardware", "cores", "git_commit", "code", "system", "packages"):
        assert kept["surroundings"][name], name
