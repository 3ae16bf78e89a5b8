"""HDF5 files changed where their parser decides: object headers, trees, heaps, chunks, and whole objects for others."""

import random
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np

from benchmarks._fuzzing_bytes import INTERESTING, mutated

# HDF5 file format specification, version 3: superblock, group nodes, trees, heaps, object headers of both kinds.
MARKS = (b"\x89HDF", b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"BTHD", b"BTLF", b"FSHD")
NEAR = 160  # bytes after such a place, in which most of its fields lie
FLAVOURS = ("as MATLAB writes", "in packed chunks", "of the newest format, with checksums")


def rewrite(source: Path, target: Path, flavour: str) -> Path:
    """The same groups and numbers as HDF5 libraries of other ages store them; references become those of the copy."""
    newest = flavour == FLAVOURS[2]
    with h5py.File(source, "r") as old, h5py.File(target, "w", libver="latest" if newest else "earliest") as new:
        waiting: list[tuple[str, np.ndarray]] = []

        def copy(name: str, held: h5py.Group | h5py.Dataset) -> None:
            if isinstance(held, h5py.Group):
                new.require_group(name)
            elif held.dtype == h5py.ref_dtype:
                waiting.append((name, held[()]))
            else:
                large = held.size > 100 and flavour != FLAVOURS[0]
                more = {"compression": "gzip", "shuffle": True, "fletcher32": newest} if large else {}
                new.create_dataset(name, data=held[()], **more)

        old.visititems(copy)
        for name, refs in waiting:
            there = np.empty(refs.shape, h5py.ref_dtype)
            for at in np.ndindex(*refs.shape):
                there[at] = new[old[refs[at]].name].ref
            new[name] = there
    return target


def places(path: Path) -> list[int]:
    """Where the structures of a valid file begin: signatures, and object headers of the first kind, which have none."""
    content = path.read_bytes()
    found = {0}
    for mark in MARKS:
        at = content.find(mark)
        while at >= 0:
            found.add(at)
            at = content.find(mark, at + 1)
    with h5py.File(path, "r") as file:
        names: list[str] = []
        file.visit(names.append)
        found |= {h5py.h5o.get_info(file[name].id).addr for name in ("/", *names)}
    return sorted(found)


