"""Augmentation in batches on the device: random resized crop, horizontal flip, colour jitter.

What is drawn is apart from what is done: the draws of a whole step are a few numbers an image, so that every process
of several can make them all and prepare only its own images.
"""

import math

import torch
import torch.nn.functional as F

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
GREY = (0.299, 0.587, 0.114)  # luma of ITU-R BT.601


def step_generator(*numbers: int) -> torch.Generator:
    """A CPU generator that is a pure function of its numbers, so that step n draws the same after a resume."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        # splitmix64's finaliser: neighbouring seeds and steps give unrelated streams
        state = (state ^ (number & 0xFFFFFFFFFFFFFFFF)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return torch.Generator().manual_seed(state & 0x7FFFFFFFFFFFFFFF)


def draw_views(n: int, generator: torch.Generator, *, crop_scale: float, flip: bool) -> torch.Tensor:
    """Which part of each of n images is seen, and from which side: float (n, 2, 3), the affine map of each view onto
    its image as F.affine_grid takes it; with crop_scale 1 bool (n,), true where the image is mirrored."""
    sign = torch.ones(n)
    if flip:
        sign = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    if crop_scale >= 1.0:
        return sign < 0
    area = crop_scale + (1 - crop_scale) * torch.rand(n, generator=generator)
    ratio = torch.exp((2 * torch.rand(n, generator=generator) - 1) * math.log(4 / 3))
    width = (area * ratio).sqrt().clamp(max=1.0)
    height = (area / ratio).sqrt().clamp(max=1.0)
    shift_x = (2 * torch.rand(n, generator=generator) - 1) * (1 - width)
    shift_y = (2 * torch.rand(n, generator=generator) - 1) * (1 - height)
    zero = torch.zeros(n)
    return torch.stack([torch.stack([sign * width, zero, shift_x], 1), torch.stack([zero, height, shift_y], 1)], 1)


def show(images: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
    """Float images (n, 3, H, W) as the views of draw_views see them; bilinear, edge pixels repeated; same shape out."""
    views = views.to(images.device)
    if views.ndim == 1:
        return torch.where(views[:, None, None, None], images.flip(3), images)
    return F.grid_sample(
        images, _grid(views, images.shape[2], images.shape[3]), mode="bilinear", padding_mode="border",
        align_corners=False,
    )  # fmt: skip


def _grid(views: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """F.affine_grid(views, ..., align_corners=False), (n, height, width, 2), for views that do not turn: without its
    matrix product, a tenth of its time on a CPU, where it was half of the feed."""
    x = torch.linspace(-1, 1, width, device=views.device) * (width - 1) / width
    y = torch.linspace(-1, 1, height, device=views.device) * (height - 1) / height
    grid = views.new_empty(len(views), height, width, 2)
    grid[..., 0] = (x * views[:, 0, 0, None] + views[:, 0, 2, None])[:, None, :]
    grid[..., 1] = (y * views[:, 1, 1, None] + views[:, 1, 2, None])[:, :, None]
    return grid


def augment(images: torch.Tensor, generator: torch.Generator, *, crop_scale: float, flip: bool) -> torch.Tensor:
    """Float images in [0, 1] of shape (n, 3, H, W): each gets its own crop (area crop_scale..1, aspect 3/4..4/3) and
    its own flip; bilinear, edge pixels repeated; same shape out."""
    return show(images, draw_views(len(images), generator, crop_scale=crop_scale, flip=flip))


def draw_jitter(n: int, generator: torch.Generator, strength: float) -> torch.Tensor:
    """Factors of brightness, contrast and saturation, float (n, 3), uniform in 1 - strength .. 1 + strength."""
    return 1 + strength * (2 * torch.rand(n, 3, generator=generator) - 1)


def jitter(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Images (n, 3, H, W) in [0, 1], changed in brightness, contrast, saturation, in this order, by factors (n, 3).

    Brightness scales the values, contrast their distance from the image's mean luma, saturation each pixel's distance
    from its own luma (ITU-R BT.601); clamped to [0, 1] after each, as is usual. A factor of 1 changes nothing.
    """
    brightness, contrast, saturation = factors.to(images.device, images.dtype)[:, :, None, None, None].unbind(1)
    images = (images * brightness).clamp_(0, 1)
    images = torch.lerp(_luma(images).mean((2, 3), keepdim=True), images, contrast).clamp_(0, 1)
    return torch.lerp(_luma(images), images, saturation).clamp_(0, 1)


def _luma(images: torch.Tensor) -> torch.Tensor:
    red, green, blue = images.split(1, 1)
    return (red * GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])


def normalise(images: torch.Tensor) -> torch.Tensor:
    """ImageNet mean and standard deviation (as the study does); float (n, 3, H, W) in [0, 1] in, float out."""
    mean = torch.tensor(MEAN, device=images.device, dtype=images.dtype)[:, None, None]
    std = torch.tensor(STD, device=images.device, dtype=images.dtype)[:, None, None]
    return (images - mean).div_(std)
