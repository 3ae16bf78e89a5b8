"""What the JSON files of a results folder hold, each as `blendnet.files.read_object` asks it of them.

Only what some reader takes for granted is named. A user, a crash or another version may have changed every one of
these files; those that hold a key carry a hash of their content besides.
"""

from dataclasses import fields
from typing import Any

from blendnet._kinds import AMOUNT
from blendnet.run import Recipe

Kind = dict[Any, Any]
_HASHES: Kind = {str: str}

SEALED: Kind = {"files?": _HASHES}  # sha256.json beside tables and layers
DRAWN: Kind = {"files": _HASHES}  # figures/drawn.json
PREDICTION: Kind = {
    "key": {"run?": str, "photos": str, "manifest?": str}, "parameters": int, "flops": int, "files?": _HASHES,
}  # fmt: skip
ACTIVATIONS: Kind = {"key": {"layers": [str]}, "sha256": str, "n_stimuli": int, "stimulus_id": [str]}
PROGRESS: Kind = {"key": dict, "done": int}  # of an extraction that was broken off
SCORES: Kind = {
    "key": {"recording_name": str, "metric?": str}, "scores": [dict], "layers": [dict], "samples?": [(float, None)],
}  # fmt: skip
CEILING: Kind = {
    "key": dict, "ceiling": (float, None), "ceiling_lo": (float, None), "ceiling_hi": (float, None),
    "samples": [(float, None)],
}  # fmt: skip
INSIDE: Kind = {"key": dict, "superposition?": [dict], "decoding?": [dict], "attention_maps?": [dict]}
PLAN: Kind = {"budget_s": AMOUNT, "epochs": int, "sheet_recipe": dict, "runs": dict}
# jobs/VERB.json: the jobs of a verb's units; jobs/VERB-RUN.json: how a unit ended.
BOOK: Kind = {"units": {str: {"job": str, "token": str, "about?": str}}}
NOTE: Kind = {
    "status?": str, "basis?": str, "token?": str, "products?": {str: [int]}, "rests_on?": str,
    "seconds?": (AMOUNT, None), "error?": str, "said?": str, "job?": str, "host?": str, "exit?": float,
}  # fmt: skip
LOCK: Kind = {"word?": str, "host?": str, "name?": str, "pid?": int, "began?": (str, None), "job?": str}
TRACKED: Kind = {"wandb.json": {"id": str}, "mlflow.json": {"id": str, "uri": str}}
# In the state of an unfinished training, which is no JSON itself.
EPOCHS: Kind = {"epoch?": int, "best_epoch?": float, "best?": ([float], None), "seconds?": AMOUNT, "log?": [dict]}
BEGIN = "delete it, the training starts from its beginning"

_PARTS: Kind = {str: str, bool: bool, int: int, float: AMOUNT}
# Which names there are is a matter of the version: who makes a Recipe of it says so.
RECIPE: Kind = {f"{f.name}?": _PARTS.get(f.type, [float]) for f in fields(Recipe)}

# What a meta.json says of its training, where it does.
TRAINING: Kind = {
    "key?": dict, "recipe?": RECIPE, "epoch?": int, "epochs_trained?": int, "seconds?": (AMOUNT, None),
    "processes?": int, "surroundings?": dict, "log_sha256?": str, "network?": str, "attention?": str, "heads?": int,
}  # fmt: skip
# And of one that was imported, so that its network can be built anew.
IMPORTED: Kind = {
    "network": str, "attention": str, "heads": int, "origin": {"file": str, "sha256": str},
    "legacy_build": {"dk": int, "dv": int, "maps": [int], "legacy_strides": bool, "normalisation": str},
}  # fmt: skip
# And of one that tables/provenance.json tells of.
TOLD: Kind = {"epoch": int, "seconds": (AMOUNT, None), "recipe": RECIPE, "key": {"photos_sha256": str}}
# tables/provenance.json: the same of all trainings, for where the checkpoints are gone.
PROVENANCE: Kind = {
    "surroundings?": dict,
    "trained?": {
        str: {
            "recipe?": RECIPE, "seconds?": (AMOUNT, None), "processes?": int, "weights_sha256?": str,
            "photos_sha256?": str,
        }
    },
}  # fmt: skip
