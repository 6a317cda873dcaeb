"""Opening a store's file: to write, or to read and leave it and its folder as they are.

While a store is written on a local disk it keeps a write-ahead log (WAL), so that readers and
writers do not wait for each other. A WAL needs memory that all of them share, which a network file
system has not: there SQLite's rollback journal is used (https://www.sqlite.org/wal.html). The
writer that closes a store last brings it back to the rollback journal, unless somebody is reading
just then: at rest it is one file, which can be read where nothing may be written.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

from profiles.errors import InputError, ModelPlacerError, StoreError
from profiles.schema import VERSION, migrate

APPLICATION_ID = 0x4D504C43  # "MPLC": tells our files from other programs' SQLite files
MAGIC = b"SQLite format 3\0"
WAL_TRIES = 5  # to copy a file that is being written

# What Python's module raises; the second where a damaged name is part of an error's text.
ERRORS = (sqlite3.Error, UnicodeDecodeError)

# Where one kernel alone has the file in its hands. Of file systems that are not known here (NFS,
# SMB, Lustre, FUSE and others) the worst is thought: a rollback journal works on any of them.
LOCAL_FILE_SYSTEMS = {
    *("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "reiserfs"),
    *("tmpfs", "xfs", "zfs"),
}


def open_to_write(path: Path, wait_s: float) -> sqlite3.Connection:
    """The store, made or migrated if need be; raises InputError or StoreError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.exists() and path.stat().st_size > 0
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: {error.filename}.") from None
    if there:
        _header(path)
    elif path.exists() and not path.is_file():
        raise InputError(f"{path}: is not a file.")
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=wait_s)
        try:
            _version(path, connection)
            _choose_journal(path, connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            version = _version(path, connection)  # another process may just have migrated it
            if version < VERSION:
                migrate(connection, version)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            # Written though it may say so already: fails here, and not hours later, where nothing
            # may be written.
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
    except ERRORS as error:
        raise in_words(path, error) from None
    return connection


def open_to_read(path: Path, wait_s: float) -> sqlite3.Connection:
    """The store as the newest version has it; neither the file nor its folder is touched.

    A store of an older version is read from a private copy, which is migrated.

    Raises
    ------
    InputError
        It is not there, not a store, damaged, or of a newer version.
    StoreError
        It is locked, or the disk failed.
    """
    try:
        there = path.is_file()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.") from None
    if not there:
        raise InputError(
            f"{path}: no such profile store. `model-placer profile` or `model-placer import` "
            "makes one; --store names it."
        )
    try:
        connection = _in_place(path, wait_s) or _copied(path, wait_s)
        try:
            version = _version(path, connection)
            if version < VERSION:
                connection = _private(path, connection, wait_s)
                connection.execute("BEGIN")
                migrate(connection, version)
                connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
    except ERRORS as error:
        raise in_words(path, error) from None
    return connection


def close(connection: sqlite3.Connection) -> None:
    """Close the store; the last of its writers leaves one file in the rollback journal's form."""
    with suppress(sqlite3.Error):  # others have it open: the last of them will
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()


def in_words(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> ModelPlacerError:
    """What SQLite says of a store, with the way out."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return locked(path)
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOLFS}:
        return StoreError(
            f"{path}: the disk failed or is full ({error}). What was kept before is in the store: "
            "make room and run this again."
        )
    if code in {
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
    }:
        return InputError(
            f"{path}: the store cannot be opened ({error}): may this user write to it, and to "
            f"its folder {path.absolute().parent}?"
        )
    return damaged(path, str(error))


def locked(path: Path) -> StoreError:
    """That another program has the store in its hands."""
    return StoreError(
        f"{path}: another program keeps the store locked. Wait until it is done, or end it, and "
        "run this again."
    )


def damaged(path: Path, what: str) -> InputError:
    """That a store is damaged, with the remedy."""
    return InputError(
        f"{path}: the store is damaged ({what}). `model-placer show --store {path} --salvage "
        "NEW.db` puts what is whole into a new one."
    )


def file_system(path: Path, mounts: str) -> str:
    """The file system's type of an absolute path by `/proc/self/mountinfo`; "" if it is unknown."""
    found, longest = "", -1
    for line in mounts.splitlines():
        mount, _, source = line.partition(" - ")
        fields = mount.split(" ")
        if len(fields) < 5 or not source:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        depth = len(Path(point).parts)
        if path.is_relative_to(point) and depth >= longest:  # the last one on a point is on top
            found, longest = source.split(" ")[0], depth
    return found


def _choose_journal(path: Path, connection: sqlite3.Connection) -> None:
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        mounts = ""
    local = file_system(path.resolve(), mounts) in LOCAL_FILE_SYSTEMS
    if not local and path.exists() and path.stat().st_size and _header(path)[18] == 2:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # a WAL without shared memory
    # Another connection may be in the way of a change: either journal is right on a local disk.
    with suppress(sqlite3.OperationalError):
        connection.execute(f"PRAGMA journal_mode = {'WAL' if local else 'DELETE'}")
    connection.execute("PRAGMA locking_mode = NORMAL")


def _in_place(path: Path, wait_s: float) -> sqlite3.Connection | None:
    """A connection that only reads; None where SQLite would have to write to do so."""
    if _header(path)[18] == 2 and not _beside(path, "-wal").exists():
        return None  # SQLite would make a WAL, and leave it there
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=wait_s
    )
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except ERRORS as error:
        connection.close()
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}:
            return None
        raise
    return connection


