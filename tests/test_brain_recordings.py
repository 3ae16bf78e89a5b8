"""The four recordings: what was published is what load() gives, and anything else is one clear line."""

import io
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import squareform
from scipy.stats import spearmanr

from blendnet.data import brain
from blendnet.data.brain import algonauts2019, cowley2023, henaff2021, kriegeskorte2008
from blendnet.errors import BlendnetError
from blendnet.files import sha256_file

N_RDM = 92 * 91 // 2


def one_line(error: pytest.ExceptionInfo[BlendnetError], *parts: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


@pytest.fixture(scope="module")
def v1(data_root):
    return henaff2021.load(data_root)[0]


@pytest.fixture(scope="module")
def v4(data_root):
    return {r.name: r for r in cowley2023.load(data_root)}


@pytest.fixture(scope="module")
def fmri(data_root):
    return {r.name: r for r in algonauts2019.load(data_root)}


@pytest.fixture(scope="module")
def it(data_root):
    return {r.name: r for r in kriegeskorte2008.load(data_root)}


def split_half(trials: np.ndarray, seed: int) -> np.ndarray:
    """Correlation over stimuli of two random halves of the repetitions, slowly, one neuroid after another."""
    rng = np.random.default_rng(seed)
    out = []
    for neuroid in range(trials.shape[2]):
        halves = np.empty((2, len(trials)))
        for stimulus, row in enumerate(trials[:, :, neuroid]):
            shown = rng.permutation(row[np.isfinite(row)])
            halves[:, stimulus] = shown[: len(shown) // 2].mean(), shown[len(shown) // 2 :].mean()
        out.append(np.corrcoef(halves)[0, 1])
    return np.array(out)


def left_out(x: np.ndarray, groups: np.ndarray, penalty: float = 1.0) -> np.ndarray:
    """The matrix that turns responses into their prediction by kernel ridge with one group left out at a time."""
    x = (x - x.mean(0)) / (x.std(0) + 1e-9)
    kernel = x @ x.T / x.shape[1]
    matrix = np.zeros_like(kernel)
    for group in np.unique(groups):
        test = groups == group
        train = ~test
        n = train.sum()
        fit = np.linalg.solve(kernel[np.ix_(train, train)] + penalty * np.eye(n), kernel[np.ix_(train, test)]).T
        # fit (y - mean) + mean, with the mean taken over the training stimuli
        matrix[np.ix_(test, train)] = fit @ (np.eye(n) - 1 / n) + 1 / n
    return matrix


def correlations(predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.array([np.corrcoef(predicted[:, i], y[:, i])[0, 1] for i in range(y.shape[1])])


# ---------------------------------------------------------------- what all have in common


# The others are Brain-Score's own and come from its storage: test_brainscore_recordings.py.
ON_DISK = tuple(name for name in brain.names() if not name.endswith("public"))


def test_the_folder_is_the_registry() -> None:
    assert brain.names() == (
        "algonauts2019", "cowley2023", "freemanziemba2013public", "henaff2021", "kriegeskorte2008",
        "majajhong2015public",
    )  # fmt: skip
    with pytest.raises(BlendnetError) as error:
        brain.load("cowley2032", Path("/nowhere"))
    one_line(error, "cowley2032", "did you mean 'cowley2023'")


@pytest.mark.parametrize("name", ON_DISK)
def test_no_data_is_one_line_that_says_what_to_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(BlendnetError) as error:
        brain.load(name, tmp_path)
    one_line(error, str(tmp_path), f"blendnet data fetch {name}", "--data")


@pytest.mark.data
@pytest.mark.parametrize("name", ON_DISK)
def test_every_recording_keeps_its_promises(name: str, data_root: Path) -> None:
    recordings = brain.load(name, data_root)
    assert len({r.name for r in recordings}) == len(recordings)
    for r in recordings:
        n = len(r.stimuli)
        assert r.doi.startswith("10.")
        assert r.licence
        assert len(r.sha256) == len(r.stimuli.sha256) == 64
        assert len(set(r.stimuli.ids)) == n == len(r.stimuli.groups)
        assert not r.planted
        pixels = r.stimuli.read(n - 1)
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        assert (r.trials is None) != (r.rdms is None)
        if r.trials is not None:
            assert r.trials.dtype == np.float32
            assert r.trials.shape[0] == n
            assert r.trials.shape[2] == len(r.neuroid_ids) == len(set(r.neuroid_ids)) == len(r.subjects)
            assert np.isfinite(r.mean()).all()
            assert np.nanmin(r.trials) >= 0
        else:
            assert r.rdms is not None
            assert r.rdms.dtype == np.float64
            assert r.rdms.shape == (len(r.subjects), n * (n - 1) // 2)
            # Whatever it is taken for, SciPy must make a square of it.
            assert squareform(r.rdms[0]).shape == (n, n)
    again = brain.load(name, data_root)
    assert [r.sha256 for r in again] == [r.sha256 for r in recordings]


# ---------------------------------------------------------------- henaff2021


@pytest.mark.data
def test_v1_counts(v1) -> None:
    assert v1.region == "V1"
    assert v1.trials.shape == (220, 60, 245)
    assert set(v1.subjects) == {"ay2", "ay3", "ay4", "ay5"}
    assert v1.neuroid_ids[0] == "ay2_u003/0"
    assert np.bincount(v1.stimuli.groups).tolist() == [0] + [22] * 10
    # Populations with 50 repetitions are filled up with NaN; the one with 60 is not.
    sixty = np.array([name.startswith("ay4_u005") for name in v1.neuroid_ids])
    assert np.isnan(v1.trials[:, 50:, ~sixty]).all()
    assert np.isfinite(v1.trials[:, 50:, sixty]).any()
    assert v1.trials[np.isfinite(v1.trials)].max() < 150


@pytest.mark.data
def test_v1_axes_against_a_slow_reading_of_the_file(v1, data_root: Path) -> None:
    import h5py

    rng = np.random.default_rng(0)
    for _ in range(40):
        scale, movie, frame = rng.integers(2), rng.integers(10), rng.integers(11)
        name = f"henaff2021/zoom{scale + 1}x/movie{movie + 1:02d}/natural{frame + 1:02d}"
        stimulus = v1.stimuli.ids.index(name)
        assert stimulus == scale * 110 + movie * 11 + frame
        population = rng.choice(["ay2_u007", "ay4_u005", "ay5_u002"])
        path = data_root / "henaff2021" / "responses" / f"{population}_image_sequences.mat"
        with h5py.File(path) as file:
            # MATLAB says sortedResponses(scale, category, movie, frame, unit, repeat); natural is category 1.
            raw = file["naturalStruct/sortedResponses"][:, 5, frame, movie, 0, scale]
        ours = v1.trials[stimulus, : len(raw), v1.neuroid_ids.index(f"{population}/5")]
        np.testing.assert_array_equal(ours, raw.astype(np.float32))


@pytest.mark.data
def test_v1_units_are_reliable(v1) -> None:
    r = split_half(v1.trials[:, :, ::5], seed=0)
    assert 0.5 < np.median(r) < 0.8
    assert (r > 0.3).mean() > 0.7


@pytest.mark.data
def test_v1_responses_belong_to_their_frames(v1) -> None:
    """Contrast energy at three scales and four orientations predicts the responses to movies left out; it
    does so better than with the clips in any of 60 other orders, or with the frames of every clip
    backwards."""
    frames = np.stack([v1.stimuli.read(i)[..., 0] for i in range(220)]).astype(np.float32) / 255
    frames = frames.reshape(220, 128, 4, 128, 4).mean((2, 4))
    energies = []
    for scale in (1, 2, 4):
        band = np.stack([gaussian_filter(f, scale) - gaussian_filter(f, 1.6 * scale) for f in frames])
        dy, dx = np.gradient(band, axis=1), np.gradient(band, axis=2)
        for angle in np.arange(4) * np.pi / 4:
            energy = np.abs(np.cos(angle) * dx + np.sin(angle) * dy)
            energies.append(energy.reshape(220, 8, 16, 8, 16).mean((2, 4)).reshape(220, -1))
    x = np.concatenate(energies, axis=1)
    y = v1.mean().astype(np.float64)
    groups = v1.stimuli.groups
    clips = y.reshape(20, 11, -1)
    matrix = left_out(x, groups)

    def score(responses: np.ndarray) -> float:
        responses = responses.reshape(220, -1)
        return float(correlations(matrix @ responses, responses).mean())

    right = score(clips)
    assert right > 0.05
    assert right > score(clips[:, ::-1])
    rng = np.random.default_rng(1)
    others = [score(clips[rng.permutation(20)]) for _ in range(60)]
    # p < .05 with the right order counted among the 61
    assert sum(other >= right for other in others) <= 2


@pytest.mark.data
def test_v1_populations_can_be_chosen(data_root: Path) -> None:
    (r,) = henaff2021.load(data_root, populations=("ay3_u001", "ay4_u001"))
    assert r.trials.shape == (220, 50, 47 + 13)
    with pytest.raises(BlendnetError) as error:
        henaff2021.load(data_root, populations=("ay3_u009",))
    one_line(error, "ay3_u009", "did you mean")


@pytest.mark.data
def test_v1_altered_cut_short_or_missing(data_root: Path, tmp_path: Path) -> None:
    responses = tmp_path / "henaff2021" / "responses"
    responses.mkdir(parents=True)
    source = data_root / "henaff2021" / "responses" / "ay4_u001_image_sequences.mat"
    content = source.read_bytes()
    target = responses / source.name
    target.write_bytes(content[: len(content) // 2])
    with pytest.raises(BlendnetError) as error:
        henaff2021.load(tmp_path, populations=("ay4_u001",))
    one_line(error, source.name, "sha256", "cut short", "blendnet data fetch henaff2021")
    # A population whose checksum nobody knows: the file's own structure must say so.
    (responses / "ay9_u001_image_sequences.mat").write_bytes(content[: len(content) // 2])
    with pytest.raises(BlendnetError) as error:
        henaff2021.load(tmp_path, populations=("ay9_u001",))
    one_line(error, "ay9_u001", "MATLAB v7.3")
    # One of seven there: not a silent subset.
    target.write_bytes(content)
    with pytest.raises(BlendnetError) as error:
        henaff2021.load(tmp_path)
    one_line(error, "6 of 7", "fetch")
    # Responses without frames.
    with pytest.raises(BlendnetError) as error:
        henaff2021.load(tmp_path, populations=("ay4_u001",))
    one_line(error, "natural01.png", "missing")


@pytest.mark.data
def test_v1_swapped_frames_are_noticed(data_root: Path, tmp_path: Path) -> None:
    shutil.copytree(data_root / "henaff2021" / "stimuli", tmp_path / "henaff2021" / "stimuli")
    (tmp_path / "henaff2021" / "responses").symlink_to(data_root / "henaff2021" / "responses")
    movie = tmp_path / "henaff2021" / "stimuli" / "stimSelected-zoom1x" / "movie4"
    movie.chmod(0o755)
    (movie / "natural01.png").rename(movie / "x")
    (movie / "natural02.png").rename(movie / "natural01.png")
    (movie / "x").rename(movie / "natural02.png")
    with pytest.raises(BlendnetError) as error:
        henaff2021.load(tmp_path, populations=("ay4_u001",))
    one_line(error, "pixels have sha256", "fetch henaff2021")


# ---------------------------------------------------------------- cowley2023


@pytest.mark.data
def test_v4_counts_and_ceiling(v4) -> None:
    raw, averaged = v4["cowley2023-210325"], v4["cowley2023-201025"]
    assert raw.trials.shape == (640, 10, 50)
    assert averaged.trials.shape == (1200, 1, 89)
    assert (raw.averaged_over, averaged.averaged_over) == (1, 12)
    assert raw.subjects[0] == averaged.subjects[0] == "PE"
    shown = np.isfinite(raw.trials[:, :, 0]).sum(1)
    assert (shown.min(), shown.max()) == (6, 10)
    r = split_half(raw.trials, seed=0)
    ceiling = np.median(2 * r / (1 + r))
    assert ceiling == pytest.approx(0.764, abs=0.02)  # the data README's value


@pytest.mark.data
@pytest.mark.parametrize("name", ["cowley2023-210325", "cowley2023-201025"])
def test_v4_responses_belong_to_their_images(v4, name: str) -> None:
    r = v4[name]
    n = len(r.stimuli)
    images = np.stack([r.stimuli.read(i) for i in range(n)]).astype(np.float64)
    x = images.reshape(n, 16, 7, 16, 7, 3).mean((2, 4)).reshape(n, -1)
    y = r.mean().astype(np.float64)
    folds = np.arange(n) % 4
    matrix = left_out(x, folds)
    shifted = np.roll(y, 1, axis=0)
    assert np.median(correlations(matrix @ y, y)) > 0.17  # facts.md: pixels .228 with PLS
    assert abs(np.median(correlations(matrix @ shifted, shifted))) < 0.05


@pytest.mark.data
def test_v4_arrays_against_the_file(v4, data_root: Path) -> None:
    raw = np.load(data_root / "cowley2023" / "responses_raw_210325.npy")
    np.testing.assert_array_equal(v4["cowley2023-210325"].trials[17, :, 3], raw[3, 17].astype(np.float32))
    averaged = np.load(data_root / "cowley2023" / "responses_avg_201025.npy")
    np.testing.assert_array_equal(v4["cowley2023-201025"].mean(), averaged.T.astype(np.float32))
    with zipfile.ZipFile(data_root / "cowley2023" / "images_210325.zip") as archive:
        content = archive.read("image0018.jpg")
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    np.testing.assert_array_equal(v4["cowley2023-210325"].stimuli.read(17), expected)
    assert v4["cowley2023-210325"].stimuli.ids[17] == "cowley2023/210325/image0018"


@pytest.mark.data
def test_v4_cut_short(data_root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cowley2023"
    folder.mkdir()
    shutil.copy(data_root / "cowley2023" / "images_210325.zip", folder)
    content = (data_root / "cowley2023" / "responses_raw_210325.npy").read_bytes()
    (folder / "responses_raw_210325.npy").write_bytes(content[:-1])
    with pytest.raises(BlendnetError) as error:
        cowley2023.load(tmp_path, sessions=("210325",))
    one_line(error, "responses_raw_210325.npy", "sha256", "2560127 bytes", "fetch cowley2023")


def session(root: Path, *, n: int = 5, order=None, folder: str = "", counts=None, kind: str = "raw", name="990101"):
    """A session of the published form, small and invented: grey images of value 20 * number."""
    path = root / "cowley2023"
    path.mkdir(exist_ok=True)
    with zipfile.ZipFile(path / f"images_{name}.zip", "w") as archive:
        for number in order if order is not None else range(1, n + 1):
            archive.writestr(f"{folder}image{number:04d}.jpg", jpeg(20 * number))
    if counts is None:
        counts = np.arange(3 * n * 4, dtype=float).reshape(3, n, 4)
    np.save(path / f"responses_{kind}_{name}.npy", counts)
    return path


def jpeg(value: int, size=(112, 112)) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def test_v4_other_sessions_are_found_and_sorted(tmp_path: Path) -> None:
    path = session(tmp_path, order=[3, 1, 5, 2, 4], folder="images_990101/")
    with zipfile.ZipFile(path / "images_990101.zip", "a") as archive:
        archive.writestr("__MACOSX/images_990101/._image0001.jpg", b"resource")
        archive.writestr("images_990101/.DS_Store", b"x")
    session(tmp_path, name="990102", kind="avg", counts=np.ones((2, 5)))
    assert cowley2023.available(tmp_path) == ("990101", "990102")
    raw, averaged = cowley2023.load(tmp_path, sessions=None)
    assert raw.trials.shape == (5, 4, 3)
    assert raw.trials[2, 1, 0] == 2 * 4 + 1
    assert averaged.trials.shape == (5, 1, 2)
    assert [int(raw.stimuli.read(i).mean()) for i in range(5)] == [20, 40, 60, 80, 100]
    assert raw.stimuli.ids[4] == "cowley2023/990101/image0005"
    # Nobody knows the checksum of this session; what was read is on record.
    assert raw.about["files_sha256"]["images_990101.zip"] == sha256_file(path / "images_990101.zip")


def test_v4_known_counts_hold_for_sessions_without_a_checksum(tmp_path: Path) -> None:
    session(tmp_path, name="190923")
    with pytest.raises(BlendnetError) as error:
        cowley2023.load(tmp_path, sessions=("190923",))
    one_line(error, "3 neurons, expected 33")


def bad_zip(path: Path, kind: str) -> None:
    with zipfile.ZipFile(path / "images_990101.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(1, 5):
            archive.writestr(f"image{number:04d}.jpg", jpeg(100))
        if kind == "traversal":
            archive.writestr("../../image0005.jpg", jpeg(100))
        elif kind == "backslash traversal":
            archive.writestr("..\\image0005.jpg", jpeg(100))
        elif kind == "absolute":
            archive.writestr("/tmp/image0005.jpg", jpeg(100))
        elif kind == "bomb":
            archive.writestr("image0005.jpg", bytes(50 * 2**20))
        elif kind == "twice":
            archive.writestr("a/image0004.jpg", jpeg(100))
        elif kind == "gap":
            archive.writestr("image0006.jpg", jpeg(100))
        elif kind == "not an image":
            archive.writestr("image0005.jpg", b"hello")
        elif kind == "other size":
            archive.writestr("image0005.jpg", jpeg(100, (64, 64)))
        elif kind == "huge image":
            archive.writestr("image0005.jpg", jpeg(100, (5000, 5000)))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("traversal", "leaves the archive"),
        ("backslash traversal", "leaves the archive"),
        ("absolute", "leaves the archive"),
        ("bomb", "too large when unpacked"),
        ("twice", "image 4 is there twice"),
        ("gap", "have gaps"),
        ("not an image", "not a readable image"),
        ("other size", "(64, 64, 3)"),
        ("huge image", "too large"),
        ("too few", "holds 4 images, the responses are to 5"),
    ],
)
def test_v4_bad_archives(tmp_path: Path, kind: str, says: str) -> None:
    bad_zip(session(tmp_path), kind)
    with pytest.raises(BlendnetError) as error:
        cowley2023.load(tmp_path, sessions=("990101",))
    one_line(error, "images_990101.zip", says, "blendnet data fetch cowley2023")
    assert not (tmp_path.parent / "image0005.jpg").exists()


def test_v4_zip_that_lies_about_its_sizes(tmp_path: Path) -> None:
    """The size stated in the archive's directory is small, the data are not: the reading is bounded all the
    same."""
    path = session(tmp_path)
    bad_zip(path, "bomb")
    content = bytearray((path / "images_990101.zip").read_bytes())
    content = bytearray(bytes(content).replace(struct.pack("<I", 50 * 2**20), struct.pack("<I", 1000)))
    (path / "images_990101.zip").write_bytes(content)
    with pytest.raises(BlendnetError) as error:
        cowley2023.load(tmp_path, sessions=("990101",))
    one_line(error, "images_990101.zip")


def test_v4_broken_zip(tmp_path: Path) -> None:
    path = session(tmp_path)
    whole = (path / "images_990101.zip").read_bytes()
    (path / "images_990101.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BlendnetError) as error:
        cowley2023.load(tmp_path, sessions=("990101",))
    one_line(error, "not a readable zip")


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        (np.array([{"a": 1}], dtype=object), "not a readable array"),
        (np.zeros(7), "not an array"),
        (np.full((3, 5), "x"), "not an array"),
        (np.full((3, 5), np.nan), "is NaN in all repeats"),
        (np.full((3, 5), -1.0), "negative"),
        (np.full((3, 5), np.inf), "infinite"),
    ],
)
def test_v4_bad_responses(tmp_path: Path, counts: np.ndarray, says: str) -> None:
    session(tmp_path, counts=counts)
    with pytest.raises(BlendnetError) as error:
        cowley2023.load(tmp_path, sessions=("990101",))
    one_line(error, "responses_raw_990101.npy", says)


def test_v4_unknown_session(tmp_path: Path) -> None:
    with pytest.raises(BlendnetError) as error:
        cowley2023.load(tmp_path, sessions=("210326x",))
    one_line(error, "210326x", "did you mean '210326'")


# ---------------------------------------------------------------- the 92 images


@pytest.mark.data
def test_92_images_and_rdms_are_in_one_order(it, fmri, data_root: Path) -> None:
    """The data README's values, which hold in no other order of the images."""
    monkey, human = it["kriegeskorte2008-monkey"].rdms[0], it["kriegeskorte2008-human"].rdms
    figure1 = kriegeskorte2008.figure1(data_root)
    np.testing.assert_array_equal(figure1["mIT_674neurons"], monkey)
    evc, inferior = fmri["algonauts2019-EVC"].rdms.mean(0), fmri["algonauts2019-IT"].rdms.mean(0)
    assert spearmanr(inferior, figure1["hITvisStim_316vx"])[0] == pytest.approx(0.557, abs=5e-4)
    assert spearmanr(inferior, monkey)[0] == pytest.approx(0.486, abs=5e-4)
    assert spearmanr(evc, figure1["hITvisStim_316vx"])[0] == pytest.approx(0.132, abs=5e-4)
    assert spearmanr(evc, monkey)[0] == pytest.approx(0.203, abs=5e-4)
    # Taking the four subjects loses nothing of the published group RDM.
    assert spearmanr(human.mean(0), figure1["hITvisStim_316vx"])[0] == pytest.approx(1.0, abs=1e-6)
    assert spearmanr(human.mean(0), monkey)[0] == pytest.approx(0.44, abs=5e-3)


@pytest.mark.data
@pytest.mark.parametrize(("region", "lower", "upper"), [("EVC", 0.247, 0.399), ("IT", 0.459, 0.549)])
def test_fmri_ceilings(fmri, region: str, lower: float, upper: float) -> None:
    """The data README's ceilings. They are those of Pearson correlation of z-scored RDMs (Spearman gives
    .242/.392 and .453/.542, and so does rsatoolbox)."""
    rdms = fmri[f"algonauts2019-{region}"].rdms
    rdms = (rdms - rdms.mean(1, keepdims=True)) / rdms.std(1, keepdims=True)
    low = [np.corrcoef(rdms[i], np.delete(rdms, i, 0).mean(0))[0, 1] for i in range(15)]
    high = [np.corrcoef(rdms[i], rdms.mean(0))[0, 1] for i in range(15)]
    assert np.mean(low) == pytest.approx(lower, abs=2e-3)
    assert np.mean(high) == pytest.approx(upper, abs=2e-3)


@pytest.mark.data
def test_92_images(it, data_root: Path) -> None:
    stimuli = it["kriegeskorte2008-human"].stimuli
    assert stimuli.read(0).shape == (175, 175, 3)
    labels = kriegeskorte2008.categories(data_root)
    assert len(labels) == len(stimuli) == 92
    assert len(set(labels)) == 6
    # Faces are more alike in IT than faces and things: the order of images and RDM is one.
    face = np.array(["face" in label for label in labels])
    square = squareform(it["kriegeskorte2008-monkey"].rdms[0])
    among = square[np.ix_(face, face)][np.triu_indices(face.sum(), 1)].mean()
    assert among < square[np.ix_(face, ~face)].mean() - 0.05
    # A caller that paints on an image does not change the stimulus.
    stimuli.read(0)[:] = 0
    assert stimuli.read(0).max() > 0


@pytest.mark.data
@pytest.mark.parametrize("name", [kriegeskorte2008.SUPPLEMENT, kriegeskorte2008.SUBJECTS])
def test_92_altered(name: str, data_root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kriegeskorte2008"
    folder.mkdir()
    for file in (kriegeskorte2008.SUPPLEMENT, kriegeskorte2008.SUBJECTS):
        (folder / file).write_bytes((data_root / "kriegeskorte2008" / file).read_bytes())
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BlendnetError) as error:
        kriegeskorte2008.load(tmp_path)
    one_line(error, name, "sha256", "fetch kriegeskorte2008")


@pytest.mark.data
def test_algonauts_needs_the_images(data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "algonauts2019").symlink_to(data_root / "algonauts2019")
    with pytest.raises(BlendnetError) as error:
        algonauts2019.load(tmp_path)
    one_line(error, "kriegeskorte2008", "fetch kriegeskorte2008")
