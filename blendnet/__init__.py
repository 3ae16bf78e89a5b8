"""blendnet: does attention make a CNN see superimposed objects better, and more like the brain?"""

__version__ = "0.1.0"
