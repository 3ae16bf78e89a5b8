"""Sphinx: Markdown (MyST) to HTML that opens from disk. Nothing on a page is fetched from a network."""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "_ext")]

from blendnet import __version__  # noqa: E402

project = "blendnet"
author = "the blendnet authors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "mathml", "house"]
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_ext"]
language = "en_GB"

autodoc_default_options = {"members": True, "member-order": "bysource", "exclude-members": "__init__, __new__"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "blendnet"
html_static_path = ["_static"]
html_css_files = ["blendnet.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
pygments_style = "friendly"
