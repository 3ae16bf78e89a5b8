"""Any JSON in the place of every JSON file of finished results: the verbs that read it say one line, or what they make
is what they made before. Never a traceback."""

import contextlib
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blendnet._kinds import AMOUNT, not_deep, unlike
from blendnet.errors import BlendnetError
from blendnet.files import here, read_json, read_object, write_json
from pipelines import cli
from tests import bad_inputs
from tests.bad_inputs import RUN, Room
from tests.conftest import one_line

UNTRAINED = "cornet_z-none-untrained-s0"
CEILING = "cache/ceilings/planted-V1-V1-rsa.json"
# Every JSON file of the small chain, or one of its sort, and the verbs that read it: quick ones, and others.
META, INSIDE = f"checkpoints/{RUN}/meta.json", f"inside/{RUN}/whole.json"
QUICK = {
    META: ["status", "doctor", "extract"],
    INSIDE: ["doctor"],
    f"predictions/{RUN}/key.json": ["doctor"],
    f"activations/{RUN}/planted/key.json": ["doctor"],
    f"activations/{RUN}/planted/sha256.json": ["doctor"],
    f"activations/{RUN}/planted-source/key.json": ["doctor"],
    f"scores/{RUN}/planted-V1-V1-rsa.json": ["doctor"],
    CEILING: ["doctor"],
    "tables/sha256.json": ["doctor"],
    "figures/drawn.json": ["doctor", "draw --check"],
    "plan.json": ["draw --check"],
    "jobs/train.json": ["status"],
    "jobs/correlate.json": ["status"],
    f"jobs/train-{RUN}.json": ["status"],
    "jobs/correlate-all.json": ["status", "status --json"],
    f"locks/train-{RUN}.lock": ["status"],
}
SLOW = {
    META: ["train", "predict", "score", "dissect", f"reproduce {RUN}"],
    INSIDE: ["dissect"],
    f"predictions/{RUN}/key.json": ["predict", "correlate", "score"],
    f"activations/{RUN}/planted/key.json": ["score", "extract"],
    f"activations/{RUN}/planted/sha256.json": ["score --force --only cornet_z-none-blended-s0"],
    f"activations/{RUN}/planted-source/key.json": ["score"],
    f"activations/{RUN}/planted-source/sha256.json": ["score"],
    f"scores/{RUN}/planted-V1-V1-rsa.json": ["correlate", "score"],
    CEILING: ["score"],
    "cache/source_control.json": ["predict"],
    "tables/provenance.json": ["report", f"reproduce {RUN}"],
    "tables/sha256.json": ["report", "correlate", "verify"],
    "figures/drawn.json": ["report"],
}
# Nothing of a name's own meaning: what is right by chance would be another result.
NAMES = ["key", "files", "units", "trained", "recipe", "surroundings", "scores", "layers", "samples", "stimulus_id",
         "sha256", "n_stimuli", "seconds", "status", "token", "job", "products", "epochs", "runs", RUN, "all", "pid",
         "host", "recording_name", "superposition", "parameters", "flops", "legacy", "budget_s", "photos"]  # fmt: skip
