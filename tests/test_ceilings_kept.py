"""Ceilings that are kept in the results folder: computed once for all networks and processes, read only where all that
they rest on is equal, and never a silent wrong number."""

from dataclasses import replace

import pytest

from analysis import tables
from blendnet import locks
from blendnet.errors import BlendnetError
from blendnet.files import read_json, write_json
from pipelines import _ceilings, doctor, extract, recordings, score, scoring
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
    recordings.load(context)
    as_another_process()
    score.score(replace(context, profile=profile, only="pixels"))
    assert computed == list(METRICS)


def test_force_computes_once_a_process(context, computed):
    as_another_process()
    write = stored(context, "pls")
    found = read_json(write)
    write_json(write, found | {"ceiling": 0.123})
    score.score(replace(context, force=True))
    assert computed == list(METRICS)
    assert read_json(write)["ceiling"] == found["ceiling"]


def test_who_checks_a_score_computes_its_own(context, computed):
    """A forged ceiling with a right hash goes into the table, as nobody can tell; compute, which verify calls, does not
    look at it."""
    path = stored(context, "pls")
    right = read_json(path)["ceiling"]
    write_json(path, read_json(path) | {"ceiling": 0.123})
    as_another_process()
    score.score(replace(context, only="pixels"))
    assert table(context).loc[("pixels", "pls", "pixels"), "ceiling"] == 0.123
    found = scoring.compute(
        context, None, recording(), {"pixels": extract.pixels(context, recording().stimuli)[0]}, "pls"
    )
    assert found["scores"][0]["ceiling"] == right


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


def test_the_folder_is_beside_what_else_can_be_made_again(context):
    assert sorted(p.name for p in context.folder(*_ceilings.FOLDER).iterdir()) == sorted(
        f"cowley2023-made-V4-{metric}.json" for metric in METRICS
    )
    assert len(recording().trials) == N
