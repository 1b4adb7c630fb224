"""The tables of Storage Commitment: what we asked of destinations, and what senders asked of us (PS3.4 Annex J)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ctiqa_node.db.columns import words
from ctiqa_node.db.tables import Base, Delivery


class CommitmentAsk(Base):
    """One delivery in one transaction in which its destination was asked to commit.

    All of them stay, so that an answer that comes late, after we have asked again, still counts.
    """

    __tablename__ = "commitment_asks"
    __table_args__ = (UniqueConstraint("transaction_uid", "delivery_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    delivery_id: Mapped[int] = mapped_column(ForeignKey("deliveries.id"), index=True)
    transaction_uid: Mapped[str]
    asked_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    failure_reason: Mapped[int | None]
    """Of a destination that does not commit (PS3.3 C.14.1.1)."""

    delivery: Mapped[Delivery] = relationship()


class RequestState(StrEnum):
    """Where a sender's request for commitment stands."""

    OPEN = "open"
    REPORTED = "reported"
    FAILED = "failed"
    """The sender could not be told; it may ask again."""


class CommitmentRequest(Base):
    """What a sender asked of us in one transaction; it stays open until the sender has been told."""

    __tablename__ = "commitment_requests"
    __table_args__ = (UniqueConstraint("calling_ae_title", "transaction_uid"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    transaction_uid: Mapped[str]
    calling_ae_title: Mapped[str]
    called_ae_title: Mapped[str]
    address: Mapped[str]
    state: Mapped[RequestState] = mapped_column(words(RequestState), index=True)
    received_at: Mapped[datetime]
    next_try_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    last_trouble: Mapped[str | None]
    reported_at: Mapped[datetime | None]
    committed: Mapped[int] = mapped_column(default=0)
    not_committed: Mapped[int] = mapped_column(default=0)

    references: Mapped[list[CommitmentReference]] = relationship(
        back_populates="request", order_by="CommitmentReference.id", cascade="all, delete-orphan"
    )


class CommitmentReference(Base):
    """One SOP Instance of an open request; gone when the sender has been told.

    `instance_id` is its row where there is one, so that a purge of that takes this along.
    """

    __tablename__ = "commitment_references"

    id: Mapped[int] = mapped_column(primary_key=True)
    request_id: Mapped[int] = mapped_column(ForeignKey("commitment_requests.id"), index=True)
    instance_id: Mapped[int | None] = mapped_column(ForeignKey("instances.id"), index=True)
    sop_class_uid: Mapped[str]
    sop_instance_uid: Mapped[str]

    request: Mapped[CommitmentRequest] = relationship(back_populates="references")
