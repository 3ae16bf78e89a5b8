"""An exported plugin is taken by Brain-Score's own loader and passes its own checks; it answers as our engine does."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch._library.custom_ops import OPDEF_TO_LIB

from analysis import tables
from blendnet.errors import BlendnetError
from blendnet.files import sha256_file
from blendnet.run import Run
from pipelines import brain_model, export_brainscore, networks, sheet
from pipelines.context import Context
from tests import s3_server
from tests.conftest import one_line

brainscore_vision = pytest.importorskip("brainscore_vision")
RUN = Run("cornet_z", "aacn", 4, "untrained", 0)
LAYERS = {"V1": "V1.output", "V2": "V2.output", "V4": "V4.output", "IT": "IT.output"}
NAMED = [f"{region}={layer}" for region, layer in LAYERS.items()]
PROFILE = replace(sheet.DEMO, networks=("cornet_z",), image_size=48, colour="grey", recordings=())


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(PROFILE, tmp_path / "results", tmp_path, device="cpu", progress=False)


def installed(folder: Path, plugin: Path) -> None:
    """A brainscore_vision in `folder` with this plugin among its models: model_helpers copied (it looks for files from
    its own place on), the rest linked. site-packages is not touched. Returns the package's folder."""
    package = Path(brainscore_vision.__file__).parent
    copy = folder / "site" / "brainscore_vision"
    (copy / "models").mkdir(parents=True)
    for child in package.iterdir():
        if child.name == "model_helpers":
            shutil.copytree(child, copy / child.name)
        elif child.name not in ("models", "__pycache__"):
            (copy / child.name).symlink_to(child)
    shutil.copy(package / "models" / "__init__.py", copy / "models")
    shutil.copytree(plugin, copy / "models" / plugin.name)
    # An extra that only Brain-Score's own servers need; imported, never called here.
    (copy.parent / "pytest_check.py").write_text("")
    # The package on the index comes without the three pictures of its own tests.
    pictures = copy / "model_helpers" / "generic_plugin_tests_resources"
    pictures.mkdir()
    for i, name in enumerate(("rgb1.jpg", "rgb2.jpg", "rgb3.png")):
        pixels = np.random.default_rng(i).integers(0, 256, (60, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / name)


def run(folder: Path, *arguments: str) -> str:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(folder / "site"), str(Path(__file__).parent.parent))),
        "HOME": str(folder), "BRAINSCORE_HOME": str(folder / "brain-score"), "BRAINIO_HOME": str(folder / "home"),
        "RESULTCACHING_HOME": str(folder / "cache"), "BS_INSTALL_DEPENDENCIES": "no", "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


CHECKS = """
import sys
from pathlib import Path
import numpy as np
import pytest
import brainscore_vision
from brainscore_core.plugin_management.parse_plugin_changes import get_plugin_ids, parse_plugin_changes
from brainscore_vision.model_helpers.check_submission.check_models import check_brain_model_processing
from tests import s3_server

identifier, package = sys.argv[1], Path(brainscore_vision.__file__).parent
assert package.parent == Path.cwd() / "site", package
stand_in = s3_server.majaj(Path("standin"))
s3_server.register(stand_in, dict.__setitem__)
s3_server.fill_cache(Path("home"), stand_in)
assert get_plugin_ids("models", [identifier], str(package)) == [identifier]
files = [str(p.relative_to(package.parent)) for p in (package / "models" / identifier).rglob("*") if p.is_file()]
changes = parse_plugin_changes(" ".join(files), "brainscore_vision")
assert changes["is_automergeable"] and changes["changed_plugins"]["models"] == [identifier], changes
model = brainscore_vision.load_model(identifier)
check_brain_model_processing(model)  # neural and behavioural, on the stand-in of MajajHong2015.public
stimuli = brainscore_vision.load_stimulus_set("hvm-public")
out = {"ids": stimuli["stimulus_id"].values.astype(str)}
model.start_task("passive")
for region in ("V1", "V2", "V4", "IT"):
    model.start_recording(region, time_bins=[(70, 170)])
    seen = model.look_at(stimuli)
    assert list(seen["stimulus_id"].values) == list(out["ids"])
    out[region] = seen.values
np.savez("answers.npz", **out)
assert not any(name == "blendnet" or name.startswith("blendnet.") for name in sys.modules)
# The two calls of Brain-Score's test_plugin.sh: generic tests, then the plugin's own.
plugin = package / "models" / identifier
sys.exit(pytest.main([
    "-q", "-p", "no:cacheprovider", "--plugin_directory", str(plugin),
    str(package / "model_helpers" / "generic_plugin_tests.py"), str(plugin / "test.py"),
]))
"""


