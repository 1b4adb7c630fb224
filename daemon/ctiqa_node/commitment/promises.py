"""What destinations say about the results that they were asked to keep, as changes of deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from ctiqa_node.config import DeliverySection, Destination
from ctiqa_node.db.columns import now
from ctiqa_node.db.commitments import CommitmentAsk
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState
from ctiqa_node.db.tables import Delivery, DeliveryTry
from ctiqa_node.delivery import back_off, is_given_up
from ctiqa_node.dimse.commitment import (
    CLASS_NOT_SUPPORTED,
    PROCESSING_FAILURE,
    RESOURCE_LIMITATION,
    Report,
    reason_in_words,
)
from ctiqa_node.logs import get_logger
from ctiqa_node.sending import DeliveryEvent, can_happen, move
from ctiqa_node.settling import settle

log = get_logger(__name__)

SUCCESS = 0x0000


class Promises:
    """Takes the reports of destinations, over whichever association they come. Thread-safe."""

    def __init__(self, database: Database, settings: DeliverySection) -> None:
        self._database = database
        self._settings = settings

    def take(self, report: Report) -> int:
        """Record a report; returns the status to answer it with. What we never asked, or purged since, changes nothing.

        A delivery that the report names neither way waits on, until its destination is asked again.
        """
        try:
            with self._database.write() as session:
                asks = _unanswered(session, report)
                committed = {each.sop_instance_uid for each in report.committed}
                failed = {each.sop_instance_uid: reason for each, reason in report.failed.items()}
                for ask in asks:
                    uid = ask.delivery.output.sop_instance_uid
                    if uid in failed:
                        self._not_committed(session, ask, failed[uid])
                    elif uid in committed:
                        _committed(session, ask)
        except DatabaseError as error:
            log.error("commitment could not be recorded", error=str(error.orig))
            return RESOURCE_LIMITATION
        except Exception:  # the archive's thread: it gets an answer, and we go on
            log.exception("commitment could not be recorded")
            return PROCESSING_FAILURE
        log.info(
            "commitment reported", transaction=report.transaction_uid, committed=len(report.committed),
            failed=len(report.failed), known=bool(asks),
        )  # fmt: skip
        return SUCCESS

    def _not_committed(self, session: Session, ask: CommitmentAsk, reason: int) -> None:
        delivery = ask.delivery
        ask.answered_at, ask.failure_reason = now(), reason
        if not can_happen(delivery, DeliveryEvent.NOT_COMMITTED):
            return
        sentence = f"stored, but {delivery.destination} does not commit to keep it ({reason_in_words(reason)})"
        delivery.tries.append(DeliveryTry(at=now(), status=reason, answer=sentence))
        # To send what can never be committed again and again would help nobody.
        hopeless = reason == CLASS_NOT_SUPPORTED or is_given_up(session, delivery, self._settings)
        if hopeless:
            move(delivery, DeliveryEvent.GAVE_UP)
        else:
            move(delivery, DeliveryEvent.NOT_COMMITTED)
            delivery.next_try_at = now() + back_off(delivery.attempts, self._settings)
        settle(session, delivery.output.series)
        log.warning(
            "result not committed", destination=delivery.destination, reason=reason_in_words(reason),
            sop_instance=delivery.output.sop_instance_uid, state=delivery.state,
        )  # fmt: skip


def _unanswered(session: Session, report: Report) -> Sequence[CommitmentAsk]:
    query = select(CommitmentAsk).where(
        CommitmentAsk.transaction_uid == report.transaction_uid, CommitmentAsk.answered_at.is_(None)
    )
    return session.scalars(query).all()


def _committed(session: Session, ask: CommitmentAsk) -> None:
    delivery = ask.delivery
    ask.answered_at = now()
    if not can_happen(delivery, DeliveryEvent.COMMITTED):
        return
    move(delivery, DeliveryEvent.COMMITTED)
    delivery.committed_at = now()
    delivery.tries.append(DeliveryTry(at=now(), status=SUCCESS, answer="committed"))
    settle(session, delivery.output.series)


def note_asked(session: Session, deliveries: Sequence[Delivery], transaction_uid: str, until: datetime) -> None:
    """Write down that these are asked for, before they are: the answer may be here before the call returns."""
    for delivery in deliveries:
        session.add(CommitmentAsk(delivery=delivery, transaction_uid=transaction_uid, asked_at=now()))
        delivery.next_try_at = until


def asks_since_stored(session: Session, delivery: Delivery) -> int:
    """How often the destination was asked for what it has now."""
    query = select(CommitmentAsk.id).where(CommitmentAsk.delivery_id == delivery.id)
    if delivery.sent_at is not None:
        query = query.where(CommitmentAsk.asked_at >= delivery.sent_at)
    return len(session.scalars(query).all())


def give_up(session: Session, delivery: Delivery, settings: DeliverySection) -> None:
    """Wait no longer for a commitment; the object is there, but nobody has said that it stays."""
    sentence = f"stored, but not committed within {timedelta(days=settings.give_up_after_days)}"
    delivery.tries.append(DeliveryTry(at=now(), status=None, answer=sentence))
    move(delivery, DeliveryEvent.GAVE_UP)
    settle(session, delivery.output.series)
    log.warning("result not committed", destination=delivery.destination, state=delivery.state)


def release_unasked(session: Session, destinations: Sequence[Destination]) -> int:
    """What waits for a commitment that the configuration no longer asks for is sent; returns how many."""
    unasked = [each.name for each in destinations if not each.commitment]
    waiting = select(Delivery).where(Delivery.state == DeliveryState.UNCOMMITTED, Delivery.destination.in_(unasked))
    found = session.scalars(waiting).all()
    for delivery in found:
        move(delivery, DeliveryEvent.UNASKED)
        delivery.tries.append(DeliveryTry(at=now(), status=None, answer="stored; commitment is no longer asked for"))
        settle(session, delivery.output.series)
    return len(found)
