"""Planted recordings: invented responses with a known source layer, noise and ceiling.

The embedded default of the demo and the oracle of the tests: whether layer commitment finds what was
planted, and whether a recording that has nothing to do with any layer scores at chance. They are no brain
data, `planted` is True in every one of them, and the pipeline refuses them outside demo and tests unless
they are asked for by name.
"""

import hashlib
import zlib
from collections.abc import Mapping

import numpy as np

from blendnet.data.brain.recording import Recording, Stimuli
from blendnet.errors import BlendnetError, unknown
from blendnet.files import sha256_of

NAME = "planted"
DOI = ""
LICENCE = "invented here: no licence needed"
COMPONENTS = 20


def plant(
    features: Mapping[str, np.ndarray],
    layers: Mapping[str, str],
    stimuli: Stimuli,
    *,
    n_neuroids: int = 60,
    n_repetitions: int = 10,
    ceiling: float = 0.7,
    components: int = COMPONENTS,
    seed: int,
    source_run: str = "",
) -> list[Recording]:
    """One recording 'planted-REGION' a region, made from one layer's features: trials (n_stimuli,
    n_repetitions, n_neuroids).

    features: layer -> (n_stimuli, width); layers: region -> its source layer; stimuli: what the features
    respond to; source_run: id of the run that the features come from, kept in `about`.

    Rule. The layer's features are centred, its first `components` principal components are scaled to equal
    variance, and every neuroid is a random direction (standard normal weights) among them. Weights on the
    raw features would follow the layer's first few components, which neighbouring layers share; with very
    many components a neuroid is white over the stimuli and no regression can learn it. Measured on
    untrained ResNet18 and CORnet-Z (64 px, 256 photographs, ridge on half of them, ceiling .7): with 20
    components the planted layer scored best in 60 of 60 and led the next one by .04 in the median and .018
    at least; with weights on raw features 60 of 60, .027 and .005; with 40 components .09 and .026, but the
    planted layer itself reaches .64 only, against .72 with 20.

    ceiling: split-half Spearman-Brown reliability, in expectation, of a neuroid's mean over its
    repetitions, which is the correlation of that mean with another such mean. Independent normal noise of
    variance n_repetitions * (1 - ceiling) / ceiling is added to each trial of a signal of variance 1; so
    `ceiling` is also the share of explainable variance, and a perfect model reaches r = sqrt(ceiling), .837
    at .7.

    Raises BlendnetError for an unknown layer, another number of stimuli, features that are not finite or
    have fewer components than asked for, and a ceiling outside (0, 1].
    """
    recordings = []
    for region, layer in layers.items():
        if layer not in features:
            raise unknown("layer to plant in", layer, features)
        signal = _signal(np.asarray(features[layer]), layer, stimuli, n_neuroids, components, _rng(seed, region, layer))
        about = {
            "planted_layer": layer,
            "source_run": source_run,
            "seed": seed,
            "components": components,
            "reliability": ceiling,
        }
        noise = _rng(seed, region, layer, "noise")
        recordings.append(_recording(region, signal, stimuli, n_repetitions, ceiling, noise, about, NAME))
    return recordings


def unrelated(
    stimuli: Stimuli,
    *,
    region: str = "V4",
    n_neuroids: int = 60,
    n_repetitions: int = 10,
    ceiling: float = 0.7,
    seed: int,
) -> Recording:
    """A recording 'unrelated-REGION' that is as reliable as a planted one and has nothing to do with the
    images.

    Its scores must be at chance, whatever the network, layer and metric. Shapes and `ceiling` as in
    plant(). Stimuli of one group get different responses, so no group structure can help.
    """
    signal = _rng(seed, region, "unrelated").standard_normal((len(stimuli), n_neuroids))
    about = {"planted_layer": None, "source_run": "", "seed": seed, "reliability": ceiling}
    noise = _rng(seed, region, "unrelated", "noise")
    return _recording(region, signal, stimuli, n_repetitions, ceiling, noise, about, "unrelated")


def _rng(seed: int, *words: str) -> np.random.Generator:
    """One stream for every purpose, so that no region's numbers depend on which others are asked for."""
    return np.random.default_rng([seed, *(zlib.crc32(word.encode()) for word in words)])


def _signal(
    x: np.ndarray, layer: str, stimuli: Stimuli, n_neuroids: int, components: int, rng: np.random.Generator
) -> np.ndarray:
    """(n_stimuli, n_neuroids): random directions among the first principal components, scaled to equal
    variance."""
    if x.ndim != 2 or len(x) != len(stimuli):
        raise BlendnetError(
            f"features of {layer} have shape {x.shape}, expected ({len(stimuli)} stimuli, width); extract them again"
        )
    if not np.isfinite(x).all():
        raise BlendnetError(f"features of {layer} are not all finite; look at the network's training log")
    x = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    # Stimuli are fewer than features: the components come from the small matrix of inner products.
    values, vectors = np.linalg.eigh(x @ x.T)
    usable = int((values > values[-1] * 1e-10).sum())
    if usable < components:
        raise BlendnetError(
            f"features of {layer} have {usable} components over these stimuli, "
            f"fewer than the {components} to plant in; plant in fewer"
        )
    first = vectors[:, ::-1][:, :components]
    # eigh leaves the sign open, which differs between linear-algebra libraries.
    first = first * np.sign(first[np.abs(first).argmax(0), np.arange(components)])
    return first @ rng.standard_normal((components, n_neuroids))


def _recording(
    region: str,
    signal: np.ndarray,
    stimuli: Stimuli,
    n_repetitions: int,
    ceiling: float,
    rng: np.random.Generator,
    about: dict,
    name: str,
) -> Recording:
    if not 0 < ceiling <= 1:
        raise BlendnetError(f"a ceiling of {ceiling} is not in (0, 1]; it is a reliability")
    signal = (signal - signal.mean(0)) / signal.std(0)
    sd = np.sqrt(n_repetitions * (1 - ceiling) / ceiling)
    noise = rng.standard_normal((len(stimuli), n_repetitions, signal.shape[1]))
    trials = (signal[:, None, :] + sd * noise).astype(np.float32)
    pixels = hashlib.sha256(np.ascontiguousarray(trials).tobytes()).hexdigest()
    return Recording(
        name=f"{name}-{region}",
        region=region,
        stimuli=stimuli,
        trials=trials,
        rdms=None,
        neuroid_ids=tuple(f"{name}-{region}/{i}" for i in range(signal.shape[1])),
        subjects=(name,) * signal.shape[1],
        species="none",
        unit="standard deviations of the signal",
        doi=DOI,
        licence=LICENCE,
        sha256=sha256_of({"trials": pixels, "stimuli": stimuli.sha256}),
        planted=True,
        about=about,
    )
