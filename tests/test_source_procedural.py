"""The drawn image source: same arguments same picture, every class, and nothing but the object tells the
class."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from blendnet.data import classes
from blendnet.data.sources import procedural
from blendnet.data.sources._procedural import render, solid, textures
from blendnet.errors import BlendnetError

SIZE, EACH = 48, 60
LABELS = np.repeat(np.arange(8), EACH)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """(8 * EACH, SIZE, SIZE, 3) float in 0..1, class by class."""
    drawn = [procedural.draw(name, seed, SIZE) for name in procedural.CLASSES for seed in range(EACH)]
    return np.stack(drawn).astype(np.float32) / 255


def _correct(features: np.ndarray, model) -> float:
    """Cross-validated accuracy (5 folds) of a linear classifier; chance is 1/8."""
    return cross_val_score(make_pipeline(StandardScaler(), model), features, LABELS, cv=5).mean()


def _gradients(pictures: np.ndarray) -> np.ndarray:
    """(n, 324) orientation histograms of 6 x 6 cells, normalised: shape without colour."""
    grey = pictures.mean(-1)
    dy, dx = np.gradient(grey, axis=(1, 2))
    strength, bins = np.hypot(dx, dy), (np.arctan2(dy, dx) % np.pi / np.pi * 9).astype(int) % 9
    cells = [np.where(bins == b, strength, 0).reshape(-1, 6, 8, 6, 8).sum((2, 4)) for b in range(9)]
    stack = np.stack(cells, -1)
    return (stack / (np.linalg.norm(stack, axis=-1, keepdims=True) + 0.1)).reshape(len(pictures), -1)


def test_classes_are_the_studys():
    assert procedural.CLASSES == classes.CLASSES
    assert procedural.LICENCE == "generated"
    assert procedural.DOI is None


@pytest.mark.parametrize("name", classes.CLASSES)
def test_every_class_at_every_size(name):
    for size in (32, 64, 65, 96, 224):
        image = procedural.draw(name, 3, size)
        assert image.shape == (size, size, 3)
        assert image.dtype == np.uint8
        assert image.std() > 8


@pytest.mark.parametrize("name", classes.CLASSES)
def test_pure_function_and_seeds_differ(name):
    first, other = procedural.draw(name, 7, 64), procedural.draw(name, 8, 64)
    procedural.draw("boat", 1, 48)  # nothing in between may matter
    np.testing.assert_array_equal(first, procedural.draw(name, 7, 64))
    assert np.abs(first.astype(int) - other).mean() > 10


def test_same_in_another_process_in_another_order():
    digest = hashlib.sha256()
    for name in classes.CLASSES:
        digest.update(procedural.draw(name, 11, 64).tobytes())
    code = (
        "import hashlib\n"
        "from blendnet.data.sources import procedural as p\n"
        "drawn = {c: p.draw(c, 11, 64).tobytes() for c in reversed(p.CLASSES)}\n"
        "h = hashlib.sha256()\n"
        "for c in p.CLASSES: h.update(drawn[c])\n"
        "print(h.hexdigest())"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == digest.hexdigest()


@pytest.mark.parametrize("name", classes.CLASSES)
def test_a_seed_is_one_scene_at_all_sizes(name):
    small, large = procedural.draw(name, 5, 48), procedural.draw(name, 5, 144)
    reduced = large.reshape(48, 3, 48, 3, 3).mean((1, 3))
    assert np.corrcoef(small.ravel(), reduced.ravel())[0, 1] > 0.85


def test_index():
    photos = procedural.index(n_per_class=3, size=40, seed=2)
    assert len({photo.image_id for photo in photos}) == len(photos) == 24
    assert {photo.collection for photo in photos} == {"procedural"}
    assert photos[2].image_id == "procedural/boat/0002"
    assert photos[2].class_name == "boat"
    image = photos[2].read()
    assert image.shape == (40, 40, 3)
    np.testing.assert_array_equal(image, photos[2].read())
    assert not np.array_equal(image, procedural.index(n_per_class=3, size=40, seed=3)[2].read())
    assert len(procedural.index()) == 1600


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: procedural.draw("plan", 0), "did you mean 'plane'"),
        (lambda: procedural.draw("car", -1), "seed -1"),
        (lambda: procedural.draw("car", 0, 8), "size 8 px"),
        (lambda: procedural.index(n_per_class=0), "n_per_class 0"),
        (lambda: procedural.index(seed=-2), "seed -2"),
    ],
)
def test_mistakes_are_named_in_one_line(call, words):
    with pytest.raises(BlendnetError) as caught:
        call()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_border_does_not_tell_the_class(pictures):
    edge = np.ones((SIZE, SIZE), bool)
    edge[2:-2, 2:-2] = False
    border = pictures[:, edge]
    features = np.concatenate([border.mean(1), border.std(1)], axis=1)
    # 480 pictures: three standard errors above chance are 0.125 + 3 * 0.015
    assert _correct(features, LinearDiscriminantAnalysis()) < 0.18


def test_colour_tells_little_and_shape_tells_much(pictures):
    colour = np.concatenate([pictures.mean((1, 2)), pictures.std((1, 2))], axis=1)
    by_colour = _correct(colour, LogisticRegression(max_iter=300))
    by_shape = _correct(_gradients(pictures), LogisticRegression(C=0.003, max_iter=300))
    assert by_colour < 0.25
    assert by_shape > 0.3
    assert by_shape > by_colour + 0.12


def test_the_middle_holds_something(pictures):
    rim = np.concatenate([pictures[:, :2], pictures[:, -2:]], axis=1)
    middle = pictures[:, 12:36, 12:36]
    assert np.median(middle.std((1, 2)).mean(-1) / rim.std((1, 2)).mean(-1)) > 1.3


def test_amplitude_spectrum_is_natural():
    size = 96
    grey = np.stack([procedural.draw(c, 100 + s, size) for c in classes.CLASSES for s in range(12)]).mean(-1)
    taper = np.hanning(size)[:, None] * np.hanning(size)
    spectrum = np.abs(np.fft.fft2((grey - grey.mean((1, 2), keepdims=True)) * taper)).mean(0)
    radius = np.rint(np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)) * size).astype(int).ravel()
    radial = np.bincount(radius, spectrum.ravel()) / np.bincount(radius)
    cycles = np.arange(2, size // 2)
    slope = np.polyfit(np.log(cycles), np.log(radial[cycles]), 1)[0]
    assert -1.6 < slope < -0.7


def test_pictures_of_one_class_vary(pictures):
    for label in range(8):
        grey = pictures[label == LABELS].mean(-1).reshape(EACH, -1)
        pairs = np.corrcoef(grey)[np.triu_indices(EACH, 1)]
        assert abs(pairs.mean()) < 0.15
        assert np.percentile(pairs, 95) < 0.7


def test_brightness_and_contrast_are_alike_across_classes(pictures):
    means = np.array([pictures[label == LABELS].mean() for label in range(8)])
    contrasts = np.array([pictures[label == LABELS].std((1, 2, 3)).mean() for label in range(8)])
    assert np.ptp(means) < 0.12
    assert contrasts.max() / contrasts.min() < 1.35


WHITE = solid.Paint((1, 1, 1))


@pytest.mark.parametrize(
    ("shapes", "inside"),
    [
        ([solid.box((0.2, -0.1, 0.3), (1, 2, 3), WHITE)], (0.2, -0.1, 0.3)),
        (solid.prism([(0, 0), (1, 0), (1, 1), (0, 1)], -1, 1, WHITE, WHITE), (0.5, 0.5, 0)),
        ([solid.tube((-1, 0, 1), (0.5, 0.6, 0.5), WHITE)], (0, 0, 0)),
    ],
)
def test_solid_faces_look_outward(shapes, inside):
    # Corners run anticlockwise seen from outside, or culling would show the inside of cars and chairs.
    for corners in (shape.points for shape in shapes):
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 1])
        assert ((corners.mean(1) - inside) * normal).sum(1).min() > 0


def test_rotation_turns_and_looks_down():
    np.testing.assert_allclose(solid.rotation(yaw=90) @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    # looking down on it, the top of a thing comes nearer and its front edge sinks in the picture
    assert (solid.rotation(pitch=30) @ [0, 1, 0])[2] > 0
    assert (solid.rotation(pitch=30) @ [0, 0, 1])[1] < 0
    turn = solid.rotation(33, -12, 71)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)


def test_the_nearer_of_two_shapes_hides_the_other():
    red, blue = (solid.Paint(c, grain=0.0, lit=False) for c in ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)))
    square = np.array([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)], float)
    shapes = [solid.sheet(square + [0, 0, 0.5], red), solid.sheet(square, blue)]
    for order in (shapes, shapes[::-1]):
        model = solid.Model(order, solid.View())
        colour, cover, _ = render.render(model, np.random.default_rng(0), 64)
        row, column = (int(v.mean()) for v in np.nonzero(cover > 0.99))
        assert colour[row, column, 0] > 0.5
        assert colour[row, column, 2] < 0.05


def test_background_noise_has_the_spectrum_of_scenes():
    tile = np.asarray(textures.pink_tile(), float)[..., 0]
    spectrum = np.abs(np.fft.fft2(tile - tile.mean()))
    radius = np.rint(np.hypot(*np.meshgrid(*[np.fft.fftfreq(len(tile))] * 2)) * len(tile)).astype(int).ravel()
    radial = np.bincount(radius, spectrum.ravel()) / np.bincount(radius)
    cycles = np.arange(4, 200)
    slope = np.polyfit(np.log(cycles), np.log(radial[cycles]), 1)[0]
    assert slope == pytest.approx(-1, abs=0.1)
