"""Macaque V4 and IT to objects on backgrounds (Majaj, Hong, Solomon, DiCarlo 2015, doi
10.1523/JNEUROSCI.5181-14.2015), the public part that Brain-Score scores as MajajHong2015public.V4-pls and .IT-pls.

3200 stimuli of 8 degrees, 88 sites of V4 and 168 of IT, responses 70 to 170 ms after onset.
"""

from pathlib import Path

from blendnet.data.brain import _brainscore
from blendnet.data.brain.recording import Recording

NAME = "majajhong2015public"
DOI = "10.1523/JNEUROSCI.5181-14.2015"
LICENCE = "not stated; public storage of Brain-Score, not redistributed"
SOURCE = _brainscore.Source(
    name=NAME,
    dataset="MajajHong2015.public",
    stimulus_set="hvm-public",
    benchmarks={"V4": "MajajHong2015public.V4-pls", "IT": "MajajHong2015public.IT-pls"},
    loader="brainscore_vision.benchmarks.majajhong2015.benchmark",
    counts={"V4": (3200, 88), "IT": (3200, 168)},
    degrees=8.0,
    window_ms=(70.0, 170.0),
    stratify="object_name",
    doi=DOI,
    licence=LICENCE,
    unit="multi-unit response, normalised as published",
)


def load(root: Path, *, regions: tuple[str, ...] | None = None, home: Path | None = None) -> list[Recording]:
    """'majajhong2015public-V4' and '-IT': trials (3200, n_repetitions, n_sites); fetched where they are not there yet.

    root: the data folder of --data; home: where downloads lie, default $BRAINIO_HOME, else root/brainio where it
    exists, else ~/.brainio. Raises BlendnetError in one line without a network and for what is not as published.
    """
    return _brainscore.load(SOURCE, root, regions=regions, home=home)
