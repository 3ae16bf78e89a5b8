"""From a run of the sheet to a network with its weights."""

from pathlib import Path

import torch
from torch import nn

from blendnet import checkpoint, models
from blendnet.errors import BlendnetError
from blendnet.files import sha256_file
from blendnet.run import Run
from pipelines.context import Context

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
        checkpoint.load(context.folder("checkpoints", run.id), model)
    return model


def _imagenet(data: Path, run: Run, model: nn.Module) -> None:
    name, prefix = IMAGENET.get(run.network, (None, ""))
    if name is None:
        raise BlendnetError(f"no ImageNet weights are known for {run.network!r} (there are: {', '.join(IMAGENET)})")
    # Data folders are often read-only; then the weights lie in the working folder's own data/.
    path = next((p for p in (data / name, Path("data") / name) if p.exists()), None)
    if path is None:
        raise BlendnetError(
            f"{data / name} is missing; get it with: blendnet data fetch {run.network} --data data "
            "(the positive control of the profile needs it)"
        )
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
