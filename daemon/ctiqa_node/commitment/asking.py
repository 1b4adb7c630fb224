"""Asking the destinations to keep what they have stored: one asker for each, beside its courier."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from pydicom.uid import generate_uid
from sqlalchemy import Select, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from ctiqa_node.commitment.promises import Promises, asks_since_stored, give_up, note_asked
from ctiqa_node.config import DeliverySection, Destination
from ctiqa_node.db.columns import now
from ctiqa_node.db.commitments import CommitmentAsk
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState
from ctiqa_node.db.tables import Delivery, DeliveryTry
from ctiqa_node.delivery import POLL_SECONDS, back_off, is_given_up
from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.dimse.commitment import Reference, Request, Said, ask
from ctiqa_node.dimse.storage_scu import Patience
from ctiqa_node.dimse.tls import destination_tls
from ctiqa_node.errors import ConfigError
from ctiqa_node.logs import get_logger

log = get_logger(__name__)

BATCH = 200


class Asker:
    """Asks one destination to commit to what it has stored, again when it does not answer, and takes its report."""

    def __init__(self, destination: Destination, own_title: str, settings: DeliverySection, database: Database) -> None:
        self._destination = destination
        self._name = destination.name
        self._peer = ApplicationEntity(destination.ae_title, destination.host, destination.port)
        self._calling = destination.calling_ae_title or own_title
        self._settings = settings
        self._database = database
        self._promises = Promises(database, settings)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"commitment-{destination.name}", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Wait for no more reports over an association of ours; they may still come over one of the destination's."""
        self._stopping.set()

    def wait(self, timeout: float) -> None:
        """Wait for the end."""
        self._thread.join(max(timeout, 0))

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                busy = self.ask_due()
            except DatabaseError as error:
                log.error("commitments could not be recorded", destination=self._name, error=str(error.orig))
                busy = False
            except Exception:  # the top of the loop: nothing else would ever ask this destination again
                log.exception("asking for commitment failed", destination=self._name)
                busy = False
                self._stopping.wait(self._settings.first_retry_seconds)
            if not busy:
                self._stopping.wait(POLL_SECONDS)

    def ask_due(self) -> bool:
        """Ask for up to a batch of what is due, in one transaction; returns whether there was anything."""
        with self._database.read() as session:
            if session.scalars(_due(self._name).limit(1)).first() is None:
                return False
        request = self._begin()
        if request is not None:
            self._ask(request)
        return True

    def _begin(self) -> Request | None:
        transaction_uid = str(generate_uid(prefix=None))
        with self._database.write() as session:
            waiting = []
            for delivery in session.scalars(_due(self._name)):
                if is_given_up(session, delivery, self._settings):
                    give_up(session, delivery, self._settings)
                else:
                    self._note_silence(session, delivery)
                    waiting.append(delivery)
            note_asked(session, waiting, transaction_uid, now() + self._patience())
            references = tuple(Reference(each.output.sop_class_uid, each.output.sop_instance_uid) for each in waiting)
        return Request(transaction_uid, references) if references else None

    def _note_silence(self, session: Session, delivery: Delivery) -> None:
        """Say that the last time the destination took our question and did not answer it."""
        if asks_since_stored(session, delivery) and delivery.tries[-1].status == 0:
            silence = f"has not said within {self._patience()} whether it commits; asking again"
            delivery.tries.append(DeliveryTry(at=now(), status=None, answer=f"{self._peer} {silence}"))

    def _ask(self, request: Request) -> None:
        try:
            tls = destination_tls(self._destination)  # read anew each time: certificates are renewed
        except ConfigError as error:
            self._record(request.transaction_uid, Said(False, None, str(error)))
            return
        settings = self._settings
        patience = Patience(settings.connection_timeout_seconds, settings.answer_timeout_seconds)
        until = time.monotonic() + settings.answer_timeout_seconds

        def linger() -> bool:
            if self._stopping.is_set() or time.monotonic() > until:
                return False
            return not self._is_answered(request.transaction_uid)

        told = partial(self._record, request.transaction_uid)
        ask(self._peer, self._calling, request, patience, tls, told, self._promises.take, linger)

    def _is_answered(self, transaction_uid: str) -> bool:
        with self._database.read() as session:
            of_it = (CommitmentAsk.transaction_uid == transaction_uid, CommitmentAsk.answered_at.is_(None))
            return session.scalars(select(CommitmentAsk.id).where(*of_it).limit(1)).first() is None

    def _record(self, transaction_uid: str, said: Said) -> None:
        with self._database.write() as session:
            for each in _still_waiting(session, transaction_uid):
                each.tries.append(DeliveryTry(at=now(), status=said.status, answer=said.sentence))
                if not said.ok:
                    each.next_try_at = now() + back_off(asks_since_stored(session, each), self._settings)
        tell = log.info if said.ok else log.warning
        tell("commitment asked for", destination=self._name, transaction=transaction_uid, answer=said.sentence)

    def _patience(self) -> timedelta:
        return timedelta(seconds=self._settings.commitment_wait_seconds)


def _due(destination: str) -> Select[Delivery]:
    return (
        select(Delivery)
        .where(
            Delivery.destination == destination,
            Delivery.state == DeliveryState.UNCOMMITTED,
            Delivery.next_try_at <= now(),
        )
        .order_by(Delivery.id)
        .limit(BATCH)
    )


def _still_waiting(session: Session, transaction_uid: str) -> Sequence[Delivery]:
    """The deliveries of a transaction that no report has answered: one may have come before the call returned."""
    return session.scalars(
        select(Delivery)
        .join(CommitmentAsk, CommitmentAsk.delivery_id == Delivery.id)
        .where(
            CommitmentAsk.transaction_uid == transaction_uid,
            CommitmentAsk.answered_at.is_(None),
            Delivery.state == DeliveryState.UNCOMMITTED,
        )
    ).all()
