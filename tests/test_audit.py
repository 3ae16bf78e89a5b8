"""The audit of dependencies against a local server that speaks OSV's protocol, and the bill of materials."""

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from blendnet.errors import BlendnetError
from pipelines import audit, sbom
from tests.conftest import ROOT, one_line

LOCK = f"""\
jinja2==2.4.1 ; python_version >= '3.11' \\
    --hash=sha256:{"a" * 64}
    # via
    #   -r requirements.in
    #   sphinx
sphinx==9.0.4 \\
    --hash=sha256:{"b" * 64} \\
    --hash=sha256:{"c" * 64}
    # via -r requirements.in
"""
KNOWN = {("requests", "2.19.1"): ("PYSEC-2018-28", "2.20.0"), ("jinja2", "2.4.1"): ("PYSEC-2014-8", "2.7.2")}


@pytest.fixture
def lock(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    path = tmp_path / "requirements.lock"
    path.write_text(LOCK)
    return path


@pytest.fixture
def service():
    """A vulnerability service: its address, what it knows, and what it was asked for."""
    known, asked = dict(KNOWN), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name, version = query["package"]["name"], query["version"]
            asked.append(f"{name}=={version}")
            answer = {}
            if (name, version) in known:
                number, fixed = known[name, version]
                events = [{"introduced": "0"}, {"fixed": fixed}]
                affected = {"package": {"name": name, "ecosystem": "PyPI"},
                            "ranges": [{"type": "ECOSYSTEM", "events": events}]}  # fmt: skip
                answer = {"vulns": [{"id": number, "aliases": ["CVE-1"], "summary": "bad", "affected": [affected]}]}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query", known, asked
    server.shutdown()
    server.server_close()


def test_a_vulnerable_package_is_named_with_its_fix_and_may_be_allowed_with_a_reason(lock, service, tmp_path, capsys):
    address, _, asked = service
    none = tmp_path / "none"
    assert audit.audit(lock, service="osv", osv_url=address, allowed=none) == 1
    out = capsys.readouterr().out
    assert "  jinja2 2.4.1: PYSEC-2014-8 (CVE-1), fixed in 2.7.2\n" in out
    assert "1 known vulnerabilities, 0 allowed, 0 packages not checked" in out
    assert "requests" not in out  # the control is not of the lock
    assert sorted(asked) == ["jinja2==2.4.1", "requests==2.19.1", "sphinx==9.0.4"]
    allowed = tmp_path / "requirements.allowed"
    allowed.write_text("# what cannot be put right\nCVE-1 pinned by another  # until then\nCVE-2 gone\n")
    assert audit.audit(lock, service="osv", osv_url=address, allowed=allowed) == 0
    out = capsys.readouterr().out
    assert "fixed in 2.7.2; allowed: pinned by another\n" in out
    assert "CVE-2 is not found any more; remove its line" in out
    assert "0 known vulnerabilities, 1 allowed" in out


def test_a_service_that_knows_no_vulnerability_has_not_checked(lock, service, capsys):
    """What a mirror of an index does: pip-audit alone says 'No known vulnerabilities found' and ends with 0."""
    address, known, asked = service
    known.clear()
    assert audit.audit(lock, service="osv", osv_url=address) == 1
    assert "was NOT checked: the service 'osv' does not know that requests==2.19.1" in capsys.readouterr().out
    assert asked == ["requests==2.19.1"]  # nothing more was asked of it


def test_without_a_network_one_line_says_that_it_was_not_checked(lock, service, capsys):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1/query"
        assert audit.audit(lock, service="osv", osv_url=address) == 1
        out = capsys.readouterr().out
        assert out.startswith("audit: requirements.lock was NOT checked: no answer from the service 'osv' (")
        assert out.count("\n") == 1
        assert audit.audit(lock, service="osv", osv_url=address, offline_ok=True) == 0
        assert "NOT checked" in capsys.readouterr().out


def test_ci_asks_before_it_tests_and_goes_on_without_an_answer():
    """The audit may not fail for want of a network; nothing else of it is excused."""
    lines = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line.startswith("make ")]
    assert lines == ["make audit OFFLINE_OK=1", "make test"]
    assert "set -euo pipefail" in (ROOT / ".ci" / "run").read_text()
    for words, wanted in (((), "blendnet audit"), (("OFFLINE_OK=1",), "blendnet audit --offline-ok")):
        done = subprocess.run(["make", "-n", "-o", ".venv/.ready", "audit", *words], cwd=ROOT, capture_output=True,
                              text=True, check=True)  # fmt: skip
        assert done.stdout.strip() == f".venv/bin/{wanted}"


