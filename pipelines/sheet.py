"""THE DESIGN: every choice that changes a number, in one file.

A profile is one experiment: which photographs, networks, trainings, recordings and metrics. The flags of the
command line choose which part of it is run and where, never the science. To change the science, change or add a profile
here; `make all PROFILE=name` runs it.
"""

from dataclasses import dataclass, field

from analysis.schema import METRICS
from blendnet.data.classes import CLASSES
from blendnet.errors import unknown
from blendnet.run import WITHOUT_HEADS, Recipe, Run
from blendnet.training.recipes import recipe


@dataclass(frozen=True)
class Planted:
    """The invented recording of the demo: which run and which of its layers the 'neurons' were made from."""

    source: str  # run id
    layers: dict[str, str]  # region -> layer of the source run
    n_stimuli: int = 400
    n_neuroids: int = 60
    n_repetitions: int = 10
    ceiling: float = 0.7  # expected Spearman-Brown reliability of the mean over repetitions


@dataclass(frozen=True)
class Profile:
    """One experiment. Units: image_size px, alphas 0..1 (weight of the first object), model_degrees of visual angle."""

    name: str
    about: str  # one sentence for the report
    minutes: str  # what it takes, and on what
    sources: tuple[str, ...]
    networks: tuple[str, ...]
    recipe: Recipe
    image_size: int
    classes: tuple[str, ...] = CLASSES
    image_sizes: dict[str, int] = field(default_factory=dict)  # networks that see another size
    colour: str = "rgb"  # or 'grey': takes away the colour confound between collections
    limit_per_class: int | None = None  # photographs a class, None = all
    n_per_class: int = 300  # of the procedural source
    split_seed: int = 0
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)  # train, val, test
    space: str = "pixel"  # or 'linear': blends in linear light
    held_out: frozenset[tuple[str, str]] = frozenset()  # pairs of classes never blended in training
    attentions: tuple[str, ...] = ("none", "aacn")
    attentions_of: dict[str, tuple[str, ...]] = field(default_factory=dict)  # networks with other kinds, e.g. a ViT
    heads: int = 4
    trainings: tuple[str, ...] = ("blended",)
    seeds: tuple[int, ...] = (0,)
    controls: tuple[str, ...] = ()  # runs beside the twins, e.g. 'mobilenet_v2-none-imagenet-s0'
    control_image_size: int = 224
    recordings: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("pls", "ridge", "rsa")
    width: int = 1000  # columns that the sparse projection keeps a layer
    projection_seed: int = 0
    n_splits: int = 10
    split_test: float = 0.1
    score_seed: int = 1
    model_degrees: float = 8.0  # field of view of a network, as Brain-Score takes it
    n_bootstrap: int = 1000
    val_per_pair: int = 10
    test_per_pair: int = 20
    alphas: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    planted: Planted | None = None
    fetch: bool = False  # fetch photographs and recordings by itself before training
    caveats: tuple[str, ...] = field(default=())

    def size_of(self, run: Run) -> int:
        """Side of the square input in px. Networks with weights of others see their own size."""
        if run in self.control_runs():
            return self.control_image_size
        return self.image_sizes.get(run.network, self.image_size)

    def colour_of(self, run: Run) -> str:
        """'rgb' or 'grey': how stimuli are shown to the network."""
        return "rgb" if run in self.control_runs() else self.colour

    def trained_runs(self) -> list[Run]:
        """The twins, all seeds and trainings, in the sheet's order."""
        return [
            self._run(network, attention, training, seed)
            for network in self.networks
            for training in self.trainings
            for seed in self.seeds
            for attention in self.attentions_of.get(network, self.attentions)
        ]

    def untrained_runs(self) -> list[Run]:
        """One untrained twin of each network and attention: the chance row that every score needs."""
        return [
            self._run(network, attention, "untrained", 0)
            for network in self.networks
            for attention in self.attentions_of.get(network, self.attentions)
        ]

    def _run(self, network: str, attention: str, training: str, seed: int) -> Run:
        return Run(network, attention, 0 if attention in WITHOUT_HEADS else self.heads, training, seed)

    def control_runs(self) -> list[Run]:
        """Positive controls, e.g. a network with ImageNet weights and its untrained self."""
        return [Run.from_id(c) for c in self.controls]

    def scored_runs(self) -> list[Run]:
        """Everything that is compared with the brain, but for the pixels."""
        return self.trained_runs() + self.untrained_runs() + self.control_runs()


# Recordings: those that labs have published, and Brain-Score's public benchmarks.
PUBLISHED = ("henaff2021", "cowley2023", "kriegeskorte2008", "algonauts2019")
BRAIN_SCORE = ("freemanziemba2013public", "majajhong2015public")
CONTROLS = ("mobilenet_v2-none-imagenet-s0", "mobilenet_v2-none-untrained-s0")
# The networks of the paper.
STUDY = ("resnet18", "resnet50", "cornet_z", "inception_v3")

DEMO = Profile(
    name="demo",
    about="The whole chain on images drawn by code and a planted (invented) recording: it shows that the chain works, "
    "and nothing about brains.",
    minutes="about 6 min on 2 CPU cores",
    sources=("procedural",),
    networks=("resnet18", "cornet_z"),
    recipe=recipe("modern", epochs=5, epoch_size=1408, lr=1e-3, crop_scale=0.6),
    image_size=48,
    n_per_class=150,
    fractions=(0.7, 0.12, 0.18),
    seeds=(0,),
    recordings=("planted",),
    metrics=("pls", "rsa"),
    n_splits=5,
    n_bootstrap=200,
    val_per_pair=5,
    test_per_pair=6,
    planted=Planted(
        source="resnet18-aacn4-blended-s0",
        layers={"V1": "layer1.0", "V2": "layer2.0", "V4": "layer3.0", "IT": "layer4.0"},
    ),
    caveats=(
        "The recording is planted: its neurons were computed from layers of resnet18-aacn4-blended-s0, with noise. "
        "That this run scores best is by construction.",
        "The planted neurons are few random mixtures of a layer's whitened components: a regression can find the layer "
        "again, but their geometry is not the layer's own, so that RSA need not.",
        "One seed: differences between twins have no interval.",
    ),
)

