"""Opening the database: SQLite in WAL mode, every commit on disk before it returns."""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

BUSY_TIMEOUT_MS = 30_000
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
_DATABASE_ERRORS = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}


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
    _Reopening(engine)
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


class _Reopening:
    """Closes all connections after a trouble with the disk, each as soon as nobody uses it.

    Opened while the disk was read-only, a connection stays read-only; and so is any later one as long as one of them is
    open, since SQLite shares the index of its log among the connections of a process.
    """

    def __init__(self, engine: Engine) -> None:
        self._troubles = 0
        event.listen(engine, "connect", self._opened)
        event.listen(engine, "checkin", self._returned)
        event.listen(engine, "handle_error", self._failed)

    def _opened(self, connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        del connection
        record.info["troubles"] = self._troubles

    def _returned(self, connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        if connection is not None and record.info.get("troubles") != self._troubles:
            record.invalidate()

    def _failed(self, context: ExceptionContext) -> None:
        if disk_trouble(context.original_exception) is None:
            return
        self._troubles += 1
        context.is_disconnect = True
        if context.engine is not None:
            context.engine.pool.dispose()  # those that nobody uses just now


def disk_trouble(error: BaseException) -> str | None:
    """What is wrong with the disk, if that is why a database or a file could not be written; not the work's fault."""
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return error.strerror
    driver = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(driver, sqlite3.Error) and getattr(driver, "sqlite_errorcode", 0) & 0xFF in _DATABASE_ERRORS:
        return str(driver)
    return None


class Database:
    """The two ways to use the database: `write()` and `read()`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = threading.Lock()
        self._engine = open_engine(path)
        self._write = sessionmaker(self._engine, expire_on_commit=False)
        self._read = sessionmaker(self._engine.execution_options(sqlite_begin="BEGIN DEFERRED"), expire_on_commit=False)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits at its end; an exception rolls back. Holds SQLite's write lock: keep it short."""
        # SQLite lets writers poll for its lock, and among many threads one may poll in vain until its time is up.
        in_turn = self._turn.acquire(timeout=BUSY_TIMEOUT_MS / 1000)
        try:
            with self._write.begin() as session:
                yield session
        finally:
            if in_turn:
                self._turn.release()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session on a snapshot, beside any writer."""
        with self._read() as session:
            yield session

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
