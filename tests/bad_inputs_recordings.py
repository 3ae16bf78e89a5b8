"""Recordings that are cut, altered, of another kind, or made to do harm. Sessions and populations whose checksums are
not known are read all the same; it is these that a stranger can make."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from tests.bad_inputs import Bad, Room, bad

C = "recordings"
SESSION = "990101"


def jpeg(size: tuple[int, int] = (112, 112), value: int = 90) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(held, "JPEG")
    return held.getvalue()


def session(folder: Path, counts: np.ndarray | None = None, n: int = 4) -> tuple[Path, Path]:
    """A small made-up session in cowley2023's layout; paths of its images and its responses."""
    folder.mkdir(parents=True, exist_ok=True)
    images, responses = folder / f"images_{SESSION}.zip", folder / f"responses_raw_{SESSION}.npy"
    with zipfile.ZipFile(images, "w") as archive:
        for i in range(n):
            archive.writestr(f"image{i:04d}.jpg", jpeg(value=20 * i))
    rng = np.random.default_rng(0)
    np.save(responses, rng.poisson(4, (3, n, 5)).astype(float) if counts is None else counts)
    return images, responses


def load(room: Room) -> Callable[[], object]:
    """`blendnet score` knows the two usual sessions; others are read by the public function."""
    from blendnet.data.brain import cowley2023

    return lambda: cowley2023.load(room.data, sessions=(SESSION,))


def responses(what: str, change: Callable[[np.ndarray], np.ndarray | bytes], *says: str) -> Bad:
    def make(room: Room) -> Callable[[], object]:
        _, path = session(room.data / "cowley2023")
        content = change(np.load(path))
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            np.save(path, content, allow_pickle=True)
        return load(room)

    return Bad(C, f"responses: {what}", make, ("responses_raw", *says))


def _nan(counts: np.ndarray) -> np.ndarray:
    counts[1, 2] = np.nan
    return counts


def _npy(header: str, rest: bytes = b"") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + rest


MORE: tuple[Bad, ...] = (
    responses("an array of pickled objects", lambda x: np.array([{"a": 1}], object), "not a readable array"),
    responses("complex numbers", lambda x: x.astype(complex), "numbers"),
    responses("words", lambda x: x.astype(str), "numbers"),
    responses("of another number of axes", lambda x: x.ravel(), "not an array (neurons, images)"),
    responses("a neuroid that is NaN", _nan, "neuron 1 is NaN in all repeats of image 2"),
    responses("negative counts", lambda x: x - 100, "negative or infinite"),
    responses("infinite counts", lambda x: np.full_like(x, np.inf), "negative or infinite"),
    responses("cut in half", lambda x: _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4, 5)}", bytes(9))),
    responses("no bytes", lambda x: b"", "not a readable array"),
    responses("a header that is code",
              lambda x: _npy("__import__('os').system('touch pwned')"), "not a readable array"),
    responses("of no neurons", lambda x: x[:0], "there is none"),
)  # fmt: skip


def archive(what: str, change: Callable[[Path], None], *says: str) -> Bad:
    def make(room: Room) -> Callable[[], object]:
        path, _ = session(room.data / "cowley2023")
        change(path)
        return load(room)

    return Bad(C, f"images: {what}", make, ("images_", *says))


def _added(name: str, content: bytes, compress: int = zipfile.ZIP_STORED) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with zipfile.ZipFile(path, "a", compress) as held:
            held.writestr(name, content)

    return change


def _encrypted(path: Path) -> None:
    """The flag that says so, in every header: a reader goes by it."""
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.find(mark)
        while place >= 0:
            content[place + at] |= 1
            place = content.find(mark, place + 4)
    path.write_bytes(bytes(content))


def _links(path: Path) -> None:
    info = zipfile.ZipInfo("image0009.jpg")
    info.external_attr = (0o120777) << 16
    with zipfile.ZipFile(path, "a") as held:
        held.writestr(info, "/etc/hostname")


MORE += (
    archive("a name that climbs out of the archive", _added("../../image0009.jpg", jpeg()), "leaves the archive"),
    archive("an absolute name", _added("/tmp/image0009.jpg", jpeg()), "leaves the archive"),
    archive("a name that climbs out the other way", _added("..\\image0009.jpg", jpeg()), "leaves the archive"),
    archive("a link to a file outside", _links, "image"),
    archive("a zip bomb", _added("image0009.jpg", bytes(2**28), zipfile.ZIP_DEFLATED), "too large when unpacked"),
    archive("encrypted", _encrypted, "encrypted"),
    archive("cut in half", lambda p: p.write_bytes(p.read_bytes()[:3000]) and None, "not a readable zip"),
    archive("no bytes", lambda p: p.write_bytes(b"") and None, "not a readable zip"),
    archive("one picture more than responses", _added("image0004.jpg", jpeg()), "holds 5 images"),
    archive("one number twice", _added("more/image0001.jpg", jpeg()), "twice"),
    archive("a picture that is no picture", _added("image0004.jpg", b"no picture")),
    archive("a picture of another size", lambda p: _other_size(p), "(80, 112, 3)"),
    archive("no pictures", lambda p: zipfile.ZipFile(p, "w").close(), "no imageNNNN.jpg"),
)


