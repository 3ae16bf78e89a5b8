"""Invented and changed bytes: every reader takes them, or says in one line what is wrong. Long runs of the same:
python -m benchmarks.bad_input --fuzz SECONDS."""

import math
import random
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis import tables
from benchmarks._fuzzing import Target, complaint, made, mutated
from blendnet import assembly
from blendnet.data import manifest as manifests
from blendnet.data import photoset
from blendnet.data.photos import Photo
from blendnet.errors import BlendnetError
from blendnet.run import TRAININGS, WITHOUT_HEADS, Recipe, Run
from blendnet.training import budget
from pipelines import sheet, sheet_check
from tests.bad_inputs import SMALL
from tests.bad_inputs_tables import scores

# No deadlines: the machine may be busy. The same examples in every run, so that CI does not fail by chance.
FEW = settings(
    max_examples=60, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
MANY = settings(FEW, max_examples=200)
WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "nan", "inf", "-1", "1e999", "0x10", "True", "None", '"', "a,b", "\ufeff", "９", "1_0", " 1", "½"]
    ),
    st.integers().map(str),
    st.floats().map(str),
)


def one_line(error: BlendnetError) -> None:
    line = str(error)
    assert line
    assert "\n" not in line
    assert len(line) < 1200


# ---------------------------------------------------------------- changed bytes of every file


@pytest.fixture(scope="module")
def targets():
    with made() as found:
        yield {target.name: target for target in found}


NAMES = [
    "table", "predictions", "study's CSV", "JSON", "manifest", "safetensors", "checkpoint", "meta.json", "legacy zip",
    "legacy pickle", "assembly", "npy", "zip of JPEG", "HDF5", "CIFAR-10 pickle", "PNG", "JPEG", "WEBP", "TIFF", "BMP",
    "GIF", "PPM",
]  # fmt: skip
SLOW = {"HDF5": 25, "table": 40, "zip of JPEG": 60}


def test_all_readers_are_changed(targets: dict[str, Target]) -> None:
    assert list(targets) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")  # of libraries, about bytes that they read all the same
