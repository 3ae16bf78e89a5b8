"""Lists of images: the CSV files of a data set, and the manifests of blends."""

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from blendnet.data.classes import CLASSES
from tests.bad_inputs import Bad, Room

C = "lists of images"
HEADER = "image," + ",".join(CLASSES)
ROWS = [f"{c}_{i}.jpg," + ",".join("1" if c == k else "0" for k in CLASSES) for c in CLASSES for i in range(2)]


def study(room: Room) -> Path:
    """A small data set in the study's layout; returns the folder of its CSVs."""
    room.profile(sources=("blendeduibk",))
    folder = room.data / "blendeduibk" / "csv" / "reg"
    folder.mkdir(parents=True)
    (room.data / "blendeduibk" / "reg").mkdir()
    for i, split in enumerate(("train", "val", "test")):
        rows = [row.replace("_", f"_{i}", 1) for row in ROWS]
        (folder / f"{split}.csv").write_text("\n".join([HEADER, *rows]) + "\n")
        for row in rows:
            Image.new("RGB", (20, 20)).save(room.data / "blendeduibk" / "reg" / row.split(",")[0])
    return folder


def csv(what: str, change: Callable[[str], str | bytes], *says: str, name: str = "val.csv") -> Bad:
    def make(room: Room) -> list[str]:
        path = study(room) / name
        room.put(path, change(path.read_text()))
        return room.command("train")

    return Bad(C, what, make, (name, *says))


def _first(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


ROW = "boat_10.jpg,1,0,0,0,0,0,0,0"
MORE = (
    csv("a CSV without a class's column", lambda t: _first(t, ",cat", ",kat"), "'cat'"),
    csv("a CSV of no bytes", lambda t: "", "is missing"),
    csv("a CSV with semicolons", lambda t: t.replace(",", ";"), "semicolons"),
    csv("a label of 2", lambda t: _first(t, ROW, "boat_10.jpg,2,0,0,0,0,0,0,0"), "row 2", "'2'"),
    csv("a label that is not a number", lambda t: _first(t, ROW, "boat_10.jpg,nan,0,0,0,0,0,0,0"), "row 2", "'nan'"),
    csv("a label that is empty", lambda t: _first(t, ROW, "boat_10.jpg,,0,0,0,0,0,0,0"), "row 2", "''"),
    csv("two labels for one object", lambda t: _first(t, ROW, "boat_10.jpg,1,1,0,0,0,0,0,0"), "2 labels (boat, car)"),
    csv("a row of three cells", lambda t: _first(t, ROW, "boat_10.jpg,1,0"), "row 2"),
    csv("a row of too many cells", lambda t: _first(t, ROW, ROW + ",1"), "row 2", "10 cells"),
    csv("a row that is there twice", lambda t: t + ROW + "\n", "boat_10.jpg", "also in"),
    csv("a photograph in two splits", lambda t: t + ROW.replace("_1", "_0") + "\n", "boat_00.jpg", "also in"),
    csv("a photograph that is not there", lambda t: _first(t, "boat_10", "boat_99"), "row 2", "boat_99"),
    csv("a name that climbs out of the folder", lambda t: _first(t, "boat_10", "../reg/boat_10"), "../reg/boat_10"),
    csv("an absolute name", lambda t: _first(t, "boat_10.jpg", "/etc/hostname"), "/etc/hostname"),
    csv("a name of 100 000 letters", lambda t: _first(t, "boat_10", "b" * 100_000), "row 2"),
    csv("a cell of 200 000 letters", lambda t: _first(t, ROW, "x" * 200_000 + ROW), "field larger"),
    csv("bytes that are no text", lambda t: bytes(range(256)) * 4),
    csv("a CSV in UTF-16", lambda t: t.encode("utf-16")),
    csv("a quote that never ends", lambda t: _first(t, ROW, '"' + ROW), "row"),
    csv("zero bytes in a name", lambda t: _first(t, "boat_10", "boat\0_10"), "row 2"),
)


def _without(room: Room) -> list[str]:
    path = study(room) / "val.csv"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("plane")]
    room.put(path, "\n".join(lines) + "\n")
    return room.command("train")


MORE += (Bad(C, "a class that has no photograph in a split", _without, ("given split", "CSV")),)


def manifest(what: str, change: Callable[[list[str]], list[str] | bytes], *says: str) -> Bad:
    """A manifest that somebody changed, read by its public function (the predict step makes its own anew)."""

    def make(room: Room) -> Callable[[], object]:
        from blendnet.data import manifest as manifests
        from blendnet.data import photoset
        from blendnet.data.sources import procedural

        photos = photoset.load(
            procedural.index(n_per_class=4, size=16), image_size=16, classes=CLASSES, progress=False,
            fractions=(0.4, 0.3, 0.3),
        )  # fmt: skip
        path = room.folder / "test.csv"
        manifests.save_manifest(manifests.manifest(photos, "test", n_per_pair=1), path)
        content = change(path.read_text().splitlines())
        room.put(path, content if isinstance(content, bytes) else "\n".join(content) + "\n")
        return lambda: manifests.load_manifest(path, photos)

    return Bad(C, f"manifest: {what}", make, ("test.csv", *says))


def _cell(lines: list[str], column: int, value: str) -> list[str]:
    cells = lines[1].split(",")
    cells[column] = value
    return [lines[0], ",".join(cells), *lines[2:]]


MORE += (
    manifest("a column under another name", lambda x: [x[0].replace("alpha", "weight"), *x[1:]], "weight"),
    manifest("an alpha of 2", lambda x: _cell(x, 5, "2"), "row 2", "alpha 2 is outside 0 to 1"),
    manifest("an alpha that is NaN", lambda x: _cell(x, 5, "nan"), "row 2", "alpha nan"),
    manifest("an alpha that is a word", lambda x: _cell(x, 5, "half"), "row 2", "'half' is not a number"),
    manifest("an image that is not in the set", lambda x: _cell(x, 1, "dog_1"), "row 2", "'dog_1'"),
    manifest("the wrong class", lambda x: _cell(x, 3, "zebra"), "row 2", "'zebra'"),
    manifest("another blend space", lambda x: _cell(x, 6, "lab"), "row 2", "'lab'"),
    manifest("a blend that is there twice", lambda x: [*x, x[1]], "occurs twice"),
    manifest("bytes that are no text", lambda x: bytes(range(256))),
    manifest("no bytes", lambda x: b"", "empty"),
    manifest("a row of three cells", lambda x: [x[0], "a,b,c"], "line 2"),
    manifest("a row of nine cells", lambda x: [x[0], x[1] + ",9"], "cells"),
)
