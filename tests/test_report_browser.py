"""The report in a real Chromium: sorts, filters, explorer, keys, theme, paper; and nothing is fetched or thrown."""

import base64
import json
from io import StringIO
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest

from analysis import page as html
from analysis import report
from analysis.figures import _style as s
from tests import browser, made_tables
from tests.test_report import PNG, PROVENANCE, SETTINGS

if browser.program() is None:
    pytest.skip("no chromium, chromium-browser or google-chrome on this machine", allow_module_level=True)
pytest.importorskip("websocket", reason="the package websocket-client is not installed")

EVIL = "</script><script>document.title='taken'</script>"
ROWS = "[...document.querySelectorAll('#table-{} tbody tr')].map(r => r.cells[{}].textContent)"


@pytest.fixture(scope="module")
def made():
    return made_tables.made(quick=True, trainings=("blended", "regular"))


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    where = tmp_path_factory.mktemp("report")
    rest = {"accuracy_twins": PNG}, SETTINGS, PROVENANCE
    (where / "report.html").write_text(report.build(made, *rest, "made"), encoding="utf-8")
    evil = {k: made[k].copy() for k in ("accuracy", "scores", "twins", "layers")}
    evil["layers"]["network"] = evil["layers"]["network"] + EVIL
    (where / "evil.html").write_text(report.build(evil, *rest, "evil"), encoding="utf-8")
    return where


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as found:
        found.size(1280)
        yield found


@pytest.fixture
def page(tab, folder):
    """The report as just opened; afterwards nothing went wrong and nothing but the file itself was asked for."""
    tab.media()
    tab.problems.clear()
    tab.requests.clear()
    tab.open(address(folder))
    yield tab
    tab.settle()
    assert tab.problems == []
    assert {r for r in tab.requests if not r.startswith(("data:", "blob:"))} <= {address(folder), "about:blank"}


def address(folder, name="report.html", part=""):
    return f"file://{quote(str(Path(folder) / name))}{part}"


def unfold(page, name):
    page.run(f"document.getElementById('table-{name}').closest('details').open = true")
    page.until(f"document.querySelectorAll('#table-{name} tbody tr').length !== {html.PRINTED}")


def status(page, name):
    return page.run(f"document.getElementById('table-{name}').closest('details').querySelector('.count').textContent")


def head(name, column):
    return f"document.querySelectorAll('#table-{name} thead button')[{column}]"


def test_columns_sort_by_mouse_and_by_keyboard_blanks_last(page, made):
    df = made["scores"]
    unfold(page, "scores")
    at = list(df.columns).index("ceiling_hi")
    page.run(f"{head('scores', at)}.id = 'aim'")
    for way, ascending in (("ascending", True), ("descending", False)):
        page.mouse("#aim")
        assert page.run("document.getElementById('aim').parentElement.getAttribute('aria-sort')") == way
        order = df["ceiling_hi"].sort_values(ascending=ascending)
        assert page.run(ROWS.format("scores", at)) == [html.shown(v) for v in order]
        assert f"sorted by ceiling_hi, {way}" in status(page, "scores")
    seeds = list(df.columns).index("seed")
    page.run(f"{head('scores', seeds)}.focus()")
    page.key("Enter", 13, "\r")
    shown = page.run(ROWS.format("scores", seeds))
    known = sorted(df["seed"].dropna().astype(int))
    assert shown == [str(v) for v in known] + [""] * int(df["seed"].isna().sum())
    page.key(" ", 32, " ")
    shown = page.run(ROWS.format("scores", seeds))
    assert shown == [str(v) for v in known[::-1]] + [""] * int(df["seed"].isna().sum())
    sorts = page.run("[...document.querySelectorAll('#table-scores th[aria-sort]')].map(t => t.textContent)")
    assert sorts == ["seed"]
    text = list(df.columns).index("run")
    page.run(f"{head('scores', text)}.click()")
    assert page.run(ROWS.format("scores", text)) == sorted(df["run"])


