"""The answer: a layout, its independent checker, its predictions, and layouts compared."""

from placement.layout.layout import (
    HEADER,
    SCHEMA_VERSION,
    Layout,
    PlacedDevice,
    Resident,
    document,
    dumps,
    load,
    loads,
    save,
    with_limit,
)

__all__ = [
    "HEADER",
    "SCHEMA_VERSION",
    "Layout",
    "PlacedDevice",
    "Resident",
    "document",
    "dumps",
    "load",
    "loads",
    "save",
    "with_limit",
]
