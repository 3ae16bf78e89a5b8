"""Macaque V4 spikes to naturalistic images (Cowley, Stan, Pillow, Smith 2023, bioRxiv 2023.11.22.568315).

Compact deep neural network models of visual cortex. Awake macaques WE, PE and RA, one array session after
another; each session has its own images (112x112 JPEG) and neurons, and so is a recording of its own.
"""

import re
import zipfile
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from blendnet.data.brain import _strangers  # enters no number
from blendnet.data.brain._checked import checked, image, missing, not_as_published, pixels_sha256
from blendnet.data.brain.recording import Recording, Stimuli
from blendnet.errors import BlendnetError, unknown
from blendnet.files import sha256_of

NAME = "cowley2023"
DOI = "10.1101/2023.11.22.568315"
LICENCE = "GPL-3.0 (repository)"
REGION = "V4"
# The size of the images in degrees is not in the published repository.
DEGREES = None
IMAGE_SHAPE = (112, 112, 3)
# The repository's data table: session -> (animal, neurons, repeats an image on average, images).
SESSIONS = {
    "190923": ("WE", 33, 14, 1200), "190924": ("WE", 25, 13, 900), "190925": ("WE", 36, 14, 900),
    "190926": ("WE", 27, 15, 900), "190927": ("WE", 31, 11, 900), "190928": ("WE", 24, 13, 900),
    "190929": ("WE", 33, 15, 900), "201016": ("PE", 82, 6, 600), "201017": ("PE", 88, 7, 900),
    "201018": ("PE", 80, 5, 600), "201019": ("PE", 82, 4, 1600), "201020": ("PE", 87, 4, 1600),
    "201021": ("PE", 88, 7, 1600), "201022": ("PE", 79, 5, 2000), "201023": ("PE", 86, 7, 2000),
    "201024": ("PE", 85, 7, 2000), "201025": ("PE", 89, 12, 1200), "210224": ("PE", 67, 9, 800),
    "210225": ("PE", 55, 6, 1200), "210226": ("PE", 78, 6, 1600), "210301": ("PE", 61, 4, 2000),
    "210302": ("PE", 70, 5, 2000), "210303": ("PE", 67, 3, 2049), "210304": ("PE", 65, 5, 1968),
    "210305": ("PE", 70, 22, 400), "210308": ("PE", 70, 4, 2000), "210309": ("PE", 56, 4, 2000),
    "210310": ("PE", 64, 3, 2000), "210312": ("PE", 81, 4, 2000), "210315": ("PE", 65, 2, 2000),
    "210316": ("PE", 62, 3, 2000), "210322": ("PE", 59, 4, 1200), "210323": ("PE", 59, 4, 1200),
    "210324": ("PE", 54, 4, 1200), "210325": ("PE", 50, 8, 640), "210326": ("PE", 60, 4, 1200),
    "210620": ("RA", 42, 9, 1600), "210621": ("RA", 51, 16, 1200), "211008": ("RA", 21, 24, 1200),
    "211012": ("RA", 51, 15, 2000), "211013": ("RA", 52, 15, 2000), "211014": ("RA", 46, 11, 2000),
    "211015": ("RA", 49, 18, 2000), "211018": ("RA", 56, 10, 3000), "211022": ("RA", 42, 20, 1600),
    "211025": ("RA", 54, 16, 2000), "211026": ("RA", 56, 13, 2000), "211027": ("RA", 56, 18, 2000),
    "211028": ("RA", 55, 14, 2000), "211103": ("RA", 49, 13, 3000),
}  # fmt: skip
# Files whose checksum we know; those of other sessions are checked by counts, and their checksum is recorded.
SHA256 = {
    "images_201025.zip": "3abb63679107665eab7220bdeaf7863832a1df943bf3d7792501f5082a55b2e8",
    "images_210325.zip": "992774eca3508a2ad01accb1a31f5f3e3d90248c49f4eec314f2a915a263e454",
    "responses_avg_201025.npy": "f729f3dc0d29aa38bd380c0da9e39aba916f9e2580949929b65d1714e7217a8a",
    "responses_raw_210325.npy": "4008dbbf31a47d9b1b8d8da609f4a7a3433c7071f0e45c611c220b217dd75b76",
}
MAX_IMAGE_BYTES, MAX_ZIP_BYTES, MAX_MEMBERS = 2**20, 2**28, 10_000
_IMAGE = re.compile(r"image(\d+)\.jpe?g", re.IGNORECASE)


