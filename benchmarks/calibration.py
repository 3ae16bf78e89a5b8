"""The statistics on simulated data: are false positives 5 %, do 95 % intervals cover 95 %?

    python -m benchmarks.calibration [--quick] [--out benchmarks/results/calibration.md]

Full size: 2000 simulated studies a row, minutes. Rows are from benchmarks._calibration_relation (similarity and
accuracy) and benchmarks._calibration_effects (the effect of attention).
"""

import argparse
import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Read by the linear algebra libraries when they are loaded, so before numpy: the matrices are small.
if __name__ == "__main__":
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[_name] = "1"

import numpy as np

from benchmarks import _calibration_effects, _calibration_relation
from benchmarks.similarity import processor
from blendnet.files import write_text

PARTS = {
    "Effect of attention": _calibration_effects.rows,
    "Similarity and accuracy": _calibration_relation.rows,
}


def judged(row: dict[str, Any]) -> str:
    """What the found value says of the nominal one: 'as claimed' where it is within Monte Carlo error or on the safe
    side (fewer false positives, more coverage), 'off' else; empty where nothing is claimed."""
    if not np.isfinite(row["nominal"]):
        return ""
    if row["lo"] <= row["nominal"] <= row["hi"]:
        return "as claimed"
    safe = row["lo"] > row["nominal"] if "cover" in row["what"] else row["hi"] < row["nominal"]
    if safe and not row["what"].startswith("mean"):
        return "as claimed, safe side"
    return "off" if "(not " not in row["what"] else "off, as said"


def body(found: list[dict[str, Any]]) -> list[str]:
    """Rows as markdown."""
    lines = ["| what | design | nominal | found | 95 % interval | simulations | |", "|---|---|---|---|---|---|---|"]
    for row in found:
        nominal = f"{row['nominal']:.3g}" if np.isfinite(row["nominal"]) else ""
        lines.append(
            f"| {row['what']} | {row['design']} | {nominal} | {row['found']:.3f} | {row['lo']:.3f} to {row['hi']:.3f} "
            f"| {row['n_simulations']} | {judged(row)} |"
        )
    return lines


def commit() -> str:
    """The commit that was measured, with a note where the working tree differs from it."""
    asked = [["git", "rev-parse", "--short", "HEAD"], ["git", "status", "--porcelain", "analysis/stats", "benchmarks"]]
    found = [subprocess.run(c, capture_output=True, text=True, check=False).stdout.strip() for c in asked]
    return f"commit {found[0] or 'unknown'}" + (" with changes in analysis/stats or benchmarks" if found[1] else "")


def table(*, n_simulations: int, seed: int, quick: bool) -> str:
    """All rows as markdown, with what they were measured on."""
    parts, start = [], time.perf_counter()
    for title, rows in PARTS.items():
        parts += ["", f"## {title}", "", *body(rows(n_simulations, seed))]
        print(f"{title}: {time.perf_counter() - start:.0f} s so far", flush=True)
    return "\n".join(
        [
            "# Calibration on simulated data" + (" (quick size: no claim)" if quick else ""),
            "",
            "Shares of simulated studies, or means where the row says so, with a 95 % interval for their number. 'as "
            "claimed': the nominal value is within that interval; 'safe side': fewer false positives or more coverage "
            "than nominal; 'off, as said': a row of what is not used or not claimed, to show why; 'off': neither. Of "
            "so many rows that are right about one in twenty falls outside its interval by chance.",
            *parts,
            "",
            f"Seed {seed}, one thread, {processor()}, Python {platform.python_version()}, numpy {version('numpy')}, "
            f"scipy {version('scipy')}, statsmodels {version('statsmodels')}, {commit()}. What the words of the "
            "designs mean: the first lines of benchmarks/_calibration_relation.py and _calibration_effects.py. Made by "
            "`python -m benchmarks.calibration`.",
            "",
        ]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="false positives and coverage of the statistics, in one table")
    parser.add_argument("--quick", action="store_true", help="40 simulations a row: shows that it works, no claim")
    parser.add_argument("--seed", type=int, default=0, help="of all simulations")
    parser.add_argument("--out", type=Path, default=None, help="also write the table to this markdown file")
    args = parser.parse_args()
    text = table(n_simulations=40 if args.quick else 2000, seed=args.seed, quick=args.quick)
    print(text)
    if args.out:
        write_text(args.out, text)