def test_small_tables_of_the_page_itself_sort_too(page, made):
    page.run(f"{head('accuracy-summary', 0)}.click()")
    names = page.run(ROWS.format("accuracy-summary", 0))
    assert names == sorted(names)
    assert "guessing" in names


def test_rows_are_filtered_by_words_and_by_selects_and_come_as_csv(page, made, tmp_path):
    df = made["scores"]
    unfold(page, "scores")
    box = "document.getElementById('table-scores').closest('details')"
    assert status(page, "scores") == f"{len(df)} of {len(df)} rows"
    page.run(f"{box}.querySelector('input').id = 'words'")
    page.write("#words", "CORNET_Z invented-fmri")
    kept = df[(df["network"] == "cornet_z") & (df["recording"] == "invented-fmri")]
    assert status(page, "scores").startswith(f"{len(kept)} of {len(df)} rows")
    labels = page.run(f"[...{box}.querySelectorAll('.filters label')].map(l => l.firstChild.textContent)")
    few = [
        c
        for c in df.columns
        if not html.is_number(df[c]) and 2 <= df[c].astype(object).fillna("").astype(str).nunique() <= 12
    ]
    assert labels == ["Rows that contain", *few]
    for name in ("kind", "region"):
        page.run(f"{box}.querySelectorAll('select')[{few.index(name)}].id = 'choose-{name}'")
    page.choose("#choose-kind", "untrained")
    page.choose("#choose-region", "IT")
    kept = kept[(kept["kind"] == "untrained") & (kept["region"] == "IT")]
    assert len(kept) == 2
    assert page.run(ROWS.format("scores", 0)) == list(kept["run"])
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.run(f"[...{box}.querySelectorAll('button')].find(b => b.textContent === 'Download CSV').click()")
    for _ in range(200):
        if (tmp_path / "scores.csv").exists():
            break
        page.settle()
    there = pd.read_csv(tmp_path / "scores.csv", keep_default_na=False, na_values=[""])
    assert list(there.columns) == list(df.columns)
    pd.testing.assert_series_equal(there["score"], kept["score"].reset_index(drop=True), rtol=1e-9)
    assert list(there["weights_sha256"]) == list(kept["weights_sha256"])
    page.write("#words", "no such row")
    assert status(page, "scores").startswith(f"0 of {len(df)} rows")


def test_chosen_rows_are_copied_as_csv_and_a_refusal_is_said(page, made):
    df = made["scores"]
    unfold(page, "scores")
    box = "document.getElementById('table-scores').closest('details')"
    page.run(f"{box}.querySelector('input').id = 'words'")
    page.write("#words", "CORNET_Z invented-fmri")
    kept = df[(df["network"] == "cornet_z") & (df["recording"] == "invented-fmri")].reset_index(drop=True)
    assert 0 < len(kept) < len(df)
    page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.run("navigator.clipboard.writeText('what was there before')")
    page.run(f"[...{box}.querySelectorAll('button')].find(b => b.textContent === 'Copy CSV').id = 'copy'")
    said = "document.querySelector('#copy').closest('details').textContent"
    assert "copied" not in page.run(said)
    page.mouse("#copy")
    page.until(f"{said}.includes('copied')")
    there = pd.read_csv(StringIO(page.run("navigator.clipboard.readText()")), keep_default_na=False, na_values=[""])
    assert list(there.columns) == list(df.columns)
    for column in ("run", "region", "weights_sha256"):
        assert list(there[column]) == list(kept[column])
    np.testing.assert_allclose(there[["score", "lo", "hi"]], kept[["score", "lo", "hi"]].astype(float), rtol=1e-9)
    assert list(there["n_neuroids"].isna()) == list(kept["n_neuroids"].isna())

    page.run("navigator.clipboard.writeText = () => Promise.reject(new DOMException('no', 'NotAllowedError'))")
    page.run("document.getElementById('copy').focus()")
    page.key("Enter", 13, "\r")
    page.until(f"{said}.includes('the browser does not allow copying; use Download CSV')")


