"""activations -> scores.csv and layers.csv: commit a layer on half A of the stimuli, report it on half B."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis import tables
from analysis.stats.layers import REGRESSIONS
from blendnet import activations, assembly, models, stored
from blendnet.data.brain.recording import Recording
from blendnet.errors import BlendnetError
from blendnet.files import read_object, sha256_of, write_json
from blendnet.keys import code_version, difference, imported, stale
from blendnet.run import Run
from pipelines import _brainscore_pca, _ceilings, extract, networks, provenance, recordings, scoring
from pipelines.context import Context, say

# What every score runs through; the metric's own files come to it, so that a new metric leaves the others' scores be.
CODE = (
    "pipelines/scoring.py", "analysis/stats/layers.py", "analysis/stats/intervals.py", "analysis/similarity/_splits.py",
    "analysis/similarity/_arrays.py", "analysis/similarity/_ceiling.py", "analysis/similarity/_animals.py",
    "pipelines/_other_animals.py", "pipelines/_ceilings.py",
)  # fmt: skip
# The whitened comparison solves a system of the size of the stimuli in every resample.
WHITENED_STIMULI = 300


def score(context: Context) -> None:
    """Score every selected run, and the pixels, on every recording; then gather the tables."""
    runs: list[Run | None] = [*context.select(context.profile.scored_runs())]
    if context.only in ("*", extract.PIXELS):
        runs.append(None)
    found = recordings.load(context)
    for i in context.turns("score", [run.id if run else extract.PIXELS for run in runs]):
        for recording in found:
            score_run(context, runs[i], recording)
    if context.gathers:
        with context.gathering():
            gather(context)


def metrics_for(context: Context, recording: Recording) -> tuple[str, ...]:
    """The profile's metrics that this recording admits: only RSA where only RDMs were published."""
    chosen = context.profile.metrics
    if recording.rdm_only:
        chosen = tuple(m for m in chosen if m in ("rsa", "rsa_whitened"))
    if len(recording.stimuli) > WHITENED_STIMULI:
        chosen = tuple(m for m in chosen if m != "rsa_whitened")
    if not chosen:
        raise BlendnetError(f"{recording.name} admits none of the profile's metrics; add 'rsa' to them in the sheet")
    return chosen


class Layers(Mapping[str, np.ndarray]):
    """{layer: features (n_stimuli, width)} of a stored extraction, each read when it is asked for and not kept, so that
    scoring holds one layer however many there are.

    folder: the extraction; layers: in their order; order: integer (n_stimuli,), rows of the stored arrays; stamp:
    _stamp of its key when that was read; again: the end of the line of an error. Raises BlendnetError for a layer that
    is damaged (its hash is compared at the first reading), that is no finite float32 of so many stimuli, or where the
    extraction was made anew since: one score must not rest on two of them.
    """

    def __init__(self, folder: Path, layers: Sequence[str], order: np.ndarray, stamp: tuple[int, ...], again: str):
        self._folder, self._layers, self._order, self._again = folder, tuple(layers), order, again
        self._as_stored = np.array_equal(order, np.arange(len(order)))
        self._stamp = stamp
        self._checked: set[str] = set()

    def __getitem__(self, layer: str) -> np.ndarray:
        if layer not in self._layers:
            raise KeyError(layer)
        path, first = self._folder / f"{layer}.npy", layer not in self._checked
        found = activations.load_layer(self._folder, layer) if first else _read(path)
        if _stamp(self._folder / activations.KEY) != self._stamp:
            raise BlendnetError(f"{self._folder} was extracted anew while it was scored; run blendnet score again")
        n = len(self._order)
        right = found.ndim == 2 and len(found) == n and found.dtype == np.float32
        if not right or (first and not np.isfinite(found).all()):
            raise BlendnetError(
                f"{path} is {found.dtype} of shape {found.shape}, not finite float32 numbers of "
                f"{n} stimuli; {self._again} --force"
            )
        self._checked.add(layer)
        return found if self._as_stored else found[self._order]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)


def _stamp(path: Path) -> tuple[int, ...]:
    """What says that a file is still the same one; empty where there is none."""
    try:
        about = path.stat()
    except OSError:
        return ()
    return about.st_ino, about.st_size, about.st_mtime_ns


