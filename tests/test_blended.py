"""Blends, the pair stream and the manifests, against formulas and counts written out here."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch

from blendnet.data import blended, splits
from blendnet.data.photoset import PhotoSet
from blendnet.errors import BlendnetError

CLASSES = ("boat", "car", "cat", "face")


def made_set(rng: np.random.Generator, n_per_class: int = 14, copies: int = 0, size: int = 8) -> PhotoSet:
    """Random pixels; `copies` further images share an identity with a random earlier one, of whatever class."""
    labels = np.repeat(np.arange(len(CLASSES)), n_per_class)
    identity = np.arange(len(labels))
    labels = np.concatenate([labels, rng.integers(len(CLASSES), size=copies)])
    identity = np.concatenate([identity, rng.integers(len(identity), size=copies)])
    ids = tuple(f"made/{i:04d}" for i in rng.permutation(len(labels)))
    split = splits.assign(ids, labels, identity, CLASSES, seed=int(rng.integers(1000)), fractions=(0.6, 0.2, 0.2))
    images = torch.from_numpy(rng.integers(0, 256, (len(labels), 3, size, size), dtype=np.uint8))
    return PhotoSet(
        images, torch.from_numpy(labels), ids, ("made",) * len(ids), identity, split, CLASSES, sha256="0" * 64
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("space", blended.SPACES)
def test_blend_ends_are_exact_and_the_two_sides_swap(dtype: torch.dtype, space: str) -> None:
    g = torch.Generator().manual_seed(0)
    a, b = (torch.rand(5, 3, 4, 6, generator=g).to(dtype) for _ in range(2))
    assert torch.equal(blended.blend(a, b, 1.0, space=space), a)
    assert torch.equal(blended.blend(a, b, 0.0, space=space), b)
    # 0.25 and 0.75 are exact in binary, so the property holds to the last bit.
    assert torch.equal(blended.blend(a, b, 0.25, space=space), blended.blend(b, a, 0.75, space=space))
    assert blended.blend(a, b, 0.3, space=space).dtype == dtype


def test_blend_in_pixel_values_against_numpy_in_double() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, (7, 3, 5, 5), dtype=np.uint8) for _ in range(2))
    alpha = rng.random(7)
    want = alpha[:, None, None, None] * (a / 255) + (1 - alpha)[:, None, None, None] * (b / 255)
    got = blended.blend(torch.from_numpy(a), torch.from_numpy(b), torch.from_numpy(alpha))
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), want, atol=2e-7)
    for i in range(7):  # one alpha for each is the same as each alone
        alone = blended.blend(torch.from_numpy(a[i]), torch.from_numpy(b[i]), float(alpha[i]))
        assert torch.equal(alone, got[i])


def _linear_reference(p: float, q: float, alpha: float) -> float:
    """IEC 61966-2-1 on single numbers."""

    def light(v: float) -> float:
        return v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4

    y = alpha * light(p) + (1 - alpha) * light(q)
    return 12.92 * y if y <= 0.0031308 else 1.055 * y ** (1 / 2.4) - 0.055


def test_blend_in_linear_light_against_the_standard_written_out() -> None:
    levels = [0, 1, 5, 10, 11, 40, 128, 200, 255]
    for alpha in (0.1, 0.5, 0.9):
        for p in levels:
            for q in levels:
                x = torch.tensor([p], dtype=torch.uint8)
                got = blended.blend(x, torch.tensor([q], dtype=torch.uint8), alpha, space="linear")
                assert got.item() == pytest.approx(_linear_reference(p / 255, q / 255, alpha), abs=2e-6)
    half = blended.blend(torch.ones(1), torch.zeros(1), 0.5, space="linear")
    assert half.item() == pytest.approx(0.7353569, abs=1e-6)  # half the light of white is sRGB 187.5, not 127.5


def test_blend_in_linear_light_has_finite_gradients_at_black() -> None:
    a = torch.zeros(2, 3, requires_grad=True)
    blended.blend(a, torch.zeros(2, 3), 0.5, space="linear").sum().backward()
    assert torch.isfinite(a.grad).all()


@pytest.mark.parametrize(
    ("a", "b", "alpha", "space", "says"),
    [
        (torch.rand(2, 3), torch.rand(2, 3), 1.5, "pixel", "alpha 1.5 is outside 0 to 1"),
        (torch.rand(2, 3), torch.rand(2, 3), float("nan"), "pixel", "alpha nan is outside"),
        (torch.rand(2, 3), torch.rand(2, 3), torch.tensor([0.5, -0.25]), "linear", "alpha -0.25 is outside"),
        (torch.rand(2, 3), torch.rand(2, 4), 0.5, "pixel", "(2, 3)"),
        (torch.rand(2, 3), torch.rand(2, 3).double(), 0.5, "pixel", "float64"),
        (torch.rand(2, 3), torch.rand(2, 3), torch.rand(3), "pixel", "alpha of shape (3,)"),
        (torch.ones(2, 3).long(), torch.ones(2, 3).long(), 0.5, "pixel", "int64"),
        (torch.rand(2, 3), torch.rand(2, 3), 0.5, "liner", "did you mean 'linear'"),
    ],
)
def test_blend_refuses(a: torch.Tensor, b: torch.Tensor, alpha: float, space: str, says: str) -> None:
    with pytest.raises(BlendnetError) as error:
        blended.blend(a, b, alpha, space=space)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_pair_stream_is_a_pure_function_of_seed_and_step() -> None:
    labels, who = np.arange(200) % 5, np.arange(200)
    in_order = [blended.draw_pairs(labels, who, 32, seed=3, step=s, alpha=(0.2, 0.8)) for s in range(6)]
    for s in (5, 0, 3):  # any step again, in any order, is the same to the bit
        again = blended.draw_pairs(labels, who, 32, seed=3, step=s, alpha=(0.2, 0.8))
        assert all(torch.equal(x, y) for x, y in zip(in_order[s], again))
    resumed = blended.stream(labels, who, 32, seed=3, alpha=(0.2, 0.8), start=4)
    assert all(torch.equal(x, y) for x, y in zip(in_order[4], next(resumed)))
    assert all(torch.equal(x, y) for x, y in zip(in_order[5], next(resumed)))
    other_seed = blended.draw_pairs(labels, who, 32, seed=4, step=0, alpha=(0.2, 0.8))
    assert not torch.equal(in_order[0][0], other_seed[0])
    assert not torch.equal(in_order[0][0], in_order[1][0])


def test_pair_stream_is_balanced_over_pairs_sides_images_and_alpha() -> None:
    # Classes of very unequal size: pairs of classes must still be equally likely.
    labels = np.repeat(np.arange(4), [3, 10, 30, 100])
    n = 60_000
    a, b, alpha = blended.draw_pairs(labels, np.arange(143), n, seed=0, step=0, alpha=(0.3, 0.7))
    ya, yb = labels[a.numpy()], labels[b.numpy()]
    pairs = Counter(zip(np.minimum(ya, yb).tolist(), np.maximum(ya, yb).tolist()))
    assert sorted(pairs) == list(combinations(range(4), 2))
    tolerance = 5 * np.sqrt(n / 6)  # five standard deviations of a count
    assert all(abs(count - n / 6) < tolerance for count in pairs.values())
    assert abs((ya < yb).sum() - n / 2) < 5 * np.sqrt(n) / 2
    within = np.bincount(a.numpy()[ya == 2], minlength=143)[labels == 2]
    assert within.min() > 0.75 * within.mean()
    assert within.max() < 1.25 * within.mean()
    assert alpha.min() >= 0.3
    assert alpha.max() <= 0.7
    assert alpha.mean().item() == pytest.approx(0.5, abs=0.003)


def test_held_out_pairs_never_occur_and_all_others_do() -> None:
    labels = np.arange(120) % 4
    barred = frozenset({(2, 0), (1, 3)})
    seen = set()
    for step in range(40):
        a, b, _ = blended.draw_pairs(labels, np.arange(120), 64, seed=1, step=step, held_out=barred)
        seen |= {tuple(sorted(p)) for p in zip(labels[a.numpy()].tolist(), labels[b.numpy()].tolist())}
    assert seen == {(0, 1), (0, 3), (1, 2), (2, 3)}


def test_pair_stream_never_blends_a_photograph_with_its_copy() -> None:
    labels = np.array([0, 0, 1, 1])
    identity = np.array([7, 8, 7, 9])  # image 0 and image 2 are one photograph in two classes
    a, b, _ = blended.draw_pairs(labels, identity, 5000, seed=0, step=0)
    assert set(zip(*np.sort(np.stack([a.numpy(), b.numpy()]), axis=0).tolist())) == {(0, 3), (1, 2), (1, 3)}
    with pytest.raises(BlendnetError, match="share all their photographs"):
        blended.draw_pairs(np.array([0, 1]), np.array([5, 5]), 4, seed=0, step=0)


def test_pair_stream_refuses() -> None:
    labels, who = np.arange(20) % 2, np.arange(20)
    with pytest.raises(BlendnetError, match="no pair of classes is left"):
        blended.draw_pairs(labels, who, 4, seed=0, step=0, held_out=frozenset({(0, 1)}))
    with pytest.raises(BlendnetError, match="label 7"):
        blended.draw_pairs(labels, who, 4, seed=0, step=0, held_out=frozenset({(0, 7)}))
    with pytest.raises(BlendnetError, match=r"alpha from 0.6 to 0.4"):
        blended.draw_pairs(labels, who, 4, seed=0, step=0, alpha=(0.6, 0.4))


@pytest.mark.parametrize("seed", range(12))
def test_no_identity_crosses_splits_in_any_blend(seed: int) -> None:
    """Over random sets with many copies, some of them across classes: train stream, val and test manifests."""
    rng = np.random.default_rng(seed)
    photos = made_set(rng, n_per_class=int(rng.integers(12, 25)), copies=int(rng.integers(5, 40)))
    used: dict[str, set[int]] = {}
    train = photos.indices("train")
    a, b, _ = blended.draw_pairs(photos.labels[train], photos.identity[train], 3000, seed=seed, step=0)
    used["train"] = set(photos.identity[train[np.concatenate([a.numpy(), b.numpy()])]].tolist())
    assert used["train"] == set(photos.identity[train].tolist())  # the stream leaves nobody out
    for split in ("val", "test"):
        rows = blended.manifest(photos, split, n_per_pair=3, alphas=(0.3, 0.7), seed=seed)
        i, j = blended.positions(photos, rows)
        assert (photos.identity[i] != photos.identity[j]).all()
        assert (rows["class_a"] != rows["class_b"]).all()
        used[split] = set(photos.identity[np.concatenate([i, j])].tolist())
    for x, y in combinations(used, 2):
        assert not used[x] & used[y]


def test_manifest_is_balanced_paired_over_alpha_and_reproducible() -> None:
    photos = made_set(np.random.default_rng(5), n_per_class=30)
    alphas = [i / 10 for i in range(1, 10)]
    rows = blended.manifest(photos, "test", n_per_pair=11, alphas=alphas, seed=2)
    assert len(rows) == 6 * 11 * 9
    assert rows["blend_id"].is_unique
    pair = ["+".join(sorted(p)) for p in zip(rows["class_a"], rows["class_b"])]
    assert set(Counter(pair).values()) == {99}
    by_alpha = [list(zip(g["image_a"], g["image_b"])) for _, g in rows.groupby("alpha", sort=True)]
    assert len(by_alpha) == 9
    assert all(pairs == by_alpha[0] for pairs in by_alpha)
    assert len({frozenset(p) for p in by_alpha[0]}) == len(by_alpha[0])  # no pair of photographs twice
    # Within a pair of classes each photograph of a class occurs equally often up to one.
    one = rows[rows["alpha"] == 0.5]
    for a, b in combinations(CLASSES, 2):
        these = one[[{a, b} == {x, y} for x, y in zip(one["class_a"], one["class_b"])]]
        for c in (a, b):
            names = [x if k == c else y for x, y, k in zip(these["image_a"], these["image_b"], these["class_a"])]
            here = photos.labels.numpy()[photos.indices("test")] == CLASSES.index(c)
            counts = sorted(Counter(names).values())
            assert counts[-1] - (counts[0] if len(counts) == here.sum() else 0) <= 1
        assert abs((these["class_a"] == a).sum() - 5.5) <= 1  # each comes first about as often
    again = blended.manifest(photos, "test", n_per_pair=11, alphas=alphas, seed=2)
    assert again.equals(rows)
    other = blended.manifest(photos, "test", n_per_pair=11, alphas=alphas, seed=3)
    assert not other.equals(rows)
    alone = blended.manifest(photos, "test", n_per_pair=11, alphas=[0.1 * 3], seed=2)
    assert alone["blend_id"].tolist() == rows[rows["alpha"] == 0.3]["blend_id"].tolist()


def test_manifest_meets_every_possible_pair_and_then_says_so() -> None:
    photos = made_set(np.random.default_rng(5), n_per_class=14)
    n = np.bincount(photos.labels.numpy()[photos.indices("val")])
    most = min(int(n[i] * n[j]) for i, j in combinations(range(4), 2))
    rows = blended.manifest(photos, "val", n_per_pair=most)
    assert len(set(map(frozenset, zip(rows["image_a"], rows["image_b"])))) == 6 * most
    with pytest.raises(BlendnetError, match="different pairs of"):
        blended.manifest(photos, "val", n_per_pair=int((n.max()) ** 2) + 1)
    with pytest.raises(BlendnetError, match="alpha 1.2"):
        blended.manifest(photos, "val", n_per_pair=1, alphas=[1.2])
    with pytest.raises(BlendnetError, match="did you mean 'test'"):
        blended.manifest(photos, "tests", n_per_pair=1)


def test_render_and_targets_against_a_loop() -> None:
    photos = made_set(np.random.default_rng(6))
    rows = blended.manifest(photos, "test", n_per_pair=2, alphas=(0.2, 0.9), seed=1)
    rows.loc[::3, "space"] = "linear"
    got, want = [torch.cat(x) for x in zip(*blended.batches(photos, rows, 5))]
    assert got.shape == (len(rows), 3, 8, 8)
    assert torch.equal(got, blended.render(photos, rows))
    for i, row in enumerate(rows.itertuples()):
        a, b = (photos.images[photos.image_ids.index(name)] for name in (row.image_a, row.image_b))
        assert (got[i] - blended.blend(a, b, row.alpha, space=row.space)).abs().max() < 1e-6
        hot = {photos.classes[c] for c in want[i].nonzero().flatten().tolist()}
        assert hot == {row.class_a, row.class_b}
        assert want[i].sum() == 2


def test_manifest_file_round_trip_and_refusals(tmp_path) -> None:
    photos = made_set(np.random.default_rng(7))
    rows = blended.manifest(photos, "test", n_per_pair=2, alphas=(0.1, 0.5))
    file = tmp_path / "test.csv"
    digest = blended.save_manifest(rows, file)
    back = blended.load_manifest(file, photos, sha256=digest)
    assert back.equals(rows)
    assert back.attrs["sha256"] == digest
    text = file.read_text()
    first = text.splitlines()[1]
    train_id = photos.image_ids[int(np.flatnonzero((photos.split == "train") & (photos.labels.numpy() == 0))[0])]
    boat = rows.iloc[0]["image_a"] if rows.iloc[0]["class_a"] == "boat" else rows.iloc[0]["image_b"]
    wrong = {
        "columns": text.replace("image_a", "image_one", 1),
        "row 2: image 'nowhere' is not in the photo set": text.replace(rows.iloc[0]["image_a"], "nowhere", 1),
        "alpha 1.5 is outside 0 to 1": text.replace(first, first.replace(",0.1,", ",1.5,"), 1),
        "alpha 'half' is not a number": text.replace(first, first.replace(",0.1,", ",half,"), 1),
        "alpha nan is outside": text.replace(first, first.replace(",0.1,", ",nan,"), 1),
        f"image '{train_id}' is in split train": text.replace(first, first.replace(boat, train_id), 1),
        "space 'cubic'": text.replace(first, first.replace(",pixel,", ",cubic,"), 1),
        "row 6: blend_id": text.replace(text.splitlines()[5], first, 1),
        "is a boat, not a 'cat'": text.replace(first, first.replace(",boat,", ",cat,"), 1),
    }
    for says, content in wrong.items():
        assert content != text, says
        file.write_text(content)
        with pytest.raises(BlendnetError) as error:
            blended.load_manifest(file, photos)
        assert says in str(error.value)
        assert str(file) in str(error.value)
        assert "\n" not in str(error.value)
    file.write_text(text + "\n")
    with pytest.raises(BlendnetError, match="it was changed"):
        blended.load_manifest(file, photos, sha256=digest)
    with pytest.raises(BlendnetError, match="missing"):
        blended.load_manifest(tmp_path / "no.csv", photos)
