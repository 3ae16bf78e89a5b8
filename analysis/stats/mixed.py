"""Mixed model of accuracy: similarity and attention as fixed effects, architectures and cells as random ones.

accuracy = intercept + score + attention (0 or 1) [+ training where there are several] + network + cell + residual, runs
as observations, by restricted maximum likelihood (Laird and Ware 1982, doi 10.2307/2529876) through statsmodels. A cell
is one (network, attention, heads, training), and the effect of its own keeps seeds of one cell from counting as
independent points: without it a score that differs between cells is found where nothing is. It needs cells with several
seeds, else it is the residual.

p and interval are by Student's t with Satterthwaite's degrees of freedom (Giesbrecht and Burns 1985, doi
10.2307/2530873; as lmerTest, Kuznetsova et al. 2017, doi 10.18637/jss.v082.i13), since with a handful of architectures
the normal distribution, which statsmodels takes, calls too much significant.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from analysis import tables
from analysis.stats.correlation import CELL, QUANTITIES, rates

# Variance between architectures rests on their number less one: below 4, one outlier decides it. 12 runs leave at
# least 6 degrees of freedom beside the fixed effects and the variances.
FEWEST_ARCHITECTURES = 4
FEWEST_RUNS = 12
_TINY = 1e-9
_SLOPE = 0.05  # units of log-likelihood


@dataclass(frozen=True)
class Fit:
    """estimate, se and df (n_terms,), in the order of the terms; network_sd, cell_sd (NaN where cells have one run
    each, or networks one cell each) and residual_sd in units of the outcome; note: what to know, or why all is NaN."""

    estimate: np.ndarray
    se: np.ndarray
    df: np.ndarray
    network_sd: float
    cell_sd: float
    residual_sd: float
    note: str = ""


def compute(scores: pd.DataFrame, accuracy: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """The mixed table: one model for each region, recording, metric, accuracy and training, a row a fixed effect.

    scores, accuracy: the tables of those names; runs that are networks and not untrained. term: 'score' (rate per unit
    of raw score), 'attention' (attention less none), and for blended_both both once more given the regular accuracy:
    'score|regular_top1', 'attention|regular_top1', 'regular_top1'. network_sd is that of the model the term is of; the
    standard deviation of cells and the degrees of freedom are in the note. training: empty for all runs, with a fixed
    effect of each training ('training:regular', against the first by name), then each where there are several.
    Numbers are empty where fewer than 4 architectures or 12 runs are there or the fit does not hold, and `note` says
    why.
    """
    chosen = scores[(scores["kind"] == "network") & (scores["training"] != "untrained")]
    for quantity in QUANTITIES:
        chosen = chosen.merge(rates(accuracy, quantity).rename(columns={"rate": quantity}), on="run", how="left")
    rows: list[dict[str, Any]] = []
    for (recording, region, metric), part in chosen.groupby(["recording", "region", "metric"], sort=True):
        for quantity in QUANTITIES:
            runs = part.dropna(subset=["score", quantity])
            trainings = sorted(runs["training"].unique())
            for training in ["", *(trainings if len(trainings) > 1 else [])]:
                own = runs[(runs["training"] == training) | (training == "")]
                base = {"region": region, "recording": recording, "metric": metric, "accuracy": quantity,
                        "training": training, "n_runs": len(own),
                        "n_architectures": own["network"].nunique()}  # fmt: skip
                for given in ("", "regular_top1") if quantity == "blended_both" else ("",):
                    rows += [base | row for row in _rows(own, quantity, given, level)]
    return tables.from_rows(rows, "mixed")


def _rows(runs: pd.DataFrame, quantity: str, given: str, level: float) -> list[dict[str, Any]]:
    design = {"score": runs["score"].to_numpy(float)}
    design["attention"] = (runs["attention"] != "none").to_numpy(float)
    trainings = sorted(runs["training"].unique())
    design |= {f"training:{name}": (runs["training"] == name).to_numpy(float) for name in trainings[1:]}
    if given:
        design[given] = runs[given].to_numpy(float)
    why, notes = "", []
    n_networks = runs["network"].nunique()
    if n_networks < FEWEST_ARCHITECTURES or len(runs) < FEWEST_RUNS:
        why = f"{len(runs)} runs of {n_networks} architectures, "
        why += f"at least {FEWEST_RUNS} of {FEWEST_ARCHITECTURES} are needed"
    elif given and not np.isfinite(design[given]).all():
        why = f"{given} is not known of {int((~np.isfinite(design[given])).sum())} runs"
    elif np.ptp(runs[quantity].to_numpy(float)) < _TINY or np.ptp(design["score"]) < _TINY:
        why = "the score or the accuracy is the same in all runs"
    if not why and np.ptp(design["attention"]) == 0:
        del design["attention"]
        notes.append("attention is the same in all runs and left out")
    terms = list(design)
    found = _failed(len(terms), why)
    if not why:
        x = np.column_stack(list(design.values()))
        size = np.linalg.norm(x - x.mean(axis=0), axis=0)
        if np.linalg.matrix_rank((x - x.mean(axis=0)) / size, tol=1e-8) < x.shape[1]:
            found = _failed(len(terms), "a term follows from the others")
        else:
            cells = runs.groupby(CELL, dropna=False).ngroup().to_numpy()
            found = fit(runs[quantity].to_numpy(float), x, runs["network"].to_numpy(), cells)
    lo, hi, p = inference(found.estimate, found.se, found.df, level)
    rows = []
    for i, term in enumerate(terms):
        name = f"{term}|{given}" if given and term != given else term
        if np.isfinite(found.se[i]):
            words = [f"t with {found.df[i]:.1f} degrees of freedom"]
            words += [
                f"cell_sd {found.cell_sd:.3g}" if np.isfinite(found.cell_sd) else "one run a cell: no cell effect"
            ]
            note = "; ".join(words + notes + ([found.note] if found.note else []))
        else:
            note = f"not computed: {found.note}"
        rows.append({"term": name, "estimate": found.estimate[i], "se": found.se[i], "lo": lo[i], "hi": hi[i],
                     "p": p[i], "network_sd": found.network_sd, "residual_sd": found.residual_sd,
                     "note": note})  # fmt: skip
    return rows


def inference(
    estimate: np.ndarray, se: np.ndarray, df: np.ndarray, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """lo, hi and two-sided p, each (n_terms,), by Student's t with df degrees of freedom."""
    half = student.ppf((1 + level) / 2, df) * se
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * student.sf(np.abs(estimate / se), df)
    return estimate - half, estimate + half, p


