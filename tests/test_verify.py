"""blendnet verify finds a forged cell in any column of a row that it draws: score rows, chance rows and layers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import tables
from analysis.schema import TABLES, Column
from pipelines import extract, score, sheet, verify
from pipelines.context import Context

RUN = "cornet_z-none-untrained-s0"
PROFILE = replace(
    sheet.DEMO, networks=("cornet_z",), attentions=("none",), image_size=32, width=60, n_bootstrap=10, n_splits=3,
    metrics=("pls", "rsa"),
    planted=sheet.Planted(source=RUN, layers={"V4": "V4.output"}, n_stimuli=60, n_neuroids=8, n_repetitions=4),
)  # fmt: skip
# Each column of the schema, in each kind of row: a column that is added later is forged here, too.
FORGED = [
    pytest.param(table, kind, column, id=f"{kind}-{column.name}")
    for table, kind in (("scores", "untrained"), ("scores", "shuffled"), ("scores", "pixels"), ("layers", "untrained"))
    for column in TABLES[table].columns
]


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """Scores of an untrained network and of the pixels; what verify computes anew is computed once."""
    folder = tmp_path_factory.mktemp("verify")
    context = Context(PROFILE, folder, folder, only=RUN, device="cpu", progress=False)
    extract.extract(context)
    score.score(context)
    score.score(replace(context, only=extract.PIXELS))
    real, kept = verify._anew, {}

    def once(context, piece, loaded, *, pca):
        if piece not in kept:
            kept[piece] = real(context, piece, loaded, pca=pca)
        return kept[piece]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "_anew", once)
        yield replace(context, only="*")


@pytest.fixture
def forge(context):
    """forge(table, change): the stored table changed by change(frame of text), put back afterwards."""
    before = {}

    def change_it(table, change):
        path = context.tables / f"{table}.csv"
        before.setdefault(path, path.read_bytes())
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        change(frame).to_csv(path, index=False)
        tables.read(path)  # a table that reads well: what is found is found by the numbers

    yield change_it
    for path, content in before.items():
        path.write_bytes(content)


def other(value: str, column: Column) -> str:
    """Another value that the column may hold."""
    if column.allowed:
        return next(a for a in column.allowed if a and a != value)
    if column.kind == "flag":
        return "False" if value == "True" else "True"
    if column.kind == "text":
        return value + "x"
    if value == "":
        return "1"
    step = 1 if column.kind == "count" else 2 * verify.TOLERANCE
    return f"{float(value) + (step if float(value) + step <= column.high else -step):.6g}"


def test_untouched_tables_agree_in_all_that_is_compared(context, capsys):
    assert verify.verify(context, n=99, seed=0) == 0
    out = capsys.readouterr().out
    maps = tables.read(context.tables / "layers.csv")
    assert f"4 of 4 scores agree within 0.0001 in every column, with their shuffled rows and {len(maps)} rows" in out
    assert set(tables.read(context.tables / "scores.csv")["kind"]) == {"untrained", "pixels", "shuffled"}


@pytest.mark.parametrize(("table", "kind", "column"), FORGED)
def test_a_forged_cell_is_found(context, forge, capsys, table, kind, column):
    def change(frame):
        row = np.flatnonzero((frame["kind"] == kind) & (frame["metric"] == "pls"))[-1]
        frame.loc[row, column.name] = other(frame.loc[row, column.name], column)
        return frame

    forge(table, change)
    assert verify.verify(context, n=99, seed=0) == 1
    wrong = [line for line in capsys.readouterr().out.splitlines() if "DIFFERS" in line]
    assert wrong
    if column.name not in ("run", "recording", "region", "metric", "kind", "layer"):  # by which rows are matched
        assert len(wrong) == 1
        assert f"{column.name}: " in wrong[0]


@pytest.mark.parametrize(("table", "kind"), [("scores", "shuffled"), ("scores", "untrained"), ("layers", "untrained")])
def test_a_row_that_was_taken_out_is_found(context, forge, capsys, table, kind):
    forge(table, lambda frame: frame.drop(np.flatnonzero((frame["kind"] == kind) & (frame["metric"] == "rsa"))[0]))
    assert verify.verify(context, n=99, seed=0) == 1
    assert "is not stored" in capsys.readouterr().out


def test_a_difference_within_the_tolerance_is_none(context, forge):
    def change(frame):
        frame["score"] = [f"{float(s) + 0.5 * verify.TOLERANCE:.6g}" for s in frame["score"]]
        return frame

    forge("scores", change)
    assert verify.verify(context, n=99, seed=0) == 0


def test_the_sample_is_of_the_size_and_runs_asked_for(context, capsys):
    assert verify.verify(context, n=1, seed=3) == 0
    assert verify.verify(replace(context, only=extract.PIXELS), n=99, seed=0) == 0
    out = capsys.readouterr().out
    assert "1 of 1 scores agree" in out
    assert "2 of 2 scores agree" in out