@pytest.mark.slow
def test_brain_scores_loader_and_checks_accept_the_plugin(context, tmp_path: Path) -> None:
    plugin = export_brainscore.export(context, RUN.id, tmp_path / "out", named=NAMED)
    installed(tmp_path, plugin)
    (tmp_path / "checks.py").write_text(CHECKS)
    output = run(tmp_path, "checks.py", plugin.name)
    assert "11 passed" in output, output[-2000:]
    # All units of the plugin's layers against the same network in our engine, on Brain-Score's own stimuli.
    model = brain_model.of_run(context, RUN, LAYERS, projected=False)
    answers = np.load(tmp_path / "answers.npz")
    images = tmp_path / "standin" / "originals" / s3_server.MAJAJ
    for region in LAYERS:
        model.start_recording(region, time_bins=[(70, 170)])
        seen = model.look_at([images / f"{name}.png" for name in answers["ids"]]).values
        assert answers[region].shape == seen.shape
        np.testing.assert_allclose(answers[region], seen, rtol=1e-3, atol=1e-4 * np.abs(seen).max())


def test_the_files_of_a_plugin(context, tmp_path: Path, capsys) -> None:
    plugin = export_brainscore.export(context, RUN.id, tmp_path / "out", named=NAMED)
    weights = networks.weights(context, RUN)
    assert plugin.name == f"blendnet_cornet_z_aacn4_untrained_s0_{weights[:8]}"
    assert plugin.parent == tmp_path / "out" / "brainscore_vision" / "models"
    assert json.loads((plugin / "region_layer_map" / f"{plugin.name}.json").read_text()) == LAYERS
    tensors, own = load_file(plugin / "weights.safetensors"), networks.ready(context, RUN).state_dict()
    assert tensors.keys() == own.keys()
    assert all(torch.equal(tensors[name], own[name]) for name in own)
    code = (plugin / "model.py").read_text()
    assert sha256_file(plugin / "weights.safetensors") in code
    assert "@inproceedings{portscher2022evaluating" in code
    assert "torch.load" not in code
    assert (plugin / "requirements.txt").read_text().split() == ["torch", "torchvision", "safetensors", "pillow"]
    # No file reaches back to an installed blendnet, and none is left behind beside the plugin.
    for path in plugin.rglob("*.py"):
        assert "\nfrom blendnet" not in path.read_text(), path
        compile(path.read_text(), str(path), "exec")
    assert [p.name for p in plugin.parent.iterdir()] == [plugin.name]
    assert "V2: V2.output" in capsys.readouterr().out
    with pytest.raises(BlendnetError) as error:
        export_brainscore.export(context, RUN.id, tmp_path / "out", named=NAMED)
    one_line(error, plugin.name, "already there", "delete it")


def test_weights_elsewhere(context, tmp_path: Path, capsys) -> None:
    url = "https://example.org/weights.safetensors"
    plugin = export_brainscore.export(context, RUN.id, tmp_path, named=NAMED, weights_url=url)
    assert not (plugin / "weights.safetensors").exists()
    beside = tmp_path / f"{plugin.name}.safetensors"
    code = (plugin / "model.py").read_text()
    assert sha256_file(beside) in code
    assert f"WEIGHTS_URL = '{url}'" in code
    assert url in capsys.readouterr().out
    for bad in ("ftp://example.org/w", "https://a b", "https://a'+b"):
        with pytest.raises(BlendnetError) as error:
            export_brainscore.export(context, RUN.id, tmp_path / "other", named=NAMED, weights_url=bad)
        one_line(error, "--weights-url", "https://")


