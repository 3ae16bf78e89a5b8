"""Training: seeded blends without end, all of validation after every epoch, resumable to the same bits."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from blendnet import checkpoint
from blendnet.data.photoset import PhotoSet
from blendnet.errors import BlendnetError
from blendnet.files import make_folder, sha256_file, write_text
from blendnet.keys import code_version, difference
from blendnet.run import Recipe, Run
from blendnet.training import augment, averaging, compilation, distributed, feed, schedule, state
from blendnet.training.evaluate import validate
from blendnet.training.feed import Batch, Batches
from blendnet.training.trackers import open_tracker

__all__ = ["Batches", "train", "train_step", "validate"]

# Kept beside the weights, not in their key: a changed comment must not cost a week of training; reuse says so.
CODE = ("blendnet/training", "blendnet/models", "blendnet/attention", "blendnet/data/mixing.py")

Say = Callable[[str], None]


def train_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, recipe: Recipe, *, device: torch.device
) -> torch.Tensor:
    """One step of the optimiser on one batch (normalised images, targets); returns the loss before it, detached.

    Forward in the recipe's precision, binary cross-entropy with logits in float32, backward, step.
    """
    x, y = batch
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        logits = model(x)
    loss = F.binary_cross_entropy_with_logits(logits.float(), y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


def train(
    folder: Path,
    run: Run,
    recipe: Recipe,
    model: nn.Module,
    photos: PhotoSet,
    val_manifest: pd.DataFrame,
    *,
    image_size: int,
    colour: str = "rgb",
    held_out: frozenset = frozenset(),
    space: str = "pixel",
    device: torch.device | str = "cpu",
    force: bool = False,
    say: Say = print,
    progress_bar: bool = True,
    tracker: str = "tensorboard",
    stop_after: int | None = None,
) -> dict[str, Any]:
    """Train one run into its folder and return its meta; a finished, equal training is reused.

    The best epoch is the one with most validation blends both-correct (regular training: highest top-1), lower
    validation loss deciding ties; with recipe.ema it is the averaged weights that are validated and kept. tracker:
    see trackers.open_tracker. stop_after: leave after that many epochs of this call (tests of resuming). Within
    distributed.processes all processes call it alike. Raises BlendnetError for a loss that is no number, a GPU
    without enough memory, a batch that the processes cannot share.
    """
    device = torch.device(device)
    feed.check_split(recipe, distributed.world())
    code, where = code_version(*CODE), checkpoint.surroundings(device)
    key = {
        "run": run.id, "recipe": recipe.asdict(), "image_size": image_size, "classes": list(photos.classes),
        "photos_sha256": photos.sha256, "manifest_sha256": val_manifest.attrs["sha256"],
        "held_out": sorted([list(p) for p in held_out]), "space": space,
    }  # fmt: skip
    reused = distributed.from_first(lambda: _reusable(folder, key, code, force, say))
    if reused is not None:
        return reused
    model = model.to(device).train()
    if device.type == "cuda" or recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)
    optim = schedule.optimizer(model, recipe)
    done, best, average = _resume(folder, key, model, optim, recipe, force, say)
    first = distributed.rank() == 0
    batches = feed.Batches(photos, run, recipe, held_out, space, device,
                           rank=distributed.rank(), world=distributed.world())  # fmt: skip
    steps = schedule.steps_per_epoch(recipe)
    trained = compilation.compiled(distributed.shared(model, device), recipe)
    log = open_tracker(tracker if first else "none", folder, run.id, key, step=done.epoch)
    bar = tqdm(total=recipe.epochs * steps, initial=done.epoch * steps, desc=f"  {run.id}", unit="step",
               disable=not (progress_bar and first), leave=False)  # fmt: skip
    status = "failed"
    try:
        while done.epoch < recipe.epochs and not _is_over(done, recipe):
            epoch = done.epoch
            if stop_after is not None and epoch >= stop_after:
                status = "killed"
                return {}
            began = time.perf_counter()
            loss = _epoch(trained, model, average, optim, batches, recipe, epoch, steps, device, run, bar)
            seconds_trained = time.perf_counter() - began
            row = {"epoch": epoch, "lr": schedule.learning_rate(recipe, (epoch + 1) * steps - 1, steps),
                   "train_loss": loss}  # fmt: skip
            with averaging.shown(model, average):
                row |= validate(model, run, photos, val_manifest, device)
                if not np.isfinite(row["val_loss"]):
                    raise BlendnetError(
                        f"{run.id}: the validation loss is {row['val_loss']} in epoch {epoch + 1}; lower the recipe's "
                        f"lr ({recipe.lr:g})"
                    )
                criterion = (row["val_top1" if run.training == "regular" else "val_both"], -row["val_loss"])
                if done.best is None or criterion > done.best:
                    done.best, done.best_epoch = criterion, epoch
                    best = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
            seconds = time.perf_counter() - began
            row |= {
                "seconds": round(seconds, 3),
                "images_per_s": round(steps * recipe.batch_size / seconds_trained, 1),
            }
            done.log.append(row)
            done.seconds += seconds
            done.epoch = epoch + 1
            # Before the state: after a kill in between the epoch is repeated, and no tracker shows it twice.
            log.log({k: v for k, v in row.items() if k not in ("epoch", "seconds")}, epoch)
            if first:
                state.save(folder, key, done, model, best, optim, average)
                write_text(folder / "log.csv", pd.DataFrame(done.log).to_csv(index=False))
            bar.set_postfix(loss=f"{loss:.3f}", both=f"{row['val_both']:.3f}", refresh=False)
        status = "finished"
    except KeyboardInterrupt:
        status = "killed"
        raise
    except torch.OutOfMemoryError as error:
        raise BlendnetError(
            f"{run.id}: the GPU has too little memory for batch size {recipe.batch_size} at {image_size} px; lower "
            "batch_size in pipelines/sheet.py, or share it among several GPUs with torchrun"
        ) from error
    finally:
        bar.close()
        log.close(status)
    if not best:
        raise BlendnetError(f"{run.id}: no epoch was trained; set the recipe's epochs to 1 or more")
    checkpoint.load_strictly(model, best, folder)

    def finish() -> dict[str, Any]:
        # Once more: a kill between state and log in the last epoch would have left the log short for good.
        write_text(folder / "log.csv", pd.DataFrame(done.log).to_csv(index=False))
        meta = checkpoint.save(folder, model, {
            "key": key, "code": code, "run": run.id, "network": run.network, "attention": run.attention,
            "heads": run.heads, "training": run.training, "seed": run.seed, "recipe": recipe.asdict(),
            "classes": list(photos.classes), "image_size": image_size, "colour": colour, "epoch": done.best_epoch,
            "epochs_trained": done.epoch, "stopped_early": done.epoch < recipe.epochs,
            "criterion": "val_top1" if run.training == "regular" else "val_both",
            "validation": done.log[done.best_epoch], "n_train_images": len(batches.labels),
            "processes": distributed.world(), "seconds": round(done.seconds, 1), "surroundings": where,
            "log_sha256": sha256_file(folder / "log.csv"),
        })  # fmt: skip
        # Only now: as long as the state lies there, a kill between the two files of the checkpoint loses nothing.
        (folder / state.STATE).unlink(missing_ok=True)
        return meta

    return distributed.from_first(finish)


def _epoch(
    trained: nn.Module, model: nn.Module, average: averaging.Average | None, optim: torch.optim.Optimizer,
    batches: feed.Batches, recipe: Recipe, epoch: int, steps: int, device: torch.device, run: Run, bar: tqdm,
) -> float:  # fmt: skip
    """One epoch; returns the mean training loss. trained: the model as it is called, `model` itself or wrapped around
    it. Raises BlendnetError when the loss is no number."""
    model.train()
    losses = []
    start, stop = epoch * steps, (epoch + 1) * steps
    with closing(batches.steps(start, stop, recipe.batch_size)) as feeding:
        for step, batch in zip(range(start, stop), feeding):
            for group in optim.param_groups:
                group["lr"] = schedule.learning_rate(recipe, step, steps)
            # Dropout draws from the global stream: tie it to the step, too, and to the process's part of the batch.
            part = (distributed.rank(),) if distributed.rank() else ()
            torch.manual_seed(int(augment.step_generator(run.seed, step, 1, *part).initial_seed() % 2**31))
            with compilation.explained(recipe):
                losses.append(train_step(trained, optim, batch, recipe, device=device))
            if average is not None:
                averaging.update(average, model, recipe.ema, step)
            bar.update(1)
    mean = float(distributed.total(torch.stack(losses).mean().cpu().numpy(), device)) / distributed.world()
    if not np.isfinite(mean):
        raise BlendnetError(
            f"{run.id}: the training loss is {mean} in epoch {epoch + 1}; lower the recipe's lr ({recipe.lr:g})"
        )
    return mean


def _is_over(done: state.Progress, recipe: Recipe) -> bool:
    """Early stopping: recipe.patience epochs have passed without a better one."""
    return bool(recipe.patience and done.best and done.epoch - 1 - done.best_epoch >= recipe.patience)


def _reusable(folder: Path, key: dict, code: str, force: bool, say: Say) -> dict[str, Any] | None:
    """The meta of a finished training with this key; else None, the folder being made ready for another."""
    if checkpoint.is_finished(folder) and not force:
        meta = checkpoint.load_meta(folder)
        differs = difference(meta.get("key", {}), key)
        if not differs:
            other = meta.get("code", code) != code
            say(f"  reused: {key['run']} is trained" + (" (by other code; --force trains it anew)" if other else ""))
            return meta
        say(f"  trained anew: {key['run']} differs in {'; '.join(differs[:3])}")
    make_folder(folder)
    return None


def _resume(
    folder: Path, key: dict, model: nn.Module, optim: torch.optim.Optimizer, recipe: Recipe, force: bool, say: Say
) -> tuple[state.Progress, dict[str, torch.Tensor], averaging.Average | None]:
    """Progress, best weights and averaged weights: those of the stored state, or those of a beginning."""

    def usable() -> bool:
        stored = None if force else state.load_key(folder)
        differs = difference(stored, key) if stored is not None else []
        if differs:
            say(f"  started anew: the unfinished {key['run']} differs in {'; '.join(differs[:3])}")
        return stored is not None and not differs

    best: dict[str, torch.Tensor] = {}
    done, average = state.Progress(), averaging.start(model) if recipe.ema else None
    if distributed.from_first(usable):
        done, best, average = state.load(folder, model, optim, average)
        if distributed.rank() == 0:
            say(f"  resumed: {key['run']} after epoch {done.epoch}")

    def begin() -> None:
        # From here on the run is unfinished: a kill must not leave an older training in its place.
        (folder / checkpoint.META).unlink(missing_ok=True)

    distributed.from_first(begin)
    return done, best, average
