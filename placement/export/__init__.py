"""Layout → files that put it into effect, each format in a folder of its own."""

from placement.export.formats import FORMATS, export

__all__ = ["FORMATS", "export"]
