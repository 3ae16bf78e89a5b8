"""Readers of strangers' files on changed files, in processes of their own: a crash or a hang of a library is counted.

`run` starts children (`python -m benchmarks._fuzzing_child`), which import one reader, take limits of time and memory,
and say a line for each file; where a child ends early the next goes on after the file that ended it.
"""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from blendnet.errors import BlendnetError

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 30  # for one file; no valid one takes a second
LIMIT_BYTES = 3 * 2**30  # beyond what the child holds when it begins
LONGEST = 1200  # characters of a line


class Case(NamedTuple):
    """A reader with its valid file. change(content, rng) puts a changed file in its place; read() gives (the numbers,
    what names them in the keys of results): where the first are other than the valid file's, the second must be."""

    file: Path
    change: Callable[[bytes, random.Random], None]
    read: Callable[[], tuple[str, str]]


@dataclass
class Count:
    """What came of n changed files. taken: read as valid; same: of these, with the numbers of the valid file; wrong:
    of these, with other numbers under the valid file's name; crashes and hangs: seeds of children that ended so;
    peak_mib: beyond what the valid file took."""

    n: int = 0
    taken: int = 0
    same: int = 0
    wrong: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    peak_mib: float = 0.0

    @property
    def bad(self) -> list[str]:
        return [*self.wrong, *self.complaints, *self.crashes, *self.hangs]


def run(name: str, folder: Path, n: int, seed: int = 0, *, limit_s: int = LIMIT_S) -> Count:
    """n changed files for one reader of _fuzzing_cases.cases(); folder: where valid() there put the valid files. Raises
    RuntimeError where a child cannot even begin."""
    count, at = Count(), 0
    while at < n:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks._fuzzing_child", name, str(folder)]
        done = subprocess.run([*command, str(at), str(n), str(seed), str(limit_s)], cwd=ROOT, capture_output=True,
                              text=True, check=False, env=os.environ | dict.fromkeys(names, "1"))  # fmt: skip
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        begun = [line["at"] for line in lines if "at" in line]
        for line in lines:
            _enter(count, line, f"{name} {seed}.{line.get('i')}")
        if done.returncode == 0:
            break
        if not begun or done.returncode > 0:
            raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
        which = f"{name} {seed}.{begun[-1]}"
        if done.returncode == -signal.SIGALRM:
            count.hangs.append(f"{which}: no answer within {limit_s} s")
        else:
            count.crashes.append(f"{which}: {signal.Signals(-done.returncode).name}: {done.stderr[-500:]}")
        count.n += 1
        at = begun[-1] + 1
    return count


def _enter(count: Count, line: dict, which: str) -> None:
    if "i" not in line:
        return
    count.n += 1
    count.slowest_s = max(count.slowest_s, line["s"])
    count.peak_mib = max(count.peak_mib, line["mib"])
    count.taken += line["what"] in ("same", "other", "wrong")
    count.same += line["what"] == "same"
    if line["what"] == "wrong":
        count.wrong.append(f"{which}: other numbers under the same name")
    elif line["what"] == "complaint":
        count.complaints.append(f"{which}: {line['said']}")


def child(name: str, folder: Path, first: int, end: int, seed: int, limit_s: int) -> None:
    """Read changed files first ... end - 1; a line of JSON before each and after."""
    from benchmarks._fuzzing_cases import cases

    case = cases()[name](folder)
    valid = case.file.read_bytes()
    wanted = case.read()
    base, began_with = _held("VmData"), _held("VmHWM")
    resource.setrlimit(resource.RLIMIT_DATA, (base + LIMIT_BYTES, base + LIMIT_BYTES))
    for i in range(first, end):
        # What is not caught here ends this process, and says so by its status.
        _say({"at": i})
        case.change(valid, random.Random(f"{seed} {name} {i}"))
        began = time.perf_counter()
        signal.alarm(limit_s)
        what, said = _looked_at(case, wanted)
        signal.alarm(0)
        mib = (_held("VmHWM") - began_with) / 2**20
        _say({"i": i, "what": what, "said": said, "s": round(time.perf_counter() - began, 3), "mib": round(mib)})


def _looked_at(case: Case, wanted: tuple[str, str]) -> tuple[str, str]:
    try:
        found = case.read()
    except BlendnetError as error:
        line = str(error)
        fine = "\n" not in line and len(line) < LONGEST and "Traceback" not in line
        return ("refused", "") if fine else ("complaint", f"not one line: {line[:300]!r}")
    except Exception:
        return "complaint", traceback.format_exc()[-1500:]
    if found[0] == wanted[0]:
        return "same", ""
    return ("wrong" if found[1] == wanted[1] else "other"), ""


def _held(what: str) -> int:
    """Bytes of this process: VmData, which RLIMIT_DATA counts, or VmHWM, the most that was in memory."""
    words = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(words[what].split()[0]) * 1024


def _say(line: dict) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    child(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))  # type: ignore[arg-type]
