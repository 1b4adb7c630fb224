"""What the last reading of the whole books told, for `status`."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from ctiqa_node.db.books import Reconciliation


class LastReconciliation(BaseModel):
    """When the books were last read as a whole, and whether they added up."""

    at: datetime
    adds_up: bool
    instances: int
    fates: dict[str, int]
    files_read: int
    bytes_read: int
    troubles: int


def last_reconciliation(session: Session) -> LastReconciliation | None:
    """The numbers of the last reading; None: there was none yet."""
    last = session.scalars(select(Reconciliation).order_by(Reconciliation.id.desc()).limit(1)).first()
    if last is None:
        return None
    return LastReconciliation(
        at=last.finished_at,
        adds_up=last.adds_up,
        instances=last.instances,
        fates=last.fates,
        files_read=last.files_read,
        bytes_read=last.bytes_read,
        troubles=last.troubles,
    )


def reconciliation_complaints(reconciled: LastReconciliation | None) -> list[str]:
    """What an admin should know of it."""
    if reconciled is None or reconciled.adds_up:
        return []
    places = "one place" if reconciled.troubles == 1 else f"{reconciled.troubles} places"
    return [f"the books did not add up in {places}; `ctiqa-node reconcile` tells which, and what to do"]