def test_changed_bytes_are_read_or_refused_in_one_line(targets: dict[str, Target], name: str) -> None:
    target = targets[name]
    valid = target.file.read_bytes()
    try:
        if name not in ("HDF5", "GIF"):  # these two are wrong on purpose: no stimuli, an animation
            target.read()
        rng, refused = random.Random(name), 0
        n = SLOW.get(name, 120)
        for i in range(n):
            content = valid[: i * len(valid) // 16] if i < 16 else mutated(valid, rng)
            said = complaint(target, content)
            assert not said, f"{content[:200]!r}\n{said}"
            refused += _refuses(target)
        assert refused >= n // 10  # or the changes change nothing
    finally:
        target.file.write_bytes(valid)


def _refuses(target: Target) -> bool:
    try:
        target.read()
    except BlendnetError:
        return True
    return False


# ---------------------------------------------------------------- tables and manifests


@MANY
@given(st.binary(max_size=400))
def test_a_table_of_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "scores.csv"
    path.write_bytes(content)
    with pytest.raises(BlendnetError) as error:
        tables.read(path, "scores")
    one_line(error.value)


@settings(FEW, max_examples=25)
@given(st.integers(0, 40), st.integers(1, 3), WORDS)
def test_a_table_with_any_cell(tmp_path_factory: pytest.TempPathFactory, column: int, row: int, word: str) -> None:
    """A table that is read holds numbers where it must: a word in a cell of a number is never one, or nothing."""
    import csv
    import io

    rows = list(csv.reader(io.StringIO(scores())))
    column %= len(rows[0])
    rows[row][column] = word
    held = io.StringIO()
    csv.writer(held, lineterminator="\n").writerows(rows)
    path = tmp_path_factory.getbasetemp() / "cell" / "scores.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text(held.getvalue(), encoding="utf-8", errors="surrogatepass")
    try:
        found = tables.read(path, "scores")
    except BlendnetError as error:
        one_line(error)
        return
    name = rows[0][column]
    kind = next(c.kind for c in tables.TABLES["scores"].columns if c.name == name)
    if kind in ("number", "count"):
        told = found[name].to_numpy(dtype=float, na_value=math.nan)
        known = [float(r[column]) if r[column].strip() else math.nan for r in rows[1:]]
        order = found["run"].argsort().argsort()
        if name != "seed":
            assert np.allclose(told, np.array(known)[order], equal_nan=True, rtol=1e-12)


@FEW
@given(st.integers(0, 7), st.integers(0, 3), WORDS)
def test_a_manifest_with_any_cell(blends, column: int, row: int, word: str) -> None:
    photos, rows, path = blends
    changed = rows.astype(object).copy()
    changed.iloc[row, column] = word
    try:
        path.write_text(changed.to_csv(index=False, lineterminator="\n"), encoding="utf-8", errors="surrogatepass")
        found = manifests.load_manifest(path, photos)
    except BlendnetError as error:
        one_line(error)
        return
    assert found["alpha"].between(0, 1).all()
    assert set(found["image_a"]) <= set(photos.image_ids)


@pytest.fixture(scope="module")
def blends(tmp_path_factory: pytest.TempPathFactory):
    rng = np.random.default_rng(0)
    photos = [
        Photo(f"made/{c}/{i}", c, "made", rng.integers(0, 255, (16, 16, 3), np.uint8).copy)
        for c in ("cat", "dog")
        for i in range(9)
    ]
    held = photoset.load(
        photos, image_size=16, classes=("cat", "dog"), progress=False, fractions=(0.34, 0.33, 0.33)
    )  # fmt: skip
    rows = manifests.manifest(held, "test", n_per_pair=2, alphas=(0.3, 0.5))
    return held, rows, tmp_path_factory.mktemp("manifest") / "test.csv"


# ---------------------------------------------------------------- assemblies

IDS = st.lists(st.text(max_size=6), max_size=5)
NUMBERS = st.one_of(st.floats(-(2.0**90), 2.0**90, width=32), st.sampled_from([math.nan, math.inf, 1e300, -0.0]))


@st.composite
def parts(draw: st.DrawFn) -> tuple:
    """What an assembly is made from; mostly it fits together."""
    rows, columns = draw(IDS), draw(IDS)
    shape = draw(st.sampled_from([(len(rows), len(columns))] * 6 + [(2, 3), (len(rows),)]))
    values = draw(st.lists(NUMBERS, min_size=math.prod(shape), max_size=math.prod(shape)))
    more = {name: draw(st.lists(st.text(max_size=4), min_size=len(columns), max_size=len(columns)))
            for name in draw(st.lists(st.one_of(st.text(max_size=5), st.just("layer")), max_size=2))}  # fmt: skip
    ids = {"neuroid_id": columns} if draw(st.integers(0, 9)) else {}
    return np.array(values).reshape(shape), tuple(rows), more | ids, draw(st.text(max_size=4))


@MANY
@given(parts())
def test_any_assembly_is_refused_or_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, of: tuple) -> None:
    path = tmp_path_factory.getbasetemp() / "assembly.npz"
    try:
        made = assembly.make(*of)
        assembly.save(made, path)
    except BlendnetError as error:
        one_line(error)
        return
    again = assembly.load(path)
    assert again.identical(made)
    assert again.dtype == made.dtype == np.float32
    assert list(again["stimulus_id"].values) == list(of[1])  # no name is cut off or read as a number
    for name, given_names in of[2].items():
        assert list(again[name].values) == list(given_names)


@MANY
@given(IDS, IDS)
def test_any_stimuli_are_matched_by_their_names_or_refused(wanted: list[str], found: list[str]) -> None:
    try:
        order = assembly.match(wanted, found)
    except BlendnetError as error:
        one_line(error)
        assert set(wanted) != set(found) or len(set(found)) < len(found)
        return
    assert [found[i] for i in order] == wanted


@FEW
@given(st.permutations(["a", "b", "c\0", "c", ""]))
def test_stimuli_in_any_order_are_matched(found: list[str]) -> None:
    wanted = ["a", "b", "c\0", "c", ""]
    assert [found[i] for i in assembly.match(wanted, found)] == wanted


ARRAYS = {
    "values": st.sampled_from([
        np.ones((2, 3)), np.ones((2, 3), np.float32), np.ones(6), np.ones((3, 2)), np.ones((2, 3), complex),
        np.array([[1, np.nan, 0]] * 2), np.array([["x"] * 3] * 2), np.ones((2, 3), "datetime64[s]"), np.zeros((2, 0)),
    ]),
    "name": st.sampled_from([np.array(""), np.array("x"), np.array(3), np.array(["a", "b"])]),
    "presentation/stimulus_id": st.sampled_from([
        np.array(["a", "b"]), np.array(["a", "a"]), np.array([1, 2]), np.array([b"a", b"b"]), np.array("a"),
        np.array([["a", "b"]]), np.array(["a", "b", "c"]), np.array([0.5, np.nan]),
    ]),
    "neuroid/neuroid_id": st.sampled_from([np.array(["x", "y", "z"]), np.array([1, 2, 3]), np.array(["x"])]),
    "nowhere/layer": st.sampled_from([np.array(["x", "y", "z"]), np.array(1)]),
    "neuroid/stimulus_id": st.sampled_from([np.array(["x", "y", "z"])]),
}  # fmt: skip


