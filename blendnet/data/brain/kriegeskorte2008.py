"""IT of man and monkey, as RDMs over the same 92 object images (Kriegeskorte et al. 2008, Neuron 60:1126).

Matching categorical object representations in inferior temporal cortex of man and monkey. Monkey: 674
neurons in IT of two macaques (Kiani et al. 2007); human: fMRI, 316 most visually responsive voxels of IT, 4
subjects, 2 sessions. Only dissimilarities (1 - Pearson correlation) are published: scored by RSA alone.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from blendnet.data.brain import _strangers  # enters no number
from blendnet.data.brain._checked import checked, not_as_published, pixels_sha256, vectors
from blendnet.data.brain._matlab import load_v5
from blendnet.data.brain.recording import Recording, Stimuli
from blendnet.files import sha256_of

NAME = "kriegeskorte2008"
DOI = "10.1016/j.neuron.2008.10.043"
LICENCE = "MIT (repository)"
REGION = "IT"
# The size of the images in degrees is not in the published files.
DEGREES = None
N_STIMULI, IMAGE_SHAPE = 92, (175, 175, 3)
SUPPLEMENT, SUBJECTS = "Kriegeskorte_Neuron2008_supplementalData.mat", "92_brainRDMs.mat"
SHA256 = {
    SUPPLEMENT: "06f21214399a5d43dc264eed19a7f4b8daf11c8622a59eec3e106064ce5e3504",
    SUBJECTS: "1743f90a15e895798a94318649e80e1123a7e5943a1703fa1dd7c31ea5780b7c",
}


@_strangers.one_line(NAME)  # enters no number
def load(root: Path) -> list[Recording]:
    """'kriegeskorte2008-monkey' (1 RDM) and 'kriegeskorte2008-human' (4 subjects, sessions averaged): (n,
    4186) each.

    root: the data folder that holds kriegeskorte2008/. The monkey RDM is one for both animals, so it has no
    ceiling of its own. The mean of the four human RDMs has the same ranks as the group RDM of the paper's
    figure 1, so nothing is lost by taking the subjects, and a ceiling is gained. Raises BlendnetError for
    missing or altered files.
    """
    folder = Path(root) / NAME
    images = stimuli(root)
    hashes = {file: checked(folder / file, NAME, sha256) for file, sha256 in SHA256.items()}
    monkey = figure1(root)["mIT_674neurons"]
    human, names = _subjects(folder / SUBJECTS)
    return [
        _recording("monkey", images, monkey[None], ("two monkeys",), "macaque", {SUPPLEMENT: hashes[SUPPLEMENT]}),
        _recording("human", images, human, names, "human", hashes),
    ]


def stimuli(root: Path) -> Stimuli:
    """The 92 images, (175, 175, 3) uint8 on grey, in the order of every RDM over them; each is a group of
    its own."""
    path = Path(root) / NAME / SUPPLEMENT
    checked(path, NAME, SHA256[SUPPLEMENT])
    table = _field(load_v5(path, NAME), "stimuli_92objs", path)
    pixels = np.stack([np.asarray(image) for image in table["image"].ravel()])
    if pixels.shape != (N_STIMULI, *IMAGE_SHAPE) or pixels.dtype != np.uint8:
        raise not_as_published(path, f"images have shape {pixels.shape}, expected 92 of {IMAGE_SHAPE}", NAME)
    ids = tuple(f"{NAME}/{i + 1:02d}" for i in range(N_STIMULI))
    read = partial(_read, pixels)
    return Stimuli(NAME, ids, read, np.arange(N_STIMULI), DEGREES, pixels_sha256(read, N_STIMULI))


def categories(root: Path) -> tuple[str, ...]:
    """The six categories of the 92 images, for example 'human face' or 'artificial inanimate'."""
    path = Path(root) / NAME / SUPPLEMENT
    checked(path, NAME, SHA256[SUPPLEMENT])
    return tuple(str(np.ravel(c)[0]) for c in _field(load_v5(path, NAME), "stimuli_92objs", path)["category"].ravel())


def figure1(root: Path) -> dict[str, np.ndarray]:
    """The two RDMs of the paper's figure 1, vectors of 4186: 'mIT_674neurons' and 'hITvisStim_316vx'."""
    path = Path(root) / NAME / SUPPLEMENT
    checked(path, NAME, SHA256[SUPPLEMENT])
    entries = _field(load_v5(path, NAME), "RDMs_mIT_hIT_fig1", path).ravel()
    # MATLAB's vector runs down the columns of the lower triangle: the same as SciPy's along the upper one's
    # rows.
    found = {str(e["name"][0]): np.asarray(e["RDM"], dtype=np.float64).ravel() for e in entries}
    expected = {"mIT_674neurons", "hITvisStim_316vx"}
    if set(found) != expected or any(v.shape != (N_STIMULI * (N_STIMULI - 1) // 2,) for v in found.values()):
        raise not_as_published(path, f"holds the RDMs {sorted(found)}, expected {sorted(expected)} of 4186", NAME)
    return found


def _subjects(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    table = _field(load_v5(path, NAME), "RDMs", path)
    if table.shape != (1, 4, 2):
        raise not_as_published(path, f"RDMs have shape {table.shape}, expected (1, 4 subjects, 2 sessions)", NAME)
    rdms = np.stack([[np.asarray(session["RDM"], dtype=np.float64) for session in subject] for subject in table[0]])
    if rdms.shape != (4, 2, N_STIMULI, N_STIMULI):
        raise not_as_published(path, f"RDMs have shape {rdms.shape}, expected (4, 2, 92, 92)", NAME)
    # Named like 'hIT | BE | Session: 1'.
    names = tuple(str(subject[0]["name"][0]).split("|")[1].strip() for subject in table[0])
    return vectors(rdms.mean(axis=1), path, NAME), names


def _recording(
    who: str,
    images: Stimuli,
    rdms: np.ndarray,
    subjects: tuple[str, ...],
    species: str,
    hashes: dict[str, str],
) -> Recording:
    return Recording(
        name=f"{NAME}-{who}",
        region=REGION,
        stimuli=images,
        trials=None,
        rdms=rdms,
        neuroid_ids=(),
        subjects=subjects,
        species=species,
        unit="1 - Pearson r",
        doi=DOI,
        licence=LICENCE,
        sha256=sha256_of({"files": hashes, "stimuli": images.sha256}),
        about={"files_sha256": hashes},
    )


def _field(content: dict[str, Any], name: str, path: Path) -> np.ndarray:
    if name not in content:
        raise not_as_published(path, f"holds no variable {name}", NAME)
    return np.asarray(content[name])


def _read(pixels: np.ndarray, i: int) -> np.ndarray:
    return np.array(pixels[i])
