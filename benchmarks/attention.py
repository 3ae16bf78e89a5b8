"""Time and memory of the attention-augmented convolution, in every way to compute it, and of CORnet-Z with it on a GPU.

    python -m benchmarks.attention [--quick] [--threads N] [--repeats N] [--out benchmarks/results/attention.md]

CPU: AAConv2d, 64 -> 128 channels, 3x3, 4 heads, batch 8, forward and backward, at 56, 28, 14 and 7 px. Times of all
ways are taken in turns in one process; memory in a process of its own each, in which nothing else was computed.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

# Read by the linear algebra libraries when they are loaded, so before torch.
_PARSER = argparse.ArgumentParser(description="attention: time and memory of every way to compute it")
_PARSER.add_argument("--quick", action="store_true", help="small maps, seconds: shows that it works, no claim")
_PARSER.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of PyTorch on the CPU")
_PARSER.add_argument("--repeats", type=int, default=7, help="runs of each way, in turns")
_PARSER.add_argument("--out", type=Path, default=None, help="also write the tables to this markdown file")
_PARSER.add_argument("--memory", nargs=2, metavar=("WAY", "PX"), help=argparse.SUPPRESS)
_ARGS = _PARSER.parse_args() if __name__ == "__main__" else _PARSER.parse_args([])
if __name__ == "__main__":
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[_name] = str(_ARGS.threads)

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from blendnet import models  # noqa: E402
from blendnet.attention import _paths  # noqa: E402
from blendnet.attention.aacn import DK, DV, AAConv2d  # noqa: E402
from blendnet.checkpoint import surroundings  # noqa: E402
from blendnet.files import write_text  # noqa: E402

CHANNELS, BATCH, HEADS, GPU_BATCH = (64, 128), 8, 4, 128


def layer_step(way: str | None, px: int) -> Callable[[], None]:
    """One forward and backward pass of one layer, of random input (BATCH, 64, px, px)."""
    generator = torch.Generator().manual_seed(0)
    layer = AAConv2d(*CHANNELS, 3, num_heads=HEADS, map_size=(px, px), generator=generator)
    layer.path = way
    x = torch.randn(BATCH, CHANNELS[0], px, px, generator=generator).requires_grad_()
    slope = torch.randn(BATCH, CHANNELS[1], px, px, generator=generator)

    def step() -> None:
        layer(x).backward(slope)

    return step


def memory(way: str, px: int) -> dict[str, float]:
    """Of this process, in MiB: `peak`, how much its resident memory grew at most during one step, and `kept`, the
    distinct storages that autograd kept for backward (parameters and input apart)."""
    layer_step(way, 4)()  # the libraries' own memory
    step = layer_step(way, px)
    kept: dict[int, int] = {}

    def note(t: Tensor) -> Tensor:
        if t.grad_fn is not None or not t.requires_grad:
            kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    before = _status("VmRSS")
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        step()
    return {"peak": (_status("VmHWM") - before) / 2**10, "kept": sum(kept.values()) / 2**20}


def _status(name: str) -> int:
    """KiB. Not getrusage's maximum, which a process inherits from the one that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def times(ways: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Seconds of `repeats` runs of each, in turns so that other work on the machine meets all alike; one more of each
    before is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, step in ways.items():
            start = time.perf_counter()
            step()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def layer_rows(px: int, repeats: int, threads: int) -> list[str]:
    """Table rows of one map size: every way, and last the one that the layer takes by itself."""
    print(f"{px} px: times", flush=True)
    chosen = _paths.path("cpu", px * px, DK // HEADS + 2 * px, DV // HEADS, torch.float32)
    found = times({way: layer_step(way, px) for way in _paths.WAYS}, repeats if px > 20 else 6 * repeats)
    rows: list[str] = []
    base: dict[str, float] = {}
    for way in _paths.WAYS:
        print(f"{px} px: memory of {way}", flush=True)
        command = [sys.executable, "-m", "benchmarks.attention", "--threads", str(threads), "--memory", way, str(px)]
        one = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        one |= {"least": min(found[way]), "median": median(found[way])}
        base = base or one  # the explicit form comes first
        # A small step fits into what the libraries' warming up has left free: no growth, and no ratio of it.
        grown = f"{one['peak']:.0f} | {one['peak'] / base['peak']:.2f}" if base["peak"] > 2 else "< 2 |"
        name = f"**{way}** (chosen)" if way == chosen else way
        rows.append(
            f"| {px} x {px} | {name} | {one['least'] * 1e3:.1f} | {one['median'] * 1e3:.1f} "
            f"| {one['least'] / base['least']:.2f} | {grown} "
            f"| {one['kept']:.1f} | {one['kept'] / base['kept']:.2f} |"
        )
    return rows


def network_step(attention: str, way: str | None, device: str) -> Callable[[], None]:
    """One training step of CORnet-Z on a resident random batch (GPU_BATCH, 3, 224, 224): bf16, channels_last."""
    model = models.build("cornet_z", attention=attention, heads=HEADS, image_size=224)
    model.to(device).to(memory_format=torch.channels_last)
    for layer in model.modules():
        if isinstance(layer, AAConv2d):
            layer.path = way
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    x = torch.randn(GPU_BATCH, 3, 224, 224, device=device).contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, 2, (GPU_BATCH, 8), device=device).float()

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=torch.bfloat16):
            out = model(x)
        torch.nn.functional.binary_cross_entropy_with_logits(out.float(), y).backward()
        optimiser.step()
        torch.cuda.synchronize()

    return step


