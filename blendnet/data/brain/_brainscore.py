"""Brain-Score's public benchmarks as recordings (Schrimpf et al. 2018, doi 10.1101/407007; 2020, doi
10.1016/j.neuron.2020.07.040), read by brainscore_vision's own code.

Windows, averaging, degrees and cross-validation are taken from the benchmark objects, so that a score on the splits
carried in `about` is Brain-Score's raw score.
"""

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from blendnet.data.brain import _brainscore_storage as storage
from blendnet.data.brain._checked import pixels_sha256
from blendnet.data.brain.placement import MODEL_DEGREES
from blendnet.data.brain.recording import Recording, Stimuli
from blendnet.errors import BlendnetError, unknown
from blendnet.files import sha256_of


@dataclass(frozen=True)
class Source:
    """One data set of Brain-Score and what is known of it.

    loader: module with Brain-Score's load_assembly; counts: region -> (stimuli, neuroids); degrees: width of a stimulus
    as shown, in degrees of visual angle; window_ms: from stimulus onset; stratify: column whose values keep their
    proportions in every split.
    """

    name: str
    dataset: str
    stimulus_set: str
    benchmarks: Mapping[str, str]
    loader: str
    counts: Mapping[str, tuple[int, int]]
    degrees: float
    window_ms: tuple[float, float]
    stratify: str
    doi: str
    licence: str
    unit: str


@contextlib.contextmanager
def benchmark(source: Source, region: str, root: Path, *, home: Path | None = None) -> Iterator[Any]:
    """Brain-Score's own benchmark object, e.g. to call benchmark(model) on it or to ask its .ceiling.

    root: the data folder of --data; home: where downloads lie (see _brainscore_storage.home). Within the block
    Brain-Score's result cache is off. Raises BlendnetError in one line without a network, for a wrong sha1 and for a
    download that ended early.
    """
    if region not in source.benchmarks:
        raise unknown(f"region of {source.name}", region, source.benchmarks)
    where = storage.home(root, home)
    with storage.opened(where, source.stimulus_set, source.dataset) as brainscore:
        yield brainscore.load_benchmark(source.benchmarks[region])


def load(
    source: Source, root: Path, *, regions: tuple[str, ...] | None = None, home: Path | None = None
) -> list[Recording]:
    """One recording a region: trials (n_stimuli, n_repetitions, n_neuroids), the mean over the benchmark's window, NaN
    where a repetition was not shown; axis 1 in the order of Brain-Score's repetition numbers.

    The stimuli are in the order of the benchmark's averaged assembly, on which its splits are drawn; `read` gives them
    as Brain-Score puts them on a grey screen of 8 degrees (the recording's own degrees are in
    about['shown_degrees']). about['stratify'], about['splits']: labels and settings of its cross-validation; pass
    them on and PLS gives its raw score. Errors as in `benchmark`, and BlendnetError where counts, window or averages
    are not the published ones.
    """
    found: list[Recording] = []
    stimuli: Stimuli | None = None
    for region in regions or tuple(source.benchmarks):
        with benchmark(source, region, root, home=home) as bench:
            averaged = bench._assembly
            loader = import_module(source.loader)
            presented = loader.load_assembly(average_repetitions=False, region=region, access="public")
            _check(source, region, bench)
            ids = tuple(str(name) for name in averaged["stimulus_id"].values)
            if stimuli is None or stimuli.ids != ids:
                stimuli = _stimuli(source, averaged.attrs["stimulus_set"], ids)
            trials = _trials(presented, ids)
            found.append(_recording(source, region, bench, averaged, stimuli, trials))
    return found


def splits_of(recording: Recording) -> dict[str, Any]:
    """Arguments of analysis.similarity._splits.shuffle_splits that give Brain-Score's own splits of this recording:
    n_splits, test_size, seed and stratify (n_stimuli labels). Raises BlendnetError for another recording."""
    if "stratify" not in recording.about:
        raise BlendnetError(f"{recording.name} is none of Brain-Score's benchmarks; its splits are the sheet's")
    return {**recording.about["splits"], "stratify": np.asarray(recording.about["stratify"])}


