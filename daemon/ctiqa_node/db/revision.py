"""Which tables a database has, and which this version needs, without Alembic: commands that only look start with it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy.exc import DatabaseError

from ctiqa_node.db.session import BUSY_TIMEOUT_MS

HEAD = "0007"
"""The newest revision in `migrations/`."""

_HAS_ONE = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'"


def current_and_head(path: Path) -> tuple[str | None, str]:
    """The revision that a database is at (None: no tables yet) and the one that this version needs.

    Raises:
        DatabaseError: the file is no SQLite database, or cannot be read now.
    """
    if not path.exists():
        return None, HEAD
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000)) as connection:
            if connection.execute(_HAS_ONE).fetchone()[0] == 0:
                return None, HEAD
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise DatabaseError(None, None, error) from error  # as every other query of ours raises it
    return None if row is None else str(row[0]), HEAD
