"""The layers that Brain-Score itself would commit, by the user's command: everything fetched from a loopback S3 server,
and the columns of scores.csv held against Brain-Score's own LayerSelection on the same network."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA

from analysis import tables
from blendnet import models
from blendnet.data.brain import _brainscore, _brainscore_images, _brainscore_storage, majajhong2015public
from blendnet.data.brain._checked import pixels_sha256
from blendnet.data.brain.recording import Stimuli
from blendnet.errors import BlendnetError
from blendnet.files import read_json, write_json
from blendnet.run import Run
from pipelines import (
    _brainscore_layers,
    _brainscore_pca,
    _units,
    brain_model,
    brainscore_layers,
    cli,
    doctor,
    executor,
    extract,
    networks,
    recordings,
    score,
    sheet,
    status,
    verify,
)
from pipelines._follow import Pace
from pipelines.context import Context
from tests import s3_server
from tests.conftest import one_line

pytest.importorskip("brainscore_vision")
pytest.importorskip("moto")
RUN = Run("cornet_z", "none", 0, "untrained", 0)
PROFILE = replace(
    sheet.DEMO, networks=("cornet_z",), attentions=("none",), image_size=32, width=60, n_bootstrap=5, planted=None,
    recordings=("majajhong2015public",), metrics=("pls", "rsa"),
)  # fmt: skip
# Of 2048, 1024 and 512 units: the principal components of wider ones take minutes on one core, Brain-Score's too.
LAYERS = ("V2.output", "V4.output", "IT.output")


def determined(self, x, _own=PCA.transform):
    """scikit-learn's, without the last component: 1000 images less their mean span 999 directions, so that the 1000th
    is rounding. A relative change of 1e-7 in the images' answers moves r by 4e-4 by it, and by 1e-8 without it. On both
    sides: Brain-Score's own number is no more certain than that."""
    found = _own(self, x)
    found[:, 999:] = 0
    return found


def imagenet(path: Path) -> None:
    """A file of Brain-Score's format: 50 validation images a class, of which those that it takes are written."""
    rng = np.random.default_rng(5)
    with h5py.File(path, "w") as file:
        held = file.create_dataset("val/images", (50_000, 24, 24, 3), np.uint8, chunks=(1, 24, 24, 3))
        for i in range(0, 50_000, 50):
            coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
            held[i] = np.asarray(coarse.resize((24, 24), Image.Resampling.BICUBIC))


def small(patch: pytest.MonkeyPatch, stand_in: s3_server.StandIn) -> None:
    """Three layers, and a small benchmark in the place of the public one."""
    _brainscore_storage.ready()
    patch.setattr(models, "layers", lambda network: LAYERS)
    patch.setattr(PCA, "transform", determined)
    patch.setattr(majajhong2015public, "SOURCE", replace(majajhong2015public.SOURCE, counts=s3_server.COUNTS))
    s3_server.register(stand_in, patch.setitem)


def main(arguments: list[str]) -> int:
    """What units call: the program in this small world, whose storage the environment names."""
    known = read_json(Path(arguments[arguments.index("--data") + 1]) / "stand_in.json")
    patch = pytest.MonkeyPatch()
    small(patch, s3_server.StandIn(**known, files={}, ids=[], labels=[], images={}, trials=np.empty(0), regions=[]))
    patch.setitem(sheet.PROFILES, "demo", PROFILE)
    return cli.main(arguments)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    """(folder, address): the benchmark's stand-in and the images in a storage on loopback, nothing downloaded yet."""
    import boto3

    folder = tmp_path_factory.mktemp("brainscore-pca")
    patch = pytest.MonkeyPatch()
    stand_in = s3_server.majaj(folder)
    small(patch, stand_in)
    write_json(folder / "stand_in.json", {name: getattr(stand_in, name) for name in ("dataset", "sha1", "versions")})
    imagenet(folder / "val.hdf5")
    with s3_server.storage(stand_in) as address:
        client = boto3.client(
            "s3", endpoint_url=address, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
        )
        client.create_bucket(Bucket="brain-score-models")
        client.put_object(Bucket="brain-score-models", Key="imagenet2012-val.hdf5", ACL="public-read",
                          Body=(folder / "val.hdf5").read_bytes())  # fmt: skip
        patch.setenv("AWS_ENDPOINT_URL", address)
        patch.setenv("BRAINIO_HOME", str(folder / "home"))
        patch.delenv(_brainscore_images.FILE, raising=False)
        yield folder, address
    recordings.load_one.cache_clear()
    _brainscore_images._read.cache_clear()
    patch.undo()


