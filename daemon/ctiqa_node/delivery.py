"""Sending the results: one courier for each destination, so that a dead one never holds up another."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from pydicom.uid import UID
from sqlalchemy import Select, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from ctiqa_node.config import DeliverySection, Destination
from ctiqa_node.db.clock import overcounted
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import OPEN_DELIVERIES, DeliveryState, OutputState, SeriesState
from ctiqa_node.db.tables import Delivery, DeliveryTry
from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.dimse.storage_scu import Answer, Patience, send
from ctiqa_node.dimse.tls import destination_tls
from ctiqa_node.errors import ConfigError, CtiqaError
from ctiqa_node.golden_result import last_result
from ctiqa_node.logs import get_logger
from ctiqa_node.routing import fall_back, refused_classes
from ctiqa_node.sending import DeliveryEvent, can_happen, move
from ctiqa_node.series import SeriesEvent, apply_event
from ctiqa_node.settling import settle

log = get_logger(__name__)

POLL_SECONDS = 0.5
BATCH = 20


class Courier:
    """Sends what is due to one destination, and records each answer."""

    def __init__(
        self, destination: Destination, own_title: str, settings: DeliverySection, database: Database, outputs: Path
    ) -> None:
        self._destination = destination
        self._name = destination.name
        self._peer = ApplicationEntity(destination.ae_title, destination.host, destination.port)
        self._calling = destination.calling_ae_title or own_title
        self._settings = settings
        self._database = database
        self._outputs = outputs
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"courier-{destination.name}", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Finish the object that is being sent, then end; what is left waits in the database."""
        self._stopping.set()

    def wait(self, timeout: float) -> None:
        """Wait for the end."""
        self._thread.join(max(timeout, 0))

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                busy = self.send_due()
            except DatabaseError as error:
                log.error("deliveries could not be recorded", destination=self._name, error=str(error.orig))
                busy = False
            except Exception:  # the top of the loop: nothing else would ever send to this destination again
                log.exception("sending failed", destination=self._name)
                busy = False
                self._stopping.wait(self._settings.first_retry_seconds)
            if not busy:
                self._stopping.wait(POLL_SECONDS)

    def send_due(self) -> bool:
        """Send up to a batch of what is due; returns whether there was anything."""
        with self._database.read() as session:
            if (checked := last_result(session)) is not None and not checked.ok:
                return False  # what was assessed lately may be wrong: it waits, and `status` says why
            due = {self._outputs / d.output.path: d.id for d in session.scalars(_due(self._name))}
        if not due:
            return False
        for answer in self._send(list(due)):
            self._record(due[answer.path], answer)
            if self._stopping.is_set():
                break
        return True

    def _send(self, paths: Sequence[Path]) -> Iterator[Answer]:
        try:
            tls = destination_tls(self._destination)  # read anew each time: certificates are renewed
        except ConfigError as error:
            yield from (Answer(path, ok=False, status=None, sentence=str(error)) for path in paths)
            return
        patience = Patience(self._settings.connection_timeout_seconds, self._settings.answer_timeout_seconds)
        yield from send(self._peer, self._calling, paths, patience, tls)

    def _record(self, delivery_id: int, answer: Answer) -> None:
        with self._database.write() as session:
            delivery = session.get(Delivery, delivery_id)
            if delivery is None or delivery.state is not DeliveryState.PENDING:  # purged or dropped meanwhile
                return
            delivery.attempts += 1
            moment = now()
            delivery.tries.append(DeliveryTry(at=moment, status=answer.status, answer=answer.sentence))
            news = None
            if answer.ok:
                self._stored(delivery, moment)
            elif answer.refused:
                news = self._refuse(session, delivery)
            else:
                self._put_off(session, delivery)
            settle(session, delivery.output.series)
        if news is not None:
            log.warning("destination does not take a SOP Class", destination=self._name, **news)
        self._tell(delivery, answer)

    def _stored(self, delivery: Delivery, moment: datetime) -> None:
        delivery.sent_at = moment
        if self._destination.commitment:
            move(delivery, DeliveryEvent.STORED)
            delivery.next_try_at = now()  # when its commitment is asked for
        else:
            move(delivery, DeliveryEvent.SENT)

    def _tell(self, delivery: Delivery, answer: Answer) -> None:
        logged = {
            "destination": self._name,
            "sop_instance": delivery.output.sop_instance_uid,
            "answer": answer.sentence,
        }
        if answer.ok:
            (log.info if answer.status == 0 else log.warning)("result sent", **logged)
        elif answer.refused:
            log.info("result refused", **logged)
        else:
            log.warning("result not sent", next_try=delivery.next_try_at.isoformat(), state=delivery.state, **logged)

    def _refuse(self, session: Session, delivery: Delivery) -> dict[str, str] | None:
        """End a delivery that would be refused for ever; what the log should say of it, when it is new."""
        sop_class = delivery.output.sop_class_uid
        known = {each.sop_class_uid for each in refused_classes(session, self._name)}
        move(delivery, DeliveryEvent.REFUSED)
        instead = fall_back(session, self._destination, delivery)
        if sop_class in known:
            return None
        return {"sop_class": UID(sop_class).name, "sends_instead": instead or "nothing"}

    def _put_off(self, session: Session, delivery: Delivery) -> None:
        if is_given_up(session, delivery, self._settings):
            move(delivery, DeliveryEvent.GAVE_UP)
            return
        delivery.next_try_at = now() + back_off(delivery.attempts, self._settings)


