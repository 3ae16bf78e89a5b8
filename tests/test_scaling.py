"""The scaling benchmark measures what it says, and scoring and extraction hold no more for more layers."""

import json
import math
import tracemalloc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from analysis import figures
from benchmarks import _scaling_side as side
from benchmarks import scaling
from blendnet import activations, models
from blendnet.errors import BlendnetError
from blendnet.files import read_json, sha256_of, write_json
from blendnet.projection import sparse_projection
from pipelines import dissect, extract, networks, placing, recordings, score, scoring
from pipelines.context import Context

SMALL = {"networks": 1, "layers": 2, "stimuli": 24, "neuroids": 4}


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_exponent_of_a_power_law_is_its_power(power):
    sizes = [4.0, 12.0, 40.0, 120.0, 400.0]
    slope, lo, hi = scaling.exponent(sizes, [0.3 * n**power for n in sizes])
    np.testing.assert_allclose([slope, lo, hi], power, atol=1e-9)


def test_exponent_and_interval_are_those_of_a_regression():
    """scipy's linregress, with its standard error and Student's t."""
    rng = np.random.default_rng(0)
    for n in (3, 4, 5):
        sizes, values = 10.0 ** np.arange(n), np.exp(rng.normal(size=n) + np.arange(n))
        slope, lo, hi = scaling.exponent(list(sizes), list(values))
        fit = stats.linregress(np.log(sizes), np.log(values))
        half = stats.t.ppf(0.975, n - 2) * fit.stderr
        np.testing.assert_allclose([slope, lo, hi], [fit.slope, fit.slope - half, fit.slope + half], rtol=1e-9)


def test_exponent_says_nothing_where_nothing_was_measured():
    assert math.isnan(scaling.exponent([1.0], [2.0])[0])
    assert math.isnan(scaling.exponent([1.0, 2.0, 3.0], [0.0, 1.0, 2.0])[0])
    slope, lo, hi = scaling.exponent([1.0, 10.0], [1.0, 10.0])
    assert slope == pytest.approx(1)
    assert math.isnan(lo)
    assert math.isnan(hi)


@pytest.fixture
def own(monkeypatch):
    """The steps put invented layers and weights in place of the package's; here they are put back."""
    for module, name in ((models, "layers"), (networks, "weights"), (networks, "ready"), (extract, "key_of"),
                         (figures, "names"), (dissect, "N_BLENDS"), (dissect, "N_TRAIN"),
                         (dissect, "N_TEST"), (dissect, "WIDTH")):  # fmt: skip
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(side.recordings, "load_one", side.recordings.load_one)


def points(step, grows, sizes, cpu=lambda n: n, held=lambda n: 1e6, disk=lambda n: n):
    base = scaling.TWINS if step in ("correlate", "draw", "report") else scaling.BASE
    return [{"step": step, "grows": grows, "factor": f, **base, grows: base[grows] * f, "cpu": cpu(f), "seconds": 1.0,
             "bytes": held(f), "disk": disk(f)} for f in sizes]  # fmt: skip


def test_table_has_a_row_a_series_with_its_exponents_and_what_is_left_out():
    found = points("extract", "layers", (1, 3, 10, 30, 100)) + points(
        "score rsa", "stimuli", (1, 3, 10), lambda n: n**2
    )
    text = scaling.table(found, scaling.FACTORS, quick=False, limit_s=7)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith(("| extract", "| score"))]
    assert [row[0] for row in rows] == ["| extract", "| score rsa"]
    (_, grows, sizes, _, _, cpu, _, memory, _, disk, dropped), by_stimuli = rows
    assert (grows, sizes) == ("layers", "4 to 400")
    assert (cpu, memory, disk) == ("1.00 (1.00 to 1.00), 1.00", "0.00 (0.00 to 0.00), 0.00", cpu)
    assert dropped.strip(" |") == ""
    assert by_stimuli[5] == "2.00 (2.00 to 2.00), 2.00"
    assert by_stimuli[-1].strip(" |") == "1920, 6400: over 7 s"


def test_notes_name_what_is_worse_than_linear_or_not_flat_and_nothing_else():
    good = points("score pls", "layers", (10, 30, 100))
    slow = points("score rsa", "stimuli", (10, 30, 100), cpu=lambda n: n**2)
    fat = points("correlate", "networks", (10, 30, 100), held=lambda n: 1e6 * n)
    lines = [line for line in scaling.notes(good + slow + fat) if line.startswith("- ")]
    assert [line.split(":")[0] for line in lines] == ["- score rsa by stimuli, 2.00", "- correlate by networks, 1.00 (70 MB more)"]  # fmt: skip # noqa: E501
    assert sum("none." in line for line in scaling.notes(good)) == 2


def test_every_series_that_may_grow_has_its_reason():
    assert set(scaling.WHY) <= {(step, grows) for step, _, grows in scaling.SERIES}


