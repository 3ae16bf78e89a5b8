"""Ceilings that are kept in the results folder: computed once for all networks and processes, read only where all that
they rest on is equal, and never a silent wrong number."""

import os
from dataclasses import replace

import numpy as np
import pytest

from analysis import tables
from blendnet import files, locks
from blendnet.errors import BlendnetError
from blendnet.files import read_json, write_json
from pipelines import _ceilings, doctor, extract, recordings, score, scoring, verify
from pipelines.context import Context
from tests.test_score_chain_keys import OTHER, PROFILE, N, recording

METRICS = ("pls", "rsa", "cka", "pls_reverse")


@pytest.fixture
def computed(monkeypatch):
    """The metrics whose ceiling is really computed, as they are; in the memory of this process nothing is kept."""
    found, real = [], scoring._ceiling

    def counted(made, metric, *args):
        found.append(metric)
        return real(made, metric, *args)

    monkeypatch.setattr(scoring, "_ceiling", counted)
    monkeypatch.setattr(recordings, "load_one", lambda name, data: [recording()])
    monkeypatch.setattr(scoring, "_CEILINGS", {})
    return found


@pytest.fixture
def context(computed, tmp_path):
    """A network and the pixels, extracted and scored."""
    profile = replace(PROFILE, metrics=METRICS, networks=("resnet18",))
    made = Context(profile, tmp_path / "results", tmp_path, device="cpu", progress=False, only=OTHER.id)
    extract.extract(made)
    score.score(made)
    assert computed == list(METRICS)
    computed.clear()
    return made


def as_another_process() -> None:
    scoring._CEILINGS.clear()


def table(context):
    return tables.read(context.tables / "scores.csv").set_index(["network", "metric", "kind"]).sort_index()


def stored(context, metric):
    return context.folder("cache", "ceilings", f"cowley2023-made-V4-{metric}.json")


def test_another_process_reads_what_the_first_computed(context, computed):
    first = table(context)
    as_another_process()
    score.score(replace(context, only="pixels"))
    assert computed == []
    both = table(context)
    assert len(both) == len(first) + len(METRICS)  # pixels have no chance row
    for metric in METRICS:
        rows = both.xs(metric, level="metric")
        assert rows["ceiling"].nunique() == 1
        assert rows["ceiling"].notna().all()


def test_a_ceiling_that_was_read_gives_the_bytes_of_one_that_was_computed(context, computed):
    names = [f"scores/pixels/cowley2023-made-V4-{metric}.json" for metric in METRICS]
    found = []
    for keep in (True, False):
        as_another_process()
        if not keep:
            for metric in METRICS:
                stored(context, metric).unlink()
        for name in names:
            context.folder(name).unlink(missing_ok=True)
        score.score(replace(context, only="pixels"))
        found.append([context.folder(name).read_bytes() for name in names])
    assert computed == list(METRICS)
    assert found[0] == found[1]
    assert len(read_json(stored(context, "rsa"))["samples"]) > 1  # a ceiling with resamples, which the interval takes


def test_other_resamples_seeds_and_stimuli_are_other_ceilings(context, computed, monkeypatch):
    for profile in (replace(context.profile, n_bootstrap=6), replace(context.profile, score_seed=5)):
        as_another_process()
        score.score(replace(context, profile=profile, only="pixels"))
        assert computed == list(METRICS)
        computed.clear()
    monkeypatch.setattr(recordings, "load_one", lambda name, data: [recording(change=3)])
    as_another_process()
    score.score(replace(context, profile=profile, only="pixels"))
    assert computed == list(METRICS)


def test_force_computes_once_a_process(context, computed):
    as_another_process()
    write = stored(context, "pls")
    found = read_json(write)
    write_json(write, found | {"ceiling": 0.123})
    for only in (OTHER.id, "pixels"):
        score.score(replace(context, force=True, only=only))
        assert computed == list(METRICS)
    assert read_json(write)["ceiling"] == found["ceiling"]


def test_force_waits_for_nobody(context, computed, monkeypatch):
    held = context.lock("ceiling", stored(context, "pls").stem)
    assert held.acquire()
    waited = locks.wait

    def not_for_this(lock, *args):
        assert lock.path != held.path
        waited(lock, *args)

    monkeypatch.setattr(locks, "wait", not_for_this)
    score.score(replace(context, force=True))
    held.release()
    assert len(list(context.folder("scores").glob("*/*.json"))) == len(METRICS)