def _copied(path: Path, wait_s: float) -> sqlite3.Connection:
    """A private copy of the file, with what its journal or WAL holds.

    Raises StoreError when somebody keeps writing to the file meanwhile.
    """
    files = [path, _beside(path, "-wal"), _beside(path, "-journal")]
    with tempfile.TemporaryDirectory(prefix="model-placer-") as folder:
        copy = Path(folder) / "store.db"
        for _ in range(WAL_TRIES):
            before = _stamps(files)
            try:
                for file, suffix in zip(files, ("", "-wal", "-journal"), strict=True):
                    target = _beside(copy, suffix)
                    target.unlink(missing_ok=True)
                    if file.exists():
                        shutil.copyfile(file, target)
            except OSError as error:
                raise InputError(f"{error.filename}: {error.strerror}.") from None
            if _stamps(files) == before:
                return _private(path, sqlite3.connect(copy, isolation_level=None), wait_s)
            time.sleep(0.2)
    raise StoreError(
        f"{path}: is being written, and its folder {path.absolute().parent} lets this user only "
        "read. Wait until the writer is done."
    )


def _private(path: Path, connection: sqlite3.Connection, wait_s: float) -> sqlite3.Connection:
    """A copy in a temporary database of this process; the connection is closed."""
    deadline_s = time.monotonic() + wait_s

    def watch(status: int, _left: int, _pages: int) -> None:  # else it waits for ever
        if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} and time.monotonic() > deadline_s:
            raise locked(path)

    copy = sqlite3.connect("", isolation_level=None)
    try:
        with closing(connection):
            connection.backup(copy, progress=watch)
    except BaseException:
        copy.close()
        raise
    return copy


def _stamps(files: list[Path]) -> list[tuple[int, int] | None]:
    return [(s.st_mtime_ns, s.st_size) if (s := _stat(file)) else None for file in files]


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:
        return None


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _header(path: Path) -> bytes:
    """The first 100 bytes; raises InputError when they are not SQLite's. An empty file has none."""
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.") from None
    if header and not header.startswith(MAGIC):
        raise InputError(
            f"{path}: is not a profile store. If it was one, `model-placer show --store {path} "
            "--salvage NEW.db` may get out what is left of it."
        )
    return header.ljust(100, b"\0")


def _version(path: Path, connection: sqlite3.Connection) -> int:
    """The store's version, 0 of one without a table; InputError of what is not for this program."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and application != APPLICATION_ID:
        raise InputError(f"{path}: is another program's database, not a profile store.")
    if version > VERSION:
        raise InputError(
            f"{path}: was written by a newer Model Placer (store version {version}, this one knows "
            f"{VERSION}). Update Model Placer."
        )
    return version if tables else 0
