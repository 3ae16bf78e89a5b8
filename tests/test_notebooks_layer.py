"""What the notebook shows of one layer (neuroids, RDM, best and worst predicted stimuli) against slow loops,
scikit-learn and SciPy."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.cross_decomposition import PLSRegression
from sklearn.model_selection import ShuffleSplit

from analysis import notebook as nb
from analysis.similarity._ceiling import split_half
from analysis.stats.layers import layer_score
from blendnet.errors import BlendnetError
from tests.conftest import one_line

HOW = {"n_splits": 4, "test_size": 0.2, "seed": 3}


@pytest.fixture(scope="module")
def data():
    """60 stimuli; features of which the first neuroids are mixtures, the last two pure noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 40))
    signal = x[:, :6] @ rng.normal(size=(6, 9))
    signal[:, 7:] = rng.normal(size=(60, 2)) * signal.std()
    trials = signal[:, None, :] + rng.normal(0, 1.5, (60, 6, 9))
    trials[5, 2] = np.nan  # a repetition that was not shown
    return x, trials


@pytest.fixture(scope="module")
def y(data):
    return np.nanmean(data[1], axis=1)


def table_of(data, metric="pls", **more):
    names = [f"n{i}" for i in range(9)]
    return nb.neuroid_table(*data, names, ["a"] * 5 + ["b"] * 4, metric=metric, n_boot=20, **(HOW | more))


def test_scores_of_neuroids_are_those_of_scikit_learn(data, y):
    found, value = table_of(data)
    r = []
    for train, test in ShuffleSplit(4, test_size=0.2, random_state=3).split(y):
        fit = PLSRegression(25, scale=False).fit(data[0][train], y[train])
        predicted = fit.predict(data[0][test])
        r.append([np.corrcoef(predicted[:, i], y[test][:, i])[0, 1] for i in range(9)])
    own = found.set_index("neuroid").loc[[f"n{i}" for i in range(9)], "score"]
    np.testing.assert_allclose(own, np.mean(r, axis=0), atol=1e-6)
    assert value == pytest.approx(np.mean(np.median(r, axis=1)), abs=1e-6)
    assert list(found["score"]) == sorted(found["score"], reverse=True)
    assert {"n7", "n8"} == set(found["neuroid"].iloc[-2:])
    assert list(found.set_index("neuroid").loc[["n0", "n8"], "subject"]) == ["a", "b"]


def test_the_score_is_that_of_the_layer_table(data, y):
    for metric in ("pls", "ridge"):
        expected = layer_score(data[0], y=y, metric=metric, n_boot=0, **HOW)
        found, value = table_of(data, metric)
        assert value == expected.score
        np.testing.assert_array_equal(found["score"], np.sort(expected.values)[::-1])


def test_ceilings_are_each_neuroids_own(data):
    found = table_of(data)[0].set_index("neuroid")
    expected = split_half(data[1], seed=3, n_boot=20)
    for i in range(9):
        row = found.loc[f"n{i}"]
        assert [row["ceiling"], row["ceiling_lo"], row["ceiling_hi"]] == [
            expected.value[i], expected.lo[i], expected.hi[i]
        ]  # fmt: skip
    once = nb.neuroid_table(data[0], data[1][:, :1], range(9), ["a"] * 9, metric="pls", n_boot=20, **HOW)[0]
    assert once["ceiling"].isna().all()
    assert once["score"].notna().all()


def test_the_picture_of_neuroids_is_their_table(data):
    found, _ = table_of(data)
    ax = nb.neuroid_figure(found, "a title").axes[0]
    points = ax.lines[0]
    np.testing.assert_allclose(np.asarray(points.get_xdata(), float), found["ceiling"])
    np.testing.assert_allclose(np.asarray(points.get_ydata(), float), found["score"])
    bound = ax.lines[1]
    np.testing.assert_allclose(np.square(bound.get_ydata()), bound.get_xdata(), atol=1e-12)
    median = next(line for line in ax.lines if list(line.get_ydata()) == [found["score"].median()] * 2)
    assert list(median.get_xdata()) == [0, 1]
    bare = nb.neuroid_figure(found.assign(ceiling=np.nan, ceiling_lo=np.nan, ceiling_hi=np.nan), "a title").axes[0]
    np.testing.assert_allclose(bare.lines[0].get_ydata(), found["score"])
    assert "no ceiling" in bare.get_xlabel()


@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(20), 3)])
def test_folds_test_every_stimulus_once_and_divide_no_group(groups):
    found = nb.folds(60, groups, seed=1)
    assert len(found) == 10
    assert sorted(np.concatenate([test for _, test in found])) == list(range(60))
    for train, test in found:
        assert not np.intersect1d(train, test).size
        assert len(train) + len(test) == 60
        if groups is not None:
            assert not np.intersect1d(groups[train], groups[test]).size
    assert len(nb.folds(4)) == 4
    with pytest.raises(BlendnetError) as error:
        nb.folds(5, np.zeros(5))
    one_line(error, "5 stimuli", "1 group")


@pytest.mark.parametrize("metric", ["pls", "ridge"])
def test_agreement_is_of_predictions_that_never_saw_the_stimulus(data, y, metric):
    found = nb.agreement(data[0], y=y, metric=metric, seed=2)
    mean, sd = y.mean(axis=0), y.std(axis=0)
    if metric == "pls":
        for train, test in nb.folds(60, seed=2):
            fit = PLSRegression(25, scale=False).fit(data[0][train], y[train])
            np.testing.assert_allclose(found.predicted[test], (fit.predict(data[0][test]) - mean) / sd, atol=1e-5)
    np.testing.assert_allclose(found.recorded, (y - mean) / sd)
    for i in (0, 17, 59):
        assert found.value[i] == pytest.approx(np.corrcoef(found.predicted[i], found.recorded[i])[0, 1])
    # A feature that holds the answer to one stimulus alone must not help to predict that stimulus.
    leak = np.concatenate([data[0] * 0.01, np.eye(60)[:, :1] * 1000], axis=1)
    again = nb.agreement(leak, y=y, metric=metric, seed=2)
    assert not np.isclose(again.value[0], 1, atol=0.01)
    constant = np.column_stack([y, np.full(60, 2.0)])
    np.testing.assert_allclose(nb.agreement(data[0], y=constant, metric=metric, seed=2).value, found.value, atol=1e-9)


