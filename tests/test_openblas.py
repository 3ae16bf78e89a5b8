"""numpy's linear algebra on a processor that its OpenBLAS does not know."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blendnet._openblas import kernels

AVX512 = "fpu sse2 avx2 fma avx512f avx512cd avx512bw avx512dq avx512vl avx512_vnni"


def described(vendor="GenuineIntel", family=6, model=207, flags=AVX512):
    one = f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\nflags\t\t: {flags}\n"
    return f"{one}\n{one}"


def test_only_a_new_model_with_all_that_the_kernels_use_is_named():
    assert kernels(described()) == "SkylakeX"
    assert kernels(described(model=0x8F)) is None  # Sapphire Rapids: known to OpenBLAS
    assert kernels(described(flags="sse2 avx2 fma")) is None
    assert kernels(described(vendor="AuthenticAMD", family=25)) is None
    assert kernels("") is None
    assert kernels("Processor\t: AArch64\n") is None


def core(environment, first="import analysis.similarity.pls"):
    code = (
        f"{first}\nimport numpy\nfrom threadpoolctl import threadpool_info\n"
        "print([t['architecture'] for t in threadpool_info() if t['prefix'] == 'libopenblas'])"
    )
    kept = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    ran = subprocess.run(
        [sys.executable, "-c", code], env={**kept, **environment}, capture_output=True, text=True, check=True
    )
    return ran.stdout.strip()


def test_numpy_takes_kernels_that_this_processor_deserves():
    if core({}) == "[]":
        pytest.skip("numpy here does not bring OpenBLAS")
    if "avx2" not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip("the processor has no AVX2")
    for first in ("import blendnet.errors", "import analysis.similarity.pls", "import pipelines.cli"):
        assert core({}, first) not in ("['Prescott']", "['Core2']", "['Nehalem']", "['Sandybridge']"), first


def test_what_the_user_names_stays():
    if core({}) == "[]":
        pytest.skip("numpy here does not bring OpenBLAS")
    assert core({"OPENBLAS_CORETYPE": "Nehalem"}) == "['Nehalem']"
