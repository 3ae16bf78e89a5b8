"""Brain-Score's public benchmarks, loaded by Brain-Score's own code from a local S3 server that holds small stand-ins.

Nothing of the loading is replaced: boto3 downloads, sha1 checks, netCDF, zip and csv are the real ones. Replaced are
the registry's lines with sha1 and version ids (s3_server.register) and the expected counts.
"""

import os
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from analysis.similarity._ceiling import split_half
from analysis.similarity._splits import shuffle_splits
from blendnet.data import brain
from blendnet.data.brain import _brainscore, _brainscore_storage, freemanziemba2013public, majajhong2015public
from blendnet.errors import BlendnetError
from tests import s3_server
from tests.conftest import one_line

pytest.importorskip("brainscore_vision")
pytest.importorskip("moto")
FZ, MJ = freemanziemba2013public.SOURCE, majajhong2015public.SOURCE
SMALL = {
    s.name: replace(s, counts={region: s3_server.COUNTS[region] for region in s.counts}) for s in (FZ, MJ)
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    """(freeman, majaj, address, folder): stand-ins in a storage on loopback, and a folder with both downloaded."""
    folder = tmp_path_factory.mktemp("brainscore")
    patch = pytest.MonkeyPatch()
    _brainscore_storage.ready()
    freeman, majaj = s3_server.freeman(folder), s3_server.majaj(folder)
    for module in (freemanziemba2013public, majajhong2015public):
        patch.setattr(module, "SOURCE", SMALL[module.NAME])
    for stand_in in (freeman, majaj):
        s3_server.register(stand_in, patch.setitem)
    with s3_server.storage(freeman, majaj) as address:
        patch.setenv("AWS_ENDPOINT_URL", address)
        yield freeman, majaj, address, folder
    patch.undo()


@pytest.fixture(scope="module")
def loaded(world):
    """{region: recording}, fetched once from the storage."""
    home = world[3] / "home"
    found = brain.load("freemanziemba2013public", world[3], home=home)
    found += brain.load("majajhong2015public", world[3], home=home)
    return {recording.region: recording for recording in found}


def stand_in_of(world, region: str) -> s3_server.StandIn:
    return world[0] if region in ("V1", "V2") else world[1]


@pytest.mark.parametrize("region", ["V1", "V2", "V4", "IT"])
def test_counts_windows_and_labels(world, loaded, region: str) -> None:
    recording, stand_in = loaded[region], stand_in_of(world, region)
    n, n_neuroids = s3_server.COUNTS[region]
    assert recording.trials.shape == (n, stand_in.trials.shape[1], n_neuroids)
    assert recording.name.endswith(f"public-{region}")
    assert recording.species == "macaque"
    assert recording.window_ms == ((50, 200) if region in ("V1", "V2") else (70, 170))
    assert recording.about["shown_degrees"] == (4 if region in ("V1", "V2") else 8)
    assert recording.stimuli.degrees == 8
    assert recording.about["splits"] == {"n_splits": 10, "test_size": 0.1, "seed": 1}
    label_of = dict(zip(stand_in.ids, stand_in.labels))
    assert list(recording.about["stratify"]) == [label_of[name] for name in recording.stimuli.ids]
    assert len(set(recording.neuroid_ids)) == n_neuroids
    if region in ("V4", "IT"):
        assert set(recording.subjects) == {"Chabo", "Tito"}


@pytest.mark.parametrize("region", ["V1", "V2", "V4", "IT"])
def test_trials_belong_to_their_stimuli(world, loaded, region: str) -> None:
    """Against the numbers from which the stand-in was made, before any packing; what was not shown is NaN."""
    recording, stand_in = loaded[region], stand_in_of(world, region)
    order = [stand_in.ids.index(name) for name in recording.stimuli.ids]
    which = [i for i, r in enumerate(stand_in.regions) if r == region]
    prefix = "neuron" if region in ("V1", "V2") else "Chabo_"
    which = [int(name.removeprefix(prefix)) for name in recording.neuroid_ids]
    assert {stand_in.regions[i] for i in which} == {region}
    expected = stand_in.trials[order][:, :, which]
    np.testing.assert_allclose(recording.trials, expected, rtol=1e-5, atol=1e-6)
    assert np.isnan(recording.trials).any() == (region in ("V4", "IT"))


@pytest.mark.parametrize("region", ["V1", "IT"])
def test_splits_mean_and_ceiling_are_the_benchmarks(world, loaded, region: str) -> None:
    recording = loaded[region]
    source = SMALL[recording.name.rsplit("-", 1)[0]]
    with _brainscore.benchmark(source, region, world[3], home=world[3] / "home") as bench:
        _, own = bench._similarity_metric.cross_validation._split.build_splits(bench._assembly)
        ceiling = bench.ceiling
        averaged = bench._assembly.transpose("presentation", "neuroid").values
        assert tuple(bench._assembly["stimulus_id"].values) == recording.stimuli.ids
    settings = _brainscore.splits_of(recording)
    ours = shuffle_splits(len(recording.stimuli), **settings)
    assert len(ours) == len(own) == 10
    for (train, test), (own_train, own_test) in zip(ours, own):
        np.testing.assert_array_equal(train, own_train)
        np.testing.assert_array_equal(test, own_test)
    np.testing.assert_allclose(recording.mean(), averaged, rtol=1e-5)
    mine = split_half(recording.trials, seed=1, n_boot=0, by=recording.about["ceiling_by"]).value
    theirs = ceiling.raw.mean("split")
    by_id = dict(zip(theirs["neuroid_id"].values, theirs.values))
    np.testing.assert_allclose(mine, [by_id[name] for name in recording.neuroid_ids], atol=1e-6)


@pytest.mark.parametrize("region", ["V2", "V4"])
def test_stimuli_are_placed_as_brain_score_places_them(world, loaded, region: str, monkeypatch) -> None:
    from brainscore_vision.benchmark_helpers.screen import place_on_screen

    recording = loaded[region]
    source = SMALL[recording.name.rsplit("-", 1)[0]]
    with _brainscore.benchmark(source, region, world[3], home=world[3] / "home") as bench:
        placed = place_on_screen(bench._assembly.stimulus_set, 8, source.degrees)
        assert len(placed) == len(recording.stimuli)
        for i in (0, 7, len(placed) - 1):
            with Image.open(placed.get_stimulus(recording.stimuli.ids[i])) as image:
                expected = np.asarray(image.convert("RGB"))
            np.testing.assert_array_equal(recording.stimuli.read(i), expected)
    # A stimulus of 4 degrees covers half the width of the screen, one of 8 degrees all of it.
    stand_in = stand_in_of(world, region)
    original = stand_in.images[recording.stimuli.ids[0]]
    if region == "V2":
        assert recording.stimuli.read(0).shape == (80, 80, 3)
        np.testing.assert_array_equal(recording.stimuli.read(0)[20:60, 20:60, 0], original)
        assert set(np.unique(recording.stimuli.read(0)[:20])) == {128}
    else:
        np.testing.assert_array_equal(recording.stimuli.read(0), original)


def test_surroundings_are_put_back_and_nothing_is_installed(world, loaded) -> None:
    from brainscore_core.supported_data_standards.brainio import fetch
    from brainscore_vision.benchmark_helpers import screen

    before = fetch._local_data_path, screen.root_path, os.environ.get("RESULTCACHING_DISABLE")
    with _brainscore.benchmark(SMALL["majajhong2015public"], "V4", world[3], home=world[3] / "home"):
        assert fetch._local_data_path == str(world[3] / "home")
        assert os.environ["RESULTCACHING_DISABLE"] == "1"
    assert (fetch._local_data_path, screen.root_path, os.environ.get("RESULTCACHING_DISABLE")) == before
    os.environ["BS_INSTALL_DEPENDENCIES"] = "yes"
    try:
        _brainscore_storage.ready()
        assert os.environ["BS_INSTALL_DEPENDENCIES"] == "no"
    finally:
        os.environ["BS_INSTALL_DEPENDENCIES"] = "no"


def test_an_assembly_that_changed_is_not_answered_from_a_cache(world, loaded, tmp_path: Path, monkeypatch) -> None:
    """Brain-Score pickles this assembly by region and access only; another one must be read all the same."""
    other = s3_server.freeman(tmp_path, seed=7)
    s3_server.register(other, monkeypatch.setitem)
    s3_server.fill_cache(tmp_path / "home", other)
    (changed,) = freemanziemba2013public.load(tmp_path, regions=("V1",), home=tmp_path / "home")
    assert changed.sha256 != loaded["V1"].sha256
    assert not np.allclose(np.sort(changed.mean(), axis=None), np.sort(loaded["V1"].mean(), axis=None))


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def test_server_away_is_one_line_and_what_is_there_needs_no_server(world, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("BRAINIO_HOME", str(tmp_path / "empty"))
    with pytest.raises(BlendnetError) as error:
        freemanziemba2013public.load(tmp_path)
    one_line(error, "FreemanZiemba2013.public", "Brain-Score's public storage", "network", str(tmp_path / "empty"))
    assert not [p for p in (tmp_path / "empty").rglob("*") if p.is_file() and p.name != ".blendnet.lock"]
    s3_server.fill_cache(tmp_path / "empty", world[0])
    (recording,) = freemanziemba2013public.load(tmp_path, regions=("V2",))
    assert recording.region == "V2"


@pytest.mark.parametrize("kind", ["nc", "csv", "zip"])
def test_wrong_sha1_is_one_line_and_is_not_kept(world, tmp_path: Path, monkeypatch, kind: str) -> None:
    import boto3

    freeman, _, address, _ = world
    client = boto3.client(
        "s3", endpoint_url=address, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
    )
    whole, versions = freeman.files[kind].read_bytes(), dict(freeman.versions)
    altered = bytearray(whole)
    altered[len(whole) // 2] ^= 1
    try:
        s3_server.put(client, freeman, kind, bytes(altered))
        with pytest.raises(BlendnetError) as error:
            freemanziemba2013public.load(tmp_path, regions=("V1",), home=tmp_path)
        one_line(error, freeman.files[kind].name, "sha1", freeman.sha1[kind][:12], "run the same command again")
        assert not list(tmp_path.rglob(freeman.files[kind].name))
    finally:
        freeman.versions.update(versions)
    (recording,) = freemanziemba2013public.load(tmp_path, regions=("V1",), home=tmp_path)
    assert recording.trials.shape[0] == 48


@pytest.mark.parametrize("kind", ["nc", "zip"])
def test_download_that_ends_early_leaves_nothing_that_looks_whole(world, tmp_path, monkeypatch, kind: str) -> None:
    freeman, _, address, _ = world
    size = freeman.files[kind].stat().st_size
    with s3_server.cutting(address, f".{kind}", size // 2) as bad, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", bad)
        with pytest.raises(BlendnetError) as error:
            freemanziemba2013public.load(tmp_path, regions=("V1",), home=tmp_path)
    one_line(error, "FreemanZiemba2013.public")
    assert not list(tmp_path.rglob(freeman.files[kind].name))
    (recording,) = freemanziemba2013public.load(tmp_path, regions=("V1",), home=tmp_path)
    assert recording.trials.shape[0] == 48


def test_object_that_was_stored_short_is_noticed(world, tmp_path: Path) -> None:
    """A short file of the announced length passes the transfer; its sha1 does not."""
    freeman = world[0]
    s3_server.fill_cache(tmp_path, freeman)
    path = tmp_path / freeman.sha1["nc"] / freeman.files["nc"].name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BlendnetError) as error:
        freemanziemba2013public.load(tmp_path, regions=("V1",), home=tmp_path)
    one_line(error, path.name, "cut short or altered")
    assert not path.exists()


def test_stimuli_that_were_half_unpacked_are_unpacked_again(world, loaded, tmp_path: Path) -> None:
    """Brain-Score takes any folder beside the zip for its contents, even with half an image in it."""
    freeman = world[0]
    s3_server.fill_cache(tmp_path, freeman)
    (first,) = freemanziemba2013public.load(tmp_path, regions=("V1",), home=tmp_path)
    folder = (tmp_path / freeman.sha1["zip"] / freeman.files["zip"].name).with_suffix("")
    some = sorted(folder.glob("*.png"))
    some[3].write_bytes(some[3].read_bytes()[:40])
    some[4].unlink()
    (again,) = freemanziemba2013public.load(tmp_path, regions=("V1",), home=tmp_path)
    assert again.stimuli.sha256 == first.stimuli.sha256 == loaded["V1"].stimuli.sha256


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"counts": {"V1": (135, 102), "V2": (135, 103)}}, "stimuli and neuroids (48, 6), expected (135, 102)"),
        ({"window_ms": (70.0, 170.0)}, "window in ms (50.0, 200.0), expected (70.0, 170.0)"),
        ({"degrees": 8.0}, "degrees 4.0, expected 8.0"),
    ],
)
def test_a_benchmark_that_is_not_the_published_one(world, loaded, change: dict, says: str) -> None:
    source = replace(SMALL["freemanziemba2013public"], **change)
    with pytest.raises(BlendnetError) as error:
        _brainscore.load(source, world[3], regions=("V1",), home=world[3] / "home")
    one_line(error, "FreemanZiemba2013public.V1-pls", says, "requirements.lock")