def test_a_file_of_points_that_is_none_is_one_line(tmp_path, monkeypatch):
    """A list of points alone is what it held before it said what was measured."""
    kept = tmp_path / "points.json"
    monkeypatch.setattr("sys.argv", ["scaling", "--quick", "--points", str(kept)])
    for text in ("[]", '{"points": []}', "{"):
        kept.write_text(text)
        with pytest.raises(SystemExit, match="^benchmarks.scaling: .*points.json") as error:
            scaling.main()
        assert "\n" not in str(error.value)


def test_points_are_left_out_once_they_are_expected_to_be_over_the_limit(monkeypatch):
    monkeypatch.setattr(side, "forked", lambda point: {"cpu": float(point["layers"] ** 2), "seconds": 0.0})
    series = {"step": "extract", "base": SMALL, "grows": "layers", "factors": (1, 3, 10, 30, 100)}
    assert [p["layers"] for p in side.grown(series, 5000.0)] == [2, 6, 20, 60]  # 60^2 = 3600, 200^2 = 40000
    assert [p["layers"] for p in side.grown(series, 100.0)] == [2, 6]


def test_planted_data_have_the_sizes_that_are_asked_for(tmp_path, own):
    p = {"networks": 3, "layers": 5, "stimuli": 30, "neuroids": 7}
    side.scoring(tmp_path, p, "rsa")
    folders = sorted((tmp_path / "activations").glob("*/*/"))
    assert len(folders) == 3
    for folder in folders:
        assert sorted(f.stem for f in folder.glob("*.npy")) == [f"layer{i}" for i in range(5)]
        assert activations.load_layer(folder, "layer4").shape == (30, side.WIDTH)
    recording = side.brain(30, 7)
    assert recording.trials.shape == (30, 4, 7)
    assert len(recording.stimuli.ids) == 30
    assert sum(isinstance(m, torch.nn.Conv2d) for m in side.network(5).modules()) == 5
    made = side.twins(tmp_path / "twins", 8)
    assert made["accuracy"]["run"].nunique() == 8
    assert len(list((tmp_path / "twins" / "predictions").iterdir())) == 8


@pytest.mark.parametrize("step", [name for name in side.STEPS if name != "draw"])
def test_each_step_runs_and_writes_what_it_is_measured_for(step, tmp_path, own):
    call = side.STEPS[step](tmp_path, SMALL | {"networks": 4})
    before = side.size(tmp_path)
    call()
    assert side.size(tmp_path) > before
    wanted = {"extract": "n3/key.json", "gather": "many/**/scores.csv", "correlate": "tables/effects.csv",
              "predict": "predictions/*/key.json", "dissect": "inside/*/whole.json",
              "report": "report.html"}  # fmt: skip
    found = list(tmp_path.glob(wanted.get(step, "scores/*/*.json")))
    assert len(found) == {"predict": 5, "dissect": 4}.get(step, 4 if step.startswith("score") else 1)


def test_stimuli_of_the_extract_series_go_the_chains_own_way(tmp_path, monkeypatch):
    """Placed and made grey once for all networks, and what is stored is what the network makes of that."""
    placed = []
    monkeypatch.setattr(placing, "_KEPT", {})
    real = placing._place
    monkeypatch.setattr(placing, "_place", lambda *a: placed.append(a[2]) or real(*a))
    side.extraction(tmp_path, SMALL | {"networks": 3})()
    assert sorted(placed) == list(range(SMALL["stimuli"]))
    for kept in placing._KEPT.values():
        kept.file.close()


def test_a_point_is_measured_in_a_process_of_its_own():
    """In a fresh parent, as the benchmark runs it: the child's files are gone, its numbers are here."""
    series = [{"step": "extract", "base": SMALL, "grows": "stimuli", "factors": [1, 3]}]
    one, three = scaling.measure(series)
    assert (one["stimuli"], three["stimuli"]) == (24, 72)
    for point in (one, three):
        assert min(point["cpu"], point["seconds"], point["bytes"]) > 0
        stored = SMALL["layers"] * point["stimuli"] * side.WIDTH * 4
        assert stored < point["disk"] < stored + 20_000
    json.dumps([one, three])  # what --points keeps


def planted_run(folder, n_layers, n_stimuli=80):
    """A context, its run and recording, with the activations of so many layers stored."""
    side.scoring(folder, SMALL | {"layers": n_layers, "stimuli": n_stimuli}, "rsa")
    context = Context(side.design(1, "rsa"), folder, folder / "data", progress=False)
    return context, context.profile.trained_runs()[0], side.brain(n_stimuli, SMALL["neuroids"])


def test_scoring_holds_one_layer_at_a_time(tmp_path, own, monkeypatch):
    """Counts the layers that are alive whenever another one is read."""
    context, run, recording = planted_run(tmp_path, 6)
    alive: list[weakref.ref] = []
    most = 0

    def noted(read):
        def reading(*args):
            nonlocal most
            found = read(*args)
            alive.append(weakref.ref(found))
            most = max(most, sum(ref() is not None for ref in alive))
            return found

        return reading

    monkeypatch.setattr(activations, "load_layer", noted(activations.load_layer))
    monkeypatch.setattr(score, "_read", noted(score._read))
    score.score_run(context, run, recording)
    assert len(alive) >= 3 * 6  # on half A, on half B, on all
    assert most <= 2  # a loop's variable keeps the last one until the next is there


