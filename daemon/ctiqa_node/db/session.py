"""Opening the database: SQLite in WAL mode, every commit on disk before it returns."""

from __future__ import annotations

import errno
import gc
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

BUSY_TIMEOUT_MS = 30_000
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
_REOPENING_HELPS = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
_DATABASE_ERRORS = {sqlite3.SQLITE_FULL, *_REOPENING_HELPS}
REOPEN_PATIENCE_SECONDS, REOPEN_SECONDS = 0.5, 1.0


def open_engine(path: Path) -> Engine:
    """An engine on the SQLite file; writers take the lock at BEGIN, so that a read-then-write never fails half-way."""
    # No limit on connections: each association has one while it waits for the lock, and what waits for a connection
    # instead would fail with an error of the pool's.
    engine = create_engine(
        f"sqlite:///{path}",
        max_overflow=-1,
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: DBAPIConnection, record: Any) -> None:
    del record
    assert isinstance(connection, sqlite3.Connection)
    # The driver starts no transaction of its own; `_begin` below starts every one.
    connection.isolation_level = None
    # secure_delete: what is deleted is overwritten, since it may tell of a patient; not every SQLite is built so.
    for pragma in (
        "journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON",
        "secure_delete=ON",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Any) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN IMMEDIATE"))


def disk_trouble(error: BaseException) -> str | None:
    """What is wrong with the disk, if that is why a database or a file could not be written; not the work's fault."""
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return error.strerror
    driver = error.orig if isinstance(error, DBAPIError) else error
    return str(driver) if _code_of(driver) in _DATABASE_ERRORS else None


def _code_of(error: BaseException | None) -> int:
    """SQLite's primary result code; 0 for another error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.Error) else 0


class Database:
    """The two ways to use the database: `write()` and `read()`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = threading.Lock()
        self._engine = open_engine(path)
        event.listen(self._engine, "handle_error", self._failed)
        self._users = 0
        self._bad = False
        self._not_before = 0.0
        self._changed = threading.Condition()
        self._write = sessionmaker(self._engine, expire_on_commit=False)
        self._read = sessionmaker(self._engine.execution_options(sqlite_begin="BEGIN DEFERRED"), expire_on_commit=False)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits at its end; an exception rolls back. Holds SQLite's write lock: keep it short."""
        # SQLite lets writers poll for its lock, and among many threads one may poll in vain until its time is up.
        in_turn = self._turn.acquire(timeout=BUSY_TIMEOUT_MS / 1000)
        try:
            with self._using(), self._write.begin() as session:
                yield session
        finally:
            if in_turn:
                self._turn.release()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session on a snapshot, beside any writer."""
        with self._using(), self._read() as session:
            yield session

    def _failed(self, context: ExceptionContext) -> None:
        if _code_of(context.original_exception) in _REOPENING_HELPS:
            self._bad = True

    @contextmanager
    def _using(self) -> Iterator[None]:
        """Be one of those who use connections; after trouble with the disk none is used until all were closed.

        Opened while the disk was read-only, a connection stays read-only, and so is any later one as long as one of
        them is open: SQLite shares the index of its log among the connections of a process.
        """
        with self._changed:
            if self._is_to_be_reopened() and self._changed.wait_for(lambda: not self._users, REOPEN_PATIENCE_SECONDS):
                self._reopen()
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def _is_to_be_reopened(self) -> bool:
        return self._bad and time.monotonic() >= self._not_before

    def _reopen(self) -> None:
        if not self._is_to_be_reopened():  # somebody else did it while we waited
            return
        self._bad, self._not_before = False, time.monotonic() + REOPEN_SECONDS
        self._engine.dispose()
        # What was closed stays open in SQLite as long as a statement of it lives, and those live on in what failed
        # before, in cycles that nothing else would collect for hours.
        gc.collect()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
