"""Readers of strangers' files on bytes that an engine chooses by what they reach (atheris, which is libFuzzer).

atheris is no dependency of this project: `pip install --target DIR atheris`, then PYTHONPATH=DIR. Each reader in a
process of its own, forked from one that has imported them all, since the engine ends its process.
"""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from blendnet.errors import BlendnetError

ROOT = Path(__file__).resolve().parent.parent
# By the names of benchmarks._fuzzing.made. HDF5 is read as the program does, in a child of its own: half a second each.
READERS = ("table", "predictions", "study's CSV", "manifest", "JSON", "meta.json", "safetensors", "assembly", "npy",
           "legacy zip", "legacy pickle", "zip of JPEG", "CIFAR-10 pickle", "HDF5")  # fmt: skip
MEASURED = ("blendnet", "analysis.tables", "analysis.predictions", "zipfile", "csv")
LIMIT_S = 30  # for one file
HEAD = "## Bytes chosen by what they reach"


@dataclass
class Found:
    """What came of one reader. n: executions; points: of the measured code, reached; kept: inputs that reached more;
    crashes: what ended the process, hangs among it; findings: tracebacks and lines that are none, each kind once."""

    n: int = 0
    points: int = 0
    kept: int = 0
    crashes: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def there() -> str:
    """'' where the engine can be imported, else one line on how to get it."""
    if find_spec("atheris") is None:
        return "atheris is not installed: pip install --target DIR atheris, then give PYTHONPATH=DIR"
    return ""


def run(seconds: float, seed: int = 0, names: Sequence[str] = READERS) -> dict[str, Found]:
    """Each reader for so many seconds. Raises RuntimeError where the engine cannot even begin."""
    found = {}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory(prefix="blendnet-guided-") as folder:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks._fuzzing_guided", folder, str(seconds), str(seed)]
        done = subprocess.run([*command, *names], cwd=ROOT, capture_output=True, text=True, errors="replace",
                              check=False, env=os.environ | threads)  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        statuses = json.loads(done.stdout.splitlines()[-1])
        for name in names:
            said = Path(folder) / _plain(name)
            text = (said / "stderr").read_text(errors="replace")
            found[name] = counted(text)
            found[name].findings = [json.loads(path.read_text()) for path in sorted(said.glob("*.json"))]
            if statuses[name]:
                found[name].crashes.append(f"status {statuses[name]}: {text[-1500:]}")
    return found


def counted(text: str) -> Found:
    """What the engine says at its end: '#812  DONE  cov: 340 ft: 1002 corp: 41/2Kb ...'."""
    found = Found()
    for line in re.finditer(r"^#(\d+)\s+\w+\s+cov: (\d+) ft: \d+ corp: (\d+)/", text, re.MULTILINE):
        found.n, found.points, found.kept = (int(value) for value in line.groups())
    return found


def engine(said: Path, seconds: float, seed: int, names: Sequence[str]) -> None:
    """Import what is measured, once, and feed the readers one after the other, each in a fork: the engine ends its
    process. Prints {reader: exit status} in the last line."""
    import atheris

    with atheris.instrument_imports(include=list(MEASURED)):
        from benchmarks._fuzzing import made
    statuses = {}
    with made() as targets:
        for target in (t for name in names for t in targets if t.name == name):
            valid, folder = target.file.read_bytes(), said / _plain(target.name)
            (folder / "corpus").mkdir(parents=True)
            (folder / "corpus" / "valid").write_bytes(valid)
            pid = os.fork()
            if pid == 0:
                try:
                    with (folder / "stderr").open("w") as file:
                        os.dup2(file.fileno(), 2)
                    _feed(target, folder, seconds, seed)
                finally:
                    os._exit(99)  # not reached: the engine has ended this process
            statuses[target.name] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            target.file.write_bytes(valid)
    print(json.dumps(statuses), flush=True)


def _feed(target: Any, folder: Path, seconds: float, seed: int) -> None:
    """One reader; never returns. A finding is written down under its kind, and the engine goes on."""
    import atheris

    from benchmarks._fuzzing_bytes import mutated

    def one(content: bytes) -> None:
        target.file.write_bytes(content)
        try:
            target.read()
        except BlendnetError as error:
            if "\n" in str(error) or len(str(error)) > 1200:
                _write(folder, "not one line", str(error)[:500])
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            _write(folder, f"{type(error).__name__} {Path(where.filename).name} {where.lineno}",
                   f"{traceback.format_exc()[-3000:]}\n{content[:400]!r}")  # fmt: skip

    def change(content: bytes, most: int, number: int) -> bytes:
        """The engine's own changes, and those that know lengths and words."""
        return atheris.Mutate(content, most) if number % 2 else mutated(content, random.Random(number))[:most]

    atheris.Setup(
        ["guided", f"-max_total_time={max(1, round(seconds))}", f"-seed={seed + 1}", f"-timeout={LIMIT_S}",
         "-rss_limit_mb=6144", f"-artifact_prefix={folder}/", f"-max_len={4 * target.file.stat().st_size + 4096}",
         str(folder / "corpus")],
        one, custom_mutator=change,
    )  # fmt: skip
    atheris.Fuzz()


def _plain(name: str) -> str:
    return re.sub(r"\W+", "-", name)


def _write(said: Path, kind: str, text: str) -> None:
    path = said / f"{_plain(kind)}.json"
    if not path.exists():
        path.write_text(json.dumps(f"{kind}: {text}"))


def page(found: dict[str, Found], seconds: float, seed: int = 0) -> str:
    """The counts, as Markdown."""
    rows = [
        HEAD,
        "",
        f"Each reader for {seconds:.0f} s under a coverage-guided engine (atheris, `--guided`), which keeps what "
        "reaches more of the reader's code and changes it further. *Points*: of the measured Python code "
        f"({', '.join(MEASURED)}), reached. *Crashes*: what ended the process, hangs among it. *Findings*: tracebacks "
        "and messages that are not one line, of different kinds.",
        "",
        "| reader | executions | points | inputs kept | crashes | findings |",
        "|---|---|---|---|---|---|",
    ]
    rows += [f"| {name} | {f.n} | {f.points} | {f.kept} | {len(f.crashes)} | {len(f.findings)} |"
             for name, f in found.items()]  # fmt: skip
    n, bad = sum(f.n for f in found.values()), sum(len(f.crashes) + len(f.findings) for f in found.values())
    return "\n".join([*rows, "", f"{n} executions, {bad} not as asked (seed {seed}).", ""])


if __name__ == "__main__":
    engine(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
