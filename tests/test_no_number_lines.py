"""Lines that say of themselves that they enter no number are left out of the hashes of stored scores and activations
(keys.code_version), so they may hold nothing that could change one. What they hold is read from the syntax tree."""

import ast
from pathlib import Path

import numpy as np
import pytest

from blendnet import keys
from blendnet.data.brain import _strangers
from tests.conftest import ROOT

MARK = keys._NO_NUMBER.decode()
SAYS = {"print", "say"}


def offences(text: str) -> list[str]:
    """What is wrong with the marked lines of a source file, one line each, [] if nothing.

    Allowed are imports; calls whose value is thrown away, and decorators and locks (`with`), of functions that marked
    imports brought; messages; raise, assert, comments, docstrings; an `if` over nothing but raise and `return False`.
    What a marked import brings may be used on marked lines alone: its code is in no hash.
    """
    lines = text.splitlines()
    marked = {n for n, line in enumerate(lines, 1) if line.rstrip().endswith(MARK)}
    tree = ast.parse(text)
    found, brought, seen = [], set(), set()
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    for node in statements:
        if isinstance(node, ast.Import | ast.ImportFrom) and node.lineno in marked:
            brought |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    for node in statements:
        own = {n for n in _own_lines(node) if not lines[n - 1].lstrip().startswith("#")}
        decorators = [d for d in getattr(node, "decorator_list", ()) if d.lineno in marked]
        for d in decorators:
            seen |= set(range(d.lineno, (d.end_lineno or 0) + 1))
            if not _of(d, brought):
                found.append(f"{d.lineno}: @{ast.unparse(d)} is brought by no marked import")
        if own & marked:
            seen |= own
            if not own <= marked and not isinstance(node, ast.With) and not _is_text(node):
                found.append(f"{node.lineno}: a statement of which only a part is marked")
            if not _harmless(node, brought, marked):
                found.append(f"{node.lineno}: {lines[node.lineno - 1].strip()[:60]}")
    strings = {n for node in ast.walk(tree) if isinstance(node, ast.Constant | ast.JoinedStr)
               for n in range(node.lineno, (node.end_lineno or 0) + 1)}  # fmt: skip
    comments = {n for n in marked - strings if lines[n - 1].lstrip().startswith("#")}
    found += [f"{n}: a marked line that is no statement" for n in sorted(marked - seen - comments)]
    for name in ast.walk(tree):
        if isinstance(name, ast.Name) and name.id in brought and name.lineno not in marked:
            found.append(f"{name.lineno}: {name.id}, which a marked import brought, on a line of the hash")
    return found


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _own_lines(node: ast.stmt) -> range:
    """The lines of a statement: of one with others inside, its head alone, without its decorators."""
    inside = getattr(node, "body", None)
    end = inside[0].lineno - 1 if inside else (node.end_lineno or node.lineno)
    return range(node.lineno, max(end, node.lineno) + 1)


def _of(node: ast.expr, brought: set[str]) -> bool:
    """A name, an attribute of a name, or a call of it, that a marked import brought; its arguments bind nothing."""
    if any(isinstance(part, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom) for part in ast.walk(node)):
        return False
    head = node.func if isinstance(node, ast.Call) else node
    while isinstance(head, ast.Attribute):
        head = head.value
    return isinstance(head, ast.Name) and head.id in brought


def _harmless(node: ast.stmt, brought: set[str], marked: set[int]) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.Raise() | ast.Assert():
            return True
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Expr(value=ast.Call(func=ast.Name(id=name)) as call) if name in SAYS:
            return not any(isinstance(part, ast.NamedExpr) for part in ast.walk(call))
        case ast.Expr(value=ast.Call() as call):
            return _of(call, brought)
        case ast.With(items=items):
            return all(_of(item.context_expr, brought) and item.optional_vars is None for item in items)
        case ast.Return(value=ast.Constant(value=False)):
            return True
        case ast.If(test=test, body=body, orelse=[]):
            ends = all(isinstance(s, ast.Raise) or ast.unparse(s) == "return False" for s in body)
            binds = any(isinstance(part, ast.NamedExpr) for part in ast.walk(test))
            return ends and not binds and all(set(_own_lines(s)) <= marked for s in body)
    return False


