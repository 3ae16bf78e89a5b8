"""What a network holds of the two objects of blends, layer by layer: passes over images, and the rows they give."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from analysis import decoding_layers, superposition
from analysis.stats.accuracy import outcome
from blendnet import attention_maps
from blendnet.activations import read_layers
from blendnet.data import manifest as manifests
from blendnet.data.photoset import PhotoSet
from blendnet.projection import project, sparse_projection
from blendnet.training.augment import GREY, normalise

# Images in one pass: a layer of 800,000 units (ResNet at 224 px) takes 6 MB an image in the float64 of the products.
BATCH = 48

Images = Callable[[int, int], Tensor]


class Material(NamedTuple):
    """What the networks of one image size are shown. blends: the same pairs of photographs in the same order at each of
    `alphas`, tables as of blendnet.data.manifest; train, choice, test: blends on which readouts are fitted, their
    penalty is chosen, and they are tested."""

    photos: PhotoSet
    alphas: tuple[float, ...]
    blends: tuple[pd.DataFrame, ...]
    train: pd.DataFrame
    choice: pd.DataFrame
    test: pd.DataFrame

    @property
    def singles(self) -> np.ndarray:
        """Positions of the photographs in `blends`, each once, int64, ascending."""
        return np.unique(np.concatenate(manifests.positions(self.photos, self.blends[0])))

    @property
    def n_shown(self) -> int:
        """Images that `layer_rows` passes through a network."""
        pairs = len(self.blends[0]) * (2 + len(self.blends))
        return len(self.singles) + pairs + len(self.train) + len(self.choice) + len(self.test)


def choose(manifest: pd.DataFrame, alphas: Sequence[float], n: int) -> tuple[pd.DataFrame, ...]:
    """About n pairs of photographs of a manifest of all pairs of classes, equally many of each (at least one), at each
    of the alphas: one table an alpha, with the same pairs in the same order.

    The first of each pair of classes are taken: their order in a manifest is a seeded draw.
    """
    pair = manifest["class_a"].where(manifest["class_a"] < manifest["class_b"], manifest["class_b"]) + (
        "+" + manifest["class_b"].where(manifest["class_a"] < manifest["class_b"], manifest["class_a"])
    )
    found = []
    for alpha in alphas:
        those = manifest[np.isclose(manifest["alpha"], alpha)]
        groups = those.groupby(pair[those.index], sort=False)
        found.append(groups.head(max(1, n // groups.ngroups)).reset_index(drop=True))
    return tuple(found)


def layer_rows(
    model: nn.Module, layers: Sequence[str], material: Material, *, width: int, seed: int,
    device: torch.device | str, tick: Callable[[int], object],
) -> dict[str, list[dict[str, Any]]]:  # fmt: skip
    """Rows of superposition.csv and of decoding.csv of one network as it stands, without the columns of its run.

    width, seed: of the sparse projection that readouts are fitted on; sums of responses are fitted to the units
    themselves. tick(k) is called after every k images. The model is left on `device`, in its mode of before.
    """
    was_training = model.training
    net = nn.Sequential(model.to(device).eval())  # so that the outputs can be read as layer '0'
    try:
        eye = _Eye(net, tuple(layers), device, tick)
        return _layer_rows(eye, material, width, seed)
    finally:
        model.train(was_training)


class _Eye(NamedTuple):
    """A network with what it takes to look at its layers."""

    net: nn.Module
    layers: tuple[str, ...]
    device: torch.device | str
    tick: Callable[[int], object]

    def look(
        self, images: Images, n: int, then: Callable[[str, Tensor], Tensor], of_outputs: Callable[[Tensor], Tensor],
        step: int = BATCH,
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:  # fmt: skip
        """then(layer, its output) and of_outputs(logits), all batches together; images(start, stop) in [0, 1]."""
        names = {f"0.{layer}": layer for layer in self.layers}

        def read(name: str, output: Tensor) -> Tensor:
            return of_outputs(output.float()) if name == "0" else then(names[name], output)

        parts = []
        for start in range(0, n, step):
            x = normalise(images(start, min(n, start + step)).to(self.device))
            found = read_layers(self.net, ["0", *names], x, read)
            parts.append({name: value.cpu().numpy() for name, value in found.items()})
            self.tick(len(x))
        together = {name: np.concatenate([p[name] for p in parts]) for name in ("0", *names)}
        return {layer: together[name] for name, layer in names.items()}, together["0"]


def _layer_rows(eye: _Eye, material: Material, width: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    photos, singles = material.photos, material.singles
    sums: dict[str, Tensor] = {}
    matrices: dict[str, Tensor | None] = {}

    def reduced(layer: str, output: Tensor) -> Tensor:
        if layer not in matrices:
            matrix = sparse_projection(output[0].numel(), width, seed)
            matrices[layer] = None if matrix is None else matrix.to(eye.device)
        return project(output, matrices[layer])

    def summed(layer: str, output: Tensor) -> Tensor:
        total = output.flatten(1).double().sum(0)
        sums[layer] = sums[layer] + total if layer in sums else total
        return reduced(layer, output)

    def photographs(at: np.ndarray) -> Tensor:
        return photos.images[torch.from_numpy(at)].float() / 255

    alone, recognised = eye.look(lambda i, j: photographs(singles[i:j]), len(singles), summed, lambda z: z)
    means = {layer: total / len(singles) for layer, total in sums.items()}
    grams, named = _inner_products(eye, material, means, photographs)
    del means  # a number for every unit of every layer

    def features(rows: pd.DataFrame) -> dict[str, np.ndarray]:
        return eye.look(lambda i, j: manifests.render(photos, rows.iloc[i:j]), len(rows), reduced, lambda z: z)[0]

    parts = {name: features(getattr(material, name)) for name in ("train", "choice", "test")}
    labels = {name: manifests.targets(photos, getattr(material, name)).numpy() for name in parts}
    depth = {layer: i / max(1, len(eye.layers) - 1) for i, layer in enumerate(eye.layers)}
    sums_rows, decoding_rows = [], []
    for layer in eye.layers:
        about = {"layer": layer, "depth": depth[layer]}
        sums_rows += [about | row for row in _sums(material, grams[layer], named, recognised)]
        x = {name: values[layer] for name, values in parts.items()}
        readout = decoding_layers.fit(x["train"], labels["train"], x["choice"], labels["choice"])
        found = decoding_layers.rates(
            readout, x["test"], labels["test"], alone[layer], photos.labels.numpy()[singles]
        )  # fmt: skip
        decoding_rows += [about | {"n_train": len(x["train"])} | row for row in found]
    return {"superposition": sums_rows, "decoding": decoding_rows}


def _inner_products(
    eye: _Eye, material: Material, means: dict[str, Tensor], photographs: Callable[[np.ndarray], Tensor]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Inner products of the responses to both photographs and their blends at each alpha, less the mean response, by
    layer, float64 (n_pairs, 2 + n_alphas, the same); and the outputs (n_pairs, 2 + n_alphas, n_classes).

    Both photographs and all their blends are in one pass, so that no response is kept.
    """
    shown = 2 + len(material.blends)
    a, b = manifests.positions(material.photos, material.blends[0])

    def images(start: int, stop: int) -> Tensor:
        # of `shown` images a pair; the versions one after the other
        i, j = start // shown, stop // shown
        blends = [manifests.render(material.photos, rows.iloc[i:j]) for rows in material.blends]
        return torch.cat([photographs(a[i:j]), photographs(b[i:j]), *blends])

    def by_pair(output: Tensor) -> Tensor:
        return output.unflatten(0, (shown, -1)).transpose(0, 1)

    def products(layer: str, output: Tensor) -> Tensor:
        x = by_pair(output.flatten(1).double() - means[layer])
        return x @ x.transpose(1, 2)

    step = max(1, BATCH // shown) * shown
    return eye.look(images, len(a) * shown, products, by_pair, step)


def _sums(material: Material, gram: np.ndarray, named: np.ndarray, recognised: np.ndarray) -> list[dict[str, Any]]:
    """Rows of one layer, all alphas; gram, named: as of _inner_products; recognised: outputs (n_singles, n_classes)."""
    photos, pairs = material.photos, material.blends[0]
    labels = photos.labels.numpy()
    own = [recognised[np.searchsorted(material.singles, at), labels[at]] for at in manifests.positions(photos, pairs)]
    shared = superposition.sharing(pairs["image_a"].to_numpy(), pairs["image_b"].to_numpy())
    sets = manifests.targets(photos, pairs).numpy()
    rows = []
    for i, alpha in enumerate(material.alphas):
        found = superposition.weighted_sum(gram[:, [0, 1, 2 + i]][:, :, [0, 1, 2 + i]], alpha)
        biases = superposition.bias(found, alpha, *own)
        outcomes = outcome(named[:, 2 + i], sets)
        rows += [{"alpha": alpha} | row for row in superposition.summary(found, biases, outcomes, shared)]
    return rows


def map_rows(
    model: nn.Module, photos: PhotoSet, blends: pd.DataFrame, *, device: torch.device | str
) -> list[dict[str, Any]]:
    """Rows of attention_maps.csv of one network, without the columns of its run: its first and last layer with a map.

    Luminance is ITU-R BT.601's of the pixels, 0 to 1, averaged over the part of the image that a place stands for:
    too coarse (at most 16 x 16) to show the photograph. None for a network whose attention has no map.
    """
    names = attention_maps.layers(model)
    names = tuple(dict.fromkeys((names[0], names[-1]))) if names else ()
    if not names:
        return []
    was_training = model.training
    model = model.to(device).eval()
    both = [photos.images[torch.from_numpy(at)].float() / 255 for at in manifests.positions(photos, blends)]
    images = [manifests.render(photos, blends), *both]
    grey = torch.tensor(GREY)[:, None, None]
    light = [(x * grey).sum(1) for x in images]
    rows = []
    # One blend at a time: a chunk of queries then is as long as can be.
    for i, blend in enumerate(blends.to_dict("records")):
        found = attention_maps.received(model, names, normalise(images[0][i : i + 1].to(device)))
        for layer, maps in found.items():
            size = (attention_maps.side_of(maps.shape[2]), attention_maps.side_of(maps.shape[3]))
            received = attention_maps.pooled(maps[0].double(), size).numpy()
            luminance = [attention_maps.area_mean(x[i].double(), size).clamp(0, 1).numpy() for x in light]
            rows += [
                {"layer": layer, "blend_id": blend["blend_id"], "class_a": blend["class_a"],
                 "class_b": blend["class_b"], "head": head, "row": y, "column": x,
                 "received": float(received[head, y, x]), "luminance": float(luminance[0][y, x]),
                 "luminance_a": float(luminance[1][y, x]), "luminance_b": float(luminance[2][y, x])}
                for head, y, x in np.ndindex(received.shape)
            ]  # fmt: skip
    model.train(was_training)
    return rows