def _check(source: Source, region: str, bench: Any) -> None:
    """Raise where the benchmark is not the published one: counts, region, window, degrees."""
    numbers = re.findall(r"\d+\.?\d*", str(np.asarray(bench.timebins[0]).tolist()))
    found = {
        "stimuli and neuroids": bench._assembly.shape,
        "region": str(bench.region),
        "window in ms": tuple(float(x) for x in numbers),
        "degrees": float(bench._visual_degrees),
    }
    expected = {
        "stimuli and neuroids": source.counts[region],
        "region": region,
        "window in ms": source.window_ms,
        "degrees": source.degrees,
    }
    for what, value in expected.items():
        if found[what] != value:
            raise BlendnetError(
                f"{source.benchmarks[region]}: {what} {found[what]}, expected {value}; "
                "install the brainscore-vision of requirements.lock"
            )


def _trials(presented: Any, ids: tuple[str, ...]) -> np.ndarray:
    """Presentations (n_presentations, n_neuroids) -> (n_stimuli, n_repetitions, n_neuroids) float32."""
    values = np.asarray(presented.transpose("presentation", "neuroid").values)
    place = {name: i for i, name in enumerate(ids)}
    stimulus = np.array([place[str(name)] for name in presented["stimulus_id"].values])
    repetition = np.unique(presented["repetition"].values, return_inverse=True)[1]
    if len(np.unique(np.stack([stimulus, repetition]), axis=1).T) < len(stimulus):
        # Two presentations under one number: numbered anew for each stimulus, so that none is lost.
        order = np.lexsort((repetition, stimulus))
        first = np.searchsorted(stimulus[order], stimulus[order])
        repetition[order] = np.arange(len(order)) - first
    trials = np.full((len(ids), int(repetition.max()) + 1, values.shape[1]), np.nan, dtype=np.float32)
    trials[stimulus, repetition] = values
    return trials


def _stimuli(source: Source, stimulus_set: Any, ids: tuple[str, ...]) -> Stimuli:
    paths = [Path(stimulus_set.get_stimulus(name)) for name in ids]
    read = partial(_on_screen, paths, source.degrees)
    return Stimuli(source.name, ids, read, np.arange(len(ids)), MODEL_DEGREES, pixels_sha256(read, len(ids)))


def _on_screen(paths: list[Path], degrees: float, i: int) -> np.ndarray:
    """The i-th stimulus on a screen of MODEL_DEGREES, drawn by Brain-Score's own converter; uint8 (h, w, 3)."""
    storage.ready()
    from brainscore_vision.benchmark_helpers.screen import ImageConverter

    with Image.open(paths[i]) as image:
        screen = image
        if degrees != MODEL_DEGREES:
            screen = ImageConverter(target_dir=".").apply_ratio(image, MODEL_DEGREES / degrees)
        return np.asarray(screen.convert("RGB"), dtype=np.uint8)


def _recording(
    source: Source, region: str, bench: Any, averaged: Any, stimuli: Stimuli, trials: np.ndarray
) -> Recording:
    cross_validation = bench._similarity_metric.cross_validation
    splitter = cross_validation._split._split
    n_neuroids = trials.shape[2]
    subjects = averaged["animal"].values if hasattr(averaged, "animal") else [source.name] * n_neuroids
    digest = hashlib.sha256(np.ascontiguousarray(trials).tobytes()).hexdigest()
    about = {
        "benchmark": source.benchmarks[region],
        "shown_degrees": source.degrees,
        "stratify_by": cross_validation._stratification_coord,
        "stratify": tuple(averaged[cross_validation._stratification_coord].values.tolist()),
        "splits": {
            "n_splits": int(splitter.n_splits),
            "test_size": round(1 - float(splitter.train_size), 10),
            "seed": int(splitter.random_state),
        },
        # How the benchmark's own ceiler divides repetitions: split_half(..., by=) in analysis.similarity._ceiling.
        "ceiling_by": "repetition",
    }
    recording = Recording(
        name=f"{source.name}-{region}",
        region=region,
        stimuli=stimuli,
        trials=trials,
        rdms=None,
        neuroid_ids=tuple(str(name) for name in averaged["neuroid_id"].values),
        subjects=tuple(str(name) for name in subjects),
        species="macaque",
        unit=source.unit,
        doi=source.doi,
        licence=source.licence,
        sha256=sha256_of(
            {"trials": digest, "stimuli": stimuli.sha256, "splits": about["splits"], "by": about["stratify_by"]}
        ),
        window_ms=source.window_ms,
        about=about,
    )
    if not np.allclose(recording.mean(), averaged.transpose("presentation", "neuroid").values, rtol=1e-4, atol=1e-5):
        raise BlendnetError(
            f"{recording.name}: the mean of the repetitions is not the benchmark's; "
            "install the brainscore-vision of requirements.lock"
        )
    return recording
