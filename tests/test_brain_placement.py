"""Stimuli at the size at which they were seen, against torch's antialiased resizing and against geometry."""

import numpy as np
import pytest
import torch

from blendnet.data.brain.placement import GREY, place
from blendnet.errors import BlendnetError


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def resized(image: np.ndarray, size: int) -> np.ndarray:
    x = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
    x = torch.nn.functional.interpolate(x, (size, size), mode="bilinear", antialias=True)
    return x[0].permute(1, 2, 0).numpy()


def white(side: int) -> np.ndarray:
    return np.full((side, side, 3), 255, np.uint8)


def test_as_wide_as_the_field_of_view_is_a_plain_resize() -> None:
    for side, size in ((100, 64), (64, 64), (40, 64), (112, 224)):
        image = noise(side, side)
        for degrees in (8.0, None):
            placed = place(image, image_size=size, degrees=degrees)
            assert placed.dtype == np.float32
            np.testing.assert_allclose(placed, resized(image, size), atol=0.01)
    same = noise(64, 64)
    np.testing.assert_array_equal(place(same, image_size=64, degrees=8), same)


def test_half_as_wide_is_half_the_pixels_centred_on_grey() -> None:
    image = noise(100, 100)
    placed = place(image, image_size=64, degrees=4)
    np.testing.assert_allclose(placed[17:47, 17:47], resized(image, 32)[1:31, 1:31], atol=0.01)
    outside = np.ones((64, 64), bool)
    outside[15:49, 15:49] = False
    assert (placed[outside] == GREY).all()


def test_twice_as_wide_shows_the_centre() -> None:
    image = noise(128, 128)
    placed = place(image, image_size=32, degrees=16)
    np.testing.assert_allclose(placed[2:30, 2:30], resized(image, 64)[18:46, 18:46], atol=0.01)
    # What is outside the field of view does not matter, save for what the filter reaches of it.
    other = image.copy()
    other[:28], other[-28:], other[:, :28], other[:, -28:] = 0, 0, 0, 0
    np.testing.assert_array_equal(place(other, image_size=32, degrees=16), placed)


@pytest.mark.parametrize("degrees", [0.5, 2.9, 3.3, 7.9, 8.0, 8.1, 20.0])
@pytest.mark.parametrize("size", [31, 64, 224])
def test_area_and_centre_are_exact(degrees: float, size: int) -> None:
    """A white square on black: the sum of its pixels is its area to a fraction of a pixel, and it is symmetric."""
    placed = place(white(175), image_size=size, degrees=degrees, background=0.0)[:, :, 0] / 255
    side = min(degrees / 8, 1) * size
    if degrees < 8:
        assert placed.sum() == pytest.approx(side**2, rel=0.01, abs=0.5)
    else:
        np.testing.assert_allclose(placed, 1, atol=1e-5)
    np.testing.assert_allclose(placed, placed[::-1], atol=1e-4)
    np.testing.assert_allclose(placed, placed[:, ::-1], atol=1e-4)
    np.testing.assert_allclose(placed, placed.T, atol=1e-4)


def test_antialiased() -> None:
    """Stripes finer than the target's pixels become grey, not coarser stripes."""
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    placed = place(stripes, image_size=64, degrees=8)
    assert np.abs(placed[2:-2, 2:-2] - 127.5).max() < 2


def test_upright_and_in_colour() -> None:
    image = np.zeros((60, 60, 3), np.uint8)
    image[:30, :, 0] = 255  # red above
    image[:, 30:, 2] = 255  # blue at the right
    placed = place(image, image_size=40, degrees=4)
    assert placed[12, 15, 0] > 250
    assert placed[28, 15, 0] < 5
    assert placed[20, 28, 2] > 250
    assert placed[20, 12, 2] < 5


def test_aspect_ratio_is_kept() -> None:
    wide = np.full((50, 100, 3), 255, np.uint8)
    for degrees in (8, None):
        placed = place(wide, image_size=64, degrees=degrees, background=0)[:, :, 0]
        assert placed[32, 1:-1].min() > 250
        assert placed[:15].max() == 0
        assert placed[17:47, 5:-5].min() > 250
    tall = place(np.full((100, 50, 3), 255, np.uint8), image_size=64, degrees=None, background=0)[:, :, 0]
    assert tall[:, :15].max() == 0
    assert tall[1:-1, 32].min() > 250
    # By its width, a tall image of 8 degrees is cropped above and below.
    assert place(np.full((100, 50, 3), 255, np.uint8), image_size=64, degrees=8, background=0)[1:-1, 1:-1].min() > 250


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (np.zeros((5, 5), np.uint8), {}),
        (np.zeros((5, 5, 4), np.uint8), {}),
        (np.zeros((5, 5, 3), np.float32), {}),
        (np.zeros((0, 5, 3), np.uint8), {}),
        (noise(5, 5), {"degrees": 0.0}),
        (noise(5, 5), {"degrees": -1.0}),
        (noise(5, 5), {"degrees": float("nan")}),
        (noise(5, 5), {"image_size": 0}),
        (noise(5, 5), {"model_degrees": 0.0}),
    ],
)
def test_bad_arguments(image: np.ndarray, options: dict) -> None:
    with pytest.raises(BlendnetError) as error:
        place(image, **{"image_size": 8, "degrees": None, **options})
    assert "\n" not in str(error.value)
