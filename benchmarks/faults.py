"""What happens on the way, made to happen on purpose: is any result lost, silently wrong or half-written?

    python -m benchmarks.faults [--quick] [--kills 100] [--out benchmarks/results/faults.md]

A small chain (tests/faults.py) is run undisturbed; then it is killed, starved of disk and memory, damaged and shifted
in time, and resumed by the same command. A loss is a product whose bytes are not the undisturbed run's in the end.
Full size: minutes of CPU. Disk rows need the right to mount a tmpfs; without it they say so.
"""

import argparse
import os
import platform
import random
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks.similarity import processor
from blendnet.files import write_text
from tests import faults
from tests.faults import Child, Server

# Kills a step, so that each has its share and cheap steps more: their moments differ most.
SHARES = {"train": 18, "predict": 13, "dissect": 14, "extract": 13, "score": 16, "correlate": 9, "draw": 9, "report": 8}
# One product of each kind that is stored, as glob patterns below a profile's results.
KINDS = {
    "weights": "checkpoints/*/weights.safetensors", "meta.json": "checkpoints/*/meta.json",
    "log of a training": "checkpoints/*/log.csv", "photographs": "cache/photos-*.safetensors",
    "identities": "cache/identity-*.safetensors", "list of blends": "manifests/*.csv",
    "predictions": "predictions/*/*.csv", "key of predictions": "predictions/*/key.json",
    "activations": "activations/*/*/*.npy", "key of activations": "activations/*/*/key.json",
    "inside piece": "inside/*/*.json", "score piece": "scores/*/*.json", "table": "tables/*.csv",
    "figure": "figures/*.p*", "report": "report.html",
}  # fmt: skip
Row = dict[str, Any]


def undisturbed(server: Server, base: Path) -> tuple[Path, dict[str, float]]:
    """The results folder of a chain that nothing happened to, and the seconds that each step took."""
    server.ready()
    began = time.monotonic()
    child = server.run("all", base / "whole")
    assert child.status == 0, child.output()[-3000:]
    return base / "whole" / "demo", faults.durations(child, time.monotonic() - began)


def losses(results: Path, wanted: dict[str, str]) -> list[str]:
    """Products that are not the undisturbed run's, and what was left over."""
    return faults.differences(faults.snapshot(results), wanted) + faults.leftovers(results)


def kills(
    server: Server, base: Path, whole: Path, seconds: dict[str, float], *, n: int, rounds: int, seed: int = 0,
    fault: str = "",
) -> Row:  # fmt: skip
    """n kills at seeded moments, spread over the steps, in `rounds` chains from the beginning; each is resumed to its
    end and compared. A moment is a step, and a delay uniform over the time that the step takes undisturbed. fault: one
    of faults.FAULTS that goes with the kills."""
    rng, wanted = random.Random(seed), faults.snapshot(whole)
    hit: Counter[str] = Counter()
    lost, shares = [], list(SHARES.values())
    for number in range(rounds):
        results = base / f"killed-{number}"
        quota = n * (number + 1) // rounds - n * number // rounds
        plan = rng.choices(list(SHARES), shares, k=quota) if n < 30 else _dealt(rng, n, rounds, number)
        for step in sorted(plan, key=faults.CHAIN.index):
            where = ""
            while not where:
                where = faults.killed_at(server, "all", results, step, rng.random() * seconds[step], fault)[1]
            hit[where] += 1
        child = server.run("all", results)
        lost += [child.output()[-500:]] if child.status else []
        lost += losses(results / "demo", wanted)
        shutil.rmtree(results)
    by_step = ", ".join(f"{step} {hit[step]}" for step in faults.CHAIN if hit[step])
    return {"fault": "kill -9", "how": f"SIGKILL to the process group at seeded moments ({by_step}); {rounds} chains, "
            "resumed by the same command", "n": sum(hit.values()), "losses": lost,
            "says": "resumed: … after epoch …; reused: …", "hit": hit}  # fmt: skip


def _dealt(rng: random.Random, n: int, rounds: int, number: int) -> list[str]:
    """The round's part of n kills that are divided over the steps by SHARES exactly."""
    total = sum(SHARES.values())
    ends, deck, at = 0, [], 0
    for step, share in SHARES.items():
        ends += share
        deck += [step] * (round(n * ends / total) - at)
        at = round(n * ends / total)
    random.Random(n).shuffle(deck)
    return deck[number::rounds]


