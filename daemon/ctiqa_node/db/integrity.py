"""Whether SQLite can make sense of a database file."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

_STEPS = 100_000
"""So many instructions of SQLite's machine between two looks at the clock."""

_HEADING = "*** in database main ***"


def damage(path: Path, seconds: float | None = None) -> str | None:
    """What is wrong with a database file, in SQLite's words; None: nothing was found, in so many seconds at most."""
    deadline = None if seconds is None else time.monotonic() + seconds
    connection = sqlite3.connect(path)
    if deadline is not None:
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    try:
        said = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.OperationalError as error:
        return None if str(error) == "interrupted" else str(error)
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        connection.close()
    return None if said == ["ok"] else " ".join(" ".join(said).replace(_HEADING, "").split())
