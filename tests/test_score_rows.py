"""Rows of scores.csv that need no network: the ceiled score under every rule, the flag of a low ceiling, and how well
the animals of a recording predict each other."""

from dataclasses import replace

import numpy as np
import pytest

from analysis import tables
from analysis.similarity import pls, ridge
from analysis.similarity._ceiling import COLUMNS
from analysis.similarity._splits import halves, shuffle_splits
from analysis.stats.intervals import aggregate, ceiling_in_resamples
from blendnet.data.brain.recording import Recording, Stimuli
from blendnet.files import sha256_of
from blendnet.run import Run
from pipelines import scoring, sheet
from pipelines.context import Context

RUN = Run("cornet_z", "none", 0, "untrained", 0)
N, NEUROIDS, REPEATS = 60, 8, 4


def recording(noise: float, repeats: int = REPEATS, animals: str = "mmmmkkkk", seed: int = 0) -> Recording:
    """Responses that three of the layer's features drive, with noise of that standard deviation in each repetition."""
    rng = np.random.default_rng(seed)
    signal = features()["good"][:, :3] @ rng.normal(size=(3, NEUROIDS))
    trials = (signal[:, None] + noise * rng.normal(size=(N, repeats, NEUROIDS))).astype(np.float32)
    stimuli = Stimuli("made", tuple(f"s{i}" for i in range(N)), None, np.arange(N), 8.0, "0" * 64)  # type: ignore
    return Recording(
        "cowley2023-made", "V4", stimuli, trials, None, tuple(f"n{i}" for i in range(NEUROIDS)), tuple(animals),
        "macaque", "spikes/s", "none", "none", sha256_of([noise, repeats, animals, seed]),
    )  # fmt: skip


def features() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=(N, 20)).astype(np.float32) for name in ("bad", "good")}


@pytest.fixture
def context(tmp_path):
    profile = replace(sheet.DEMO, networks=("cornet_z",), n_bootstrap=50, n_splits=4, planted=None)
    return Context(profile, tmp_path, tmp_path, progress=False)


def rows_of(context, made, metric):
    """(row, shuffled row) as a table has them, and the piece."""
    piece = scoring.compute(context, RUN, made, features(), metric)
    table = tables.from_rows(piece["scores"], "scores").set_index("kind")
    return table.loc["untrained"], table.loc["shuffled"], piece


SQUARED = {"r/c": lambda r, c: r / c, "r^2/c": lambda r, c: r * abs(r) / c, "(r/c)^2": lambda r, c: r * abs(r) / c**2}


@pytest.mark.parametrize("metric", ["pls", "rsa"])
def test_every_rule_has_its_column_and_interval(context, metric):
    row, shuffled, piece = rows_of(context, recording(noise=1.0), metric)
    r, c = row["score"], row["ceiling"]
    assert 0.3 < c < 0.99
    assert set(COLUMNS) == set(SQUARED)
    if metric == "pls":
        half = halves(N, seed=context.profile.score_seed)[1]
        own = {"n_boot": 50, "seed": context.profile.score_seed}
        reliability = ceiling_in_resamples(recording(noise=1.0).trials[half], np.zeros(NEUROIDS), **own)
    for rule, column in COLUMNS.items():
        assert row[column] == pytest.approx(SQUARED[rule](r, c), rel=1e-6), rule
        lo, hi = row[f"{column}_lo"], row[f"{column}_hi"]
        if metric == "pls":
            ratios = SQUARED[rule](np.array(piece["samples"]), reliability)
            assert [lo, hi] == pytest.approx(np.quantile(ratios, [0.025, 0.975]), rel=1e-4), rule
        else:
            assert (lo + hi) / 2 == pytest.approx(row[column])
            assert hi > lo
        assert tables.from_rows(piece["scores"], "scores")[column].notna().sum() == 1  # no chance row is divided
    assert len({row[column] for column in COLUMNS.values()}) == 3
    assert row["normalisation"] == "r/c"
    assert not row["ceiling_below"]
    assert not shuffled["ceiling_below"]


@pytest.mark.parametrize("metric", ["pls", "rsa"])
def test_a_ceiling_too_low_is_flagged_and_nothing_is_divided(context, metric):
    row, shuffled, _ = rows_of(context, recording(noise=60.0, seed=8), metric)
    assert row["ceiling"] < 0.1
    assert np.isfinite(row["score"])
    assert row["ceiling_below"] is True or row["ceiling_below"] == np.True_
    assert shuffled["ceiling_below"] == np.True_
    for column in COLUMNS.values():
        assert np.isnan([row[column], row[f"{column}_lo"], row[f"{column}_hi"]]).all()


def test_without_a_ceiling_there_is_no_flag_and_the_table_has_empty_cells(context):
    row, _, piece = rows_of(context, recording(noise=1.0, repeats=1), "pls")
    assert np.isnan(row["ceiling"])
    assert piece["scores"][0]["ceiling_below"] is None
    text = tables.to_csv(tables.from_rows(piece["scores"], "scores"), "scores").splitlines()
    place = text[0].split(",").index("ceiling_below")
    assert [line.split(",")[place] for line in text[1:]] == ["", ""]


@pytest.mark.parametrize("metric", ["pls", "ridge"])
def test_other_animals_predict_each_animal_on_the_reported_half(context, metric):
    made = recording(noise=0.5)
    row, shuffled, _ = rows_of(context, made, metric)
    half = halves(N, seed=context.profile.score_seed)[1]
    splits = shuffle_splits(len(half), n_splits=4, test_size=context.profile.split_test, seed=1)
    y = made.mean()[half]
    score = {"pls": pls, "ridge": ridge}[metric].score
    r = np.concatenate([score(y[:, 4:], y[:, :4], splits), score(y[:, :4], y[:, 4:], splits)], axis=1)
    assert row["other_animals"] == pytest.approx(aggregate(r), abs=1e-9)
    assert 0.5 < row["other_animals"] == shuffled["other_animals"]
    alone, _, _ = rows_of(context, recording(noise=0.5, animals="mmmmmmmm"), metric)
    assert np.isnan(alone["other_animals"])


def test_other_animals_is_of_regressions_only(context):
    row, _, _ = rows_of(context, recording(noise=0.5), "rsa")
    assert np.isnan(row["other_animals"])


def test_a_table_from_before_these_columns_is_read_with_them_empty_and_of_their_type(context, tmp_path):
    piece = rows_of(context, recording(noise=1.0), "pls")[2]
    new = tables.from_rows(piece["scores"], "scores")
    columns = [c.name for c in tables.TABLES["scores"].columns if c.absent]
    assert {"ceiling_below", "score(r^2/c)", "score((r/c)^2)_hi", "other_animals", "brain_score_pca_raw"} < {*columns}
    new.drop(columns=columns).to_csv(tmp_path / "scores.csv", index=False)
    old = tables.read(tmp_path / "scores.csv")
    assert (old[columns].isna() | (old[columns] == "")).all().all()
    assert old[columns].dtypes.to_dict() == new[columns].dtypes.to_dict()