@MANY
@given(st.fixed_dictionaries({}, optional=ARRAYS))
def test_an_archive_of_any_arrays_is_an_assembly_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray]
) -> None:
    """Right checksums around wrong arrays, which changed bytes never get to."""
    path = tmp_path_factory.getbasetemp() / "arrays.npz"
    np.savez(path, **arrays)
    try:
        found = assembly.load(path)
    except BlendnetError as error:
        one_line(error)
        return
    assembly.check(found)
    assert found["stimulus_id"].dims == ("presentation",)
    assert assembly.match(list(found["stimulus_id"].values), ["a", "b"]).tolist() == [0, 1]


# ---------------------------------------------------------------- words of the command line


@MANY
@given(st.one_of(st.text(max_size=40), st.from_regex(r"[a-z0-9_:.]+-[a-z]+-?[a-z]*\d*-[a-z]+-s-?\d+", fullmatch=True)))
def test_any_run_id(text: str) -> None:
    try:
        run = Run.from_id(text)
    except BlendnetError as error:
        one_line(error)
        return
    assert Run.from_id(run.id) == run


@MANY
@given(
    st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True), st.sampled_from(["none", "aacn", "aacn-legacy", "se"]),
    st.integers(1, 64), st.sampled_from(TRAININGS), st.integers(0, 10**6),
)  # fmt: skip
def test_every_run_is_found_again_by_its_id(network: str, attention: str, heads: int, training: str, seed: int) -> None:
    run = Run(network, attention, 0 if attention in WITHOUT_HEADS else heads, training, seed)
    assert Run.from_id(run.id) == run


@MANY
@given(st.one_of(st.text(max_size=20), st.from_regex(r"(\d+\.?\d*[hms]){1,4}", fullmatch=True)))
def test_any_budget(text: str) -> None:
    try:
        seconds = budget.seconds(text)
    except BlendnetError as error:
        one_line(error)
        return
    assert 0 < seconds < math.inf
    assert budget.seconds(budget.words(seconds)) == math.ceil(seconds)


# ---------------------------------------------------------------- the sheet

ANY = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 5000), st.floats(), st.text(max_size=8),
    st.lists(st.floats(0, 1), max_size=3).map(tuple),
    st.lists(st.sampled_from(["cat", "pls", "none"]), max_size=3).map(tuple),
)  # fmt: skip
CHECKED = (
    "image_size", "control_image_size", "alphas", "fractions", "n_per_class", "width", "n_bootstrap", "val_per_pair",
    "test_per_pair", "heads", "n_splits", "limit_per_class", "split_test", "model_degrees",
)  # fmt: skip


@MANY
@given(st.sampled_from(CHECKED), ANY)
def test_any_value_of_a_profile(name: str, value: object) -> None:
    """What passes is what the program can run: the numbers that it divides by and counts with."""
    profile = replace(SMALL, **{name: value})
    try:
        sheet_check.check(profile)
    except BlendnetError as error:
        one_line(error)
        return
    assert 0.5 in profile.alphas
    assert all(0 <= alpha <= 1 for alpha in profile.alphas)
    assert sum(profile.fractions) == pytest.approx(1)
    assert min(profile.fractions) > 0
    assert 8 <= profile.image_size <= 4096
    assert profile.limit_per_class is None or profile.limit_per_class >= 3
    assert min(profile.n_per_class, profile.width, profile.val_per_pair, profile.test_per_pair, profile.heads) >= 1


@FEW
@given(st.sampled_from(["lr", "batch_size", "epochs", "epoch_size", "alpha", "alpha_start"]), ANY)
def test_any_value_of_a_recipe(name: str, value: object) -> None:
    assert name in {f.name for f in fields(Recipe)}
    recipe = replace(SMALL.recipe, **{name: value})
    try:
        sheet_check.check(replace(SMALL, recipe=recipe))
    except BlendnetError as error:
        one_line(error)
        return
    assert recipe.lr > 0
    assert min(recipe.batch_size, recipe.epochs, recipe.epoch_size) >= 1


def test_the_profiles_of_the_sheet_pass() -> None:
    for profile in sheet.PROFILES.values():
        assert sheet_check.check(profile) is profile
