"""Training by two processes over gloo: the curve of one process, resume across process counts, failures, torchrun."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from blendnet import checkpoint
from blendnet.data import manifest as manifests
from blendnet.data import photoset
from blendnet.data.photos import Photo
from blendnet.errors import BlendnetError
from blendnet.run import Recipe, Run
from blendnet.training import distributed, feed, loop

ROOT = Path(__file__).resolve().parent.parent
RECIPE = Recipe(
    "tiny", "adamw", 2e-3, 0.9, 0.01, 16, 3, 64, warmup_epochs=0.5, crop_scale=0.8, alpha=(0.4, 0.6), ema=0.9,
    jitter=0.2,
)  # fmt: skip
RUN = Run("net", "none", 0, "blended", 0)
TIMES = ["seconds", "images_per_s"]


def a_photo(kind: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 150, (16, 16, 3)).astype(np.uint8)
    image[rng.integers(2, 6) :: (3, 4, 5)[kind]] = 230
    return image


def a_photoset() -> photoset.PhotoSet:
    made = [
        Photo(f"t/{c}/{i}", c, "t", lambda i=i, k=k: a_photo(k, 1000 * k + i))
        for k, c in enumerate(("bar", "dot", "grid"))
        for i in range(30)
    ]
    return photoset.load(made, image_size=16, classes=("bar", "dot", "grid"), progress=False)


def a_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        # No bias before a BatchNorm: its gradient is rounding alone, which AdamW would follow at full stride.
        nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8, momentum=None), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * 25, 3),
    )  # fmt: skip


def go(folder: Path, recipe: Recipe = RECIPE, model: nn.Module | None = None, **options) -> dict:
    photos = a_photoset()
    path = folder.parent / f"val{os.environ.get('RANK', '')}.csv"
    manifests.save_manifest(manifests.manifest(photos, "val", n_per_pair=3), path)
    return loop.train(
        folder, RUN, recipe, model or a_network(), photos, manifests.load_manifest(path, photos), image_size=16,
        say=options.pop("say", lambda s: None), progress_bar=False, tracker="none", **options,
    )  # fmt: skip


def process(case: str, folder: Path, environment: dict[str, str]) -> None:
    """What each of the two processes does; its error stream goes to a file."""
    os.environ.update(environment)
    torch.set_num_threads(1)
    number = int(os.environ["RANK"])
    errors = os.open(folder / f"stderr{number}", os.O_WRONLY | os.O_CREAT)
    os.dup2(errors, 2)
    try:
        with distributed.processes(torch.device("cpu"), timeout_s=60):
            CASES[case](folder, number)
    except BlendnetError as problem:  # as pipelines.cli does
        print(f"error: {problem}", file=sys.stderr, flush=True)
        sys.exit(1)


def trains(folder: Path, number: int) -> None:
    meta = go(folder / "two")
    assert meta["processes"] == 2
    assert go(folder / "two")["weights_sha256"] == meta["weights_sha256"]  # reused, by both
    go(folder / "two-then-one", stop_after=1)
    said: list[str] = []
    go(folder / "one-then-two", say=said.append)
    assert said == (["  resumed: net-none-blended-s0 after epoch 1"] if number == 0 else [])
    normed(folder, number)


def fails(folder: Path, number: int) -> None:
    if number == 1:
        raise BlendnetError("invented: process 1 has no more paper")
    go(folder / "fails")


def fails_first(folder: Path, number: int) -> None:
    with distributed.first_goes_first():
        if number == 0:
            raise BlendnetError("invented: the data is missing")


def both_diverge(folder: Path, number: int) -> None:
    go(folder / "diverges", replace(RECIPE, optimizer="sgd", lr=1e30, ema=0.0))


def is_killed(folder: Path, number: int) -> None:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    go(folder / "killed")


def first_is_killed(folder: Path, number: int) -> None:
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    go(folder / "killed")


CASES = {f.__name__: f for f in (trains, fails, fails_first, both_diverge, is_killed, first_is_killed)}


def normed(folder: Path, number: int) -> None:
    """Shared BatchNorm on a batch of two halves; the test compares with PyTorch's on the whole."""
    x, upstream = halves(number)
    norm = nn.Sequential(nn.BatchNorm2d(4))
    with torch.no_grad():
        norm[0].weight.copy_(torch.tensor([1.0, 2.0, -1.0, 0.5]))
    distributed.shared(norm, torch.device("cpu"))
    out = norm(x)
    (out * upstream).sum().backward()
    torch.save(
        {"out": out.detach(), "dx": x.grad, "dw": norm[0].weight.grad, "mean": norm[0].running_mean,
         "var": norm[0].running_var}, folder / f"norm{number}.pt",
    )  # fmt: skip


