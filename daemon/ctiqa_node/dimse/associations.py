"""The record of associations: one row for each that a peer requested, with how it ended; and none is held for ever."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

from pynetdicom import evt
from pynetdicom.association import Association as PeerAssociation
from pynetdicom.events import EventHandlerType
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ABORT, A_P_ABORT
from sqlalchemy import update
from sqlalchemy.exc import DatabaseError

from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import AssociationOutcome
from ctiqa_node.db.tables import Association
from ctiqa_node.dimse.access import Admission, Caller, Gate, Refusal, plain_address
from ctiqa_node.dimse.contexts import only
from ctiqa_node.dimse.rejections import Rejections
from ctiqa_node.dimse.server import as_requested
from ctiqa_node.logs import get_logger

log = get_logger(__name__)

UNDECIDED = Refusal((2, 1, 1), "an error of ours, which the log tells")


@dataclass(slots=True)
class _Known:
    """What is known of one association."""

    row_id: int | None = None
    admission: Admission | None = None
    requested: bool = False
    refused: int = 0
    ended: bool = False
    detail: str = "aborted by this node"
    ended_by_us: str | None = None
    """Why, where it was not pynetdicom's decision."""


class AssociationRecord:
    """Lets associations in as the gate says, listens to what happens to them, and writes it down."""

    def __init__(self, gate: Gate, database: Database) -> None:
        self._gate = gate
        self.rejections = Rejections()
        self._database = database
        self._all: WeakKeyDictionary[PeerAssociation, _Known] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def handlers(self) -> list[EventHandlerType]:
        """What to bind to the server."""
        return [
            (evt.EVT_PDU_RECV, self._pdu_received),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_ESTABLISHED, self._established),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_RELEASED, self._released),
            (evt.EVT_ACSE_RECV, self._acse_received),
            (evt.EVT_ABORTED, self._aborted),
            (evt.EVT_CONN_CLOSE, self._disconnected),
        ]

    def row_id(self, association: PeerAssociation) -> int | None:
        """The row of an established association; None when it could not be written."""
        return self._known(association).row_id

    def admission(self, association: PeerAssociation) -> Admission | None:
        """The peer that an association was let in for."""
        return self._known(association).admission

    def turned_away(self, address: str, reason: str) -> None:
        """Somebody was turned away before there was an association; known by its address alone."""
        address = plain_address(address)
        silent = self.rejections.note(address, "", reason)
        if silent is not None:
            log.warning("connection turned away", address=address, reason=reason, not_logged_before=silent)

    def too_much(self, association: PeerAssociation, reason: str) -> None:
        """The peer sends more than is taken; its association is being ended."""
        self._known(association).ended_by_us = f"ended by this node: {reason}"
        silent = self.rejections.note(_address(association), calling(association), reason)
        if silent is not None:
            log.warning(
                "association ended", calling=calling(association), address=_address(association), reason=reason,
                not_logged_before=silent,
            )  # fmt: skip

    def count_refused(self, association: PeerAssociation) -> None:
        """One more instance was refused."""
        self._known(association).refused += 1

    def _known(self, association: PeerAssociation) -> _Known:
        with self._lock:
            return self._all.setdefault(association, _Known())

    def _pdu_received(self, event: evt.Event) -> None:
        if isinstance(event.pdu, A_ASSOCIATE_RQ):
            self._known(event.assoc).requested = True
            as_requested(event.assoc)

    def _disconnected(self, event: evt.Event) -> None:
        # Without a request nothing tells the association's thread that the connection is gone: it would wait for
        # acse_timeout and count as an association until then, so that a few port checks could fill the limit.
        if not self._known(event.assoc).requested:
            nothing = cast(Any, None)  # what its reader gets when time is up, too; the queue is not typed for it
            event.assoc.dul.to_user_queue.put(nothing)

    def _requested(self, event: evt.Event) -> None:
        peer = event.assoc
        decision = self._decide(peer)
        if isinstance(decision, Refusal):
            peer.acse.send_reject(*decision.answer)
            self._tell_rejected(peer, decision.sentence)
            peer.kill()
            return
        self._known(peer).admission = decision
        if decision.peer.sop_classes:
            peer.acceptor.supported_contexts = only(decision.peer.sop_classes, peer.acceptor.supported_contexts)

    def _decide(self, peer: PeerAssociation) -> Admission | Refusal:
        try:
            return self._gate.admit(Caller(_address(peer), _requested_calling(peer), _called(peer)), peer)
        except Exception:  # pynetdicom goes on after an error in here, and would let in whoever caused it
            log.exception("association undecided", address=_address(peer))
            return UNDECIDED

    def _established(self, event: evt.Event) -> None:
        self._known(event.assoc).row_id = self._write_down(event.assoc, AssociationOutcome.OPEN, None)
        admission = self._known(event.assoc).admission
        log.info(
            "association opened", calling=calling(event.assoc), address=_address(event.assoc),
            peer=admission and admission.peer.name,
        )  # fmt: skip

    def _rejected(self, event: evt.Event) -> None:
        """By pynetdicom itself: a user identity that it cannot check."""
        answer = event.assoc.acceptor.primitive
        self._tell_rejected(event.assoc, str(answer.reason_str) if answer is not None else "")

    def _tell_rejected(self, peer: PeerAssociation, reason: str) -> None:
        silent = self.rejections.note(_address(peer), _requested_calling(peer), reason)
        if silent is None:
            return
        self._write_down(peer, AssociationOutcome.REJECTED, reason)
        log.warning(
            "association rejected", calling=_requested_calling(peer), called=_called(peer), reason=reason,
            address=_address(peer), not_logged_before=silent,
        )  # fmt: skip

    def _released(self, event: evt.Event) -> None:
        self._finish(event.assoc, AssociationOutcome.RELEASED, None)

    def _acse_received(self, event: evt.Event) -> None:
        primitive = cast(Any, event).primitive  # an attribute that pynetdicom gives to this kind of event only
        if isinstance(primitive, A_ABORT):
            self._known(event.assoc).detail = "aborted by the peer"
        elif isinstance(primitive, A_P_ABORT):
            lost = not primitive.provider_reason
            self._known(event.assoc).detail = "the connection was lost" if lost else "the peer broke the protocol"

    def _aborted(self, event: evt.Event) -> None:
        known = self._known(event.assoc)
        self._finish(event.assoc, AssociationOutcome.ABORTED, known.ended_by_us or known.detail)

    def ended(self, association: PeerAssociation) -> None:
        """The thread of an association ends; if nothing has told how, the peer broke the protocol."""
        self._finish(association, AssociationOutcome.ABORTED, "the peer broke the protocol")

    def _finish(self, peer: PeerAssociation, outcome: AssociationOutcome, detail: str | None) -> None:
        known = self._known(peer)
        with self._lock:
            if known.row_id is None or known.ended:
                return
            known.ended = True
        log.info("association closed", calling=calling(peer), outcome=outcome, detail=detail, refused=known.refused)
        change = {"closed_at": now(), "outcome": outcome, "detail": detail, "refused": known.refused}
        try:
            with self._database.write() as session:
                session.execute(update(Association).where(Association.id == known.row_id).values(**change))
        except DatabaseError as error:
            log.error("the end of an association could not be recorded", error=str(error.orig))

    def _write_down(self, peer: PeerAssociation, outcome: AssociationOutcome, detail: str | None) -> int | None:
        row = Association(
            calling_ae_title=_requested_calling(peer),
            called_ae_title=_called(peer),
            address=_address(peer),
            port=peer.requestor.port or 0,
            opened_at=now(),
            closed_at=now() if outcome is AssociationOutcome.REJECTED else None,
            outcome=outcome,
            detail=detail,
        )
        try:
            with self._database.write() as session:
                session.add(row)
        except DatabaseError as error:
            # The instances that come over it are still kept; each carries its own row, or is refused with 0xA700.
            log.error("an association could not be recorded", error=str(error.orig))
            return None
        return row.id


def calling(association: PeerAssociation) -> str:
    """The AE title of the peer that requested the association."""
    return str(association.requestor.ae_title or "").strip()


def caller_of(association: PeerAssociation) -> Caller:
    """Who has an association with us."""
    return Caller(_address(association), calling(association), _called(association))


def _address(association: PeerAssociation) -> str:
    return plain_address(association.requestor.address or "")


def _requested_calling(association: PeerAssociation) -> str:
    """The same from the request itself, before pynetdicom has taken it over."""
    request = association.requestor.primitive
    return calling(association) if request is None else str(request.calling_ae_title or "").strip()


def _called(association: PeerAssociation) -> str:
    request = association.requestor.primitive
    return "" if request is None else str(request.called_ae_title or "").strip()
