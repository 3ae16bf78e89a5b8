"""The logs of all finished trainings -> training.csv."""

import io
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import tables
from blendnet import checkpoint, integrity, tabular
from blendnet.errors import BlendnetError
from pipelines.context import Context, say

FROM_LOG = ("epoch", "lr", "train_loss", "val_loss", "val_both", "val_top1", "seconds", "images_per_s")
IN_LOG = (*FROM_LOG, "n_val_blends", "n_val_regular")


def gather(context: Context) -> None:
    """training.csv: one row an epoch of every trained run of the sheet; what is not trained to its end is left out,
    which is said. epoch counts from 1 in the table."""
    parts, missing = [], []
    for run in context.profile.trained_runs():
        folder = context.folder("checkpoints", run.id)
        if not (checkpoint.is_finished(folder) and (folder / "log.csv").exists()):
            missing.append(run.id)
            continue
        meta = checkpoint.load_meta(folder)
        again = f"blendnet train --profile {context.profile.name} --only {run.id} --force"
        integrity.check(folder / "log.csv", f"train it again: {again}", {"log.csv": meta.get("log_sha256")})
        parts.append(_rows(_log(folder / "log.csv", again), meta).assign(
            run=run.id, network=run.network, attention=run.attention, heads=run.heads, training=run.training,
            seed=run.seed,
        ))  # fmt: skip
    if missing:
        say(f"  training.csv: {len(missing)} of {len(parts) + len(missing)} runs are not trained yet: {missing[0]}")
    if parts:
        tables.write(pd.concat(parts, ignore_index=True)[tables.columns("training")], context.tables / "training.csv")


def _log(path: Path, again: str) -> pd.DataFrame:
    """The log of a training as numbers; that of a checkpoint from before hashes may be anything. BlendnetError, one
    line, for what is no table of numbers with the columns of a log."""
    content = tabular.read(path, f"train it again: {again}")
    try:
        log = pd.read_csv(io.BytesIO(content), encoding="utf-8-sig", index_col=False)[list(IN_LOG)].apply(pd.to_numeric)
        if log.isna()["epoch"].any():
            raise ValueError("a row without an epoch")
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        first = str(error).strip().splitlines()[0]
        raise BlendnetError(f"{path} is no log of a training ({first}); train it again: {again}") from error
    return log


def _rows(log: pd.DataFrame, meta: dict[str, Any]) -> pd.DataFrame:
    # A checkpoint from before early stopping was trained for all of its epochs.
    early = bool(meta.get("stopped_early", False))
    rows = log[list(FROM_LOG)]
    return rows.assign(
        epoch=log["epoch"] + 1, kept=log["epoch"] == meta["epoch"], stopped_early=early,
        epochs_trained=meta.get("epochs_trained", len(log)), n_val_blends=log["n_val_blends"],
        n_val_regular=log["n_val_regular"], hardware=meta.get("surroundings", {}).get("hardware", ""),
    )  # fmt: skip
