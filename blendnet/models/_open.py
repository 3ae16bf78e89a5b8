"""Any classifier of torchvision or timm by its name, 'torchvision:convnext_tiny', 'timm:convnext_tiny'; never with
weights of others. Its readout layers and sites follow from the two rules of _rules.py, on one pass of PyTorch's meta
device, where shapes are computed and numbers are not.

Image size: that of torchvision's default weights, of timm's default configuration. The smallest is the first multiple
of 32 at which the network runs. Inputs are normalised as everywhere here, whatever the library's own weights want.
A network with attention of its own (vit, swin) is known as attention 'none', as published: only files in this folder
say how to ablate.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from blendnet.errors import BlendnetError
from blendnet.models import split
from blendnet.models._rules import PROBE_CLASSES, Trace, readouts, sites, watch

# Networks whose weights depend on the image size, and how torchvision is told.
_SIZED: dict[str, Callable[[int], dict[str, Any]]] = {
    "vit_": lambda size: {"image_size": size},
    "maxvit_": lambda size: {"input_size": (size, size)},
}
# Only the class outputs are wanted, not those of auxiliary classifiers.
_SETTINGS = {name: {"aux_logits": False, "init_weights": True} for name in ("googlenet", "inception_v3")}


@dataclass(frozen=True)
class OpenNetwork:
    """What a file of this folder states, for a network of a library."""

    name: str
    IMAGE_SIZE: int
    LAYERS: tuple[str, ...]
    SITES: tuple[str, ...]

    @property
    def MIN_IMAGE_SIZE(self) -> int:
        """The first multiple of 32 px at which the network runs, and no more than its usual size."""
        return _min_image_size(self.name)

    def build(self, n_classes: int, *, image_size: int | None = None) -> nn.Module:
        """(B, 3, S, S) -> (B, n_classes) logits, S = image_size px. Raises BlendnetError for a size that it does not
        take."""
        size = self.IMAGE_SIZE if image_size is None else image_size
        if size != self.IMAGE_SIZE:
            _on_meta(self.name, size)
        return _create(self.name, n_classes, size)


@cache
def load(name: str) -> OpenNetwork:
    """The network 'LIBRARY:NAME'. Raises BlendnetError for unknown libraries and names, a library that is not
    installed, and a network that is no image classifier or does not run on the meta device."""
    size = _usual_size(name)
    model, output, runs = _on_meta(name, size)
    if not isinstance(output, Tensor) or output.shape != (2, PROBE_CLASSES):
        raise BlendnetError(f"{name} does not give one number a class for an image; choose a classifier")
    return OpenNetwork(name, size, readouts(model, runs), sites(model, runs, size))


def _usual_size(name: str) -> int:
    """Side of the usual input in px. Raises BlendnetError for a name that the library does not have."""
    library, network = split(name)
    if library == "torchvision":
        from torchvision import models

        if network not in (known := models.list_models(module=models)):
            raise _not_there(name, known, "torchvision.models.list_models()")
        return int(models.get_model_weights(network).DEFAULT.transforms().crop_size[0])
    timm = _timm(name)
    if not timm.is_model(network):
        raise _not_there(name, timm.list_models(), "timm.list_models()")
    channels, height, width = timm.get_pretrained_cfg(network).input_size
    if channels != 3 or height != width:
        raise BlendnetError(f"{name} takes {channels}x{height}x{width} inputs; choose one for square colour images")
    return int(height)


def _create(name: str, n_classes: int, size: int) -> nn.Module:
    library, network = split(name)
    if library == "torchvision":
        from torchvision import models

        sized = next((f(size) for prefix, f in _SIZED.items() if network.startswith(prefix)), {})
        model: nn.Module = models.get_model(
            network, weights=None, num_classes=n_classes, **sized, **_SETTINGS.get(network, {})
        )
        return model
    timm = _timm(name)
    config = timm.get_pretrained_cfg(network)
    sized = {"img_size": size} if config.fixed_input_size and size != config.input_size[-1] else {}
    created: nn.Module = timm.create_model(network, pretrained=False, num_classes=n_classes, **sized)
    return created


def _timm(name: str) -> Any:
    try:
        import timm
    except ModuleNotFoundError as error:
        raise BlendnetError(f"{name} needs the package timm, which is not installed; pip install timm") from error
    return timm


def _not_there(name: str, known: list[str], command: str) -> BlendnetError:
    library, network = split(name)
    near = difflib.get_close_matches(network, known, n=1, cutoff=0.4)
    hint = f"; did you mean '{library}:{near[0]}'?" if near else ""
    return BlendnetError(f"unknown network {name!r}{hint} ({command} names all {len(known)})")


@cache
def _min_image_size(name: str) -> int:
    usual = load(name).IMAGE_SIZE
    for size in range(32, usual, 32):
        try:
            _on_meta(name, size)
        except BlendnetError:
            continue
        return size
    return usual


class _EmptyWeights(TorchFunctionMode):
    """Weights, which layers make by torch.empty, take no memory; what libraries compute at building is computed."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def _on_meta(name: str, size: int) -> tuple[nn.Module, Any, dict[str, Trace]]:
    """The network on the meta device, its output for two images and what its modules did; BlendnetError where it does
    not run. PyTorch's global generator is left as it was."""
    try:
        with torch.random.fork_rng(devices=[]):
            model = _empty(name, size).to("meta").eval()
            return model, *watch(model, size)
    except BlendnetError:
        raise
    except Exception as error:  # whatever a library raises for a size that it does not take
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        message = f"{name} does not run on images of {size} px ({reason}); choose another size or network"
        raise BlendnetError(message) from error


def _empty(name: str, size: int) -> nn.Module:
    """The network, where its library can build it so without memory for its weights."""
    try:
        with _EmptyWeights():
            return _create(name, PROBE_CLASSES, size)
    except BlendnetError:
        raise
    except Exception:  # some run a pass of numbers while they are built
        return _create(name, PROBE_CLASSES, size)
