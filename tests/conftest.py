"""What all tests share: one thread, no network, and the real data where it lies."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("BS_INSTALL_DEPENDENCIES", "no")
os.environ.setdefault("MPLBACKEND", "Agg")

ROOT = Path(__file__).resolve().parent.parent


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


def one_line(error: pytest.ExceptionInfo, *words: str) -> None:
    """The error is one line of bearable length that holds all these words."""
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 500
    for word in words:
        assert word in text, text