def test_unknown_region(world) -> None:
    with pytest.raises(BlendnetError) as error:
        majajhong2015public.load(world[3], regions=("V44",), home=world[3] / "home")
    one_line(error, "V44", "did you mean 'V4'")


def test_where_downloads_lie(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("BRAINIO_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    assert _brainscore_storage.home(tmp_path) == tmp_path / "user" / ".brainio"
    (tmp_path / "brainio").mkdir()
    assert _brainscore_storage.home(tmp_path) == tmp_path / "brainio"
    monkeypatch.setenv("BRAINIO_HOME", str(tmp_path / "elsewhere"))
    assert _brainscore_storage.home(tmp_path) == tmp_path / "elsewhere"
    assert _brainscore_storage.home(tmp_path, tmp_path / "chosen") == tmp_path / "chosen"


def test_splits_of_another_recording_are_refused(world, loaded) -> None:
    other = replace(loaded["V1"], name="cowley2023-210325", about={"session": "210325"})
    with pytest.raises(BlendnetError) as error:
        _brainscore.splits_of(other)
    one_line(error, "cowley2023-210325", "none of Brain-Score's")


def test_presentations_under_one_number_are_all_kept() -> None:
    """Stimulus a was shown twice as its repetition 0: three presentations, none overwritten."""
    presented = xr.DataArray(
        [[1.0], [2.0], [3.0], [4.0], [5.0]],
        dims=["presentation", "neuroid"],
        coords={"stimulus_id": ("presentation", ["a", "b", "a", "a", "b"]),
                "repetition": ("presentation", [0, 7, 0, 3, 2])},
    )  # fmt: skip
    trials = _brainscore._trials(presented, ("b", "a"))
    np.testing.assert_array_equal(trials[:, :, 0], [[5, 2, np.nan], [1, 3, 4]])
    once = presented.isel(presentation=[0, 1, 3, 4])
    # Numbers 0, 2, 3 and 7 of the whole set, in this order along the axis.
    np.testing.assert_array_equal(
        _brainscore._trials(once, ("b", "a"))[:, :, 0], [[np.nan, 5, np.nan, 2], [1, np.nan, 4, np.nan]]
    )
