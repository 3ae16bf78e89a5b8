"""What feeding costs: images a second of real training steps against the same steps on one batch that is there.

    python -m benchmarks.training [--quick] [--threads N] [--out benchmarks/results/training.md]

Real: photographs drawn, blended, cropped, flipped by blendnet.training.feed, then one step. Resident: the same step on
one batch made beforehand. Both take turns in short bursts, so that other work on the machine slows both alike.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

# Read by the linear algebra libraries when they are loaded, so before torch.
_PARSER = argparse.ArgumentParser(description="training with the real feed against one resident batch, in one table")
_PARSER.add_argument("--quick", action="store_true", help="few small steps: shows that it works, no claim")
_PARSER.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of the CPU rows")
_PARSER.add_argument("--repeats", type=int, default=9, help="bursts of each kind, of which the median ratio counts")
_PARSER.add_argument("--out", type=Path, default=None, help="also write the table to this markdown file")
_ARGS = _PARSER.parse_args() if __name__ == "__main__" else _PARSER.parse_args([])
if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = str(_ARGS.threads)
    # On a busy machine threads that wait by spinning slow each other, and by chance one kind more than the other.
    os.environ["OMP_WAIT_POLICY"] = "passive"

import numpy as np  # noqa: E402
import torch  # noqa: E402

from blendnet import models  # noqa: E402
from blendnet.checkpoint import surroundings  # noqa: E402
from blendnet.data.photoset import PhotoSet  # noqa: E402
from blendnet.files import write_text  # noqa: E402
from blendnet.run import Run  # noqa: E402
from blendnet.training import compilation, feed, loop, schedule  # noqa: E402
from blendnet.training.recipes import recipe  # noqa: E402

CLASSES = 8


@dataclass(frozen=True)
class Row:
    """One line of the table. size: px; steps: of one burst; jitter: with colour jitter of 0.2."""

    network: str
    attention: str
    size: int
    batch: int
    steps: int
    precision: str = "float32"
    jitter: bool = False
    resident: bool = True
    compile: bool = False


CPU = (
    Row("resnet18", "none", 64, 64, 2),
    Row("cornet_z", "none", 64, 64, 4),
    Row("cornet_z", "none", 64, 64, 4, jitter=True),
)
GPU = (
    Row("resnet18", "none", 224, 256, 40, "bfloat16"),
    Row("resnet50", "none", 224, 256, 20, "bfloat16"),
    Row("resnet50", "none", 224, 256, 20, "bfloat16", resident=False),
    Row("resnet50", "none", 224, 256, 20, "bfloat16", compile=True),
    Row("cornet_z", "none", 224, 256, 40, "bfloat16"),
    Row("cornet_z", "none", 224, 256, 40, "bfloat16", jitter=True),
    Row("cornet_z", "aacn", 224, 128, 20, "bfloat16"),
)
QUICK = (Row("cornet_z", "none", 32, 16, 2), Row("resnet18", "none", 32, 16, 1, jitter=True))


def photographs(n: int, size: int) -> PhotoSet:
    """n random photographs of 8 classes, all of the train split; uint8 (n, 3, size, size)."""
    images = torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(n) % CLASSES
    names = tuple(f"made/{i}" for i in range(n))
    return PhotoSet(images, labels, names, ("made",) * n, np.arange(n), np.full(n, "train"),
                    tuple("abcdefgh"), "made")  # fmt: skip


def measure(row: Row, device: torch.device, repeats: int) -> tuple[float, float, float, float]:
    """Images a second with the feed and with one resident batch (medians over bursts), the median of the ratios of
    neighbouring bursts, and the same ratio in processor time, which other work on the machine hardly changes."""
    run = Run(row.network, row.attention, 4 if row.attention != "none" else 0, "blended", 0)
    rec = recipe("modern", batch_size=row.batch, precision=row.precision, jitter=0.2 if row.jitter else 0.0,
                 compile=row.compile)  # fmt: skip
    model = models.build(row.network, attention=row.attention, heads=4, n_classes=CLASSES, seed=0, image_size=row.size)
    model = model.to(device).train()
    if device.type == "cuda":
        model = model.to(memory_format=torch.channels_last)
    optimizer = schedule.optimizer(model, replace(rec, lr=1e-4))
    trained = compilation.compiled(model, rec)
    batches = feed.Batches(photographs(2000, row.size), run, rec, frozenset(), "pixel", device, resident=row.resident)
    held = batches(0, row.batch)

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def burst(source: Callable[[], Iterator[feed.Batch]]) -> tuple[float, float]:
        wait()
        began, worked = time.perf_counter(), time.process_time()
        for batch in source():
            loop.train_step(trained, optimizer, batch, rec, device=device)
        wait()
        images = row.steps * row.batch
        return images / (time.perf_counter() - began), images / (time.process_time() - worked)

    at = iter(range(10**9))
    real = lambda: batches.steps((start := next(at) * row.steps), start + row.steps, row.batch)  # noqa: E731
    one = lambda: iter([held] * row.steps)  # noqa: E731
    burst(real), burst(one)
    pairs = []
    for k in range(repeats):
        # In turns, first one and then the other leading, so that neither profits from a warm or a quiet machine.
        first, second = (real, one) if k % 2 else (one, real)
        a, b = burst(first), burst(second)
        pairs.append((a, b) if k % 2 else (b, a))
    rates = np.array(pairs)
    with_feed, resident = np.median(rates[:, :, 0], axis=0)
    ratio, of_work = np.median(rates[:, 0] / rates[:, 1], axis=0)
    return float(with_feed), float(resident), float(ratio), float(of_work)


def line(row: Row, device: torch.device, repeats: int) -> str:
    """One measured row of the table."""
    with_feed, resident, ratio, of_work = measure(row, device, repeats)
    work = f"{of_work:.3f}" if device.type == "cpu" else ""
    extras = [row.precision, *(["jitter"] if row.jitter else []), *(["compiled"] if row.compile else []),
              *([] if row.resident else ["photographs on the host"])]  # fmt: skip
    name = f"{row.network}-{row.attention}"
    print(
        f"{device.type} {name} {', '.join(extras)}: {with_feed:.1f}/s, {resident:.1f}/s, {ratio:.3f} {work}", flush=True
    )
    return (
        f"| {device.type} | {name} | {row.size} | {row.batch} | {', '.join(extras)} | {with_feed:.1f} "
        f"| {resident:.1f} | {ratio:.3f} | {work} |"
    )


def table(*, quick: bool, repeats: int, threads: int) -> str:
    """The whole table as markdown, with what it was measured on."""
    torch.set_num_threads(threads)
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    body = [line(row, cpu, 3 if quick else repeats) for row in (QUICK if quick else CPU)]
    where = [surroundings(cpu)]
    if torch.cuda.is_available():
        body += [line(row, gpu, 3 if quick else repeats) for row in (QUICK if quick else GPU)]
        where.append(surroundings(gpu))
    else:
        body.append("| cuda | no GPU here | | | | | | | |")
    load = os.getloadavg()[0]
    return "\n".join(
        [
            "# Training with the feed against one resident batch" + (" (quick size: no claim)" if quick else ""),
            "",
            "| device | network | px | batch | options | images/s with feed | images/s resident | ratio "
            "| ratio of processor time |",
            "|---|---|---|---|---|---|---|---|---|",
            *body,
            "",
            "A training step is forward, backward and AdamW; with feed: two photographs an image, cropped, flipped, "
            "blended, of 2000 random ones in 8 classes. The two kinds take turns in bursts; medians of "
            f"{3 if quick else repeats} bursts each, the ratio being that of neighbouring bursts.",
            f"{'; '.join(str(w['hardware']) for w in where)}; threads: {threads} (passive waiting), load average "
            f"{load:.1f} at the end (other work on the machine slows both kinds); Python "
            f"{platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}, commit "
            f"{str(where[0]['git_commit'])[:12]}. Made by `python -m benchmarks.training`.",
            "",
        ]
    )


if __name__ == "__main__":
    text = table(quick=_ARGS.quick, repeats=_ARGS.repeats, threads=_ARGS.threads)
    print(text)
    if _ARGS.out:
        write_text(_ARGS.out, text)
