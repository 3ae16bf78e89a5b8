"""Trackers: what is written is read back with each tool's own reader, once a step, also after a kill."""

import builtins
import json
import struct
from pathlib import Path

import pytest

from blendnet.errors import BlendnetError
from blendnet.training import trackers

CONFIG = {"recipe": {"lr": 0.1, "alpha": [0.3, 0.7]}, "network": "resnet18"}


def _go(kind, folder, *, first=0, values=(), status="finished"):
    said: list[str] = []
    tracker = trackers.open_tracker(kind, folder, "net-none-blended-s0", CONFIG, step=first, say=said.append)
    for step, value in enumerate(values, first):
        tracker.log({"train_loss": value, "val_both": value / 10}, step)
    tracker.close(status)
    assert said == []
    return tracker


def _curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), purge_orphaned_data=True)
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_reads_each_step_once_after_a_kill(tmp_path):
    # Killed after step 2 was logged and before its state was saved: the training goes on at step 2.
    _go("tensorboard", tmp_path, values=[3.0, 2.0, 1.5], status="killed")
    _go("tensorboard", tmp_path, first=2, values=[1.5, 1.0])
    found = _curves(tmp_path)
    assert found["train_loss"] == [(0, 3.0), (1, 2.0), (2, 1.5), (3, 1.0)]
    assert [step for step, _ in found["val_both"]] == [0, 1, 2, 3]
    assert found["val_both"][0][1] == pytest.approx(0.3)


def test_tensorboard_begun_anew_shows_nothing_of_the_older_training(tmp_path):
    _go("tensorboard", tmp_path, values=[3.0, 2.0, 1.0])
    _go("tensorboard", tmp_path, values=[9.0])
    assert _curves(tmp_path)["train_loss"] == [(0, 9.0)]


@pytest.fixture
def client(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow.tracking", reason="mlflow-skinny is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    # open_tracker sets these for its process; after the test they are as before.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    (tmp_path / "mlruns").mkdir()
    return mlflow.MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())


def _mlflow_runs(client):
    experiment = client.get_experiment_by_name("blendnet")
    return client.search_runs([experiment.experiment_id])


def test_mlflow_file_store_is_allowed_without_the_user_setting_anything(tmp_path, client, monkeypatch):
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    _go("mlflow", tmp_path / "run", values=[1.0])
    assert len(_mlflow_runs(client)) == 1


def test_mlflow_resumes_the_same_run_and_keeps_one_value_a_step(tmp_path, client):
    folder = tmp_path / "net-none-blended-s0"
    _go("mlflow", folder, values=[3.0, 2.0, 1.5], status="killed")
    (run,) = _mlflow_runs(client)
    assert run.info.status == "KILLED"
    _go("mlflow", folder, first=2, values=[1.5, 1.0])
    (run,) = _mlflow_runs(client)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "net-none-blended-s0")
    assert run.data.params == {"recipe.lr": "0.1", "recipe.alpha": "[0.3, 0.7]", "network": "resnet18"}
    history = client.get_metric_history(run.info.run_id, "train_loss")
    assert sorted((m.step, m.value) for m in history) == [(0, 3.0), (1, 2.0), (2, 1.5), (3, 1.0)]
    # A training from its beginning is another run.
    _go("mlflow", folder, values=[5.0], status="failed")
    assert sorted(r.info.status for r in _mlflow_runs(client)) == ["FAILED", "FINISHED"]