def test_thousands_of_rows_are_capped_on_the_screen_and_searched_whole(page, made):
    df = made["accuracy"]
    assert len(df) > 2000
    assert page.run("document.querySelectorAll('#table-accuracy tbody tr').length") == html.PRINTED  # until asked for
    unfold(page, "accuracy")
    assert page.run("document.querySelectorAll('#table-accuracy tbody tr').length") == 2000
    assert "the first 2000 are listed, filter, sorting and CSV take all" in status(page, "accuracy")
    last = df.iloc[-1]
    page.run("document.getElementById('table-accuracy').closest('details').querySelector('input').id = 'search'")
    page.write("#search", f"{last['run']} {last['group']} {last['outcome']} {last['by']}")
    words = [str(last[c]).lower() for c in ("run", "group", "outcome", "by")]
    texts = df.apply(lambda r: "\n".join("" if pd.isna(v) else str(v) for v in r).lower(), axis=1)
    expected = sum(all(w in t for w in words) for t in texts)
    assert 1 <= expected < 100
    assert status(page, "accuracy").startswith(f"{expected} of {len(df)} rows")


def test_numbers_are_written_as_by_python(page, made):
    values = [0, -0.5, 12345.678, 1e-5, -3.21e-7, 0.00012345, 999.96, 3, 1e9, 0.1 + 0.2, -1234.5678, 1 / 3]
    values += list(made["layers"]["score"].round(9)[:200])
    assert page.run(f"{json.dumps(values)}.map(shown)") == [html.shown(v) for v in values]


def chosen(page):
    return {k: page.run(f"document.getElementById('explorer-{k}').value") for k in ("place", "metric", "network",
                                                                                    "training")}  # fmt: skip


def expected_profile(made, state):
    """{(label, layer): (mean, n)} and {(label, layer): runs that committed it}, worked out with pandas."""
    region, recording = state["place"].split("\n")
    at = {"region": region, "recording": recording, "metric": state["metric"], "network": state["network"]}
    layers, scores = made["layers"], made["scores"]
    for name, value in at.items():
        layers, scores = layers[layers[name] == value], scores[scores[name] == value]
    means, committed = {}, {}
    for kind, training, words in (("network", state["training"], ""), ("untrained", "untrained", "untrained, ")):
        mine = layers[(layers["kind"] == kind) & (layers["training"] == training)]
        for (attention, heads, layer), part in mine.groupby(["attention", "heads", "layer"]):
            label = words + s.twin(attention, heads)
            means[label, layer] = (part["score"].mean(), len(part))
            own = scores[(scores["kind"] == kind) & scores["run"].isin(part["run"]) & (scores["layer"] == layer)]
            committed[label, layer] = len(own)
    return means, committed


def check_view(page, made):
    """What is drawn and what stands in the table below are the numbers of the tables."""
    state = chosen(page)
    means, committed = expected_profile(made, state)
    points = page.run("[...document.querySelectorAll('.point')].map(p => ({v: Number(p.dataset.v), "
                      "y: p.transform.baseVal[0].matrix.f, x: p.transform.baseVal[0].matrix.e, "
                      "label: p.getAttribute('aria-label'), ring: !!p.querySelector('.ring')}))")  # fmt: skip
    ticks = page.run(
        "[...document.querySelectorAll('.tick')].map(t => [Number(t.dataset.v), Number(t.getAttribute('y'))])"
    )
    values, heights = np.array(ticks).T
    slope, level = np.polyfit(values, heights, 1)
    assert slope < 0
    assert len(points) == len(means)
    for point in points:
        layer, rest = point["label"].split(" (depth ")
        label = rest.split("), ", 1)[1].split(": ")[0]
        mean, n = means[label, layer]
        assert point["v"] == pytest.approx(mean, abs=1e-9)
        assert point["y"] + 4 == pytest.approx(slope * mean + level, abs=0.02)  # a tick's text hangs 4 below its line
        assert f": {html.shown(mean)} (" in point["label"]
        assert ("one seed" if n == 1 else f"mean of {n} seeds") in point["label"]
        assert point["ring"] == (committed[label, layer] > 0 and not label.startswith("untrained"))
    table = page.run("[...document.querySelectorAll('#explorer-numbers tr')].map(r => [...r.cells].map("
                     "c => c.dataset.v ?? c.textContent))")  # fmt: skip
    names, rows = table[0], table[1:]
    for (label, layer), (mean, n) in means.items():
        column = names.index(f"{label}, mean" if n > 1 else label)
        assert float(next(r for r in rows if r[0] == layer)[column]) == pytest.approx(mean, abs=1e-9)
    drawn = page.run("[...document.querySelectorAll('.level')].map(l => [l.classList[1], Number(l.dataset.v)])")
    pixels = made["scores"][(made["scores"]["kind"] == "pixels")
                            & (made["scores"]["recording"] == state["place"].split("\n")[1])
                            & (made["scores"]["region"] == state["place"].split("\n")[0])
                            & (made["scores"]["metric"] == state["metric"])]["score"].item()  # fmt: skip
    assert dict(drawn) == {"ceiling": 0.75, "pixels": pytest.approx(pixels, abs=1e-9)}


