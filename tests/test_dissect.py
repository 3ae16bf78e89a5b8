"""`blendnet dissect` by the user's command on a small profile, and its numbers against slow loops over blends."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from analysis import superposition, tables
from blendnet import attention, attention_maps, checkpoint, models
from blendnet.activations import read_layers
from blendnet.data import manifest as manifests
from blendnet.data import photoset
from blendnet.data.mixing import blend
from blendnet.data.photos import Photo
from blendnet.errors import BlendnetError
from blendnet.files import read_json, write_json
from blendnet.run import Run
from blendnet.training import evaluate
from blendnet.training.augment import normalise
from blendnet.training.recipes import recipe
from pipelines import _inside, cli, dissect, networks, photographs, sheet
from pipelines.context import Context
from tests.conftest import one_line

TINY = replace(
    sheet.DEMO,
    networks=("cornet_z",),
    recipe=recipe("modern", epochs=1, epoch_size=64),
    image_size=32,
    n_per_class=16,
    alphas=(0.3, 0.5),
    seeds=(0, 1),
    val_per_pair=1,
    test_per_pair=2,
    width=40,
    held_out=frozenset({("boat", "car")}),
)
CLASSES = ("red", "green", "blue")


def blendnet(results, *arguments) -> int:
    return cli.main(["dissect", "--results", str(results), *arguments])


def context(results, profile=TINY, **options) -> Context:
    return Context(profile=profile, results=results / "demo", data=results / "data", progress=False, **options)


def keep(context, run, model) -> None:
    """Store a network as a finished training of the sheet."""
    p = context.profile
    key = {"run": run.id, "recipe": p.recipe.asdict(), "image_size": p.size_of(run), "classes": list(p.classes)}
    checkpoint.save(context.folder("checkpoints", run.id), model, {**key, "key": key})


@pytest.fixture(scope="module")
def tiny():
    before, kept = sheet.PROFILES["demo"], {n: getattr(dissect, n) for n in ("N_TRAIN", "N_MAPS", "WIDTH")}
    sheet.PROFILES["demo"] = TINY
    dissect.N_TRAIN, dissect.N_MAPS, dissect.WIDTH = 84, 2, 40
    yield TINY
    sheet.PROFILES["demo"] = before
    for name, value in kept.items():
        setattr(dissect, name, value)


@pytest.fixture(scope="module")
def results(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for run in tiny.trained_runs():
        keep(context(folder), run, networks.fresh(context(folder), run))
    assert blendnet(folder) == 0
    return folder


def table(results, name) -> pd.DataFrame:
    return tables.read(results / "demo" / "tables" / f"{name}.csv")


def test_tables_hold_every_run_layer_alpha_and_lesion(results):
    found = table(results, "superposition")
    plain, twin = "cornet_z-none-blended-s0", "cornet_z-aacn4-blended-s1"
    assert set(found["run"]) == {r.id for r in TINY.trained_runs()}
    assert set(found[found["run"] == plain]["lesion"]) == {""}
    assert set(found[found["run"] == twin]["lesion"]) == {"", "attention"}
    everything = found[found["outcome"] == "all"]
    assert len(everything) == 6 * 9 * 2
    assert (everything["n_blends"] == 56).all()
    assert set(everything["alpha"]) == {0.3, 0.5}
    first = everything[everything["run"] == plain].drop_duplicates("layer")
    assert first["layer"].tolist() == list(models.layers("cornet_z"))
    np.testing.assert_allclose(first["depth"], np.linspace(0, 1, 9), atol=1e-6)
    decoding = table(results, "decoding")
    assert len(decoding) == 6 * 9 * 3
    # three blends of each pair of classes but the one held out, of photographs of the training split
    assert (decoding["n_train"] == 81).all()
    assert (decoding[decoding["outcome"] != "top1"]["n"] == 56).all()
    assert (table(results, "attention_maps")["run"] == "cornet_z-aacn4-blended-s0").all()


def test_groups_are_the_networks_own_answers_to_the_blends(results):
    c = context(results)
    found = table(results, "superposition")
    seen = set()
    for run in TINY.trained_runs():
        shown, model = dissect._material(c, run, {}), networks.ready(c, run)
        for alpha, rows in zip(shown.alphas, shown.blends):
            logits = evaluate.outputs(model, evaluate.blend_images(shown.photos, rows), len(rows), device="cpu")
            hits = np.take_along_axis(manifests.targets(shown.photos, rows).numpy(),
                                      np.argsort(-logits, axis=1)[:, :2], axis=1).sum(axis=1)  # fmt: skip
            counted = {o: int((hits == k).sum()) for k, o in enumerate(("none", "one", "both"))}
            own = found[(found["run"] == run.id) & (found["lesion"] == "") & (found["alpha"] == alpha)]
            own = own[(own["layer"] == "V2.relu") & (own["outcome"] != "all")]
            assert dict(zip(own["outcome"], own["n_blends"])) == {
                o: n for o, n in counted.items() if n >= superposition.FEWEST
            }
            seen |= set(own["outcome"])
    assert len(seen) >= 2


def test_lesioned_twin_differs_behind_its_first_attention_layer_alone(results):
    found = table(results, "superposition")
    found = found[(found["run"] == "cornet_z-aacn4-blended-s0") & (found["outcome"] == "all")]
    whole, lesioned = (
        found[found["lesion"] == lesion].set_index(["layer", "alpha"])[["weight_first", "weight_second", "r2"]]
        for lesion in ("", "attention")
    )
    same = (whole == lesioned).all(axis=1).groupby(level="layer").all()
    assert {layer for layer, equal in same.items() if equal} == {"V1.relu", "V1.output"}


def test_lesion_is_the_network_whose_attention_gives_zero(results):
    c = context(results)
    run = next(r for r in TINY.trained_runs() if r.attention == "aacn")
    model = networks.ready(c, run)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".project." in name:
                parameter.zero_()
    rows = _inside.layer_rows(model, models.layers(run.network), dissect._material(c, run, {}), width=40, seed=0,
                              device="cpu", tick=lambda k: None)  # fmt: skip
    stored = read_json(c.folder("inside", run.id, "attention.json"))
    for name in ("superposition", "decoding"):
        columns = [k for k, v in rows[name][0].items() if isinstance(v, float)]
        frame, other = pd.DataFrame(rows[name]), pd.DataFrame(stored[name])
        assert set(other["lesion"]) == {"attention"}
        np.testing.assert_allclose(frame[columns], other[columns].astype(float), atol=1e-6)


def test_readouts_see_no_test_photograph_and_no_pair_that_was_held_out(results):
    c = context(results)
    run = TINY.trained_runs()[0]
    shown = dissect._material(c, run, {})
    images = {n: set(rows["image_a"]) | set(rows["image_b"]) for n, rows in
              (("train", shown.train), ("choice", shown.choice), ("test", shown.test))}  # fmt: skip
    split = dict(zip(shown.photos.image_ids, shown.photos.split))
    assert {split[i] for i in images["train"]} == {"train"}
    assert {split[i] for i in images["choice"]} == {"val"}
    assert {split[i] for i in images["test"]} == {"test"}
    for rows in (shown.train, shown.choice):
        assert not {frozenset(p) for p in zip(rows["class_a"], rows["class_b"])} & {frozenset(("boat", "car"))}
    assert (shown.train["alpha"] == 0.5).all()
    assert (shown.test["alpha"] == 0.5).all()
    assert sum(map(len, (shown.train, shown.choice, shown.test))) + len(shown.singles) + 56 * 4 == shown.n_shown


def test_second_time_all_is_reused_and_other_weights_are_measured_anew(results, tiny, capsys):
    inside = results / "demo" / "inside"
    before = {p: p.stat().st_mtime_ns for p in inside.glob("*/*.json")}
    written = {p: p.read_bytes() for p in (results / "demo" / "tables").iterdir()}
    assert len(before) == 2 + 4 + 1
    capsys.readouterr()
    assert blendnet(results) == 0
    assert capsys.readouterr().out.count("reused: all pieces are up to date") == 4
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert {p: p.read_bytes() for p in written} == written

    c, run = context(results), tiny.trained_runs()[0]
    kept = networks.ready(c, run)
    keep(c, run, models.build("cornet_z", n_classes=8, seed=7, image_size=32))
    try:
        assert blendnet(results, "--only", "*aacn*s1") == 0  # its old piece is not taken for the new weights'
        assert f"the tables hold 3 of 4 runs; not dissected yet, or by other settings: {run.id}" in (
            capsys.readouterr().out
        )
        assert run.id not in set(table(results, "superposition")["run"])
        assert blendnet(results, "--only", run.id) == 0
        assert "whole: computed anew, differs in weights" in capsys.readouterr().out
        assert table(results, "superposition")["run"].nunique() == 4
    finally:
        keep(c, run, kept)
    assert blendnet(results, "--only", run.id) == 0
    assert {p: p.read_bytes() for p in written} == written


def test_interrupted_and_in_another_order_the_tables_are_the_same(results, tiny, tmp_path, monkeypatch, capsys):
    for run in tiny.trained_runs():
        keep(context(tmp_path), run, networks.ready(context(results), run))
    measured = _inside.layer_rows
    calls = []

    def killed(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measured(*args, **kwargs)

    monkeypatch.setattr(_inside, "layer_rows", killed)
    assert blendnet(tmp_path, "--only", "*aacn*s1") == 130
    there = list((tmp_path / "demo").rglob("inside/*/*"))
    assert [p.name for p in there] == ["whole.json"]
    assert not (tmp_path / "demo" / "tables").exists()
    stamp = there[0].stat().st_mtime_ns
    assert blendnet(tmp_path, "--only", "*aacn*") == 0
    assert there[0].stat().st_mtime_ns == stamp
    assert len(calls) == 2 + 3
    assert table(tmp_path, "decoding")["run"].nunique() == 2
    assert blendnet(tmp_path) == 0
    for name in dissect.TABLES:
        path = results / "demo" / "tables" / f"{name}.csv"
        assert (tmp_path / "demo" / "tables" / f"{name}.csv").read_bytes() == path.read_bytes()


def test_a_network_is_given_back_without_lesion_and_in_its_mode(results):
    c = context(results)
    run = next(r for r in TINY.trained_runs() if r.attention == "aacn")
    model, shown = networks.ready(c, run).train(), dissect._material(c, run, {})
    piece = dissect._piece(c, run, model, shown, "attention")
    assert {row["lesion"] for row in piece["decoding"]} == {"attention"}
    assert {m.lesion for m in model.modules() if hasattr(m, "lesion")} == {None}
    assert model.training
    plain = networks.ready(c, TINY.trained_runs()[0])
    with pytest.raises(BlendnetError) as error:
        dissect._piece(c, TINY.trained_runs()[0], plain, shown, "attention")
    one_line(error, "no attention to silence")


def test_bad_input_is_one_line(tiny, tmp_path, capsys):
    def line() -> str:
        err = [s for s in capsys.readouterr().err.splitlines() if s.startswith("blendnet:")]
        assert len(err) == 1
        return err[0]

    assert blendnet(tmp_path) == 1
    assert "train it first" in line()
    assert blendnet(tmp_path, "--only", "vgg*") == 1
    assert "--only 'vgg*' fits none of 4 runs" in line()
    with pytest.raises(BlendnetError) as error:
        dissect.gather(context(tmp_path))
    one_line(error, "no run of this profile has been dissected")
    sheet.PROFILES["demo"] = replace(TINY, alphas=(0.3, 0.4))
    try:
        assert blendnet(tmp_path) == 1
        assert "alphas (0.3, 0.4) lack 0.5" in line()
    finally:
        sheet.PROFILES["demo"] = TINY
    assert not (tmp_path / "demo" / "tables").exists()


def test_a_damaged_piece_is_one_line(results, tiny, capsys):
    path = next((results / "demo" / "inside").glob("*none*s0/whole.json"))
    before = path.read_text()
    try:
        path.write_text(before[:100])
        assert blendnet(results) == 1
        assert "whole.json is not valid JSON" in capsys.readouterr().err
        write_json(path, {"key": {}, "superposition": [], "decoding": []})
        assert blendnet(results) == 0
        assert path.read_text() == before
    finally:
        path.write_text(before)


def test_maps_are_those_of_the_network_at_the_blends_own_places(results):
    c = context(results)
    run = next(r for r in TINY.trained_runs() if r.attention == "aacn")
    found = table(results, "attention_maps")
    assert set(found["layer"]) == {"V2.conv", "IT.conv"}
    assert found["blend_id"].nunique() == 2
    total = found.groupby(["layer", "blend_id", "head"])["received"].sum()
    assert len(total) == 2 * 2 * 4
    np.testing.assert_allclose(total, 1, atol=1e-4)

    photos = photographs.load(c, 32)
    rows = photographs.manifest(c, photos, "test").set_index("blend_id")
    model = networks.ready(c, run).eval()
    for blend_id in found["blend_id"].unique():
        row = rows.loc[blend_id]
        a, b = (photos.images[photos.position[row[f"image_{s}"]]].float() / 255 for s in "ab")
        image = 0.5 * a + 0.5 * b
        with torch.no_grad():
            inputs = model.V1(normalise(image[None]))
            expected = model.V2.conv.attention_map(inputs)[0].mean(1).reshape(4, 8, 8)
        own = found[(found["blend_id"] == blend_id) & (found["layer"] == "V2.conv")]
        for r in own.sample(40, random_state=0).itertuples():
            np.testing.assert_allclose(r.received, expected[r.head, r.row, r.column], rtol=1e-4)
            for picture, value in ((image, r.luminance), (a, r.luminance_a), (b, r.luminance_b)):
                patch = picture[:, 4 * r.row : 4 * r.row + 4, 4 * r.column : 4 * r.column + 4].mean((1, 2))
                np.testing.assert_allclose(value, patch @ torch.tensor([0.299, 0.587, 0.114]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "kind", "heads", "sides"),
    [("vit_small", "self", 6, (8, 8)), ("cornet_z", "aacn-legacy", 4, (8, 2)), ("cornet_z", "cbam", 1, (8, 2)),
     ("cornet_z", "se", 0, ())],
)  # fmt: skip
def test_each_kind_of_attention_with_places_has_rows_in_the_same_table(results, network, kind, heads, sides, capsys):
    c = context(results)
    run = Run(network, kind, heads if kind == "aacn-legacy" else 0, "blended", 0)
    shown = dissect._material(c, TINY.trained_runs()[0], {})
    model = models.build(network, attention=kind, image_size=32, n_classes=8).train()
    rows = dissect._piece(c, run, model, shown, "maps")["attention_maps"]
    assert model.training
    if not sides:
        assert rows == []
        assert "no attention map: 'se' gives no place more or less than another" in capsys.readouterr().out
        return
    found = tables.from_rows([asdict(run) | {"run": run.id} | row for row in rows], "attention_maps")
    names = attention_maps.layers(model)
    assert set(found["layer"]) == {names[0], names[-1]}
    assert len(found) == 2 * heads * sum(side**2 for side in sides)  # two blends
    np.testing.assert_allclose(found.groupby(["layer", "blend_id", "head"])["received"].sum(), 1, atol=1e-5)
    blends = shown.blends[-1].set_index("blend_id")
    blend_id = found["blend_id"].iloc[0]
    a, b = (shown.photos.images[shown.photos.position[blends.loc[blend_id, f"image_{s}"]]].float() / 255 for s in "ab")
    x = normalise(blend(a, b, 0.5)[None])
    own = found[(found["blend_id"] == blend_id) & (found["layer"] == names[0])]
    maps = attention_maps.received(model.eval(), names[:1], x)[names[0]][0].numpy()
    np.testing.assert_allclose(own["received"], maps[own["head"], own["row"], own["column"]], rtol=1e-4)


def test_choose_takes_the_same_pairs_of_photographs_at_each_alpha(results):
    c = context(results)
    rows = photographs.manifest(c, photographs.load(c, 32), "test")
    for n, each in ((56, 2), (40, 1), (3, 1), (900, 2)):
        first, second = _inside.choose(rows, (0.3, 0.5), n)
        assert len(first) == len(second) == 28 * each
        assert first[["image_a", "image_b"]].equals(second[["image_a", "image_b"]])
        assert set(first["alpha"]) == {0.3}
        assert {frozenset(p) for p in zip(first["class_a"], first["class_b"])} == {
            frozenset(p) for p in zip(rows["class_a"], rows["class_b"])
        }


# A network of known answers, on photographs made for it.


@pytest.fixture(scope="module")
def shown() -> _inside.Material:
    rng = np.random.default_rng(0)

    def image(k: int) -> np.ndarray:
        out = rng.integers(0, 120, (16, 16, 3)).astype(np.uint8)
        out[..., k] += np.uint8(100)
        return out

    made = [image(k) for k in range(3) for _ in range(20)]
    photos = photoset.load(
        [Photo(f"t/{i}", CLASSES[i // 20], "t", lambda i=i: made[i]) for i in range(60)],
        image_size=16, classes=CLASSES, progress=False, fractions=(0.4, 0.2, 0.4),
    )  # fmt: skip
    test = manifests.manifest(photos, "test", n_per_pair=8, alphas=(0.3, 0.5))
    return _inside.Material(
        photos, (0.3, 0.5), _inside.choose(test, (0.3, 0.5), 24), manifests.manifest(photos, "train", n_per_pair=20),
        manifests.manifest(photos, "val", n_per_pair=6), _inside.choose(test, (0.5,), 24)[0],
    )  # fmt: skip


class Known(nn.Module):
    """linear: mixes; squared: does not; strongest: answers to the object of the class that comes first alone, by its
    colour, which the blend still shows; the outputs are how much of each colour there is."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.squared, self.strongest = nn.Conv2d(3, 5, 3, stride=2), nn.Tanh(), nn.Identity()
        self.count = nn.Identity()
        torch.manual_seed(0)
        nn.init.normal_(self.linear.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.squared(self.linear(x))
        colours = self.count(x.mean((2, 3)))
        self.strongest(nn.functional.one_hot(colours.argmax(1), 3).float())
        return colours


def rows_of(model, layers, shown):
    ticks = []
    found = _inside.layer_rows(model, layers, shown, width=30, seed=0, device="cpu", tick=ticks.append)
    assert sum(ticks) == shown.n_shown
    return {name: pd.DataFrame(rows) for name, rows in found.items()}


def test_a_linear_layer_has_the_weights_of_the_pixels_end_to_end(shown):
    found = rows_of(Known(), ("linear", "squared", "strongest", "count"), shown)["superposition"]
    found = found[found["outcome"] == "all"].set_index(["layer", "alpha"])
    for layer in ("linear", "count"):
        for alpha in (0.3, 0.5):
            row = found.loc[(layer, alpha)]
            expected = [alpha, 1 - alpha, 1, 1, 0]
            values = row[["weight_first", "weight_second", "r2", "r2_mixture", "bias"]].astype(float)
            np.testing.assert_allclose(values, expected, atol=2e-5)
    assert (found.loc["squared"]["r2"] < 0.99).all()
    # at alpha 0.3 the second object's colour is the stronger one, and the layer answers to it alone
    np.testing.assert_allclose(
        found.loc[("strongest", 0.3)][["weight_first", "weight_second", "r2"]].astype(float), [0, 1, 1], atol=1e-6
    )


def test_rows_are_those_of_a_slow_loop_over_blends(shown):
    model, photos = Known(), shown.photos
    found = rows_of(model, ("linear", "squared"), shown)["superposition"]
    image = lambda i: photos.images[photos.position[i]].float() / 255  # noqa: E731

    def response(x: torch.Tensor) -> np.ndarray:
        return read_layers(model, ["squared"], normalise(x[None]), lambda _, o: o)["squared"].double().numpy().ravel()

    names = sorted(set(shown.blends[0]["image_a"]) | set(shown.blends[0]["image_b"]))
    alone = {i: response(image(i)) for i in names}
    mean = np.mean(list(alone.values()), axis=0)
    for rows in shown.blends:
        weights, fits, biases, outcomes = [], [], [], []
        for row in rows.itertuples():
            x = blend(image(row.image_a), image(row.image_b), row.alpha)
            basis = np.stack([alone[row.image_a] - mean, alone[row.image_b] - mean], axis=1)
            target = response(x) - mean
            w, *_ = np.linalg.lstsq(basis, target, rcond=None)
            weights.append(w)
            fits.append(1 - np.square(target - basis @ w).sum() / np.square(target).sum())
            logits = {i: model(normalise(image(i)[None]))[0] for i in (row.image_a, row.image_b)}
            own = [logits[row.image_a][CLASSES.index(row.class_a)], logits[row.image_b][CLASSES.index(row.class_b)]]
            better, other = (w[0] - row.alpha, w[1] - 1 + row.alpha)[:: 1 if own[0] > own[1] else -1]
            biases.append(better - other)
            top = model(normalise(x[None]))[0].topk(2).indices.tolist()
            outcomes.append(len({CLASSES[i] for i in top} & {row.class_a, row.class_b}))
        row = found[(found["layer"] == "squared") & (found["alpha"] == rows["alpha"][0])].set_index("outcome")
        for outcome, chosen in (("all", np.ones(24, bool)), ("both", np.array(outcomes) == 2)):
            assert row.loc[outcome, "n_blends"] == chosen.sum()
            np.testing.assert_allclose(row.loc[outcome, "weight_first"], np.array(weights)[chosen, 0].mean(), rtol=1e-5)
            np.testing.assert_allclose(
                row.loc[outcome, "weight_second"], np.array(weights)[chosen, 1].mean(), rtol=1e-5
            )
            np.testing.assert_allclose(row.loc[outcome, "r2"], np.array(fits)[chosen].mean(), rtol=1e-5)
            np.testing.assert_allclose(row.loc[outcome, "bias"], np.array(biases)[chosen].mean(), atol=1e-5)


def test_colours_are_decoded_and_single_photographs_too(shown):
    found = rows_of(Known(), ("count", "strongest"), shown)["decoding"].set_index(["layer", "outcome"])
    assert found.loc[("count", "both"), "rate"] == 1
    assert found.loc[("count", "top1"), "rate"] == 1
    assert found.loc[("strongest", "both"), "rate"] < 1
    assert found.loc[("count", "both"), "n_train"] == 60
    assert found.loc[("count", "both"), "n"] == 24
    assert found.loc[("count", "top1"), "n"] == len(shown.singles)
    np.testing.assert_allclose(found.loc[("count", "both"), "chance"], 1 / 3)


def test_set_lesion_leaves_no_trace_in_a_networks_answers(results):
    run = next(r for r in TINY.trained_runs() if r.attention == "aacn")
    model = networks.ready(context(results), run).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = model(x)
        attention.set_lesion(model, "attention")
        assert not torch.allclose(model(x), before)
        attention.set_lesion(model, None)
        assert torch.equal(model(x), before)