def available(root: Path) -> tuple[str, ...]:
    """Sessions of which both images and responses are in root/cowley2023, oldest first."""
    folder = Path(root) / NAME
    here = (path.stem.removeprefix("images_") for path in folder.glob("images_*.zip"))
    return tuple(sorted(session for session in here if _responses(folder, session)))


@_strangers.one_line(NAME)  # enters no number
def load(root: Path, *, sessions: tuple[str, ...] | None = ("210325", "201025")) -> list[Recording]:
    """One recording a session, 'cowley2023-210325': trials (n_images, n_repeats, n_neurons), spikes in 100
    ms.

    root: the data folder that holds cowley2023/ with images_S.zip and responses_raw_S.npy (neurons, images,
    repeats; NaN = not shown) or responses_avg_S.npy (neurons, images; n_repeats is then 1, `averaged_over`
    the rounded mean number of repeats from the repository's table, and there is no ceiling); raw is taken
    where both are there. sessions: which, or None for all that are there. Raises BlendnetError for missing,
    altered or inconsistent files.
    """
    folder = Path(root) / NAME
    wanted = available(root) if sessions is None else tuple(sessions)
    if not wanted:
        raise missing(folder / "images_SESSION.zip", NAME)
    for session in wanted:
        if session not in SESSIONS and not (folder / f"images_{session}.zip").is_file():
            raise unknown("session of cowley2023", session, SESSIONS)
    return [_session(folder, session) for session in wanted]


def _responses(folder: Path, session: str) -> Path | None:
    for kind in ("raw", "avg"):
        path = folder / f"responses_{kind}_{session}.npy"
        if path.is_file():
            return path
    return None


def _session(folder: Path, session: str) -> Recording:
    images = folder / f"images_{session}.zip"
    responses = _responses(folder, session) or folder / f"responses_raw_{session}.npy"
    hashes = {path.name: checked(path, NAME, SHA256.get(path.name)) for path in (images, responses)}
    animal, n_neurons, n_repeats, n_images = SESSIONS.get(session, ("unknown", None, 1, None))
    trials = _trials(responses, n_neurons, n_images)
    stimuli = _stimuli(images, session, len(trials))
    raw = trials.shape[1] > 1
    return Recording(
        name=f"{NAME}-{session}",
        region=REGION,
        stimuli=stimuli,
        trials=trials,
        rdms=None,
        neuroid_ids=tuple(f"{session}/{i}" for i in range(trials.shape[2])),
        subjects=(animal,) * trials.shape[2],
        species="macaque",
        unit="spikes in 100 ms",
        doi=DOI,
        licence=LICENCE,
        sha256=sha256_of({"files": hashes, "stimuli": stimuli.sha256}),
        window_ms=None,  # the length of the bin is published, its onset is not
        averaged_over=1 if raw else n_repeats,
        about={"files_sha256": hashes, "session": session, "animal": animal},
    )


