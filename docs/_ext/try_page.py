"""Follow pages to the letter in copies of the repository: `python docs/_ext/try_page.py PAGE COPY`.

Files are written where captions say, commands are run, Python is run in one namespace, and what was printed is
compared with what the page shows. COPY is changed: it is never the repository itself (tests/test_docs.py makes it).
Long commands are run with tiny profiles (small.py) in the folder COPY-small, so that their results and those that the
page reads do not meet; paths of /shared lie beside it.

Without arguments it reads 'PAGE<tab>COPY<tab>COMMANDS' lines and answers each with a line: 'ok', or where the page is
wrong; COMMANDS is a JSON list of those that are not run. The libraries are imported once: pages and commands are forks
of this process, which itself imports nothing of the copies.
"""

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile

from blocks import Block, apply_diff, blocks, commands, missing_lines

OURS = ("blendnet", "analysis", "pipelines", "tests", "benchmarks")
LIBRARIES = (
    "torch", "torch._dynamo", "torchvision", "scipy.stats", "sklearn.model_selection", "pandas", "xarray", "pytest",
    "matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf", "matplotlib.backends.backend_svg",
    "safetensors.torch", "torch.utils.flop_counter", "fontTools.subset", "PIL.Image", "h5py", "tqdm",
    "statsmodels.regression.mixed_linear_model", "torch.utils.tensorboard",
)  # fmt: skip


def follow(page: Path, copy: Path, left_out: Sequence[str] = ()) -> None:
    """Do what the page says in `copy`, but for the long commands `left_out`; raises RuntimeError that names page and
    line where it does not come out so."""
    namespace: dict = {"__name__": "__main__"}
    printed = ""
    for block in blocks(page):
        try:
            printed = _do(block, copy, namespace, printed, page, left_out)
        except Exception as error:
            told = traceback.format_exc() if block.kind == "python" else str(error)
            raise RuntimeError(f"{page.name}, line {block.line}: {told}\nprinted before:\n{printed[-3000:]}") from error


def _do(block: Block, copy: Path, namespace: dict, printed: str, page: Path, left_out: Sequence[str]) -> str:
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
    if block.word == "small":
        return "".join(_small(command, copy) for command in commands(block.text) if command not in left_out)
    return "".join(_run(command, 1 if block.word == "fails" else 0) for command in commands(block.text))


def _small(command: str, copy: Path) -> str:
    """Run one command with tiny profiles in the folder beside `copy`; what it printed."""
    here, before = Path.cwd(), dict(os.environ)
    try:
        os.chdir(copy.with_name(f"{copy.name}-small"))
        # No proxy answers there: what a command would ask of a network is not to be had, everywhere alike.
        nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
        os.environ.update({"DOCS_SMALL": "1", "PYTHONPATH": str(copy), **nowhere})
        command = re.sub(r"(?<=[ =])/shared/", "../shared/", command)
        if not command.startswith("make "):
            return _run(command, 0)
        # What make would run, one line a command, but each as a fork of this process.
        lines = _run(f"{command} -n", 0).splitlines()
        ours = [line.removeprefix(".venv/bin/") for line in lines if not line.startswith(("echo", "make: "))]
        if not ours or not all(line.startswith("blendnet ") for line in ours):
            raise RuntimeError(f"`{command}` would run {ours}, which are no commands of blendnet")
        return "".join(_run(line, 0) for line in ours)
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)


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


def answer(page: Path, copy: Path, left_out: Sequence[str] = ()) -> str:
    """'ok', or in one JSON string where the page is wrong."""

    def work() -> int:
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        try:
            follow(page, copy, left_out)
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
        page, copy, *rest = line.rstrip("\n").split("\t")
        print(answer(Path(page).resolve(), Path(copy).resolve(), json.loads(rest[0]) if rest else ()), flush=True)