def test_the_explorer_draws_the_numbers_of_the_tables(page, made):
    check_view(page, made)
    first = chosen(page)
    assert first["place"] == "V1\ninvented-v1"
    places = page.run("[...document.getElementById('explorer-place').options].map(o => o.value)")
    assert places == ["V1\ninvented-v1", "V4\ninvented-v4", "EVC\ninvented-fmri", "IT\ninvented-fmri"]
    for place in places[1:]:
        page.choose("#explorer-place", place)
        check_view(page, made)
    page.choose("#explorer-place", "V4\ninvented-v4")
    for select, value in (("metric", "ridge"), ("network", "cornet_z"), ("training", "regular")):
        page.choose(f"#explorer-{select}", value)
        assert chosen(page)[select] == value
        check_view(page, made)
    page.choose("#explorer-place", "EVC\ninvented-fmri")  # has no ridge: another metric takes its place, the rest stays
    assert chosen(page) == {
        "place": "EVC\ninvented-fmri",
        "metric": "rsa",
        "network": "cornet_z",
        "training": "regular",
    }
    check_view(page, made)


def test_the_map_holds_every_area_and_leads_to_it(page, made):
    layers, scores = made["layers"], made["scores"]
    page.choose("#explorer-metric", "pls")
    heads = page.run("[...document.querySelectorAll('#explorer-map thead button')].map(b => b.innerText)")
    assert heads == ["V1\ninvented-v1", "V4\ninvented-v4"]  # those that have this metric
    options = page.run("[...document.getElementById('explorer-map-choice').options].map(o => o.value)")
    assert options == ["plain", "attention (4 heads)", "attention (4 heads) − plain"]
    page.choose("#explorer-map-choice", options[2])
    own = layers[(layers["network"] == "resnet18") & (layers["training"] == "blended") & (layers["metric"] == "pls")]
    means = own.groupby(["recording", "layer", "attention"])["score"].mean().unstack()
    rows = page.run("[...document.querySelectorAll('#explorer-map tbody tr')].map(r => [...r.cells].map("
                    "c => c.dataset.v ?? c.textContent))")  # fmt: skip
    assert [r[0] for r in rows] == list(made_tables.LAYERS["resnet18"])
    for layer, *values in rows:
        for recording, value in zip(("invented-v1", "invented-v4"), values):
            there = means.loc[(recording, layer)]
            assert float(value) == pytest.approx(there["aacn"] - there["none"], abs=1e-9)
    page.choose("#explorer-map-choice", "plain")
    mine = scores[(scores["network"] == "resnet18") & (scores["attention"] == "none") & (scores["metric"] == "pls")
                  & (scores["training"] == "blended") & (scores["kind"] == "network")]  # fmt: skip
    framed = page.run("document.querySelectorAll('#explorer-map .committed').length")
    assert framed == len(mine.drop_duplicates(["recording", "layer"]))
    page.run("document.querySelectorAll('#explorer-map thead button')[1].click()")
    assert chosen(page)["place"] == "V4\ninvented-v4"
    assert page.run("document.activeElement.id") == "explorer-title"
    assert page.run("document.querySelector('#explorer-map [aria-current]').innerText") == "V4\ninvented-v4"
    check_view(page, made)


