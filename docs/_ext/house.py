"""The API reference: every module of a folder, and docstrings as this house writes them.

Docstrings here are prose, not reStructuredText: `*`, `|` and `_` are meant as they stand, an indented block is a
formula or a table, and an argument is a line 'name: what it is' whose next lines are set further in. They are escaped
and brought into that shape; nothing is left out. A page of docs/api holds lines '% modules: blendnet.models', which
become one section a module, so that a new file is documented without a change here; '… with _splits' adds private
modules, '… only cli, sheet' takes no others.
"""

import pkgutil
import re
from importlib import import_module
from typing import Any

from sphinx.application import Sphinx

_ITEM = re.compile(r"^(?P<names>[A-Za-z_*][\w.*]*(?: \(attribute\))?(?:, [\w.*]+)*): (?P<what>.*)$")
_PLACE = re.compile(r"^% modules: (?P<package>[\w.]+)(?: (?P<which>with|only) (?P<names>[\w, ]+))?$", re.MULTILINE)


def as_rst(lines: list[str]) -> list[str]:
    """A docstring (without common indentation) as reStructuredText with the same words."""
    out: list[str] = []
    for block in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        rows = block.split("\n")
        if all(row.startswith("    ") for row in rows):
            out += ["::", "", *rows, ""]
        elif _is_list(rows):
            for item in _items(rows):
                out.append(f"- {_item(item)}")
            out.append("")
        else:
            out += [_inline(" ".join(row.strip() for row in rows)), ""]
    return out


def _is_list(rows: list[str]) -> bool:
    """Arguments or points: unindented beginnings, each with its further lines set in."""
    starts = [row for row in rows if not row.startswith(" ")]
    if not starts or rows[0].startswith(" "):
        return False
    if all(row.startswith("- ") for row in starts):
        return True
    return all(_ITEM.match(row) for row in starts) and (len(starts) > 1 or (len(rows) > 1 and len(starts) < len(rows)))


def _items(rows: list[str]) -> list[str]:
    found: list[str] = []
    for row in rows:
        if row.startswith(" "):
            found[-1] += " " + row.strip()
        else:
            found.append(row.removeprefix("- "))
    return found


def _item(text: str) -> str:
    match = _ITEM.match(text)
    return f"**{_escaped(match['names'])}**: {_inline(match['what'])}" if match else _inline(text)


def _inline(text: str) -> str:
    """`code` stays code, everything else stands for itself."""
    parts = re.split(r"(`+[^`]+`+)", text)
    return "".join(f"``{p.strip('`')}``" if i % 2 else _escaped(p) for i, p in enumerate(parts))


def _escaped(text: str) -> str:
    return re.sub(r"([\\*`|_<>\[\]])", r"\\\1", text)


def modules(package: str, private: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> list[str]:
    """The package, where it says something, and its public modules in order, with those private ones that are named; or
    `only` those named."""
    if only:
        return [f"{package}.{name}" for name in only]
    found = import_module(package)
    own = [package] if found.__doc__ else []
    names = [m.name for m in pkgutil.iter_modules(found.__path__) if not m.ispkg]
    return own + [f"{package}.{n}" for n in names if not n.startswith("_") or n in private]


def fill_in(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put a section a module where an API page asks for them."""
    if not docname.startswith("api/"):
        return

    def sections(match: re.Match) -> str:
        names = tuple(re.findall(r"\w+", match["names"] or ""))
        private_or_only = "only" if match["which"] == "only" else "private"
        text = "## {0}\n\n```{{eval-rst}}\n.. automodule:: {0}\n```\n"
        return "\n".join(text.format(name) for name in modules(match["package"], **{private_or_only: names}))

    source[0] = _PLACE.sub(sections, source[0])


def process(_app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """autodoc-process-docstring: `lines` is changed in place, as Sphinx wants it."""
    lines[:] = as_rst(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.connect("source-read", fill_in)
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
