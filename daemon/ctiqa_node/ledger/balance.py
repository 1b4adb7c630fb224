"""Two independent counts of the same answers: what the associations answered, and what the rows can show for it."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from ctiqa_node.db.books import AuditEntry, AuditEvent
from ctiqa_node.db.tables import Association, Instance
from ctiqa_node.ledger.account import AnySelect, Trouble, TroubleKind


def unaccounted(session: Session) -> Iterator[Trouble]:
    """Answers with Success that no row accounts for."""
    answered = session.scalar(select(func.coalesce(func.sum(Association.stored), 0))) or 0
    shown = session.scalar(select(func.coalesce(func.sum(Instance.copies), 0))) or 0
    shown += purged_answers(session)
    if answered > shown:
        yield Trouble(
            kind=TroubleKind.LOST,
            series_instance_uid=None,
            what=f"{answered} instances were answered with Success, and the rows account for {shown}",
            to_do="compare with what the senders sent since the last backup, and let them send it again",
        )
    for association, calling, answers, rows in session.execute(_more_rows_than_answers()):
        yield Trouble(
            kind=TroubleKind.CONTRADICTION,
            series_instance_uid=None,
            what=f"association {association} of {calling} has {rows} instances and {answers} answers with Success",
            to_do="restore the database from its last backup if it was changed by hand; otherwise report it",
        )


def purged_answers(session: Session) -> int:
    """How many answers the audit has for instances that were purged."""
    answers = func.json_extract(AuditEntry.detail, "$.answers")
    total = select(func.coalesce(func.sum(answers), 0)).where(AuditEntry.event == AuditEvent.PURGED.value)
    return session.scalar(total) or 0


def broken_rows(session: Session) -> Iterator[Trouble]:
    """Rows whose parent is gone, and pages that SQLite cannot make sense of."""
    connection = session.connection()
    for table, row, parent, _ in connection.execute(text("PRAGMA foreign_key_check")):
        what = f"row {row} of {table} names a row of {parent} that is not there"
        yield _broken(what, "restore the database from its last backup if it was changed by hand; otherwise report it")
    for (said,) in connection.execute(text("PRAGMA quick_check(20)")):
        if said != "ok":
            yield _broken(f"the database is damaged: {said}", "stop the node and restore the database from its backup")


def _broken(what: str, to_do: str) -> Trouble:
    return Trouble(kind=TroubleKind.BROKEN, series_instance_uid=None, what=what, to_do=to_do)


def _more_rows_than_answers() -> AnySelect:
    rows = func.count(Instance.id)
    return (
        select(Association.id, Association.calling_ae_title, Association.stored, rows)
        .join(Instance, Instance.association_id == Association.id)
        .group_by(Association.id)
        .having(rows > Association.stored)
    )
