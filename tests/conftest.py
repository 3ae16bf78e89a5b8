"""What all tests share: one thread, no network, the real data where it lies, and a process that no file alters."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import blendnet as blendnet  # before numpy is loaded: blendnet._openblas

# Where no bytecode is kept, every process that a test starts compiles 10 s of libraries again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ.setdefault("BS_INSTALL_DEPENDENCIES", "no")
os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).resolve().parent.parent
# What the program and its tests read of the environment; libraries set names of their own when they are imported.
READ = ("BLENDNET_", "SLURM_", "OMP_", "CUDA_", "AWS_", "BRAINIO_")
NAMES = ("RESULTS", "WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "HOME", "PATH", "PYTHONPATH",
         "EPOCHS", "BS_INSTALL_DEPENDENCIES")  # fmt: skip

# Seconds that the long files take on one core, roughly. `make test` gives whole files to its workers: the longest go
# first, so that in the end no worker waits for another's. The others follow in their own order.
SECONDS = {
    "test_docs.py": 390, "test_executor_slurm.py": 280, "test_faults.py": 160, "test_oracle.py": 100,
    "test_concurrency.py": 95, "test_training_options.py": 80, "test_pipeline_options.py": 70, "test_figures.py": 70,
    "test_fuzz_strangers.py": 60, "test_notebooks_run.py": 50, "test_stats_layers.py": 50, "test_determinism.py": 45,
    "test_bad_inputs_table.py": 45, "test_pipeline.py": 40, "test_brainscore_export.py": 40, "test_distributed.py": 40,
    "test_verify.py": 40, "test_brainscore_pca.py": 35, "test_models.py": 35, "test_brainscore_model.py": 35,
    "test_executor_gpus.py": 35, "test_readme.py": 30, "test_calibration.py": 30, "test_positive_control.py": 30,
    "test_score_chain_keys.py": 25, "test_json_of_any_shape.py": 25, "test_stats_effects.py": 25,
    "test_stats_hierarchical.py": 20, "test_report_browser.py": 20, "test_fuzz.py": 20, "test_stale_figures.py": 20,
    "test_photoset.py": 20, "test_scaling.py": 15, "test_executor.py": 15, "test_brainscore_recordings.py": 15,
    "test_executor_whole.py": 15, "test_budget.py": 12, "test_similarity_rsa_bootstrap.py": 12, "test_dissect.py": 12,
    "test_trackers.py": 10, "test_attention_paths.py": 10, "test_report_words.py": 10,
}  # fmt: skip


def pytest_configure() -> None:
    """In `make test` the make that a test starts would be the make of a make, which speaks of itself and takes over
    what that was called with."""
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"):
        os.environ.pop(name, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; within a file, and among those not named, the order stays."""
    items.sort(key=lambda item: -SECONDS.get(item.path.name, 0))


def _data_root() -> Path | None:
    for candidate in (os.environ.get("BLENDNET_DATA"), ROOT.parent / "shared" / "data"):
        if candidate and Path(candidate).is_dir():
            return Path(candidate)
    return None


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with the real photographs and recordings; the test is skipped where there is none."""
    root = _data_root()
    if root is None:
        pytest.skip("no real data: set BLENDNET_DATA or put it at ../shared/data")
    return root


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A process that has imported everything and forks the command for each call: tests.faults.Server."""
    from tests.faults import Server

    with Server(tmp_path_factory.mktemp("logs")) as made:
        yield made


def process_state() -> dict[str, Any]:
    """What one test file could leave behind for the next: folder, environment, threads, the sheet, figures, types."""
    found: dict[str, Any] = {"working folder": os.getcwd()}
    found |= {f"${k}": v for k, v in os.environ.items() if k.startswith(READ) or k in NAMES}
    if torch := sys.modules.get("torch"):
        found["torch threads"] = torch.get_num_threads()
        found["torch default dtype"] = str(torch.get_default_dtype())
        found["deterministic algorithms"] = torch.are_deterministic_algorithms_enabled()
        found["gradients"] = torch.is_grad_enabled()
    if sheet := sys.modules.get("pipelines.sheet"):
        found |= {f"profile {name}": profile for name, profile in sheet.PROFILES.items()}
    if figures := sys.modules.get("analysis.figures"):
        found["figures.names"] = figures.names
    return found


def altered(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names whose value was changed or removed; what was not there before is new where it is an environment's."""
    return sorted(
        name for name in {*before, *after}
        if before.get(name) != after.get(name) and (name in before or name.startswith("$"))
    )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def unaltered_process() -> Iterator[None]:
    """No test file leaves the process other than it was: the next in this worker would fail, or pass, for it."""
    before = process_state()
    yield
    left = altered(before, process_state())
    assert left == [], f"this file left altered: {left}"


def one_line(error: pytest.ExceptionInfo, *words: str) -> None:
    """The error is one line of bearable length that holds all these words."""
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 500
    for word in words:
        assert word in text, text