def _trials(path: Path, n_neurons: int | None, n_images: int | None) -> np.ndarray:
    """(neurons, images[, repeats]) float64 on disk -> (images, repeats, neurons) float32."""
    try:
        counts = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise not_as_published(path, f"not a readable array of numbers ({error})".replace("\n", " "), NAME) from error
    if not isinstance(counts, np.ndarray) or counts.ndim not in (2, 3) or counts.dtype.kind not in "fiu":
        raise not_as_published(path, "not an array (neurons, images) or (neurons, images, repeats) of numbers", NAME)
    for found, expected, what in zip(counts.shape, (n_neurons, n_images), ("neurons", "images")):
        if expected is not None and found != expected:
            raise not_as_published(path, f"{found} {what}, expected {expected}", NAME)
    _strangers.numbers(counts, path, NAME)  # enters no number
    if counts.ndim == 2:
        counts = counts[:, :, None]
    shown = np.isfinite(counts)
    if np.isinf(counts).any() or counts[shown].min(initial=0) < 0:
        raise not_as_published(path, "a count is negative or infinite", NAME)
    silent = np.argwhere(~shown.any(axis=2))
    if len(silent):
        neuron, picture = silent[0]
        n_silent = len(np.unique(silent[:, 0]))
        raise not_as_published(
            path, f"neuron {neuron} is NaN in all repeats of image {picture} ({n_silent} such)", NAME
        )
    return counts.transpose(1, 2, 0).astype(np.float32)


def _stimuli(path: Path, session: str, n: int) -> Stimuli:
    contents = images_of(path)
    numbers = sorted(contents)
    if len(numbers) != n or numbers != list(range(numbers[0], numbers[0] + n)):
        problem = f"holds {len(numbers)} images, the responses are to {n}"
        if len(numbers) == n:
            problem = f"image numbers {numbers[0]} to {numbers[-1]} have gaps"
        raise not_as_published(path, problem, NAME)
    read = partial(_read, [contents[number] for number in numbers], path)
    for i in range(n):
        if (shape := read(i).shape) != IMAGE_SHAPE:
            raise not_as_published(path, f"image {numbers[i]} has shape {shape}, expected {IMAGE_SHAPE}", NAME)
    ids = tuple(f"{NAME}/{session}/image{number:04d}" for number in numbers)
    return Stimuli(f"{NAME}-{session}", ids, read, np.arange(n), DEGREES, pixels_sha256(read, n))


def _read(contents: list[bytes], path: Path, i: int) -> np.ndarray:
    return image(contents[i], f"{path}, image at place {i + 1}", NAME)


def images_of(path: Path) -> dict[int, bytes]:
    """JPEG files of a zip by the number in their name; nothing is ever written to disk.

    The archive may hold them in any order and in a folder. Raises BlendnetError for an archive that is
    broken, encrypted or too large when unpacked, for a name that leaves the archive, and for a number that
    comes twice.
    """
    contents: dict[int, bytes] = {}
    total = 0
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise not_as_published(path, f"holds {len(members)} files, more than {MAX_MEMBERS}", NAME)
            for member in members:
                name = PurePosixPath(member.filename.replace("\\", "/"))
                if name.is_absolute() or ".." in name.parts:
                    raise not_as_published(path, f"the name {member.filename!r} leaves the archive", NAME)
                # macOS puts a shadow '._image0001.jpg' of resource data beside every file.
                if member.is_dir() or name.name.startswith(".") or "__MACOSX" in name.parts:
                    continue
                match = _IMAGE.fullmatch(name.name)
                if not match:
                    continue
                # The size that the archive states may be a lie, so the reading itself is bounded.
                with archive.open(member) as handle:
                    content = handle.read(MAX_IMAGE_BYTES + 1)
                total += len(content)
                if len(content) > MAX_IMAGE_BYTES or total > MAX_ZIP_BYTES:
                    raise not_as_published(path, f"{member.filename} is too large when unpacked", NAME)
                number = int(match[1])
                if number in contents:
                    raise not_as_published(path, f"image {number} is there twice", NAME)
                contents[number] = content
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise not_as_published(path, f"not a readable zip archive ({error})", NAME) from error
    except Exception as error:
        if isinstance(error, BlendnetError):
            raise
        raise not_as_published(path, f"not a readable zip archive ({type(error).__name__})", NAME) from error
    if not contents:
        raise not_as_published(path, "holds no imageNNNN.jpg", NAME)
    return contents
