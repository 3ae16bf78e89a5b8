"""Stand-ins, so that a page's long commands are run with the arguments that readers copy: every profile of the sheet
becomes a tiny one of the same name, over made-up photographs in the same folders.

A copy of the repository gets this file as pipelines/_small.py and lines at the end of its sheet (STUB); it acts where
DOCS_SMALL is set, also in processes that a command starts. What is tiny: one network and its twin at 32 px, one epoch
of 64 images, one metric, a planted recording in place of real ones, few blends, one figure. What is not: the commands,
the steps, what each checks and writes, and where.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

STUB = """

import os

if os.environ.get("DOCS_SMALL"):
    from pipelines import _small

    PROFILES = _small.Small(PROFILES)
    _small.few()
"""
# One of all figures, and the one that a page adds.
FIGURES = ("accuracy_twins", "optimism")
REGIONS = ("V1", "V2", "V4", "IT")


class Small(dict):
    """The profiles of a sheet, each made tiny as it is put in."""

    def __init__(self, profiles: dict[str, Any]) -> None:
        super().__init__()
        for name, profile in profiles.items():
            self[name] = profile

    def __setitem__(self, name: str, profile: Any) -> None:
        super().__setitem__(name, tiny(profile))


def tiny(profile: Any) -> Any:
    """The stand-in of a profile."""
    from blendnet import models
    from pipelines.sheet import Planted

    # "add mynet to networks of the profile that you work with", says a page.
    own = tuple(n for n in ("mynet",) if n in models.names() and profile.name == "photos")
    # Where pages name no run of ResNet18, CORnet-Z is quicker.
    first = "cornet_z" if profile.name in ("own", "listed", "full") else profile.networks[0]
    kind = profile.attentions[1]
    layers = models.layers(first)
    regions = REGIONS if profile.name in ("photos", "paper") else ("V4",)
    at = {region: layers[(2 * i + 1) * len(layers) // 8] for i, region in enumerate(REGIONS) if region in regions}
    return replace(
        profile,
        fetch=False,
        limit_per_class=None,
        n_per_class=14,
        fractions=(0.5, 0.2, 0.3),
        networks=(first, *own),
        attentions=profile.attentions[:2],
        attentions_of={},
        image_size=32,
        image_sizes={},
        trainings=profile.trainings[:1],
        seeds=(0, 1) if profile.name == "full" else (0,),
        recipe=replace(profile.recipe, epochs=1, epoch_size=64, batch_size=32, lr=1e-3, precision="float32"),
        controls=(),
        recordings=("planted",),
        metrics=("ridge",),
        planted=Planted(f"{first}-{kind}{profile.heads}-blended-s0", at, n_stimuli=40, n_neuroids=6, n_repetitions=4),
        width=40,
        n_splits=2,
        n_bootstrap=10,
        alphas=(0.3, 0.5),
        val_per_pair=1,
        test_per_pair=1,
    )


def few() -> None:
    """One figure, as few blends as there are pairs, a short test of learning rates, and layers committed as if what is
    planted were real."""
    from analysis import figures
    from pipelines import _brainscore_layers, dissect, find_lr

    there = figures.names()
    figures.names = lambda: [name for name in FIGURES if name in there]
    dissect.N_BLENDS = dissect.N_TRAIN = dissect.N_TEST = 28
    dissect.N_MAPS, dissect.WIDTH = 1, 40
    find_lr.find_lr.__kwdefaults__["steps"] = 12  # type: ignore[index]
    # What is planted commits no layer unless it is named; here it stands for a real recording.
    real = _brainscore_layers.committed
    _brainscore_layers.committed = lambda scores, *a, **k: real(scores.assign(planted=False), *a, **k)


def prepare(copy: Path) -> None:
    """Make a copy of the repository one whose profiles can be tiny."""
    (copy / "pipelines" / "_small.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    with (copy / "pipelines" / "sheet.py").open("a", encoding="utf-8") as sheet:
        sheet.write(STUB)


def data(root: Path, n: int = 14) -> None:
    """Made-up photographs below `root`, n a category, in the folders of Caltech-101, Natural Images, the study's data
    set and one's own (imagefolder)."""
    from PIL import Image

    from blendnet.data.sources import blendeduibk, caltech101, natural_images
    from blendnet.data.sources.procedural import draw

    def pictures(name: str, begin: int) -> Iterator[Any]:
        return (Image.fromarray(draw(name, seed=begin + i, size=32)) for i in range(n))

    def save(folder: Path, names: list[str], images: Iterator[Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in zip(names, images):
            image.save(folder / name)

    numbered = [f"image_{i:04d}.jpg" for i in range(n)]
    begin = 0
    for name, categories in caltech101.CATEGORIES.items():
        for category in categories:
            save(root / "caltech101" / "101_ObjectCategories" / category, numbered, pictures(name, begin := begin + n))
    for name, folder in natural_images.FOLDERS.items():
        save(root / "natural_images" / folder, numbered, pictures(name, begin := begin + n))
    for name in ("boat", "cat", "dog"):
        save(root / "imagefolder" / name, numbered, pictures(name, begin := begin + n))

    home = root / "blendeduibk"
    classes = blendeduibk.CLASSES
    (home / "csv" / "reg").mkdir(parents=True)
    (home / "csv" / "blended").mkdir()
    for split, count in (("train", 6), ("val", 3), ("test", 4)):
        folder = "test" if split == "test" else ""
        for kind in ("reg", "blended"):
            rows = ["image," + ",".join(classes)]
            for i in range(count):
                for name in classes:
                    labels = {name} if kind == "reg" else {name, "dog" if name == "cat" else "cat"}
                    file = f"{'_'.join(sorted(labels))}_{split}_{name}_{i}.jpg"
                    place = home / (f"{kind}_{folder}" if folder else kind)
                    save(place, [file], iter([Image.fromarray(draw(name, seed=(begin := begin + 1), size=32))]))
                    rows.append(file + "," + ",".join(str(int(c in labels)) for c in classes))
            (home / "csv" / kind / f"{split}.csv").write_text("\n".join(rows) + "\n")
