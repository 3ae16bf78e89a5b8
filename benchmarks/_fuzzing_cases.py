"""Strangers' files that are looked at in child processes: valid ones, how they are changed, and who reads them."""

import hashlib
import os
import random
import shutil
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import _fuzzing_hdf5 as hdf5
from benchmarks import _fuzzing_pickle as pickles
from benchmarks import _fuzzing_zip as zips
from benchmarks._fuzzing_bytes import mutated
from benchmarks._fuzzing_child import Case
from blendnet.files import read_json, sha256_file, write_json

# Only the reader that is looked at is imported, inside its function: a child of HDF5 alone begins within a second.


def valid(folder: Path, names: Iterable[str] | None = None) -> None:
    """The valid files of all cases, or of those named, below a folder; made in another process than they are read."""
    from tests.bad_inputs_recordings import session

    wanted = set(cases() if names is None else names)
    if any(name.startswith("HDF5") for name in wanted):
        hdf5.valid(folder)
    if any("session" in name for name in wanted):
        session(folder / "session", n=2)
    if LEGACY in wanted:
        pickles.valid(folder)
    if BRAINIO in wanted:
        from blendnet.data.brain import _brainscore_storage
        from tests import s3_server

        _brainscore_storage.ready()
        made = s3_server.freeman(folder / "storage")
        files = {kind: str(path) for kind, path in made.files.items()}
        write_json(folder / "stand_in.json", {"dataset": made.dataset, "files": files, "sha1": made.sha1})


LEGACY = "legacy checkpoint of both formats: opcodes and members"
BRAINIO = "Brain-Score's downloads: netCDF, stimulus zip, table"


def cases() -> dict[str, Callable[[Path], Case]]:
    """Every reader that is looked at here, by the name of its row."""
    found: dict[str, Callable[[Path], Case]] = {}
    for flavour in hdf5.FLAVOURS:
        found[f"HDF5 {flavour}: bytes"] = lambda folder, f=flavour: _population(folder, f, objects=False)  # type: ignore[misc]
    found["HDF5: objects"] = lambda folder: _population(folder, hdf5.FLAVOURS[0], objects=True)
    found["HDF5 with a published hash: bytes"] = lambda folder: _population(
        folder, hdf5.FLAVOURS[0], objects=False, published=True
    )
    found[LEGACY] = _legacy
    found["stimulus zip of a session"] = _session
    found["stimulus zip of a session with a published hash"] = lambda folder: _session(folder, published=True)
    found[BRAINIO] = _brainio
    return found


def _session(folder: Path, *, published: bool = False) -> Case:

    from blendnet.data.brain import cowley2023

    warnings.simplefilter("ignore")  # Python's, of two members of one name that are made here
    place = folder / f"read-{published}"
    shutil.copytree(folder / "session", place / "cowley2023", dirs_exist_ok=True)
    (images,) = (place / "cowley2023").glob("images_*.zip")
    session = images.stem.removeprefix("images_")
    if published:
        cowley2023.SHA256 = {images.name: sha256_file(images)}

    def read() -> tuple[str, str]:
        (found,) = cowley2023.load(place, sessions=(session,))
        assert found.trials is not None
        numbers = hashlib.sha256(found.trials.tobytes())
        for i in range(len(found.stimuli)):
            numbers.update(found.stimuli.ids[i].encode() + found.stimuli.read(i).tobytes())
        return numbers.hexdigest(), found.sha256

    return Case(images, lambda content, rng: images.write_bytes(zips.changed(content, rng)) and None, read)