def changed(content: bytes, rng: random.Random, where: list[int]) -> bytes:
    """One to four fields of structures set to what a parser may stumble over: sizes, counts, versions, and addresses
    (of nothing, of itself, of another structure). One file in five gets changes anywhere instead."""
    if rng.random() < 0.2:
        return mutated(content, rng)
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        start = rng.choice(where)
        at = min(start + (rng.randrange(16) if rng.random() < 0.3 else rng.randrange(NEAR)), len(found) - 9)
        kind = rng.randrange(6)
        if kind == 0:
            found[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            found[at] = rng.choice((*INTERESTING, rng.randrange(256)))
        elif kind == 2:
            struct.pack_into("<H", found, at, rng.choice((0, 1, 2, 16, 255, 0x7FFF, 0xFFFF)))
        elif kind == 3:
            struct.pack_into("<I", found, at, rng.choice((0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1)))
        else:  # addresses and lengths have eight bytes, most of them at places that eight divides
            place = start + (at - start) // 8 * 8
            near = (start, rng.choice(where), rng.choice(where) + 8, len(found), len(found) - 8)
            value = rng.choice((0, 1, 2**31, 2**32 + 1, 2**63 - 1, 2**64 - 1, *near))
            struct.pack_into("<Q", found, min(place, len(found) - 8), value % 2**64)
    return repaired(bytes(found), content) if rng.random() < 0.8 else bytes(found)


def lookup3(data: bytes) -> int:
    """Bob Jenkins' hash (2006, public domain; burtleburtle.net/bob/c/lookup3.c), HDF5's checksum of its structures."""

    def turned(x: int, k: int) -> int:
        return ((x << k) | (x >> (32 - k))) & 0xFFFFFFFF

    a = b = c = (0xDEADBEEF + len(data)) & 0xFFFFFFFF
    whole = max(0, (len(data) - 1) // 12) * 12
    for x, y, z in struct.iter_unpack("<III", data[:whole]):
        a, b, c = (a + x) & 0xFFFFFFFF, (b + y) & 0xFFFFFFFF, (c + z) & 0xFFFFFFFF
        for k in (4, 6, 8, 16, 19, 4):  # the three change places after each step
            a = ((a - c) & 0xFFFFFFFF) ^ turned(c, k)
            c = (c + b) & 0xFFFFFFFF
            a, b, c = b, c, a
    if len(data) > whole:
        x, y, z = struct.unpack("<III", data[whole:].ljust(12, b"\0"))
        a, b, c = (a + x) & 0xFFFFFFFF, (b + y) & 0xFFFFFFFF, (c + z) & 0xFFFFFFFF
        for k in (14, 11, 25, 16, 4, 14, 24):
            c = ((c ^ b) - turned(b, k)) & 0xFFFFFFFF
            a, b, c = b, c, a
        a, b, c = c, a, b
    return c


def sealed_blocks(content: bytes) -> list[tuple[int, int]]:
    """(begin, place of the checksum) of the structures of the newest format whose length is in their first bytes: the
    superblock, object headers, and headers of trees."""
    found = [(0, 44)] if content[8:9] in (b"\2", b"\3") else []
    for mark in (b"OHDR", b"BTHD"):
        at = content.find(mark)
        while at >= 0:
            if mark == b"BTHD":
                found.append((at, at + 34))
            elif at + 24 < len(content):
                flags = content[at + 5]
                place = at + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
                width = 1 << (flags & 3)
                found.append((at, place + width + int.from_bytes(content[place : place + width], "little")))
            at = content.find(mark, at + 1)
    return [(begin, end) for begin, end in found if end + 4 <= len(content)]


def repaired(content: bytes, before: bytes) -> bytes:
    """Changed structures with checksums that fit, as one would write them who wants to be read."""
    found = bytearray(content)
    for begin, end in sealed_blocks(content):
        if content[begin:end] != before[begin:end]:
            struct.pack_into("<I", found, end, lookup3(bytes(found[begin:end])))
    return bytes(found)


def _odd_values(rng: random.Random) -> object:
    """What a data set may hold that is not what was asked for."""
    text = h5py.string_dtype()
    return rng.choice((
        lambda: np.float64(1.5), lambda: np.zeros((0,)), lambda: np.zeros((0, 3)), lambda: np.full((2, 2), np.nan),
        lambda: np.array([[2**63 - 1]]), lambda: np.array([[0xD800]], np.uint16), lambda: np.array([[0x110000]]),
        lambda: np.array([[-1]]), lambda: np.array([[1e300]]), lambda: np.array([[1 + 2j]]),
        lambda: np.array([b"a", b"bc"]), lambda: np.array(["x" * 5000], dtype=text), lambda: h5py.Empty("f8"),
        lambda: np.zeros(3, [("a", "f4"), ("b", "i8")]), lambda: np.zeros(2, "V7"), lambda: np.array([True, False]),
        lambda: np.full((11, 1), h5py.Reference(), h5py.ref_dtype), lambda: np.zeros((2, 3, 11, 10, 3, 2), ">i2"),
        lambda: np.ones((2, 3, 11, 10, 3, 2), np.float16), lambda: np.ones((1,) * 32),
    ))()  # fmt: skip


def other_objects(path: Path, rng: random.Random) -> None:
    """One or two objects of a valid file removed, replaced, linked elsewhere within it, or stored in another way."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        names = [name for name in names if not name.startswith("#refs#/")] + rng.sample(names, 3)
        for _ in range(rng.choice((1, 1, 2))):
            # After a first change a second may ask for what is gone, or follow a link in a circle.
            with suppress(RuntimeError, KeyError, ValueError, TypeError, OSError):
                _other_object(file, rng.choice(names), names, rng)


def _other_object(file: h5py.File, name: str, names: list[str], rng: random.Random) -> None:
    held = file[name]
    kind = rng.randrange(7)
    if kind == 0:
        del file[name]
    elif kind == 1:
        del file[name]
        file[name] = _odd_values(rng)
    elif kind == 2:
        del file[name]
        file[name] = h5py.SoftLink(rng.choice(("/", f"/{name}", f"/{rng.choice(names)}", "/nowhere")))
    elif kind == 3 and isinstance(held, h5py.Dataset):
        del file[name]
        file.create_group(name)
    elif kind == 4:
        file[f"{name}{rng.choice((' ', chr(0x202E), 'é', 'x' * 300))}"] = held
    elif isinstance(held, h5py.Dataset) and held.dtype == h5py.ref_dtype:
        _aims_elsewhere(file, held, rng)
    elif isinstance(held, h5py.Dataset) and held.size:
        values = held[()]
        del file[name]
        _stored_otherwise(file, name, values, rng)


def _aims_elsewhere(file: h5py.File, held: h5py.Dataset, rng: random.Random) -> None:
    refs = held[()]
    at = tuple(rng.randrange(n) for n in refs.shape)
    refs[at] = rng.choice((h5py.Reference(), file.ref, held.ref, file["naturalStruct"].ref))
    held[...] = refs


def _stored_otherwise(file: h5py.File, name: str, values: np.ndarray, rng: random.Random) -> None:
    ways: tuple[Callable[[], object], ...] = (
        lambda: file.create_dataset(name, data=values, maxshape=(None,) * values.ndim, chunks=True),
        lambda: file.create_dataset(name, shape=values.shape, dtype=values.dtype, chunks=True, fillvalue=None),
        lambda: file.create_dataset(name, data=values, compression="lzf", chunks=True),
        lambda: file.create_dataset(name, data=np.moveaxis(values, 0, -1)),
        lambda: file.create_dataset(name, data=values[..., :1]),
        lambda: file.create_dataset(name, data=np.concatenate([values, values])),
        lambda: file.create_dataset(name, data=values.astype(rng.choice(("f2", "i1", "c8", "S3", ">f4")))),
        lambda: file.create_dataset(name, shape=(2**40, *values.shape[1:]), dtype=values.dtype, chunks=(1, *values.shape[1:])),  # noqa: E501
    )  # fmt: skip
    with np.errstate(invalid="ignore"):
        rng.choice(ways)()


def valid(folder: Path) -> Path:
    """folder/population.mat: a small population of henaff2021's layout, of whose counts no two parts are alike."""
    from tests.bad_inputs_recordings import population

    folder.mkdir(parents=True, exist_ok=True)
    path = population(folder).rename(folder / "population.mat")
    with h5py.File(path, "r+") as file:
        counts = file["naturalStruct/sortedResponses"]
        counts[...] = np.random.default_rng(0).poisson(9, counts.shape)
    return path