LEAF = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 5), st.sampled_from([10**30, 10**400, 1e300, -1.5]),
    st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=6), st.sampled_from(["done", "\n", RUN]),
)  # fmt: skip
ANY = st.recursive(
    LEAF, lambda some: st.one_of(st.lists(some, max_size=3), st.dictionaries(st.sampled_from(NAMES), some, max_size=4)),
    max_leaves=12,
)  # fmt: skip
COMMON = settings(
    deadline=None, derandomize=True, database=None, max_examples=6,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that the program leaves of a small chain, units and a plan among it."""
    folder = tmp_path_factory.mktemp("whole") / "results"
    shutil.copytree(bad_inputs._chain(), folder)
    with bad_inputs._sheet(), contextlib.redirect_stdout(io.StringIO()):
        for verb in ("dissect", "correlate", "draw", "report"):
            assert cli.main([verb, "--results", str(folder)]) == 0
        recipe = bad_inputs.SMALL.recipe
        plan = {"budget_s": 60.0, "epochs": recipe.epochs, "sheet_recipe": recipe.asdict(), "runs": {}}
        write_json(folder / "demo" / "plan.json", plan)
        for verb, unit in (("train", RUN), ("correlate", "all")):
            units = {unit: {"job": "7_0", "token": "t", "about": ""}}
            write_json(folder / "demo" / "jobs" / f"{verb}.json", {"units": units})
            note = {"status": "done", "token": "t", "seconds": 1.5, "products": {}, "job": "7_0", "host": "h"}
            write_json(folder / "demo" / "jobs" / f"{verb}-{unit}.json", note)
        lock = {"word": "w", "host": here(), "name": "h", "pid": os.getpid(), "began": None, "job": ""}
        (folder / "demo" / "locks" / f"train-{RUN}.lock").write_text(json.dumps(lock))
    return folder


def tables_of(results: Path) -> dict[str, str]:
    """What the verbs make, by the hashes of the files; times and hardware are in none of them."""
    paths = sorted((results / "demo" / "tables").glob("*.csv"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def judge(whole: Path, folder: Path, name: str, verb: str, value: Any, *, other: bool = False) -> None:
    """Run the verb with the value in the place of the file. other: a changed file with a right hash of its content may
    bring other numbers, as it says."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder / "results", copy_function=os.link)
    room = Room(folder / "room")
    room.results = folder / "results"
    path = room.results / "demo" / name
    if verb.startswith("reproduce") and "provenance" in name:  # which is read where there is no checkpoint any more
        shutil.rmtree(room.results / "demo" / "checkpoints")
    if name == CEILING and verb == "score":  # which is read where a score is missing
        for piece in (room.results / "demo" / "scores").glob("*/planted-V1-V1-rsa.json"):
            piece.unlink()
    if "locks" not in name:  # which would be waited for
        (room.results / "demo" / "locks" / f"train-{RUN}.lock").unlink()
    room.put_json(path, value if not isinstance(value, str) else json.dumps(value))
    words = [*verb.split(), "--results", str(room.results), "--data", str(room.data)]
    with bad_inputs._sheet(), bad_inputs._stderr() as said, contextlib.redirect_stdout(io.StringIO()) as out:
        status = cli.main(words)
    if status == 0:
        assert said() == ""
        if not other:
            assert tables_of(room.results) == tables_of(whole)
        return
    assert status == 1
    if verb == "doctor":
        assert f"damaged: {path}: " in out.getvalue()
    elif not (other and verb.startswith("reproduce") and "not reproduced: " in out.getvalue()):
        assert said().startswith("blendnet: error: ")
        assert said().count("\n") == 1, said()
        assert len(said()) < 1200


def pairs(of: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(name, verb) for name, verbs in of.items() for verb in verbs]


@pytest.mark.parametrize(("name", "verb"), pairs(QUICK))
def test_any_json_in_the_place_of_a_file(whole: Path, tmp_path: Path, name: str, verb: str) -> None:
    @COMMON
    @given(ANY)
    def ask(value: Any) -> None:
        judge(whole, tmp_path / "room", name, verb, value)

    ask()


@pytest.mark.parametrize(("name", "verb"), pairs(SLOW))
def test_any_json_in_the_place_of_a_file_that_much_is_made_from(
    whole: Path, tmp_path: Path, name: str, verb: str
) -> None:
    @settings(COMMON, max_examples=1)
    @given(ANY)
    def ask(value: Any) -> None:
        judge(whole, tmp_path / "room", name, verb, value)

    ask()


def places(value: Any, at: tuple = ()) -> Iterator[tuple]:
    """The paths of all parts of a JSON value; of a list only the first two."""
    inside = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for name, one in inside:
        yield (*at, name)
        yield from places(one, (*at, name))


def changed(value: Any, at: tuple, new: Any, *, gone: bool) -> Any:
    """The value with one part replaced, or without it."""
    value = json.loads(json.dumps(value))
    inside = value
    for name in at[:-1]:
        inside = inside[name]
    if gone:
        del inside[at[-1]]
    else:
        inside[at[-1]] = new
    return value


@pytest.mark.parametrize(("name", "verb"), pairs(QUICK) + pairs(SLOW))
def test_one_part_of_a_file_is_something_else(whole: Path, tmp_path: Path, name: str, verb: str) -> None:
    """With a right hash of the content, as somebody would write it who wants to be believed."""
    right = read_json(whole / "demo" / name)
    all_places = sorted(places(right), key=str)

    @settings(COMMON, max_examples=6 if verb in QUICK.get(name, ()) else 1)
    @given(st.sampled_from(all_places), ANY, st.booleans())
    def ask(at: tuple, new: Any, gone: bool) -> None:
        judge(whole, tmp_path / "room", name, verb, changed(right, at, new, gone=gone), other=True)

    ask()


def test_every_json_file_is_asked_about(whole: Path) -> None:
    asked = {*QUICK, *SLOW}
    for path in sorted([*whole.rglob("*.json"), *whole.rglob("*.lock")]):
        name = str(path.relative_to(whole / "demo")).replace(UNTRAINED, RUN).replace("scores/pixels", f"scores/{RUN}")
        assert name.replace("IT-IT", "V1-V1") in asked, path


# ---------------------------------------------------------------- kinds


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        ([], {}, "it is a list, no object"),
        ({"a": 5}, {"a": str}, "a is 5, no text"),
        ({}, {"a": str}, "it has no 'a'"),
        ({"b": {}}, {"b": {"c": int}}, "b has no 'c'"),
        ({"files": {"x": 3}}, {"files?": {str: str}}, "files.x is 3, no text"),
        ({"a": [1, "x"]}, {"a": [int]}, "a[1] is 'x', no whole number of 0 or more"),
        ({"a": -1}, {"a": int}, "a is -1, no whole number of 0 or more"),
        ({"a": True}, {"a": int}, "a is True, no whole number of 0 or more"),
        ({"a": 1.5}, {"a": int}, "a is 1.5, no whole number of 0 or more"),
        ({"a": 10**400}, {"a": float}, f"a is 1{'0' * 39}…, no number"),
        ({"a": -0.5}, {"a": AMOUNT}, "a is -0.5, no number of 0 or more"),
        ({"a": "x"}, {"a": (AMOUNT, None)}, "a is 'x', no number of 0 or more"),
    ],
)
def test_what_is_not_of_a_kind_is_said(value: Any, kind: Any, says: str) -> None:
    assert unlike(value, kind) == says


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({}, {"a?": str}), ({"a": None}, {"a": (AMOUNT, None)}), ({"a": -2, "b": []}, {"a": float}), ([], [str]),
        ({"x": {"y": 1}}, {str: {"y": int}}), ([None, 0.5], [(float, None)]), ({"a": {}}, {"a": dict}),
    ],
)  # fmt: skip
def test_what_is_of_a_kind_is_taken(value: Any, kind: Any) -> None:
    assert unlike(value, kind) == ""


def test_half_letters_and_depths_are_no_json_of_ours(tmp_path: Path) -> None:
    """The first cannot be printed or written, the second ends whatever goes down into it."""
    path = tmp_path / "a.json"
    for content in (r'{"error": "\ud800"}', r'{"error": "\uDFff"}', '{"a":' * 100 + "1" + "}" * 100):
        path.write_text(content)
        with pytest.raises(BlendnetError) as error:
            read_json(path)
        one_line(error, "a.json is not valid JSON")
    path.write_text(r'{"error": "\ud83d\ude00"}')  # both halves of a letter
    assert read_object(path, {"error": str})["error"] == "\U0001f600"
    not_deep([[[{"a": [1, {}]}]], 5])
