"""The learning-rate range test: known curves, a quadratic whose edge of stability is known, and a real network."""

import numpy as np
import pytest
import torch
from torch import nn

from blendnet.errors import BlendnetError
from blendnet.training import lr_finder


def test_rates_rise_by_one_factor():
    lrs = lr_finder.rates(1e-5, 1.0, 51)
    assert lrs[0] == pytest.approx(1e-5)
    assert lrs[-1] == pytest.approx(1.0)
    np.testing.assert_allclose(lrs[1:] / lrs[:-1], 10**0.1)


@pytest.mark.parametrize(("low", "high", "steps"), [(0, 1, 100), (1, 0.1, 100), (1e-3, 1, 5)])
def test_wrong_ranges_are_one_line(low, high, steps):
    with pytest.raises(BlendnetError, match="0 < low < high and at least 10 steps"):
        lr_finder.rates(low, high, steps)


def test_smoothing_is_the_weighted_mean_of_what_was_seen():
    given = np.random.default_rng(0).uniform(0.5, 1.0, 40)
    curve = lr_finder.range_test(lambda i, lr: given[i], low=1e-3, high=1, steps=40, beta=0.8)
    for n in range(40):
        weights = 0.8 ** np.arange(n, -1, -1)
        assert curve.smoothed[n] == pytest.approx((weights * given[: n + 1]).sum() / weights.sum())
    np.testing.assert_array_equal(curve.losses, given)
    assert not curve.diverged


@pytest.mark.parametrize("sharpness", [0.5, 8.0, 300.0])
def test_a_quadratic_breaks_at_the_edge_of_stability(sharpness):
    """Gradient descent on h x^2 / 2 turns x into (1 - lr h) x: it shrinks below lr = 2 / h and grows above."""
    x, rng = 3.0, np.random.default_rng(0)

    def step(i, lr):
        nonlocal x
        loss = sharpness * x**2 / 2 + sharpness  # the second stands for what cannot be learnt
        # The noise of batches: without it x would be 0 to the last digit after lr = 1 / h, and stay there for long.
        x -= lr * sharpness * (x + rng.normal(0, 0.05))
        return loss

    edge = 2 / sharpness
    curve = lr_finder.range_test(step, low=1e-5 * edge, high=100 * edge, steps=300, beta=0.5)
    assert curve.diverged
    assert edge < curve.lrs[-1] < 3 * edge
    found = lr_finder.suggestion(curve.lrs, curve.smoothed)
    assert curve.lrs[found.steepest] < edge
    assert curve.lrs[found.tenth] < edge / 10 * 1.5
    # Here the loss at step n is known: what is lost is largest where lr h, summed over the steps, has come to 1/2.
    gone = np.cumsum(curve.lrs * sharpness)
    assert 0.05 < gone[found.steepest] < 2


def test_the_suggestion_on_a_known_curve():
    """A logistic fall centred at 1e-3, and a wall from 1e-1 on: slope and minimum are where they were put."""
    lrs = np.geomspace(1e-6, 10, 701)  # a hundred a decade
    x = np.log10(lrs)
    losses = 1 - 0.8 / (1 + np.exp(-(x + 3) * 6)) + np.exp((x + 1) * 8)
    found = lr_finder.suggestion(lrs, losses)
    slope = np.gradient(losses, x)
    assert abs(x[found.steepest] - x[np.argmin(slope)]) < 0.03
    assert abs(x[found.steepest] + 3) < 0.03
    assert found.lowest == np.argmin(losses)
    assert lrs[found.tenth] == pytest.approx(lrs[found.lowest] / 10, rel=1e-6)


def test_noise_does_not_decide():
    rng = np.random.default_rng(1)
    lrs = np.geomspace(1e-6, 10, 140)
    x = np.log10(lrs)
    clean = 1 - 0.8 / (1 + np.exp(-(x + 3) * 4)) + np.exp((x + 0.5) * 8)
    places = [lr_finder.suggestion(lrs, clean + rng.normal(0, 0.01, len(x))).steepest for _ in range(30)]
    assert np.abs(x[places] + 3).max() < 0.5


def test_a_loss_that_never_falls_gives_no_suggestion():
    lrs = np.geomspace(1e-6, 1, 50)
    assert lr_finder.suggestion(lrs, np.linspace(1, 2, 50)) is None
    assert lr_finder.suggestion(lrs, np.ones(50)) is None


def test_it_stops_at_four_times_the_best_and_at_no_number():
    seen = []

    def doubling(i, lr):
        seen.append(i)
        return 2.0**i

    curve = lr_finder.range_test(doubling, low=1e-3, high=1, steps=50, beta=0.0)
    assert seen == [0, 1, 2, 3]  # 8 is the first that exceeds 4 times 1
    assert curve.diverged
    losses = [1.0, 0.9, float("nan"), 0.1]
    curve = lr_finder.range_test(lambda i, lr: losses[i], low=1e-3, high=1, steps=10)
    np.testing.assert_array_equal(curve.losses, [1.0, 0.9])
    assert curve.diverged
    with pytest.raises(BlendnetError, match="no number at the lowest learning rate"):
        lr_finder.range_test(lambda i, lr: float("nan"), steps=10)


def test_on_a_network_the_suggested_rate_trains_and_the_last_one_does_not():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(256, 10, generator=rng)
    y = (x[:, :3] + torch.randn(256, 3, generator=rng) / 4 > 0).float()

    def fresh():
        torch.manual_seed(0)
        model = nn.Linear(10, 3)  # a deep one can saturate at a high rate, and its loss then stays where it is
        return model, torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)

    def train(model, optim, i, lr):
        optim.param_groups[0]["lr"] = lr
        loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
        optim.zero_grad()
        loss.backward()
        optim.step()
        return float(loss.detach())

    model, optim = fresh()
    curve = lr_finder.range_test(lambda i, lr: train(model, optim, i, lr), low=1e-5, high=1e4, steps=200)
    found = lr_finder.suggestion(curve.lrs, curve.smoothed)
    ends = {}
    for name, lr in (("steepest", curve.lrs[found.steepest]), ("tenth", curve.lrs[found.tenth]),
                     ("last", curve.lrs[-1])):  # fmt: skip
        model, optim = fresh()
        ends[name] = [train(model, optim, i, lr) for i in range(60)][-1]
    assert curve.diverged
    assert ends["steepest"] < 0.35 < 0.69 < ends["last"]
    assert ends["tenth"] < 0.35
