"""Activations of all readout layers in one pass: hooks -> projection on the device -> arrays on disk.

Memory is bounded by one batch whatever the number of layers and stimuli. A killed extraction goes on where its
last flushed batch ended. A stored extraction is reused only if its key is equal: weights, preprocessing,
stimuli, layers, projection and code.
"""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from mmap import MADV_DONTNEED
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from blendnet import assembly as assemblies
from blendnet import models
from blendnet import stored as kinds  # enters no number
from blendnet._kinds import must_be  # enters no number
from blendnet.errors import BlendnetError, unknown
from blendnet.files import make_folder, read_json, sha256_of, write_error, write_json
from blendnet.integrity import check, one_at_a_time, seal  # enters no number
from blendnet.keys import code_version, difference, stale
from blendnet.projection import project, sparse_projection

KEY = "key.json"
# What every extraction runs through; its network and attention are added by who knows them.
CODE = (
    "blendnet/activations.py",
    "blendnet/projection.py",
    "blendnet/data/brain/placement.py",
    "blendnet/training/augment.py",
)


def code(network: str, source: Sequence[str]) -> str:
    """Hash of the source that the activations of a network depend on, `source` being that of itself (models.source and
    attention.source): another network's file changes nothing. With the versions of the packages that make it."""
    versions = (f"{package} {version}" for package, version in models.versions(network).items())
    return "+".join([code_version(*sorted({*CODE, *source})), *versions])


def wanted_key(
    key: dict[str, Any], layers: Sequence[str], stimulus_ids: Sequence[str], *, width: int, seed: int
) -> dict[str, Any]:
    """Everything that an extraction depends on: `key` (weights, preprocessing, stimuli, code) and what extract adds."""
    return key | {
        "layers": list(layers),
        "projection": {"kind": "sparse", "width": width, "seed": seed},
        "stimulus_ids": sha256_of(list(stimulus_ids)),
    }


def modules(model: nn.Module, layers: Sequence[str]) -> dict[str, nn.Module]:
    """The modules of these names; an unknown layer is one clear line with the nearest name."""
    known = dict(model.named_modules())
    for layer in layers:
        if layer not in known or layer == "":
            raise unknown("layer", layer, (n for n in known if n))
    return {layer: known[layer] for layer in layers}


@torch.inference_mode()
def read_layers(
    model: nn.Module,
    layers: Sequence[str],
    x: torch.Tensor,
    then: Callable[[str, torch.Tensor], torch.Tensor],
) -> dict[str, torch.Tensor]:
    """One forward pass of x (batch, 3, H, W); returns then(layer, output) for each layer.

    `then` runs inside the hook, so that no more than one raw layer is held at a time beyond what the network holds.
    """
    out: dict[str, torch.Tensor] = {}

    def hook(layer: str) -> Callable[..., None]:
        def keep(_module: nn.Module, _input: Any, output: torch.Tensor) -> None:
            out[layer] = then(layer, output)

        return keep

    handles = [m.register_forward_hook(hook(layer)) for layer, m in modules(model, layers).items()]
    try:
        model(x)
    finally:
        for handle in handles:
            handle.remove()
    silent = [layer for layer in layers if layer not in out]
    if silent:
        raise BlendnetError(f"layer {silent[0]!r} did not run in a forward pass; choose another readout layer")
    return out


