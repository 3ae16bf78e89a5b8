"""A checkpoint of the original repository -> a checkpoint of ours, which predict, extract and score then take."""

from collections.abc import Callable, Sequence
from pathlib import Path

from blendnet import checkpoint, legacy, stored
from blendnet._kinds import unlike
from blendnet.data.classes import CLASSES
from blendnet.errors import BlendnetError, unknown
from blendnet.files import sha256_file
from blendnet.run import Run
from blendnet.training.recipes import recipe

TRAININGS = ("blended", "regular")


def import_legacy(
    path: Path,
    *,
    results: Path,
    training: str,
    seed: int = 0,
    network: str | None = None,
    attention: str | None = None,
    heads: int | None = None,
    image_size: int | None = None,
    normalisation: str = "imagenet",
    classes: Sequence[str] = CLASSES,
    force: bool = False,
    say: Callable[[str], object] = print,
) -> Path:
    """Convert one file; returns the folder results/checkpoints/RUN, written last of all and all at once.

    results: the profile's folder; training: 'blended' or 'regular', which the file does not hold; seed: the number that
    the run is to have (the original set none). network, attention ('aacn', 'aacn-legacy' or 'none'), heads,
    image_size: what the user takes the file for; they are found from the tensors, and one that differs is an error.
    image_size decides for plain networks only (default: the network's usual one). Raises BlendnetError, one line,
    and writes nothing, for files that are not the original's, and where another checkpoint is in the way.
    """
    if seed < 0:
        raise BlendnetError(f"--seed {seed} is negative; give 0 or more")
    if image_size is not None and not 0 < image_size <= 1024:
        raise BlendnetError(f"--image-size {image_size} is no size of images; give 1 to 1024 px")
    if training not in TRAININGS:
        raise unknown("training of an imported checkpoint", training, TRAININGS)
    content = legacy.read(path)
    origin = sha256_file(path)
    tensors = legacy.renamed(content["state_dict"])
    found = legacy.recognise(tensors, path)
    _compare(path, found, network, attention, heads)
    if found.n_classes != len(classes) or content["num_classes"] != len(classes):
        raise BlendnetError(
            f"{path} names {found.n_classes} classes (and says {content['num_classes']}), not the "
            f"{len(classes)} of {', '.join(classes)}"
        )
    size = legacy.image_size(found, image_size, path)
    model = legacy.build(found, size=size, normalisation=normalisation)
    own = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("input_")}
    checkpoint.load_strictly(model, tensors | own, path)

    run = Run(found.network, found.attention, found.heads, training, seed)
    folder = results / "checkpoints" / run.id
    if (folder / checkpoint.META).exists() and not force:
        stands = checkpoint.load_meta(folder)
        ours = not unlike(stands, stored.IMPORTED)
        same = ours and stands["origin"]["sha256"] == origin and stands["image_size"] == size
        if same and stands["legacy_build"]["normalisation"] == normalisation:
            say(f"  reused: {folder} was imported from this file")
            return folder
        raise BlendnetError(f"{folder} holds another checkpoint; choose another --seed, or replace it with --force")
    as_trained = recipe(
        "study", batch_size=content["batch_size"], lr=content["learning_rate"], epoch_size=content["num_train_imgs"]
    )
    key = {"run": run.id, "recipe": as_trained.asdict(), "image_size": size, "classes": list(classes),
           "photos_sha256": "not known", "origin_sha256": origin}  # fmt: skip
    # A kill between weights and meta must not leave old meta beside new weights.
    (folder / checkpoint.META).unlink(missing_ok=True)
    checkpoint.save(folder, model, {
        "key": key, "code": "not ours", "run": run.id, "network": run.network, "attention": run.attention,
        "heads": run.heads, "training": training, "seed": seed, "recipe": as_trained.asdict(),
        "classes": list(classes), "image_size": size, "colour": "rgb", "epoch": content["epoch"],
        "criterion": "the original's: the last epoch with more than 0 % in its validation", "validation": None,
        "n_train_images": content["num_train_imgs"], "seconds": None,
        "surroundings": {"git_commit": None, "hardware": "not known"}, "imported_in": checkpoint.surroundings("cpu"),
        "legacy": True,
        "legacy_build": {
            "dk": found.dk, "dv": found.dv, "maps": list(found.maps), "legacy_strides": legacy.legacy_strides(found),
            "normalisation": normalisation,
        },
        "origin": {"file": path.name, "sha256": origin, "bytes": path.stat().st_size},
    })  # fmt: skip
    for line in _said(path, found, content, size, image_size, training, normalisation):
        say(f"  {line}")
    say(f"  written: {folder}")
    return folder


def _compare(path: Path, found: legacy.Found, network: str | None, attention: str | None, heads: int | None) -> None:
    """Raise where the user takes the file for something that its tensors are not."""
    if network is not None and network not in legacy.NETWORKS:
        raise unknown("network of the original repository", network, legacy.NETWORKS)
    if attention is not None and attention not in ("none", "aacn", legacy.ATTENTION):
        raise unknown("attention of the original repository", attention, ("none", "aacn", legacy.ATTENTION))
    if attention == "aacn":  # its name there; ours of that name is the corrected one
        attention = legacy.ATTENTION
    for what, wanted, is_ in (
        ("network", network, found.network), ("attention", attention, found.attention), ("heads", heads, found.heads)
    ):  # fmt: skip
        if wanted is not None and wanted != is_:
            raise BlendnetError(f"{path} was given as {what} {wanted}, but its tensors are of {what} {is_ or 'none'}")


def _said(path: Path, found: legacy.Found, content: dict, size: int, asked: int | None, training: str,
          normalisation: str) -> list[str]:  # fmt: skip
    heads = f", {found.heads} heads, dk {found.dk}, dv {found.dv}" if found.heads else ""
    lines = [
        f"{found.network}, attention {found.attention}{heads}, {size} px, epoch {content['epoch'] + 1}",
        "dropped: optimizer state and loss function"
        + (", auxiliary classifier" if any(".AuxLogits." in f".{n}" for n in content["state_dict"]) else ""),
        f"images are normalised as '{normalisation}' says; the file does not tell (see --normalisation)",
    ]
    if found.attention == "none" and asked is None:
        lines.append(f"the file does not tell the image size: taken as the network's usual {size} px")
    if legacy.legacy_strides(found):
        lines.append("strides stand in the first 1x1 convolutions, as in the original's attention twin alone")
    if ("blended" in path.name) != (training == "blended"):
        lines.append(f"note: the name {path.name} does not look like training {training}")
    return lines