def test_weights_that_were_altered_are_refused(context, tmp_path: Path, monkeypatch) -> None:
    plugin = export_brainscore.export(context, RUN.id, tmp_path, named=NAMED)
    import brainscore_vision.models as folder_of_models

    monkeypatch.setattr(folder_of_models, "__path__", [*folder_of_models.__path__, str(plugin.parent)])
    before = set(sys.modules)
    ours = OPDEF_TO_LIB["blendnet::attend_blocks"]
    try:
        model = importlib.import_module(f"brainscore_vision.models.{plugin.name}.model")
        assert not model.build().training
        # Two plugins, or one and blendnet, live in one process: neither takes the other's operators away.
        assert {f"{plugin.name}::attend_blocks", f"{plugin.name}::attend_blocks_backward"} <= set(OPDEF_TO_LIB)
        assert OPDEF_TO_LIB["blendnet::attend_blocks"] is ours
        content = bytearray((plugin / "weights.safetensors").read_bytes())
        content[-1] ^= 1
        (plugin / "weights.safetensors").write_bytes(bytes(content))
        with pytest.raises(ValueError, match="altered or cut short"):
            model.build()
    finally:
        brainscore_vision.model_registry.pop(plugin.name, None)
        for name in set(sys.modules) - before:
            if plugin.name in name:
                del sys.modules[name]


def scores(path: Path, *rows: dict) -> None:
    base = {"run": RUN.id, "network": "cornet_z", "attention": "aacn", "heads": 4, "training": "untrained", "seed": 0,
            "kind": "untrained", "species": "macaque", "metric": "pls", "score": 0.5, "n_stimuli": 100,
            "n_report": 50, "n_neuroids": 9, "n_subjects": 1, "planted": False}  # fmt: skip
    empty = {name: None for name in tables.columns("scores")}
    tables.write(pd.DataFrame([empty | base | row for row in rows]), path)


def test_committed_layers_come_from_the_table(context, tmp_path: Path, capsys) -> None:
    scores(
        context.tables / "scores.csv",
        {"recording": "henaff2021", "region": "V1", "layer": "V1.output"},
        {"recording": "freemanziemba2013public-V2", "region": "V2", "layer": "V4.output"},
        {"recording": "cowley2023-210325", "region": "V4", "layer": "V4.output"},
    )
    with pytest.raises(BlendnetError) as error:
        export_brainscore.export(context, RUN.id, tmp_path / "out")
    one_line(error, RUN.id, "no committed layer for IT", "--layer IT=LAYER")
    assert not (tmp_path / "out").exists()
    plugin = export_brainscore.export(context, RUN.id, tmp_path / "out", named=["IT=IT.output"])
    found = json.loads((plugin / "region_layer_map" / f"{plugin.name}.json").read_text())
    assert found == {"V1": "V1.output", "V2": "V4.output", "V4": "V4.output", "IT": "IT.output"}
    assert "V2: V4.output (committed on freemanziemba2013public-V2 by pls)" in capsys.readouterr().out


def test_layers_of_other_weights_are_refused(context, tmp_path: Path) -> None:
    row = {"recording": "henaff2021", "region": "V1", "layer": "V1.output"}
    scores(context.tables / "scores.csv", row | {"weights_sha256": "0" * 64})
    with pytest.raises(BlendnetError) as error:
        export_brainscore.layers_of(context, RUN, NAMED[1:])
    one_line(error, "other weights", "000000000000", "blendnet score")
    scores(context.tables / "scores.csv", row | {"weights_sha256": networks.weights(context, RUN)})
    assert export_brainscore.layers_of(context, RUN, NAMED[1:])["V1"].recording == "henaff2021"


@pytest.mark.parametrize(
    ("run_id", "named", "says"),
    [
        ("cornet_z-aacn4-untrained-s9", NAMED, ("cornet_z-aacn4-untrained-s9", "did you mean")),
        (RUN.id, [], ("no committed layers", "scores.csv is missing", "blendnet score")),
        (RUN.id, ["V2"], ("--layer 'V2'", "REGION=LAYER")),
        (RUN.id, ["V3=V1.output"], ("unknown region 'V3'",)),
        (RUN.id, ["V2=V2.outptu"], ("unknown layer", "did you mean 'V2.output'")),
        ("cornet_z-aacn4-blended-s0", NAMED, ("cornet_z-aacn4-blended-s0", "train")),
    ],
)
def test_mistakes_are_one_line(context, tmp_path: Path, run_id: str, named: list[str], says: tuple[str, ...]) -> None:
    with pytest.raises(BlendnetError) as error:
        export_brainscore.export(context, run_id, tmp_path / "out", named=named)
    one_line(error, *says)
    assert not list(tmp_path.glob("out/**/model.py"))