def halves(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Input and upstream gradient (3, 4, 5, 5) of one process; means far from 0 show lost digits."""
    g = torch.Generator().manual_seed(number)
    x = torch.randn(3, 4, 5, 5, generator=g) + 100 + number
    return x.requires_grad_(), torch.randn(3, 4, 5, 5, generator=g)


def run(case: str, folder: Path, meanwhile=lambda: None) -> tuple[list[int], str]:
    """Two processes as torchrun starts them, but without torchrun, which would end the second for us; exit statuses
    and all that was written to the error stream. No process outlives two minutes."""
    # One server imports torch once and forks; spawning would import it for each of a dozen processes.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    started = []
    for r in "01":
        environment = {
            "WORLD_SIZE": "2", "RANK": r, "LOCAL_RANK": r, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }  # fmt: skip
        started.append(context.Process(target=process, args=(case, folder, environment)))
        started[-1].start()
    meanwhile()
    for p in started:
        p.join(120)
        p.kill()
    errors = "".join((folder / f"stderr{r}").read_text() for r in "01" if (folder / f"stderr{r}").exists())
    return [p.exitcode for p in started], errors


def curve(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "log.csv").drop(columns=TIMES)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the trainings of one process and of two, and mixtures."""
    folder = tmp_path_factory.mktemp("trained")
    go(folder / "one-then-two", stop_after=1)
    statuses, errors = run("trains", folder, meanwhile=lambda: go(folder / "one"))
    assert statuses == [0, 0], errors
    return folder


def test_two_processes_have_the_loss_curve_of_one(trained):
    one, two = curve(trained / "one"), curve(trained / "two")
    assert len(one) == RECIPE.epochs
    pd.testing.assert_frame_equal(two, one, rtol=1e-5, atol=0)
    a, b = (checkpoint.load_tensors(trained / name / checkpoint.WEIGHTS) for name in ("one", "two"))
    assert list(a) == list(b)
    for name in a:
        torch.testing.assert_close(b[name], a[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["one-then-two", "two-then-one"])
def test_resume_across_a_changed_number_of_processes(trained, name):
    said: list[str] = []
    meta = go(trained / name, say=said.append)
    expected = "resumed" if name == "two-then-one" else "reused"
    assert expected in said[0]
    assert meta["epochs_trained"] == RECIPE.epochs
    pd.testing.assert_frame_equal(curve(trained / name), curve(trained / "one"), rtol=1e-5, atol=0)


def test_shared_batch_norm_is_that_of_the_whole_batch(trained):
    parts = [torch.load(trained / f"norm{r}.pt", weights_only=True) for r in (0, 1)]
    (x0, u0), (x1, u1) = halves(0), halves(1)
    x = torch.cat([x0, x1]).detach().double().requires_grad_()
    norm = nn.BatchNorm2d(4).double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, -1.0, 0.5]))
    out = norm(x)
    (out * torch.cat([u0, u1])).sum().backward()
    close = lambda a, b, tol: torch.testing.assert_close(a.double(), b.double(), rtol=tol, atol=tol)  # noqa: E731
    close(torch.cat([p["out"] for p in parts]), out.detach(), 2e-5)
    close(torch.cat([p["dx"] for p in parts]), x.grad, 5e-5)
    close(sum(p["dw"] for p in parts), norm.weight.grad, 2e-4)
    for p in parts:
        close(p["mean"], norm.running_mean, 1e-6)
        close(p["var"], norm.running_var, 1e-5)


