"""How a run's numbers that were made anew lie to the stored: cell by cell, and what they were made in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import tables
from blendnet import checkpoint
from blendnet.keys import difference

# How far numbers may lie apart that were made with another number of threads, and the only place where that is said:
# largest absolute difference of a cell; of weights, the relative L2 distance of all of them together. Measured on
# tests.test_pipeline.TINY (CORnet-Z, 8 steps, 1 and 2 threads): weights 1e-7, with attention 4e-6; scores and their
# intervals 9e-5; layers 1e-5; superposition and attention maps 1e-6, their last printed digit; all others 0. Between
# Python 3.11 and 3.12: 0 everywhere. Rounding grows with every step of training, so hundreds of steps may end beyond
# this: then the line says by how much, and the surroundings why. Counts, names and layers have no tolerance.
TOLERANCES = {
    "weights": 1e-4, "training": 1e-5, "accuracy": 0.0, "psychometric": 1e-5, "psychometric_points": 1e-5,
    "superposition": 1e-5, "decoding": 1e-5, "attention_maps": 1e-5, "scores": 3e-4, "layers": 1e-4,
}  # fmt: skip
# Times are never equal, and hashes of what a number rests on are not the number: they are reported apart.
_NOT_NUMBERS = {"seconds", "images_per_s", "hardware"}
_HASHES = {"weights_sha256", "activations_key", "recording_sha256", "code_version"}
SURROUNDINGS = ("python", "torch", "numpy", "device", "hardware", "threads", "git_commit")


@dataclass(frozen=True)
class Verdict:
    """One kind of number: identical, or by how much not. ok: identical or within the stated tolerance."""

    kind: str
    ok: bool
    identical: bool
    text: str


def differing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What the two records do not share, as 'threads: 2 -> 1'; what only one of them names is no difference."""
    found = []
    for part, names in (("surroundings", SURROUNDINGS), ("key", None)):
        a, b = old.get(part, {}), new.get(part, {})
        shared = [n for n in (names or sorted(a)) if n in a and n in b]
        a, b = ({n: _commit(n, v[n]) for n in shared} for v in (a, b))
        found += difference(a, b)
    if old.get("processes", 1) != new.get("processes", 1):
        found.append(f"processes: {old.get('processes', 1)} -> {new.get('processes', 1)}")
    threads = old.get("surroundings", {}).get("threads")
    return [f"{d} (OMP_NUM_THREADS={threads} gives the recorded)" if d.startswith("threads:") else d for d in found]


def _commit(name: str, value: Any) -> Any:
    """A commit's name so short that '+changes' is not cut off."""
    return value[:8] + value[40:] if name == "git_commit" and value else value


def compare(name: str, old: pd.DataFrame, new: pd.DataFrame) -> Verdict:
    """Two checked tables of one run (tables.check), cell by cell, rows matched by the table's key."""
    if old.empty and new.empty:
        return Verdict(name, True, True, "identical: no row")
    key = list(tables.TABLES[name].key)
    a, b = (df.set_index([df[k].astype(str) for k in key]) for df in (old, new))
    gone, more = a.index.difference(b.index), b.index.difference(a.index)
    if len(gone) or len(more):
        example = ", ".join(map(str, np.atleast_1d((gone if len(gone) else more)[0])))
        return Verdict(name, False, False, f"DIFFERS: {len(gone)} rows stored only, {len(more)} anew only ({example})")
    b = b.loc[a.index]
    kinds = {c.name: c.kind for c in tables.TABLES[name].columns}
    # A column that one of the tables was made without (before it existed, or since it is another command's).
    without = {c.name for c in tables.TABLES[name].columns if c.absent and (_bare(a[c.name]) or _bare(b[c.name]))}
    skip = _NOT_NUMBERS | _HASHES | without
    most, where, wrong = 0.0, "", []
    for column in (c for c in old if c not in skip):
        if kinds.get(column) == "number":
            x, y = (pd.to_numeric(df[column]).to_numpy(float) for df in (a, b))
            apart = np.where(np.isnan(x) & np.isnan(y), 0.0, np.abs(x - y))
            apart = np.where(np.isnan(apart), np.inf, apart)
            if apart.max() > most:
                most, where = float(apart.max()), column
            wrong += [column] * int((apart > TOLERANCES[name]).sum())
        else:
            wrong += [column] * int((a[column].astype(str).to_numpy() != b[column].astype(str).to_numpy()).sum())
    n = f"{len(old)} rows"
    if wrong:
        counts = ", ".join(f"{c} in {wrong.count(c)}" for c in dict.fromkeys(wrong))
        by = f"; by {most:.2g} at most ({where})" if most else ""
        return Verdict(name, False, False, f"DIFFERS: of {n} {counts}{by}")
    if most:
        by = f"{most:.2g} at most ({where}), {TOLERANCES[name]:g} allowed"
        return Verdict(name, True, False, f"within tolerance: {n}, {by}")
    return Verdict(name, True, True, f"identical: {n}")


def _bare(values: pd.Series) -> bool:
    return bool((values.isna() | (values.astype(str) == "")).all())


def rests(old: pd.DataFrame, new: pd.DataFrame) -> str:
    """What a table's numbers rest on, where that is not the same: other code or other responses explain much."""
    changed = [
        what for what, column in (("code", "code_version"), ("recording", "recording_sha256"))
        if column in old and column in new and set(old[column]) != set(new[column])
    ]  # fmt: skip
    return f" (other {' and '.join(changed)} than stored)" if changed else ""


def weights(before: Path, folder: Path, old: str) -> Verdict:
    """The checkpoint in `folder` against that in `before`, or where that is not there, against the hash `old` alone."""
    new = checkpoint.load_meta(folder)["weights_sha256"]
    if new == old:
        return Verdict("weights", True, True, f"identical: sha256 {new[:12]}…")
    what = f"sha256 {old[:12]}… -> {new[:12]}…"
    if not checkpoint.is_finished(before):
        return Verdict("weights", True, False, f"not to the bit: {what}; the stored are not here: what follows decides")
    a, b = (checkpoint.load_tensors(f / checkpoint.WEIGHTS) for f in (before, folder))
    if {k: v.shape for k, v in a.items()} != {k: v.shape for k, v in b.items()}:
        return Verdict("weights", False, False, f"DIFFERS: {what}, tensors of other names or shapes")
    apart = sum(float((a[k].double() - b[k].double()).square().sum()) for k in a)
    distance = (apart / max(sum(float(a[k].double().square().sum()) for k in a), 1e-300)) ** 0.5
    ok = distance <= TOLERANCES["weights"]
    by = f"relative distance {distance:.2g}, {TOLERANCES['weights']:g} allowed; {what}"
    return Verdict("weights", ok, False, f"{'within tolerance' if ok else 'DIFFERS'}: {by}")
