"""The profile store: one SQLite file that never loses a measurement.

A measurement is durable once `add` returns. Rows are only ever added: a point that is measured
again gets a new row, and the newest row of a point is the one that counts; a row that is withdrawn
stays, and counts no more. Each row has an identifier of its own, so that merging is a union and two
writers never overwrite each other.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from profiles import store_file
from profiles.colocation import Colocation
from profiles.errors import InputError
from profiles.measurement import Baseline, Measurement
from profiles.row_document import dump, load, point_key, to_document
from profiles.schema import MIGRATIONS, TABLES
from profiles.store_file import APPLICATION_ID

__all__ = ["APPLICATION_ID", "MIGRATIONS", "ProfileStore", "Row", "point_key", "to_document"]

WAIT_S = 30.0  # for another program: a writer holds the file for milliseconds only
MERGED_AT_ONCE = 1000  # rows

T = TypeVar("T", Measurement, Baseline, Colocation)

# Rows that the newest word about them has withdrawn.
_GONE = """
    SELECT target FROM withdrawals AS w WHERE withdrawn AND NOT EXISTS (
        SELECT 1 FROM withdrawals AS v WHERE v.target = w.target
        AND (v.measured_at, v.rowid) > (w.measured_at, w.rowid)
    )
"""


@dataclass(frozen=True)
class Row:
    """A row of a store, and what became of it."""

    id: str
    what: Measurement | Baseline | Colocation
    superseded: bool = False  # by a newer one of the same point
    withdrawn: str | None = None  # the reason, perhaps empty; None: it is not withdrawn

    @property
    def counts(self) -> bool:
        """Whether anything is computed from it."""
        return not self.superseded and self.withdrawn is None


class ProfileStore:
    """Measurements, baselines and co-locations in one SQLite file; a `with` block closes it.

    Parameters
    ----------
    path
        The file; it is made when it is not there, unless it is only read.
    read_only
        Leave the file and its folder as they are: they need not be writable.
    wait_s
        How long to wait for another program that has the file locked.

    Raises
    ------
    InputError
        The file is not a store, is damaged, cannot be opened, or is of a newer version. Every
        method that reads raises it, too, where it comes upon damage.
    StoreError
        The store is locked, or its disk is full or failed; so does every method.
    """

    def __init__(self, path: Path, *, read_only: bool = False, wait_s: float = WAIT_S) -> None:
        self.path = Path(path)
        self._read_only = read_only
        opened = store_file.open_to_read if read_only else store_file.open_to_write
        self._connection = opened(self.path, wait_s)

    def __enter__(self) -> ProfileStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._read_only:
            self._connection.close()
        else:
            store_file.close(self._connection)

    def add(self, measurement: Measurement) -> None:
        """Keep a measurement; it is on disk when this returns."""
        self.add_all([measurement])

    def add_baseline(self, baseline: Baseline) -> None:
        """Keep a baseline; the newest of a device type and server counts."""
        self.add_all([baseline])

    def add_colocations(self, colocations: Iterable[Colocation]) -> None:
        """Keep what was seen of models side by side, all of it or nothing."""
        self.add_all(colocations)

    def add_all(self, rows: Iterable[Measurement | Baseline | Colocation]) -> None:
        """Keep them all, or none when one cannot be kept; they are on disk when this returns."""
        with self._transaction():
            for row in rows:
                table, values = _values(_dated(row))
                self._insert(table, [values])

    def measurements(self, model: str | None = None) -> list[Measurement]:
        """The newest measurement of each point, in the order in which they were taken.

        With `model` those of this model alone; no other is read.
        """
        own, values = ("", ()) if model is None else ("AND model = ? ", (model,))
        rows = self._newest("measurements", own, values)
        return [self._load(row, Measurement) for row in rows]

    def baselines(self) -> list[Baseline]:
        """The newest baseline of each device type and server, in order of time."""
        return [self._load(row, Baseline) for row in self._newest("baselines")]

    def colocations(self) -> list[Colocation]:
        """Every co-location that is not withdrawn, in order of time; none supersedes another."""
        rows = self._query(
            f"SELECT id, document FROM colocations WHERE id NOT IN ({_GONE}) "  # noqa: S608
            "ORDER BY measured_at, rowid"
        )
        return [self._load(row, Colocation) for row in rows]

    def history(self) -> list[Measurement]:
        """Every measurement ever taken, superseded and withdrawn ones too, in order of time."""
        rows = self._query("SELECT id, document FROM measurements ORDER BY measured_at, rowid")
        return [self._load(row, Measurement) for row in rows]

    def rows(self) -> list[Row]:
        """Every row with its identifier and what became of it: by kind, then in order of time."""
        said = "SELECT target, withdrawn, reason FROM withdrawals ORDER BY measured_at, rowid"
        withdrawn: dict[str, str | None] = {
            target: reason if gone else None for target, gone, reason in self._query(said)
        }
        newest = {id_ for table in ("measurements", "baselines") for id_, _ in self._newest(table)}
        found = []
        kinds: dict[str, Any] = {
            "measurements": Measurement,
            "baselines": Baseline,
            "colocations": Colocation,
        }
        for table, kind in kinds.items():
            every = f"SELECT id, document FROM {table} ORDER BY measured_at, rowid"  # noqa: S608
            for id_, document in self._query(every):
                what, reason = self._load((id_, document), kind), withdrawn.get(id_)
                superseded = table != "colocations" and reason is None and id_ not in newest
                found.append(Row(id_, what, superseded, reason))
        return found

    def withdraw(self, ids: Iterable[str], reason: str = "") -> None:
        """Let rows count no more, as if they had not been measured; nothing is deleted.

        An older row of the same point counts again, if there is one. Raises InputError when no
        row has one of the identifiers.
        """
        self._say(ids, 1, reason)

    def restore(self, ids: Iterable[str], reason: str = "") -> None:
        """Let rows that were withdrawn count again; raises InputError for an unknown identifier."""
        self._say(ids, 0, reason)

    def merge(self, other: Path) -> int:
        """Take every row of another store that is not here yet; returns how many there were."""
        with ProfileStore(other, read_only=True) as source:
            if self.path.exists() and self.path.samefile(other):
                return 0
            return self.take(source._raw())

    def take(self, raw: Iterable[tuple[str, list[tuple[Any, ...]]]]) -> int:
        """Take rows as another store has them, in batches of a table; returns how many are new."""
        with self._transaction():
            return sum(self._insert(table, rows, or_ignore=True) for table, rows in raw)

    def _say(self, ids: Iterable[str], withdrawn: int, reason: str) -> None:
        with self._transaction():
            for target in ids:
                if not any(
                    self._query(f"SELECT 1 FROM {table} WHERE id = ?", (target,))  # noqa: S608
                    for table in TABLES[:3]
                ):
                    raise InputError(f"{self.path}: no row has the identifier {target!r}.")
                last = "SELECT max(measured_at) FROM withdrawals WHERE target = ?"
                ((before,),) = self._query(last, (target,))
                now = max(_now(), before or "")  # a clock that was set back takes back nothing
                self._insert("withdrawals", [(uuid.uuid4().hex, target, withdrawn, reason, now)])

    def _newest(
        self, table: str, which: str = "", values: Sequence[object] = ()
    ) -> list[tuple[str, str]]:
        return self._query(
            f"WITH gone AS ({_GONE}) "  # noqa: S608
            f"SELECT id, document FROM {table} AS a WHERE id NOT IN gone {which}AND NOT EXISTS ("
            f"SELECT 1 FROM {table} AS b WHERE b.point = a.point AND b.id NOT IN gone AND "
            "(b.measured_at, b.rowid) > (a.measured_at, a.rowid)) ORDER BY measured_at, rowid",
            values,
        )

    def _load(self, row: tuple[str, str], kind: type[T]) -> T:
        try:
            return load(row[1], kind)
        except ValueError as error:
            raise store_file.damaged(self.path, f"row {row[0]} is broken: {error}") from None

    def _query(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except store_file.ERRORS as error:
            raise store_file.in_words(self.path, error) from None

    def _raw(self) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
        try:
            for table in TABLES:
                every = f"SELECT * FROM {table} ORDER BY measured_at, rowid"  # noqa: S608
                found = self._connection.execute(every)
                while rows := found.fetchmany(MERGED_AT_ONCE):
                    yield table, rows
        except store_file.ERRORS as error:
            raise store_file.in_words(self.path, error) from None

    def _insert(self, table: str, rows: list[Any], *, or_ignore: bool = False) -> int:
        """Add rows; returns how many were new."""
        marks = ", ".join("?" * len(rows[0]))
        how = "INSERT OR IGNORE" if or_ignore else "INSERT"
        return self._connection.executemany(f"{how} INTO {table} VALUES ({marks})", rows).rowcount

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                raise
        except store_file.ERRORS as error:
            raise store_file.in_words(self.path, error) from None


def _values(row: Measurement | Baseline | Colocation) -> tuple[str, tuple[str, ...]]:
    """The table of a row, and its columns' values under a new identifier."""
    new, text = uuid.uuid4().hex, dump(row)
    if isinstance(row, Measurement):
        key = point_key(row)
        values = (new, key, row.model, row.device_type, row.status, row.measured_at, text)
        return "measurements", values
    if isinstance(row, Baseline):
        key = f"{row.device_type}|{row.environment.triton}"
        return "baselines", (new, key, row.device_type, row.measured_at, text)
    return "colocations", (new, row.run, row.model, row.device_type, row.measured_at, text)


def _dated(row: Measurement | Baseline | Colocation) -> Measurement | Baseline | Colocation:
    return row if row.measured_at else replace(row, measured_at=_now())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
