"""The study's own dataset layout through the program: given splits, and its ready-made blends as a test."""

from dataclasses import replace

import numpy as np
import pandas as pd
from PIL import Image

from analysis import tables
from pipelines import cli, sheet
from tests.shared import TINY

CLASSES = TINY.classes


def make(root, n=3):
    """A made-up blendeduibk: n photographs a class and split, and ready-made blends of the first two classes."""
    rng = np.random.default_rng(0)
    for kind in ("reg", "blended"):
        (root / "csv" / kind).mkdir(parents=True)
        for folder in (kind, f"{kind}_test"):
            (root / folder).mkdir()
        for split in ("train", "val", "test"):
            rows = []
            pairs = [(c,) for c in CLASSES] if kind == "reg" else [("boat", "car"), ("cat", "dog")]
            for labels in pairs:
                for i in range(n):
                    name = f"{'_'.join(labels)}_{split}_{i}.jpg"
                    folder = f"{kind}_test" if split == "test" else kind
                    pixels = rng.integers(0, 255, (36, 48, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(root / folder / name)
                    rows.append({"image": name} | {c: int(c in labels) for c in CLASSES})
            pd.DataFrame(rows).to_csv(root / "csv" / kind / f"{split}.csv", index=False)


def test_train_and_predict_on_the_studys_layout(monkeypatch, tmp_path):
    make(tmp_path / "data" / "blendeduibk")
    profile = replace(TINY, sources=("blendeduibk",), test_per_pair=2, val_per_pair=1)
    monkeypatch.setitem(sheet.PROFILES, "demo", profile)
    places = ["--data", str(tmp_path / "data"), "--results", str(tmp_path / "results"), "--only", "*none*"]
    assert cli.main(["train", *places]) == 0
    assert cli.main(["predict", *places]) == 0
    table = tables.read(tmp_path / "results" / "demo" / "tables" / "accuracy.csv", "accuracy")
    assert set(table["test"]) == {"blended", "regular", "ready_made"}
    made = table[(table["test"] == "ready_made") & (table["by"] == "all")]
    assert (made["n"] == 6).all()  # 2 pairs x 3 images of the test split
    assert made.groupby("run")["k"].sum().eq(6).all()  # both + one + none
    assert not set(table.loc[table["test"] == "ready_made", "by"]) & {"alpha", "collection"}
    predictions = tmp_path / "results" / "demo" / "predictions" / "cornet_z-none-blended-s0"
    regular = pd.read_csv(predictions / "regular.csv")
    assert len(regular) == 8 * 3
    assert regular["image_id"].str.contains("_test_").all()
