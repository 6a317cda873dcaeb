"""The shape of a row's document belongs to the store's version."""

from __future__ import annotations

import json
import sqlite3
import typing
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from some_rows import a_measurement

from profiles.colocation import Colocation
from profiles.measurement import Baseline, LoadPoint, Measurement
from profiles.row_document import dump, point_key
from profiles.schema import MIGRATIONS, VERSION
from profiles.store import APPLICATION_ID, ProfileStore

SHAPES = Path(__file__).with_name("row_documents")


def shape(kind: Any, seen: dict[str, Any] | None = None) -> dict[str, Any]:
    """Every dataclass that a row is made of, with its fields, their types, and which may lack."""
    seen = {} if seen is None else seen
    if is_dataclass(kind) and kind.__name__ not in seen:
        seen[kind.__name__] = {
            f.name: str(f.type)
            + ("" if f.default is MISSING and f.default_factory is MISSING else " (optional)")
            for f in fields(kind)
        }
        for hint in typing.get_type_hints(kind).values():
            shape(hint, seen)
    for argument in typing.get_args(kind):
        shape(argument, seen)
    return seen


def test_a_change_of_a_rows_shape_is_a_new_version_of_the_store():
    """When this fails: add a migration (an empty one will do for a field that has its default),
    and keep the shape as `row_documents/N.json` of the new version N. Else an older Model Placer
    calls the rows of a newer one broken, where it should ask to be updated.
    """
    known = SHAPES / f"{VERSION}.json"
    now = {name: shape(kind) for name, kind in KINDS.items()}
    assert json.loads(known.read_text()) == now


KINDS = {"measurements": Measurement, "baselines": Baseline, "colocations": Colocation}


def test_rates_that_differ_in_the_seventh_digit_are_two_points(tmp_path: Path):
    rates = (1_000_001.0, 1_000_002.0, 0.1234567, 0.1234568, 100.0)
    with ProfileStore(tmp_path / "profiles.db") as store:
        for rate in rates:
            store.add(replace(a_measurement(), load=LoadPoint(1, None, rate)))
        assert [m.load.request_rate for m in store.measurements()] == list(rates)


@pytest.mark.parametrize(
    ("rate", "text"),
    [(100.0, "100"), (0.5, "0.5"), (1e6, "1e+06"), (1234567.0, "1234567"), (1 / 3, repr(1 / 3))],
)
def test_a_rate_is_told_exactly_and_shortly(rate: float, text: str):
    assert str(LoadPoint(2, None, rate)) == f"b2 {text}/s"


def test_migration_gives_the_points_of_older_stores_their_exact_rates(tmp_path: Path):
    """Up to version 2 both rows were of the point `b1 1e+06/s`; the first one counts again."""
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    for migration in MIGRATIONS[:2]:
        connection.executescript(migration.sql)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 2")
    for number, rate in enumerate((1_000_001.0, 1_000_002.0, 100.0)):
        m = replace(
            a_measurement(), load=LoadPoint(1, None, rate), measured_at=f"2024-01-0{number + 1}"
        )
        rounded = point_key(m).replace(f"{rate:.0f}/s", f"{rate:g}/s")
        row = (f"{number:032}", rounded, m.model, m.device_type, m.status, m.measured_at, dump(m))
        connection.execute("INSERT INTO measurements VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    connection.commit()
    connection.close()
    for read_only in (True, False):
        with ProfileStore(path, read_only=read_only) as store:
            rates = [m.load.request_rate for m in store.measurements()]
        assert rates == [1_000_001.0, 1_000_002.0, 100.0]
