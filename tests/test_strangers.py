"""Files of strangers cannot run code, write outside their place, bring other files in, or fill the memory."""

import ast
import io
import os
import pickle
import shutil
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from blendnet import _legacy_file, assembly, checkpoint, legacy
from blendnet.data import brain
from blendnet.data._download import unpack
from blendnet.data.brain import _brainscore_storage, cowley2023, henaff2021
from blendnet.data.sources import cifar10, imagefolder
from blendnet.errors import BlendnetError
from blendnet.files import read_json
from pipelines.import_legacy import import_legacy
from tests.bad_inputs_legacy import Runs, small
from tests.bad_inputs_recordings import population, session

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that a pickle would make if its code ran; the payload is tried out here, where it must work."""
    path = tmp_path / "pwned"
    pickle.loads(pickle.dumps(Runs(f"touch {path}")))
    assert path.exists()
    path.unlink()
    monkeypatch.chdir(tmp_path)
    return path


def payloads(mark: Path) -> dict[str, bytes]:
    """The same command in pickles of several kinds: by protocol, as an old INST, and through a builtin."""
    command = f"touch {mark}"
    found = {f"protocol {p}": pickle.dumps(Runs(command), protocol=p) for p in range(pickle.HIGHEST_PROTOCOL + 1)}
    found["INST"] = b"(S" + repr(command).encode() + b"\nios\nsystem\n."
    found["exec"] = b"cbuiltins\nexec\n(S" + repr(f"import os; os.system({command!r})").encode() + b"\ntR."
    found["getattr"] = b"cbuiltins\ngetattr\n(cos\nsystem\nS'__call__'\ntR(S" + repr(command).encode() + b"\ntR."
    return found


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(BlendnetError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


# ---------------------------------------------------------------- pickles


def test_no_reader_runs_a_pickle(mark: Path, tmp_path: Path) -> None:
    """Every file that the program opens, replaced by each of the pickles."""
    data = tmp_path / "data"
    batch = data / "cifar-10-batches-py" / "data_batch_1"
    _, counts = session(data / "cowley2023")
    spikes = population(data / "henaff2021" / "responses")
    weights = tmp_path / "run" / "weights.safetensors"
    paths = {
        tmp_path / "a.pth": lambda: legacy.read(tmp_path / "a.pth"),
        tmp_path / "b.pth": lambda: import_legacy(tmp_path / "b.pth", results=tmp_path / "r", training="blended"),
        tmp_path / "c.npz": lambda: assembly.load(tmp_path / "c.npz"),
        tmp_path / "d.json": lambda: read_json(tmp_path / "d.json"),
        batch: lambda: cifar10.index(data),
        counts: lambda: cowley2023.load(data, sessions=("990101",)),
        spikes: lambda: henaff2021.load(data),
        weights: lambda: checkpoint.load_tensors(weights),
    }
    for path, call in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        for kind, content in payloads(mark).items():
            path.write_bytes(content)
            refused(call)
            assert not mark.exists(), f"{path.name}: {kind}"


@pytest.mark.parametrize("where", ["loss", "state_dict", "epoch", "optimizer_state_dict"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_a_command_inside_a_right_checkpoint_does_not_run(mark: Path, tmp_path: Path, where: str, zipped: bool) -> None:
    path = tmp_path / "original_blended.pth"
    torch.save(small(**{where: Runs(f"touch {mark}")}), path, _use_new_zipfile_serialization=zipped)
    line = refused(lambda: import_legacy(path, results=tmp_path / "results", training="blended"))
    assert "will not be loaded" in line
    assert "system" in line
    assert not mark.exists()
    assert not (tmp_path / "results").exists()


def test_the_original_file_itself_is_read(tmp_path: Path) -> None:
    """So that the refusals above are not of everything."""
    path = tmp_path / "original_blended.pth"
    torch.save(small(loss=torch.nn.BCELoss()), path)
    assert len(legacy.read(path)["state_dict"]) == 10


def test_arrays_of_objects_are_not_unpickled(mark: Path, tmp_path: Path) -> None:
    hidden = np.array([Runs(f"touch {mark}")], dtype=object)
    _, counts = session(tmp_path / "cowley2023")
    np.save(counts, hidden, allow_pickle=True)
    assert "not a readable array" in refused(lambda: cowley2023.load(tmp_path, sessions=("990101",)))
    np.savez(tmp_path / "a.npz", values=hidden, name=np.array("a"))
    assert "is not an assembly" in refused(lambda: assembly.load(tmp_path / "a.npz"))
    from blendnet import activations

    np.save(tmp_path / "layer.npy", hidden, allow_pickle=True)
    assert "damaged" in refused(lambda: activations.load_layer(tmp_path, "layer"))
    assert not mark.exists()


def batches(folder: Path, content: dict | bytes) -> Path:
    """CIFAR-10's pickled layout, the same content in every file."""
    folder = folder / "cifar-10-batches-py"
    folder.mkdir(parents=True, exist_ok=True)
    for name in cifar10.BATCHES:
        held = content if isinstance(content, bytes) else pickle.dumps(content, protocol=3)
        (folder / name).write_bytes(held)
    return folder


