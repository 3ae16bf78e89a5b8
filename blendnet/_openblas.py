"""The linear algebra of numpy 1.26 does not know the newest Intel processors, and then works at a fifth of its speed.

The locked numpy brings OpenBLAS 0.3.23 (brainscore-vision needs numpy < 2), which chooses its kernels by the model
number of the processor and takes those of 2004 (Prescott) for a model it has never heard of. Measured on an Emerald
Rapids (family 6, model 207), product of two 1500 x 1500 matrices, one thread: 12 GFLOP/s, and 54 with the kernels of
its predecessors. OPENBLAS_CORETYPE names the kernels; it is read when numpy is loaded, so `choose` runs before that.
Programs that set the variable themselves keep what they set.
"""

import os
import sys
from pathlib import Path

VARIABLE = "OPENBLAS_CORETYPE"
# Intel models with AVX-512 that OpenBLAS 0.3.23 knows: Skylake-X to Cooper Lake, Cannon Lake, Ice Lake (server and
# client), Tiger Lake, Sapphire Rapids, Rocket Lake.
_KNOWN = {0x55, 0x66, 0x6A, 0x6C, 0x7D, 0x7E, 0x8C, 0x8D, 0x8F, 0xA7}
_NEEDED = {"avx2", "fma", "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}


def kernels(cpuinfo: str) -> str | None:
    """The kernels to name for the processor that Linux describes so (/proc/cpuinfo), None where OpenBLAS knows it."""
    first: dict[str, str] = {}
    for line in cpuinfo.split("\n\n", 1)[0].splitlines():
        key, _, value = line.partition(":")
        first[key.strip()] = value.strip()
    newer = first.get("vendor_id") == "GenuineIntel" and first.get("cpu family") == "6"
    model = first.get("model", "")
    if newer and model.isdigit() and int(model) not in _KNOWN and set(first.get("flags", "").split()) >= _NEEDED:
        return "SkylakeX"
    return None


def choose() -> None:
    """Set OPENBLAS_CORETYPE for this process and those it starts, where it is needed, not set, and not too late."""
    if VARIABLE in os.environ or "numpy" in sys.modules or not sys.platform.startswith("linux"):
        return
    try:
        found = kernels(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:  # not to be read here: OpenBLAS decides as it would without us
        return
    if found:
        os.environ[VARIABLE] = found