def test_memory_of_scoring_does_not_grow_with_layers(tmp_path, own):
    peaks = {}
    for n in (3, 24):
        context, run, recording = planted_run(tmp_path / str(n), n)
        scoring._CEILINGS.clear()
        tracemalloc.start()
        score.score_run(context, run, recording)
        peaks[n] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    layer = 80 * side.WIDTH * 4
    assert peaks[24] - peaks[3] < 5 * layer  # of the 21 more; rows of tables, names and seals are a few kB a layer


def test_layers_read_one_by_one_are_those_stored_in_the_recordings_order(tmp_path, own, monkeypatch):
    context, run, recording = planted_run(tmp_path, 3)
    folder = extract.folder(context, run, recording.stimuli)
    key = read_json(folder / activations.KEY)
    order = np.random.default_rng(0).permutation(80)
    key["stimulus_id"] = [key["stimulus_id"][i] for i in order]
    key["key"]["stimulus_ids"] = sha256_of(key["stimulus_id"])
    monkeypatch.setattr(extract, "key_of", lambda *_: key["key"])
    write_json(folder / activations.KEY, key)
    xs, _, _ = score.inputs(context, run, recording)
    assert list(xs) == ["layer0", "layer1", "layer2"]
    assert len(xs) == 3
    assert "layer1" in xs
    assert "layer9" not in xs
    stored = np.load(folder / "layer1.npy")
    for _ in range(2):  # the first reading and a later one
        np.testing.assert_array_equal(xs["layer1"][order], stored)


def test_layers_of_two_extractions_are_never_mixed(tmp_path, own):
    context, run, recording = planted_run(tmp_path, 3)
    folder = extract.folder(context, run, recording.stimuli)
    xs, _, _ = score.inputs(context, run, recording)
    assert xs["layer0"].shape == (80, side.WIDTH)
    key = folder / activations.KEY
    again = key.with_suffix(".new")
    again.write_bytes(key.read_bytes())
    again.replace(key)
    for layer in ("layer0", "layer1"):
        with pytest.raises(BlendnetError, match="extracted anew while it was scored"):
            xs[layer]


def test_a_layer_that_is_damaged_or_of_other_stimuli_is_refused(tmp_path, own):
    context, run, recording = planted_run(tmp_path, 3)
    folder = extract.folder(context, run, recording.stimuli)
    xs, _, _ = score.inputs(context, run, recording)
    content = bytearray((folder / "layer0.npy").read_bytes())
    content[-1] ^= 1
    (folder / "layer0.npy").write_bytes(content)
    with pytest.raises(BlendnetError, match="changed after it was written"):
        xs["layer0"]
    (folder / "sha256.json").unlink()  # as an older version left it: the shape still speaks
    np.save(folder / "layer1.npy", np.zeros((79, 5), np.float32))
    with pytest.raises(BlendnetError, match="not finite float32 numbers of 80 stimuli"):
        xs["layer1"]
    np.save(folder / "layer2.npy", np.full((80, 5), np.nan, np.float32))
    with pytest.raises(BlendnetError, match="not finite float32"):
        xs["layer2"]
    assert xs["layer0"].shape == (80, side.WIDTH)
    (folder / "layer0.npy").write_bytes(b"")
    with pytest.raises(BlendnetError, match="changed while it was scored"):
        xs["layer0"]


def test_extraction_holds_one_projection_for_layers_of_one_size(tmp_path, own, monkeypatch):
    """Matrices alive at the end, and the numbers: those of each layer through a projection of its own."""
    made: list[weakref.ref] = []

    def noted(*args):
        matrix = sparse_projection(*args)
        made.append(weakref.ref(matrix))
        return matrix

    most = 0
    seal = activations.seal

    def counting(folder):
        nonlocal most
        most = sum(ref() is not None for ref in made)
        return seal(folder)

    monkeypatch.setattr(activations, "sparse_projection", noted)
    monkeypatch.setattr(activations, "seal", counting)
    side.extraction(tmp_path, SMALL | {"layers": 6})()
    assert len(made) == 1
    assert most == 1
    profile = replace(side.design(1, "rsa"), image_size=side.SIDE, colour="grey")
    context = Context(profile, tmp_path, tmp_path, progress=False)
    x = recordings.show(context, profile.trained_runs()[0], side.shown(24))(0, 24)
    with torch.inference_mode():
        for i, part in enumerate(side.network(6)):
            x = part(x)
            wanted = (sparse_projection(x[0].numel(), side.WIDTH, 0) @ x.flatten(1).T).T
            np.testing.assert_allclose(activations.load_layer(tmp_path / "n0", str(i)), wanted, atol=1e-5)