@one_at_a_time  # enters no number
def extract(
    folder: Path,
    model: nn.Module,
    layers: Sequence[str],
    images: Callable[[int, int], torch.Tensor],
    stimulus_ids: Sequence[str],
    *,
    key: dict[str, Any],
    width: int,
    seed: int,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    force: bool = False,
    say: Callable[[str], None] = print,
    progress: bool = True,
) -> str:
    """Extract, project and store; returns the key's hash.

    images(start, stop): float32 batch of shape (stop - start, 3, H, W), already normalised; width: columns kept a
    layer; seed: of the projection; key: everything else that the numbers depend on (weights, preprocessing, stimuli).
    Writes folder/<layer>.npy of shape (n_stimuli, min(width, units)), float32, and folder/key.json last.
    """
    wanted = wanted_key(key, layers, stimulus_ids, width=width, seed=seed)
    digest = sha256_of(wanted)
    found = stale(folder / KEY, wanted)
    if found == [] and not force:
        say(f"  reused: {folder.name} is up to date")
        return digest
    if found:
        say(f"  computed anew: {folder.name} differs in {'; '.join(found[:3])}")

    n = len(stimulus_ids)
    device = torch.device(device)
    was_training = model.training
    model = model.to(device).eval()
    matrices: dict[str, torch.Tensor | None] = {}
    by_size: dict[int, torch.Tensor | None] = {}

    def reduce(layer: str, output: torch.Tensor) -> torch.Tensor:
        if layer not in matrices:
            d = output[0].numel()
            if d not in by_size:  # layers of one size have one projection: held once, not once a layer
                matrix = sparse_projection(d, width, seed)
                by_size[d] = None if matrix is None else matrix.to(device)
            matrices[layer] = by_size[d]
        found = project(output, matrices[layer])
        return kept[layer][: len(found)].copy_(found)

    columns = _forecast(say, model, layers, images, n, width, device, folder)
    # Memory taken before the pass: else what is kept of a layer is laid into the room that its raw output left, the
    # next raw output no longer fits there, and so on: the room of one lost a layer.
    kept = {layer: torch.empty((min(batch_size, n), columns[layer]), device=device) for layer in layers}
    partial = folder.with_name(folder.name + ".partial")
    start = _resume_point(partial, wanted, n, force)
    arrays: dict[str, np.memmap] = {}
    bar = tqdm(total=n, initial=start, desc=f"  {folder.name}", unit="stimulus", disable=not progress, leave=False)
    try:
        for first in range(start, n, batch_size):
            stop = min(n, first + batch_size)
            x = images(first, stop).to(device)
            out = read_layers(model, layers, x, reduce)
            for layer in layers:
                values = out[layer].float().cpu().numpy()
                if not np.isfinite(values).all():
                    raise BlendnetError(
                        f"layer {layer!r} gives values that are not finite numbers on stimulus "
                        f"{stimulus_ids[first]!r} or a neighbour; the weights are broken, train the run again"
                    )
                if layer not in arrays:
                    arrays[layer] = _array(partial, layer, n, values.shape[1], new=start == 0)
                arrays[layer][first:stop] = values
                # The rows go to the file's cache; mapped, they would count as this process's.
                arrays[layer]._mmap.madvise(MADV_DONTNEED)  # type: ignore[attr-defined]
            # Progress is recorded only after the rows are on disk: a kill can repeat a batch, never skip one.
            if stop == n or (first // batch_size) % 8 == 7:
                for array in arrays.values():
                    array.flush()
                write_json(partial / "progress.json", {"key": wanted, "done": stop})
            bar.update(stop - first)
    except OSError as error:
        raise write_error(partial, error) from error
    finally:
        bar.close()
        model.train(was_training)
    arrays.clear()
    (partial / "progress.json").unlink()
    seal(partial)  # enters no number
    write_json(partial / KEY, {"key": wanted, "sha256": digest, "n_stimuli": n, "stimulus_id": list(stimulus_ids)})
    # The key goes first: a kill in between must not leave a valid key without its layers.
    (folder / KEY).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
    return digest


def _resume_point(partial: Path, wanted: dict[str, Any], n: int, force: bool) -> int:
    """How many of n stimuli of an interrupted extraction with an equal key are on disk; else 0 and an empty folder."""
    note = partial / "progress.json"
    if not force and note.exists():
        stored = read_json(note)
        must_be(note, stored, kinds.PROGRESS)  # enters no number
        there = all((partial / f"{layer}.npy").exists() for layer in wanted["layers"])
        if there and stored["done"] <= n and not difference(stored["key"], wanted):
            return int(stored["done"])
    if partial.exists():
        shutil.rmtree(partial)
    make_folder(partial)
    return 0


def _array(partial: Path, layer: str, n: int, columns: int, *, new: bool) -> np.memmap:
    path = partial / f"{layer}.npy"
    if not new:
        return np.lib.format.open_memmap(path, mode="r+")
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, columns))
    # Claim the blocks now: a memory map over a sparse file kills the process (SIGBUS) when the disk fills up.
    with open(path, "rb+") as handle:
        os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)
    return array


def _forecast(
    say: Callable[[str], None], model: nn.Module, layers: Sequence[str], images: Callable[[int, int], torch.Tensor],
    n: int, width: int, device: torch.device, folder: Path,
) -> dict[str, int]:  # fmt: skip
    """Size and time, said before the work starts, from one pass of a few stimuli; refuses what the disk cannot hold.

    Returns the columns that are kept of each layer.
    """
    few = min(4, n)
    units: dict[str, int] = {}

    def count(layer: str, out: torch.Tensor) -> torch.Tensor:
        units[layer] = out[0].numel()
        return out[:0]

    x = images(0, few).to(device)
    read_layers(model, layers, x, count)  # the first pass pays for the device's warm-up
    began = time.perf_counter()
    read_layers(model, layers, x, count)
    seconds = (time.perf_counter() - began) / few * n
    columns = {layer: min(width, d) for layer, d in units.items()}
    size = 4 * n * sum(columns.values())
    say(f"  forecast: {len(layers)} layers x {n} stimuli, {size / 2**20:.0f} MiB on disk, about {seconds:.0f} s")
    free = shutil.disk_usage(make_folder(folder.parent)).free
    if size > free:
        raise BlendnetError(
            f"{folder} needs {size / 2**20:.0f} MiB, {free / 2**20:.0f} MiB are free; free some space or lower the "
            "width in pipelines/sheet.py"
        )
    return columns


def is_stored(folder: Path) -> bool:
    """True where a finished extraction lies in this folder."""
    return (folder / KEY).exists()


def load_layer(folder: Path, layer: str) -> np.ndarray:
    """float32 of shape (n_stimuli, width): one layer's projected activations."""
    path = folder / f"{layer}.npy"
    if not path.exists():
        raise unknown("layer", layer, (p.stem for p in folder.glob("*.npy")))
    check(path, "blendnet doctor --repair removes it, then extract again")  # enters no number
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BlendnetError(f"{path} is damaged ({error}); extract again with --force") from error


def load_assembly(folder: Path, layers: Sequence[str] | None = None):
    """The stored extraction as one assembly over the given (default: all) layers."""
    info = read_json(folder / KEY)
    must_be(folder / KEY, info, kinds.ACTIVATIONS)  # enters no number
    names = list(layers or info["key"]["layers"])
    arrays = [load_layer(folder, layer) for layer in names]
    return assemblies.make(
        np.concatenate(arrays, axis=1),
        tuple(info["stimulus_id"]),
        {
            "neuroid_id": [f"{la}.{i}" for la, a in zip(names, arrays) for i in range(a.shape[1])],
            "layer": [la for la, a in zip(names, arrays) for _ in range(a.shape[1])],
        },
    )
