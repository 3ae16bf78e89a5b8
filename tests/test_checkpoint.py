"""A checkpoint is loaded strictly, checked by hash, and cannot run code."""

import json
import os
import pickle

import pytest
import torch
from torch import nn

from blendnet import checkpoint
from blendnet.errors import BlendnetError

META = {"run": "r", "classes": ["a", "b"], "image_size": 8}


def net(width: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width * 36, 2))


def test_round_trip_is_bit_equal(tmp_path):
    model = net()
    model(torch.randn(4, 3, 8, 8))  # moves the batch norm's buffers, integers among them
    meta = checkpoint.save(tmp_path, model, dict(META))
    other = net()
    with torch.no_grad():
        for p in other.parameters():
            p.add_(1)
    loaded = checkpoint.load(tmp_path, other)
    assert loaded["weights_sha256"] == meta["weights_sha256"] == checkpoint.weights_sha256(other)
    for (name, a), b in zip(model.state_dict().items(), other.state_dict().values()):
        assert torch.equal(a, b), name


def test_weights_hash_sees_one_changed_bit():
    model = net()
    before = checkpoint.weights_sha256(model)
    with torch.no_grad():
        model[0].bias[0] += 1e-7
    assert checkpoint.weights_sha256(model) != before


def test_checkpoint_of_another_model_is_one_clear_line(tmp_path):
    checkpoint.save(tmp_path, net(3), dict(META))
    target = net(4)
    before = checkpoint.weights_sha256(target)
    with pytest.raises(BlendnetError, match="checkpoint of another model.*0.weight is \\(3, 3, 3, 3\\), not \\(4") as e:
        checkpoint.load(tmp_path, target)
    assert "\n" not in str(e.value)
    assert checkpoint.weights_sha256(target) == before


def test_changed_truncated_and_missing_files_are_named(tmp_path):
    checkpoint.save(tmp_path, net(), dict(META))
    path = tmp_path / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BlendnetError, match="changed after it was written"):
        checkpoint.load(tmp_path, net())
    path.write_bytes(content[:100])
    with pytest.raises(BlendnetError, match="not a whole safetensors file"):
        checkpoint.load(tmp_path, net())
    (tmp_path / "meta.json").unlink()
    with pytest.raises(BlendnetError, match="no finished checkpoint"):
        checkpoint.load(tmp_path, net())


def test_a_foreign_meta_is_refused(tmp_path):
    checkpoint.save(tmp_path, net(), dict(META))
    (tmp_path / "meta.json").write_text(json.dumps({"hello": 1}))
    with pytest.raises(BlendnetError, match="not a blendnet checkpoint"):
        checkpoint.load(tmp_path, net())


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


def test_a_pickle_in_place_of_the_weights_is_not_run(tmp_path):
    checkpoint.save(tmp_path, net(), dict(META))
    mark = tmp_path / "ran"
    (tmp_path / "weights.safetensors").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(BlendnetError, match="not a whole safetensors file"):
        checkpoint.load(tmp_path, net())
    assert not mark.exists()
