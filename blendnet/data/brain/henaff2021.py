"""Macaque V1 spikes to frames of natural video clips (Hénaff, Bai, Charlton, Nauhaus, Simoncelli, Goris
2021).

Primary visual cortex straightens natural video trajectories. Nature Communications 12:5982. Anaesthetised
macaques, multi-electrode arrays, frames shown for 200 ms with 100 ms between them, 50 or 60 times each. 10
clips of 11 frames at two zooms (natural sequences; the synthetic and contrast sequences of the experiment
are not loaded).
"""

from pathlib import Path
from typing import Any

import numpy as np

from blendnet.data.brain import _strangers  # enters no number
from blendnet.data.brain._checked import checked, image, missing, not_as_published, pixels_sha256
from blendnet.data.brain._matlab import open_v73, text, texts
from blendnet.data.brain.recording import Recording, Stimuli
from blendnet.errors import BlendnetError, unknown
from blendnet.files import sha256_of

NAME = "henaff2021"
DOI = "10.1038/s41467-021-25939-z"
LICENCE = "none stated in the source: not cleared for redistribution"
REGION = "V1"
# The size of the frames in degrees is in none of the published files that we could read.
DEGREES = None
ZOOMS, MOVIES, FRAMES = ("zoom1x", "zoom2x"), 10, 11
N_STIMULI = len(ZOOMS) * MOVIES * FRAMES
STIMULI_SHA256 = "a76da3cf6d5df44234bf3149577ae6eb80369df335047deac98a737a518749d6"
# Population -> (units, sha256 of its file). Two more of the nine published ones are read too where they lie
# there.
POPULATIONS = {
    "ay2_u003": (39, "46563979388f70c8f04fa066c05bfe63a51c32467b85fafef29826c4f2de4c53"),
    "ay2_u007": (16, "a5343150e49f7c7a3bf0e49e86c6ee4563e88311c4787603d2041b0c1fc72d07"),
    "ay3_u001": (47, "d9a1f61476fd2f5e898b8ef150b7890bc817be0a2c4831fda796fc5ab6020e23"),
    "ay3_u002": (53, "3d4a9ae0aa4756b726594bf83de3b049062fd0d6e63335f1bb6ea685b51a6a9e"),
    "ay4_u001": (13, "712bc324c25a9111d3d6888b029117c3e9f8ee4ec6547791091c63e54ca1cc25"),
    "ay4_u005": (46, "2022b01fd10bc9285502b96384a17b7fae76fb0d3ac679d0fa027f1df8056a66"),
    "ay5_u002": (31, "c1b8a03e624a1e79b6c8c77fb3f9d83cd6fc9ee364f5ed334883bbc81c38ca0f"),
}
_SUFFIX = "_image_sequences.mat"


@_strangers.one_line(NAME)  # enters no number
def load(root: Path, *, populations: tuple[str, ...] | None = None) -> list[Recording]:
    """One recording 'henaff2021': trials (220, n_repetitions, n_units), spike counts in 200 ms.

    root: the data folder that holds henaff2021/{responses,stimuli}; populations: which to merge (default:
    every one that is there, and an error where only some of the known seven are). A
    population with 50 repetitions beside one with 60 is filled up with NaN. neuroid_ids: 'ay3_u001/12'
    (population / place in its file); subjects: the animal ('ay3'). Every unit is kept, however unreliable:
    its ceiling says so later.

    Stimulus groups are the 10 movies, not the 20 clips: both zooms of a movie show the same scene at the same
    moments, so a split between them would test on what was trained on.

    Raises BlendnetError for missing or altered files, wrong counts, or frames in an unexpected order.
    """
    folder = Path(root) / NAME / "responses"
    found = {path.name.removesuffix(_SUFFIX): path for path in sorted(folder.glob("*" + _SUFFIX))}
    for name in populations or ():
        if name not in found and name not in POPULATIONS:
            raise unknown("population of henaff2021", name, set(found) | set(POPULATIONS))
    wanted = tuple(populations) if populations else tuple(found)
    absent = [name for name in POPULATIONS if name not in wanted]
    # Some of the seven point to a broken copy; none of them, beside others, to another choice of populations.
    if not populations and absent and (not found or len(absent) < len(POPULATIONS)):
        raise BlendnetError(
            f"{folder} lacks {absent[0]}{_SUFFIX} ({len(absent)} of {len(POPULATIONS)} known populations are "
            f"missing): run `blendnet data fetch {NAME}`, name with --data the folder with {NAME}/, "
            "or name the populations to load"
        )
    hashes, blocks, units, animals, latency = {}, [], [], [], {}
    frames: list[str] | None = None
    for name in wanted:
        path = found.get(name, folder / (name + _SUFFIX))
        n_units, sha256 = POPULATIONS.get(name, (None, None))
        hashes[name] = checked(path, NAME, sha256)
        counts, about = _population(path, n_units)
        if frames is not None and about["frames"] != frames:
            raise not_as_published(path, "its frames are in another order than those before it", NAME)
        frames = about["frames"]
        blocks.append(counts)
        units += [f"{name}/{i}" for i in range(counts.shape[2])]
        animals += [about["animal"]] * counts.shape[2]
        latency[name] = about["latency_ms"]
    stimuli = _stimuli(Path(root) / NAME / "stimuli", frames or [])
    most = max(block.shape[1] for block in blocks)
    trials = np.concatenate(
        [np.pad(b, ((0, 0), (0, most - b.shape[1]), (0, 0)), constant_values=np.nan) for b in blocks], axis=2
    )
    return [
        Recording(
            name=NAME,
            region=REGION,
            stimuli=stimuli,
            trials=trials,
            rdms=None,
            neuroid_ids=tuple(units),
            subjects=tuple(animals),
            species="macaque",
            unit="spikes in 200 ms",
            doi=DOI,
            licence=LICENCE,
            sha256=sha256_of({"responses": hashes, "stimuli": stimuli.sha256}),
            # The counting window starts at each population's own latency: no one window holds for all units.
            window_ms=None,
            about={"files_sha256": hashes, "latency_ms": latency, "integration_ms": 200.0},
        )
    ]


