"""What is whole of a damaged store, put into a new one.

SQLite gives up at the first page that is not what it should be. Here the file's pages are read one
by one, without the tree that joins them: every leaf of a table tells its rows by itself
(https://www.sqlite.org/fileformat.html, sections 1.5, 1.6, 2 and 4). Pages of a write-ahead log
that nobody took over into the file come with them. A row is taken when its document reads as what
its columns say that it is. Indexes name the identifiers of rows, those that are lost included.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from profiles import store_file
from profiles.colocation import Colocation
from profiles.errors import InputError
from profiles.measurement import Baseline, Measurement
from profiles.row_document import load, point_key
from profiles.schema import TABLES
from profiles.store import ProfileStore

PAGE_SIZES = tuple(2**power for power in range(9, 17))
TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR = 13, 10, 2
WAL_HEADER, FRAME_HEADER = 32, 24  # bytes
INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)  # by serial type
IDENTIFIER = re.compile("[0-9a-f]{32}")

Value = str | int | float | bytes | None
Record = tuple[Value, ...]


@dataclass(frozen=True)
class Salvaged:
    """What was got out, and what is known to be lost."""

    rows: dict[str, int]  # by table
    lost: tuple[str, ...]  # identifiers of rows that are named somewhere and nowhere whole


def salvage(damaged: Path, target: Path) -> Salvaged:
    """Put every whole row of a damaged store into a new one; the damaged one stays as it is.

    Raises
    ------
    InputError
        There is no such file, nothing in it is a row of a store, or the target is there already.
    StoreError
        The target cannot be written.
    """
    if target.exists():
        raise InputError(f"{target}: is there already; what is salvaged goes into a new store.")
    try:
        content = damaged.read_bytes()
        log = damaged.with_name(damaged.name + "-wal")
        frames = log.read_bytes() if log.exists() else b""
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}.") from None
    tries = [_rows(_Pages.of(content, frames, size)) for size in _page_sizes(content)]
    found, named = max(tries, key=lambda rows: sum(map(len, rows[0].values())))
    if not found:
        raise InputError(f"{damaged}: no row of a profile store is in it.")
    in_order = {
        table: [record for _, record in sorted(rows.values(), key=lambda row: row[0])]
        for table, rows in found.items()
    }
    with ProfileStore(target) as store:
        store.take((table, in_order[table]) for table in TABLES if table in in_order)
    whole = {id_ for rows in found.values() for id_ in rows}
    return Salvaged(
        {table: len(found.get(table, {})) for table in TABLES}, tuple(sorted(named - whole))
    )


@dataclass(frozen=True)
class _Pages:
    """The pages of a file by number, from 1, each in every version that there is of it."""

    versions: dict[int, list[bytes]]  # the newest last
    usable: int  # bytes of a page that are not reserved

    @classmethod
    def of(cls, content: bytes, log: bytes, size: int) -> _Pages:
        versions = {
            start // size + 1: [content[start : start + size]]
            for start in range(0, len(content), size)
        }
        for start in range(WAL_HEADER, len(log) - FRAME_HEADER - size + 1, FRAME_HEADER + size):
            if log[start + 8 : start + 16] != log[16:24]:
                break  # what follows is of an earlier log, taken over into the file long ago
            number = int.from_bytes(log[start : start + 4], "big")
            page = log[start + FRAME_HEADER : start + FRAME_HEADER + size]
            versions.setdefault(number, []).append(page)
        reserved = content[20] if content.startswith(store_file.MAGIC) else 0
        return cls(versions, size - reserved)

    def overflow(self, number: int, length: int) -> bytes:
        """The rest of a payload from a chain of pages; ValueError when the chain is broken."""
        parts: list[bytes] = []
        each = self.usable - 4
        while length > 0:
            if number not in self.versions or len(parts) > len(self.versions):
                raise ValueError("a page is missing")
            page = self.versions[number][-1]
            parts.append(page[4 : 4 + min(each, length)])
            number, length = int.from_bytes(page[:4], "big"), length - each
        return b"".join(parts)


def _page_sizes(content: bytes) -> tuple[int, ...]:
    """The page size that the header tells; every one that there is where the header is damaged."""
    told = int.from_bytes(content[16:18], "big")
    told = 65536 if told == 1 else told
    whole = content.startswith(store_file.MAGIC) and told in PAGE_SIZES
    return (told,) if whole else PAGE_SIZES


def _rows(pages: _Pages) -> tuple[dict[str, dict[str, tuple[int, Record]]], set[str]]:
    """By table and identifier the whole rows with their number, and every identifier named."""
    found: dict[str, dict[str, tuple[int, Record]]] = {}
    named: set[str] = set()
    for number, versions in pages.versions.items():
        for page in versions:
            start = 100 if number == 1 and page.startswith(store_file.MAGIC) else 0
            if len(page) <= start or page[start] not in {TABLE_LEAF, INDEX_LEAF, INDEX_INTERIOR}:
                continue
            for rowid, record in _cells(pages, page, start):
                if not record or not _is_identifier(record[0]):
                    continue
                table = _table(record) if page[start] == TABLE_LEAF else None
                if table is not None:
                    found.setdefault(table, {})[str(record[0])] = (rowid, _pointed(table, record))
                elif page[start] == TABLE_LEAF or len(record) == 2:  # broken, or an index's entry
                    named.add(str(record[0]))
    return found, named


def _cells(pages: _Pages, page: bytes, start: int) -> Iterator[tuple[int, Record]]:
    """Row number (0 in an index) and record of each cell that can be read."""
    kind = page[start]
    array = start + (12 if kind == INDEX_INTERIOR else 8)
    for cell in range(int.from_bytes(page[start + 3 : start + 5], "big")):
        with suppress(ValueError, IndexError, UnicodeDecodeError, OverflowError):
            at = int.from_bytes(page[array + 2 * cell : array + 2 * cell + 2], "big")
            at += 4 if kind == INDEX_INTERIOR else 0
            length, at = _varint(page, at)
            rowid = 0
            if kind == TABLE_LEAF:
                rowid, at = _varint(page, at)
            here = _local(length, pages.usable, table=kind == TABLE_LEAF)
            payload = page[at : at + here]
            if here < length:
                first = int.from_bytes(page[at + here : at + here + 4], "big")
                payload += pages.overflow(first, length - here)
            yield rowid, _record(payload)


def _local(length: int, usable: int, *, table: bool) -> int:
    """How much of a payload lies in its cell; the rest is in overflow pages."""
    most = usable - 35 if table else (usable - 12) * 64 // 255 - 23
    if length <= most:
        return length
    least = (usable - 12) * 32 // 255 - 23
    fitting = least + (length - least) % (usable - 4)
    return fitting if fitting <= most else least


def _record(payload: bytes) -> Record:
    """The columns of a row."""
    end, at = _varint(payload, 0)
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values: list[Value] = []
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind == 0:
        return None, at
    if kind in {8, 9}:
        return kind - 8, at
    length = INTEGER_BYTES[kind] if kind <= 6 else 8 if kind == 7 else (kind - 12) // 2
    if length < 0 or at + length > len(payload):
        raise ValueError("a value is longer than its row")
    part = payload[at : at + length]
    if kind <= 6:
        return int.from_bytes(part, "big", signed=True), at + length
    return (part.decode() if kind >= 13 and kind % 2 else part), at + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends; IndexError at the end of the data."""
    number = 0
    for position in range(8):
        byte = data[at + position]
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, at + position + 1
    return number << 8 | data[at + 8], at + 9


def _table(record: Record) -> str | None:
    """Which table's row this is, if it is a whole one."""
    texts = [value for value in record if isinstance(value, str)]
    if len(record) == 5 and len(texts) == 4 and _is_identifier(record[1]) and record[2] in {0, 1}:
        return "withdrawals"
    if len(texts) != len(record):
        return None
    kinds = {7: ("measurements", Measurement), 5: ("baselines", Baseline)}
    try:
        if len(record) == 6:
            load(texts[-1], Colocation)
            return "colocations"
        table, kind = kinds[len(record)]
        load(texts[-1], kind)
    except (KeyError, ValueError):
        return None
    return table


def _pointed(table: str, record: Record) -> Record:
    """The row as the newest version has it: with the key of its point."""
    if table != "measurements":
        return record
    key = point_key(load(str(record[-1]), Measurement))
    return (record[0], key, *record[2:])


def _is_identifier(value: Value) -> bool:
    return isinstance(value, str) and IDENTIFIER.fullmatch(value) is not None
