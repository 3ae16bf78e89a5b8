"""torch.compile for training, and what is missing where it cannot work."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from blendnet.errors import BlendnetError
from blendnet.run import Recipe

# Where the exceptions of torch.compile live. Matched by name: these modules are slow to import and not always whole.
_ORIGINS = ("torch._dynamo", "torch._inductor", "torch._functorch")


def compiled(model: nn.Module, recipe: Recipe) -> nn.Module:
    """The model as it is called in training: compiled where the recipe says so. It shares the parameters of `model`,
    whose state dict keeps its names."""
    return torch.compile(model) if recipe.compile else model  # type: ignore[return-value]


@contextmanager
def explained(recipe: Recipe) -> Iterator[None]:
    """Around a step of a compiled model: an error of the compiler becomes one line that says what to do."""
    try:
        yield
    except Exception as error:
        if not recipe.compile or not type(error).__module__.startswith(_ORIGINS):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise BlendnetError(
            f"recipe {recipe.name!r} has compile=True, but torch.compile does not work here "
            f"({type(error).__name__}: {lines[0] if lines else 'no reason given'}); it needs a C++ compiler, and on a "
            "GPU Triton: install them (CXX names the compiler) or set compile=False"
        ) from error
