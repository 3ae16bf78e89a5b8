"""Imports go one way: blendnet <- analysis <- pipelines; statistics and figures need no torch."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "blendnet": {"blendnet"},
    "analysis": {"blendnet", "analysis"},
    "pipelines": {"blendnet", "analysis", "pipelines"},
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_imports_go_one_way(package):
    ours = {"blendnet", "analysis", "pipelines", "tests", "benchmarks"}
    files = list((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(f): sorted(imports(f) & ours - MAY_IMPORT[package]) for f in files}
    assert {f: w for f, w in wrong.items() if w} == {}


@pytest.mark.parametrize("folder", ["analysis/stats", "analysis/figures"])
def test_statistics_and_figures_need_no_torch(folder):
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    assert [str(f) for f in files if imports(f) & {"torch", "torchvision"}] == []
