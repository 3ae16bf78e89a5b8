"""The study's own data set, read unchanged (Portscher, Stabinger, Rodríguez-Sánchez 2022,
doi 10.1109/IPAS55744.2022.10052853; on Kaggle as andreaport/blendeduibk).

ROOT/blendeduibk/ (or ROOT itself) holds csv/{blended,reg}/{train,val,test}.csv, with a column `image` and one binary
column for each class, and the images in blended/, reg/, blended_test/, reg_test/; its README calls them
blended_dataset/ and reg_dataset/, and both spellings are found. index() and splits() give the single photographs;
ready_made_blends() gives its blends with their two labels.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from blendnet.data.classes import CLASSES as CLASSES
from blendnet.data.photos import Photo
from blendnet.data.sources._image import ImageFile
from blendnet.errors import BlendnetError

DOI = "10.1109/IPAS55744.2022.10052853"
LICENCE = "not known: not cleared for redistribution"
COLLECTION = "blendeduibk"
SPLITS = ("train", "val", "test")
BEYOND = "cells beyond the header"


@dataclass(frozen=True)
class MadeBlend:
    """A blend that the study made. blend_id like 'blendeduibk/blended/boat_3_dog_7.jpg'; classes: its two labels in
    class order; split: of the CSV that lists it; read(): uint8 (height, width, 3). Which photographs and which alpha
    it is made of is not known, so nothing here can prove that they are not in another split."""

    blend_id: str
    classes: tuple[str, ...]
    split: str
    read: ImageFile


def index(root: Path) -> list[Photo]:
    """The single photographs of all three splits; ids like 'blendeduibk/reg/dog_123.jpg'.

    Raises BlendnetError, one line with file, row (the header is row 1) and value, for a missing column, a label that
    is not 0 or 1, a row with other than one label, an image that is missing or listed twice.
    """
    return [
        Photo(f"{COLLECTION}/reg/{name}", labels[0], COLLECTION, ImageFile(path))
        for _, name, labels, path in _rows(_home(Path(root)), "reg", n_labels=1)
    ]


def splits(root: Path) -> dict[str, str]:
    """The split that the study gives to each single photograph: image id -> 'train', 'val' or 'test'."""
    rows = _rows(_home(Path(root)), "reg", n_labels=1)
    return {f"{COLLECTION}/reg/{name}": split for split, name, _, _ in rows}


def ready_made_blends(root: Path) -> list[MadeBlend]:
    """The study's blends of all three splits, in the order of its CSVs; raises as index() does, for two labels."""
    return [
        MadeBlend(f"{COLLECTION}/blended/{name}", labels, split, ImageFile(path))
        for split, name, labels, path in _rows(_home(Path(root)), "blended", n_labels=2)
    ]


def _home(root: Path) -> Path:
    for home in (root / COLLECTION, root):
        if (home / "csv").is_dir():
            return home
    raise BlendnetError(f"no blendeduibk at {root}: looked for {COLLECTION}/csv and csv; check --data (BLENDNET_DATA)")


def _rows(home: Path, kind: str, n_labels: int) -> Iterator[tuple[str, str, tuple[str, ...], Path]]:
    """(split, image, labels, path) of every row of csv/<kind>/{train,val,test}.csv, checked."""
    listed: dict[str, str] = {}
    for split in SPLITS:
        file = home / "csv" / kind / f"{split}.csv"
        folders = [home / name for name in _spellings(kind, split) if (home / name).is_dir()]
        for number, record in _records(file):
            where = f"{file}, row {number}"
            labels = []
            beyond = record.pop(BEYOND, None)
            if beyond:
                there, wanted = len(record) + len(beyond), len(record)
                raise BlendnetError(f"{where}: it has {there} cells, the header {wanted}; mend the row")
            for name in CLASSES:
                value = (record[name] or "").strip()
                if value not in ("0", "1", "0.0", "1.0"):
                    raise BlendnetError(f"{where}: column {name} is {_short(value)}; it must be 0 or 1")
                if float(value):
                    labels.append(name)
            image = (record["image"] or "").strip()
            place = PurePath(image)
            if place.is_absolute() or ".." in place.parts or not image.isprintable() or len(image) > 255:
                raise BlendnetError(f"{where}: {_short(image)} is no name of a file in the image folders; mend the row")
            if len(labels) != n_labels:
                told = ", ".join(labels) or "none"
                raise BlendnetError(f"{where}: {image!r} has {len(labels)} labels ({told}); it must have {n_labels}")
            if image in listed:
                raise BlendnetError(f"{where}: {image!r} is also in {listed[image]}; an image belongs to one split")
            listed[image] = where
            path = next((f / image for f in folders if image and (f / image).is_file()), None)
            if path is None:
                looked = ", ".join(f.name for f in folders) or " or ".join(_spellings(kind, split))
                raise BlendnetError(f"{where}: image {image!r} is not in {looked} of {home}; add it or remove the row")
            yield split, image, tuple(labels), path


def _short(text: str) -> str:
    """A value as an error shows it."""
    return repr(text if len(text) <= 60 else text[:60] + "…")


def _spellings(kind: str, split: str) -> tuple[str, ...]:
    """The folders that may hold the images of a split, the likeliest first."""
    everywhere = (kind, f"{kind}_dataset")
    return (f"{kind}_test", f"{kind}_test_dataset", *everywhere) if split == "test" else everywhere


def _records(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row number, record) of a CSV whose header has `image` and the classes."""
    try:
        with open(file, newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle, restkey=BEYOND)
            missing = [c for c in ("image", *CLASSES) if c not in (reader.fieldnames or [])]
            if missing:
                there = ", ".join(map(_short, (reader.fieldnames or [])[:12])) or "nothing"
                semicolons = "cells are parted by semicolons; save it with commas"
                do = semicolons if "image;" in (reader.fieldnames or [""])[0] else "put it back"
                raise BlendnetError(f"{file}, row 1: column {missing[0]!r} is missing (there are: {there}); {do}")
            for record in reader:
                yield reader.line_num, record
    except FileNotFoundError as error:
        raise BlendnetError(f"{file} is missing; copy the csv folder of the data set again") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BlendnetError(f"cannot read {file}: {error}; copy it again") from error