@pytest.mark.parametrize(
    ("case", "line"),
    [
        ("fails", "invented: process 1 has no more paper"),
        ("fails_first", "invented: the data is missing"),
        ("both_diverge", "the training loss is"),
        ("is_killed", "another process of this training ended without a word"),
        ("first_is_killed", "another process of this training ended without a word"),
    ],
)
def test_a_failing_process_ends_both_with_one_line(tmp_path, case, line):
    statuses, errors = run(case, tmp_path)
    # -9: the kill that the case makes, not that of run, which would say that a process hung
    assert sorted(statuses) == ([-9, 1] if "killed" in case else [1, 1]), errors
    said = [text for text in errors.splitlines() if "error:" in text]
    assert len(said) == 1, errors
    assert line in said[0]
    assert "Traceback" not in errors
    assert not list(tmp_path.rglob(checkpoint.META))


def test_a_batch_that_two_cannot_share_is_one_clear_line():
    feed.check_split(RECIPE, 4)
    with pytest.raises(BlendnetError, match="batch size 16 of recipe 'tiny' is not shared evenly by 3 processes"):
        feed.check_split(RECIPE, 3)


def test_slices_of_a_batch_are_the_batch():
    photos = a_photoset()
    whole = feed.Batches(photos, RUN, RECIPE, frozenset(), "pixel", torch.device("cpu"))(5, 16)
    parts = [
        feed.Batches(photos, RUN, RECIPE, frozenset(), "pixel", torch.device("cpu"), rank=r, world=4)(5, 16)
        for r in range(4)
    ]
    for side in (0, 1):
        torch.testing.assert_close(torch.cat([p[side] for p in parts]), whole[side], rtol=0, atol=1e-6)


def test_a_missing_environment_is_one_clear_line(monkeypatch):
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    group = distributed.processes(torch.device("cpu"))
    with pytest.raises(BlendnetError, match="WORLD_SIZE is 2 but RANK, MASTER_ADDR, MASTER_PORT is not set"), group:
        pass
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(BlendnetError, match="WORLD_SIZE='two' is no number"):
        distributed.asked_for()


def small_profile() -> None:
    """The demo profile, cut to seconds: cornet_z and its twin at 32 px."""
    from blendnet.training.recipes import recipe
    from pipelines import sheet

    sheet.PROFILES["demo"] = replace(
        sheet.DEMO, networks=("cornet_z",), recipe=recipe("modern", epochs=1, epoch_size=64, batch_size=32),
        image_size=32, n_per_class=24, val_per_pair=2,
    )  # fmt: skip


@pytest.mark.slow
def test_torchrun_of_the_train_verb(tmp_path, monkeypatch):
    """The user's command: one voice, the weights of one process, and no other verb by several processes."""
    from pipelines import cli, sheet

    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
                "-m", "tests.test_distributed"]  # fmt: skip
    arguments = ["train", "--results", str(tmp_path / "two"), "--device", "cpu"]
    done = subprocess.run(
        [*torchrun, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("[train 1/2] cornet_z-none-blended-s0") == 1
    assert done.stdout.count("best epoch 1/1: validation blends both") == 2  # the twins
    monkeypatch.setitem(sheet.PROFILES, "demo", sheet.DEMO)
    small_profile()
    assert cli.main(["train", "--results", str(tmp_path / "one"), "--device", "cpu"]) == 0
    for run_id in ("cornet_z-none-blended-s0", "cornet_z-aacn4-blended-s0"):
        one, two = (tmp_path / n / "demo" / "checkpoints" / run_id for n in ("one", "two"))
        assert checkpoint.load_meta(two)["processes"] == 2
        pd.testing.assert_frame_equal(curve(two), curve(one), rtol=1e-5, atol=0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main(["all", "--results", str(tmp_path / "two")]) == 1


if __name__ == "__main__":
    from pipelines import cli as program

    small_profile()
    sys.exit(program.main(sys.argv[1:]))
