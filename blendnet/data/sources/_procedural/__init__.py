"""The drawing room of the procedural source: solids, textures, backgrounds, a camera, and one file a
class."""
