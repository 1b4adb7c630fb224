"""Bringing a database to the tables of this version, with Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DatabaseError

from ctiqa_node.db.revision import current_and_head
from ctiqa_node.errors import StateError


def _migrations() -> Path:
    packaged = Path(__file__).resolve().parent.parent / "migrations"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / "migrations"


def _alembic(path: Path) -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
    config.attributes["database_path"] = path
    return config


def upgrade(path: Path) -> tuple[str | None, str]:
    """Make or bring up the tables; returns the revision before and after.

    Raises:
        StateError: the file is no SQLite database or comes from a newer version.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        before, head = current_and_head(path)
        if not path.exists():
            path.touch(mode=0o600)  # its log gets the same mode from SQLite
        if before != head:
            _refuse_newer(path, before)
            command.upgrade(_alembic(path), "head")
    except DatabaseError as error:
        raise StateError(f"The database {path} cannot be used ({error.orig}); restore it from a backup.") from error
    return before, head


def _refuse_newer(path: Path, before: str | None) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_alembic(path)).walk_revisions()}
    if before is not None and before not in known:
        raise StateError(f"The database {path} is at revision {before}, made by a newer version of ctiqa-node.")
