"""Your own photographs in class-named folders: ROOT/imagefolder/<class>/<any name>.jpg, or ROOT/<class>/... itself."""

from pathlib import Path

from blendnet.data.photos import Photo
from blendnet.data.sources._image import SUFFIXES, ImageFile, image_files
from blendnet.errors import BlendnetError

CLASSES: tuple[str, ...] = ()  # whatever the folders are called: classes(root)
DOI = None
LICENCE = "yours: the pictures stay where they are"
COLLECTION = "imagefolder"


def classes(root: Path) -> tuple[str, ...]:
    """The names of the folders that hold images, sorted; raises BlendnetError where there are fewer than two."""
    folder = _folder(Path(root))
    if not folder.is_dir():
        raise BlendnetError(f"{folder} is missing; check --data, or make one folder of images for each class there")
    found = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".") and _has_image(p))
    if len(found) < 2:
        raise BlendnetError(
            f"{folder} has {len(found)} folders with images; make one folder for each of two or more classes"
        )
    return tuple(found)


def index(root: Path) -> list[Photo]:
    """The photographs by class and file name; ids like 'imagefolder/dog/holiday.jpg', suffix included so that
    a.jpg and a.png differ. Raises BlendnetError where the folder is missing or has fewer than two classes."""
    folder = _folder(Path(root))
    return [
        Photo(f"{COLLECTION}/{name}/{path.name}", name, COLLECTION, ImageFile(path))
        for name in classes(root)
        for path in image_files(folder / name)
    ]


def _folder(root: Path) -> Path:
    return root / COLLECTION if (root / COLLECTION).is_dir() else root


def _has_image(folder: Path) -> bool:
    return any(p.suffix.lower() in SUFFIXES and not p.name.startswith(".") for p in folder.iterdir())