def flex(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor, attend: Callable[..., Tensor]) -> Tensor:
    """The remaining candidate, for GPUs alone (on CPUs it has no backward): PyTorch's flex_attention, `attend`, with
    the relative terms added to each logit; shapes as in blendnet.attention._explicit.attend."""
    width, wide = columns.shape[-1], max(16, 1 << (max(q.shape[-2], v.shape[-2]) - 1).bit_length())

    def relative(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score + rows[b, h, i, j // width] + columns[b, h, i, j % width]

    padded = (torch.nn.functional.pad(t.transpose(-1, -2), (0, wide - t.shape[-2])) for t in (q, k, v))
    return attend(*padded, score_mod=relative, scale=1.0)[..., : v.shape[-2]].transpose(-1, -2)


def network_rows(repeats: int) -> list[str]:
    """Table rows of the GPU, or one that says that there is none."""
    if not torch.cuda.is_available():
        return ["| no GPU here | not measured | | | | |"]
    from torch.nn.attention.flex_attention import flex_attention

    _paths.WAYS["flex"] = partial(flex, attend=torch.compile(flex_attention))
    rows, plain = [], 0.0
    for attention, way in [("none", None), ("aacn", None), *(("aacn", way) for way in _paths.WAYS)]:
        name = "plain" if attention == "none" else f"aacn, {way or 'chosen'}"
        torch.cuda.empty_cache()
        try:
            step = network_step(attention, way, "cuda")
            for _ in range(3):
                step()
            torch.cuda.reset_peak_memory_stats()
            seconds = times({name: step}, 3 * repeats)[name]
        except torch.cuda.OutOfMemoryError:
            rows.append(f"| cornet_z {name} | out of memory | | | | |")
            continue
        plain = plain or min(seconds)
        peak = torch.cuda.max_memory_allocated() / 1e9
        rows.append(
            f"| cornet_z {name} | {min(seconds) * 1e3:.1f} | {median(seconds) * 1e3:.1f} | {min(seconds) / plain:.2f} "
            f"| {peak:.2f} | {GPU_BATCH / min(seconds):.0f} |"
        )
    return rows


def tables(*, quick: bool, repeats: int, threads: int) -> str:
    """All tables as markdown, with what they were measured on."""
    torch.set_num_threads(threads)
    body = [row for px in ((14, 7) if quick else (56, 28, 14, 7)) for row in layer_rows(px, repeats, threads)]
    here: dict[str, Any] = surroundings("cuda" if torch.cuda.is_available() else "cpu")
    load = os.getloadavg()[0]
    return "\n".join(
        [
            "# Attention-augmented convolution: time and memory" + (" (quick size: no claim)" if quick else ""),
            "",
            f"One layer on the CPU, {CHANNELS[0]} -> {CHANNELS[1]} channels, 3x3, {HEADS} heads, batch {BATCH}, "
            "float32, forward and backward; ratios are to the explicit form, which builds the N x N logits.",
            "",
            "| map | way | least ms | median ms | time ratio | peak memory, MiB | memory ratio "
            "| kept for backward, MiB | kept ratio |",
            "|---|---|---|---|---|---|---|---|---|",
            *body,
            "",
            f"CORnet-Z, training step at batch {GPU_BATCH}, 224 px, bf16 autocast, channels_last; the time ratio is to "
            "the plain twin.",
            "",
            "| network | least ms | median ms | time ratio | peak memory, GB | images/s |",
            "|---|---|---|---|---|---|",
            *network_rows(repeats),
            "",
            f"{repeats} runs of each way in turns ({6 * repeats} of maps below 20 px), least and median; memory is "
            f"the growth of a process of its own, once each. {threads} threads, load average {load:.1f} at the end, "
            f"Python {platform.python_version()}, torch {version('torch')}.",
            f"Measured on: {json.dumps(here, sort_keys=True)}. Made by `python -m benchmarks.attention`.",
            "",
        ]
    )


if __name__ == "__main__":
    if _ARGS.memory:
        print(json.dumps(memory(_ARGS.memory[0], int(_ARGS.memory[1]))))
    else:
        text = tables(quick=_ARGS.quick, repeats=_ARGS.repeats, threads=_ARGS.threads)
        print(text)
        if _ARGS.out:
            write_text(_ARGS.out, text)
