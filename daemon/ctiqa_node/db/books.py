"""The tables of the ledger: the audit, what was found when the books were read, and which files are to go."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import DDL, JSON, event
from sqlalchemy.orm import Mapped, mapped_column

from ctiqa_node.db.tables import Base


class AuditEvent(StrEnum):
    """What the audit holds."""

    STARTED = "node started"
    RECEIVED = "received"
    REJECTED = "association rejected"
    EXPIRED = "pixel data expired"
    PURGED = "purged"
    COMMAND = "command"


class AuditEntry(Base):
    """One line of the audit. No name, ID, birth date or UID of anyone: of a UID only the SHA-256 (`subject`)."""

    __tablename__ = "audit"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  # as SQLAlchemy wants it; so no number is given twice

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    event: Mapped[str] = mapped_column(index=True)
    who: Mapped[str]
    """The calling AE title, the user of the operating system who ran a command, or `node`."""
    address: Mapped[str] = mapped_column(default="")
    subject: Mapped[str | None]
    """SHA-256 of the Study or Series Instance UID in question."""
    detail: Mapped[dict[str, str | int]] = mapped_column(JSON, default=dict)


APPEND_ONLY = tuple(
    f"CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON audit "
    "BEGIN SELECT RAISE(ABORT, 'the audit can only be added to'); END"
    for verb in ("UPDATE", "DELETE")
)
for _trigger in APPEND_ONLY:
    event.listen(AuditEntry.__table__, "after_create", DDL(_trigger))


class Reconciliation(Base):
    """One reading of the whole books, in numbers; what was wrong is found again by reading them again."""

    __tablename__ = "reconciliations"

    id: Mapped[int] = mapped_column(primary_key=True)
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime]
    adds_up: Mapped[bool]
    instances: Mapped[int]
    fates: Mapped[dict[str, int]] = mapped_column(JSON, default=dict)
    """How many instances have which fate."""
    files_read: Mapped[int]
    bytes_read: Mapped[int]
    troubles: Mapped[int]


class FileRemoval(Base):
    """A file or folder that is to go, written down in the transaction that decided it; `path` is relative to the state
    folder. It is there until the file is gone.
    """

    __tablename__ = "file_removals"

    path: Mapped[str] = mapped_column(primary_key=True)
    decided_at: Mapped[datetime]
