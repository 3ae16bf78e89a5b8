"""A run is one network, trained once. Its id is the name of its folder and its key in every table."""

import re
from dataclasses import asdict, dataclass
from typing import Any

from blendnet.errors import BlendnetError

TRAININGS = ("blended", "regular", "curriculum", "untrained", "imagenet")
# Attention kinds that have no number of heads to choose; 'self' is a network's own attention (ViT).
WITHOUT_HEADS = ("none", "self", "se", "cbam")
_ID = re.compile(
    r"^(?P<network>[a-z0-9_:.]+)-(?P<attention>[a-z]+(?:-[a-z]+)*)(?P<heads>\d*)-(?P<training>[a-z]+)-s(?P<seed>\d+)$"
)


@dataclass(frozen=True)
class Run:
    """One network of the sheet.

    network: name of a file in blendnet/models, or 'torchvision:NAME', 'timm:NAME'; attention: 'none', the name of a
    file in blendnet/attention, or 'self' (a network's own attention); heads: attention heads, 0 for kinds that have
    none to choose; training: 'blended', 'regular', 'curriculum' (blends whose weights move, see Recipe.alpha_start),
    'untrained' (the chance row) or 'imagenet' (weights of others, a positive control); seed: of weights, order and
    augmentation.
    """

    network: str
    attention: str
    heads: int
    training: str
    seed: int

    def __post_init__(self) -> None:
        if self.training not in TRAININGS:
            raise BlendnetError(f"training {self.training!r} is not one of {', '.join(TRAININGS)}")
        if (self.attention in WITHOUT_HEADS) != (self.heads == 0):
            raise BlendnetError(f"{self.network}: attention {self.attention!r} does not go with {self.heads} heads")

    @property
    def id(self) -> str:
        """For example 'resnet18-aacn4-blended-s0', or 'resnet18-none-untrained-s0'."""
        heads = str(self.heads) if self.heads else ""
        return f"{self.network}-{self.attention}{heads}-{self.training}-s{self.seed}"

    @property
    def twin_key(self) -> tuple[str, str, int]:
        """What the plain and the attention twin have in common: (network, training, seed)."""
        return (self.network, self.training, self.seed)

    @classmethod
    def from_id(cls, run_id: str) -> "Run":
        """The run whose id this is; raises BlendnetError where it is none."""
        match = _ID.match(run_id)
        if not match:
            raise BlendnetError(f"run {run_id!r} is not of the form NETWORK-ATTENTION[HEADS]-TRAINING-sSEED")
        d = match.groupdict()
        return cls(d["network"], d["attention"], int(d["heads"] or 0), d["training"], int(d["seed"]))


_LATER = ("jitter", "alpha_start", "curriculum_epochs", "ema", "patience", "channels_last", "compile")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. Everything that changes the weights is here, nothing that does not.

    epoch_size: training images an epoch (blends are drawn without end, so an epoch is a choice); schedule:
    'step' (x0.1 every step_epochs) or 'cosine' (with linear warm-up over warmup_epochs); crop_scale: smallest area
    of the random resized crop, 1.0 = none; alpha: range of the weight of the first image of a training blend;
    precision: 'float32' or 'bfloat16' (autocast); jitter: largest relative change of brightness, contrast and
    saturation, 0 = none; alpha_start, curriculum_epochs: with training 'curriculum' the range of alpha moves from
    alpha_start to alpha in so many epochs; ema: decay a step of the averaged weights that are validated and kept,
    0 = none; patience: epochs without a better validation before training stops, 0 = never; channels_last, compile:
    memory format and torch.compile, which change the last bits only.
    """

    name: str
    optimizer: str
    lr: float
    momentum: float
    weight_decay: float
    batch_size: int
    epochs: int
    epoch_size: int
    schedule: str = "cosine"
    step_epochs: int = 20
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    flip: bool = True
    crop_scale: float = 1.0
    alpha: tuple[float, float] = (0.5, 0.5)
    precision: str = "float32"
    jitter: float = 0.0
    alpha_start: tuple[float, float] = (0.85, 0.95)
    curriculum_epochs: float = 10.0
    ema: float = 0.0
    patience: int = 0
    channels_last: bool = False
    compile: bool = False

    def asdict(self) -> dict[str, Any]:
        """JSON-able. Choices that came later are left out at their defaults: they name what was always done, and a
        checkpoint that was made before they existed stays what it is."""
        found = asdict(self)
        for name in _LATER:
            if getattr(self, name) == type(self).__dataclass_fields__[name].default:
                del found[name]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in found.items()}
