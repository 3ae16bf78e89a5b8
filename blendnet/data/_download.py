"""Downloads that are whole or not there: resumed after a kill, checked, and unpacked member by member."""

import http.client
import os
import ssl
import sys
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

from blendnet.errors import BlendnetError
from blendnet.files import atomic, make_folder, sha256_file, write_error

CHUNK = 2**20
ATTEMPTS = 3
TIMEOUT = 30.0  # seconds without a byte
MAX_MEMBER = 2**30  # bytes of one unpacked file


class _Broken(Exception):
    """The connection failed while the content was read: apart from a disk that fails while it is written."""


class Unreachable(BlendnetError):
    """The place did not answer, or not with the file; another place may be tried."""


def download(
    url: str, path: Path, *, sha256: str | None, progress: bool = True, timeout: float = TIMEOUT, pause: float = 1.0
) -> Path:
    """Fetch `url` to `path`: atomically, resumed where an earlier attempt stopped, compared with `sha256`.

    Bytes are kept in '.NAME.part' beside `path` until the file is whole. A file that is there with the
    right checksum is not fetched again. sha256: hex, or None where it is not known (the caller checks the
    content). timeout: seconds without a byte before an attempt counts as broken; pause: seconds between
    attempts.

    Raises Unreachable where the place does not answer or has no such file, BlendnetError where the
    connection keeps breaking, the checksum differs, or the disk cannot be written.
    """
    if path.is_file() and sha256 is not None and sha256_file(path) == sha256:
        return path
    make_folder(path.parent)
    part = path.with_name(f".{path.name}.part")
    if sha256 is None:  # nothing would tell whether the remains belong to this file
        part.unlink(missing_ok=True)
    resumed = part.is_file() and part.stat().st_size > 0
    try:
        with _alone(part):
            _transfer(url, part, progress, timeout, pause)
            found = sha256_file(part)
            if sha256 is not None and found != sha256 and resumed:
                # The remains of an earlier attempt may be of another file: once more, from the start.
                os.truncate(part, 0)
                _transfer(url, part, progress, timeout, pause)
                found = sha256_file(part)
            if sha256 is not None and found != sha256:
                size = part.stat().st_size
                part.unlink()
                raise BlendnetError(
                    f"{_shown(url)}: sha256 is {found[:12]}… ({size} bytes), expected {sha256[:12]}…; "
                    "nothing was kept; try again later, or put the published file there by hand"
                )
            os.replace(part, path)
    except OSError as error:
        raise write_error(path, error) from error
    return path


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Two processes that fetch the same file would interleave their bytes: the second one is told to wait."""
    import fcntl

    with open(part, "ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlendnetError(f"{part} is being written by another fetch; wait until it has ended") from error
        try:
            yield
        finally:
            if part.is_file() and not part.stat().st_size:
                part.unlink()


def _transfer(url: str, part: Path, progress: bool, timeout: float, pause: float) -> None:
    """Append what is missing to `part`, in up to ATTEMPTS attempts."""
    failure = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause)
        have = part.stat().st_size
        try:
            with _open(url, timeout, {"Range": f"bytes={have}-"} if have else {}) as answer:
                if have and answer.status != 206:  # the server knows no ranges: from the start
                    os.truncate(part, 0)
                    have = 0
                length = answer.headers.get("Content-Length")
                total = have + int(length) if length is not None else None
                with open(part, "ab") as handle, _bar(url, have, total, progress) as bar:
                    while chunk := _read(answer):
                        handle.write(chunk)
                        bar.update(len(chunk))
                # urllib ends without an error where the server hangs up early.
                have = part.stat().st_size
                if total is None or have == total:
                    return
                failure = f"the connection broke after {have} of {total} bytes"
        except urllib.error.HTTPError as error:
            if error.code == 416 and have:  # nothing after what is here: whole, or of another file
                return
            if error.code < 500:
                raise Unreachable(f"{_shown(url)}: {error.code} {error.reason}; the file is not there") from error
            failure = f"{error.code} {error.reason}"
        except (_Broken, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            failure = f"the connection broke ({error or type(error).__name__})"
        except urllib.error.URLError as error:
            if isinstance(error.reason, (TimeoutError, ConnectionResetError)):
                failure = f"the connection broke ({error.reason})"
            else:
                reason = getattr(error.reason, "strerror", None) or error.reason
                raise Unreachable(f"{_shown(url)}: cannot be reached ({reason}); is there a network?") from error
    have = part.stat().st_size
    if not have:
        raise Unreachable(f"{_shown(url)}: {failure}, {ATTEMPTS} times; is there a network?")
    raise BlendnetError(f"{_shown(url)}: {failure}, {ATTEMPTS} times; run the same command again, it resumes")


def _read(answer: Any) -> bytes:
    try:
        content: bytes = answer.read1(CHUNK)  # what has come, so that little is lost when the line breaks
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(str(error) or type(error).__name__) from error
    return content


def read_page(url: str, accept: str, timeout: float = TIMEOUT) -> tuple[str, bytes]:
    """Content type and content of a small page; raises Unreachable."""
    try:
        with _open(url, timeout, {"Accept": accept}) as answer:
            return answer.headers.get("Content-Type", ""), answer.read(64 * CHUNK)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise Unreachable(f"{_shown(url)}: cannot be read ({reason}); is there a network?") from error


def _open(url: str, timeout: float, headers: Mapping[str, str]) -> Any:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https", "file"):
        raise BlendnetError(f"{_shown(url)}: only http, https and file addresses are fetched")
    headers = {"User-Agent": "blendnet", **headers}
    if parts.username:  # urllib does not take a name and password out of the address
        secret = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + b64encode(secret.encode()).decode()
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    request = urllib.request.Request(url, headers=headers)
    return urllib.request.urlopen(request, timeout=timeout, context=_trusted())


@cache
def _trusted() -> ssl.SSLContext:
    """Certificates as pip and curl are told to trust them on this machine; verification is never switched
    off."""
    context = ssl.create_default_context()
    for variable in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        bundle = os.environ.get(variable)
        if bundle and Path(bundle).is_file():
            context.load_verify_locations(cafile=bundle)
            break
    else:
        if not context.cert_store_stats()["x509_ca"]:
            try:
                import certifi
            except ImportError:
                return context
            context.load_verify_locations(cafile=certifi.where())
    return context


def _shown(url: str) -> str:
    """The address without a name and password."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _bar(url: str, have: int, total: int | None, progress: bool) -> Any:
    from tqdm import tqdm

    name = urllib.parse.unquote(url.rpartition("/")[2])
    return tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=name, disable=not progress, file=sys.stderr)


