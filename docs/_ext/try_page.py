"""Follow pages to the letter in copies of the repository: `python docs/_ext/try_page.py PAGE COPY`.

Files are written where captions say, commands are run, Python is run in one namespace, and what was printed is
compared with what the page shows. COPY is changed: it is never the repository itself (tests/test_docs.py makes it).

Without arguments it reads 'PAGE<tab>COPY' lines and answers each with a line: 'ok', or where the page is wrong. The
libraries are imported once: pages and commands are forks of this process, which itself imports nothing of the copies.
"""

import contextlib
import io
import json
import os
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile

from blocks import Block, apply_diff, blocks, commands, missing_lines

OURS = ("blendnet", "analysis", "pipelines", "tests", "benchmarks")
LIBRARIES = (
    "torch", "torch._dynamo", "torchvision", "scipy.stats", "sklearn.model_selection", "pandas", "xarray", "pytest",
    "matplotlib.backends.backend_agg", "safetensors.torch", "torch.utils.flop_counter",
)  # fmt: skip


def follow(page: Path, copy: Path) -> None:
    """Do what the page says in `copy`; raises RuntimeError that names page and line where it does not come out so."""
    namespace: dict = {"__name__": "__main__"}
    printed = ""
    for block in blocks(page):
        try:
            printed = _do(block, copy, namespace, printed, page)
        except Exception as error:
            told = traceback.format_exc() if block.kind == "python" else str(error)
            raise RuntimeError(f"{page.name}, line {block.line}: {told}\nprinted before:\n{printed[-3000:]}") from error


def _do(block: Block, copy: Path, namespace: dict, printed: str, page: Path) -> str:
    """Do one block; returns what was printed last, with which a block of text is compared."""
    file = copy / block.file
    if block.kind == "python":
        heard = io.StringIO()
        with contextlib.redirect_stdout(heard):
            exec(compile(block.text, f"{page}:{block.line}", "exec"), namespace)
        return heard.getvalue()
    if block.kind == "file":
        if (block.word == "append") != file.exists():
            raise RuntimeError(f"{block.file} {'is' if file.exists() else 'is not'} there")
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as out:
            out.write(("\n\n" if block.word == "append" else "") + block.text)
        return ""
    if block.kind == "diff":
        file.write_text(apply_diff(file.read_text(encoding="utf-8"), block.text), encoding="utf-8")
        return ""
    if block.kind == "text":
        absent = missing_lines(block.text, printed) if block.word == "output" else []
        if absent:
            raise RuntimeError("not printed: " + " / ".join(absent))
        return printed
    if block.word == "parse":
        return ""
    return "".join(_run(command, 1 if block.word == "fails" else 0) for command in commands(block.text))


def _run(command: str, wanted: int) -> str:
    """Run one command in the present folder; what it printed, on either stream."""
    program, *words = shlex.split(command)
    with TemporaryFile("w+") as heard:
        if program in ("blendnet", "pytest"):
            status = forked(lambda: _program(program, words), heard.fileno())
        else:
            known = {"python": [sys.executable], "ruff": [sys.executable, "-m", "ruff"]}
            line = [*known.get(program, [program]), *words]
            status = subprocess.run(line, stdout=heard, stderr=subprocess.STDOUT, check=False).returncode
        heard.seek(0)
        printed = heard.read()
    if status != wanted:
        raise RuntimeError(f"`{command}` ended with {status}, not {wanted}:\n{printed[-3000:]}")
    return printed


def _program(name: str, words: list[str]) -> int:
    for module in [m for m in sys.modules if m.split(".")[0] in OURS]:
        del sys.modules[module]  # what the page has written since is to be read
    if name == "pytest":
        import pytest

        return int(pytest.main([*words, "-p", "no:cacheprovider", "-p", "no:xdist"]))
    from pipelines.cli import main

    return main(words)


def forked(work: Callable[[], int], out: int) -> int:
    """The status of `work` in a fork of this process, which prints to the file descriptor `out`."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        os.dup2(out, 1)
        os.dup2(out, 2)
        status = work()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # no clean-up of what belongs to the parent


def answer(page: Path, copy: Path) -> str:
    """'ok', or in one JSON string where the page is wrong."""

    def work() -> int:
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        try:
            follow(page, copy)
        except RuntimeError as error:
            print(error)
            return 1
        return 0

    with TemporaryFile("w+") as heard:
        status = forked(work, heard.fileno())
        heard.seek(0)
        return "ok" if status == 0 else json.dumps(heard.read()[-6000:])


if __name__ == "__main__":
    for library in LIBRARIES:
        __import__(library)
    lines = ["\t".join(sys.argv[1:])] if len(sys.argv) > 2 else sys.stdin
    for line in lines:
        page, copy = (Path(part).resolve() for part in line.rstrip("\n").split("\t"))
        print(answer(page, copy), flush=True)