def _read(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BlendnetError(f"{path} changed while it was scored ({error}); run blendnet score again") from error


def inputs(context: Context, run: Run | None, recording: Recording) -> tuple[Mapping[str, np.ndarray], str, str]:
    """{layer: features (n_stimuli, width)} in the recording's order, the hash of their key, the hash of the weights.

    Activations that are missing, or rest on other weights, stimuli or settings than the sheet's, are refused.
    """
    if run is None:
        features, digest = extract.pixels(context, recording.stimuli)
        return {extract.PIXELS: features}, digest, ""
    again = f"run blendnet extract --profile {context.profile.name}"
    folder = extract.folder(context, run, recording.stimuli)
    if not activations.is_stored(folder):
        raise BlendnetError(f"{run.id} has no activations on {recording.stimuli.name}; {again}")
    stamp = _stamp(folder / activations.KEY)
    found = read_object(folder / activations.KEY, stored.ACTIVATIONS, again)
    differs = difference(found["key"], extract.key_of(context, run, recording.stimuli))
    if differs:
        raise BlendnetError(f"the activations of {run.id} on {recording.stimuli.name} are old ({differs[0]}); {again}")
    if sha256_of(found["stimulus_id"]) != found["key"].get("stimulus_ids"):
        raise BlendnetError(f"{folder / activations.KEY} lists other stimuli than its key is of; {again}")
    order = assembly.match(recording.stimuli.ids, found["stimulus_id"])
    xs = Layers(folder, models.layers(run.network), order, stamp, again)
    return xs, found["sha256"], networks.weights(context, run)


def code_of(metric: str) -> str:
    """Hash of the source that a metric's scores depend on."""
    if metric.startswith("rsa"):
        own = imported("analysis/similarity/rsa_bootstrap.py", "analysis/similarity/rdm_ceiling.py")
    elif metric in REGRESSIONS:
        own = imported(f"analysis/similarity/{metric}.py")
    else:
        base = metric.removesuffix("_reverse")
        files = [
            f"analysis/similarity/{base}.py",
            "analysis/similarity/self_ceiling.py",
            "analysis/stats/half_samples.py",
        ]
        own = imported(*files)
    return code_version(*sorted({*CODE, *own}))


def settings_of(context: Context, metric: str) -> dict[str, Any]:
    """The part of a score's key that is the same for all networks and recordings: rows of others are not gathered."""
    p = context.profile
    return {
        "n_splits": p.n_splits, "split_test": p.split_test, "seed": p.score_seed, "n_bootstrap": p.n_bootstrap,
        "normalisation": scoring.NORMALISATION, "metric": metric, "code": code_of(metric),
    }  # fmt: skip


def key_of(context: Context, activations_key: str, recording: Recording, metric: str) -> dict[str, Any]:
    """Everything that a score depends on."""
    return _without_a_network(context, recording, metric) | {"activations": activations_key}


def kept_ceiling(context: Context, recording: Recording, metric: str) -> scoring.Ceiling:
    """The ceiling of a recording, computed once for all networks."""
    key = _without_a_network(context, recording, metric) | {"region": recording.region}
    return _ceilings.ceiling_of(context, recording, metric, key)


def _without_a_network(context: Context, recording: Recording, metric: str) -> dict[str, Any]:
    """The part of a score's key that is the same for all networks."""
    own = f"blendnet/data/brain/{recording.name.split('-')[0]}.py"
    return settings_of(context, metric) | {
        "recording": recording.sha256, "recording_name": recording.name, "brain_code": code_version(*imported(own)),
    }  # fmt: skip


def hashes_of(weights: str, activations_key: str, recording: Recording, metric: str) -> dict[str, str]:
    """The columns of scores.csv that say what a row rests on."""
    return {
        "weights_sha256": weights, "activations_key": activations_key, "recording_sha256": recording.sha256,
        "code_version": code_of(metric),
    }  # fmt: skip


def score_run(context: Context, run: Run | None, recording: Recording) -> None:
    """All metrics of one run on one recording, one stored piece each; reused if everything under it is equal."""
    name = run.id if run else extract.PIXELS
    xs, activations_key, weights = inputs(context, run, recording)
    said, dead = [], set()
    for metric in metrics_for(context, recording):
        path = context.folder("scores", name, f"{recording.name}-{recording.region}-{metric}.json")
        key = key_of(context, activations_key, recording, metric)
        differs = stale(path, key)
        if differs == [] and not context.force:
            continue
        if differs:
            say(f"  {recording.name}, {metric}: computed anew, differs in {'; '.join(differs[:3])}")
        piece = scoring.compute(context, run, recording, xs, metric, kept_ceiling)
        for row in piece["scores"]:
            row.update(hashes_of(weights, activations_key, recording, metric))
        write_json(path, {"key": key, **piece})
        said += [f"{metric} {r['score']:.3f} ({r['layer']})" for r in piece["scores"] if r["kind"] != "shuffled"]
        dead |= {r["layer"] for r in piece["layers"] if r["score"] is None}
    if said:
        say(f"  {recording.name} {recording.region}: {', '.join(said)}")
    if dead:
        say(f"  no score for {', '.join(sorted(dead))}: the layer gives the same answer to different stimuli")


def _belongs(context: Context, piece: dict[str, Any], names: set[str]) -> bool:
    """Is a stored piece about a recording that the profile lists, or that was asked for? A planted one must be of the
    present design, too: its name says nothing of what it was made from."""
    name = piece["key"]["recording_name"].split("-")[0]
    if name not in names:
        return False
    if name != "planted":
        return True
    design = recordings.planted_design(context)
    made_from = {f"{design.source}:{layer}" for layer in design.layers.values()}
    return all(r.get("region") in design.layers and r.get("planted_layer") in made_from for r in piece["scores"])


def read_piece(path: Path, *, judged: bool = True) -> dict[str, Any]:
    """A stored score; one that is none, or (if judged) whose scores are no numbers of a score's range, is one line."""
    piece = read_object(path, stored.SCORES, "delete it and score again")
    if judged:
        _judge(path, piece)
    return piece


def _judge(path: Path, piece: dict[str, Any]) -> None:
    for kind in ("scores", "layers"):
        try:
            tables.from_rows(piece[kind], kind)
        except BlendnetError as error:
            said = str(error).removesuffix("; make the table again")
            raise BlendnetError(f"{path}: {said}; delete it and score again") from error


def gather(context: Context) -> None:
    """scores.csv and layers.csv from the pieces of every run and recording of the sheet that are there."""
    names = [r.id for r in context.profile.scored_runs()] + [extract.PIXELS]
    wanted = {metric: settings_of(context, metric) for metric in context.profile.metrics}
    asked = recordings.names(context)
    pieces, paths, old, there = [], [], [], set()
    for name in names:
        for path in sorted(context.folder("scores", name).glob("*.json")):
            piece = read_piece(path, judged=False)
            if not _belongs(context, piece, {*asked, *context.profile.recordings}):
                continue
            own = wanted.get(piece["key"].get("metric", ""))
            if own is None or difference({k: piece["key"].get(k) for k in own}, own):
                old.append(f"{name}/{path.stem}")
                continue
            piece["scores"] = [row | _brainscore_pca.columns(context, row) for row in piece["scores"]]
            pieces.append(piece)
            paths.append(path)
            there.add(name)
    if not pieces:
        raise BlendnetError("no network of this profile has been scored; run blendnet score without --only")
    try:  # all at once: a table a piece takes longer than the scoring of a small profile
        made = {
            kind: tables.from_rows([row for piece in pieces for row in piece[kind]], kind)
            for kind in ("scores", "layers")
        }
    except BlendnetError:
        for path, piece in zip(paths, pieces):
            _judge(path, piece)  # which names the file
        raise
    for kind, table in made.items():
        tables.write(table, context.tables / f"{kind}.csv")
    provenance.write(context)
    missing = [n for n in names if n not in there]
    say(f"  scores.csv: {sum(len(p['scores']) for p in pieces)} rows of {len(there)} networks")
    for what, which in (("not scored yet", missing), ("left out, since scored by other settings", old)):
        if which:
            say(f"  {what}: {', '.join(which[:4])}{' and more' if len(which) > 4 else ''}")
