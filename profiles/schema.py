"""The schema of a store by its version, and how one version becomes the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from profiles.measurement import Measurement
from profiles.row_document import load, point_key


def _exact_points(connection: sqlite3.Connection) -> None:
    """Up to version 2 the key of a point had its request rate to six digits only."""
    rated = "SELECT id, point, document FROM measurements WHERE point LIKE '%/s%'"
    rows = connection.execute(rated)
    for row, point, document in rows.fetchall():
        with suppress(ValueError):  # a broken row stays as it is; who reads it says so
            exact = point_key(load(document, Measurement))
            if exact != point:
                connection.execute("UPDATE measurements SET point = ? WHERE id = ?", (exact, row))


@dataclass(frozen=True)
class Migration:
    """From one version of the store to the next."""

    sql: str
    then: Callable[[sqlite3.Connection], None] | None = None  # what SQL alone cannot do


MIGRATIONS = (
    Migration("""
    CREATE TABLE measurements (
        id TEXT PRIMARY KEY, -- random: the same row in two stores is one row
        point TEXT NOT NULL, -- what was measured: rows of one point supersede each other
        model TEXT NOT NULL,
        device_type TEXT NOT NULL,
        status TEXT NOT NULL,
        measured_at TEXT NOT NULL, -- ISO 8601, UTC
        document TEXT NOT NULL -- the whole measurement, as JSON
    ) STRICT;
    CREATE INDEX measurements_by_point ON measurements (point, measured_at);
    CREATE TABLE baselines (
        id TEXT PRIMARY KEY,
        point TEXT NOT NULL,
        device_type TEXT NOT NULL,
        measured_at TEXT NOT NULL,
        document TEXT NOT NULL
    ) STRICT;
    """),
    Migration("""
    CREATE TABLE colocations (
        id TEXT PRIMARY KEY,
        run TEXT NOT NULL, -- the residents of a device that ran together
        model TEXT NOT NULL,
        device_type TEXT NOT NULL,
        measured_at TEXT NOT NULL,
        document TEXT NOT NULL
    ) STRICT;
    """),
    Migration(
        """
    CREATE TABLE withdrawals (
        id TEXT PRIMARY KEY,
        target TEXT NOT NULL, -- the row that is spoken of, perhaps in a store not yet merged
        withdrawn INTEGER NOT NULL, -- 1: it counts no more, 0: it counts again
        reason TEXT NOT NULL,
        measured_at TEXT NOT NULL -- when that was said: the newest of a target counts
    ) STRICT;
    CREATE INDEX withdrawals_by_target ON withdrawals (target, measured_at);
    """,
        _exact_points,
    ),
    Migration(""),  # `between_responses`; upper confidence limits of latency percentiles
    Migration(""),  # `device_uses` of a co-location run
)
VERSION = len(MIGRATIONS)
TABLES = ("measurements", "baselines", "colocations", "withdrawals")


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring a store of this version to the newest, within the transaction that is open."""
    for migration in MIGRATIONS[version:]:
        for statement in migration.sql.split(";"):
            connection.execute(statement)
        if migration.then is not None:
            migration.then(connection)
