"""bfloat16, channels_last and torch.compile against float32 eager: the same loss curve within stated bounds."""

import copy
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from blendnet import models
from blendnet.errors import BlendnetError
from blendnet.run import Recipe
from blendnet.training import compilation, loop, schedule

SIZE = 64
N_STEPS = 4
# lr small, or BatchNorm over the 16 x 2 x 2 values of the last maps magnifies every last bit by ten a step.
RECIPE = Recipe("tiny", "sgd", 1e-3, 0.9, 1e-4, 16, 1, 64)
# Largest relative difference of the loss from float32 eager, at the first step and at any. channels_last and compile
# reorder float32 sums; bfloat16 rounds weights and activations to 8 bits, 2^-9 relative each. Measured: 1e-6 and 1e-3;
# 2e-3 and 1.2e-2.
BOUNDS = {"channels_last": (1e-5, 5e-3), "compile": (1e-5, 5e-3), "bfloat16": (1e-2, 3e-2)}
NETWORKS = [("resnet18", "none"), ("resnet18", "aacn"), ("cornet_z", "none"), ("cornet_z", "aacn")]


def batches(n: int = N_STEPS) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Images of three classes that differ in their mean colour, so that there is something to learn."""
    g = torch.Generator().manual_seed(0)
    made = []
    for _ in range(n):
        labels = torch.randint(3, (RECIPE.batch_size,), generator=g)
        y = nn.functional.one_hot(labels, 3).float()
        made.append((torch.randn(RECIPE.batch_size, 3, SIZE, SIZE, generator=g) + 2 * y[:, :, None, None], y))
    return made


def cut(model: nn.Module, network: str) -> nn.Module:
    """The network's first block with a site of attention alone, which holds every kind of its layers: compiling all
    takes minutes."""
    assert network == "resnet18"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model.layer2, model.fc = model.layer2[0], nn.Linear(128, 3)
        model.layer1 = model.layer3 = model.layer4 = nn.Identity()
    return model


@cache
def curve(network: str, attention: str, recipe: Recipe, shorten: bool = False) -> torch.Tensor:
    """Losses of the first steps, float64 (N_STEPS,); float32 eager once for all that is compared with it."""
    cpu = torch.device("cpu")
    model = models.build(network, attention=attention, heads=4, n_classes=3, seed=0, image_size=SIZE).train()
    model = cut(model, network) if shorten else model
    if recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)
    optimizer = schedule.optimizer(model, recipe)
    names = list(model.state_dict())
    trained = compilation.compiled(model, recipe)
    assert (trained is not model) == recipe.compile
    losses = [loop.train_step(trained, optimizer, batch, recipe, device=cpu) for batch in batches()]
    assert list(model.state_dict()) == names
    return torch.stack(losses).double()


def check(network: str, attention: str, option: str) -> None:
    short = option == "compile"
    recipe = replace(RECIPE, lr=4e-3) if short else RECIPE  # a cut network changes less in a step
    expected = curve(network, attention, recipe, short)
    assert expected.diff().abs().min() > 1e-2  # every step changes it, so that one that does nothing would show
    change = {"precision": "bfloat16"} if option == "bfloat16" else {option: True}
    found = curve(network, attention, replace(recipe, **change), short)
    difference = (found / expected - 1).abs()
    first, all_ = BOUNDS[option]
    assert difference[0] < first, (found, expected)
    assert difference.max() < all_, (found, expected)
    if option == "bfloat16":
        assert difference.max() > 1e-4  # it is bfloat16


@pytest.mark.parametrize("option", ["bfloat16", "channels_last"])
@pytest.mark.parametrize(("network", "attention"), NETWORKS)
def test_fast_options_agree_with_float32_eager(network, attention, option):
    check(network, attention, option)


@pytest.mark.slow
def test_compiled_training_agrees_with_eager(tmp_path, monkeypatch):
    """Convolutions, BatchNorm, pooling and attention in one network: compiling another costs as much again."""
    from torch._inductor import config

    monkeypatch.setattr(config, "compile_threads", 1)  # workers would each import torch anew
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    try:
        check("resnet18", "aacn", "compile")
    finally:
        torch.compiler.reset()


def test_without_a_compiler_there_is_one_clear_line(tmp_path: Path, monkeypatch):
    from torch._inductor import config

    torch.compiler.reset()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(config.cpp, "cxx", (None, str(tmp_path / "no-such-compiler")))
    recipe = replace(RECIPE, compile=True)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 3), nn.Tanh())
    before = copy.deepcopy(model.state_dict())
    trained = compilation.compiled(model, recipe)
    optimizer = schedule.optimizer(model, recipe)
    said = pytest.raises(BlendnetError, match="compile=True, but torch.compile does not work here")
    with said as caught, compilation.explained(recipe):
        loop.train_step(trained, optimizer, batches(1)[0], recipe, device=torch.device("cpu"))
    assert "\n" not in str(caught.value)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    torch.compiler.reset()


def test_other_errors_are_not_blamed_on_the_compiler():
    with pytest.raises(RuntimeError, match="shapes"), compilation.explained(replace(RECIPE, compile=True)):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
