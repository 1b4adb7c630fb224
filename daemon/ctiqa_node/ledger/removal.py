"""Removing files so that a crash at any moment loses track of none.

Whoever decides that a file shall go writes so in the transaction that decides it. Only then is the file removed, and
only when that is on disk is the note taken away. What a crash left is removed at the next start.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ctiqa_node.db.books import FileRemoval
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.logs import get_logger
from ctiqa_node.state import sync_folder

log = get_logger(__name__)

BATCH = 500


def doom(session: Session, paths: Iterable[str]) -> int:
    """Write down that files or folders, relative to the state folder, shall go; returns how many."""
    moment = now()
    rows = [FileRemoval(path=path, decided_at=moment) for path in paths]
    session.add_all(rows)
    return len(rows)


def carry_out(database: Database, root: Path) -> int:
    """Remove all that is to go; returns how many. What cannot be removed is logged, and stays written down."""
    last, removed = "", 0
    while True:
        query = select(FileRemoval.path).where(FileRemoval.path > last).order_by(FileRemoval.path).limit(BATCH)
        with database.read() as session:
            paths = list(session.scalars(query))
        if not paths:
            return removed
        gone = [path for path in paths if _remove(root / path)]
        for folder in {(root / path).parent for path in gone}:
            if folder.is_dir():
                sync_folder(folder)
        with database.write() as session:
            session.execute(delete(FileRemoval).where(FileRemoval.path.in_(gone)))
        removed += len(gone)
        last = paths[-1]


def _remove(path: Path) -> bool:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        log.error("a file could not be removed; tried again later", file=path.name, error=error.strerror)
        return False
    return True
