"""Human fMRI RDMs of 15 subjects on the 92 images of Kriegeskorte 2008 (Cichy, Pantazis, Oliva 2014, 2016).

Resolving human object recognition in space and time. Nature Neuroscience 17:455; as released for the
Algonauts Project 2019 (Cichy et al. 2019, arXiv 1905.05675): early visual cortex (EVC) and inferior
temporal cortex (IT). Only dissimilarities are published: scored by RSA alone.
"""

from pathlib import Path

import numpy as np

from blendnet.data.brain import kriegeskorte2008
from blendnet.data.brain._checked import checked, not_as_published, vectors
from blendnet.data.brain._matlab import open_v73
from blendnet.data.brain.recording import Recording
from blendnet.files import sha256_of

NAME = "algonauts2019"
DOI = "10.1038/nn.3635"
LICENCE = "terms of the Algonauts challenge"
REGIONS = ("EVC", "IT")
N_SUBJECTS = 15
FILE = "target_fmri_92.mat"
SHA256 = "57f064c7ebc5e6de1c70898166090f5c7b6ffdcfb5b13cb897c6d81a09207e47"


def load(root: Path, *, regions: tuple[str, ...] = REGIONS) -> list[Recording]:
    """'algonauts2019-EVC' and 'algonauts2019-IT', each with rdms of shape (15 subjects, 4186).

    root: the data folder that holds algonauts2019/ and kriegeskorte2008/, from whose file the 92 images are
    read: the order of the images is the same in both. Raises BlendnetError for missing or altered files.
    """
    path = Path(root) / NAME / FILE
    sha256 = checked(path, NAME, SHA256)
    stimuli = kriegeskorte2008.stimuli(root)
    rdms = {}
    with open_v73(path, NAME) as file:
        for region in regions:
            if f"{region}_RDMs" not in file:
                raise not_as_published(path, f"holds no variable {region}_RDMs", NAME)
            rdms[region] = np.asarray(file[f"{region}_RDMs"])
    recordings = []
    for region, square in rdms.items():
        if square.shape != (len(stimuli), len(stimuli), N_SUBJECTS):
            problem = f"{region}_RDMs has shape {square.shape}, expected (92, 92, {N_SUBJECTS})"
            raise not_as_published(path, problem, NAME)
        recordings.append(
            Recording(
                name=f"{NAME}-{region}",
                region=region,
                stimuli=stimuli,
                trials=None,
                rdms=vectors(square.transpose(2, 0, 1), path, NAME),
                neuroid_ids=(),
                subjects=tuple(f"subject{i + 1:02d}" for i in range(N_SUBJECTS)),
                species="human",
                unit="1 - Pearson r",
                doi=DOI,
                licence=LICENCE,
                sha256=sha256_of({"files": {FILE: sha256}, "region": region, "stimuli": stimuli.sha256}),
                about={"files_sha256": {FILE: sha256}},
            )
        )
    return recordings
