"""What the user sees for every bad input of the catalogue (tests/bad_inputs.py), and long runs on changed bytes.

python -m benchmarks.bad_input [--quick] [--changed 1000] [--guided SECONDS] [--out benchmarks/results/bad_input.md]
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

from benchmarks import _fuzzing_guided
from benchmarks._fuzzing_cases import BRAINIO, cases, valid
from benchmarks._fuzzing_child import LIMIT_BYTES, LIMIT_S, Count, run
from blendnet.files import write_text
from tests.bad_inputs import Bad, Seen, catalogue, see

EACH = 3  # entries a category with --quick
CHANGED = "## Changed files of strangers"


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


def changed(n: int, seed: int = 0) -> dict[str, Count]:
    """What came of n changed files for every reader of strangers' files (benchmarks/_fuzzing_cases.py)."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="blendnet-changed-") as name:
        valid(Path(name))
        for case in cases():
            found[case] = run(case, Path(name), max(16, n // 5) if case == BRAINIO else n, seed)
            bad = found[case].bad
            print(f"{case}: {len(bad)} bad of {found[case].n}", *bad[:3], sep="\n  ", flush=True)
    return found


def page_of_changed(found: dict[str, Count], seed: int = 0) -> str:
    """The counts, as Markdown."""
    head = ("files", "changed", "refused in one line", "read, the same numbers", "read, others under another hash",
            "wrong numbers", "tracebacks", "crashes", "hangs", "slowest", "memory")  # fmt: skip
    rows = [
        CHANGED,
        "",
        "A valid file of each kind is altered where its parser decides (fields of HDF5's and of zip's headers, "
        "whole objects and members, single opcodes of a pickle) or in any of its bytes, and read in a child "
        f"process that imports that reader alone and has {LIMIT_S} s a file and {LIMIT_BYTES // 2**30} GiB; what "
        "ends the child is counted apart. *Wrong numbers*: others than the valid file's under the hash that names "
        "the valid file in the keys of results. A recording of strangers has no published hash, but its bytes "
        "name it, so that its numbers are never taken for another's. Files with a published hash, Brain-Score's "
        "sha1 among them, are refused before a parser sees them: the netCDF library never opened a changed one. "
        "*Memory*: beyond what the valid file takes.",
        "",
        f"| {' | '.join(head)} |",
        "|" + "---|" * len(head),
    ]  # fmt: skip
    for name, c in found.items():
        cells = (name, c.n, c.n - c.taken - len(c.complaints) - len(c.crashes) - len(c.hangs), c.same,
                 c.taken - c.same - len(c.wrong), len(c.wrong), len(c.complaints), len(c.crashes), len(c.hangs),
                 f"{c.slowest_s:.1f} s", f"{c.peak_mib:.0f} MiB")  # fmt: skip
        rows.append(f"| {' | '.join(map(str, cells))} |")
    total, wrong = sum(c.n for c in found.values()), sum(len(c.bad) for c in found.values())
    return "\n".join([*rows, "", f"{total} changed files, {wrong} not as asked (seed {seed}).", ""])


def guided(seconds: float, seed: int = 0) -> dict[str, _fuzzing_guided.Found]:
    """What came of every reader under the engine, so long each."""
    found = _fuzzing_guided.run(seconds, seed)
    for name, f in found.items():
        print(f"{name}: {f.n} executions, {f.points} points", *f.crashes, *f.findings, sep="\n  ", flush=True)
    return found


def standing(path: Path) -> dict[str, str]:
    """The parts of a page that stands there already, by their heads; what is not measured anew stays."""
    parts = path.read_text(encoding="utf-8").split("\n## ")[1:] if path.exists() else []
    return {f"## {part.splitlines()[0]}": f"## {part.rstrip()}\n" for part in parts}


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
        line = cell_of(seen.line, "\0")  # looked_at took the folder out
        rows.append(f"| {number} | {entry.category} | {_cell(entry.what, False)} | {line} | {seen.status} |")
    return "\n".join(rows) + "\n"


def cell_of(line: str, room: str) -> str:
    """What the user sees, as the table shows it: without the names of temporary folders, and without the numbers that
    another run gives (seconds, hashes of files made a moment ago, addresses in memory)."""
    line = line.replace(f"{room}/room/", "").replace(room, "").removeprefix("blendnet: error: ")
    return _cell(plain(line))


def plain(text: str) -> str:
    """Text without the numbers that another run gives."""
    text = re.sub(r"(needs about )\S+ here", r"\1… here", text)
    return re.sub(r"\b0x[0-9a-f]{6,}", "0x…", re.sub(r"(sha256 is )[0-9a-f]{12}…", r"\1…", text))


def _cell(text: str, code: bool = True) -> str:
    """Text in a cell of a table."""
    text = text.replace("|", "\\|")
    text = text if len(text) <= 420 else text[:420] + "…"
    return f"`{text.replace('`', chr(39))}`" if code else text


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{EACH} inputs of each category")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/bad_input.md"))
    parser.add_argument("--changed", type=int, default=1000, metavar="N",
                        help="changed files for each reader of strangers' files (0: the counts that stand there stay)",
                        )  # fmt: skip
    parser.add_argument("--guided", type=float, metavar="SECONDS",
                        help="so long for each reader under a coverage-guided engine (atheris); else those counts stay",
                        )  # fmt: skip
    parser.add_argument("--fuzz", type=float, metavar="SECONDS", help="change bytes of valid files for so long instead")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    if options.fuzz:
        from benchmarks._fuzzing import fuzz

        found = fuzz(options.fuzz, options.seed)
        n, kinds = sum(f[0] for f in found.values()), sum(len(f[2]) for f in found.values())
        print(f"{n} executions, {kinds} kinds of complaint")
        return 1 if kinds else 0
    if options.guided and (missing := _fuzzing_guided.there()):
        print(missing, file=sys.stderr)
        return 1
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
    seconds = time.perf_counter() - began
    n = min(options.changed, 20) if options.quick else options.changed
    counts = changed(n, options.seed) if n else {}
    led = guided(options.guided, options.seed) if options.guided else {}
    bad = sum(len(count.bad) for count in counts.values())
    unasked = sum(len(f.crashes) + len(f.findings) for f in led.values())
    if not options.quick:
        old = standing(options.out)
        parts = [
            page(looked, seconds),
            page_of_changed(counts, options.seed) if counts else old.get(CHANGED, ""),
            _fuzzing_guided.page(led, options.guided, options.seed) if led else old.get(_fuzzing_guided.HEAD, ""),
        ]
        write_text(options.out, "\n".join(filter(None, parts)))
        print(f"wrote {options.out}")
    n = sum(count.n for count in counts.values())
    print(f"{len(looked) - len(wrong)} of {len(looked)} as asked, {n - bad} of {n} changed files")
    return 1 if wrong or bad or unasked else 0


if __name__ == "__main__":
    sys.exit(main())