class Stoppable(Protocol):
    """What runs in a thread of its own, and ends when it is asked to."""

    def start(self) -> None:
        """Begin."""

    def ask_to_stop(self) -> None:
        """Begin to end."""

    def wait(self, timeout: float) -> None:
        """Wait for the end, at most so many seconds."""


def stop_couriers(couriers: Sequence[Stoppable], seconds: float) -> None:
    """Stop all couriers, within so many seconds for all of them."""
    deadline = time.monotonic() + seconds
    for courier in couriers:
        courier.ask_to_stop()
    for courier in couriers:
        courier.wait(deadline - time.monotonic())


def back_off(attempts: int, settings: DeliverySection) -> timedelta:
    """The wait after a number of failed tries: doubled each time, up to the configured longest."""
    doublings = min(attempts - 1, 30)
    return timedelta(seconds=min(settings.first_retry_seconds * 2.0**doublings, settings.max_retry_seconds))


def is_given_up(session: Session, delivery: Delivery, settings: DeliverySection) -> bool:
    """Whether a delivery has been tried for as long as is configured, whatever the clock was set to meanwhile."""
    longest, age = timedelta(days=settings.give_up_after_days), now() - delivery.created_at
    return age >= longest and age - overcounted(session, age) >= longest


def end_unknown(session: Session, known: Sequence[str]) -> int:
    """End the deliveries to destinations that the configuration no longer has; returns how many."""
    orphans = list(
        session.scalars(select(Delivery).where(Delivery.state.in_(OPEN_DELIVERIES), Delivery.destination.not_in(known)))
    )
    for delivery in orphans:
        move(delivery, DeliveryEvent.GAVE_UP)
        delivery.tries.append(
            DeliveryTry(at=now(), status=None, answer="the configuration no longer has this destination")
        )
        settle(session, delivery.output.series)
    return len(orphans)


def retry(session: Session, delivery: Delivery) -> None:
    """An admin takes a delivery up again, at once and for as long as at first.

    Raises:
        CtiqaError: it was sent, or a newer revision took its place, or its object was removed.
    """
    if not can_happen(delivery, DeliveryEvent.RETRY):
        raise CtiqaError(f"Delivery {delivery.id} is {delivery.state}; there is nothing to try again.")
    if delivery.output.state is not OutputState.KEPT:
        raise CtiqaError(
            f"The object of delivery {delivery.id} was removed {delivery.output.removed_at:%Y-%m-%d %H:%M} UTC, as "
            "outputs.keep_days has it; a destination that has it can send it on."
        )
    series = delivery.output.series
    if delivery.output.revision < series.revision:
        raise CtiqaError(f"Delivery {delivery.id} is of an older revision of its series; a newer one took its place.")
    move(delivery, DeliveryEvent.RETRY)
    delivery.attempts = 0
    delivery.created_at = delivery.next_try_at = now()
    if series.state in {SeriesState.UNDELIVERED, SeriesState.DELIVERED}:
        apply_event(session, series, SeriesEvent.RETRY, f"delivery {delivery.id} to {delivery.destination}")


def drop(session: Session, delivery: Delivery) -> None:
    """An admin ends a waiting delivery, or takes a failed or refused one off the list.

    Raises:
        CtiqaError: it neither waits nor has failed nor was refused.
    """
    if not can_happen(delivery, DeliveryEvent.DROPPED):
        raise CtiqaError(f"Delivery {delivery.id} is {delivery.state}; only waiting and failed ones can be dropped.")
    move(delivery, DeliveryEvent.DROPPED)
    settle(session, delivery.output.series)


def _due(destination: str) -> Select[Delivery]:
    return (
        select(Delivery)
        .where(
            Delivery.destination == destination,
            Delivery.state == DeliveryState.PENDING,
            Delivery.next_try_at <= now(),
        )
        .order_by(Delivery.next_try_at, Delivery.id)
        .limit(BATCH)
    )