def fit(y: np.ndarray, x: np.ndarray, networks: np.ndarray, cells: np.ndarray) -> Fit:
    """REML fit of y (n,) on a constant and the columns of x (n, n_terms), with a random effect of each of networks (n,)
    and of each of cells (n,), whole numbers nested in networks. All numbers are NaN, and the note says why, where the
    fit does not converge or leaves no residual."""
    from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec
    from statsmodels.tools.sm_exceptions import ConvergenceWarning

    x, y, n_terms = np.asarray(x, dtype=float), np.asarray(y, dtype=float), x.shape[1]
    # In units of their own spread all numbers are near 1, where the optimiser's tolerances are meant to be.
    unit_y, unit_x = y.std(), x.std(axis=0)
    own_y = (y - y.mean()) / unit_y
    own_x = np.column_stack([np.ones(len(y)), (x - x.mean(axis=0)) / unit_x])
    names = np.unique(networks)
    n_cells = len(np.unique(cells))
    repeated = len(names) < n_cells < len(cells)
    spec = None
    if repeated:
        inside = [np.unique(cells[networks == g]) for g in names]
        mats = [(cells[networks == g][:, None] == u[None, :]).astype(float) for g, u in zip(names, inside)]
        spec = VCSpec(["cell"], [[[str(c) for c in u] for u in inside]], [mats])
    with warnings.catch_warnings():
        # No variance between networks is an answer, and noted; convergence is asked for below.
        for kind in (ConvergenceWarning, RuntimeWarning, UserWarning):
            warnings.simplefilter("ignore", kind)
        model = MixedLM(own_y, own_x, groups=networks, exog_re=np.ones((len(y), 1)), exog_vc=spec)
        # The gradient alone often stops short of a boundary, and the simplex is slower.
        found = None
        for method in ("bfgs", "nm"):
            try:
                found = model.fit(reml=True, method=method, **({"maxiter": 2000} if method == "nm" else {}))
            except np.linalg.LinAlgError:
                continue
            if found.converged:
                break
    if found is None or not found.converged:
        return _failed(n_terms, "the fit did not converge")
    cell = float(found.vcomp[0]) if repeated else 0.0
    variances = np.array([float(np.asarray(found.cov_re)[0, 0]), cell, float(found.scale)])
    if not np.isfinite(variances).all() or variances[2] < _TINY:
        return _failed(n_terms, "the fit leaves no residual")
    beta, cov, df, slope = satterthwaite(own_y, own_x, networks, cells, variances)
    if not repeated:
        slope[1] = 0.0
    # Our own test that this is the maximum: no slope left by the logarithm of a variance, nor up from one of 0.
    if (np.abs(slope) * np.where(slope > 0, np.maximum(variances, 1e-3), variances) > _SLOPE).any():
        return _failed(n_terms, "the fit did not converge")
    # Seeds of one cell tell less of its effect than other cells do; at a variance of 0 Satterthwaite counts them all.
    df = np.minimum(df, max(n_cells - own_x.shape[1], 1))
    estimate, se = beta[1:] * unit_y / unit_x, np.sqrt(np.diag(cov))[1:] * unit_y / unit_x
    sds = np.sqrt(variances) * unit_y
    at_zero = [name for name, v in zip(("network", "cell"), variances) if v < 1e-6 and (name == "network" or repeated)]
    note = f"variance of {' and '.join(at_zero)} at its boundary, 0" if at_zero else ""
    return Fit(estimate, se, df[1:], sds[0], sds[1] if repeated else float("nan"), sds[2], note)


