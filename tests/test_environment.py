"""One environment: the lock has hashes and no addresses, environment.yml has the same pins, everything imports."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def pins(text: str) -> dict[str, str]:
    return {k.lower(): v for k, v in re.findall(r"^\s*(?:- )?([A-Za-z0-9_.\-]+)==([^\s;\\]+)", text, re.MULTILINE)}


def test_lock_has_hashes_and_no_addresses():
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text)
    assert len(blocks) > 100
    assert [b.splitlines()[0] for b in blocks if "--hash=sha256:" not in b] == []


def test_environment_yml_has_the_pins_of_the_lock():
    lock = pins((ROOT / "requirements.lock").read_text())
    conda = pins((ROOT / "environment.yml").read_text())
    assert conda
    assert {k: v for k, v in conda.items() if lock.get(k) != v} == {}
    asked = {
        re.split(r"[=<>[]", line.strip())[0].lower()
        for line in (ROOT / "requirements.in").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    }
    assert asked - set(conda) == {"pip", "uv"}


def test_everything_imports_together():
    names = "torch torchvision brainscore_vision rsatoolbox numpy scipy xarray matplotlib seaborn h5py sklearn"
    code = "import os; os.environ['BS_INSTALL_DEPENDENCIES'] = 'no'\n"
    code += "\n".join(f"import {n}" for n in names.split())
    code += "\nfrom torchvision.ops import nms\nfrom rsatoolbox.rdm import calc_rdm\nprint('together')"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().endswith("together")


def test_no_registry_host_is_named_in_the_repository():
    tracked = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True).stdout
    hosts = re.compile(
        "|".join((r"pypi" + r"\.org", r"pythonhosted" + r"\.org", r"registry\.npm" + "js", r"deb\.deb" + "ian"))
    )
    found = []
    for name in tracked.split():
        path = ROOT / name
        if path.suffix in {".png", ".pdf", ".gz"} or not path.is_file():
            continue
        if hosts.search(path.read_text(encoding="utf-8", errors="ignore")):
            found.append(name)
    assert found == []