def test_the_scale_may_leave_the_ceiling_out(page, made):
    page.mouse("#explorer-scale")
    assert page.run("document.querySelectorAll('.level.ceiling').length") == 0
    assert "ceiling 0.75, above this scale" in page.run("document.getElementById('explorer-picture').textContent")
    top = page.run("Math.max(...[...document.querySelectorAll('.tick')].map(t => +t.dataset.v))")
    assert top < 0.75
    assert "scale=layers" in page.run("location.hash")
    page.mouse("#explorer-scale")
    check_view(page, made)


def test_the_explorer_is_gone_through_by_keys_and_says_its_numbers(page, made):
    means, _ = expected_profile(made, chosen(page))
    readout = "document.querySelector('.readout').textContent"
    assert page.run("document.querySelector('.readout').getAttribute('aria-live')") == "polite"
    assert page.run("document.querySelectorAll('.point[tabindex=\"0\"]').length") == 1
    # Tab from the last field goes to the one point that is in the order of Tab.
    page.run("document.getElementById('explorer-scale').focus()")
    page.key("Tab", 9)
    assert page.run("document.activeElement.classList.contains('point')")
    names = list(made_tables.LAYERS["resnet18"])
    for key, code, label, layer in (
        ("ArrowRight", 39, "plain", names[1]), ("ArrowDown", 40, "attention (4 heads)", names[1]),
        ("End", 35, "attention (4 heads)", names[-1]), ("ArrowRight", 39, "attention (4 heads)", names[-1]),
        ("ArrowDown", 40, "untrained, plain", names[-1]), ("Home", 36, "untrained, plain", names[0]),
        ("ArrowLeft", 37, "untrained, plain", names[0]), ("ArrowUp", 38, "attention (4 heads)", names[0]),
    ):  # fmt: skip
        page.key(key, code)
        assert page.run(readout).startswith(f"{layer} (depth ")
        assert f"), {label}: {html.shown(means[label, layer][0])} (" in page.run(readout)
        assert page.run("document.querySelectorAll('.point[tabindex=\"0\"]').length") == 1
    seeds = made["layers"][(made["layers"]["recording"] == "invented-v1") & (made["layers"]["network"] == "resnet18")
                           & (made["layers"]["attention"] == "aacn") & (made["layers"]["training"] == "blended")
                           & (made["layers"]["layer"] == names[0])]["score"]  # fmt: skip
    assert f"mean of 2 seeds: {', '.join(html.shown(v) for v in seeds)}" in page.run(readout)
    assert "Ceiling 0.75, pixels " in page.run(readout)
    page.mouse('.point[data-series="0"][data-layer="4"]', click=False)
    page.until(f"{readout}.startsWith('{names[4]} (depth 0.8), plain: ')")


def test_a_link_brings_the_view_back(page, folder, made):
    for select, value in (("place", "V4\ninvented-v4"), ("metric", "ridge"), ("network", "cornet_z"),
                          ("training", "regular")):  # fmt: skip
        page.choose(f"#explorer-{select}", value)
    state, part = chosen(page), page.run("location.hash")
    assert "recording=invented-v4" in part
    assert page.run("document.querySelector('#explorer-view a').hash") == part
    page.open(address(folder, part=part))
    assert chosen(page) == state
    check_view(page, made)
    page.until("Math.abs(document.getElementById('explorer').getBoundingClientRect().top) < innerHeight")
    page.run("location.hash = '#explorer:network=nonesuch&metric=pls'")
    page.until("document.querySelector('.readout').textContent.includes('Not in this page: network nonesuch')")
    assert chosen(page)["network"] == "resnet18"