def test_packages_that_the_service_skips_are_not_counted_as_checked(monkeypatch, lock, capsys):
    skipped = {"name": "jinja2", "skip_reason": "Dependency not found and could not be audited: jinja2 (2.4.1)"}
    good = {"name": "sphinx", "version": "9.0.4", "vulns": []}
    with pytest.raises(audit.NotChecked, match="none of the 1 packages"):
        audit.judge({"dependencies": [skipped]})
    bad = {"name": "requests", "version": "2.19.1", "vulns": [{"id": "A", "fix_versions": [], "aliases": ["A", "B"]}]}
    assert list(map(str, audit.judge({"dependencies": [bad]})[0])) == ["requests 2.19.1: A (B), no fixed version"]

    def ask(path, *_):
        return {"dependencies": [bad] if path.name == "control.txt" else [skipped, good]}

    monkeypatch.setattr(audit, "_ask", ask)
    assert audit.audit(lock) == 1
    assert "not checked: jinja2\n" in capsys.readouterr().out
    assert audit.audit(lock, offline_ok=True) == 0


def test_bad_input_of_the_audit_is_one_line(lock, tmp_path):
    with pytest.raises(BlendnetError) as error:
        audit.audit(lock, service="snyk")
    one_line(error, "'snyk'", "pypi, osv")
    with pytest.raises(BlendnetError) as error:
        audit.audit(tmp_path / "no.lock")
    one_line(error, "no.lock is missing", "make lock")
    (tmp_path / "allowed").write_text("CVE-1 why\nCVE-2\n")
    with pytest.raises(BlendnetError) as error:
        audit.audit(lock, allowed=tmp_path / "allowed")
    one_line(error, "allowed:2", "CVE-2 has no reason")


def test_the_bill_of_materials_follows_the_standard_and_names_every_package(tmp_path):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    path = tmp_path / "sbom.json"
    sbom.sbom(path)
    text = path.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = json.loads(text)
    # Independently of our parser: a line of a lock that begins with a letter is a package.
    names = [line.split(" ")[0] for line in audit.LOCK.read_text().splitlines() if line[:1].isalnum()]
    assert sorted(c["bom-ref"] for c in found["components"]) == sorted(names)
    assert len({n.split("==")[0] for n in names}) < len(names)  # some are locked twice, for different Pythons
    assert {c["purl"] for c in found["components"]} == {f"pkg:pypi/{n.replace('==', '@')}" for n in names}
    assert found["metadata"]["component"]["name"] == "blendnet"
    ours = next(d for d in found["dependencies"] if d["ref"] == "blendnet")["dependsOn"]
    assert any(n.startswith("torch==") for n in ours)
    assert not any(n.startswith("markupsafe==") for n in ours)  # needed by others only


def test_the_same_lock_gives_the_same_bytes_and_another_one_does_not(lock):
    text = sbom.text_of(lock)
    assert text == sbom.text_of(lock)
    assert "timestamp" not in text
    assert "timestamp" in sbom.text_of(lock, time=True)
    assert "://" not in text.replace("http://cyclonedx.org", "")  # no address of an index
    jinja, sphinx = json.loads(text)["components"]
    assert jinja["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert {"name": "blendnet:marker", "value": "python_version >= '3.11'"} in jinja["properties"]
    assert [p["value"][0] for p in sphinx["properties"]] == ["b", "c"]
    needs = {d["ref"]: d.get("dependsOn", []) for d in json.loads(text)["dependencies"]}
    assert needs == {"blendnet": ["jinja2==2.4.1", "sphinx==9.0.4"], "sphinx==9.0.4": ["jinja2==2.4.1"],
                     "jinja2==2.4.1": []}  # fmt: skip
    lock.write_text(LOCK.replace("9.0.4", "9.0.5"))
    assert json.loads(sbom.text_of(lock))["serialNumber"] != json.loads(text)["serialNumber"]


def test_a_lock_that_is_none_is_one_line(tmp_path):
    for content, words in (("numpy>=1.26\n", ("lock:1", "'numpy>=1.26'", "make lock")), ("# empty\n", ("no package",)),
                           ("a==1 \\\n    # via b\n", ("a is there for b",))):  # fmt: skip
        path = tmp_path / "lock"
        path.write_text(content)
        with pytest.raises(BlendnetError) as error:
            sbom.text_of(path)
        one_line(error, *words)
