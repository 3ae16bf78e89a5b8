"""Caltech-101 (Fei-Fei, Fergus, Perona 2004, doi 10.22002/D1.20086), in torchvision's layout:
ROOT/caltech101/101_ObjectCategories/<category>/image_NNNN.jpg. Our eight classes come from 15 categories."""

from pathlib import Path

from blendnet.data.classes import CLASSES as CLASSES
from blendnet.data.photos import Photo
from blendnet.data.sources._image import ImageFile, first_folder, image_files

DOI = "10.22002/D1.20086"
LICENCE = "CC BY 4.0"
COLLECTION = "caltech101"
CATEGORIES = {
    "boat": ("ferry", "ketch", "schooner"),
    "car": ("car_side",),
    "cat": ("Leopards", "cougar_face", "wild_cat"),
    "chair": ("chair", "windsor_chair"),
    "dog": ("dalmatian",),
    "face": ("Faces_easy",),
    "flower": ("lotus", "sunflower", "water_lilly"),
    "plane": ("airplanes",),
}


def index(root: Path) -> list[Photo]:
    """The photographs of the 15 categories, by class and file name; ids like 'caltech101/ketch/image_0007'.

    root: the data folder. Raises BlendnetError where a category is missing or empty.
    """
    layouts = ("caltech101/101_ObjectCategories", "101_ObjectCategories")
    folder = first_folder(Path(root), layouts, "Caltech-101")
    return [
        Photo(f"{COLLECTION}/{category}/{path.stem}", name, COLLECTION, ImageFile(path))
        for name in CLASSES
        for category in CATEGORIES[name]
        for path in image_files(folder / category)
    ]