def test_the_theme_follows_the_system_until_the_button_is_pressed(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(253, 253, 252)", "rgb(23, 24, 26)"
    pressed = "document.querySelector('.theme').getAttribute('aria-pressed')"
    assert (page.run(ground), page.run(pressed)) == (light, "false")
    page.media(scheme="dark")
    assert (page.run(ground), page.run(pressed)) == (dark, "true")
    page.mouse(".theme")
    assert (page.run(ground), page.run(pressed)) == (light, "false")
    page.media(scheme="light")
    page.mouse(".theme")
    assert (page.run(ground), page.run(pressed)) == (dark, "true")
    assert page.run("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


def test_on_paper_the_explorer_is_its_table_and_large_tables_are_cut(page):
    page.media("print", scheme="dark")
    seen = (
        "(q) => [...document.querySelectorAll(q)].filter(e => e.checkVisibility({contentVisibilityAuto: true})).length"
    )
    count = lambda q: page.run(f"({seen})({json.dumps(q)})")  # noqa: E731
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(253, 253, 252)"
    assert count("#explorer-picture") == count(".filters") == count("nav") == count(".theme") == 0
    assert count("#explorer-numbers tbody tr") == 6
    assert count("#table-accuracy tbody tr") == html.PRINTED  # in a fold that is closed on the screen
    notes = page.run("[...document.querySelectorAll('.print-only')].filter(e => e.textContent).map(e => e.textContent)")
    assert any(n.startswith(f"On paper: the first {html.PRINTED} of ") for n in notes)
    page.media()
    unfold(page, "scores")
    page.media("print")
    assert count("#table-scores tbody tr") == html.PRINTED


def test_it_fits_a_narrow_window_and_does_not_change_by_itself(page):
    page.size(390, 844)
    try:
        unfold(page, "twins")
        assert page.run("document.documentElement.scrollWidth") <= 390
        assert page.run("document.getElementById('explorer-picture').viewBox.baseVal.width") <= 390
        views = [page.call("Page.captureScreenshot", format="png")["data"] for _ in range(2)]
        assert views[0] == views[1]
        assert len(base64.b64decode(views[0])) > 10_000
    finally:
        page.size(1280)


def test_everything_that_can_be_used_has_a_name(page):
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    page.call("Accessibility.disable")
    roles = {"button", "combobox", "searchbox", "textbox", "link", "application", "img", "image", "region",
             "navigation"}  # fmt: skip
    used = [n for n in nodes if n.get("role", {}).get("value") in roles and not n["ignored"]]
    assert {n["role"]["value"] for n in used} >= {"button", "combobox", "searchbox", "link", "application", "region"}
    nameless = [n["role"]["value"] for n in used if not n.get("name", {}).get("value", "").strip()]
    assert nameless == []


def test_without_scripts_the_words_and_the_first_rows_are_there(page, folder, made):
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(address(folder))
        text = page.run("document.getElementById('explorer').innerText")
        assert "The explorer needs JavaScript." in text
        page.run("document.getElementById('table-accuracy').closest('details').open = true")
        assert page.run(ROWS.format("accuracy", 0)) == list(made["accuracy"]["run"][: html.PRINTED])
        assert page.run("document.querySelectorAll('button, select, input').length") == 0  # nothing that would not work
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)


def test_names_from_the_tables_stay_text(tab, folder):
    tab.problems.clear()
    tab.open(address(folder, "evil.html"))
    assert tab.run("document.title") == "evil"
    assert tab.run("document.scripts.length") == 2
    assert tab.run("document.getElementById('explorer-network').value").endswith(EVIL)
    assert EVIL in tab.run("document.getElementById('explorer-title').textContent")
    assert tab.problems == []


def test_the_driver_sees_what_goes_wrong(tab, folder, tmp_path):
    """The tests above say that nothing did; here something does."""
    (tmp_path / "bad.html").write_text(
        "<img src='http://127.0.0.1:9/x.png'><script>console.error('no'); lost()</script>"
    )
    tab.problems.clear()
    tab.requests.clear()
    tab.open(address(tmp_path, "bad.html"))
    tab.settle()
    assert any("console.error" in p for p in tab.problems)
    assert any("lost is not defined" in p for p in tab.problems)
    assert "http://127.0.0.1:9/x.png" in tab.requests
    with pytest.raises(RuntimeError, match="no such option"):
        tab.run("(() => { throw new Error('no such option') })()")
    assert tab.pdf()[:5] == b"%PDF-"
