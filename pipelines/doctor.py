"""blendnet doctor: is every stored product of a results folder what was written? Names what is not and the command
that makes it again; with --repair, removes it, so that the next run does.

Everything is judged by hashes that were stored with it, never by times. What an older version stored without a hash is
looked at for what can be seen (readable, of the right shape) and counted.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from analysis import tables
from blendnet import activations, checkpoint, integrity, stored
from blendnet.data.decoding import sha256_pixels
from blendnet.errors import BlendnetError
from blendnet.files import left_over, make_folder, read_object, sha256_file, write_error
from blendnet.training import state
from pipelines._ceilings import FOLDER
from pipelines.draw import DRAWN
from pipelines.sheet import Profile

# What names the list of blends that a training and a prediction rest on.
_KEYED = {"key?": {"manifest?": str, "manifest_sha256?": str}}


@dataclass
class Product:
    """One stored product. wrong: what is wrong with it, '' if nothing; verb: what makes it; files: what --repair
    removes, in this order, so that a kill in between leaves nothing that looks whole; sealed: had it a hash?"""

    path: Path
    verb: str
    wrong: str = ""
    files: list[Path] = field(default_factory=list)
    sealed: bool = True


def doctor(profile: Profile, results: Path, *, repair: bool = False) -> int:
    """Check all products below results (a profile's own folder); returns 0 if all are as written, else 1, or 0 after a
    repair. Raises BlendnetError where there is nothing to check, or a damaged file cannot be removed."""
    if not results.is_dir():
        raise BlendnetError(f"{results} is no folder with results; run blendnet all --profile {profile.name}")
    found = list(products(results))
    damaged = [p for p in found if p.wrong]
    again = []
    for product in damaged:
        command = f"blendnet {product.verb} --profile {profile.name}"
        again.append(command)
        print(f"  damaged: {product.path}: {product.wrong}; again with: {command}", flush=True)
        if repair:
            for path in product.files or [product.path]:
                _remove(path)
    left = _left_over(results)
    for path in left:
        print(f"  left over by a process that is gone: {path}", flush=True)
        if repair:
            _remove(path)
    older = sum(not p.sealed for p in found)
    read = f"; {older} of an older version have no hash and were only read" if older else ""
    print(f"  {len(found)} products, {len(damaged)} damaged, {len(left)} left over{read}", flush=True)
    if damaged or left:
        what = f"run: {'; '.join(dict.fromkeys(again))}" if again else "nothing is lost"
        print(f"  removed; {what}" if repair else f"  `blendnet doctor --profile {profile.name} --repair` removes them")
    return 1 if damaged and not repair else 0


def products(results: Path) -> Iterator[Product]:
    """Every product of a results folder, checked."""
    for folder in _folders(results, "checkpoints/*"):
        yield from _checkpoint(folder)
    for path in sorted(results.glob("cache/*.safetensors")):
        yield Product(path, "predict", _tensors(path))
    for path in sorted(results.glob("manifests/*.csv")):
        yield _manifest(path, results)
    for folder in _folders(results, "predictions/*"):
        yield from _predictions(folder)
    for folder in _folders(results, "activations/*/*"):
        if not folder.name.endswith(".partial"):
            yield from _activations(folder)
    kinds = (("inside", "dissect", stored.INSIDE), ("scores", "score", stored.SCORES),
             ("brainscore_layers", "brainscore-layers", {"key": dict}))  # fmt: skip
    for name, verb, kind in kinds:
        for path in sorted(results.glob(f"{name}/*/*.json")):
            wrong = _raised(read_object, path, kind)
            yield Product(path, f"{verb} --only {path.parent.name}", wrong, sealed=_has_seal(path))
    for path in sorted(results.joinpath(*FOLDER).glob("*.json")):
        yield Product(path, "score", _raised(read_object, path, stored.CEILING), sealed=_has_seal(path))
    yield from _tables(results / "tables")
    yield from _figures(results / "figures")
    page = results / "report.html"
    if page.exists():
        yield Product(page, "report", _raised(integrity.check_page, page), sealed=integrity.page_has_seal(page))


def _checkpoint(folder: Path) -> Iterator[Product]:
    verb = f"train --only {folder.name}"
    unfinished = folder / state.STATE
    if unfinished.exists():
        yield Product(unfinished, verb, _raised(state.check, folder))
    meta_path, weights, log = folder / checkpoint.META, folder / checkpoint.WEIGHTS, folder / "log.csv"
    if not meta_path.exists():
        return
    both = [meta_path, weights]
    wrong = _raised(lambda path: checkpoint.load_meta(path.parent), meta_path)
    yield Product(meta_path, verb, wrong, both, _has_seal(meta_path))
    meta = {} if wrong else checkpoint.load_meta(folder)
    yield _hashed(weights, verb, {weights.name: meta.get("weights_file_sha256")}, both)
    if "log_sha256" in meta:  # imported checkpoints have no log
        yield _hashed(log, verb, {log.name: meta["log_sha256"]}, [*both, log])


def _predictions(folder: Path) -> Iterator[Product]:
    key = folder / "key.json"
    if not key.exists():
        return
    wrong, verb = _raised(read_object, key, stored.PREDICTION), f"predict --only {folder.name}"
    yield Product(key, verb, wrong, sealed=_has_seal(key))
    known = {} if wrong else read_object(key, stored.PREDICTION).get("files", {})
    for name in sorted({*known, *(p.name for p in folder.glob("*.csv"))}):
        yield _hashed(folder / name, verb, known, [key, folder / name])


def _activations(folder: Path) -> Iterator[Product]:
    key = folder / activations.KEY
    if not key.exists():
        return
    wrong, verb = _raised(read_object, key, stored.ACTIVATIONS), f"extract --only {folder.parent.name}"
    yield Product(key, verb, wrong, [key, folder], _has_seal(key))
    info = {} if wrong else read_object(key, stored.ACTIVATIONS)
    seal = folder / integrity.SEAL
    known: dict[str, str] = {}
    if seal.exists():
        wrong = _sealed(seal)
        known = {} if wrong else integrity.sealed(folder)
        yield Product(seal, verb, wrong, [key, folder])
    named = {f"{layer}.npy" for layer in info.get("key", {}).get("layers", ())}
    for name in sorted({*known, *named, *(p.name for p in folder.glob("*.npy"))}):
        product = _hashed(folder / name, verb, known, [key, folder])
        if not product.wrong and not product.sealed and info:
            product.wrong = _array(folder / name, info["n_stimuli"])
        yield product


def _tables(folder: Path) -> Iterator[Product]:
    seal = folder / integrity.SEAL
    known: dict[str, str] = {}
    if seal.exists():
        wrong = _sealed(seal)
        known = {} if wrong else integrity.sealed(folder)
        yield Product(seal, "all", wrong)
    for name in sorted({*known, *(p.name for p in folder.glob("*.csv"))}):
        table = tables.TABLES.get(Path(name).stem)
        product = _hashed(folder / name, table.step.split()[0] if table else "predict", known, [folder / name])
        if table and not product.wrong and not product.sealed:
            product.wrong = _raised(tables.read, folder / name)
        yield product


def _figures(folder: Path) -> Iterator[Product]:
    drawn = folder / DRAWN
    if not drawn.exists():
        return
    wrong = _raised(read_object, drawn, stored.DRAWN)
    yield Product(drawn, "draw", wrong)
    known = {} if wrong else read_object(drawn, stored.DRAWN)["files"]
    for name in sorted(known):
        yield _hashed(folder / name, "draw", known, [drawn, folder / name])


def _manifest(path: Path, results: Path) -> Product:
    """A list of blends is as written if anything that was made from it says so; it is made anew where it differs."""
    wanted = set()
    for meta in [*results.glob("checkpoints/*/meta.json"), *results.glob("predictions/*/key.json")]:
        key = {} if _raised(read_object, meta, _KEYED) else read_object(meta, _KEYED).get("key", {})
        wanted.add(key.get("manifest" if path.stem == "test" else "manifest_sha256"))
    wanted.discard(None)
    found = sha256_file(path)
    wrong = f"sha256 {found[:12]}…, which no result was made with" if wanted and found not in wanted else ""
    return Product(path, "predict" if path.stem == "test" else "train", wrong, sealed=bool(wanted))


def _hashed(path: Path, verb: str, known: Mapping[str, str | None], files: list[Path]) -> Product:
    wanted = known.get(path.name)
    return Product(path, verb, _raised(integrity.check, path, "", known), files, wanted is not None)


def _raised(check, *args) -> str:
    """The error of a check in the words that follow its path; '' if there is none."""
    try:
        check(*args)
    except BlendnetError as error:
        text = str(error).split("; ")[0]
        path = str(args[0])
        return text[text.find(path) + len(path) :].lstrip(": ") if text.startswith(path) else text
    return ""


def _sealed(seal: Path) -> str:
    return _raised(lambda path: integrity.sealed(path.parent), seal)


def _has_seal(path: Path) -> bool:
    return b'"content_sha256"' in path.read_bytes()


def _tensors(path: Path) -> str:
    """What is wrong with a cache of photographs, which carries the hash of its pixels."""
    try:
        with safe_open(path, "pt") as file:
            stored = (file.metadata() or {}).get("sha256")
            return "" if stored == sha256_pixels(file.get_tensor("held")) else "changed after it was written"
    except (SafetensorError, OSError) as error:
        return f"is no whole safetensors file ({error})"


def _array(path: Path, n_stimuli: int) -> str:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        return f"cannot be read ({error})"
    return "" if array.ndim == 2 and len(array) == n_stimuli else f"has shape {array.shape}, not {n_stimuli} rows"


def _folders(results: Path, pattern: str) -> list[Path]:
    return sorted(p for p in results.glob(pattern) if p.is_dir())


def _left_over(results: Path) -> list[Path]:
    """What killed processes left: partial files nobody will finish, and folders of trials."""
    probe = make_folder(results / "locks") / ".doctor.now"
    try:
        probe.touch()
        now = probe.stat().st_mtime  # by the clock of the file server
    except OSError as error:
        raise write_error(probe, error) from error
    finally:
        probe.unlink(missing_ok=True)
    found = [p for folder in [results, *results.rglob("*/")] if folder.is_dir() for p in left_over(folder, now=now)]
    trials = [p for p in results.glob(".trial-*") if p.is_dir() and now - p.stat().st_mtime > 3600]
    return sorted(found + trials)


def _remove(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error