FILES = [
    file for package in ("blendnet", "analysis", "pipelines") for file in sorted((ROOT / package).rglob("*.py"))
    if any(line.rstrip().endswith(MARK) for line in file.read_text().splitlines())
]  # fmt: skip


@pytest.mark.parametrize("file", FILES, ids=[str(f.relative_to(ROOT)) for f in FILES])
def test_marked_lines_hold_nothing_that_changes_a_number(file: Path) -> None:
    assert offences(file.read_text()) == []


def test_the_files_are_found() -> None:
    names = {str(f.relative_to(ROOT)) for f in FILES}
    assert {"blendnet/activations.py", "blendnet/data/brain/henaff2021.py", "blendnet/data/manifest.py"} <= names


GOOD = f"""
import numpy as np
from blendnet import locks, checks  {MARK}
from blendnet.integrity import check as right  {MARK}

@checks.one_line("x")  {MARK}
def load(path, say):
    # What it is for.  {MARK}
    right(path, "do this")  {MARK}
    if not path:  {MARK}
        raise ValueError(path)  {MARK}
    assert path  {MARK}
    say("reading")  {MARK}
    with locks.holding(path):  {MARK}
        x = np.load(path)
    checks.numbers(x, path)  {MARK}
    return x
"""


def test_what_is_allowed_passes() -> None:
    assert offences(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f'right(path, "do this")  {MARK}', f"path = right(path)  {MARK}"),
        (f'right(path, "do this")  {MARK}', f"scale = 2.0  {MARK}"),
        (f'right(path, "do this")  {MARK}', f"path *= 2  {MARK}"),
        (f'right(path, "do this")  {MARK}', f"path[0] = 2  {MARK}"),
        (f'right(path, "do this")  {MARK}', f"path.sort()  {MARK}"),  # in place: a name that no marked import brought
        (f'right(path, "do this")  {MARK}', f"np.add(path, 1, out=path)  {MARK}"),
        (f'right(path, "do this")  {MARK}', f"right(path := path * 2)  {MARK}"),
        (f'right(path, "do this")  {MARK}', f"right(path); path = 2  {MARK}"),
        (f'right(path, "do this")  {MARK}', f"del path  {MARK}"),
        (f'right(path, "do this")  {MARK}', f"global np  {MARK}"),
        (f'right(path, "do this")  {MARK}', f"right(\n        path,  {MARK}\n    )"),
        (f'right(path, "do this")  {MARK}', f"right(path)  {MARK}\n    path = right(path)"),  # used in the hash
        (f"raise ValueError(path)  {MARK}", f"path = 2  {MARK}"),
        (f"raise ValueError(path)  {MARK}", f"return path  {MARK}"),
        (f"raise ValueError(path)  {MARK}", "raise ValueError(path)"),  # the body of a head that is not hashed
        (f"if not path:  {MARK}", f"if not (path := path * 2):  {MARK}"),
        (f"with locks.holding(path):  {MARK}", f"with locks.holding(path) as path:  {MARK}"),
        (f"with locks.holding(path):  {MARK}", f"with np.errstate():  {MARK}"),
        (f"with locks.holding(path):  {MARK}", f"for path in (1, 2):  {MARK}"),
        (f'@checks.one_line("x")  {MARK}', f"@np.vectorize  {MARK}"),
        ("x = np.load(path)", "x = checks.load(path)"),
        (f'say("reading")  {MARK}', f"say(path := 2)  {MARK}"),
        ("return x\n", f"return x  {MARK}\n"),
        ("import numpy as np\n", f"import numpy as np  {MARK}\n"),  # what it brings is used on a hashed line
        ("    return x\n", f"    x = '''a\n    # b  {MARK}\n    '''\n    return x\n"),
    ],
)  # fmt: skip
def test_what_could_change_a_number_does_not_pass(old: str, new: str) -> None:
    changed = GOOD.replace(old, new, 1)
    assert changed != GOOD
    ast.parse(changed)
    assert offences(changed)


def test_checks_of_numbers_leave_them_as_they_are() -> None:
    """A call whose value is thrown away could still write into what it is given."""
    values = np.array([[1.0, np.nan], [2.0, 3.0]])
    values.setflags(write=False)
    _strangers.numbers(values, Path("x.npy"), "made")
    assert values.tolist()[1] == [2.0, 3.0]
