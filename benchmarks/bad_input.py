"""What the user sees for every bad input of the catalogue (tests/bad_inputs.py), and long runs on changed bytes.

python -m benchmarks.bad_input [--quick] [--out benchmarks/results/bad_input.md]
python -m benchmarks.bad_input --fuzz SECONDS [--seed 0]
"""

import argparse
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

if __name__ == "__main__":
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[_name] = "1"

from blendnet.files import write_text
from tests.bad_inputs import Bad, Seen, catalogue, see

EACH = 3  # entries a category with --quick


def looked_at(entries: list[Bad]) -> list[tuple[Bad, Seen]]:
    """Every entry, run in a room of its own; the temporary folder's name is left out of the lines."""
    found = []
    here = os.getcwd()
    for entry in entries:
        folder = Path(tempfile.mkdtemp(prefix="blendnet-bad-"))
        try:
            os.chdir(folder)  # what is executed would leave its file here
            seen = see(entry, folder / "room")
            ran = sorted(p.name for p in folder.iterdir() if p.name != "room")
        finally:
            os.chdir(here)
            shutil.rmtree(folder, ignore_errors=True)
        line = seen.line.replace(f"{folder}/room/", "").replace(str(folder), "")
        found.append((entry, Seen(line, seen.lines, seen.status, (*seen.left, *ran), seen.trace, seen.seconds)))
    return found


def good(entry: Bad, seen: Seen) -> bool:
    """One clear line that holds what it must, the right status, and nothing left behind."""
    one = seen.lines == 1 and seen.line.startswith("blendnet: error: ") if entry.status == 1 else bool(seen.line)
    said = all(word in seen.line for word in entry.says)
    return one and said and seen.status == entry.status and not seen.left and not seen.trace


def page(found: list[tuple[Bad, Seen]], seconds: float) -> str:
    """The table, as Markdown."""
    counts = Counter(entry.category for entry, _ in found)
    bad = [entry.what for entry, seen in found if not good(entry, seen)]
    rows = [
        "# Bad input",
        "",
        "Written by `python -m benchmarks.bad_input`. Every input is made in a room of its own and handed to the real "
        "command (or to the public function, for what no command reads); paths are shortened to that room. Asked of "
        "each: one line on stderr, exit status 1 (2 where argparse refuses the words), no traceback, no file written, "
        "replaced or left half-written below the results folder, nothing executed.",
        "",
        f"{len(found)} inputs, {len(found) - len(bad)} as asked ({', '.join(f'{n} {c}' for c, n in counts.items())}); "
        f"{seconds:.0f} s on {platform.machine()}, Python {platform.python_version()}.",
        "",
    ]
    rows += [f"Not as asked: {'; '.join(bad)}.", ""] if bad else []
    rows += ["| | category | input | what the user sees | status |", "|---|---|---|---|---|"]
    for number, (entry, seen) in enumerate(found, start=1):
        line = _cell(seen.line.removeprefix("blendnet: error: "))
        rows.append(f"| {number} | {entry.category} | {_cell(entry.what, False)} | {line} | {seen.status} |")
    return "\n".join(rows) + "\n"


def _cell(text: str, code: bool = True) -> str:
    """Text in a cell of a table; numbers that a run takes are no part of the line's meaning."""
    text = re.sub(r"(needs about )\S+ here", r"\1… here", text).replace("|", "\\|")
    text = text if len(text) <= 420 else text[:420] + "…"
    return f"`{text.replace('`', chr(39))}`" if code else text


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{EACH} inputs of each category")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/bad_input.md"))
    parser.add_argument("--fuzz", type=float, metavar="SECONDS", help="change bytes of valid files for so long instead")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    if options.fuzz:
        from benchmarks._fuzzing import fuzz

        found = fuzz(options.fuzz, options.seed)
        n, kinds = sum(f[0] for f in found.values()), sum(len(f[2]) for f in found.values())
        print(f"{n} executions, {kinds} kinds of complaint")
        return 1 if kinds else 0
    entries = catalogue()
    if options.quick:
        seen_of: Counter[str] = Counter()
        chosen = []
        for entry in entries:
            seen_of[entry.category] += 1
            chosen += [entry] if seen_of[entry.category] <= EACH else []
        entries = chosen
    began = time.perf_counter()
    looked = looked_at(entries)
    wrong = [(entry, seen) for entry, seen in looked if not good(entry, seen)]
    for entry, seen in wrong:
        print(f"NOT AS ASKED: {entry.category}: {entry.what}: {seen}", file=sys.stderr)
    if not options.quick:
        write_text(options.out, page(looked, time.perf_counter() - began))
        print(f"wrote {options.out}")
    print(f"{len(looked) - len(wrong)} of {len(looked)} as asked")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
