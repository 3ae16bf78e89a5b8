"""CORnet-S: the recurrence, its costs and its readouts, from the papers' numbers."""

import torch
from torch import nn
from torch.nn import functional as F

from blendnet import models
from blendnet.models import _twins, cornet_s, cost


def normalised(x, norm):
    """Batch normalisation by the running statistics, written out."""
    shape = (1, -1, 1, 1)
    scaled = (x - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + norm.eps).sqrt()
    return scaled * norm.weight.view(shape) + norm.bias.view(shape)


def a_trained_area(channels_in, channels_out, times):
    """An area whose normalisations differ from one another, as after training."""
    generator = torch.Generator().manual_seed(0)
    area = cornet_s._Area(channels_in, channels_out, times).eval()
    for module in area.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                tensor.uniform_(0.5, 1.5, generator=generator)
    return area


def test_an_area_is_the_papers_recurrence():
    area = a_trained_area(3, 5, times=3)
    x = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = F.conv2d(x, area.input.weight)
        state = normalised(F.conv2d(before, area.skip.weight, stride=2), area.norm_skip)
        for t in range(3):
            inner = normalised(F.conv2d(before if t == 0 else state, area.conv1.weight), area.norm1[t]).relu()
            if t == 0:  # the mean of the places that a 3x3 window with stride 2 has inside the map
                ones = torch.ones(20, 1, 3, 3)
                total = F.conv2d(inner, ones, stride=2, padding=1, groups=20)
                inner = total / F.conv2d(torch.ones_like(inner), ones, stride=2, padding=1, groups=20)
            inner = normalised(F.conv2d(inner, area.conv2.weight, padding=1), area.norm2[t]).relu()
            state = (normalised(F.conv2d(inner, area.conv3.weight), area.norm3[t]) + state).relu()
        assert area(x).shape == (2, 5, 5, 5)
        torch.testing.assert_close(area(x), state, rtol=1e-5, atol=1e-5)


def test_every_time_step_is_read_out_once_and_they_differ():
    area, seen = a_trained_area(3, 5, times=3), []
    for module in (*area.steps, area.output):
        module.register_forward_hook(lambda m, i, out: seen.append(out))
    with torch.no_grad():
        out = area(torch.randn(1, 3, 8, 8))
    assert len(seen) == 3
    assert seen[-1] is out
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    steps = [layer for layer in models.layers("cornet_s") if layer.startswith("V4")]
    assert steps == ["V4.steps.0", "V4.steps.1", "V4.steps.2", "V4.output"]


def test_maps_and_parameters_are_the_papers():
    model = models.build("cornet_s", n_classes=1000)
    areas = ("V1.output", "V2.output", "V4.output", "IT.output")
    maps = _twins.map_sizes(model, areas, 224)
    assert [maps[area] for area in areas] == [(56, 56), (28, 28), (14, 14), (7, 7)]

    convolutions = 64 * 3 * 49 + 64 * 64 * 9
    norms, operations = 2 * 2 * 64, 2 * (64 * 3 * 49 * 112**2 + 64 * 64 * 9 * 56**2)
    for before, after, times, side in ((64, 128, 2, 28), (128, 256, 4, 14), (256, 512, 2, 7)):
        wide = 4 * after
        convolutions += before * after + after * after + 2 * after * wide + 9 * wide * wide
        norms += 2 * after + times * 2 * (2 * wide + after)
        # At the first time step the input and the first 1x1 still see the map that is twice as large.
        operations += 2 * (before * after + after * wide) * (2 * side) ** 2 + 2 * after * after * side**2
        operations += 2 * (times * (9 * wide * wide + wide * after) + (times - 1) * after * wide) * side**2
    assert cost.parameters(model) == convolutions + norms + 513 * 1000 == 53_416_616
    assert cost.flops(model, 224) == operations + 2 * 512 * 1000


def test_attention_runs_at_every_time_step():
    twin, calls = models.build("cornet_s", attention="aacn", image_size=32).eval(), []
    for site in models.sites("cornet_s"):
        twin.get_submodule(site).register_forward_hook(lambda m, i, out, site=site: calls.append(site))
    with torch.no_grad():
        twin(torch.zeros(1, 3, 32, 32))
    assert calls == ["V2.conv2"] * 2 + ["V4.conv2"] * 4 + ["IT.conv2"] * 2
