"""What a node is at, read from its database by one who only looks: for aiming at a moment, and telling what was hit."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_QUERIES = {
    "reception": "SELECT count(*) FROM associations WHERE outcome = 'open'",
    "settling": "SELECT count(*) FROM series WHERE state IN ('receiving', 'stale')",
    "waiting": "SELECT count(*) FROM jobs WHERE state = 'todo'",
    "assessment": "SELECT (SELECT count(*) FROM jobs WHERE state = 'doing')"
    " * (SELECT count(*) = 0 FROM unmade_outputs WHERE reason IS NULL)",
    "making": "SELECT count(*) FROM unmade_outputs WHERE reason IS NULL",
    "delivery": "SELECT count(*) FROM deliveries WHERE state = 'pending'",
}
PHASES = ("start", *_QUERIES, "idle")
"""`start` is before the node says that it is ready; `waiting` is a series that is complete, and not begun."""
AIMS = ("start", "reception", "reception", "settling", "assessment", "making", "delivery")


def step_of_the_worker(database: Path) -> str:
    """What the worker was at: nothing, assessing, or making an object of some kind."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as connection:
        making = connection.execute("SELECT kind FROM unmade_outputs WHERE reason IS NULL").fetchone()
        if making:
            return f"making {making[0]}"
        job = connection.execute(
            "SELECT (SELECT count(*) FROM assessments WHERE series_id = jobs.series_id AND revision = jobs.revision),"
            " (SELECT count(*) FROM outputs WHERE series_id = jobs.series_id AND revision = jobs.revision)"
            " FROM jobs WHERE state = 'doing'"
        ).fetchone()
    if job is None:
        return "between two jobs"
    return "between two objects" if job[1] else "between values and objects" if job[0] else "assessing"


def under_way(database: Path) -> set[str]:
    """What is under way; empty where nothing is, or no tables are there yet."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as connection:
            return {phase for phase, query in _QUERIES.items() if connection.execute(query).fetchone()[0]}
    except sqlite3.OperationalError:
        return set()
