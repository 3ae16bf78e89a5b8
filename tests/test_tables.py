"""Tables: types, one clear line for a wrong one, and the same bytes for the same values."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import tables
from blendnet.errors import BlendnetError
from tests import made_tables

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def made():
    return made_tables.made(quick=True)


@pytest.mark.parametrize("name", sorted(tables.TABLES))
def test_written_read_and_written_again_the_bytes_are_the_same(made, name, tmp_path):
    path = tmp_path / f"{name}.csv"
    tables.write(made[name].sample(frac=1, random_state=1), path)
    first = path.read_bytes()
    assert b"\r" not in first
    assert first.endswith(b"\n")
    back = tables.read(path)
    assert len(back) == len(made[name])
    tables.write(back, path)
    assert path.read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, "sha256.json"])
    numbers = back.select_dtypes("float64").columns
    np.testing.assert_allclose(back[numbers], made[name][numbers], rtol=1e-5, atol=1e-6)


def test_types_after_reading(made, tmp_path):
    tables.write(made["scores"], tmp_path / "scores.csv")
    df = tables.read(tmp_path / "scores.csv")
    assert df["score"].dtype == float
    assert str(df["seed"].dtype) == "Int64"
    assert df["planted"].dtype == bool
    assert set(df["attention"]) == {"none", "aacn"}  # pandas alone would read "none" as missing elsewhere
    assert df[df["run"] == "pixels"]["seed"].isna().all()


def _spoilt(made, column, value):
    df = made["scores"].astype(object)
    df.loc[3, column] = value
    return df


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("score", "high", "scores.csv row 4: score 'high' is not a number"),
        ("score", float("inf"), "is not a number"),
        ("score", 7.2, "is not within -1.5 to 1.5"),
        ("region", "V44", "did you mean 'V4'"),
        ("metric", "PLS", "unknown metric 'PLS'"),
        ("kind", "", "kind '' may not be empty"),
        ("run", None, "run '' may not be empty"),
        ("seed", 0.5, "seed '0.5' is not a whole number"),
        ("n_stimuli", -3, "is not within 0 to inf"),
        ("planted", "perhaps", "is neither True nor False"),
    ],
)
def test_a_wrong_cell_is_one_line_with_its_row(made, column, value, says):
    with pytest.raises(BlendnetError, match=re.escape(says)) as error:
        tables.check(_spoilt(made, column, value), "scores")
    assert "\n" not in str(error.value)


def test_a_missing_column_is_named_with_the_nearest_and_the_command(made):
    with pytest.raises(BlendnetError, match="no column 'ceiling_lo'") as error:
        tables.check(made["scores"].drop(columns="ceiling_lo"), "scores")
    assert "blendnet score" in str(error.value)
    with pytest.raises(BlendnetError, match="did you mean 'metrics'"):
        tables.check(made["scores"].rename(columns={"metric": "metrics"}), "scores")


def test_two_rows_of_one_key_are_refused(made):
    twice = pd.concat([made["accuracy"], made["accuracy"].iloc[:1]])
    with pytest.raises(BlendnetError, match="two rows for run="):
        tables.check(twice, "accuracy")


def test_a_missing_file_names_the_command_that_makes_it(tmp_path):
    for name, step in (
        ("accuracy", "predict"),
        ("scores", "score"),
        ("layers", "score"),
        ("twins", "correlate"),
    ):
        with pytest.raises(BlendnetError, match=f"{name}.csv is missing; run `blendnet {step} --profile demo`"):
            tables.read(tmp_path / f"{name}.csv", profile="demo")


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2,3,4\n5\n1,2,3,4,5,6\n", b"\xff\xfe\x00bad"])
def test_a_file_that_is_no_table_is_one_line(tmp_path, content):
    path = tmp_path / "accuracy.csv"
    path.write_bytes(content)
    with pytest.raises(BlendnetError) as error:
        tables.read(path)
    assert "\n" not in str(error.value)


def test_an_unknown_table_is_refused(made):
    with pytest.raises(BlendnetError, match="unknown table 'score'; did you mean 'scores'"):
        tables.check(made["scores"], "score")


def test_further_columns_are_kept_at_the_end_and_empty_tables_have_their_columns(made):
    df = tables.check(made["twins"].assign(zebra=1, ant=2), "twins")
    assert list(df.columns[-2:]) == ["ant", "zebra"]
    for name in tables.TABLES:
        assert list(tables.empty(name).columns) == tables.columns(name)
        assert tables.to_csv(tables.empty(name), name).count("\n") == 1


def test_a_table_is_not_changed_by_checking_it(made):
    before = made["scores"].copy()
    tables.check(made["scores"], "scores")
    pd.testing.assert_frame_equal(before, made["scores"])


def test_minus_nothing_is_nothing():
    base = {"level": "pair", "training": "blended", "attention_kind": "aacn", "quantity": "q", "n": 1}
    rows = [base | {"difference": -0.0, "plain": -1e-9}]
    line = tables.to_csv(tables.from_rows(rows, "twins"), "twins").splitlines()[1]
    assert ",-1e-09,,0," in line


def test_the_guide_names_every_column_of_every_table():
    guide = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    for name, table in tables.TABLES.items():
        part = guide.split(f"## {name}.csv", 1)[1].split("\n## ")[0]
        for column in table.columns:
            assert f"`{column.name}`" in part, f"{name}.{column.name}"
            for value in column.allowed:
                assert not value or f"`{value}`" in guide, f"{name}.{column.name}={value}"


def test_a_table_from_before_a_column_existed_is_read_with_that_column_empty(made, tmp_path):
    """correlation.csv had no `training`: its rows were those of all trainings together, which empty still means."""
    old = made["correlation"].drop(columns="training")
    old.to_csv(tmp_path / "correlation.csv", index=False)
    back = tables.read(tmp_path / "correlation.csv")
    assert (back["training"] == "").all()
    assert len(back) == len(old)
