"""Results that several test files begin with, made once a session: the two workers of `make test` share them.

A file that changes what it was given works on a copy of its own.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from analysis import figures
from blendnet.locks import Lock
from blendnet.training.recipes import recipe
from pipelines import cli, dissect, sheet
from tests import faults
from tests.faults import Server

# One network and its twin, two untrained, two planted areas, two metrics: every step of the chain in seconds.
TINY = replace(
    sheet.DEMO,
    networks=("cornet_z",),
    recipe=recipe("modern", epochs=2, epoch_size=128, batch_size=32),
    image_size=32,
    n_per_class=24,
    alphas=(0.3, 0.5),
    val_per_pair=2,
    test_per_pair=3,
    width=100,
    n_bootstrap=20,
    n_splits=3,
    metrics=("pls", "rsa"),
    planted=sheet.Planted(
        source="cornet_z-aacn4-blended-s0", layers={"V1": "V1.output", "IT": "IT.output"}, n_stimuli=80, n_neuroids=12
    ),
)

# Those that the chains of these tests draw: all of them would take as long as all other steps. Every figure is drawn
# from made tables in tests/test_figures.py, and from the tables of this chain by notebook 4.
FIGURES = ("accuracy_twins", "layer_maps", "similarity_by_area", "training_curves")


def small_steps(patch: pytest.MonkeyPatch, *more: str) -> None:
    """Where size is no matter of the sheet: no figures but FIGURES and those named, few images to dissect with."""
    patch.setattr(figures, "names", lambda: sorted((*FIGURES, *more)))
    for name in ("N_BLENDS", "N_TRAIN", "N_TEST"):
        patch.setattr(dissect, name, 56)


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` of this session, filled by make(folder) by whichever worker asks first; the other waits. To be
    read, not written. What make raises is raised, and nothing half-made stays."""
    base = factory.getbasetemp()
    base = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "shared"
    folder = base / name
    with Lock(base / f"{name}.lock"):
        if not folder.exists():
            half = base / f"{name}.half"
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir()
            make(half)
            half.rename(folder)
    return folder


def tiny_chain(factory: pytest.TempPathFactory) -> Path:
    """The --results folder of an undisturbed `blendnet all` on TINY with small steps."""

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sheet.PROFILES, "demo", TINY)
            small_steps(patch)
            assert cli.main(["all", "--results", str(folder)]) == 0

    return once(factory, "tiny-chain", make)


def small_chain(server: Server, factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float], list[str]]:
    """The results of an undisturbed `blendnet all` by a fork server, the seconds of its steps, its units of work."""

    def make(folder: Path) -> None:
        server.ready()
        began = time.monotonic()
        child = server.run("all", folder)
        assert child.status == 0, child.output()[-3000:]
        seconds = faults.durations(child, time.monotonic() - began)
        (folder / "done.json").write_text(json.dumps([seconds, child.units()]))

    folder = once(factory, "small-chain", make)
    return folder / "demo", *json.loads((folder / "done.json").read_text())
