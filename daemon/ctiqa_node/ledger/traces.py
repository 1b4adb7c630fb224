"""The proof of a purge: database and folders are searched for whatever named the patient or study."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from ctiqa_node.db.session import BUSY_TIMEOUT_MS, Database
from ctiqa_node.db.tables import Series
from ctiqa_node.errors import CtiqaError
from ctiqa_node.ledger.purge import Identifiers, Target, unclaimed_files
from ctiqa_node.state import StateFolder

_BLOCK = 8 << 20
_TELLING = re.compile(r"^(?=.*[^0-9a-fA-F.]).{6,}$|^.{10,}$", re.DOTALL)
"""Shorter texts, and short numbers, stand in any file by chance: within UIDs and digests."""


def rewrite(path: Path) -> None:
    """Write the database anew without its free pages and gaps, and empty the write-ahead log.

    SQLite overwrites what is deleted (`secure_delete`), but pages that were split keep copies in their gaps, and the
    log keeps pages as they were.

    Raises:
        CtiqaError: a reader or writer held the database for too long; run the purge again.
    """
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000)
    try:
        connection.execute("VACUUM")
        deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
        while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() > deadline:
                raise CtiqaError("The write-ahead log is in use and cannot be emptied; run the purge again.")
            time.sleep(0.1)
    except sqlite3.Error as error:
        raise CtiqaError(f"The database cannot be written anew ({error}); run the purge again.") from error
    finally:
        connection.close()


def search(database: Database, folder: StateFolder, target: Target, named: Identifiers) -> list[str]:
    """Where anything of a target is still to be found, in sentences; empty: nowhere.

    What a series of somebody else has, too (a study of the same patient that stays, a namesake), is not searched for.
    """
    with database.read() as session:
        if session.scalar(select(exists().where(target.of_series()))):
            return ["instances of it arrived meanwhile; run the purge again"]
        searched = {text for text in named.texts if _TELLING.search(text)} | named.uids
        searched -= _held_by_others(session, searched)
    traces = [f"{path} holds {what}" for path in database_files(folder) for what in _in_bytes(path, searched, named)]
    traces += [f"{path} is a file of it" for path in unclaimed_files(folder) if target.is_of(path)]
    traces += [f"{path} is there" for path in folder.outputs.glob("purged-*")]
    return traces


def database_files(folder: StateFolder) -> list[Path]:
    """The database, its log, and its backups."""
    stem = folder.database.stem
    return [path for pattern in (f"{stem}*", f"backups/{stem}*") for path in sorted(folder.root.glob(pattern))]


def _held_by_others(session: Session, texts: set[str]) -> set[str]:
    columns = (Series.patient_id, Series.patient_name, Series.accession_number, Series.study_instance_uid)
    return {text for text in texts if session.scalar(select(exists().where(or_(*(c == text for c in columns)))))}


def _in_bytes(path: Path, texts: set[str], named: Identifiers) -> Iterator[str]:
    if not texts:
        return
    pattern = re.compile(b"|".join(re.escape(text.encode()) for text in sorted(texts)))
    overlap, found = max(len(text.encode()) for text in texts), set()
    with path.open("rb") as file:
        block = b""
        while more := file.read(_BLOCK):
            block = block[-overlap:] + more
            found |= {match[0].decode() for match in pattern.finditer(block)}
    yield from sorted(
        {"a UID of it" if text in named.uids else "an ID, a name or an accession number" for text in found}
    )
