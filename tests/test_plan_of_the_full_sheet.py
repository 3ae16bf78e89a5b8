"""benchmarks.plan: counts against a count of its own, hours and cost against sums of their own, and the page that shows
them."""

import re
from pathlib import Path

import pytest

from benchmarks import _scoring_side, plan
from blendnet import models
from blendnet.errors import BlendnetError
from pipelines.sheet import FULL
from tests.conftest import one_line

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "how-to" / "plan-the-full-sheet.md"
TEXT = (ROOT / plan.MEASURED).read_text()


@pytest.fixture(autouse=True)
def from_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def told(assumed=plan.ASSUMED, text=None):
    return {what: (much, where) for what, much, where in plan.lines(assumed=assumed, text=text)}


def invented(layer=0.0, once=0.0, ceiling=0.0, without=()):
    """The text of a measurement in which every score of every size takes the same."""
    sizes = {(a.stimuli, a.neuroids, a.subjects, m) for a in plan.areas(FULL) for m in plan.metrics_of(FULL, a)}
    points = [{"stimuli": n, "neuroids": q, "subjects": s, "metric": m, "layer": layer, "once": once,
               "ceiling": ceiling, "bytes": 7e6} for n, q, s, m in sorted(sizes) if m not in without]  # fmt: skip
    return plan.written(points, dict.fromkeys(plan.weights(TEXT), 10.0), "invented")


def test_the_page_shows_the_plan_as_it_is_now():
    """Whoever changes the sheet, what was measured or what is assumed puts `python -m benchmarks.plan` on the page."""
    assert plan.table() in PAGE.read_text()


def test_runs_images_and_hours_are_those_of_the_sheet():
    found = told()
    per_training = {(r.network, r.attention, r.heads) for r in FULL.trained_runs() if r.training == "blended"}
    runs = len(per_training) * len(FULL.trainings) * len(FULL.seeds)
    assert found["runs"][0].startswith(f"{runs} trained, ")
    images = runs * FULL.recipe.epochs * FULL.recipe.epoch_size
    assert found["training images"][0] == f"{images:.3g}"
    training = images / 3600 / 1000
    assert training < int(found["GPU-hours"][0]) < 1.05 * training
    read = sum(len(models.layers(run.network)) for run in FULL.scored_runs())
    assert f"{read} layers x " in found["activations"][1]
    fast = told(plan.Assumed(throughput=500))
    assert int(fast["GPU-hours"][0]) == pytest.approx(2 * int(found["GPU-hours"][0]), abs=1)
    assert {k: v for k, v in fast.items() if k not in ("GPU-hours", "cost")} == {
        k: v for k, v in found.items() if k not in ("GPU-hours", "cost")
    }


def test_cpu_hours_are_layers_and_networks_times_what_was_measured_and_each_ceiling_once():
    n = 88  # areas with their metrics
    assert sum(len(plan.metrics_of(FULL, a)) for a in plan.areas(FULL)) == n
    networks = len(FULL.scored_runs()) + 1
    read = sum(len(models.layers(run.network)) for run in FULL.scored_runs()) + 1
    for text, seconds in ((invented(layer=3), 3 * read * n), (invented(once=30), 30 * networks * n),
                          (invented(ceiling=6000), 6000 * n)):  # fmt: skip
        found = told(text=text)
        assert found["CPU-hours"] == (f"{seconds / 3600:.0f}", "scores, one thread, measured")
        assert "7 MB beside Python" in found["longest score job"][1]
    most = max(len(models.layers(network)) for network in FULL.networks)
    for text, seconds in ((invented(layer=100), 100 * most * n), (invented(ceiling=600), 600 * n)):
        assert told(text=text)["longest score job"][0] == f"{seconds / 3600:.1f} h"


def test_what_was_not_measured_is_named_and_a_larger_size_stands_in():
    found = told(text=invented(once=30, without=("pls_reverse", "cka")))
    assert found["CPU-hours"][1].endswith("; left out, not measured: cka of 7 areas, pls_reverse of 7 areas")
    known = {(135, 10, 1, "pls"): plan.Seconds(1, 1, 1, 1), (3200, 10, 1, "pls"): plan.Seconds(2, 2, 2, 2),
             (3200, 20, 1, "pls"): plan.Seconds(3, 3, 3, 3), (92, 0, 4, "rsa"): plan.Seconds(4, 4, 4, 4)}  # fmt: skip
    for stimuli, neuroids, subjects, metric, wanted in (
        (135, 10, 1, "pls", 1), (100, 99, 1, "pls", 1), (136, 10, 4, "pls", 2), (3200, 18, 1, "pls", 3),
        (3201, 10, 1, "pls", None), (92, 5, 4, "rsa", None), (92, 0, 1, "rsa", 4),
    ):  # fmt: skip
        takes, _ = plan.at(known, plan.Area("a", "V1", stimuli, neuroids, subjects), metric)
        assert (takes.layer if takes else None) == wanted


def test_storage_and_cost_are_the_sums_of_what_is_shown():
    found = told()
    kinds = ("checkpoints", "activations", "predictions", "scores", "inside")
    parts = [float(found[kind][0].removesuffix(" GB")) for kind in kinds]
    assert sum(parts) == pytest.approx(float(found["storage"][0].removesuffix(" GB")), abs=1.6)
    gpu, cpu, gb = (
        float(x) for x in re.match(r"(\d+) GPU .* \+ (\d+) CPU .* \+ (\d+) storage", found["cost"][1]).groups()
    )
    assert gpu == pytest.approx(2 * int(found["GPU-hours"][0]), abs=1.5)
    assert cpu == pytest.approx(0.05 * int(found["CPU-hours"][0]), abs=0.6)
    assert gb == pytest.approx(3 * 0.02 * sum(parts), abs=0.6)
    assert int(found["cost"][0]) == pytest.approx(gpu + cpu + gb, abs=1.6)
    assert told(text=invented())["checkpoints"][0] == "4.8 GB"  # 480 of 10 MB


def test_bytes_of_the_weights_are_those_of_the_networks():
    known = plan.weights(TEXT)
    assert set(known) == {(run.network, run.attention) for run in FULL.trained_runs()}
    for run in FULL.trained_runs():
        if run.network == "cornet_z" and run.seed == 0 and run.training == "blended":
            found = plan.megabytes(run, FULL.size_of(run))
            assert known[run.network, run.attention] == pytest.approx(found, abs=0.06)


def test_one_score_is_measured_in_its_parts():
    found = _scoring_side.measure({"stimuli": 92, "neuroids": 0, "subjects": 2, "metric": "rsa"})
    assert set(found) == {"layer", "once", "ceiling", "bytes"}
    assert found["once"] > found["layer"] > 0  # a thousand resamples


def test_a_file_without_the_tables_is_one_line():
    with pytest.raises(BlendnetError) as error:
        plan.measured("nothing")
    one_line(error, "plan.md has no table of stimuli", "--measure")
