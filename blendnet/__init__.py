"""blendnet: does attention make a CNN see superimposed objects better, and more like the brain?"""

from blendnet import _openblas

__version__ = "0.1.0"

_openblas.choose()