def test_a_pickled_array_is_made_here_and_not_by_numpy(tmp_path: Path) -> None:
    """What a pickle says of an array is believed only as far as its bytes go."""
    data = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
    batches(tmp_path, {"data": data, "labels": [3, 4]})
    photos = cifar10.index(tmp_path)
    assert np.array_equal(photos[1].read(), data[1].reshape(3, 32, 32).transpose(1, 2, 0))
    for lie in (data.astype(object), data.astype(np.float64), np.asfortranarray(data), data[:1], data.astype("S4")):
        batches(tmp_path, {"data": lie, "labels": [3, 4]})
        refused(lambda: cifar10.index(tmp_path))


def test_a_pickle_that_claims_a_huge_array_takes_no_memory(tmp_path: Path) -> None:
    state = (1, (10**12,), cifar10._Type("u1"), False, b"abc")
    stand_in = cifar10._Array()
    stand_in.__setstate__(state)
    with pytest.raises(ValueError, match="reshape"):
        stand_in.array()


def test_a_pickle_that_numbers_its_places_high_takes_no_memory(tmp_path: Path) -> None:
    """Found by atheris: nine bytes for which Python's reader asks for gigabytes."""
    for place in (2**28, 2**32 - 1):
        batches(tmp_path, b"\x80\x02]r" + place.to_bytes(4, "little") + b".")
        assert peak(lambda: cifar10.index(tmp_path)) < 2**20
        batches(tmp_path, b"(lp" + str(place).encode() + b"\n.")
        assert peak(lambda: cifar10.index(tmp_path)) < 2**20


