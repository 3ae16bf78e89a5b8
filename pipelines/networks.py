"""From a run of the sheet to a network with its weights."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from blendnet import attention, checkpoint, models, stored
from blendnet._kinds import must_be
from blendnet.errors import BlendnetError, unknown
from blendnet.files import sha256_file
from blendnet.keys import difference
from blendnet.run import Run
from pipelines.context import Context, say

# torchvision's own file; the first eight digits of its sha256 stand in its name.
IMAGENET = {"mobilenet_v2": ("weights/mobilenet_v2-b0353104.pth", "b0353104")}


def n_classes(context: Context, run: Run) -> int:
    """Outputs of the run's network: the profile's classes, or ImageNet's for controls."""
    return 1000 if run in context.profile.control_runs() else len(context.profile.classes)


def fresh(context: Context, run: Run) -> nn.Module:
    """The run's network with its initial weights."""
    return models.build(
        run.network,
        attention=run.attention,
        heads=run.heads or 4,
        n_classes=n_classes(context, run),
        seed=run.seed,
        image_size=context.profile.size_of(run),
    )


def ready(context: Context, run: Run) -> nn.Module:
    """The run's network as it is to be measured: trained, untrained, or with weights of others."""
    model = fresh(context, run)
    if run.training == "imagenet":
        _imagenet(context.data, run, model)
    elif run.training != "untrained":
        folder = context.folder("checkpoints", run.id)
        meta = checkpoint.load_meta(folder)
        if meta.get("legacy"):
            from blendnet import legacy  # 2 s of torch._dynamo, which few runs need

            say(f"  {imported(context, run, meta)}")
            model = legacy.from_meta(meta)  # dk, dv and strides are the original's
        else:
            _is_the_sheets(context, run, meta)
        checkpoint.load(folder, model)
    return model


def imported(context: Context, run: Run, meta: dict[str, Any]) -> str:
    """A line on a checkpoint of the original repository that stands for a run of the sheet; raises BlendnetError where
    its classes or image size are not the sheet's. Its recipe is the original's."""
    from blendnet import legacy  # see ready

    path = context.folder("checkpoints", run.id, checkpoint.META)
    must_be(path, meta, stored.IMPORTED, "delete its folder and import the checkpoint again")
    return legacy.check(meta, run_id=run.id, classes=context.profile.classes, size=context.profile.size_of(run))


def source(context: Context, run: Run) -> tuple[str, ...]:
    """The source files that make a run's network: its own, its attention's, and what imports an original's."""
    meta = context.folder("checkpoints", run.id) / checkpoint.META
    more = ("blendnet/legacy.py",) if meta.exists() and checkpoint.load_meta(meta.parent).get("legacy") else ()
    return (*models.source(run.network), *attention.source(run.attention), *more)


def _is_the_sheets(context: Context, run: Run, meta: dict[str, Any]) -> None:
    """Raise where a checkpoint is of another run, or was trained by another recipe than the sheet now says."""
    wanted = {
        "run": run.id,
        "recipe": context.profile.recipe.asdict(),
        "image_size": context.profile.size_of(run),
        "classes": list(context.profile.classes),
    }
    stored = meta.get("key", {})
    differs = difference({name: stored.get(name) for name in wanted}, wanted)
    if differs:
        raise BlendnetError(
            f"the checkpoint of {run.id} is not the sheet's ({'; '.join(differs[:2])}); "
            f"train it again: blendnet train --profile {context.profile.name} --only {run.id}"
        )


def imagenet_file(data: Path, run: Run) -> Path | None:
    """Where a positive control's weights lie: below --data, else below ./data (data folders are often read-only)."""
    if run.network not in IMAGENET:
        raise unknown("network with ImageNet weights", run.network, IMAGENET)
    name = IMAGENET[run.network][0]
    return next((p for p in (data / name, Path("data") / name) if p.exists()), None)


def _imagenet(data: Path, run: Run, model: nn.Module) -> None:
    path = imagenet_file(data, run)
    if path is None:
        raise BlendnetError(
            f"{data / IMAGENET[run.network][0]} is missing (the profile's positive control); "
            f"get it with: blendnet data fetch {run.network} --data data"
        )
    prefix = IMAGENET[run.network][1]
    found = sha256_file(path)
    if not found.startswith(prefix):
        raise BlendnetError(f"{path} has sha256 {found[:8]}…, expected {prefix}…; delete it and fetch it again")
    checkpoint.load_strictly(model, torch.load(path, map_location="cpu", weights_only=True), path)


def weights(context: Context, run: Run) -> str:
    """sha256 of the run's weights, for keys and tables, without building the network where a checkpoint says it."""
    folder = context.folder("checkpoints", run.id)
    if run.training in ("untrained", "imagenet"):
        return checkpoint.weights_sha256(ready(context, run))
    return str(checkpoint.load_meta(folder)["weights_sha256"])