def test_mlflow_server_that_is_away_costs_one_line(tmp_path, client, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # the discard port: nothing listens
    said: list[str] = []
    tracker = trackers.open_tracker("mlflow", tmp_path / "run", "r", CONFIG, step=0, say=said.append)
    tracker.log({"a": 1.0}, 0)
    tracker.close()
    assert len(said) == 1
    assert "tracker mlflow gave up" in said[0]
    assert "\n" not in said[0]


def _wandb_records(path: Path) -> list:
    """Reader of W&B's offline file: blocks of 32 KiB of (crc, length, type) chunks, as in LevelDB's log."""
    from wandb.proto import wandb_internal_pb2

    raw, at, part, out = path.read_bytes(), 7, b"", []
    while at + 7 <= len(raw):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", raw[at : at + 7])
        part += raw[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or its last piece
            out.append(wandb_internal_pb2.Record.FromString(part))
            part = b""
    return out


def _wandb_history(path: Path) -> list[dict]:
    return [
        {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
        for record in _wandb_records(path)
        if record.HasField("history")
    ]


def test_wandb_offline_writes_its_run_and_resumes_under_the_same_id(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    try:
        wandb.setup()
    except Exception as error:
        pytest.skip(f"the service of wandb cannot start here: {error}")
    _go("wandb", tmp_path, values=[3.0, 2.0], status="killed")
    key = json.loads((tmp_path / "wandb.json").read_text())["id"]
    _go("wandb", tmp_path, first=2, values=[1.5])
    assert json.loads((tmp_path / "wandb.json").read_text())["id"] == key
    wandb.teardown()  # else its service may still be writing
    folders = sorted((tmp_path / "wandb-files").glob("wandb/offline-run-*"))
    assert folders
    assert all(f"-{key}" in f.name for f in folders)  # two of one second are told apart by a number
    rows = [row for f in folders for row in _wandb_history(f / f"run-{key}.wandb")]
    assert [(r["_step"], r["train_loss"], r["val_both"]) for r in rows] == [
        (0, 3.0, 0.3), (1, 2.0, 0.2), (2, 1.5, 0.15),
    ]  # fmt: skip
    (first, *_) = [r.run for r in _wandb_records(folders[0] / f"run-{key}.wandb") if r.HasField("run")]
    assert (first.run_id, first.display_name, first.project) == (key, "net-none-blended-s0", "blendnet")
    _go("wandb", tmp_path, values=[7.0])
    assert json.loads((tmp_path / "wandb.json").read_text())["id"] != key


def test_none_writes_nothing(tmp_path):
    _go("none", tmp_path, values=[1.0])
    assert list(tmp_path.iterdir()) == []


def test_unknown_kind_and_status_are_one_line(tmp_path):
    with pytest.raises(BlendnetError, match="unknown tracker 'wandbb'; did you mean 'wandb'"):
        trackers.open_tracker("wandbb", tmp_path, "r", {}, step=0)
    with pytest.raises(BlendnetError, match="unknown status of a tracker 'finish'; did you mean 'finished'"):
        trackers.open_tracker("none", tmp_path, "r", {}, step=0).close("finish")


@pytest.mark.parametrize(("kind", "extra"), [("wandb", "wandb"), ("mlflow", "mlflow")])
def test_a_missing_package_names_the_extra(tmp_path, monkeypatch, kind, extra):
    real = builtins.__import__

    def refuse(name, *given, **more):
        if name.split(".")[0] == kind:
            raise ModuleNotFoundError(f"No module named {kind!r}", name=kind)
        return real(name, *given, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(BlendnetError) as error:
        trackers.open_tracker(kind, tmp_path / "run", "r", {}, step=0)
    assert f"pip install 'blendnet[{extra}]'" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_failure_in_the_middle_is_one_warning_and_the_training_goes_on():
    said, logged = [], []

    def log(metrics, step):
        if step == 1:
            raise ConnectionError("the server is away\nand more")
        logged.append((step, metrics))

    closed: list[str] = []
    tracker = trackers.Tracker("wandb", log, closed.append, said.append)
    for step in range(4):
        tracker.log({"a": step}, step)
    tracker.close()
    assert logged == [(0, {"a": 0.0})]
    assert closed == []  # a client that failed is not asked again, it might wait for minutes
    assert len(said) == 1
    assert "the server is away" in said[0]
    assert "and more" not in said[0]


def test_an_interrupt_is_not_a_failure_of_the_tracker():
    def log(metrics, step):
        raise KeyboardInterrupt

    tracker = trackers.Tracker("none", log, lambda status: None)
    with pytest.raises(KeyboardInterrupt):
        tracker.log({"a": 1.0}, 0)


def test_closing_twice_closes_once():
    closed: list[str] = []
    tracker = trackers.Tracker("none", lambda m, s: None, closed.append)
    tracker.close("killed")
    tracker.close()
    assert closed == ["killed"]
