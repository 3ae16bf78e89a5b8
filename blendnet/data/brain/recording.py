"""What a brain recording is, whatever laboratory it comes from."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from blendnet.errors import BlendnetError


@dataclass(frozen=True)
class Stimuli:
    """The images that were shown, in the order of every array about them.

    ids: n_stimuli unique names (`stimulus_id`, the only key by which model and brain are matched);
    read(i): uint8 array of shape (height, width, 3), the i-th image as it was shown;
    groups: n_stimuli integers, stimuli of one group (frames of one clip) are never divided between training and
    test; degrees: width of the image in degrees of visual angle, None where the source does not say;
    sha256: of all pixels in order (hex).
    """

    name: str
    ids: tuple[str, ...]
    read: Callable[[int], np.ndarray]
    groups: np.ndarray
    degrees: float | None
    sha256: str

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Recording:
    """Responses of one region, or its RDMs where only these were published.

    name: unique, e.g. 'cowley2023-210325'; region: 'V1', 'V2', 'V4', 'IT' or 'EVC' (V1-V3 of fMRI);
    trials: float32 of shape (n_stimuli, n_repetitions, n_neuroids), NaN where a repetition was not shown, or None;
    n_repetitions = 1 where only averages were published (`averaged_over` then says of how many);
    rdms: float64 of shape (n_subjects, n_stimuli * (n_stimuli - 1) / 2), upper triangle row by row (scipy
    squareform's order), or None; neuroid_ids: names of the neuroids; subjects: animal or subject of each neuroid, or
    of each RDM. Exactly one of trials and rdms is given.
    """

    name: str
    region: str
    stimuli: Stimuli
    trials: np.ndarray | None
    rdms: np.ndarray | None
    neuroid_ids: tuple[str, ...]
    subjects: tuple[str, ...]
    species: str
    unit: str
    doi: str
    licence: str
    sha256: str
    window_ms: tuple[float, float] | None = None
    averaged_over: int = 1
    planted: bool = False
    about: dict[str, Any] = field(default_factory=dict)

    def mean(self) -> np.ndarray:
        """Responses averaged over the repetitions that were shown; shape (n_stimuli, n_neuroids).

        Raises BlendnetError that names a neuroid and a stimulus without any response (NaN in all repetitions).
        """
        if self.trials is None:
            raise TypeError(f"{self.name} holds RDMs only")
        shown = np.isfinite(self.trials)
        count = shown.sum(axis=1)
        if not count.all():
            stimulus, neuroid = np.argwhere(count == 0)[0]
            raise BlendnetError(
                f"{self.name}: neuroid {self.neuroid_ids[neuroid]!r} has no response to stimulus "
                f"{self.stimuli.ids[stimulus]!r} ({int((count == 0).any(axis=0).sum())} such neuroids); "
                "leave the neuroid or the stimulus out of the recording"
            )
        return np.where(shown, self.trials, 0.0).sum(axis=1) / count

    @property
    def rdm_only(self) -> bool:
        """True where only dissimilarities were published, so that only RSA can score it."""
        return self.trials is None
