"""Formulas as MathML, which browsers draw themselves: no script, no font and no network."""

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.writers.html5 import HTML5Translator


def mathml(latex: str, *, block: bool) -> str:
    """The <math> element of a formula. Raises ExtensionError, so that the build fails, for one that it cannot read."""
    try:
        found = str(convert(latex, display="block" if block else "inline"))
    except Exception as error:  # its parser raises whatever it trips over
        raise ExtensionError(f"formula {latex!r} cannot be turned into MathML ({error!r})") from error
    if "\\" in found:  # a command that it does not know stays as it stands
        raise ExtensionError(f"formula {latex!r} cannot be turned into MathML (unknown command)")
    return found


def inline(self: HTML5Translator, node: nodes.math) -> None:
    """A formula in a line of text."""
    self.body.append(mathml(node.astext(), block=False))
    raise nodes.SkipNode


def displayed(self: HTML5Translator, node: nodes.math_block) -> None:
    """A formula on a line of its own; a wide one scrolls within its own box."""
    self.body.append(self.starttag(node, "div", CLASS="math"))
    self.body.append(mathml(node.astext(), block=True))
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.add_html_math_renderer("mathml", (inline, None), (displayed, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