@pytest.fixture(scope="module")
def chain(world) -> Context:
    """extract, score and brainscore-layers as the user runs them, the last of them also through its command."""
    folder = world[0]
    context = Context(PROFILE, folder / "results" / "demo", folder, only=RUN.id, device="cpu", progress=False)
    extract.extract(context)
    score.score(context)
    table = tables.read(context.tables / "scores.csv")
    assert (table["brain_score_pca_layer"] == "").all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sheet.PROFILES, "demo", PROFILE)
        assert cli.main(["brainscore-layers", "--results", str(folder / "results"), "--data", str(folder), "--only",
                         RUN.id, "--device", "cpu"]) == 0  # fmt: skip
    return context


def rows(context: Context):
    table = tables.read(context.tables / "scores.csv")
    return table[(table["kind"] == "untrained") & (table["metric"] == "pls")].set_index("region")


@pytest.mark.slow
def test_the_columns_are_those_of_brain_scores_own_layer_selection(world, chain, monkeypatch) -> None:
    """All of its code, its images and its PCA included; ours is only how the network is shown an image."""
    from brainscore_vision.model_helpers.activations import pca
    from brainscore_vision.model_helpers.activations.pytorch import PytorchWrapper
    from brainscore_vision.model_helpers.brain_transformation import LayerScores, LayerSelection

    def preprocessing(paths):
        def read(i):
            return brain_model._read([Path(p) for p in paths], i)

        shown = Stimuli("s", tuple(map(str, paths)), read, np.arange(len(paths)), 8.0, pixels_sha256(read, len(paths)))
        return recordings.show(chain, RUN, shown)(0, len(paths)).numpy()

    monkeypatch.setenv("MT_IMAGENET_PATH", str(world[0] / "own" / "imagenet2012.hdf5"))
    wrapper = PytorchWrapper(identifier="ours", model=networks.ready(chain, RUN).eval(), preprocessing=preprocessing)
    scored = []

    def score_layers(self, *args, _own=LayerScores.__call__, **kwargs):
        scored.append(_own(self, *args, **kwargs))
        return scored[-1]

    monkeypatch.setattr(LayerScores, "__call__", score_layers)
    layers = list(LAYERS)
    selection = LayerSelection(model_identifier="ours", activations_model=wrapper, layers=layers, visual_degrees=8)
    fitted = []
    monkeypatch.setattr(pca.PCA, "fit", lambda self, x, _own=pca.PCA.fit: (fitted.append(x.shape), _own(self, x))[1])
    with _brainscore.benchmark(majajhong2015public.SOURCE, "IT", world[0]) as bench:
        theirs = str(selection(selection_identifier="IT", benchmark=bench))
        ceiling = float(bench.ceiling)
    assert sorted(fitted) == [(1000, 1024), (1000, 2048)]  # layers of more than 1000 units went through a PCA
    row = rows(chain).loc["IT"]
    assert row["brain_score_pca_layer"] == theirs
    assert row["brain_score_pca_raw"] ** 2 / ceiling == pytest.approx(float(scored[0].sel(layer=theirs)), abs=1e-4)
    assert row["brain_score_pca_raw"] > 0.3
    # Another number than on projected features, which stands beside it.
    assert abs(row["brain_score_pca_raw"] - row["brain_score_raw"]) > 1e-3


@pytest.mark.slow
def test_only_the_rows_that_brain_score_would_have_carry_it(chain) -> None:
    table = tables.read(chain.tables / "scores.csv")
    filled = table[table["brain_score_pca_layer"] != ""]
    assert set(zip(filled["region"], filled["metric"], filled["kind"])) == {
        ("V4", "pls", "untrained"), ("IT", "pls", "untrained")
    }  # fmt: skip
    assert (table["brain_score_pca_raw"].notna() == (table["brain_score_pca_layer"] != "")).all()


