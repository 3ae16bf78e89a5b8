"""Every entry of the catalogue of bad inputs gets one clear line, and leaves nothing behind."""

import platform
import re
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import bad_input
from tests.bad_inputs import LIMIT_S, Bad, catalogue, see

ROOT = Path(__file__).resolve().parent.parent
ENTRIES = catalogue()
LONGEST = 1000  # characters: paths of temporary folders and lists of known names are long, the rest is a sentence


TABLE = (ROOT / "benchmarks" / "results" / "bad_input.md").read_text()
CELLS = [[c.strip() for c in row.strip("|").split(" | ")] for row in TABLE.splitlines() if re.match(r"\| \d+ \|", row)]
SHOWN = {(c[1], c[2]): " | ".join(c[3:-1]) for c in CELLS}
# Lines quote Python's own words in places, which another version says otherwise.
SAME_PYTHON = f"Python {platform.python_version().rpartition('.')[0]}." in TABLE


@pytest.mark.parametrize("entry", ENTRIES, ids=[re.sub(r"\W+", "-", f"{b.category}: {b.what}") for b in ENTRIES])
def test_one_clear_line(entry: Bad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # what is executed would leave its file here
    seen = see(entry, tmp_path / "room")
    assert seen.trace == ""
    assert seen.status == entry.status
    assert seen.left == ()
    assert seen.seconds < LIMIT_S
    for word in entry.says:
        assert word in seen.line, seen.line
    assert len(seen.line) < LONGEST
    assert sorted(p.name for p in tmp_path.iterdir()) == ["room"]
    if entry.status == 1:
        assert seen.lines == 1
        assert seen.line.startswith("blendnet: error: ")
    if SAME_PYTHON:  # the length of an archive that PyTorch writes differs by a byte now and then
        said, shown = bad_input.cell_of(seen.line, str(tmp_path)), bad_input.plain(SHOWN[entry.category, entry.what])
        assert re.sub(r"\d+ bytes", "bytes", said) == re.sub(r"\d+ bytes", "bytes", shown)


def test_the_catalogue_is_wide() -> None:
    """At least 60 different inputs, in every category some, and no two of one name."""
    assert len({(b.category, b.what) for b in ENTRIES}) == len(ENTRIES) >= 60
    counts = Counter(b.category for b in ENTRIES)
    assert set(counts) == {
        "command line", "photographs", "lists of images", "tables", "recordings", "checkpoints and activations",
        "legacy checkpoints", "the sheet", "notes of the program",
    }  # fmt: skip
    assert min(counts.values()) >= 8
    assert all(b.says for b in ENTRIES)


def test_the_committed_table_is_of_this_catalogue() -> None:
    """benchmarks/results/bad_input.md has a row for every entry: `python -m benchmarks.bad_input` writes it. That each
    still says what the program says is asked above."""
    assert [(c[1], c[2]) for c in CELLS] == [(b.category, b.what) for b in ENTRIES]
    assert [int(c[-1]) for c in CELLS] == [b.status for b in ENTRIES]
    counts = Counter(b.category for b in ENTRIES)
    stated = ", ".join(f"{n} {category}" for category, n in counts.items())
    assert f"{len(ENTRIES)} inputs, {len(ENTRIES)} as asked ({stated});" in TABLE