def _brainio(folder: Path) -> Case:
    """Brain-Score's own folder of downloads, with stand-ins of the public benchmarks; nothing can be fetched again."""
    os.environ |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"}
    from blendnet.data.brain import _brainscore_storage, freemanziemba2013public
    from tests import s3_server

    _brainscore_storage.ready()
    from brainscore_core.supported_data_standards.brainio import assemblies

    made = read_json(folder / "stand_in.json")
    files_of = {kind: Path(path) for kind, path in made["files"].items()}
    stand_in = s3_server.StandIn(made["dataset"], files_of, made["sha1"], [], [], {}, np.empty(0), [])
    s3_server.register(stand_in, dict.__setitem__)
    source = freemanziemba2013public.SOURCE
    freemanziemba2013public.SOURCE = replace(source, counts={r: s3_server.COUNTS[r] for r in source.counts})
    home = folder / "brainio"
    s3_server.fill_cache(home, stand_in)
    files = {kind: home / stand_in.sha1[kind] / path.name for kind, path in stand_in.files.items()}
    contents = {kind: path.read_bytes() for kind, path in files.items()}
    open_netcdf = assemblies.xr.open_dataarray

    def opened(path: Path, **how: object) -> object:
        if Path(path).read_bytes() != contents["nc"]:
            raise RuntimeError("a changed assembly was opened by the netCDF library")
        return open_netcdf(path, **how)

    assemblies.xr.open_dataarray = opened

    def change(_: bytes, rng: random.Random) -> None:
        for kind, path in files.items():  # what was refused was removed
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(contents[kind])
        kind = rng.choice(("nc", "zip", "zip", "csv", "unpacked"))
        if kind == "unpacked":
            some = sorted(files["zip"].with_suffix("").glob("*.png"))
            if some:
                path = rng.choice(some)
                path.write_bytes(mutated(path.read_bytes(), rng))
            return
        changes = zips.changed if kind == "zip" else mutated
        files[kind].write_bytes(changes(contents[kind], rng))

    def read() -> tuple[str, str]:
        (found,) = freemanziemba2013public.load(folder, regions=("V1",), home=home)
        assert found.trials is not None
        numbers = hashlib.sha256(found.trials.tobytes() + found.stimuli.sha256.encode())
        return numbers.hexdigest(), found.sha256

    return Case(files["nc"], change, read)


def _legacy(folder: Path) -> Case:
    from blendnet import legacy

    place = folder / "legacy"
    place.mkdir(exist_ok=True)
    file, mark = place / "original_blended.pth", place / pickles.MARK
    contents = {kind: (folder / f"{kind}.pth").read_bytes() for kind in ("zip", "old")}
    file.write_bytes(contents["zip"])

    def change(_: bytes, rng: random.Random) -> None:
        make = rng.choice((pickles.zipped, pickles.old))
        file.write_bytes(make(contents["zip" if make is pickles.zipped else "old"], rng, mark))

    def read() -> tuple[str, str]:
        try:
            found = legacy.read(file)
            tensors = legacy.renamed(found["state_dict"])
            about = legacy.recognise(tensors, file)
            held = [(name, tuple(t.shape), t.tolist()) for name, t in tensors.items()]
        finally:
            # Also where it is refused in the end: what ran, ran.
            if [p.name for p in place.iterdir()] != [file.name]:
                raise RuntimeError(f"files appeared: {sorted(p.name for p in place.iterdir())}")
        numbers = hashlib.sha256(repr((held, about, found["epoch"], found["learning_rate"])).encode()).hexdigest()
        return numbers, numbers  # a checkpoint is known by its numbers

    return Case(file, change, read)


def _population(folder: Path, flavour: str, *, objects: bool, published: bool = False) -> Case:

    from blendnet.data.brain import henaff2021
    from blendnet.data.brain.recording import Stimuli

    name = "ay9_u001"
    home = folder / "henaff2021" / "responses"
    home.mkdir(parents=True, exist_ok=True)
    file = hdf5.rewrite(folder / "population.mat", home / f"{name}_image_sequences.mat", flavour)
    where = hdf5.places(file)
    if published:
        henaff2021.POPULATIONS = {name: (3, sha256_file(file))}
    read_frames = henaff2021._stimuli

    def stimuli(place: Path, frames: list[str]) -> Stimuli:
        # The 220 pictures are hashed whatever the file says, which is no part of this: their names are.
        if frames == right:
            return Stimuli("made", tuple(map(str, range(220))), lambda i: None, np.arange(220), None, "0" * 64)  # type: ignore[arg-type,return-value]
        return read_frames(place, frames)

    right = henaff2021._population(file, None)[1]["frames"]
    henaff2021._stimuli = stimuli

    def change(content: bytes, rng: random.Random) -> None:
        file.write_bytes(content if objects else hdf5.changed(content, rng, where))
        if objects:
            hdf5.other_objects(file, rng)

    def read() -> tuple[str, str]:
        (found,) = henaff2021.load(folder, populations=(name,))
        assert found.trials is not None
        numbers = hashlib.sha256(repr(found.trials.shape).encode() + found.trials.tobytes()).hexdigest()
        return numbers, found.sha256

    return Case(file, change, read)