@pytest.mark.slow
def test_a_second_time_nothing_is_computed_and_after_a_kill_only_what_is_missing(chain, monkeypatch) -> None:
    before = (chain.tables / "scores.csv").read_bytes()
    asked = []

    def counted(layer, n_units, basis, _own=_brainscore_layers.components):
        asked.append(layer)
        return _own(layer, n_units, basis)

    monkeypatch.setattr(_brainscore_pca, "components", counted)
    brainscore_layers.brainscore_layers(chain)
    assert asked == []
    path = _brainscore_pca.path_of(chain, RUN.id, "majajhong2015public-IT", "IT")
    whole = path.read_bytes()
    piece = _brainscore_pca.read_json(path)
    del piece["raw"]["IT.output"]
    _brainscore_pca.write_json(path, piece | {"whole": False})
    score.gather(chain)
    assert rows(chain)["brain_score_pca_layer"]["IT"] == ""  # of half of the layers none is the best
    brainscore_layers.brainscore_layers(chain)
    assert asked == ["IT.output"]
    assert path.read_bytes() == whole
    assert (chain.tables / "scores.csv").read_bytes() == before


@pytest.mark.slow
def test_by_units_of_another_process_files_and_table_are_the_same(chain, monkeypatch, capsys) -> None:
    """The unit computes one region from nothing, in a process of its own; the command makes the table."""
    monkeypatch.chdir(Path(__file__).resolve().parent.parent)
    table, path = chain.tables / "scores.csv", _brainscore_pca.path_of(chain, RUN.id, "majajhong2015public-IT", "IT")
    other = _brainscore_pca.path_of(chain, RUN.id, "majajhong2015public-V4", "V4")
    before, whole, kept = table.read_bytes(), path.read_bytes(), other.read_bytes()
    path.unlink()
    score.gather(chain)
    assert table.read_bytes() != before
    by_units = partial(executor.run, chain, "brainscore-layers", executor="local", jobs=1,
                       program="tests.test_brainscore_pca", pace=Pace(look=0.1))  # fmt: skip
    assert by_units() == 0
    assert (table.read_bytes(), path.read_bytes()) == (before, whole)
    capsys.readouterr()
    assert by_units() == 0
    assert "1 units: 1 were done before, 0 to do" in capsys.readouterr().out
    found = status.collect(sheet.DEMO, chain.results)["verbs"]["brainscore-layers"]
    assert found["units"][RUN.id]["state"] == "done"
    write_json(path, read_json(path) | {"whole": False})  # as a job leaves it that was killed
    note = _units.note_path(chain.results, "brainscore-layers", RUN.id)
    note.unlink()
    assert "brainscore-layers" not in status.collect(sheet.DEMO, chain.results)["verbs"]  # nobody ever submitted it
    write_json(note.with_name("brainscore-layers-cornet_z-none-blended-s0.json"), {})
    found = status.collect(sheet.DEMO, chain.results)["verbs"]["brainscore-layers"]
    assert found["units"][RUN.id]["state"] == "not started"
    path.write_bytes(b"{")
    assert status.collect(sheet.DEMO, chain.results)["verbs"]["brainscore-layers"]["counts"]["done"] == 0
    path.write_bytes(whole)
    # --force: once, by the command; a unit that is requeued goes on from what it has.
    forced = replace(chain, force=True)
    unit = executor._unit(forced, "brainscore-layers", RUN.id, "", "tests.test_brainscore_pca")
    assert "--force" not in unit.arguments
    executor._forget(forced, unit)
    assert list(path.parent.iterdir()) == []
    path.write_bytes(whole)
    other.write_bytes(kept)
    with pytest.raises(BlendnetError, match="lists none of Brain-Score's benchmarks"):
        executor.run(replace(chain, profile=sheet.DEMO), "brainscore-layers", executor="local")


