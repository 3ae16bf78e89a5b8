"""The files of an exported plugin, as templates of string.Template: what Brain-Score's plugins look like (brainscore
version 2: __init__.py registers, model.py loads, test.py tests, region_layer_map/<identifier>.json commits)."""

INIT = '''"""${plain_run}: a network of blendnet, which asks whether attention makes a CNN more like the brain."""

from brainscore_vision import model_registry

from .model import get_brain_model

model_registry['${plain}'] = get_brain_model
'''

MODEL = '''"""${plain_run} as a model of Brain-Score. Written by `blendnet export-brainscore`.

The code that builds the network lies in blendnet/, copied from there.
"""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from brainscore_vision.model_helpers.activations.pytorch import PytorchWrapper
from brainscore_vision.model_helpers.brain_transformation import ModelCommitment

from .blendnet import models
from .blendnet.data.brain.placement import place

IDENTIFIER = ${identifier}
IMAGE_SIZE = ${image_size}  # px
VISUAL_DEGREES = ${degrees}
LAYERS = list(${layers})
WEIGHTS_SHA256 = ${sha256}
WEIGHTS_URL = ${url}  # '' where the file lies beside this one
MEAN, STD = np.array(${mean}, np.float32), np.array(${std}, np.float32)
GREY = ${grey}  # the network sees luminance only
HERE = Path(__file__).parent

BIBTEX = """@inproceedings{portscher2022evaluating,
  title={Evaluating Attention in Convolutional Neural Networks for Blended Images},
  author={Portscher, Andrea and Stabinger, Sebastian and Rodr{\\\\'i}guez-S{\\\\'a}nchez, Antonio},
  booktitle={IEEE 5th International Conference on Image Processing Applications and Systems (IPAS)},
  year={2022},
  doi={10.1109/IPAS55744.2022.10052853}
}"""


def weights_file() -> Path:
    """The weights, fetched where they are not there yet; their sha256 is checked every time."""
    path = HERE / "weights.safetensors"
    if WEIGHTS_URL:
        home = Path(os.getenv("BRAINSCORE_HOME", "~/.brain-score")).expanduser()
        path = home / "models" / IDENTIFIER / "weights.safetensors"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(WEIGHTS_URL, str(path), hash_prefix=WEIGHTS_SHA256)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != WEIGHTS_SHA256:
        raise ValueError(f"{path} has sha256 {found}, expected {WEIGHTS_SHA256}: altered or cut short")
    return path


def build() -> torch.nn.Module:
    """The network with its weights, in evaluation mode."""
    network = models.build(
        ${network}, attention=${attention}, heads=${heads}, n_classes=${n_classes}, seed=${seed}, image_size=IMAGE_SIZE
    )
    network.load_state_dict(load_file(str(weights_file())), strict=True)
    return network.eval()


def preprocess(image_filepaths) -> np.ndarray:
    """Files, already placed on the screen, to float32 (n, 3, IMAGE_SIZE, IMAGE_SIZE), as in training and scoring."""
    return np.stack([_preprocess(path) for path in image_filepaths])


def _preprocess(path) -> np.ndarray:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.uint8)
    seen = place(pixels, image_size=IMAGE_SIZE, degrees=VISUAL_DEGREES, model_degrees=VISUAL_DEGREES)
    seen = np.rint(seen).astype(np.uint8)
    if GREY:
        seen = np.repeat(np.rint(seen @ np.array([0.299, 0.587, 0.114]))[..., None].astype(np.uint8), 3, axis=2)
    return np.ascontiguousarray(((seen.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1))


def get_model() -> PytorchWrapper:
    """The network as an activations model."""
    wrapper = PytorchWrapper(identifier=IDENTIFIER, model=build(), preprocessing=preprocess)
    wrapper.image_size = IMAGE_SIZE
    return wrapper


def region_layer_map() -> dict:
    """Layers that were committed to the regions on stimuli of their own."""
    return json.loads((HERE / "region_layer_map" / f"{IDENTIFIER}.json").read_text())


def get_brain_model() -> ModelCommitment:
    """The model that Brain-Score scores."""
    return ModelCommitment(
        identifier=IDENTIFIER, activations_model=get_model(), layers=LAYERS, region_layer_map=region_layer_map(),
        visual_degrees=VISUAL_DEGREES,
    )
'''

TEST = """import numpy as np
import pytest
from PIL import Image

import brainscore_vision
from brainscore_core.supported_data_standards.brainio.stimuli import StimulusSet
from brainscore_vision.models.${plain} import model


def test_has_identifier():
    assert brainscore_vision.load_model(${identifier}).identifier == ${identifier}


def test_weights_are_the_published_ones():
    assert model.weights_file().is_file()  # raises where the sha256 is another


@pytest.mark.parametrize("region", ["V1", "V2", "V4", "IT"])
def test_committed_layer_answers(region, tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    stimuli = StimulusSet({"stimulus_id": ["a", "b"]})
    stimuli.stimulus_paths = {name: tmp_path / f"{name}.png" for name in ("a", "b")}
    for name, image in zip(("a", "b"), pixels):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    stimuli.identifier = f"{model.IDENTIFIER}-test-{region}"
    candidate = brainscore_vision.load_model(${identifier})
    candidate.start_recording(region, time_bins=[(70, 170)])
    seen = candidate.look_at(stimuli)
    assert set(seen["layer"].values) == {model.region_layer_map()[region]}
    assert np.isfinite(seen.values).all()
    assert np.abs(seen.values[0] - seen.values[1]).max() > 0
"""
