"""The blend itself: two images in one, exactly.

The study (Portscher et al. 2022, doi 10.1109/IPAS55744.2022.10052853) superimposes two photographs; its blend rule is
not published. Here it is alpha * a + (1 - alpha) * b, in pixel values or in linear light.
"""

import torch

from blendnet.errors import BlendnetError, unknown

SPACES = ("pixel", "linear")


def blend(a: torch.Tensor, b: torch.Tensor, alpha: float | torch.Tensor, *, space: str = "pixel") -> torch.Tensor:
    """alpha * a + (1 - alpha) * b, in floating point, on the device of a.

    a, b: equal shape and dtype, values in [0, 1]; uint8 is divided by 255 in float32 first. alpha: in [0, 1], a
    number or a tensor of shape (n,) for a, b of shape (n, ...). space: 'pixel' mixes the stored values, 'linear' the
    light that a screen would give (IEC 61966-2-1 sRGB decoded, mixed, encoded again). Returns float of the shape of
    a, in its dtype (float32 for uint8; half precision is computed in float32). alpha 1 gives a and alpha 0 gives b,
    exactly. Raises BlendnetError for another alpha, unequal shapes or dtypes, and an unknown space.
    """
    if space not in SPACES:
        raise unknown("blend space", space, SPACES)
    if a.shape != b.shape or a.dtype != b.dtype:
        raise BlendnetError(
            f"cannot blend {a.dtype} of shape {tuple(a.shape)} with {b.dtype} of shape {tuple(b.shape)}; "
            "bring both to one size and type"
        )
    if not (a.dtype == torch.uint8 or a.is_floating_point()):
        raise BlendnetError(f"cannot blend {a.dtype} images; use uint8 or floating point in [0, 1]")
    out_dtype = a.dtype if a.is_floating_point() else torch.float32
    work_dtype = torch.float64 if a.dtype == torch.float64 else torch.float32
    x, y = a.to(work_dtype), b.to(work_dtype)
    if a.dtype == torch.uint8:
        x, y = x / 255, y / 255

    weight = torch.as_tensor(alpha, dtype=work_dtype)
    if weight.ndim > 1 or (weight.ndim == 1 and (a.ndim < 2 or len(weight) != len(a))):
        raise BlendnetError(f"alpha of shape {tuple(weight.shape)} does not go with images of shape {tuple(a.shape)}")
    outside = ~((weight >= 0) & (weight <= 1))  # true for NaN as well
    if outside.any():
        raise BlendnetError(f"alpha {weight[outside].flatten()[0].item()} is outside 0 to 1")
    weight = weight.reshape(-1, *[1] * (a.ndim - 1)) if weight.ndim == 1 else weight
    weight = weight.to(a.device)  # only now: checked where it lies, it does not stall a GPU

    if space == "pixel":
        mixed = weight * x + (1 - weight) * y
    else:
        mixed = srgb_encode(weight * srgb_decode(x) + (1 - weight) * srgb_decode(y))
        # Decoding and encoding again is off by a rounding; the ends are exact by definition.
        mixed = torch.where(weight == 1, x, torch.where(weight == 0, y, mixed))
    return mixed.to(out_dtype)


def srgb_decode(value: torch.Tensor) -> torch.Tensor:
    """Linear light of sRGB values in [0, 1], any shape (IEC 61966-2-1:1999)."""
    return torch.where(value <= 0.04045, value / 12.92, ((value.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def srgb_encode(light: torch.Tensor) -> torch.Tensor:
    """sRGB values of linear light in [0, 1], any shape (IEC 61966-2-1:1999)."""
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)
