"""Where the metrics of a training go while it runs: TensorBoard, Weights & Biases, MLflow, or nowhere.

A tracker shows; it decides nothing. log.csv beside the checkpoint is written whatever the tracker, and tables and
report are made from that. So the policy is: a missing package or an unknown kind stops a training before it begins,
and a tracker that fails later, a server that is away for instance, costs one line of warning and its own curves,
never the training.
"""

import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blendnet import stored as kinds
from blendnet._kinds import must_be
from blendnet.errors import BlendnetError, unknown
from blendnet.files import make_folder, read_json, write_json

STATUSES = ("finished", "killed", "failed")
Log = Callable[[dict[str, float], int], object]
Close = Callable[[str], object]


class Tracker:
    """One run's metrics on their way out. log and close never raise; after a failure they do nothing."""

    def __init__(self, kind: str, log: Log, close: Close, say: Callable[[str], object] = print):
        self.kind, self._log, self._close, self._say = kind, log, close, say
        self.alive = True

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Numbers of one step (an epoch, 0-based). Log a step before the state that resumes after it is saved: then
        a kill in between repeats the step, and no tracker shows it twice or not at all."""
        self._try(self._log, {name: float(value) for name, value in metrics.items()}, step)

    def close(self, status: str = "finished") -> None:
        """End the run as 'finished', 'killed' (will be resumed) or 'failed'. A second call does nothing."""
        if status not in STATUSES:
            raise unknown("status of a tracker", status, STATUSES)
        self._try(self._close, status)
        self.alive = False

    def _try(self, do: Callable[..., object], *given: object) -> None:
        if not self.alive:
            return
        try:
            do(*given)
        except Exception as error:  # whatever a server, a client or a disk may raise
            self.alive = False
            self._say(_warning(self.kind, error))


def open_tracker(
    kind: str,
    folder: Path,
    run_id: str,
    config: dict[str, Any],
    *,
    step: int,
    say: Callable[[str], object] = print,
) -> Tracker:
    """The tracker of one run. kind: 'tensorboard', 'wandb', 'mlflow' or 'none'.

    folder: the run's checkpoint folder; run_id: the name shown; config: shown beside the curves, JSON-able; step: the
    first step that will be logged, 0 for a training from its beginning. With step > 0 the same W&B or MLflow run goes
    on, whose id lies in the folder, and steps from `step` on that were logged before a kill are not shown twice.
    MLflow writes to MLFLOW_TRACKING_URI, and without it to a file store beside the run's folder.

    Raises BlendnetError for an unknown kind and for a missing package, which it names. If the tracker cannot be
    opened for another reason, one line says so and the training goes on without (see the head of this file).
    """
    if kind not in _OPEN:
        raise unknown("tracker", kind, _OPEN)
    try:
        log, close = _OPEN[kind](folder, run_id, _flat(config), step)
    except ImportError as error:
        package = {"mlflow": "mlflow-skinny"}.get(kind, kind)
        raise BlendnetError(
            f"tracker {kind!r} needs the package {package} ({error}); install it with pip install 'blendnet[{kind}]', "
            "or choose tracker tensorboard or none"
        ) from error
    except Exception as error:
        say(_warning(kind, error))
        log, close = _nothing, _nothing
    return Tracker(kind, log, close, say)


def _warning(kind: str, error: Exception) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"  warning: tracker {kind} gave up ({first}); the training goes on without it, log.csv has all numbers"


def _nothing(*_: object) -> None:
    return None


def _none(folder: Path, run_id: str, config: dict[str, Any], step: int) -> tuple[Log, Close]:
    return _nothing, _nothing


def _tensorboard(folder: Path, run_id: str, config: dict[str, Any], step: int) -> tuple[Log, Close]:
    from torch.utils.tensorboard import SummaryWriter

    where = folder / "tensorboard"
    if step == 0:
        # A training from its beginning replaces an older one, whose curves would otherwise lie below its own.
        shutil.rmtree(where, ignore_errors=True)
    writer = SummaryWriter(str(where), purge_step=step)
    if step == 0:
        writer.add_text("config", _markdown({"run": run_id} | config), 0)

    def log(metrics: dict[str, float], at: int) -> None:
        for name, value in metrics.items():
            writer.add_scalar(name, value, at)
        writer.flush()

    return log, lambda status: writer.close()


def _wandb(folder: Path, run_id: str, config: dict[str, Any], step: int) -> tuple[Log, Close]:
    import wandb

    known = _stored(folder / "wandb.json", step)
    key = known["id"] if known else secrets.token_hex(4)
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT") or "blendnet",
        name=run_id,
        id=key,
        dir=str(make_folder(folder / "wandb-files")),
        config=config,
        resume="allow",
        # Its copy of the terminal would break progress bars; the lines are ours to print.
        settings=wandb.Settings(console="off", silent=True),
    )
    write_json(folder / "wandb.json", {"id": key, "project": run.project})
    first = run.starting_step

    def log(metrics: dict[str, float], at: int) -> None:
        if at >= first:
            run.log(metrics, step=at)

    return log, lambda status: run.finish(exit_code=0 if status == "finished" else 1)


def _mlflow(folder: Path, run_id: str, config: dict[str, Any], step: int) -> tuple[Log, Close]:
    # Set before the import, which reads them: its own defaults wait several minutes for a server that is away.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    uri = os.environ.get("MLFLOW_TRACKING_URI") or make_folder(folder.parent / "mlruns").resolve().as_uri()
    if "://" not in uri or uri.startswith("file:"):
        # MLflow 3 refuses file stores ("maintenance mode") unless told that one is meant. Its database store needs
        # the full package and one writer at a time; files need neither.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    known = _stored(folder / "mlflow.json", step)
    done = -1
    if known and known["uri"] == uri:
        key = known["id"]
        client.update_run(key, status="RUNNING")
        for name in client.get_run(key).data.metrics:
            done = max(done, *(m.step for m in client.get_metric_history(key, name)))
    else:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "blendnet"
        experiment = client.get_experiment_by_name(name)
        place = experiment.experiment_id if experiment else client.create_experiment(name)
        key = client.create_run(place, run_name=run_id).info.run_id
        client.log_batch(key, params=[Param(k, str(v)[:6000]) for k, v in config.items()])
        write_json(folder / "mlflow.json", {"id": key, "uri": uri})

    def log(metrics: dict[str, float], at: int) -> None:
        # MLflow keeps every value that it is sent, also two of one step.
        if at > done:
            now = int(time.time() * 1000)
            client.log_batch(key, metrics=[Metric(k, v, now, at) for k, v in metrics.items()])

    return log, lambda status: client.set_terminated(key, status.upper())


def _stored(path: Path, step: int) -> dict[str, Any] | None:
    """What an earlier process wrote about the run that now goes on; None where a new run begins."""
    if step <= 0 or not path.exists():
        return None
    found = read_json(path)
    must_be(path, found, kinds.TRACKED[path.name])
    return found


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """Nested dicts with their names joined by dots: no tracker sorts or filters by what lies inside a value."""
    out: dict[str, Any] = {}
    for name, value in config.items():
        out |= {f"{name}.{k}": v for k, v in _flat(value).items()} if isinstance(value, dict) else {name: value}
    return out


def _markdown(config: dict[str, Any]) -> str:
    return "\n".join(["| name | value |", "|---|---|", *(f"| {k} | {v} |" for k, v in config.items())])


_OPEN: dict[str, Callable[[Path, str, dict[str, Any], int], tuple[Log, Close]]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "none": _none,
}
KINDS = tuple(_OPEN)