CIFAR10 = Profile(
    name="cifar10",
    about="CIFAR-10 photographs, ten classes from one collection (no source confound), and the 92-image inferior "
    "temporal RDMs of Kriegeskorte et al. 2008; both are fetched by the chain itself.",
    minutes="about 10 min on 2 CPU cores, 235 MB of downloads",
    sources=("cifar10",),
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    limit_per_class=1000,
    networks=("resnet18", "cornet_z"),
    recipe=recipe("modern", epochs=7, epoch_size=5120, lr=1e-3, precision="bfloat16"),
    image_size=48,
    seeds=(0,),
    recordings=("kriegeskorte2008",),
    fetch=True,
    metrics=("rsa", "rsa_whitened"),
    width=1000,
    val_per_pair=6,
    test_per_pair=12,
    caveats=(
        "Images of 32 px enlarged to 48 px, a short training on CPU, one seed.",
        "The monkey RDM is one matrix without repeats, so its score has no ceiling.",
    ),
)

PHOTOS = Profile(
    name="photos",
    about="Photographs of the study's eight classes from Caltech-101 and Natural Images, against macaque V1 and V4 "
    "neurons and human early visual and inferior temporal cortex.",
    minutes="about 1 h on 2 CPU cores",
    sources=("caltech101", "natural_images"),
    networks=("resnet18", "cornet_z"),
    recipe=recipe("modern", epochs=20, epoch_size=2560, lr=1e-3, precision="bfloat16"),
    image_size=64,
    colour="grey",
    seeds=(0, 1),
    controls=CONTROLS,
    recordings=PUBLISHED,
    metrics=("pls", "ridge", "rsa", "rsa_whitened"),
    width=1000,
    n_bootstrap=500,
    caveats=(
        "A small run on CPU at 64 px with a short training; the study trains at 224 px for 70 epochs.",
        "Boat and chair come from Caltech-101 alone. All images are made grey and squared to one size, and the "
        "accuracy within one collection and a classifier on low-level statistics stand in the tables as controls.",
        "Two seeds and two architectures: a correlation over so few networks says little.",
    ),
)

BLENDEDUIBK = Profile(
    name="blendeduibk",
    about="The study's own dataset (Kaggle andreaport/blendeduibk), read unchanged, with its four networks.",
    minutes="GPU: not measured yet",
    sources=("blendeduibk",),
    networks=STUDY,
    recipe=recipe("modern", precision="bfloat16"),
    image_size=224,
    image_sizes={"inception_v3": 299},
    trainings=("blended", "regular"),
    seeds=(0, 1, 2),
    controls=CONTROLS,
    recordings=PUBLISHED,
)

PAPER = Profile(
    name="paper",
    about="The study's four networks trained by the study's own recipe on its own dataset.",
    minutes="GPU: not measured yet",
    sources=("blendeduibk",),
    networks=STUDY,
    recipe=recipe("study"),  # float32, as the study trained
    image_size=224,
    image_sizes={"inception_v3": 299},
    seeds=(0, 1, 2),
    recordings=(*BRAIN_SCORE, *PUBLISHED),
)

FULL = Profile(
    name="full",
    about="Every network that the study or its repository names, with every kind of attention, trained on blends, on "
    "single objects and on a curriculum of blends, on the study's own dataset.",
    minutes="a cluster: not measured yet",
    sources=("blendeduibk",),
    networks=("resnet18", "resnet50", "cornet_z", "cornet_s", "inception_v3", "efficientnet_b0", "vit_small"),
    attentions=("none", "aacn", "se", "cbam", "aacn-legacy"),
    attentions_of={"vit_small": ("none", "self")},
    recipe=recipe("modern", precision="bfloat16", channels_last=True, ema=0.999),
    image_size=224,
    image_sizes={"inception_v3": 299},
    trainings=("blended", "regular", "curriculum"),
    seeds=(0, 1, 2, 3, 4),
    controls=CONTROLS,
    recordings=(*BRAIN_SCORE, *PUBLISHED),
    metrics=METRICS,
)

LEGACY = Profile(
    name="legacy",
    about="Checkpoints of the original repository (blendnet import-legacy), with its own attention operator, defects "
    "included, beside untrained networks.",
    minutes="GPU: not measured yet",
    sources=("blendeduibk",),
    networks=STUDY,
    recipe=recipe("study"),
    image_size=224,
    image_sizes={"inception_v3": 299},
    attentions=("none", "aacn-legacy"),
    trainings=("blended", "regular"),
    recordings=PUBLISHED,
    caveats=(
        "Imported networks were trained by the original repository; its seeds, its photographs' split and which of "
        "its normalisations was used are not known.",
    ),
)

PROFILES = {p.name: p for p in (LEGACY, DEMO, CIFAR10, PHOTOS, BLENDEDUIBK, PAPER, FULL)}


def profile(name: str) -> Profile:
    """A profile by name; an unknown name is one clear line."""
    if name not in PROFILES:
        raise unknown("profile", name, PROFILES)
    from pipelines.sheet_check import check

    return check(PROFILES[name])
