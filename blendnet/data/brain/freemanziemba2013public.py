"""Macaque V1 and V2 to naturalistic textures and noise (Freeman, Ziemba, Heeger, Simoncelli, Movshon 2013, doi
10.1038/nn.3402), the public part that Brain-Score scores as FreemanZiemba2013public.V1-pls and .V2-pls.

135 stimuli of 4 degrees in an aperture, 102 neurons of V1 and 103 of V2, spikes 50 to 200 ms after onset.
"""

from pathlib import Path

from blendnet.data.brain import _brainscore
from blendnet.data.brain.recording import Recording

NAME = "freemanziemba2013public"
DOI = "10.1038/nn.3402"
LICENCE = "not stated; public storage of Brain-Score, not redistributed"
SOURCE = _brainscore.Source(
    name=NAME,
    dataset="FreemanZiemba2013.public",
    stimulus_set="FreemanZiemba2013.aperture-public",
    benchmarks={"V1": "FreemanZiemba2013public.V1-pls", "V2": "FreemanZiemba2013public.V2-pls"},
    loader="brainscore_vision.benchmarks.freemanziemba2013.benchmarks.benchmark",
    counts={"V1": (135, 102), "V2": (135, 103)},
    degrees=4.0,
    window_ms=(50.0, 200.0),
    stratify="texture_type",
    doi=DOI,
    licence=LICENCE,
    unit="spikes in 1 ms, mean over the window",
)


def load(root: Path, *, regions: tuple[str, ...] | None = None, home: Path | None = None) -> list[Recording]:
    """'freemanziemba2013public-V1' and '-V2': trials (135, 20, n_neurons); fetched where they are not there yet.

    root: the data folder of --data; home: where downloads lie, default $BRAINIO_HOME, else root/brainio where it
    exists, else ~/.brainio. Raises BlendnetError in one line without a network and for what is not as published.
    """
    return _brainscore.load(SOURCE, root, regions=regions, home=home)
