"""What the notebooks call. Tables, activations and recordings in, pandas tables and figures out; no torch, no widgets.

_start: where the results lie and what is missing; _tables: choices, profiles of layers, committed layers; _stored:
activations on disk and their RDMs; _neuroids: single neuroids and stimuli of a layer; _pictures: images.
"""

from analysis.notebook._neuroids import Agreement, agreement, best_and_worst, folds, neuroid_figure, neuroid_table
from analysis.notebook._pictures import image_rows, rdm_pair, stimuli_figure
from analysis.notebook._start import TABLES, Place, command, find_root, one_line_errors, quietly, start
from analysis.notebook._stored import layer_rdm, rdm_figure, stored, stored_words
from analysis.notebook._tables import (
    CHANCE,
    accuracy_table,
    committed_table,
    image,
    level_table,
    load,
    metrics,
    networks,
    png,
    profile_figure,
    profile_table,
    profile_words,
    profiles,
    trainings,
)

__all__ = [
    "CHANCE", "TABLES", "Agreement", "Place", "accuracy_table", "agreement", "best_and_worst", "command",
    "committed_table", "find_root", "folds", "image", "image_rows", "layer_rdm", "level_table", "load", "metrics",
    "networks", "neuroid_figure", "neuroid_table", "one_line_errors", "png", "profile_figure", "profile_table",
    "profile_words", "profiles", "quietly", "rdm_figure", "rdm_pair", "start", "stimuli_figure", "stored",
    "stored_words", "trainings",
]  # fmt: skip
