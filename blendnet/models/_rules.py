"""Two rules that find the readout layers and the sites of any network, from one pass in which nothing but shapes is
computed (PyTorch's meta device).

Readout layers. A step is a module that runs once in a pass and gives one tensor of the batch that is not the class
outputs. Modules that are no step themselves (lists, modules that give tuples) are looked through.
  1. Begin with the steps among the network's direct children, in the order in which they end.
  2. Leave out what passes its input on (identity, dropout, flattening), and a plain layer (without children, or
     without weights but biases and scales) that the next step only finishes: same shape, no weights but biases and
     scales. So of convolution, normalisation and ReLU the ReLU stays.
  3. Fewer than 8 left: put the steps among its children in place of every step that has some, keep the step itself
     where it adds to what its children give (a residual sum), and go on at 2.
  4. More than 20: keep 20, evenly spaced in order, the first and the last among them.
That ends on stages or blocks, and on the pooled feature before the classifier where a module computes one.

Sites. Square, ungrouped, undilated, zero-padded convolutions of 3 x 3 or more (nn.Conv2d itself, no subclass) with
more than 32 output channels, which do not read the image and whose output map has at least 4 x 4 places and at most
1/8 of the image's side at the usual image size, the same whenever they run. Where there are none the network has no
attention twin.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

FEWEST, MOST = 8, 20
PROBE_CLASSES = 13  # outputs of the network that is watched: a number that no feature has


@dataclass
class Trace:
    """What one module did in the pass: how often it ran, when it last ended, on what and with what result, and the
    shapes of all its results."""

    times: int = 0
    ended: int = 0
    given: Any = None
    result: Any = None
    shapes: set[tuple[int, ...]] = field(default_factory=set)


def watch(model: nn.Module, size: int) -> tuple[Any, dict[str, Trace]]:
    """The output of a network on the meta device for two images of size px, and what each of its modules did."""
    runs: dict[str, Trace] = {}
    clock = count()

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: tuple[Any, ...], result: Any) -> None:
            run = runs.setdefault(name, Trace())
            run.times, run.ended = run.times + 1, next(clock)
            run.given, run.result = given[0] if given else None, result
            run.shapes.add(tuple(getattr(result, "shape", ())))

        return hook

    for name, module in model.named_modules():
        if name:
            module.register_forward_hook(keep(name))
    with torch.no_grad():
        output = model(torch.zeros(2, 3, size, size, device="meta"))
    return output, runs


def readouts(model: nn.Module, runs: dict[str, Trace]) -> tuple[str, ...]:
    """The names of the readout layers, by the rule in this file's first lines."""
    names = dict(model.named_modules())
    steps, opened = list(_steps_below(model, "", runs)), set[str]()
    while len(kept := _tidy(steps, names, runs)) < FEWEST:
        finer: list[str] = []
        for step in steps:
            below = [] if step in opened else list(_steps_below(names[step], step, runs))
            adds = not any(runs[inner].result is runs[step].result for inner in below)
            finer += [*below, step] if adds else below
            opened.add(step)
        if finer == steps:
            break
        steps = finer
    if len(kept) > MOST:
        kept = [kept[i * (len(kept) - 1) // (MOST - 1)] for i in range(MOST)]
    return tuple(kept)


def _steps_below(module: nn.Module, name: str, runs: dict[str, Trace]) -> Iterator[str]:
    for child_name, child in module.named_children():
        path = f"{name}.{child_name}" if name else child_name
        if path not in runs or not _is_step(runs[path]):
            if path not in runs or runs[path].times == 1:
                yield from _steps_below(child, path, runs)
        else:
            yield path


def _is_step(run: Trace) -> bool:
    out = run.result
    return (
        run.times == 1
        and isinstance(out, Tensor)
        and out.ndim >= 2
        and out.shape[0] == 2
        and out.numel() != 2 * PROBE_CLASSES
    )


def _tidy(steps: list[str], names: dict[str, nn.Module], runs: dict[str, Trace]) -> list[str]:
    steps = sorted(steps, key=lambda step: runs[step].ended)
    steps = [step for step in steps if not _passes_on(names[step], runs[step])]
    kept = []
    for i, step in enumerate(steps):
        plain = _finishes(names[step]) or not list(names[step].children())
        after = steps[i + 1] if i + 1 < len(steps) else None
        finished = after and _finishes(names[after]) and runs[after].result.shape == runs[step].result.shape
        if not (plain and finished):
            kept.append(step)
    return kept


def _passes_on(module: nn.Module, run: Trace) -> bool:
    if isinstance(module, nn.Identity | nn.Flatten | nn.modules.dropout._DropoutNd):
        return True
    return run.result is run.given and not getattr(module, "inplace", False)


def _finishes(module: nn.Module) -> bool:
    return all(parameter.ndim < 2 for parameter in module.parameters())


def sites(model: nn.Module, runs: dict[str, Trace], size: int) -> tuple[str, ...]:
    """The names of the convolutions that attention may replace, by the rule in this file's first lines."""
    found = []
    for name, module in model.named_modules():
        if type(module) is not nn.Conv2d or name not in runs or isinstance(module.padding, str):
            continue
        kernel, (height, width) = module.kernel_size, runs[name].result.shape[-2:]
        fits = kernel[0] == kernel[1] >= 3 and module.groups == 1 and module.dilation == (1, 1)
        if (
            fits
            and len(runs[name].shapes) == 1
            and module.padding_mode == "zeros"
            and module.out_channels > 32
            and module.in_channels != 3
            and min(height, width) >= 4
            and 8 * max(height, width) <= size
        ):
            found.append(name)
    return tuple(found)
