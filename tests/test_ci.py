""".ci/run says what it could not install, and in CI fails for it: skipped tests must not look like passed ones. With an
apt-get, a make and an id of our own, and none of the system's programs in PATH."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = {"chromium": "chromium", "slurm-wlm": "slurmctld", "munge": "munged"}


@pytest.fixture
def run(tmp_path):
    """run(installs=..., CI=..., ...): exit status, output and what was called; installs: packages that the apt-get
    really brings, None for no apt-get at all."""
    (tmp_path / "repository" / ".ci").mkdir(parents=True)
    script = (ROOT / ".ci" / "run").read_text()
    # The machine of this test may have them.
    (tmp_path / "repository" / ".ci" / "run").write_text(script.replace("/usr/sbin/", f"{tmp_path}/nowhere/"))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname", "tr", "touch", "chmod"):
        (programs / name).symlink_to(str(shutil.which(name)))

    def program(name: str, *lines: str) -> None:
        (programs / name).write_text("\n".join([f"#!{shutil.which('bash')}", *lines, ""]))
        (programs / name).chmod(0o755)

    def running(installs: tuple[str, ...] | None, there: tuple[str, ...] = (), **environment: str):
        program("make", f'echo "make $*" >> {tmp_path}/called')
        program("id", "echo 0")
        for package in there:
            program(PROGRAMS[package])
        if installs is not None:
            brought = [f"touch {programs}/{PROGRAMS[p]}; chmod +x {programs}/{PROGRAMS[p]}" for p in installs]
            fails = "" if len(installs) == 3 - len(there) else "[ $1 = update ] || exit 100"
            program("apt-get", f'echo "apt-get $*" >> {tmp_path}/called', "[ $1 = update ] && exit 0", *brought, fails)
        keep = {k: v for k, v in os.environ.items() if k not in ("CI", "BLENDNET_CI_WITHOUT")}
        ran = subprocess.run([str(shutil.which("bash")), str(tmp_path / "repository" / ".ci" / "run")], text=True,
                             capture_output=True, env=keep | {"PATH": str(programs)} | environment,
                             check=False)  # fmt: skip
        called = (tmp_path / "called").read_text().splitlines() if (tmp_path / "called").exists() else []
        return ran.returncode, ran.stdout + ran.stderr, called

    return running


TESTED = ["make audit OFFLINE_OK=1", "make test"]


@pytest.mark.parametrize("ci", ["true", ""])
def test_what_is_missing_is_installed_and_nothing_else(run, ci):
    status, said, called = run(("chromium", "munge"), there=("slurm-wlm",), CI=ci)
    assert (status, said) == (0, "")
    assert called == ["apt-get update -qq", "apt-get install -y -qq --no-install-recommends chromium munge", *TESTED]


def test_nothing_is_installed_where_all_is_there(run):
    assert run((), there=tuple(PROGRAMS), CI="true") == (0, "", TESTED)


@pytest.mark.parametrize("installs", [None, (), ("munge",)])
def test_elsewhere_one_loud_line_says_what_is_skipped(run, installs):
    status, said, called = run(installs)
    gone = " ".join(p for p in PROGRAMS if p not in (installs or ()))
    assert said == f"WARNING: not installed, and not to be installed: {gone}; THEIR TESTS WILL BE SKIPPED\n"
    assert status == 0
    assert called[-2:] == TESTED


@pytest.mark.parametrize("without", ["", "munge", "chromium-browser slurm munge"])
@pytest.mark.parametrize("installs", [None, ("munge",)])
def test_in_ci_it_fails_before_any_test(run, installs, without):
    status, said, called = run(installs, CI="true", BLENDNET_CI_WITHOUT=without)
    assert status == 1
    gone = "chromium slurm-wlm" + (" munge" if installs is None and "munge" not in without else "")
    assert said.splitlines()[-1] == (
        f'ERROR: CI=true and not installed: {gone}; install it, or set BLENDNET_CI_WITHOUT="{gone}"'
    )
    assert not set(called) & set(TESTED)


def test_in_ci_it_goes_on_without_what_is_named(run):
    status, said, called = run(("munge",), CI="true", BLENDNET_CI_WITHOUT="slurm-wlm chromium")
    assert status == 0
    assert said.count("\n") == 1
    assert "SKIPPED" in said
    assert called[-2:] == TESTED