def test_torch_load_and_np_load_are_never_trusting() -> None:
    """In the code itself: weights_only=True at every torch.load, allow_pickle=True at no np.load, and no pickle.load
    but through the unpickler that knows arrays only."""
    found = {"torch.load": 0, "np.load": 0}
    for package in ("blendnet", "analysis", "pipelines", "benchmarks"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if not isinstance(node, ast.Call):
                    continue
                name = ast.unparse(node.func)
                options = {k.arg: ast.unparse(k.value) for k in node.keywords}
                if name in found:
                    found[name] += 1
                    key, value = {"torch.load": ("weights_only", "True"), "np.load": ("allow_pickle", "False")}[name]
                    assert options.get(key, "False") == value, f"{file}: {ast.unparse(node)}"  # np.load's own default
                forbidden = (
                    "pickle.load",
                    "pickle.loads",
                    "joblib.load",
                    "pd.read_pickle",
                    "eval",
                    "exec",
                    "yaml.load",
                )
                assert name not in forbidden, f"{file}: {ast.unparse(node)}"
    assert found["torch.load"] >= 2
    assert found["np.load"] >= 3


# ---------------------------------------------------------------- bombs


def peak(call: Callable[[], object]) -> int:
    """Largest number of bytes that Python and numpy held during a call that is refused."""
    tracemalloc.start()
    try:
        refused(call)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_zip_bombs_are_refused_before_they_unpack(tmp_path: Path) -> None:
    size = 2**26
    images, _ = session(tmp_path / "cowley2023")
    with zipfile.ZipFile(images, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image0009.jpg", bytes(size))
    assert images.stat().st_size < size / 500
    assert peak(lambda: cowley2023.load(tmp_path, sessions=("990101",))) < size / 8

    np.savez_compressed(tmp_path / "bomb.npz", values=np.zeros((2**12, 2**11)), name=np.array("bomb"))
    assert peak(lambda: assembly.load(tmp_path / "bomb.npz")) < size / 8

    torch.save({"state_dict": {"a": torch.zeros(2**22)}}, tmp_path / "bomb.pth")
    with zipfile.ZipFile(tmp_path / "bomb.pth") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert "PyTorch packs nothing" in refused(lambda: _legacy_file.read(tmp_path / "bomb.pth"))


def test_a_lie_about_a_members_size_does_not_help(tmp_path: Path) -> None:
    """The size in the archive's directory says 10 bytes; reading stops at the limit all the same."""
    images, _ = session(tmp_path / "cowley2023")
    with zipfile.ZipFile(images, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image0009.jpg", bytes(2**24))
    content = bytearray(images.read_bytes())
    place = content.rfind(b"PK\x01\x02")
    struct.pack_into("<I", content, place + 24, 10)
    images.write_bytes(bytes(content))
    assert peak(lambda: cowley2023.load(tmp_path, sessions=("990101",))) < 2**23


def test_pictures_that_claim_a_huge_size_are_not_made(tmp_path: Path) -> None:
    from tests.bad_inputs_photographs import claimed

    folder = tmp_path / "imagefolder"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        (folder / name / "x.png").write_bytes(claimed(30_000, 5_000))
    photo = imagefolder.index(tmp_path)[0]
    assert peak(photo.read) < 2**22


def test_a_data_set_of_zeros_is_refused_by_its_claim(tmp_path: Path) -> None:
    path = population(tmp_path / "henaff2021" / "responses")
    with h5py.File(path, "r+") as file:
        del file["naturalStruct/sortedResponses"]
        file["naturalStruct"].create_dataset(
            "sortedResponses", (10**6, 1000, 11, 10, 3, 2), "f8", chunks=(10, 100, 11, 10, 1, 1), compression="gzip"
        )
    assert path.stat().st_size < 2**20
    assert peak(lambda: henaff2021.load(tmp_path)) < 2**23


# ---------------------------------------------------------------- archives that leave their folder


def files_below(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


@pytest.mark.parametrize("name", ["../escaped.txt", "/escaped.txt", "a/../../escaped.txt", "..\\escaped.txt"])
def test_names_in_an_archive_never_become_paths(tmp_path: Path, name: str) -> None:
    """Only members that were asked for are written, to where the caller says, and only with the right hash."""
    archive = tmp_path / "in" / "a.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as held:
        held.writestr(name, b"out")
        held.writestr("wanted.txt", b"in")
    before = files_below(tmp_path)
    target = tmp_path / "in" / "wanted.txt"
    line = refused(lambda: unpack(archive, {"wanted.txt": target}, {"wanted.txt": "0" * 64}))
    assert "sha256" in line
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not yours")
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as held:
        info = tarfile.TarInfo("wanted.txt")
        info.type, info.linkname = kind, str(secret)
        held.addfile(info)
    before = files_below(tmp_path)
    refused(lambda: unpack(archive, {"wanted.txt": tmp_path / "out.txt"}, {"wanted.txt": "0" * 64}))
    assert files_below(tmp_path) == before
    assert secret.read_text() == "not yours"


def test_a_link_member_of_an_image_archive_is_its_text_and_no_link(tmp_path: Path) -> None:
    images, _ = session(tmp_path / "cowley2023")
    secret = tmp_path / "secret.jpg"
    Image.new("RGB", (112, 112)).save(secret)
    info = zipfile.ZipInfo("image0004.jpg")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(images, "a") as held:
        held.writestr(info, str(secret))
    before = files_below(tmp_path)
    refused(lambda: cowley2023.load(tmp_path, sessions=("990101",)))
    assert files_below(tmp_path) == before


def test_a_stimulus_zip_that_climbs_out_is_not_taken_for_unpacked(tmp_path: Path) -> None:
    """Brain-Score's own zips: a member outside the folder never counts as unpacked, and nothing is read there."""
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"x" * 10)
    archive, folder = tmp_path / "in" / "stimulus_a.zip", tmp_path / "in" / "stimulus_a"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as held:
        held.writestr("../../secret.png", b"x" * 10)
    assert not _brainscore_storage._same(archive, folder)


def test_a_stimulus_zip_that_zipfile_stumbles_over_is_not_taken_for_unpacked(tmp_path: Path) -> None:
    """Found by changing its bytes: a version from the future and a member without a name are no BadZipFile."""
    archive, folder = tmp_path / "stimulus_a.zip", tmp_path / "stimulus_a"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"x" * 10)
    with zipfile.ZipFile(archive, "w") as held:
        held.writestr("a.png", b"x" * 10)
    assert _brainscore_storage._same(archive, folder)
    whole = archive.read_bytes()
    entry = whole.rfind(b"PK\x01\x02")
    for offset, value in ((6, 120), (28, 0)):  # version needed to extract; length of the name
        content = bytearray(whole)
        struct.pack_into("<H", content, entry + offset, value)
        archive.write_bytes(bytes(content))
        assert not _brainscore_storage._same(archive, folder)


# ---------------------------------------------------------------- HDF5


@pytest.fixture
def other(tmp_path: Path) -> Path:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["secret"] = np.arange(4.0)
    return path


def test_external_links_storage_and_virtual_sets_are_refused(tmp_path: Path, other: Path) -> None:
    from blendnet.data.brain._matlab import open_v73

    raw = tmp_path / "raw.bin"
    raw.write_bytes(bytes(32))

    def link(file: h5py.File) -> None:
        file["deep/er/link"] = h5py.ExternalLink(str(other), "/secret")

    def storage(file: h5py.File) -> None:
        file.create_dataset("deep/stored", (4,), "f8", external=[(str(raw), 0, 32)])

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource(str(other), "secret", (4,))
        file.create_virtual_dataset("deep/virtual", layout)

    for name, make in (("link", link), ("storage", storage), ("virtual", virtual)):
        path = tmp_path / f"{name}.mat"
        with h5py.File(path, "w") as file:
            make(file)

        def look(path: Path = path) -> None:
            with open_v73(path, "henaff2021"):
                raise AssertionError("it was opened")

        assert "file" in refused(look)


def test_links_within_a_file_are_followed(tmp_path: Path) -> None:
    """Soft links, hard links in a circle and links to nothing stay inside and are no harm."""
    from blendnet.data.brain._matlab import open_v73

    path = tmp_path / "inside.mat"
    with h5py.File(path, "w") as file:
        file["a/numbers"] = np.arange(4.0)
        file["a/again"] = file["a"]
        file["soft"] = h5py.SoftLink("/a/numbers")
        file["loop"] = h5py.SoftLink("/loop")
        file["nothing"] = h5py.SoftLink("/nowhere")
    with open_v73(path, "henaff2021") as file:
        assert file["soft"][2] == 2.0


def test_a_soft_link_in_a_stimulus_folder_is_only_read(tmp_path: Path, mark: Path) -> None:
    """A photograph may be a link (data folders often are made of links); what it points to is decoded, never run."""
    folder = tmp_path / "imagefolder"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
    (tmp_path / "script.sh").write_text(f"#!/bin/sh\ntouch {mark}\n")
    os.chmod(tmp_path / "script.sh", 0o755)
    for name in ("a", "b"):
        (folder / name / "x.png").symlink_to(tmp_path / "script.sh")
    assert "no image" in refused(imagefolder.index(tmp_path)[0].read)
    assert not mark.exists()


def test_netcdf_is_hdf5_and_opened_by_nothing_of_ours() -> None:
    """Brain-Score's assemblies are NetCDF, fetched and hashed by its own code; ours opens none, so that a stranger's is
    never asked for. h5py opens HDF5 in one place, behind the check above."""
    users = {"h5py.File": set(), "open_dataset": set(), "open_dataarray": set(), "load_dataset": set()}
    for package in ("blendnet", "analysis", "pipelines"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call):
                    name = ast.unparse(node.func)
                    for known, where in users.items():
                        if name == known or name.endswith(f".{known}"):
                            where.add(str(file.relative_to(ROOT)))
    trial = "blendnet/data/brain/_trial.py"  # opens them first, in a process of its own
    assert users.pop("h5py.File") == {"blendnet/data/brain/_matlab.py", trial}
    assert not any(users.values())


# ---------------------------------------------------------------- what surrounds them


def test_a_wrong_argument_is_no_broken_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="sesions"):
        brain.load("cowley2023", tmp_path, sesions=("990101",))


def test_a_checkpoint_from_a_stranger_is_tensors_and_text(tmp_path: Path, mark: Path) -> None:
    """A pickle in every place of a checkpoint's folder, meta.json right: refused by the reader of tensors."""
    folder = tmp_path / "run"
    model = torch.nn.Linear(2, 2)
    checkpoint.save(folder, model, {"run": "r", "classes": ["a"], "image_size": 8, "key": {}})
    content = io.BytesIO()
    torch.save(model.state_dict() | {"x": Runs(f"touch {mark}")}, content)
    (folder / checkpoint.WEIGHTS).write_bytes(content.getvalue())
    assert "not a whole safetensors file" in refused(lambda: checkpoint.load(folder, model))
    assert not mark.exists()
    shutil.rmtree(folder)