@bad(C, "responses: to another number of images", "images_990101.zip", "holds 4 images, the responses are to 2")
def fewer(room: Room) -> Callable[[], object]:  # type: ignore[misc]
    _, path = session(room.data / "cowley2023")
    np.save(path, np.load(path)[:, :2])
    return load(room)


@bad(C, "responses: a header that claims 8 TB", "cowley2023", "Unable to allocate")
def too_much(room: Room) -> Callable[[], object]:  # type: ignore[misc]
    _, path = session(room.data / "cowley2023")
    path.write_bytes(_npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000)}"))
    return load(room)


def _other_size(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as held:
        for i in range(4):
            held.writestr(f"image{i:04d}.jpg", jpeg((112, 80)))


def population(folder: Path, name: str = "ay9_u001") -> Path:
    """A small made-up population in henaff2021's layout, for every change below; h5py's axes are MATLAB's reversed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_image_sequences.mat"
    with h5py.File(path, "w") as file:
        data = file.create_group("naturalStruct")
        data["sortedResponses"] = np.ones((2, 3, 11, 10, 3, 2))
        data["monkey_ID"] = np.array([[ord(c)] for c in "ay9"], np.uint16)
        data["cortical_area"] = np.array([[ord(c)] for c in "V1"], np.uint16)
        data["response_latency"], data["integrationPeriod"] = np.array([[0.05]]), np.array([[0.2]])
        about = data.create_group("stimulusStruct")
        for what, words in (("categories", ("natural", "synthetic", "contrast")), ("scales", ("zoom1x", "zoom2x"))):
            about[what] = _cell(file, words)
        for zoom in ("zoom1x", "zoom2x"):
            for movie in range(1, 11):
                frames = [f"/x/stimSelected-{zoom}/movie{movie:02d}-a/natural{f:02d}.png" for f in range(1, 12)]
                about[f"{zoom}/natural/movie{movie:02d}/file_paths"] = _cell(file, frames)
    return path


def _cell(file: h5py.File, words: Any) -> np.ndarray:
    refs = np.empty((len(words), 1), h5py.ref_dtype)
    for i, word in enumerate(words):
        name = f"#refs#/{word.replace('/', '_')}"
        if name not in file:
            file[name] = np.array([[ord(c)] for c in word], np.uint16)
        refs[i, 0] = file[name].ref
    return refs


def hdf5(what: str, change: Callable[[h5py.File], None], *says: str) -> Bad:
    def make(room: Room) -> list[str]:
        path = population(room.data / "henaff2021" / "responses")
        with h5py.File(path, "r+") as file:
            change(file)
        return room.command("score", "--recording", "henaff2021")

    return Bad(C, f"HDF5: {what}", make, ("henaff2021", *says))


def _replace(file: h5py.File, name: str, value: object) -> None:
    del file["naturalStruct"][name]
    file["naturalStruct"][name] = value


def _outside(file: h5py.File) -> None:
    path = Path(file.filename).with_name("other.h5")
    with h5py.File(path, "w") as other:
        other["secret"] = np.ones((2, 3, 11, 10, 3, 2))
    _replace(file, "sortedResponses", h5py.ExternalLink(str(path), "/secret"))


def _storage(file: h5py.File) -> None:
    path = Path(file.filename).with_name("raw.bin")
    path.write_bytes(bytes(2 * 3 * 11 * 10 * 3 * 2 * 8))
    del file["naturalStruct/sortedResponses"]
    file["naturalStruct"].create_dataset(
        "sortedResponses", (2, 3, 11, 10, 3, 2), "f8", external=[(str(path), 0, h5py.h5f.UNLIMITED)]
    )


def _virtual(file: h5py.File) -> None:
    path = Path(file.filename).with_name("other.h5")
    with h5py.File(path, "w") as other:
        other["secret"] = np.ones((2, 3, 11, 10, 3, 2))
    layout = h5py.VirtualLayout((2, 3, 11, 10, 3, 2), "f8")
    layout[:] = h5py.VirtualSource(str(path), "secret", (2, 3, 11, 10, 3, 2))
    del file["naturalStruct/sortedResponses"]
    file["naturalStruct"].create_virtual_dataset("sortedResponses", layout)


def _bomb(file: h5py.File) -> None:
    del file["naturalStruct/sortedResponses"]
    file["naturalStruct"].create_dataset(
        "sortedResponses", (200_000, 1000, 11, 10, 3, 2), "f8", chunks=(100, 100, 11, 10, 1, 1), compression="gzip"
    )


def _circle(file: h5py.File) -> None:
    _replace(file, "monkey_ID", h5py.SoftLink("/naturalStruct/monkey_ID"))
    file["naturalStruct/again"] = file["naturalStruct"]


MORE += (
    hdf5("responses that are a link to another file", _outside, "link to another file"),
    hdf5("responses kept in another file", _storage, "in another file"),
    hdf5("responses put together from another file", _virtual, "other files"),
    hdf5("responses that claim 1 TB", _bomb, "GiB"),
    hdf5("groups and links in a circle", _circle),
    hdf5("responses of another shape", lambda f: _replace(f, "sortedResponses", np.ones((2, 3))), "shape (2, 3)"),
    hdf5("complex responses",
         lambda f: _replace(f, "sortedResponses", np.ones((2, 3, 11, 10, 3, 2), complex)), "complex"),
    hdf5("responses that are words",
         lambda f: _replace(f, "sortedResponses", np.full((2, 3, 11, 10, 3, 2), b"a")), ""),
    hdf5("NaN in all trials of a unit",
         lambda f: _replace(f, "sortedResponses", np.full((2, 3, 11, 10, 3, 2), np.nan)), "NaN in all repeats"),
    hdf5("no responses", lambda f: f["naturalStruct"].__delitem__("sortedResponses"), "sortedResponses"),
    hdf5("another area", lambda f: _replace(f, "cortical_area", np.array([[86], [52]], np.uint16)), "area V4"),
    hdf5("frames that are nowhere", lambda f: None, "is missing"),
    hdf5("frames with names of one part",
         lambda f: _replace(f, "stimulusStruct/zoom1x/natural/movie01/file_paths", _cell(f, ["a"] * 11))),
)  # fmt: skip


def matlab(what: str, make_file: Callable[[Path], None], *says: str, name: str = "henaff2021") -> Bad:
    def make(room: Room) -> list[str]:
        if name == "henaff2021":
            make_file(population(room.data / name / "responses"))
        else:
            (room.data / name).mkdir()
            make_file(room.data / name)
        return room.command("score", "--recording", name)

    return Bad(C, what, make, (name, *says))


def _v5(path: Path) -> None:
    from scipy.io import savemat

    savemat(path, {"naturalStruct": np.ones(3)})


MORE += (
    matlab("a MATLAB v5 file in place of v7.3", _v5, "v7.3"),
    matlab("an HDF5 file cut in half", lambda p: p.write_bytes(p.read_bytes()[:9000]) and None, "v7.3"),
    matlab("a text in place of an HDF5 file", lambda p: p.write_text("none") and None, "v7.3"),
    matlab("a folder with one of its two files",
           lambda f: (f / "92_brainRDMs.mat").write_bytes(b"MATLAB 5.0") and None, "is missing",
           name="kriegeskorte2008"),
    matlab("RDMs with another sha256", lambda f: (f / "target_fmri_92.mat").write_bytes(bytes(99)) and None, "sha256",
           "99 bytes", name="algonauts2019"),
    matlab("a session's images without responses", lambda f: session(f)[1].unlink(), "is missing", name="cowley2023"),
)  # fmt: skip


@bad(C, "the zip of a known session with another sha256", "images_210325.zip", "sha256", "data fetch cowley2023")
def altered(room: Room) -> list[str]:
    images, counts = session(room.data / "cowley2023")
    images.rename(images.with_name("images_210325.zip"))
    counts.rename(counts.with_name("responses_raw_210325.npy"))
    return room.command("score", "--recording", "cowley2023")


def recording(what: str, trials: Callable[[], np.ndarray], *says: str) -> Bad:
    """A made-up recording, scored by the public function of its metric."""

    def make(room: Room) -> Callable[[], object]:
        from blendnet.data.brain import Recording, Stimuli

        held = trials()
        stimuli = Stimuli("made", tuple(f"s{i}" for i in range(len(held))), lambda i: np.zeros((2, 2, 3), np.uint8),
                          np.arange(len(held)), None, "0" * 64)  # fmt: skip
        n = held.shape[2]
        made = Recording(
            "made", "V1", stimuli, held, None, tuple(f"n{i}" for i in range(n)), ("a",) * n, "macaque", "spikes",
            "10.0/0", "none", "0" * 64,
        )  # fmt: skip
        return made.mean

    return Bad(C, f"a recording with {what}", make, says)


def _silent() -> np.ndarray:
    trials = np.ones((4, 3, 2), np.float32)
    trials[2, :, 1] = np.nan
    return trials


MORE += (recording("a neuroid without a response to one stimulus", _silent, "'n1'", "'s2'"),)
