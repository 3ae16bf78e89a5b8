"""What a user can get wrong, through the program: one clear line, exit status 1, nothing half-written."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipelines import cli, sheet
from tests.shared import TINY


def fails(capsys, *arguments: str) -> str:
    """Run the program; the one line of its error."""
    capsys.readouterr()
    assert cli.main(list(arguments)) == 1
    lines = capsys.readouterr().err.splitlines()
    lines = [line for line in lines if line.startswith("blendnet: error: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.fixture
def folders(monkeypatch, tmp_path):
    """A profile over class-named folders of photographs, and these photographs."""
    profile = replace(
        TINY, name="demo", sources=("imagefolder",), classes=("car", "cat"), recordings=("cowley2023",), planted=None
    )
    monkeypatch.setitem(sheet.PROFILES, "demo", profile)
    rng = np.random.default_rng(0)
    data = tmp_path / "data"
    for name in (*profile.classes, "dog"):
        (data / "imagefolder" / name).mkdir(parents=True)
        for i in range(24):
            pixels = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(data / "imagefolder" / name / f"{i}.png")
    return data, tmp_path / "results"


def test_corrupt_image_is_named(folders, capsys):
    data, results = folders
    victim = data / "imagefolder" / "cat" / "3.png"
    victim.write_bytes(victim.read_bytes()[:200])
    line = fails(capsys, "train", "--data", str(data), "--results", str(results))
    assert str(victim) in line
    assert "data check" in line
    assert not list(results.rglob("*.safetensors"))
    assert "broken image" in fails(capsys, "data", "check", "--data", str(data), "--results", str(results))


def test_missing_photographs_say_how_to_get_them(folders, capsys):
    data, results = folders
    shutil.rmtree(data / "imagefolder" / "cat")
    line = fails(capsys, "train", "--data", str(data), "--results", str(results))
    assert "cat" in line
    assert "--data" in line


def test_wrong_csv_is_named_with_row_and_value(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sheet.PROFILES, "demo", replace(TINY, sources=("blendeduibk",)))
    root = tmp_path / "data" / "blendeduibk"
    (root / "csv" / "reg").mkdir(parents=True)
    (root / "reg").mkdir()
    header = "image," + ",".join(TINY.classes)
    for split in ("train", "val", "test"):
        (root / "csv" / "reg" / f"{split}.csv").write_text(f"{header}\ncar_1.jpg,0,2,0,0,0,0,0,0\n")
    Image.new("RGB", (20, 20)).save(root / "reg" / "car_1.jpg")
    line = fails(capsys, "train", "--data", str(tmp_path / "data"), "--results", str(tmp_path / "results"))
    assert "csv" in line
    assert "'2'" in line or " 2 " in line


def test_nan_neuroid_is_named(monkeypatch, data_root, tmp_path, capsys):
    """A copy of the V4 recording in which neuron 7 was never recorded, under another session's name."""
    from blendnet.data.brain import cowley2023

    source = data_root / "cowley2023"
    target = tmp_path / "data" / "cowley2023"
    target.mkdir(parents=True)
    shutil.copy(source / "images_210325.zip", target / "images_210325.zip")
    responses = np.load(source / "responses_raw_210325.npy")
    responses[7] = np.nan  # every image, every repeat
    np.save(target / "responses_raw_210325.npy", responses)
    monkeypatch.setattr(cowley2023, "SHA256", {})
    monkeypatch.setitem(sheet.PROFILES, "demo", replace(TINY, recordings=("cowley2023",), planted=None))
    line = fails(capsys, "extract", "--data", str(tmp_path / "data"), "--results", str(tmp_path / "results"))
    assert "neuron 7 is NaN in all repeats of image 0" in line
    assert not (tmp_path / "results").exists()


def test_nan_neuroid_of_any_recording_is_named(data_root):
    from blendnet.data import brain
    from blendnet.errors import BlendnetError

    recording = next(r for r in brain.load("cowley2023", data_root) if r.trials is not None)
    trials = recording.trials.copy()
    trials[3, :, 7] = np.nan
    with pytest.raises(BlendnetError, match=r"neuroid '.*7.*' has no response to stimulus .* \(1 such neuroids\)") as e:
        replace(recording, trials=trials).mean()
    assert "\n" not in str(e.value)


def test_truncated_recording_is_named(data_root, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sheet.PROFILES, "demo", replace(TINY, recordings=("kriegeskorte2008",), planted=None))
    folder = tmp_path / "data" / "kriegeskorte2008"
    folder.mkdir(parents=True)
    for file in (data_root / "kriegeskorte2008").iterdir():
        (folder / file.name).write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    line = fails(capsys, "extract", "--data", str(tmp_path / "data"), "--results", str(tmp_path / "results"))
    assert "kriegeskorte2008" in line
    assert "blendnet data fetch kriegeskorte2008" in line
