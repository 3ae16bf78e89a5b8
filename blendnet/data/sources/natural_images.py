"""Natural Images (Roy, Ghosh, Bhattacharya, Pal 2018, arXiv 1807.10108; on Kaggle as prasunroy/natural-images):
ROOT/natural_images/<folder>/*.jpg. Six of its eight folders are classes of ours; it has no boat and no chair."""

from pathlib import Path

from blendnet.data.photos import Photo
from blendnet.data.sources._image import ImageFile, first_folder, image_files

DOI = "10.48550/arXiv.1807.10108"
LICENCE = "not stated in the source: not cleared for redistribution"
COLLECTION = "natural_images"
FOLDERS = {
    "car": "car",
    "cat": "cat",
    "dog": "dog",
    "face": "person",
    "flower": "flower",
    "plane": "airplane",
}
CLASSES = tuple(FOLDERS)


def index(root: Path) -> list[Photo]:
    """The photographs by class and file name; ids like 'natural_images/person/person_0153'.

    root: the data folder. Raises BlendnetError where a folder is missing or empty.
    """
    # Kaggle's archive unpacks to a folder within a folder.
    layouts = ("natural_images/natural_images", "natural_images", "data/natural_images")
    folder = first_folder(Path(root), layouts, "Natural Images")
    return [
        Photo(f"{COLLECTION}/{name}/{path.stem}", class_name, COLLECTION, ImageFile(path))
        for class_name, name in FOLDERS.items()
        for path in image_files(folder / name)
    ]