@pytest.mark.slow
def test_numbers_of_other_weights_do_not_enter_the_table(chain, monkeypatch) -> None:
    path = chain.tables / "scores.csv"
    before = path.read_bytes()
    row = {"metric": "pls", "kind": "untrained", "run": RUN.id, **rows(chain).reset_index().iloc[0].to_dict()}
    assert _brainscore_pca.columns(chain, row)["brain_score_pca_layer"] == row["brain_score_pca_layer"]
    for name in ("activations_key", "recording_sha256"):
        assert _brainscore_pca.columns(chain, row | {name: "0" * 64}) == {}
    monkeypatch.setattr(_brainscore_pca, "N_COMPONENTS", 999)
    assert _brainscore_pca.columns(chain, row) == {}
    score.gather(chain)
    assert (rows(chain)["brain_score_pca_layer"] == "").all()
    monkeypatch.undo()
    score.gather(chain)
    assert path.read_bytes() == before


@pytest.mark.slow
def test_verify_recomputes_them_and_doctor_knows_them(chain, capsys, monkeypatch) -> None:
    asked, real = [], _brainscore_pca.compute

    def once(context, run, found):
        asked.append(asked[0] if asked else real(context, run, found))
        return asked[0]

    monkeypatch.setattr(_brainscore_pca, "compute", once)
    context = replace(chain, recording=("majajhong2015public-IT",))
    assert verify.verify(context, n=9, seed=0) == 0
    assert len(asked) == 1
    path = chain.tables / "scores.csv"
    before = path.read_bytes()
    table = tables.read(path)
    place = table.index[(table["brain_score_pca_layer"] != "") & (table["region"] == "IT")][0]
    table.loc[place, "brain_score_pca_raw"] += 0.01
    path.write_text(tables.to_csv(table, "scores"))
    try:
        capsys.readouterr()
        assert verify.verify(context, n=9, seed=0) == 1
        assert "brain_score_pca_raw: " in capsys.readouterr().out
    finally:
        path.write_bytes(before)
    stored = _brainscore_pca.path_of(chain, RUN.id, "majajhong2015public-IT", "IT")
    whole = stored.read_bytes()
    stored.write_bytes(whole.replace(b"0.", b"0.1", 1))
    try:
        assert doctor.doctor(PROFILE, chain.results) == 1
        assert f"blendnet brainscore-layers --only {RUN.id}" in capsys.readouterr().out
    finally:
        stored.write_bytes(whole)


def test_images_are_brain_scores_own_in_its_order(world) -> None:
    found = _brainscore_images.images(world[0])
    assert len(found) == 1000
    assert found.ids[:3] == ("0", "50", "100")
    with h5py.File(world[0] / "val.hdf5") as file:
        np.testing.assert_array_equal(found.read(2), file["val/images"][100])
    assert found.degrees is None


def test_without_a_network_one_line_says_so(world, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BRAINIO_HOME", str(tmp_path / "home"))
    with pytest.raises(BlendnetError) as error:
        _brainscore_images.images(tmp_path)
    one_line(error, "1000 of ImageNet's validation images", "s3://brain-score-models", "connect to a network",
             "MT_IMAGENET_PATH")  # fmt: skip
    assert _brainscore_images.FILE not in __import__("os").environ


def test_a_file_that_is_none_is_one_line(world, tmp_path, monkeypatch) -> None:
    bad = tmp_path / "imagenet2012.hdf5"
    bad.write_bytes(b"no HDF5")
    monkeypatch.setenv("MT_IMAGENET_PATH", str(bad))
    with pytest.raises(BlendnetError) as error:
        _brainscore_images.images(tmp_path)
    one_line(error, str(bad), "delete it")


def test_a_profile_without_brain_scores_benchmarks_is_one_line(tmp_path) -> None:
    context = Context(replace(PROFILE, recordings=("cowley2023",)), tmp_path, tmp_path, progress=False)
    with pytest.raises(BlendnetError) as error:
        brainscore_layers.brainscore_layers(context)
    one_line(error, "none of Brain-Score's benchmarks", "--recording freemanziemba2013public")
