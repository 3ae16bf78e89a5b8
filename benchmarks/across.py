"""How far the numbers of one chain lie apart that was run with other threads and by another Python, column by column.

    BLENDNET_OTHER_PYTHON=/path/to/python3.12 python -m benchmarks.across [--out benchmarks/results/across.md]

The chain is that of tests/test_determinism.py, which asks the same of every commit: one network with attention trained
for a few steps, predicted, looked into, extracted, scored by two metrics. About a minute of CPU a side.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import tables
from blendnet import checkpoint
from blendnet.errors import BlendnetError
from blendnet.files import read_json, write_text
from pipelines._anew import _HASHES, _NOT_NUMBERS, TOLERANCES
from tests.test_determinism import CODE, ROOT, RUN, other_python

NAMED = ("numpy", "torch", "hardware")
Differences = dict[tuple[str, str], float]


def made(where: Path, python: str, threads: int, hash_seed: int) -> Path:
    """The results folder of the chain, run by a process of its own."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    env = os.environ | dict.fromkeys(names, str(threads)) | {
        "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(hash_seed), "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_WAIT_POLICY": "passive",
    }  # fmt: skip
    done = subprocess.run([python, "-c", textwrap.dedent(CODE), "make", str(where)], cwd=ROOT, env=env,
                          capture_output=True, text=True, check=False)  # fmt: skip
    if done.returncode:
        raise BlendnetError(f"{python} with {threads} threads failed: {done.stderr.strip().splitlines()[-1]}")
    return where / "demo"


def differences(a: Path, b: Path) -> Differences:
    """{(table, column): largest absolute difference of its numbers, or the number of cells that differ where it holds
    other things}; ('weights', ''): relative L2 distance of all weights. Inf where rows or missing numbers differ."""
    found: Differences = {("weights", ""): _distance(*(r / "checkpoints" / RUN / checkpoint.WEIGHTS for r in (a, b)))}
    for name in TOLERANCES:
        if name != "weights":
            found |= compared(name, *(tables.read(r / "tables" / f"{name}.csv", name) for r in (a, b)))
    return found


def compared(name: str, a: pd.DataFrame, b: pd.DataFrame) -> Differences:
    """The same of two tables; columns that tell the time or hash what numbers rest on are left out."""
    key = list(tables.TABLES[name].key)
    a, b = (df.set_index([df[k].astype(str) for k in key]) for df in (a, b))
    columns = {c.name: c.kind for c in tables.TABLES[name].columns if c.name not in _NOT_NUMBERS | _HASHES}
    if len(a) != len(b) or len(a.index.symmetric_difference(b.index)):
        return {(name, column): float("inf") for column in columns if column in a}
    b = b.loc[a.index]
    found: Differences = {}
    for column, kind in columns.items():
        if column not in a or column not in b:
            continue
        if kind == "number":
            x, y = (pd.to_numeric(df[column]).to_numpy(float) for df in (a, b))
            apart = np.where(np.isnan(x) & np.isnan(y), 0.0, np.abs(x - y))
            found[name, column] = float(np.where(np.isnan(apart), np.inf, apart).max(initial=0))
        else:
            found[name, column] = float((a[column].astype(str).to_numpy() != b[column].astype(str).to_numpy()).sum())
    return found


def allowed(name: str, column: str) -> float:
    """The stated tolerance (pipelines/_anew.py, docs/methods/reproducibility.md); counts, names, layers have none."""
    kinds = {c.name: c.kind for c in tables.TABLES[name].columns} if name in tables.TABLES else {}
    return TOLERANCES[name] if kinds.get(column, "number") == "number" else 0.0


def beyond(found: Differences) -> list[str]:
    """What lies further apart than is stated."""
    return [f"{name}.{column}" for (name, column), apart in found.items() if apart > allowed(name, column)]