def _population(path: Path, n_units: int | None) -> tuple[np.ndarray, dict[str, Any]]:
    """Counts (220, n_repetitions, n_units) of one file, ordered by zoom, movie, frame, and what it says of
    them."""
    with open_v73(path, NAME) as file:
        try:
            data = file["naturalStruct"]
            responses = data["sortedResponses"]
            about = data["stimulusStruct"]
            categories, scales = texts(file, about["categories"]), texts(file, about["scales"])
            # MATLAB's (scale, category, movie, frame, unit, repeat) comes out of h5py the other way round.
            shape = responses.shape
            if len(shape) != 6 or shape[2:] != (FRAMES, MOVIES, len(categories), len(ZOOMS)):
                problem = f"responses have shape {shape}, expected (repeat, unit, {FRAMES}, {MOVIES}, 3, 2)"
                raise not_as_published(path, problem, NAME)
            if tuple(scales) != ZOOMS or "natural" not in categories:
                raise not_as_published(path, f"scales {scales} and categories {categories} are unexpected", NAME)
            if n_units is not None and shape[1] != n_units:
                raise not_as_published(path, f"{shape[1]} units, expected {n_units}", NAME)
            natural = responses[:, :, :, :, categories.index("natural"), :]
            _strangers.numbers(natural, path, NAME)  # enters no number
            frames = [
                name
                for zoom in scales
                for movie in about[zoom]["natural"]
                for name in texts(file, about[zoom]["natural"][movie]["file_paths"])
            ]
            facts: dict[str, Any] = {
                "frames": frames,
                "animal": text(data["monkey_ID"]),
                "latency_ms": round(float(data["response_latency"][0, 0]) * 1000, 3),
                "integration_ms": float(data["integrationPeriod"][0, 0]) * 1000,
                "area": text(data["cortical_area"]),
            }
        except (KeyError, OSError, AttributeError, TypeError) as error:
            raise not_as_published(path, f"not a recording of this kind ({error})", NAME) from error
    if facts["area"] != REGION or round(facts["integration_ms"], 6) != 200:
        problem = f"area {facts['area']} counted over {facts['integration_ms']} ms, expected V1 over 200 ms"
        raise not_as_published(path, problem, NAME)
    if np.nanmin(natural) < 0 or np.isinf(natural).any() or np.isnan(natural).all(axis=0).any():
        raise not_as_published(path, "a count is negative or infinite, or a unit lacks every trial of a frame", NAME)
    counts = natural.transpose(4, 3, 2, 0, 1).reshape(N_STIMULI, shape[0], shape[1])
    return counts.astype(np.float32), facts


def _stimuli(folder: Path, frames: list[str]) -> Stimuli:
    """The frames that the response files name: '.../stimSelected-zoom1x/movie05-prairie1/natural03.png' is
    stimSelected-zoom1x/movie5/natural03.png on disk."""
    paths, movies, ids = [], [], []
    for frame in frames:
        zoom, movie, name = frame.split("/")[-3:]
        number = int(movie.removeprefix("movie").split("-")[0])
        path = folder / zoom / f"movie{number}" / name
        if not path.is_file():
            raise missing(path, NAME)
        paths.append(path)
        movies.append(number)
        ids.append(f"{NAME}/{zoom.removeprefix('stimSelected-')}/movie{number:02d}/{Path(name).stem}")
    # The axes of the responses are zoom, movie and frame in this order; the names must say the same.
    order = [(z, m, f) for z in ZOOMS for m in range(1, MOVIES + 1) for f in range(1, FRAMES + 1)]
    if ids != [f"{NAME}/{z}/movie{m:02d}/natural{f:02d}" for z, m, f in order]:
        raise not_as_published(folder, "the response files name other frames, or in another order", NAME)

    def read(i: int) -> np.ndarray:
        return image(paths[i].read_bytes(), str(paths[i]), NAME)

    sha256 = pixels_sha256(read, len(paths))
    if sha256 != STIMULI_SHA256:
        raise not_as_published(folder, f"pixels have sha256 {sha256[:12]}…, expected {STIMULI_SHA256[:12]}…", NAME)
    return Stimuli(NAME, tuple(ids), read, np.asarray(movies), DEGREES, sha256)
