"""blendnet audit: are there packages in requirements.lock with a known vulnerability? Asked through pip-audit.

An answer 'none known' is worth something only from a service that knows vulnerabilities. A mirror of a package index
often has none, and pip-audit then says 'No known vulnerabilities found' and ends with 0. So a package that is known to
be vulnerable is asked for first, as a positive control.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blendnet.errors import BlendnetError
from blendnet.files import write_text
from pipelines.context import say

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
ALLOWED = ROOT / "requirements.allowed"
SERVICES = ("pypi", "osv")
# CVE-2018-18074: credentials are sent on to another host. In every database of Python packages.
CONTROL = "requests==2.19.1"
TIMEOUT_S = 15


class NotChecked(Exception):
    """The service could not be asked, or does not know; the message says why in a line."""


@dataclass(frozen=True)
class Vulnerability:
    """One known vulnerability of one locked package; fixed: versions that have it no more; ids: its names."""

    package: str
    version: str
    ids: tuple[str, ...]
    fixed: tuple[str, ...]

    def __str__(self) -> str:
        names = self.ids[0] + (f" ({', '.join(self.ids[1:])})" if self.ids[1:] else "")
        fixed = f"fixed in {', '.join(self.fixed)}" if self.fixed else "no fixed version"
        return f"{self.package} {self.version}: {names}, {fixed}"


def audit(
    lock: Path = LOCK, *, service: str = "pypi", osv_url: str = "", allowed: Path = ALLOWED, offline_ok: bool = False
) -> int:
    """Ask about every package of the lock; prints a line each that is vulnerable and returns 1 if there is one, else 0.

    Where nothing could be asked one line says so, and the status is 1, or 0 with offline_ok. allowed: file of what
    cannot be put right, see `read_allowed`. osv_url: another address of the service 'osv'. Raises BlendnetError for a
    lock that is missing, an unknown service, a wrong line in `allowed`, and where pip-audit is not installed.
    """
    if service not in SERVICES:
        raise BlendnetError(f"vulnerability service {service!r} is not one of {', '.join(SERVICES)}")
    if not lock.exists():
        raise BlendnetError(f"{lock} is missing; make it with `make lock`")
    reasons = read_allowed(allowed)
    try:
        with tempfile.TemporaryDirectory() as folder:
            control = Path(folder) / "control.txt"
            write_text(control, CONTROL + "\n")
            if not judge(_ask(control, service, osv_url, "--no-deps"))[0]:
                raise NotChecked(f"the service {service!r} does not know that {CONTROL} is vulnerable (a mirror?)")
        found, skipped = judge(_ask(lock, service, osv_url, "--require-hashes"))
    except NotChecked as reason:
        say(f"audit: {lock.name} was NOT checked: {reason}")
        return 0 if offline_ok else 1
    open_ = [v for v in found if not set(v.ids) & set(reasons)]
    for v in found:
        why = next((reasons[i] for i in v.ids if i in reasons), "")
        say(f"  {v}{f'; allowed: {why}' if why else ''}")
    for name in sorted(set(reasons) - {i for v in found for i in v.ids}):
        say(f"  {allowed.name}: {name} is not found any more; remove its line")
    if skipped:
        say(f"  not checked: {', '.join(skipped[:6])}{f' and {len(skipped) - 6} more' if len(skipped) > 6 else ''}")
    counts = (
        f"{len(open_)} known vulnerabilities, {len(found) - len(open_)} allowed, {len(skipped)} packages not checked"
    )
    say(f"audit: {lock.name}, service {service}: {counts}")
    return 1 if open_ or (skipped and not offline_ok) else 0


def read_allowed(path: Path) -> dict[str, str]:
    """{id: reason} from lines 'ID REASON'; # begins a comment. A missing file allows nothing; a line without a reason
    raises BlendnetError."""
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.exists() else [], 1):
        name, _, reason = line.partition("#")[0].strip().partition(" ")
        if name and not reason.strip():
            raise BlendnetError(f"{path}:{number}: {name} has no reason; write why it cannot be put right after it")
        if name:
            found[name] = reason.strip()
    return found


def judge(answer: dict[str, Any]) -> tuple[list[Vulnerability], list[str]]:
    """The vulnerabilities in pip-audit's JSON, by package, and the packages that the service knew nothing of.

    Raises NotChecked where there is no package that it knew.
    """
    found, skipped = [], []
    packages = answer["dependencies"]
    for package in packages:
        if "skip_reason" in package:
            skipped.append(package["name"])
        for v in package.get("vulns", []):
            ids = tuple(dict.fromkeys([v["id"], *v.get("aliases", [])]))
            found.append(Vulnerability(package["name"], package["version"], ids, tuple(v["fix_versions"])))
    if len(skipped) == len(packages):
        raise NotChecked(f"the service knows none of the {len(packages)} packages (a mirror without vulnerabilities?)")
    return sorted(found, key=str), sorted(skipped)


def _ask(requirements: Path, service: str, osv_url: str, *more: str) -> dict[str, Any]:
    """pip-audit's answer as JSON; raises NotChecked where it got none."""
    command = [
        sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--disable-pip", *more,
        "--vulnerability-service", service, "--format", "json", "--desc", "off", "--aliases", "on",
        "--progress-spinner", "off", "--timeout", str(TIMEOUT_S), *(["--osv-url", osv_url] if osv_url else []),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as cache:  # an old answer is no answer
        done = subprocess.run([*command, "--cache-dir", cache], capture_output=True, text=True, check=False,
                              env=os.environ | {"PIP_AUDIT_LOGLEVEL": "error"})  # fmt: skip
    if "No module named pip_audit" in done.stderr:
        raise BlendnetError("pip-audit is not installed; install it with `pip install pip-audit`")
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        said = [line for line in done.stderr.strip().splitlines() if line.strip()] or ["it said nothing"]
        raise NotChecked(f"no answer from the service {service!r} ({_short(said[-1])})") from None


def _short(line: str) -> str:
    """The last part of a long line of nested errors."""
    part = line.rpartition("Caused by ")[2].strip("()\"' ")
    return part if len(part) <= 120 else part[:119] + "…"
