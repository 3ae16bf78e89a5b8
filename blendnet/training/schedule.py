"""Optimisers, learning rates and the curriculum over alpha, by the recipe's names."""

import math

import torch
from torch import nn

from blendnet.errors import unknown
from blendnet.run import Recipe


def optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser. AdamW and SGD decay weights and position tables but not biases and norms; RMSprop decays
    all, as the study does."""
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(
            model.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
    weights = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, 0.999))
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=True)
    raise unknown("optimizer", recipe.optimizer, ("rmsprop", "adamw", "sgd"))


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of one step (0-based): linear warm-up, then cosine to 0, or x0.1 every step_epochs epochs."""
    if recipe.schedule == "step":
        return recipe.lr * 0.1 ** (step // steps_per_epoch // recipe.step_epochs)
    if recipe.schedule != "cosine":
        raise unknown("schedule", recipe.schedule, ("cosine", "step"))
    warm = recipe.warmup_epochs * steps_per_epoch
    if step < warm:
        return recipe.lr * (step + 1) / (warm + 1)
    total = recipe.epochs * steps_per_epoch
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1.0, total - warm)))


def steps_per_epoch(recipe: Recipe) -> int:
    """Whole batches in the recipe's epoch, at least one."""
    return max(1, recipe.epoch_size // recipe.batch_size)


def alpha_range(recipe: Recipe, step: int, steps_per_epoch: int) -> tuple[float, float]:
    """The curriculum: bounds of the first image's weight at one step (0-based), moving linearly from alpha_start to
    alpha in curriculum_epochs epochs; from then on exactly alpha."""
    whole = recipe.curriculum_epochs * steps_per_epoch
    done = min(1.0, step / whole) if whole > 0 else 1.0
    low, high = ((1 - done) * a + done * b for a, b in zip(recipe.alpha_start, recipe.alpha))
    return low, high
