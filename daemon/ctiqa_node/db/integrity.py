"""Whether SQLite can make sense of a database file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

_HEADING = "*** in database main ***"


def damage(path: Path) -> str | None:
    """What is wrong with a database file, in SQLite's words; None: nothing was found."""
    connection = sqlite3.connect(path)
    try:
        said = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        connection.close()
    return None if said == ["ok"] else " ".join(" ".join(said).replace(_HEADING, "").split())
