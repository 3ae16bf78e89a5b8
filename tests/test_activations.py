"""Activations: what the hooks see is what a direct forward pass gives; projection keeps geometry; resume and reuse."""

import numpy as np
import pytest
import torch
from torch import nn

from blendnet import activations, assembly, files
from blendnet.errors import BlendnetError
from blendnet.projection import project, sparse_projection

LAYERS = ("0", "2")


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Linear(2 * 144, 3))


def images(n: int) -> torch.Tensor:
    return torch.randn(n, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def run(folder, model, x, *, width=50, key=None, said=None, **options):
    ids = [f"s{i}" for i in range(len(x))]
    return activations.extract(
        folder, model, LAYERS, lambda a, b: x[a:b], ids, key=key or {"weights": "w"}, width=width, seed=0,
        batch_size=8, say=(said if said is not None else []).append, progress=False, **options,
    )  # fmt: skip


def test_stored_equals_projected_direct_forward(tmp_path):
    model, x = net().eval(), images(20)
    run(tmp_path / "a", model, x)
    with torch.inference_mode():
        first = model[0](x)
        second = model[2](model[1](first))
    for layer, direct in (("0", first), ("2", second)):
        dense = sparse_projection(direct[0].numel(), 50, 0).to_dense().numpy()
        expected = direct.flatten(1).numpy() @ dense.T
        np.testing.assert_allclose(activations.load_layer(tmp_path / "a", layer), expected, rtol=1e-4, atol=1e-4)


def test_small_layers_are_kept_whole(tmp_path):
    model, x = net().eval(), images(5)
    run(tmp_path / "a", model, x, width=10_000)
    with torch.inference_mode():
        np.testing.assert_array_equal(activations.load_layer(tmp_path / "a", "0"), model[0](x).flatten(1).numpy())


def test_projection_keeps_inner_products_in_expectation():
    d, width = 5000, 2000
    x = torch.randn(6, d, generator=torch.Generator().manual_seed(0))
    x[1] = x[0] + 0.3 * x[1]
    estimates = torch.stack([project(x, sparse_projection(d, width, seed)) for seed in range(8)])
    gram = (estimates @ estimates.transpose(1, 2)).mean(0) / d
    np.testing.assert_allclose(gram.numpy(), (x @ x.T / d).numpy(), atol=0.05)
    again = project(x, sparse_projection(d, width, 3))
    assert torch.equal(estimates[3], again)
    assert not torch.equal(estimates[3], estimates[4])


def test_reuse_says_so_and_a_changed_key_says_what_differs(tmp_path):
    model, x, said = net(), images(9), []
    first = run(tmp_path / "a", model, x, said=said)
    said.clear()
    assert run(tmp_path / "a", model, x, said=said) == first
    assert any("reused" in s for s in said)
    said.clear()
    assert run(tmp_path / "a", model, x, key={"weights": "other"}, said=said) != first
    assert any("weights: w -> other" in s for s in said)
    said.clear()
    run(tmp_path / "a", model, x, key={"weights": "other"}, width=20, said=said)
    assert any("projection.width: 50 -> 20" in s for s in said)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("batch", [1, 9, 17, 24])
def test_killed_and_resumed_gives_the_same_bytes(tmp_path, batch):
    model, x = net(), images(200)
    run(tmp_path / "whole", model, x)

    calls = []

    def failing(a, b):
        calls.append(a)
        if len(calls) == batch + 1:
            raise Killed
        return x[a:b]

    ids = [f"s{i}" for i in range(len(x))]
    options = {"key": {"weights": "w"}, "width": 50, "seed": 0, "batch_size": 8, "progress": False}
    with pytest.raises(Killed):
        activations.extract(tmp_path / "cut", model, LAYERS, failing, ids, say=lambda s: None, **options)
    assert not (tmp_path / "cut").exists()
    seen = []

    def counting(a, b):
        seen.append(a)
        return x[a:b]

    activations.extract(tmp_path / "cut", model, LAYERS, counting, ids, say=lambda s: None, **options)
    # one forecast of a few stimuli, then only the batches after the last that was flushed
    done = (batch - 1) // 8 * 8
    assert seen == [0, *(8 * k for k in range(done, 25))]
    for name in ("0.npy", "2.npy", "key.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_note_that_says_more_than_all_is_done_is_begun_again(tmp_path):
    model, x = net(), images(20)
    run(tmp_path / "whole", model, x)
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    key = files.read_json(tmp_path / "whole" / "key.json")["key"]
    partial = tmp_path / "cut.partial"
    partial.mkdir()
    for name in ("0.npy", "2.npy"):
        np.save(partial / name, np.zeros_like(np.load(tmp_path / "whole" / name)))
    files.write_json(partial / "progress.json", {"key": key, "done": 21})
    run(tmp_path / "cut", model, x)
    assert {path.name: path.read_bytes() for path in (tmp_path / "cut").iterdir()} == whole


def test_unknown_layer_suggests_the_nearest():
    model = nn.Sequential()
    model.add_module("layer4", nn.Linear(2, 2))
    with pytest.raises(BlendnetError, match="did you mean 'layer4'"):
        activations.read_layers(model, ["layer5"], torch.zeros(1, 2), lambda _, o: o)


def test_not_finite_activations_are_refused_and_nothing_is_stored(tmp_path):
    model = net()
    with torch.no_grad():
        model[2].bias[0] = float("nan")
    with pytest.raises(BlendnetError, match="layer '2' gives values that are not finite"):
        run(tmp_path / "a", model, images(9))
    assert not (tmp_path / "a").exists()


def test_as_assembly(tmp_path):
    run(tmp_path / "a", net(), images(9))
    found = activations.load_assembly(tmp_path / "a")
    assert found.dims == ("presentation", "neuroid")
    assert list(found["stimulus_id"].values[:2]) == ["s0", "s1"]
    np.testing.assert_array_equal(
        found.isel(neuroid=found["layer"].values == "2").values, activations.load_layer(tmp_path / "a", "2")
    )
    assembly.save(found, tmp_path / "x.npz")
    again = assembly.load(tmp_path / "x.npz")
    assert again.identical(found)


def test_assembly_refuses_nan_neuroid_and_foreign_stimuli():
    values = np.zeros((3, 2), np.float32)
    values[1, 1] = np.nan
    with pytest.raises(BlendnetError, match="neuroid 'n1'"):
        assembly.make(values, ("a", "b", "c"), {"neuroid_id": ["n0", "n1"]})
    one = assembly.make(np.arange(6).reshape(3, 2), ("a", "b", "c"), {"neuroid_id": ["n0", "n1"]})
    two = assembly.make(np.arange(6).reshape(3, 2), ("c", "a", "b"), {"neuroid_id": ["n0", "n1"]})
    _, aligned = assembly.align(one, two)
    np.testing.assert_array_equal(aligned.values, [[2, 3], [4, 5], [0, 1]])
    three = assembly.make(np.arange(6).reshape(3, 2), ("c", "a", "x"), {"neuroid_id": ["n0", "n1"]})
    with pytest.raises(BlendnetError, match="stimuli of model and brain differ"):
        assembly.align(one, three)
    with pytest.raises(BlendnetError, match="'a' occurs 2 times"):
        assembly.make(np.zeros((2, 1)), ("a", "a"), {"neuroid_id": ["n"]})
