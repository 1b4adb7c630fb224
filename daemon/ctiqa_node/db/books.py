"""The tables of the ledger: what was found when the books were read."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from ctiqa_node.db.tables import Base


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
