"""The vision transformer against torchvision's, and its ablation against attention without content."""

import pytest
import torch
from torchvision.models import VisionTransformer

from blendnet import models
from blendnet.errors import BlendnetError
from blendnet.models import _vit, cost


def small(attention, n_classes=5):
    torch.manual_seed(0)
    return _vit.vit(width=24, depth=2, heads=3, n_classes=n_classes, image_size=32, attention=attention).eval()


def x(n=2, side=32):
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(1))


def in_torchvision_s_words(state):
    """Our weights under the names of torchvision's VisionTransformer, whose queries, keys and values are one matrix."""
    found = {
        "class_token": state["class_token"], "encoder.pos_embedding": state["positions"],
        "conv_proj.weight": state["patches.weight"], "conv_proj.bias": state["patches.bias"],
        "encoder.ln.weight": state["norm.weight"], "encoder.ln.bias": state["norm.bias"],
        "heads.head.weight": state["head.weight"], "heads.head.bias": state["head.bias"],
    }  # fmt: skip
    for i in range(2):
        ours, theirs = f"blocks.{i}", f"encoder.layers.encoder_layer_{i}"
        for kind in ("weight", "bias"):
            found[f"{theirs}.self_attention.in_proj_{kind}"] = torch.cat(
                [state[f"{ours}.attention.query_key.{kind}"], state[f"{ours}.attention.value.{kind}"]]
            )
            for a, b in (
                ("attention.project", "self_attention.out_proj"), ("norm1", "ln_1"), ("norm2", "ln_2"),
                ("mlp.expand", "mlp.0"), ("mlp.back", "mlp.3"),
            ):  # fmt: skip
                found[f"{theirs}.{b}.{kind}"] = state[f"{ours}.{a}.{kind}"]
    return found


def test_it_is_the_published_network():
    ours = small("self")
    with torch.no_grad():
        for parameter in ours.parameters():  # larger than the initial weights, so that attention is far from uniform
            parameter.normal_(std=0.4)
    theirs = VisionTransformer(
        image_size=32, patch_size=4, num_layers=2, num_heads=3, hidden_dim=24, mlp_dim=96, num_classes=5
    ).eval()
    theirs.load_state_dict(in_torchvision_s_words(ours.state_dict()), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(ours(x()), theirs(x()), rtol=1e-4, atol=1e-4)


def test_the_ablation_is_attention_that_ignores_content():
    """Queries and keys of zero make all logits equal, so that the softmax gives 1/N to each token."""
    attention = _vit.SelfAttention(24, 3)
    tokens = torch.randn(2, 17, 24, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for parameter in attention.query_key.parameters():
            parameter.zero_()
        torch.testing.assert_close(_vit.UniformMixing(attention)(tokens), attention(tokens), rtol=1e-5, atol=1e-6)


def test_the_ablated_twin_has_the_same_weights_but_no_queries_and_keys():
    ours, ablated = small("self").state_dict(), small("none").state_dict()
    assert {key for key in ours if "query_key" not in key} == set(ablated)
    assert all(torch.equal(ours[key], ablated[key]) for key in ablated)
    with torch.no_grad():
        assert (small("self")(x()) - small("none")(x())).abs().max() > 1e-6


@pytest.mark.parametrize(
    ("name", "parameters"),
    # ViT-B/16 as torchvision documents it, DeiT-S as its paper does (22M), for 1000 classes.
    [("vit_base", 86_567_656), ("vit_small", 22_050_664)],
)
def test_costs(name, parameters):
    width, depth, tokens = {"vit_base": (768, 12, 197), "vit_small": (384, 12, 197)}[name]
    model = models.build(name, attention="self", n_classes=1000)
    assert cost.parameters(model) == parameters
    linear = 2 * 196 * 768 * width + 2 * width * 1000
    mlp, projections, products = 16 * tokens * width**2, 8 * tokens * width**2, 4 * tokens**2 * width
    assert cost.flops(model, 224) == linear + depth * (mlp + projections + products)

    ablated = models.build(name, attention="none", n_classes=1000)
    assert cost.parameters(model) - cost.parameters(ablated) == depth * 2 * (width * width + width)
    # The average is taken before the value map and the projection, which then see one token.
    assert cost.flops(ablated, 224) == linear + depth * (mlp + 4 * width**2)


def test_patches_follow_the_image_size():
    found = {side: _vit.patch_size(side) for side in (32, 48, 64, 96, 100, 128, 160, 224, 240, 256, 384)}
    assert found == {32: 4, 48: 6, 64: 8, 96: 12, 100: 10, 128: 16, 160: 16, 224: 16, 240: 16, 256: 16, 384: 16}
    for side in range(32, 400):
        try:
            patch = _vit.patch_size(side)
        except BlendnetError:
            assert not any(side % p == 0 and side >= 8 * p for p in range(4, 17))
        else:
            assert side % patch == 0
            assert side // patch >= 8
    with pytest.raises(BlendnetError, match="image size 97 .* choose a multiple of 16, for example 96"):
        models.build("vit_small", image_size=97)


def test_it_runs_at_the_size_that_it_was_built_for():
    model = models.build("vit_small", image_size=64).eval()
    assert model.positions.shape == (1, 65, 384)
    with torch.no_grad():
        assert model(x(side=64)).shape == (2, 8)
    with pytest.raises(BlendnetError, match="built for images of 64 px and got 48x48"):
        model(x(side=48))