@contextmanager
def small_disk(folder: Path) -> Iterator[Any]:
    """A tmpfs at `folder`; yields remount(options). Raises PermissionError where this process may not mount."""
    folder.mkdir(parents=True)

    def mount(options: str, *more: str) -> None:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, *more, "tmpfs", str(folder)], capture_output=True,
                              text=True, check=False)  # fmt: skip
        if done.returncode:
            raise PermissionError(done.stderr.strip() or "mount failed")

    mount("size=64m")
    try:
        yield lambda options: mount(f"remount,{options}")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def disk(server: Server, base: Path, whole: Path, *, levels: int) -> list[Row]:
    """A disk that is full at `levels` fill levels, one after the other, and one that turns read-only."""
    wanted = faults.snapshot(whole)
    problems, lines, where = [], [], []
    with small_disk(base / "disk") as remount:
        results = base / "disk" / "r"
        trained, all_of_it = _size(whole / "checkpoints") + _size(whole / "cache"), _size(whole)
        # Training takes most, while its state lies there; then what is left is portioned out to the other steps.
        early = max(1, levels // 3)
        sizes = [trained * (i + 0.4) / early for i in range(early)]
        sizes += [trained + (all_of_it - trained) * (i + 0.4) / (levels - early) for i in range(levels - early)]
        for level, size in enumerate(sizes):
            if level == early:
                remount("size=512m")
                assert server.run("train", results).status == 0
            remount(f"size={int(size) // 1024}k")
            child = server.run("all", results)
            problems += _not_one_line(child, "the disk is full", "are free")
            where.append(child.steps()[-1][0])
            lines += child.error_lines()
            problems += _damaged(results / "demo")
        remount("size=512m")
        child = server.run("all", results)
        problems += [child.output()[-500:]] if child.status else []
        problems += losses(results / "demo", wanted)
        full = {"fault": "disk full", "how": f"tmpfs at {levels} fill levels, full in {', '.join(where)}; then freed",
                "n": levels, "losses": problems, "says": _shown(lines[-1], base)}  # fmt: skip
        problems = []
        remount("ro")
        for verb in ("train", "all"):
            child = server.run(verb, results, "--force")
            problems += _not_one_line(child, "the file system is read-only")
        says = _shown((child.error_lines() or [""])[-1], base)
        remount("rw")
        problems += losses(results / "demo", wanted)
        child2 = server.run("all", results)
        problems += ([child2.output()[-500:]] if child2.status else []) + losses(results / "demo", wanted)
    return [full, {"fault": "read-only folder", "how": "the tmpfs remounted read-only under train and all --force, "
                   "then writable", "n": 2, "losses": problems, "says": says}]  # fmt: skip


def _size(folder: Path) -> int:
    """Bytes that a folder takes on a disk with pages of 4 KB."""
    return sum(-(-p.stat().st_size // 4096) * 4096 for p in folder.rglob("*") if p.is_file())


def _not_one_line(child: Child, *words: str) -> list[str]:
    """What keeps a failure from being exit 1 with one clear line that holds one of the words."""
    lines = child.error_lines()
    fine = child.status == 1 and len(lines) == 1 and any(w in lines[0] for w in words)
    return [] if fine else [f"status {child.status}: {child.output()[-1500:]}"]


def diagnosed(results: Path, *, repair: bool = False) -> str:
    """What `blendnet doctor` prints."""
    from pipelines.doctor import doctor

    with redirect_stdout(StringIO()) as out:
        doctor(faults.tiny(), results, repair=repair)
    return out.getvalue()


def _damaged(results: Path) -> list[str]:
    if not results.exists():
        return []
    return [s for s in diagnosed(results).splitlines() if "damaged: " in s or "left over by" in s]


def damage(path: Path, how: str, rng: random.Random) -> None:
    """Cut a file short, or turn over one bit of it; both at a random place, the times of the file as before."""
    content, stat = bytearray(path.read_bytes()), path.stat()
    at = rng.randrange(len(content))
    if how == "truncated":
        content = content[:at]
    else:
        content[at] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def damages(server: Server, base: Path, whole: Path, *, each: int, seed: int = 0) -> list[Row]:
    """Every kind of product, truncated and with a bit turned over: named by doctor; then one of each at once, repaired
    and computed again."""
    wanted, rng = faults.snapshot(whole), random.Random(seed)
    results = base / "damaged"
    shutil.copytree(whole, results / "demo")
    counts: Counter[str] = Counter()
    silent = _damaged(results / "demo")
    one_of_each: list[tuple[Path, str]] = []
    said = ""
    for kind, pattern in KINDS.items():
        paths = sorted((results / "demo").glob(pattern))
        for _ in range(each):
            for how in ("truncated", "one bit turned over"):
                path = rng.choice(paths)
                kept = path.read_bytes()
                damage(path, how, rng)
                found = _damaged(results / "demo")
                # A damaged key may leave nothing to judge its files by, and is named itself.
                if not any(str(path) + ":" in line for line in found):
                    silent.append(f"{how} and not named: {path}")
                said = next((line for line in found if kind == "activations"), said)
                path.write_bytes(kept)
                counts[how] += 1
        one_of_each.append((rng.choice(paths), ("truncated", "one bit turned over")[len(one_of_each) % 2]))
    for path, how in one_of_each:
        damage(path, how, rng)
    diagnosed(results / "demo", repair=True)
    problems = [line for line in _damaged(results / "demo") if "is missing" not in line]  # until it is made again
    child = server.run("all", results)
    problems += ([child.output()[-500:]] if child.status else []) + losses(results / "demo", wanted)
    kinds = f"{len(KINDS)} kinds of product"
    rows = [
        {"fault": how, "how": f"{n} files of {kinds}, at random places, times kept", "n": n,
         "losses": [s for s in silent if how in s], "says": _shown(said.strip(), base)}
        for how, n in counts.items()
    ]  # fmt: skip
    return [*rows, {"fault": "damaged and repaired", "how": f"one of each of {kinds} at once; `blendnet doctor "
                    "--repair`, then all", "n": len(one_of_each), "losses": problems,
                    "says": "removed; run: blendnet train …; blendnet predict …"}]  # fmt: skip


def clock(server: Server, base: Path, whole: Path, *, seed: int = 0, backwards: bool = True) -> list[Row]:
    """All times of a finished chain are made random: everything is reused. A chain under a clock that runs backwards:
    the same bytes (not without `backwards`)."""
    wanted, rng = faults.snapshot(whole), random.Random(seed)
    results = base / "times"
    shutil.copytree(whole, results / "demo")
    paths = [p for p in results.rglob("*") if p.is_file()]
    for path in paths:
        then = time.time() + rng.uniform(-1e9, 1e8)
        os.utime(path, (then, then))
    child = server.run("all", results)
    anew = child.units() + ([child.output()[-500:]] if child.status else []) + losses(results / "demo", wanted)
    rows: list[Row] = [{"fault": "file times at random", "how": "os.utime of every file, 1994 to 2029; then all",
                        "n": len(paths), "losses": anew, "says": "reused: …"}]  # fmt: skip
    if not backwards:
        return rows
    back = server.run("all", base / "back", fault="clock:-86400")
    problems = ([back.output()[-500:]] if back.status else []) + losses(base / "back" / "demo", wanted)
    return [
        *rows,
        {"fault": "clock going back", "how": "time.time() goes back by a day at every fifth look, all the way", "n": 1,
         "losses": problems, "says": "(nothing: no result rests on a time)"},
    ]  # fmt: skip


STOPS = {
    "out of memory": [("a limit on the process (RLIMIT_DATA), then torch asks for 1 GB in the 4th training step",
                       "no-memory:3", "out of memory; lower batch_size"),
                      ("the same with numpy", "no-memory-numpy:3", "out of memory; lower batch_size")],
    "out of GPU memory": [("torch.OutOfMemoryError in the 4th training step", "gpu-full:3", "lower batch_size")],
    "GPU disappears": [("torch.AcceleratorError in the 4th training step", "gpu-gone:3", "the GPU gave up"),
                       ("the error of torch before 2.8, in the 4th step", "gpu-gone-old-torch:3", "the GPU gave up")],
}  # fmt: skip


def stops(server: Server, base: Path, whole: Path, *, each: int = 9) -> list[Row]:
    """Memory that ends and devices that fail, in the middle of training: one line, and resumed. each: at most so
    many cases of a fault."""
    wanted = {k: v for k, v in faults.snapshot(whole).items() if k.startswith("checkpoints/")}
    rows = []
    for fault, all_cases in STOPS.items():
        cases = all_cases[:each]
        problems, line = [], ""
        for _, how, words in cases:
            results = base / how.replace(":", "-")
            child = server.run("train", results, fault=how)
            problems += _not_one_line(child, words)
            line = (child.error_lines() or [""])[-1]
            child = server.run("train", results)
            problems += [child.output()[-500:]] if child.status else []
            found = faults.snapshot(results / "demo")
            problems += [p for p in wanted if found.get(p) != wanted[p]] + faults.leftovers(results)
        rows.append({"fault": fault, "how": "; ".join(dict.fromkeys(c[0] for c in cases)) + "; train resumed",
                     "n": len(cases), "losses": problems, "says": _shown(line, base)})  # fmt: skip
    return rows


def _shown(line: str, base: Path) -> str:
    """A line without the folder of this measurement."""
    return line.replace(str(base) + "/", "").replace("blendnet: error: ", "")


def table(*, n: int, quick: bool) -> tuple[str, int]:
    """All rows as markdown, and the number of losses."""
    began = time.perf_counter()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="blendnet-faults-") as folder:
        base = Path(folder)
        with Server(base / "logs") as server:
            whole, seconds = undisturbed(server, base)
            print("undisturbed: " + ", ".join(f"{k} {v:.1f} s" for k, v in seconds.items()), flush=True)
            rounds = 1 if quick else max(1, n // 16)
            parts = (
                lambda: stops(server, base, whole),
                lambda: damages(server, base, whole, each=1 if quick else 6),
                lambda: clock(server, base, whole),
                lambda: disk(server, base, whole, levels=3 if quick else 6),
                lambda: [kills(server, base, whole, seconds, n=n, rounds=rounds)],
            )
            for part in parts:
                try:
                    found = part()
                except PermissionError as error:
                    found = [{"fault": "disk full, read-only folder", "how": f"not made here: {error}", "n": 0,
                              "losses": [], "says": ""}]  # fmt: skip
                for row in found:
                    line = f"{row['fault']}: {len(row['losses'])} losses of {row['n']}"
                    print(
                        f"{line}, {time.perf_counter() - began:.0f} s so far",
                        *row["losses"][:5],
                        sep="\n  ",
                        flush=True,
                    )
                rows = found + rows if "hit" in found[0] else rows + found
    lines = [
        f"| {r['fault']} | {r['how']} | {r['n']} | {len(r['losses'])} | {r['says'].replace('|', '/')} |" for r in rows
    ]
    text = "\n".join([
        "# Faults" + (" (quick size)" if quick else ""),
        "",
        "Each fault is made on purpose in a small chain (`blendnet all` with two trained and two untrained networks, a "
        "planted recording of two areas and two metrics), which is then resumed by the same command. losses: products "
        "(weights, predictions, activations, pieces, lists of blends, tables, figures) whose bytes are not those of an "
        "undisturbed run in the end, failures that are not one line with exit 1, damages that were not named, and "
        "files left over. The columns of training.csv that tell the time are left out of the comparison.",
        "",
        "| fault | how it was made | n | losses | what the user sees |",
        "|---|---|---|---|---|",
        *lines,
        "",
        "How kills were made: a server imports everything once and forks a process a command (starting Python and "
        "torch would take longer than a step); the process leads a group, and the group gets SIGKILL a random time "
        "after a step has begun. Lines that say what to do begin with `blendnet: error: `. Seeds 0; one thread, "
        f"{processor()}, Python {platform.python_version()}; {time.perf_counter() - began:.0f} s. Made by `python -m "
        "benchmarks.faults`.",
        "",
    ])  # fmt: skip
    return text, sum(len(r["losses"]) for r in rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="faults made on purpose, and what they cost, in one table")
    parser.add_argument("--quick", action="store_true", help="6 kills, few damages: shows that it works")
    parser.add_argument("--kills", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--out", type=Path, default=None, help="also write the table to this markdown file")
    args = parser.parse_args()
    found_text, lost = table(n=6 if args.quick else args.kills, quick=args.quick)
    print(found_text)
    if args.out:
        write_text(args.out, found_text)
    raise SystemExit(1 if lost else 0)