def unpack(archive: Path, members: Mapping[str, Path], sha256: Mapping[str, str]) -> None:
    """Write the named members of a .tar.gz, .tgz, .zip or .whl to their targets, each atomically and checked.

    members: name in the archive -> target; sha256: name in the archive -> expected hex. Nothing else is
    unpacked and no name in the archive becomes a path, so none can leave a folder. Raises BlendnetError for
    an archive that is broken, lacks a member, or holds another content.
    """
    try:
        if archive.suffix in (".zip", ".whl"):
            with zipfile.ZipFile(archive) as opened:
                for name, target in members.items():
                    with opened.open(name) as source:
                        _write(source, target, archive, name, sha256[name])
        else:
            with tarfile.open(archive) as opened_tar:
                for name, target in members.items():
                    member = opened_tar.getmember(name)
                    content = opened_tar.extractfile(member) if member.isfile() else None
                    if content is None:
                        raise BlendnetError(f"{archive}: {name} is no plain file; delete it and fetch again")
                    with content:
                        _write(content, target, archive, name, sha256[name])
    except KeyError as error:
        raise BlendnetError(f"{archive} holds no {error.args[0]}; delete it and fetch again") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise BlendnetError(f"{archive} is broken ({error}); delete it and fetch again") from error


def _write(source: IO[bytes], target: Path, archive: Path, name: str, sha256: str) -> None:
    with atomic(target) as partial:
        size = 0
        with open(partial, "wb") as handle:
            while chunk := source.read(CHUNK):
                size += len(chunk)
                if size > MAX_MEMBER:
                    raise BlendnetError(f"{archive}: {name} is too large when unpacked; it is not the published file")
                handle.write(chunk)
        if (found := sha256_file(partial)) != sha256:
            raise BlendnetError(
                f"{archive}: {name} has sha256 {found[:12]}…, expected {sha256[:12]}…; delete it and fetch again"
            )