def test_verify_computes_its_own(context, computed, capsys):
    """A forged ceiling with a right hash goes into the table, as nobody can tell from the file; verify says so."""
    path = stored(context, "pls")
    asked = replace(context, only="pixels")
    write_json(path, read_json(path) | {"ceiling": 0.123})
    as_another_process()
    score.score(asked)
    assert table(context).loc[("pixels", "pls", "pixels"), "ceiling"] == 0.123
    assert verify.verify(asked, n=len(METRICS), seed=0) == 1
    said = [line for line in capsys.readouterr().out.splitlines() if "DIFFERS" in line]
    assert len(said) == 1
    assert "V4 pls" in said[0]
    assert "ceiling: 0.123000 -> 0." in said[0]


@pytest.mark.parametrize("damage", [
    lambda text: text.replace('"ceiling": 0.', '"ceiling": 1.'), lambda text: text[:-40], lambda text: "[]",
    lambda text: '{"key": {}}', lambda text: "\x00" * 50,
])  # fmt: skip
def test_a_damaged_one_is_one_line_and_doctor_mends_it(context, computed, damage, capsys):
    path = stored(context, "pls")
    whole = path.read_bytes()
    path.write_text(damage(path.read_text()))
    assert path.read_bytes() != whole
    as_another_process()
    asked = replace(context, only="pixels")
    if path.read_text() == '{"key": {}}':  # a whole file of another key: made anew, as everywhere
        score.score(asked)
        assert path.read_bytes() == whole
        return
    with pytest.raises(BlendnetError, match="cowley2023-made-V4-pls.json") as error:
        score.score(asked)
    assert "\n" not in str(error.value)
    assert computed == []
    assert doctor.doctor(context.profile, context.results) == 1
    assert f"damaged: {path}" in capsys.readouterr().out
    assert doctor.doctor(context.profile, context.results, repair=True) == 0
    score.score(asked)
    assert computed == ["pls"]
    assert path.read_bytes() == whole


def test_one_computes_and_the_other_waits(context, computed, monkeypatch, capsys):
    """The other has stored it by the time that its lock is free."""
    path = stored(context, "pls")
    whole = path.read_bytes()
    path.unlink()
    as_another_process()
    held = context.lock("ceiling", path.stem)
    assert held.acquire()

    def waited(lock, *args):
        path.write_bytes(whole)
        held.release()
        assert lock.acquire()

    monkeypatch.setattr(locks, "wait", waited)
    score.score(replace(context, only="pixels"))
    assert "waiting for the ceiling of cowley2023-made V4, held by process" in capsys.readouterr().out
    assert computed == []
    assert not list(context.folder("locks").glob("*.lock"))


@pytest.mark.parametrize(("part", "value", "says"), [
    ("ceiling", "x", "ceiling is 'x', no number"), ("samples", [None, "x"], "samples[1] is 'x', no number"),
    ("samples", [0.5] * 9, "a ceiling in 9 resamples, not 2"),
])  # fmt: skip
def test_one_that_somebody_wrote_is_one_line(context, part, value, says):
    path = stored(context, "rsa")
    write_json(path, read_json(path) | {part: value})
    as_another_process()
    with pytest.raises(BlendnetError) as error:
        score.score(replace(context, only="pixels"))
    assert str(path) in str(error.value)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_the_lock_of_one_that_died_after_it_had_stored_its_ceiling_is_cleared_away(context, computed):
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    left = context.lock("ceiling", stored(context, "pls").stem).path
    write_json(left, {"word": "dead", "host": files.here(), "name": "here", "pid": gone, "began": "1"})
    as_another_process()
    score.score(replace(context, only="pixels"))
    assert computed == []
    assert not left.exists()


def test_subjects_of_opposite_rdms_have_no_upper_end(context):
    """Their pooled ranks are flat."""
    ranks = np.arange(N * (N - 1) // 2, dtype=float)
    made = replace(recording(), trials=None, rdms=np.stack([ranks, ranks[::-1]]), subjects=("a", "b"))
    key = {"recording": "two"}
    first = _ceilings.ceiling_of(context, made, "rsa_whitened", key)
    assert first.ceiling_hi is None
    as_another_process()
    again = _ceilings.ceiling_of(context, made, "rsa_whitened", key)
    assert again.columns() == first.columns()
