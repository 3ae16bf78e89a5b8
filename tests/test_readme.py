"""Every example in the README runs: Python blocks as they stand, commands through make and the program's parser."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import cli

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text()


def blocks(kind: str) -> list[str]:
    found = re.findall(rf"```{kind}\n(.*?)```", TEXT, re.DOTALL)
    assert found
    return found


def commands(word: str) -> list[str]:
    lines = [line.split(" #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith(word)]


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_blocks_run_and_print(number):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", blocks("python")[number]],
        capture_output=True, text=True, env=env, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-1500:]
    assert done.stdout.strip()


@pytest.mark.parametrize("command", commands("make"))
def test_make_commands_are_targets(command):
    # -n prints what would be run; make ends with an error for a target that it has not.
    done = subprocess.run([*shlex.split(command), "-n"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "blendnet" in done.stdout or "pytest" in done.stdout


@pytest.mark.parametrize("command", [c for c in commands("blendnet") if "--help" not in c])
def test_program_commands_parse_and_name_real_profiles(command):
    from pipelines.sheet import profile

    arguments = cli.parser().parse_args(shlex.split(command)[1:])
    assert arguments.verb == shlex.split(command)[1]
    if arguments.verb not in ("models", "audit"):  # which are about the zoo and the lock, not about a profile
        assert profile(arguments.profile).name == arguments.profile


@pytest.mark.parametrize("command", commands("torchrun"))
def test_torchrun_commands_start_the_program(command):
    words = shlex.split(command)
    start = words.index("-m")
    assert words[start + 1] == "pipelines.cli"
    assert cli.parser().parse_args(words[start + 2 :]).verb == "train"


def test_help_of_every_verb(capsys):
    for verb in [*cli.VERBS, "data"]:
        with pytest.raises(SystemExit) as end:
            cli.main([verb, "--help"])
        assert end.value.code == 0
        out = capsys.readouterr().out
        assert "--profile" in out
        assert "--results" in out


def test_data_check_and_show_of_the_demo(tmp_path, capsys):
    assert cli.main(["data", "check", "--profile", "demo", "--results", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "procedural" in out
    assert "planted" in out
    assert cli.main(["data", "show", "--profile", "demo", "--results", str(tmp_path)]) == 0
    assert (tmp_path / "demo" / "figures" / "blends.png").read_bytes().startswith(b"\x89PNG")


def test_links_to_files_exist():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