def _distance(before: Path, after: Path) -> float:
    a, b = checkpoint.load_tensors(before), checkpoint.load_tensors(after)
    apart = sum(float((a[k].double() - b[k].double()).square().sum()) for k in a)
    return (apart / sum(float(a[k].double().square().sum()) for k in a)) ** 0.5


def page(sides: dict[str, dict[str, Any]], pairs: dict[str, Differences], seconds: float) -> str:
    """The table, as Markdown. sides: surroundings of each side; pairs: what lies between two of them."""
    rows = [
        "# Across threads and Pythons",
        "",
        "The chain of `tests/test_determinism.py` (CORnet-Z with attention, 4 steps of 32 blends, then outputs, a look "
        "inside, activations, scores by two metrics) run once a side, each in a process with another hash seed. "
        "Largest absolute difference of a column over all its rows; for weights the relative L2 distance. *Cells*: the "
        "column holds counts or names, and no cell may differ. Columns of times and of hashes are left out.",
        "",
        "| side | Python | threads | " + " | ".join(NAMED) + " |",
        "|---|---|---|" + "---|" * len(NAMED),
    ]  # fmt: skip
    for name, about in sides.items():
        told = " | ".join(str(about[n]) for n in NAMED)
        rows.append(f"| {name} | {about['python']} | {about['threads']} | {told} |")
    rows += ["", f"| table | column | {' | '.join(pairs)} | tolerance |", "|---|---|" + "---|" * (len(pairs) + 1)]
    known = next(iter(pairs.values()))
    for table in dict.fromkeys(name for name, _ in known):
        columns = [column for name, column in known if name == table]
        apart = [c for c in columns if any(pair[table, c] for pair in pairs.values())]
        for column in apart:
            cells = " | ".join(f"{pair[table, column]:.1e}" for pair in pairs.values())
            rows.append(f"| {table} | {column} | {cells} | {_stated(table, column)} |")
        if same := [c for c in columns if c not in apart]:
            which = f"{'all' if not apart else 'the other'} {len(same)}" if table != "weights" else ""
            rows.append(f"| {table} | {which} | {' | '.join('0' for _ in pairs)} | {_stated(table, same[0], same)} |")
    wrong = {name: beyond(pair) for name, pair in pairs.items()}
    total = sum(map(len, wrong.values()))
    said = f"{total} of {sum(map(len, pairs.values()))} columns beyond their tolerance" + (
        f": {wrong}" if total else ""
    )
    rows += ["", f"{said}; {seconds:.0f} s. Made by `python -m benchmarks.across`.", ""]
    return "\n".join(rows)


def _stated(table: str, column: str, columns: list[str] | None = None) -> str:
    several = {allowed(table, c) for c in columns or [column]}
    return " or ".join("0 (cells)" if value == 0 else f"{value:g}" for value in sorted(several, reverse=True))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=None, help="also write the table to this markdown file")
    options = parser.parse_args(argv)
    began = time.perf_counter()
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    sides = {f"{here}, 1 thread": (sys.executable, 1), f"{here}, 2 threads": (sys.executable, 2)}
    python, why_not = other_python()
    if python:
        there = "3.12" if here == "3.11" else "3.11"
        sides |= {f"{there}, 1 thread": (python, 1), f"{there}, 2 threads": (python, 2)}
    else:
        print(f"without another Python: {why_not}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="blendnet-across-") as folder:
        results = {}
        for i, (name, (which, threads)) in enumerate(sides.items()):
            results[name] = made(Path(folder) / str(i), which, threads, hash_seed=i + 1)
            print(f"{name}: {time.perf_counter() - began:.0f} s so far", flush=True)
        first, *others = results
        pairs = {f"{first} → {other}": differences(results[first], results[other]) for other in others}
        about = {name: read_json(r / "tables" / "provenance.json")["surroundings"] for name, r in results.items()}
    text = page(about, pairs, time.perf_counter() - began)
    print(text)
    if options.out:
        write_text(options.out, text)
    return 1 if any(beyond(pair) for pair in pairs.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
