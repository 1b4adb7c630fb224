"""Backups of the database: made beside a running node, looked through before they count, and put back with care."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

from ctiqa_node import audit
from ctiqa_node.db.books import AuditEvent
from ctiqa_node.db.columns import now
from ctiqa_node.db.integrity import damage
from ctiqa_node.db.revision import current_and_head
from ctiqa_node.db.session import Database
from ctiqa_node.db.upgrade import upgrade
from ctiqa_node.errors import RetryLater, StateError
from ctiqa_node.spool import make_folder_durably
from ctiqa_node.state import StateFolder, sync_folder

LARGE_BYTES = 64 << 20
"""A larger database is looked through when the node listens already, as that takes minutes; its backups are before."""


def make_backup(folder: StateFolder, keep: int, min_free_bytes: int) -> Path:
    """Write the database as it is now into one file of its own, look it through, and let older ones go.

    Raises:
        RetryLater: no room, or the copy cannot be made; nothing is left behind.
    """
    make_folder_durably(folder.backups)
    target = folder.backups / f"ctiqa-{now():%Y%m%d-%H%M%S}.sqlite"
    temporary = target.with_suffix(".part")
    size = folder.database.stat().st_size
    if shutil.disk_usage(folder.backups).free < size + min_free_bytes:
        raise RetryLater(f"There is no room for a backup of {size >> 20} MiB in {folder.backups}.")
    for leftover in folder.backups.glob("*.part"):  # of a backup that was killed in its middle
        leftover.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    try:
        # A copy of a damaged database may be sound and lack rows: it must not push out an older one that has them.
        if (sentence := look_through(folder)) is not None:
            raise RetryLater(sentence)
        _copy(folder.database, temporary)
        if (found := damage(temporary)) is not None:
            raise RetryLater(f"The backup of {folder.database} is damaged ({found}).")
        _sync(temporary)
        temporary.rename(target)
        sync_folder(folder.backups)
    except (sqlite3.Error, OSError) as error:
        raise RetryLater(f"The database {folder.database} cannot be copied: {error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    for old in backups_of(folder)[:-keep]:
        old.unlink()
    return target


def backups_of(folder: StateFolder) -> list[Path]:
    """The backups that there are, the oldest first; those with a date ahead are from before the clock was set back."""
    present = f"ctiqa-{now():%Y%m%d-%H%M%S}.sqlite"
    return sorted(folder.backups.glob("ctiqa-2*.sqlite"), key=lambda path: (path.name <= present, path.name))


def copies_of(folder: StateFolder) -> list[str]:
    """The paths of all copies of the database, relative to the state folder: they are to go with a patient."""
    return [str(path.relative_to(folder.root)) for path in sorted(folder.backups.glob("ctiqa-*"))]


def require_sound(folder: StateFolder) -> None:
    """Refuse a damaged database before anything is received into it; a large one only if damage was found in it before.

    Raises:
        StateError: it is damaged; names the newest backup.
    """
    if not folder.database.exists() or (is_large(folder) and not folder.suspicion.exists()):
        return
    if (sentence := look_through(folder)) is not None:
        raise StateError(sentence)


def is_large(folder: StateFolder) -> bool:
    """Whether the database is looked through while the node works, and not before it starts."""
    return folder.database.exists() and folder.database.stat().st_size > LARGE_BYTES


def look_through(folder: StateFolder) -> str | None:
    """Look the whole database through; what is wrong, and what to do. The next start knows that something was."""
    found = damage(folder.database)
    if found is None:
        folder.suspicion.unlink(missing_ok=True)
        return None
    folder.suspicion.touch(mode=0o600)
    backups = backups_of(folder)
    remedy = f"`ctiqa-node db restore {backups[-1]}` puts the newest backup back" if backups else "there is no backup"
    return f"The database {folder.database} is damaged and cannot be used ({found}); {remedy}."


def restore(folder: StateFolder, backup: Path) -> Path | None:
    """Put a backup in the place of the database, which is kept beside the backups; returns where, if there was one.

    The node must not be running: the caller holds its lock.

    Raises:
        StateError: the backup is none, or is damaged, or of a newer version; nothing was changed.
    """
    if (found := damage(backup)) is not None:
        raise StateError(f"The backup {backup} cannot be used ({found}); nothing was changed.")
    folder.backups.mkdir(mode=0o700, exist_ok=True)
    fresh = folder.database.with_suffix(".restoring")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    shutil.copyfile(backup, fresh)
    _sync(fresh)
    if current_and_head(fresh)[0] is None:
        fresh.unlink()
        raise StateError(f"{backup} is no database of ctiqa-node; nothing was changed.")
    replaced = _put_aside(folder)
    fresh.rename(folder.database)
    sync_folder(folder.root)
    upgrade(folder.database)
    database = Database(folder.database)
    with database.write() as session:
        audit.note(session, AuditEvent.COMMAND, audit.user(), {"command": "db restore", "backup": backup.name})
    database.close()
    return replaced


def _put_aside(folder: StateFolder) -> Path | None:
    """Move the database away together with its log: a log that stays would be played into the restored one."""
    if not folder.database.exists():
        return None
    aside = folder.backups / f"ctiqa-replaced-{now():%Y%m%d-%H%M%S}.sqlite"
    for suffix in ("-wal", "-shm", ""):
        part = folder.database.with_name(folder.database.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    sync_folder(folder.backups)
    return aside


def _copy(database: Path, target: Path) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        connection.execute("VACUUM INTO ?", (str(target),))
    finally:
        connection.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
