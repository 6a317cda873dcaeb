"""The profile store: one SQLite file that never loses a measurement.

A measurement is durable once `add` returns. Rows are only ever added: a point that is measured
again gets a new row, and the newest row of a point is the one that counts. Each row has an
identifier of its own, so that merging is a union and two writers never overwrite each other.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import cattrs

from profiles.colocation import Colocation
from profiles.errors import InputError
from profiles.measurement import Baseline, Measurement

MIGRATIONS = (
    """
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
    """,
    """
    CREATE TABLE colocations (
        id TEXT PRIMARY KEY,
        run TEXT NOT NULL, -- the residents of a device that ran together
        model TEXT NOT NULL,
        device_type TEXT NOT NULL,
        measured_at TEXT NOT NULL,
        document TEXT NOT NULL
    ) STRICT;
    """,
)
APPLICATION_ID = 0x4D504C43  # "MPLC": tells our files from other programs' SQLite files
BUSY_TIMEOUT_MS = 30_000  # another writer holds the file for milliseconds only

T = TypeVar("T", Measurement, Baseline, Colocation)

_converter = cattrs.Converter(forbid_extra_keys=True)


def point_key(measurement: Measurement) -> str:
    """What a measurement is of: model files, variant, load, device type and server.

    Measurements with equal keys are of the same point, so that the newest counts and a sweep that
    finds one does not measure again.
    """
    environment = measurement.environment
    return "|".join(
        (
            measurement.variant.key,
            str(measurement.load),
            measurement.device_type,
            environment.triton,
            measurement.model_digest,
        )
    )


class ProfileStore:
    """Measurements, baselines and co-locations in one SQLite file; a `with` block closes it.

    Raises InputError when the file is not a store, or was written by a newer version.
    """

    def __init__(self, path: Path, *, must_exist: bool = False) -> None:
        self.path = Path(path)
        if must_exist and not self.path.is_file():
            raise InputError(
                f"{path}: no such profile store. `model-placer profile` or `model-placer import` "
                "makes one; --store names it."
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}: {error.filename}.") from None
        if self.path.exists() and self.path.stat().st_size and not _is_sqlite(self.path):
            raise InputError(f"{path}: is not a profile store.")
        try:
            self._connection = sqlite3.connect(self.path, isolation_level=None)
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            self._refuse_foreign()
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._migrate()
        except sqlite3.OperationalError as error:
            raise InputError(
                f"{path}: the store cannot be opened ({error}): may this user write to it, and to "
                f"its folder {self.path.absolute().parent}?"
            ) from None
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path}: is not a profile store ({error}).") from None

    def __enter__(self) -> ProfileStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def add(self, measurement: Measurement) -> None:
        """Keep a measurement; it is on disk when this returns."""
        measurement = _dated(measurement)
        with self._transaction():
            self._connection.execute(
                "INSERT INTO measurements VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    uuid.uuid4().hex,
                    point_key(measurement),
                    measurement.model,
                    measurement.device_type,
                    measurement.status,
                    measurement.measured_at,
                    _dump(measurement),
                ),
            )

    def add_baseline(self, baseline: Baseline) -> None:
        """Keep a baseline; the newest of a device type and server counts."""
        baseline = _dated(baseline)
        with self._transaction():
            self._connection.execute(
                "INSERT INTO baselines VALUES (?, ?, ?, ?, ?)",
                (
                    uuid.uuid4().hex,
                    f"{baseline.device_type}|{baseline.environment.triton}",
                    baseline.device_type,
                    baseline.measured_at,
                    _dump(baseline),
                ),
            )

    def add_colocations(self, colocations: Iterable[Colocation]) -> None:
        """Keep what was seen of models side by side, all of it or nothing."""
        with self._transaction():
            for colocation in map(_dated, colocations):
                self._connection.execute(
                    "INSERT INTO colocations VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        uuid.uuid4().hex,
                        colocation.run,
                        colocation.model,
                        colocation.device_type,
                        colocation.measured_at,
                        _dump(colocation),
                    ),
                )

    def measurements(self) -> list[Measurement]:
        """The newest measurement of each point, in the order in which they were taken."""
        return [self._load(row, Measurement) for row in self._newest("measurements")]

    def baselines(self) -> list[Baseline]:
        """The newest baseline of each device type and server, in order of time."""
        return [self._load(row, Baseline) for row in self._newest("baselines")]

    def colocations(self) -> list[Colocation]:
        """Every co-location measurement, in order of time; none supersedes another."""
        rows = self._connection.execute(
            "SELECT id, document FROM colocations ORDER BY measured_at, rowid"
        )
        return [self._load(row, Colocation) for row in rows]

    def history(self) -> list[Measurement]:
        """Every measurement ever taken, superseded ones included, in order of time."""
        rows = self._connection.execute(
            "SELECT id, document FROM measurements ORDER BY measured_at, rowid"
        )
        return [self._load(row, Measurement) for row in rows]

    def merge(self, other: Path) -> int:
        """Take every row of another store that is not here yet; returns how many there were."""
        with ProfileStore(other, must_exist=True):  # checks and migrates it
            pass
        self._connection.execute("ATTACH DATABASE ? AS other", (str(other),))
        try:
            before = self._connection.total_changes
            with self._transaction():
                for table in ("measurements", "baselines", "colocations"):
                    self._connection.execute(
                        f"INSERT OR IGNORE INTO {table} SELECT * FROM other.{table} "  # noqa: S608
                        "ORDER BY measured_at, rowid"
                    )
            return self._connection.total_changes - before
        finally:
            self._connection.execute("DETACH DATABASE other")

    def _newest(self, table: str) -> Iterator[tuple[str, str]]:
        return self._connection.execute(
            f"SELECT id, document FROM {table} AS a WHERE NOT EXISTS ("  # noqa: S608
            f"SELECT 1 FROM {table} AS b WHERE b.point = a.point AND "
            "(b.measured_at, b.rowid) > (a.measured_at, a.rowid)) ORDER BY measured_at, rowid"
        )

    def _load(self, row: tuple[str, str], kind: type[T]) -> T:
        try:
            return _converter.structure(json.loads(row[1]), kind)
        except (ValueError, cattrs.BaseValidationError) as error:
            details = "; ".join(cattrs.transform_error(error))
            raise InputError(f"{self.path}: row {row[0]} is broken: {details}.") from None

    def _refuse_foreign(self) -> None:
        application: int = self._connection.execute("PRAGMA application_id").fetchone()[0]
        tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and application != APPLICATION_ID:
            raise InputError(f"{self.path}: is another program's database, not a profile store.")

    def _migrate(self) -> None:
        with self._transaction():
            version: int = self._connection.execute("PRAGMA user_version").fetchone()[0]
            application: int = self._connection.execute("PRAGMA application_id").fetchone()[0]
            tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if tables and application != APPLICATION_ID:
                raise InputError(
                    f"{self.path}: is another program's database, not a profile store."
                )
            if version > len(MIGRATIONS):
                raise InputError(
                    f"{self.path}: was written by a newer Model Placer (store version {version}, "
                    f"this one knows {len(MIGRATIONS)}). Update Model Placer."
                )
            for migration in MIGRATIONS[version:]:
                for statement in migration.split(";"):
                    self._connection.execute(statement)
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.") from None


def _dated(row: T) -> T:
    if row.measured_at:
        return row
    return replace(row, measured_at=datetime.now(UTC).isoformat(timespec="milliseconds"))


def to_document(row: Measurement | Baseline | Colocation) -> dict[str, Any]:
    """A row as plain data, for JSON and YAML."""
    document: dict[str, Any] = _converter.unstructure(row)
    return document


def _dump(row: Measurement | Baseline | Colocation) -> str:
    return json.dumps(to_document(row), separators=(",", ":"))
