"""Silencing what attention adds, in a trained network: the lesion of a twin."""

from torch import nn

from blendnet.errors import BlendnetError


class Lesionable:
    """For attention modules: an attribute `lesion`, None or 'attention', that is no part of the state dict."""

    _lesion: str | None = None

    @property
    def lesion(self) -> str | None:
        """None, or 'attention': what attention adds is silenced. Raises BlendnetError when set to anything else."""
        return self._lesion

    @lesion.setter
    def lesion(self, value: str | None) -> None:
        if value not in (None, "attention"):
            raise BlendnetError(f"lesion {value!r} is neither None nor 'attention'")
        self._lesion = value


def set_lesion(model: nn.Module, lesion: str | None) -> int:
    """Set the `lesion` of every attention module of a network, whatever its kind; returns how many there are.

    'attention' leaves the convolutions alone: the channels that attention makes are zero (aacn), or its gates are one
    (se, cbam). None ends the lesion. Nothing is stored with the weights. Raises BlendnetError for any other lesion,
    and for a lesion of a network that has nothing to silence.
    """
    modules = [m for m in model.modules() if isinstance(getattr(type(m), "lesion", None), property)]
    if lesion is not None and not modules:
        raise BlendnetError(
            f"lesion {lesion!r}: this {type(model).__name__} has no attention to silence; lesion an attention twin"
        )
    for module in modules:
        module.lesion = lesion  # type: ignore[assignment]
    return len(modules)
