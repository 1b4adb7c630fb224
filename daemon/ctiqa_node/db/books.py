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
    COMMITMENT = "commitment answered"
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


TRIGGERS = (
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit "
    "BEGIN SELECT RAISE(ABORT, 'the audit can only be added to'); END",
    "CREATE TRIGGER audit_no_replacement BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id) "
    "BEGIN SELECT RAISE(ABORT, 'the audit can only be added to'); END",
    "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit "
    "BEGIN SELECT RAISE(ABORT, 'the audit can only be added to'); END",
    # Written by the database itself, in the transaction in which an association ends: however it ended, and also when
    # it is found at a start that it was lost.
    "CREATE TRIGGER audit_received AFTER UPDATE OF outcome ON associations "
    "WHEN OLD.outcome = 'open' AND NEW.outcome <> 'open' AND NEW.stored + NEW.refused > 0 "
    "BEGIN INSERT INTO audit (at, event, who, address, detail) "
    "VALUES (COALESCE(NEW.closed_at, NEW.opened_at), 'received', NEW.calling_ae_title, NEW.address, "
    "json_object('stored', NEW.stored, 'refused', NEW.refused, 'association', NEW.outcome)); END",
    "CREATE TRIGGER audit_rejected AFTER INSERT ON associations WHEN NEW.outcome = 'rejected' "
    "BEGIN INSERT INTO audit (at, event, who, address, detail) "
    "VALUES (NEW.opened_at, 'association rejected', NEW.calling_ae_title, NEW.address, "
    "json_object('reason', COALESCE(NEW.detail, ''))); END",
)
"""What Alembic does not see; a change of the tables by a later migration must make them again."""


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


for _trigger in TRIGGERS:
    event.listen(Base.metadata, "after_create", DDL(_trigger))
