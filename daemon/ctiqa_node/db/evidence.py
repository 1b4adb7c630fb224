"""The table of what an archive says about series that have fallen quiet."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from ctiqa_node.db.tables import Base


class ArchiveCount(Base):
    """How many instances of a series an archive had when it was asked last; None, and why, where it could not say."""

    __tablename__ = "archive_counts"

    id: Mapped[int] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), unique=True)
    archive: Mapped[str]
    """Its AE title."""
    asked_at: Mapped[datetime]
    instances: Mapped[int | None]
    trouble: Mapped[str | None]


def archive_count(session: Session, series_id: int) -> ArchiveCount | None:
    """What an archive said of a series; None when none was asked."""
    return session.scalars(select(ArchiveCount).where(ArchiveCount.series_id == series_id)).first()
