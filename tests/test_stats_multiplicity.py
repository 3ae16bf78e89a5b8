import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from analysis.stats.multiplicity import benjamini_hochberg, holm


@pytest.mark.parametrize(("ours", "theirs"), [(holm, "holm"), (benjamini_hochberg, "fdr_bh")])
@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_adjusted_p_are_those_of_statsmodels_with_ties_and_missing(ours, theirs, n):
    rng = np.random.default_rng(n)
    p = np.round(rng.uniform(size=n) ** 2, 2)  # rounded: ties
    expected = multipletests(p, method=theirs)[1]
    np.testing.assert_allclose(ours(p), expected, rtol=1e-12)
    holes = np.insert(p, [0, n // 2, n], np.nan)
    found = ours(holes)
    np.testing.assert_allclose(found[np.isfinite(holes)], expected, rtol=1e-12)
    assert np.isnan(found[~np.isfinite(holes)]).all()


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_nothing_to_adjust(adjust):
    assert len(adjust(np.array([]))) == 0
    assert np.isnan(adjust(np.array([np.nan, np.nan]))).all()


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, 0.03])), [0.06, 0.03, 0.06])


def test_benjamini_hochberg_by_hand():
    np.testing.assert_allclose(benjamini_hochberg(np.array([0.04, 0.01, 0.03])), [0.04, 0.03, 0.04])
