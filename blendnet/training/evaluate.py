"""Outputs of a network on fixed images (the manifest's blends, or photographs), and the validation of an epoch."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import nn

from blendnet.data.manifest import render
from blendnet.data.manifest import targets as label_sets
from blendnet.data.photoset import PhotoSet
from blendnet.run import Run
from blendnet.training import distributed
from blendnet.training.augment import normalise


@torch.inference_mode()
def outputs(
    model: nn.Module,
    images: Callable[[int, int], torch.Tensor],
    n: int,
    *,
    device: torch.device | str,
    batch_size: int = 128,
    tick: Callable[[int], object] | None = None,
    rank: int = 0,
    world: int = 1,
) -> np.ndarray:
    """Logits, float32 of shape (n, n_classes), always in float32 arithmetic.

    images(start, stop): float in [0, 1], (stop - start, 3, S, S); tick(k) is called after every k images. rank, world:
    of every `world` batches in a row only the rank-th, for processes that share the work; the result is those alone.
    """
    was_training = model.training
    model.eval()
    parts = []
    for start in range(rank * batch_size, n, world * batch_size):
        stop = min(n, start + batch_size)
        x = normalise(images(start, stop).to(device))
        parts.append(model(x).float().cpu().numpy())
        if tick:
            tick(stop - start)
    model.train(was_training)
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def blend_images(photos: PhotoSet, manifest: pd.DataFrame) -> Callable[[int, int], torch.Tensor]:
    """Reader of the manifest's blends in order."""
    return lambda start, stop: render(photos, manifest.iloc[start:stop])


def regular_images(photos: PhotoSet, index: np.ndarray) -> Callable[[int, int], torch.Tensor]:
    """Reader of single photographs, by their positions in the photo set."""
    return lambda start, stop: photos.images[index[start:stop]].float() / 255


def bce(logits: np.ndarray, targets: np.ndarray) -> float:
    """Mean binary cross-entropy with logits over all images and classes; both arrays (n, n_classes)."""
    z = logits.astype(np.float64)
    return float(np.mean(np.maximum(z, 0) - z * targets + np.log1p(np.exp(-np.abs(z)))))


def both_one_none(logits: np.ndarray, targets: np.ndarray) -> tuple[float, float, float]:
    """Rates of images for which both, one or none of the two highest outputs are in the label set of two."""
    top = np.argsort(-logits, axis=1, kind="stable")[:, :2]
    hits = np.take_along_axis(targets, top, axis=1).sum(axis=1)
    return float(np.mean(hits == 2)), float(np.mean(hits == 1)), float(np.mean(hits == 0))


def top1(logits: np.ndarray, labels: np.ndarray) -> float:
    """Rate of images whose highest output is the label."""
    return float(np.mean(logits.argmax(axis=1) == labels))


def validate(model: nn.Module, run: Run, photos: PhotoSet, manifest: pd.DataFrame, device: torch.device) -> dict:
    """All of validation: blends (both, one, none) and regular photographs (top-1), with counts and losses. Several
    processes share the images; each gets the whole result."""
    targets = label_sets(photos, manifest).numpy()
    logits = _outputs(model, blend_images(photos, manifest), targets.shape, device)
    both, one, none = both_one_none(logits, targets)
    index = np.flatnonzero(photos.split == "val")
    single = _outputs(model, regular_images(photos, index), (len(index), len(photos.classes)), device)
    labels = photos.labels.numpy()[index]
    blend_loss = bce(logits, targets)
    single_loss = bce(single, np.eye(len(photos.classes))[labels])
    return {
        "val_loss": single_loss if run.training == "regular" else blend_loss,
        "val_both": both, "val_one": one, "val_none": none, "val_top1": top1(single, labels),
        "n_val_blends": len(manifest), "n_val_regular": len(index),
    }  # fmt: skip


def _outputs(model: nn.Module, images: Callable, shape: tuple[int, ...], device: torch.device) -> np.ndarray:
    rank, world, size = distributed.rank(), distributed.world(), 128
    part = outputs(model, images, shape[0], device=device, batch_size=size, rank=rank, world=world)
    if world == 1:
        return part
    whole = np.zeros(shape, np.float32)
    mine = np.arange(shape[0]) // size % world == rank
    whole[mine] = part.reshape(-1, shape[1])
    return distributed.total(whole, device)
