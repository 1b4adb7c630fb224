"""The Storage and Verification SCP: associations in, instances to `Ingest`, DIMSE statuses out."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from io import BytesIO
from typing import cast
from weakref import WeakKeyDictionary

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association as PeerAssociation
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import EventHandlerType
from pynetdicom.transport import ThreadedAssociationServer
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from ctiqa_node import __version__
from ctiqa_node.config import NodeSection
from ctiqa_node.db.session import Database
from ctiqa_node.db.tables import Association, AssociationOutcome, now
from ctiqa_node.dicom import ReceivedInstance
from ctiqa_node.dimse import contexts
from ctiqa_node.errors import Rejected, RetryLater, StateError
from ctiqa_node.ingest import Ingest, MismatchedDataset, Outcome
from ctiqa_node.logs import get_logger

log = get_logger(__name__)

# PS3.4 Table B.2-1
SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DATASET_MISMATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
IMPLEMENTATION_CLASS_UID = "2.25.66123906432582014055882428712596338721"


@dataclass(slots=True)
class _Open:
    """What is known of an association that is open."""

    row_id: int | None = None
    refused: int = 0
    outcome: AssociationOutcome = AssociationOutcome.OPEN


class StorageScp:
    """Listens, and answers C-STORE and C-ECHO. `start` binds the port, `stop` lets what is being received end well."""

    def __init__(self, settings: NodeSection, database: Database, ingest: Ingest) -> None:
        self._settings = settings
        self._database = database
        self._ingest = ingest
        self._open: WeakKeyDictionary[PeerAssociation, _Open] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._server: ThreadedAssociationServer | None = None
        self._ae = _application_entity(settings)

    @property
    def port(self) -> int:
        """The port that is listened on (of interest where 0 was configured)."""
        assert self._server is not None
        assert self._server.socket is not None
        return int(self._server.socket.getsockname()[1])

    def start(self) -> None:
        """Bind the port and answer from now on.

        Raises:
            StateError: the address or port cannot be had.
        """
        address = (self._settings.address, self._settings.port)
        handlers: list[EventHandlerType] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, self._echo),
            (evt.EVT_ESTABLISHED, self._established),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_RELEASED, self._released),
            (evt.EVT_ABORTED, self._aborted),
            (evt.EVT_CONN_CLOSE, self._closed),
        ]
        try:
            self._server = self._ae.start_server(address, block=False, evt_handlers=handlers)
        except OSError as error:
            raise StateError(
                f"Cannot listen on {address[0]}:{address[1]}: {error.strerror}. Another program may have the port "
                "(node.port), or it is below 1024 and needs a capability."
            ) from error

    def stop(self) -> None:
        """Take no new associations, wait for the open ones to end, then abort those that do not."""
        if self._server is None:
            return
        self._server.shutdown()
        deadline = time.monotonic() + self._settings.shutdown_seconds
        while self._ae.active_associations and time.monotonic() < deadline:
            time.sleep(0.05)
        for association in self._ae.active_associations:
            association.abort()
        self._ae.shutdown()

    def _store(self, event: evt.Event) -> Dataset:
        request = cast(C_STORE, event.request)
        part10 = event.encoded_dataset()
        peers_bytes = cast(BytesIO, request.DataSet).getbuffer().nbytes
        received = ReceivedInstance(
            part10=part10,
            dataset_offset=len(part10) - peers_bytes,
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
            transfer_syntax_uid=str(event.context.transfer_syntax),
            association_id=self._known(event.assoc).row_id,
        )
        try:
            outcome = self._ingest.receive(received)
        except RetryLater as error:
            return self._refuse(event, received, OUT_OF_RESOURCES, error)
        except MismatchedDataset as error:
            return self._refuse(event, received, DATASET_MISMATCH, error)
        except Rejected as error:
            return self._refuse(event, received, CANNOT_UNDERSTAND, error)
        if outcome is not Outcome.KEPT:
            log.info("instance came before", sop_instance=received.sop_instance_uid, outcome=outcome)
        return _status(SUCCESS)

    def _refuse(self, event: evt.Event, received: ReceivedInstance, status: int, error: Exception) -> Dataset:
        self._known(event.assoc).refused += 1
        log.warning(
            "instance refused", status=f"0x{status:04X}", reason=str(error), sop_instance=received.sop_instance_uid,
            calling=_calling(event.assoc), address=event.assoc.requestor.address,
        )  # fmt: skip
        return _status(status, str(error))

    def _echo(self, event: evt.Event) -> int:
        log.info("verified", calling=_calling(event.assoc), address=event.assoc.requestor.address)
        return SUCCESS

    def _known(self, association: PeerAssociation) -> _Open:
        with self._lock:
            return self._open.setdefault(association, _Open())

    def _established(self, event: evt.Event) -> None:
        known = self._known(event.assoc)
        known.row_id = self._write_down(event.assoc, AssociationOutcome.OPEN, None)
        log.info("association opened", calling=_calling(event.assoc), address=event.assoc.requestor.address)

    def _rejected(self, event: evt.Event) -> None:
        reason = self._rejection(event.assoc)
        self._write_down(event.assoc, AssociationOutcome.REJECTED, reason)
        log.warning(
            "association rejected", calling=_calling(event.assoc), called=_called(event.assoc), reason=reason,
            address=event.assoc.requestor.address,
        )  # fmt: skip

    def _released(self, event: evt.Event) -> None:
        self._finish(event.assoc, AssociationOutcome.RELEASED, None)

    def _aborted(self, event: evt.Event) -> None:
        self._finish(event.assoc, AssociationOutcome.ABORTED, "aborted by one side")

    def _closed(self, event: evt.Event) -> None:
        if self._known(event.assoc).outcome is AssociationOutcome.OPEN:
            self._finish(event.assoc, AssociationOutcome.ABORTED, "the connection was lost")

    def _finish(self, peer: PeerAssociation, outcome: AssociationOutcome, detail: str | None) -> None:
        known = self._known(peer)
        if known.row_id is None or known.outcome is AssociationOutcome.RELEASED:
            return
        known.outcome = outcome
        log.info("association closed", calling=_calling(peer), outcome=outcome, refused=known.refused)
        change = {"closed_at": now(), "outcome": outcome, "detail": detail, "refused": known.refused}
        try:
            with self._database.write() as session:
                session.execute(update(Association).where(Association.id == known.row_id).values(**change))
        except OperationalError as error:
            log.error("the end of an association could not be recorded", error=str(error.orig))

    def _rejection(self, peer: PeerAssociation) -> str:
        """Why the association was rejected: the same checks that pynetdicom made, in words."""
        if self._settings.require_called_ae_title and _called(peer) != self._settings.ae_title:
            return f"called AE title not recognised (ours is {self._settings.ae_title})"
        if self._settings.allow_calling and _calling(peer) not in self._settings.allow_calling:
            return "calling AE title not recognised (node.allow_calling)"
        return f"local limit exceeded (node.max_associations is {self._settings.max_associations})"

    def _write_down(self, peer: PeerAssociation, outcome: AssociationOutcome, detail: str | None) -> int | None:
        row = Association(
            calling_ae_title=_calling(peer),
            called_ae_title=_called(peer),
            address=peer.requestor.address or "",
            port=peer.requestor.port or 0,
            opened_at=now(),
            closed_at=now() if outcome is AssociationOutcome.REJECTED else None,
            outcome=outcome,
            detail=detail,
        )
        try:
            with self._database.write() as session:
                session.add(row)
        except OperationalError as error:
            # The instances that come over it are still kept; each carries its own row, or is refused with 0xA700.
            log.error("an association could not be recorded", error=str(error.orig))
            return None
        return row.id


def _application_entity(settings: NodeSection) -> AE:
    ae = AE(ae_title=settings.ae_title)
    ae.supported_contexts = contexts.accepted()
    ae.maximum_associations = settings.max_associations
    ae.maximum_pdu_size = settings.max_pdu_bytes
    ae.require_called_aet = settings.require_called_ae_title
    ae.require_calling_aet = list(settings.allow_calling)
    ae.acse_timeout = settings.acse_timeout_seconds
    ae.dimse_timeout = settings.dimse_timeout_seconds
    ae.network_timeout = settings.network_timeout_seconds
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = f"CTIQA_{__version__}"[:16]
    return ae


def _calling(association: PeerAssociation) -> str:
    return str(association.requestor.ae_title or "").strip()


def _called(association: PeerAssociation) -> str:
    request = association.requestor.primitive
    return "" if request is None else str(request.called_ae_title or "").strip()


def _status(code: int, comment: str | None = None) -> Dataset:
    """A C-STORE response; the comment is cut to what Error Comment (0000,0902) holds."""
    status = Dataset()
    status.Status = code
    if comment is not None:
        status.ErrorComment = comment.encode("ascii", "replace").decode("ascii").replace("\\", "/")[:64]
    return status
