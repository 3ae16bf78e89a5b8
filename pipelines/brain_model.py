"""blendnet's networks as models of Brain-Score, and the layer that Brain-Score itself would commit.

The model keeps to Brain-Score's interface (Schrimpf et al. 2018, doi 10.1101/407007): it says how many degrees it
sees, is shown stimuli that Brain-Score has placed on a screen of that width, and answers with the layer that is
committed to the region. Nothing is cached, so no two models can be mixed up; its identifier carries a hash of the
weights and of everything else that its answers depend on.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from blendnet import activations, models
from blendnet.data.brain import _brainscore_storage
from blendnet.data.brain._checked import pixels_sha256
from blendnet.data.brain.recording import Stimuli
from blendnet.errors import BlendnetError, unknown
from blendnet.files import sha256_of
from blendnet.projection import project, sparse_projection
from blendnet.run import Run
from pipelines import networks, recordings
from pipelines.context import Context

Images = Callable[[int, int], torch.Tensor]


def of_run(context: Context, run: Run, layers: Mapping[str, str], *, projected: bool = True) -> Any:
    """The run's network as a BrainModel of Brain-Score, with the sheet's preprocessing.

    layers: {region: layer}, e.g. from `committed`; projected: answer with the columns that the sheet's projection
    keeps, which are the features of all blendnet scores (then `benchmark(model)` gives the same score), else with all
    units, as Brain-Score's own models do. Raises BlendnetError for layers that the network has not.
    """
    profile = context.profile
    for layer in layers.values():
        if layer not in models.layers(run.network):
            raise unknown(f"layer of {run.network}", layer, models.layers(run.network))
    projection = (profile.width, profile.projection_seed) if projected else None
    weights = networks.weights(context, run)
    settings = {
        "weights": weights, "image_size": profile.size_of(run),
        "colour": profile.colour_of(run), "degrees": profile.model_degrees, "projection": projection,
        "layers": dict(layers), "code": activations.code(run.network, networks.source(context, run)),
    }  # fmt: skip
    return brain_model(
        networks.ready(context, run),
        partial(recordings.show, context, run),
        identifier=f"blendnet-{run.id}-{weights[:12]}-{sha256_of(settings)[:8]}",
        layers=layers,
        visual_degrees=profile.model_degrees,
        projection=projection,
        device=context.torch_device(),
    )


def brain_model(
    network: nn.Module,
    show: Callable[[Stimuli], Images],
    *,
    identifier: str,
    layers: Mapping[str, str],
    visual_degrees: float = 8.0,
    projection: tuple[int, int] | None = None,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
) -> Any:
    """A BrainModel that any neural benchmark of Brain-Score can call.

    show(stimuli)(start, stop): what the network is given, float32 (stop - start, 3, S, S); identifier: must differ
    between any two models; layers: {region: layer}; visual_degrees: width of the field of view; projection: (width,
    seed) of the sparse projection, None for all units; batch_size: stimuli. Its start_task() raises for every task
    but passive fixation, and start_recording() for a region without a layer.
    """
    return _class()(
        network, show, identifier, dict(layers), visual_degrees, projection, torch.device(device), batch_size
    )


@cache
def _class() -> type:
    """The class, made on first use: Brain-Score is imported only where it is wanted."""
    _brainscore_storage.ready()
    from brainscore_core.supported_data_standards.brainio.assemblies import NeuroidAssembly
    from brainscore_vision.model_interface import BrainModel

    class BlendnetModel(BrainModel):
        def __init__(self, network, show, identifier, layers, degrees, projection, device, batch_size) -> None:
            activations.modules(network, tuple(layers.values()))
            self.network, self._show, self._identifier, self.layers = network, show, identifier, layers
            self._degrees, self._projection, self._device, self._batch = degrees, projection, device, batch_size
            self._region = ""
            self._time_bins: list[Any] = []

        @property
        def identifier(self) -> str:
            return self._identifier

        def visual_degrees(self) -> float:
            return self._degrees

        def start_task(self, task: str, *_: Any, **__: Any) -> None:
            if task != BrainModel.Task.passive:
                raise NotImplementedError(f"{self._identifier} answers for regions of the brain, not in task {task!r}")

        def start_recording(self, recording_target: str, time_bins: Any = ((70, 170),)) -> None:
            if recording_target not in self.layers:
                raise unknown("region with a committed layer", str(recording_target), self.layers)
            self._region, self._time_bins = str(recording_target), list(time_bins)

        def look_at(self, stimuli: Any, number_of_trials: int = 1, require_variance: bool = False) -> Any:
            """(presentation, neuroid), and a third dimension where several time bins were asked for; the network is
            deterministic, so every trial is the same."""
            if not self._region:
                raise BlendnetError("start_recording(region, time_bins) has to be called before look_at(stimuli)")
            if require_variance:
                raise NotImplementedError(f"{self._identifier} is deterministic: its trials do not vary")
            ids, paths, columns = _shown(stimuli)
            read = partial(_read, paths)
            shown = Stimuli("brain-score", ids, read, np.arange(len(ids)), self._degrees, pixels_sha256(read, len(ids)))
            layer = self.layers[self._region]
            values = features(
                self.network, layer, self._show(shown), len(ids), self._projection, self._device, self._batch
            )
            n = values.shape[1]
            coords: dict[str, Any] = {
                **{name: ("presentation", column) for name, column in columns.items()},
                "neuroid_id": ("neuroid", [f"{self._identifier}.{layer}.{i}" for i in range(n)]),
                "neuroid_num": ("neuroid", np.arange(n)),
                "model": ("neuroid", [self._identifier] * n),
                "layer": ("neuroid", [layer] * n),
                "region": ("neuroid", [self._region] * n),
            }
            if len(self._time_bins) == 1:
                return NeuroidAssembly(values, coords=coords, dims=["presentation", "neuroid"])
            starts, ends = zip(*(tuple(np.asarray(time_bin).tolist()) for time_bin in self._time_bins))
            coords |= {"time_bin_start": ("time_bin", list(starts)), "time_bin_end": ("time_bin", list(ends))}
            values = np.repeat(values[:, :, None], len(starts), axis=2)
            return NeuroidAssembly(values, coords=coords, dims=["presentation", "neuroid", "time_bin"])

    return BlendnetModel


def features(
    network: nn.Module, layer: str, images: Images, n: int, projection: tuple[int, int] | None,
    device: torch.device, batch_size: int = 64,
) -> np.ndarray:  # fmt: skip
    """One layer's answers to n stimuli, float32 (n, units), or (n, width) with a projection (width, seed)."""
    was_training = network.training
    network = network.to(device).eval()
    matrices: dict[int, torch.Tensor | None] = {}

    def reduce(_layer: str, output: torch.Tensor) -> torch.Tensor:
        d = output[0].numel()
        if d not in matrices:
            matrix = None if projection is None else sparse_projection(d, *projection)
            matrices[d] = None if matrix is None else matrix.to(device)
        return project(output, matrices[d])

    rows = []
    try:
        for start in range(0, n, batch_size):
            x = images(start, min(n, start + batch_size)).to(device)
            rows.append(activations.read_layers(network, (layer,), x, reduce)[layer].cpu().numpy())
    finally:
        network.train(was_training)
    return np.concatenate(rows)


def _shown(stimuli: Any) -> tuple[tuple[str, ...], list[Path], dict[str, Any]]:
    """Ids, files and presentation coordinates of a StimulusSet, or of a plain list of files."""
    if hasattr(stimuli, "get_stimulus"):
        ids = stimuli["stimulus_id"].tolist()
        paths = [Path(stimuli.get_stimulus(name)) for name in ids]
        return tuple(str(name) for name in ids), paths, {name: stimuli[name].values for name in stimuli.columns}
    paths = [Path(path) for path in stimuli]
    ids = [str(path) for path in paths]
    return tuple(ids), paths, {"stimulus_id": ids, "stimulus_path": ids}


def _read(paths: Sequence[Path], i: int) -> np.ndarray:
    """The i-th file, uint8 (h, w, 3); it has already been placed: its width is the model's field of view."""
    with Image.open(paths[i]) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)
