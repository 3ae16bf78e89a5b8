"""The notebooks as they lie in the repository: no outputs, an opening that says what they need, one line where it is
missing; and what notebook 5 tells the reader to write is what the house takes."""

import json
import re

import nbformat
import numpy as np
import pytest

from analysis import notebook as nb
from blendnet import models
from blendnet.data import brain
from blendnet.errors import BlendnetError
from tests.conftest import one_line
from tests.notebooks_executed import FOLDER, NAMES, code_of, execute, read


def test_there_are_five_in_reading_order():
    assert tuple(sorted(path.name for path in FOLDER.glob("*.ipynb"))) == NAMES
    guide = (FOLDER / "README.md").read_text()
    assert [guide.index(name) for name in NAMES] == sorted(guide.index(name) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_they_are_kept_without_outputs_and_with_the_least_metadata(name):
    text = (FOLDER / name).read_text()
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert sorted(json.loads(text)["metadata"]) == ["kernelspec", "language_info"]
    assert notebook.metadata.language_info == {"name": "python"}
    cells = [c for c in notebook.cells if c.cell_type == "code"]
    assert len(cells) >= 5
    assert [c.outputs for c in cells if c.outputs] == []
    assert [c.execution_count for c in cells if c.execution_count is not None] == []
    assert [c.metadata for c in notebook.cells if c.metadata] == []


@pytest.mark.parametrize("name", NAMES)
def test_they_open_with_what_they_need_and_link_to_what_is_there(name):
    notebook = read(name)
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith(f"# {name[0]} · ")
    assert "**Needs**" in notebook.cells[0].source
    assert "`make demo`" in notebook.cells[0].source
    words = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)]+)\)", words):
        assert (FOLDER / target).exists(), target


def lines_of(source):
    return [line for line in source.split("\n") if line.strip() and not line.strip().startswith("#")]


@pytest.mark.parametrize("cell", ["score-network", "score-recording"])
def test_5_takes_ten_lines_each(cell):
    (source,) = [c.source for c in read(NAMES[4]).cells if c.get("id") == cell]
    assert len(lines_of(source)) <= 10
    assert max(map(len, source.split("\n"))) <= 120


def registered(name):
    """The file that notebook 5 tells the reader to write, as text."""
    words = "\n".join(c.source for c in read(NAMES[4]).cells if c.cell_type == "markdown")
    (found,) = re.findall(rf"```python\n# {re.escape(name)}\n(.*?)```", words, flags=re.DOTALL)
    return found


def test_5_its_network_file_is_a_network_of_the_house(tmp_path, monkeypatch):
    (tmp_path / "mynet.py").write_text(registered("blendnet/models/mynet.py"))
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    assert "mynet" in models.names()
    import torch

    from blendnet.activations import read_layers

    x = torch.rand(2, 3, 64, 64)
    for attention in ("none", "aacn"):
        model = models.build("mynet", attention=attention, n_classes=8, seed=0).eval()
        found = read_layers(model, models.layers("mynet"), x, lambda _, out: out.flatten(1))
        assert [v.shape[0] for v in found.values()] == [2, 2, 2, 2]
        assert model(x).shape == (2, 8)
    models.build("mynet", image_size=32)(torch.rand(1, 3, 32, 32))


def test_5_its_recording_file_is_a_recording_of_the_house(tmp_path, monkeypatch):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mylab2026.py").write_text(registered("blendnet/data/brain/mylab2026.py"))
    monkeypatch.setattr(brain, "__path__", [*brain.__path__, str(tmp_path / "code")])
    assert "mylab2026" in brain.names()
    with pytest.raises(BlendnetError, match=r"mylab2026 has no trials\.npy"):
        brain.load("mylab2026", tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "mylab2026").mkdir()
    images, trials = rng.integers(0, 256, (7, 12, 16, 3), np.uint8), rng.normal(size=(7, 3, 5))
    np.save(tmp_path / "mylab2026" / "images.npy", images)
    np.save(tmp_path / "mylab2026" / "trials.npy", trials)
    (found,) = brain.load("mylab2026", tmp_path)
    assert (found.name, found.region, len(found.stimuli), len(found.neuroid_ids)) == ("mylab2026", "V4", 7, 5)
    np.testing.assert_array_equal(found.stimuli.read(3), images[3])
    np.testing.assert_allclose(found.mean(), trials.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_without_results_they_say_what_to_run_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setenv("RESULTS", str(tmp_path))
    monkeypatch.delenv("BLENDNET_PROFILE", raising=False)
    monkeypatch.chdir(FOLDER)
    ran = execute(name, code_of(name)[:1])
    assert isinstance(ran.error, BlendnetError)
    lines = ran.said.strip().split("\n")
    assert len(lines) == 1
    assert lines[0].startswith("blendnet: ")
    assert "make demo" in lines[0]
    assert str(tmp_path) in lines[0]


@pytest.mark.parametrize("name", [n for n in NAMES if not n.startswith("3")])
def test_a_misspelt_profile_is_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setenv("BLENDNET_PROFILE", "foto")
    monkeypatch.chdir(FOLDER)
    ran = execute(name, code_of(name)[:1])
    assert isinstance(ran.error, BlendnetError)
    assert ran.said.strip().count("\n") == 0
    assert "did you mean 'photos'" in ran.said


def test_a_notebook_finds_the_repository_from_below(tmp_path, monkeypatch):
    (tmp_path / "repository" / "notebooks" / "deep").mkdir(parents=True)
    (tmp_path / "repository" / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path / "repository" / "notebooks" / "deep")
    monkeypatch.delenv("RESULTS", raising=False)
    root = (tmp_path / "repository").resolve()
    here = nb.start("demo", data="images")
    assert (here.root, here.results, here.data) == (root, root / "results", root / "images")
    monkeypatch.setenv("RESULTS", str(tmp_path / "elsewhere"))
    assert nb.start("demo").results == tmp_path / "elsewhere"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BlendnetError) as error:
        nb.start("demo")
    one_line(error, str(tmp_path), "jupyter lab notebooks")


def test_what_is_missing_is_said_with_the_command_that_makes_it(tmp_path, monkeypatch):
    monkeypatch.setenv("RESULTS", str(tmp_path))
    (tmp_path / "photos" / "tables").mkdir(parents=True)
    (tmp_path / "photos" / "tables" / "scores.csv").write_text("")
    nb.start("photos", tables=("scores",))
    (tmp_path / "photos" / "activations").mkdir()  # there, but with nothing in it
    for kwargs, words in (
        ({"tables": ("scores", "layers")}, ("tables/layers.csv", "make all PROFILE=photos")),
        (
            {"tables": ("scores",), "folders": ("activations",)},
            ("photos/activations is missing", "make all PROFILE=photos"),
        ),
    ):
        with pytest.raises(BlendnetError) as error:
            nb.start("photos", **kwargs)
        one_line(error, *words)
    with pytest.raises(BlendnetError, match="did you mean 'photos'"):
        nb.start("photo", known=("demo", "photos"))


def test_quietly_hides_progress_and_nothing_else(capsys):
    with nb.quietly():
        print("forecast: 3 layers")
    print("a result")
    assert capsys.readouterr().out == "a result\n"
