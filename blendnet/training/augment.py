"""Augmentation in batches on the device: random resized crop and horizontal flip, one grid_sample a batch."""

import math

import torch
import torch.nn.functional as F

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def step_generator(*numbers: int) -> torch.Generator:
    """A CPU generator that is a pure function of its numbers, so that step n draws the same after a resume."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        # splitmix64's finaliser: neighbouring seeds and steps give unrelated streams
        state = (state ^ (number & 0xFFFFFFFFFFFFFFFF)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return torch.Generator().manual_seed(state & 0x7FFFFFFFFFFFFFFF)


def augment(images: torch.Tensor, generator: torch.Generator, *, crop_scale: float, flip: bool) -> torch.Tensor:
    """Float images in [0, 1] of shape (n, 3, H, W): each gets its own crop (area crop_scale..1, aspect 3/4..4/3) and
    its own flip; bilinear, edge pixels repeated; same shape out."""
    n = images.shape[0]
    device = images.device
    sign = torch.ones(n)
    if flip:
        sign = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    if crop_scale >= 1.0:
        mirrored = (sign < 0).to(device)[:, None, None, None]
        return torch.where(mirrored, images.flip(3), images)
    area = crop_scale + (1 - crop_scale) * torch.rand(n, generator=generator)
    ratio = torch.exp((2 * torch.rand(n, generator=generator) - 1) * math.log(4 / 3))
    width = (area * ratio).sqrt().clamp(max=1.0)
    height = (area / ratio).sqrt().clamp(max=1.0)
    shift_x = (2 * torch.rand(n, generator=generator) - 1) * (1 - width)
    shift_y = (2 * torch.rand(n, generator=generator) - 1) * (1 - height)
    zero = torch.zeros(n)
    theta = torch.stack([torch.stack([sign * width, zero, shift_x], 1), torch.stack([zero, height, shift_y], 1)], 1).to(
        device
    )
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def normalise(images: torch.Tensor) -> torch.Tensor:
    """ImageNet mean and standard deviation (as the study does); float (n, 3, H, W) in [0, 1] in, float out."""
    mean = torch.tensor(MEAN, device=images.device, dtype=images.dtype)[:, None, None]
    std = torch.tensor(STD, device=images.device, dtype=images.dtype)[:, None, None]
    return (images - mean) / std
