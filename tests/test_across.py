"""How far two runs lie apart, column by column (benchmarks/across.py), and the committed table of it.

That the numbers themselves stay within the tolerances is asked of every commit by test_determinism.py, on the same
chain.
"""

import re

import numpy as np
import pytest

from analysis import tables
from benchmarks import across
from pipelines._anew import TOLERANCES
from tests.conftest import ROOT

PHOTOS = ROOT / "results" / "photos" / "tables"  # committed: real rows


@pytest.fixture(scope="module")
def scores():
    return tables.read(PHOTOS / "scores.csv", "scores").head(12)


def test_equal_tables_lie_nowhere_apart_in_any_order(scores) -> None:
    other = scores.sample(frac=1, random_state=0).assign(code_version="other")
    found = across.compared("scores", scores, other)
    assert set(found.values()) == {0.0}
    assert ("scores", "score") in found
    assert ("scores", "layer") in found
    assert not {column for _, column in found} & {"code_version", "weights_sha256"}


def test_the_largest_difference_of_a_column_is_found(scores) -> None:
    other = scores.copy()
    other.loc[3, "lo"] += 1e-5
    other.loc[7, "lo"] -= 2e-4
    other.loc[1, "layer"] = "none"
    found = across.compared("scores", scores, other)
    assert found["scores", "lo"] == pytest.approx(2e-4)
    assert found["scores", "layer"] == 1
    assert {column for (_, column), apart in found.items() if apart} == {"lo", "layer"}
    assert across.beyond(found) == ["scores.layer"]  # a name has no tolerance
    other.loc[5, "hi"] += 2 * TOLERANCES["scores"]
    assert "scores.hi" in across.beyond(across.compared("scores", scores, other))


def test_a_missing_number_and_a_missing_row_are_beyond_all_tolerance(scores) -> None:
    other = scores.copy()
    other.loc[0, "score"] = np.nan
    assert across.compared("scores", scores, other)["scores", "score"] == np.inf
    found = across.compared("scores", scores, scores.iloc[1:])
    assert set(found.values()) == {np.inf}


def test_the_page_names_what_lies_beyond(scores) -> None:
    about = {"python": "3.11.7", "threads": 1, "numpy": "1.26.4", "torch": "2.15.0", "hardware": "X"}
    other = scores.copy()
    other.loc[3, "lo"] += 0.5
    pair = {("weights", ""): 1e-6} | across.compared("scores", scores, other)
    text = across.page({"a": about, "b": about | {"threads": 2}}, {"a → b": pair}, 1.0)
    assert "| weights |  | 1.0e-06 | 0.0001 |" in text
    assert "| scores | lo | 5.0e-01 | 0.0003 |" in text
    assert "1 of" in text
    assert "beyond their tolerance: {'a → b': ['scores.lo']}" in text


def test_the_committed_table_is_of_both_pythons_and_within_the_tolerances() -> None:
    text = (ROOT / "benchmarks" / "results" / "across.md").read_text()
    sides = re.findall(r"^\| (3\.1[12]), (\d) threads? \| (3\.1[12])\.\d+ \| (\d) \| (\S+) \|", text, re.M)
    assert {(python, threads) for python, threads, *_ in sides} == {
        ("3.11", "1"), ("3.11", "2"), ("3.12", "1"), ("3.12", "2")
    }  # fmt: skip
    for python, threads, found, counted, numpy in sides:
        assert (python, threads) == (found, counted)
        assert re.fullmatch(r"\d+\.\d+\.\d+", numpy)
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    kinds = {row[0] for row in rows if row[0] in TOLERANCES}
    assert kinds == set(TOLERANCES)
    for row in rows:
        if row[0] in TOLERANCES:
            most = max(float(limit) for limit in re.findall(r"[\d.e-]+", row[-1].replace("(cells)", "")))
            assert most <= TOLERANCES[row[0]]
            assert all(float(cell) <= most for cell in row[2:5]), row
    assert re.search(r"^0 of \d+ columns beyond their tolerance;", text, re.M)
