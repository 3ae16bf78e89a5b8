"""The stale-figure check: fresh, table changed, file edited, file missing, figure no longer wanted, no note."""

import shutil

import pytest

from analysis import figures, tables
from pipelines import draw
from pipelines.sheet import profile
from tests import made_tables

DEMO = profile("demo")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Tables and figures of a small profile: what every profile has, and consistency."""
    results = tmp_path_factory.mktemp("drawn")
    made = made_tables.made(networks=("resnet18",), seeds=(0, 1), quick=True)
    for name in [*draw.TABLES, "consistency"]:
        tables.write(made[name], results / "tables" / f"{name}.csv")
    draw.draw(DEMO, results)
    return results


@pytest.fixture
def results(drawn, tmp_path):
    shutil.copytree(drawn, tmp_path / "results")
    return tmp_path / "results"


def test_what_was_just_drawn_is_fresh(results):
    names = {p.stem for p in (results / "figures").glob("*.svg")}
    assert names == set(figures.drawable(draw.read_tables(DEMO, results)))
    assert "error_consistency" in names
    assert draw.check(DEMO, results) == []
    assert draw.drawn(results, "error_consistency") == (results / "figures" / "error_consistency.png").read_bytes()


def test_a_table_that_changed_makes_every_figure_stale(results):
    path = results / "tables" / "consistency.csv"
    tables.write(tables.read(path).iloc[1:], path)
    found = draw.check(DEMO, results)
    assert "error_consistency stale (tables changed)" in found
    assert len(found) == len(list((results / "figures").glob("*.pdf")))
    assert draw.drawn(results, "error_consistency") is None


def test_code_that_changed_makes_every_figure_stale(results, monkeypatch):
    monkeypatch.setattr(draw, "CODE", ("analysis/figures",))
    assert "accuracy_twins stale (code changed)" in draw.check(DEMO, results)


@pytest.mark.parametrize("kind", figures.FORMATS)
def test_a_file_that_was_edited_or_copied_by_half_is_found(results, kind):
    path = results / "figures" / f"accuracy_twins.{kind}"
    path.write_bytes(path.read_bytes()[:-20])
    assert draw.check(DEMO, results) == [f"accuracy_twins.{kind} not as drawn"]
    if kind == "png":
        assert draw.drawn(results, "accuracy_twins") is None


def test_a_file_that_is_missing_is_found(results):
    (results / "figures" / "layer_maps.svg").unlink()
    assert draw.check(DEMO, results) == ["layer_maps.svg missing"]


def test_a_figure_that_the_tables_no_longer_ask_for_is_found_and_removed_when_drawn_anew(results):
    (results / "tables" / "consistency.csv").unlink()
    found = draw.check(DEMO, results)
    assert "error_consistency drawn, but the tables no longer ask for it" in found
    (results / "figures" / "blends.png").write_bytes(b"of another step")
    draw.draw(DEMO, results)
    assert draw.check(DEMO, results) == []
    assert not list((results / "figures").glob("error_consistency.*"))
    assert (results / "figures" / "blends.png").exists()


def test_figures_without_their_note_are_stale_and_drawing_makes_them_fresh(results):
    (results / "figures" / draw.DRAWN).unlink()
    assert "layer_maps stale (drawn.json is missing)" in draw.check(DEMO, results)
    shutil.rmtree(results / "figures")
    gone = draw.check(DEMO, results)
    assert "accuracy_alpha.pdf, accuracy_alpha.png, accuracy_alpha.svg missing" in gone
