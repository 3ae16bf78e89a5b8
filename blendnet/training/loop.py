"""Training: seeded blends without end, all of validation after every epoch, resumable to the same bits."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from blendnet import checkpoint
from blendnet.data import blended
from blendnet.data.manifest import targets as label_sets
from blendnet.data.photoset import PhotoSet
from blendnet.errors import BlendnetError
from blendnet.files import make_folder, write_text
from blendnet.keys import code_version, difference
from blendnet.run import Recipe, Run
from blendnet.training import evaluate, schedule, state
from blendnet.training.augment import augment, normalise, step_generator

# Kept beside the weights, not in their key: a changed comment must not cost a week of training; reuse says so.
CODE = ("blendnet/training", "blendnet/models", "blendnet/attention", "blendnet/data/mixing.py")

Say = Callable[[str], None]


class Batches:
    """Training batches as a pure function of (seed, step), made on the device where the photographs lie."""

    def __init__(
        self,
        photos: PhotoSet,
        run: Run,
        recipe: Recipe,
        held_out: frozenset,
        space: str,
        device: torch.device,
    ):
        index = np.flatnonzero(photos.split == "train")
        self.images = photos.images[torch.from_numpy(index)].to(device)
        self.labels = photos.labels[torch.from_numpy(index)]
        self.identity = photos.identity[index]
        self.n_classes = len(photos.classes)
        self.run, self.recipe, self.held_out, self.space, self.device = run, recipe, held_out, space, device

    def __call__(self, step: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised images (size, 3, S, S) and multi-hot targets (size, n_classes) of one step."""
        generator = step_generator(self.run.seed, step)
        if self.run.training == "regular":
            index = torch.randint(len(self.labels), (size,), generator=generator)
            images = self._photos(index, generator)
            targets = F.one_hot(self.labels[index], self.n_classes).float()
        else:
            a, b, alpha = blended.draw_pairs(
                self.labels, self.identity, size,
                seed=self.run.seed, step=step, alpha=self.recipe.alpha, held_out=self.held_out,
            )  # fmt: skip
            images = blended.blend(
                self._photos(a, generator),
                self._photos(b, generator),
                alpha.to(self.device),
                space=self.space,
            )
            targets = (F.one_hot(self.labels[a], self.n_classes) + F.one_hot(self.labels[b], self.n_classes)).float()
        smooth = self.recipe.label_smoothing
        return normalise(images), (targets * (1 - smooth) + smooth / 2).to(self.device)

    def _photos(self, index: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        photos = self.images[index.to(self.device)].float() / 255
        return augment(photos, generator, crop_scale=self.recipe.crop_scale, flip=self.recipe.flip)


def validate(model: nn.Module, run: Run, photos: PhotoSet, manifest: pd.DataFrame, device: torch.device) -> dict:
    """All of validation: blends (both, one, none) and regular photographs (top-1), with counts and losses."""
    targets = label_sets(photos, manifest).numpy()
    logits = evaluate.outputs(model, evaluate.blend_images(photos, manifest), len(manifest), device=device)
    both, one, none = evaluate.both_one_none(logits, targets)
    index = np.flatnonzero(photos.split == "val")
    single = evaluate.outputs(model, evaluate.regular_images(photos, index), len(index), device=device)
    labels = photos.labels.numpy()[index]
    blend_loss = evaluate.bce(logits, targets)
    single_loss = evaluate.bce(single, np.eye(len(photos.classes))[labels])
    return {
        "val_loss": single_loss if run.training == "regular" else blend_loss,
        "val_both": both, "val_one": one, "val_none": none, "val_top1": evaluate.top1(single, labels),
        "n_val_blends": len(manifest), "n_val_regular": len(index),
    }  # fmt: skip


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
    stop_after: int | None = None,
) -> dict[str, Any]:
    """Train one run into its folder and return its meta; a finished, equal training is reused.

    The best epoch is the one with most validation blends both-correct (regular training: highest top-1), lower
    validation loss deciding ties. stop_after: leave after that many epochs of this call (tests of resuming).
    """
    device = torch.device(device)
    code, where = code_version(*CODE), checkpoint.surroundings(device)
    key = {
        "run": run.id, "recipe": recipe.asdict(), "image_size": image_size, "classes": list(photos.classes),
        "photos_sha256": photos.sha256, "manifest_sha256": val_manifest.attrs["sha256"],
        "held_out": sorted([list(p) for p in held_out]), "space": space,
    }  # fmt: skip
    if checkpoint.is_finished(folder) and not force:
        differs = difference(checkpoint.load_meta(folder).get("key", {}), key)
        if not differs:
            meta = checkpoint.load_meta(folder)
            other = meta.get("code", code) != code
            say(f"  reused: {run.id} is trained" + (" (by other code; --force trains it anew)" if other else ""))
            return meta
        say(f"  trained anew: {run.id} differs in {'; '.join(differs[:3])}")
    make_folder(folder)
    model = model.to(device).train()
    if device.type == "cuda":
        model = model.to(memory_format=torch.channels_last)
    optim = schedule.optimizer(model, recipe)
    done, best = _resume(folder, key, model, optim, force, say)
    # From here on the run is unfinished: a kill must not leave an older training in its place.
    (folder / checkpoint.META).unlink(missing_ok=True)
    batches = Batches(photos, run, recipe, held_out, space, device)
    steps = max(1, recipe.epoch_size // recipe.batch_size)
    writer = _tensorboard(folder, done.epoch)
    bar = tqdm(total=recipe.epochs * steps, initial=done.epoch * steps, desc=f"  {run.id}", unit="step",
               disable=not progress_bar, leave=False)  # fmt: skip
    try:
        for epoch in range(done.epoch, recipe.epochs):
            if stop_after is not None and epoch >= stop_after:
                return {}
            began = time.perf_counter()
            loss = _epoch(model, optim, batches, recipe, epoch, steps, device, run, bar)
            trained = time.perf_counter() - began
            row = {"epoch": epoch, "lr": schedule.learning_rate(recipe, (epoch + 1) * steps - 1, steps),
                   "train_loss": loss} | validate(model, run, photos, val_manifest, device)  # fmt: skip
            if not np.isfinite(row["val_loss"]):
                raise BlendnetError(
                    f"{run.id}: the validation loss is {row['val_loss']} in epoch {epoch + 1}; lower the recipe's lr "
                    f"({recipe.lr:g})"
                )
            seconds = time.perf_counter() - began
            row |= {
                "seconds": round(seconds, 3),
                "images_per_s": round(steps * recipe.batch_size / trained, 1),
            }
            done.log.append(row)
            done.seconds += seconds
            criterion = (row["val_top1" if run.training == "regular" else "val_both"], -row["val_loss"])
            if done.best is None or criterion > done.best:
                done.best, done.best_epoch = criterion, epoch
                best = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
            done.epoch = epoch + 1
            state.save(folder, key, done, model, best, optim)
            write_text(folder / "log.csv", pd.DataFrame(done.log).to_csv(index=False))
            for name, value in row.items():
                if name not in ("epoch", "seconds"):
                    writer.add_scalar(name, value, epoch)
            writer.flush()
            bar.set_postfix(loss=f"{loss:.3f}", both=f"{row['val_both']:.3f}", refresh=False)
    finally:
        bar.close()
        writer.close()
    # Once more: a kill between state and log in the last epoch would have left the log short for good.
    write_text(folder / "log.csv", pd.DataFrame(done.log).to_csv(index=False))
    if not best:
        raise BlendnetError(f"{run.id}: no epoch was trained; set the recipe's epochs to 1 or more")
    checkpoint.load_strictly(model, best, folder)
    row = done.log[done.best_epoch]
    meta = checkpoint.save(folder, model, {
        "key": key, "code": code, "run": run.id, "network": run.network, "attention": run.attention, "heads": run.heads,
        "training": run.training, "seed": run.seed, "recipe": recipe.asdict(), "classes": list(photos.classes),
        "image_size": image_size, "colour": colour, "epoch": done.best_epoch,
        "criterion": "val_top1" if run.training == "regular" else "val_both", "validation": row,
        "n_train_images": len(batches.labels), "seconds": round(done.seconds, 1),
        "surroundings": where,
    })  # fmt: skip
    # Only now: as long as the state lies there, a kill between the two files of the checkpoint loses nothing.
    (folder / state.STATE).unlink(missing_ok=True)
    return meta


def _epoch(
    model: nn.Module, optim: torch.optim.Optimizer, batches: Batches, recipe: Recipe, epoch: int, steps: int,
    device: torch.device, run: Run, bar: tqdm,
) -> float:  # fmt: skip
    """One epoch; returns the mean training loss. Raises BlendnetError when the loss is no number."""
    model.train()
    losses = []
    low = recipe.precision == "bfloat16"
    for step in range(epoch * steps, (epoch + 1) * steps):
        for group in optim.param_groups:
            group["lr"] = schedule.learning_rate(recipe, step, steps)
        x, y = batches(step, recipe.batch_size)
        # Dropout draws from the global stream: tie it to the step, too.
        torch.manual_seed(int(step_generator(run.seed, step, 1).initial_seed() % 2**31))
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            logits = model(x)
        loss = F.binary_cross_entropy_with_logits(logits.float(), y)
        optim.zero_grad(set_to_none=True)
        loss.backward()
        optim.step()
        losses.append(loss.detach())
        bar.update(1)
    mean = float(torch.stack(losses).mean())
    if not np.isfinite(mean):
        raise BlendnetError(
            f"{run.id}: the training loss is {mean} in epoch {epoch + 1}; lower the recipe's lr ({recipe.lr:g})"
        )
    return mean


def _resume(folder: Path, key: dict, model: nn.Module, optim: torch.optim.Optimizer, force: bool, say: Say):
    stored = None if force else state.load_key(folder)
    if stored is not None:
        differs = difference(stored, key)
        if not differs:
            done, best = state.load(folder, model, optim)
            say(f"  resumed: {key['run']} after epoch {done.epoch}")
            return done, best
        say(f"  started anew: the unfinished {key['run']} differs in {'; '.join(differs[:3])}")
    return state.Progress(), {}


def _tensorboard(folder: Path, step: int):
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"), purge_step=step)
