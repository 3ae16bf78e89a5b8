"""blendnet doctor on the report, which carries its own hash. All other products: test_faults.py."""

import random
from pathlib import Path

import pytest

from blendnet import integrity
from blendnet.errors import BlendnetError
from blendnet.files import write_text
from pipelines import doctor, sheet
from pipelines import report as pages
from tests.conftest import ROOT, one_line

PAGE = "<!doctype html>\n<html><body>é\n<p>.59</p></body></html>\n"


def diagnosed(results: Path, capsys: pytest.CaptureFixture, *, repair: bool = False) -> tuple[int, str]:
    status = doctor.doctor(sheet.DEMO, results, repair=repair)
    return status, capsys.readouterr().out


def test_a_sealed_page_is_the_page_and_one_comment_at_either_end(tmp_path: Path) -> None:
    sealed = integrity.sealed_page(PAGE)
    lines = sealed.splitlines()
    assert [line for line in lines if not line.startswith("<!-- ")] == PAGE.splitlines()
    assert [i for i, line in enumerate(lines) if line.startswith("<!-- ")] == [1, len(lines) - 1]
    assert lines[0] == "<!doctype html>"  # what comes before it would put browsers into their oldest mode
    write_text(tmp_path / "report.html", sealed)
    integrity.check_page(tmp_path / "report.html")
    assert integrity.sealed_page(PAGE) == sealed


def test_every_flipped_bit_and_every_cut_is_named(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    whole = integrity.sealed_page(PAGE).encode()
    damaged = [whole[:n] for n in range(len(whole))] + [whole + b"\n", whole[:20] + whole[21:], whole + whole]
    damaged += [
        whole[:i] + bytes([whole[i] ^ (1 << bit % 8)]) + whole[i + 1 :] for i in range(len(whole)) for bit in (i, i + 3)
    ]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(BlendnetError) as error:
            integrity.check_page(path)
        one_line(error, "report.html")
    assert len(damaged) > 3 * len(PAGE)


def test_doctor_names_a_damaged_report_and_repair_removes_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "report.html"
    write_text(path, integrity.sealed_page(PAGE))
    status, out = diagnosed(tmp_path, capsys)
    assert (status, out) == (0, "  1 products, 0 damaged, 0 left over\n")
    rng = random.Random(0)
    whole = path.read_bytes()
    for content in (whole[: rng.randrange(len(whole))], whole.replace(b".59", b".95")):
        path.write_bytes(content)
        status, out = diagnosed(tmp_path, capsys)
        assert status == 1
        assert f"damaged: {path}: " in out
        assert "again with: blendnet report --profile demo" in out
    assert "changed after it was written" in out
    status, out = diagnosed(tmp_path, capsys, repair=True)
    assert (status, path.exists()) == (0, False)
    assert "removed; run: blendnet report --profile demo" in out


def test_a_report_of_an_older_version_is_counted_and_only_read(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "report.html"
    path.write_text(PAGE)
    status, out = diagnosed(tmp_path, capsys)
    assert (status, out) == (
        0, "  1 products, 0 damaged, 0 left over; 1 of an older version have no hash and were only read\n"
    )  # fmt: skip
    path.write_text(PAGE[:40])
    status, out = diagnosed(tmp_path, capsys)
    assert status == 1
    assert "is cut short" in out


def test_the_program_writes_its_report_with_the_hash(tmp_path: Path, capsys, monkeypatch) -> None:
    """From the committed tables of a real profile; what the page says of them is test_report.py's."""
    monkeypatch.setattr(pages.figures, "drawable", lambda tables: [])
    monkeypatch.setattr(pages.page, "build", lambda tables, *_: PAGE.replace(".59", ", ".join(tables)))
    results = tmp_path / "photos"
    (results / "tables").mkdir(parents=True)
    for file in (ROOT / "results" / "photos" / "tables").iterdir():
        (results / "tables" / file.name).write_bytes(file.read_bytes())
    pages.report(sheet.PHOTOS, results)
    path = results / "report.html"
    assert integrity.page_has_seal(path)
    integrity.check_page(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))
    capsys.readouterr()
    assert doctor.doctor(sheet.PHOTOS, results) == 1
    assert f"damaged: {path}: changed after it was written" in capsys.readouterr().out