def satterthwaite(
    y: np.ndarray, x: np.ndarray, networks: np.ndarray, cells: np.ndarray, variances: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fixed effects (n_terms,), their covariance (n_terms, n_terms) and degrees of freedom (n_terms,) by generalised
    least squares at variances (3,) of networks, cells and residual; slopes (3,) of the REML log-likelihood by them.

    df = 2 c^2 / (g' A g): c the variance of an effect, g its derivatives by the variances, A the inverse of their REML
    information. Variances of 0 are taken as known.
    """
    parts = [(networks[:, None] == networks[None, :]).astype(float), (cells[:, None] == cells[None, :]).astype(float),
             np.eye(len(y))]  # fmt: skip
    inverse = np.linalg.inv(sum(v * part for v, part in zip(variances, parts)))
    cov = np.linalg.inv(x.T @ inverse @ x)
    beta = cov @ x.T @ inverse @ y
    project = inverse - inverse @ x @ cov @ x.T @ inverse
    free = [part for v, part in zip(variances, parts) if v > 1e-6 * variances[2]]
    moved = [project @ part for part in free]
    information = np.array([[0.5 * np.sum(a * b.T) for b in moved] for a in moved])
    gls = cov @ x.T @ inverse
    slopes = np.array([np.einsum("ij,jk,ik->i", gls, part, gls) for part in free])
    spread = np.einsum("ai,ab,bi->i", slopes, np.linalg.pinv(information), slopes)
    by_y = project @ y
    slope = np.array([0.5 * (by_y @ part @ by_y - np.sum(project * part)) for part in parts])
    return beta, cov, 2 * np.diag(cov) ** 2 / spread, slope


def _failed(n_terms: int, why: str) -> Fit:
    nothing = np.full(n_terms, np.nan)
    return Fit(nothing, nothing, nothing, float("nan"), float("nan"), float("nan"), why)