def test_agreement_by_rsa_is_of_the_rows_of_both_rdms(data, y):
    found = nb.agreement(data[0], y=y, metric="rsa")
    model, neural = (1 - np.corrcoef(v) for v in (data[0], y))
    for i in (0, 31, 59):
        others = np.arange(60) != i
        assert found.value[i] == pytest.approx(spearmanr(model[i][others], neural[i][others]).statistic)
        np.testing.assert_allclose(found.predicted[i][others], model[i][others], atol=1e-12)
        assert np.isnan(found.predicted[i][i])
    subjects = np.stack(
        [pdist(y, "correlation"), pdist(y + np.random.default_rng(1).normal(size=y.shape), "correlation")]
    )
    several = nb.agreement(data[0], rdms=subjects, metric="rsa")
    i, j = np.triu_indices(60, 1)
    np.testing.assert_allclose(several.recorded[i, j], subjects.mean(axis=0))


def test_best_and_worst_leave_out_what_has_no_value():
    value = np.array([0.1, np.nan, 0.9, -0.4, 0.5])
    best, worst = nb.best_and_worst(value, 2)
    assert (best.tolist(), worst.tolist()) == ([2, 4], [3, 0])
    best, worst = nb.best_and_worst(value, 9)
    assert (best.tolist(), worst.tolist()) == ([2, 4], [3, 0])
    assert [len(side) for side in nb.best_and_worst(np.full(3, np.nan), 2)] == [0, 0]


def test_the_picture_shows_the_best_and_worst_images_with_their_points(data, y):
    found = nb.agreement(data[0], y=y, metric="pls")
    images = [np.full((4, 5, 3), i, np.uint8) for i in range(60)]
    asked = []

    def read(i):
        asked.append(i)
        return images[i]

    fig, best, worst = nb.stimuli_figure(found, read, [f"s{i}" for i in range(60)], "a title", k=3)
    order = np.argsort(found.value)
    assert sorted(asked) == sorted([*order[:3], *order[-3:]])
    assert worst == [f"s{i}" for i in order[:3]]
    assert best == [f"s{i}" for i in order[::-1][:3]]
    pictures = [ax for ax in fig.axes if ax.images]
    assert [int(ax.images[0].get_array().max()) for ax in pictures] == [*order[::-1][:3], *order[:3]]
    assert [ax.get_title() for ax in pictures[:3]] == [f"r = {found.value[i]:.2f}" for i in order[::-1][:3]]
    points = [ax for ax in fig.axes if not ax.images]
    np.testing.assert_allclose(points[0].lines[0].get_xdata(), found.predicted[order[-1]])
    np.testing.assert_allclose(points[3].lines[0].get_ydata(), found.recorded[order[0]])
    with pytest.raises(BlendnetError) as error:
        nb.stimuli_figure(found._replace(value=np.full(60, np.nan)), read, ["s"] * 60, "a title")
    one_line(error, "no two stimuli have a value")


def test_the_pair_of_rdms_is_in_ranks_and_compared_as_scipy_does(data, y):
    fig, r = nb.rdm_pair(data[0], pdist(y, "correlation"), ("layer", "area"))
    assert r == pytest.approx(spearmanr(pdist(data[0], "correlation"), pdist(y, "correlation")).statistic)
    shown = np.asarray(fig.axes[1].images[0].get_array())
    expected = pd.Series(pdist(y, "correlation")).rank()
    np.testing.assert_allclose(shown[np.triu_indices(60, 1)], (expected - 1) / (len(expected) - 1))
    fig, again = nb.rdm_pair(data[0], pdist(y, "correlation"), ("layer", "area"), most=20)
    assert again == r
    assert fig.axes[0].images[0].get_array().shape == (20, 20)


def test_metrics_without_neuroids_or_stimuli_say_so(data, y):
    with pytest.raises(BlendnetError) as error:
        table_of(data, "cka")
    one_line(error, "'cka'", "choose pls or ridge")
    with pytest.raises(BlendnetError) as error:
        nb.agreement(data[0], y=y, metric="procrustes")
    one_line(error, "'procrustes'", "choose pls, ridge, rsa, rsa_whitened")


def test_rows_of_images_hold_every_image_and_word():
    rows = [[np.full((3, 3, 3), 0.1 * (3 * i + j)) for j in range(2 + i)] for i in range(2)]
    fig = nb.image_rows(rows, [["a", "b"], ["c", "", "d\ne"]], ("first", "second"))
    shown = [ax for ax in fig.axes if ax.images]
    assert [float(ax.images[0].get_array()[0, 0, 0]) for ax in shown] == pytest.approx([0, 0.1, 0.3, 0.4, 0.5])
    assert [ax.get_title() for ax in shown] == ["a", "b", "c", "", "d\ne"]
    assert [ax.get_ylabel() for ax in shown if ax.get_ylabel()] == ["first", "second"]
    picture = nb.image(fig)
    assert picture.data[:4] == b"\x89PNG"
    assert picture.alt == "a, b, c, d e"
    with pytest.raises(BlendnetError, match="no images to show"):
        nb.image_rows([[]])
