"""The Storage and Verification SCP: associations in, instances to `Ingest`, DIMSE statuses out."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import cast

from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import EventHandlerType

from ctiqa_node import __version__
from ctiqa_node.arrivals import Outcome
from ctiqa_node.config import NodeSection
from ctiqa_node.db.session import Database
from ctiqa_node.dicom import ReceivedInstance
from ctiqa_node.dimse import contexts
from ctiqa_node.dimse.access import Congestion, Gate, never_congested
from ctiqa_node.dimse.associations import AssociationRecord, calling
from ctiqa_node.dimse.commitment_scp import CommitmentScp
from ctiqa_node.dimse.part10 import part10_header
from ctiqa_node.dimse.server import NodeServer
from ctiqa_node.dimse.tls import server_context
from ctiqa_node.errors import Rejected, RetryLater, StateError
from ctiqa_node.ingest import Ingest, MismatchedDataset
from ctiqa_node.logs import get_logger
from ctiqa_node.network_settings import Peer, TlsSection

log = get_logger(__name__)

# PS3.4 Table B.2-1
SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DATASET_MISMATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
# PS3.7 C.5.6
PROCESSING_FAILURE = 0x0110
NO_TLS = TlsSection()
NO_COMMITMENT = CommitmentScp()
UNLIMITED = 1 << 30
RATE_PATIENCE_SECONDS = 10.0
"""A peer that sends faster than it may is slowed down by at most this long an instance, and then refused."""
IMPLEMENTATION_CLASS_UID = "2.25.66123906432582014055882428712596338721"
IMPLEMENTATION_VERSION = f"CTIQA_{__version__}"[:16]


class StorageScp:
    """Listens, and answers C-STORE and C-ECHO. `start` binds the port, `stop` lets what is being received end well."""

    def __init__(
        self,
        settings: NodeSection,
        peers: Sequence[Peer],
        database: Database,
        ingest: Ingest,
        tls: TlsSection = NO_TLS,
        commitment: CommitmentScp = NO_COMMITMENT,
        congestion: Congestion = never_congested,
    ) -> None:
        self._settings = settings
        self._associations = AssociationRecord(Gate(settings, peers, congestion=congestion), database)
        self.rejections = self._associations.rejections
        """Who was turned away."""
        self._stopping = threading.Event()
        self._ingest = ingest
        self._server: NodeServer | None = None
        self._tls = tls
        self._commitment = commitment
        self._ae = _application_entity(settings)
        self._ae.supported_contexts = [*contexts.accepted(), *commitment.contexts()]

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
            ConfigError: a file of the `tls` section cannot be used.
        """
        _config.LOG_HANDLER_LEVEL = "none"  # it would word a text for each PDU and message, which `logs` shows nobody
        context = server_context(self._tls)
        address = (self._settings.address, self._settings.port)
        handlers: list[EventHandlerType] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, self._echo),
            *self._commitment.handlers(),
            *self._associations.handlers(),
        ]
        try:
            self._server = cast(
                NodeServer,
                self._ae.make_server(
                    address, evt_handlers=handlers, server_class=NodeServer, settings=self._settings, tls=context,
                    turned_away=self._associations.turned_away, too_much=self._associations.too_much,
                    ended=self._associations.ended,
                ),
            )  # fmt: skip
        except OSError as error:
            raise StateError(
                f"Cannot listen on {address[0]}:{address[1]}: {error.strerror}. Another program may have the port "
                "(node.port), or it is below 1024 and needs a capability."
            ) from error
        threading.Thread(target=self._server.serve_forever, name="storage-scp", daemon=True).start()

    def stop(self) -> None:
        """Take no new associations, wait for the open ones to end, then abort those that do not."""
        if self._server is None:
            return
        self._stopping.set()
        server, self._server = self._server, None
        server.shutdown()
        deadline = time.monotonic() + self._settings.shutdown_seconds
        while self._ae.active_associations and time.monotonic() < deadline:
            time.sleep(0.05)
        for association in self._ae.active_associations:
            association.abort()
        self._ae.shutdown()

    def _store(self, event: evt.Event) -> Dataset:
        request = cast(C_STORE, event.request)
        sop_instance = str(request.AffectedSOPInstanceUID)
        try:
            self._keep_to_rate(event)
            outcome = self._ingest.receive(self._received(event, request))
        except RetryLater as error:
            return self._refuse(event, sop_instance, OUT_OF_RESOURCES, error)
        except MismatchedDataset as error:
            return self._refuse(event, sop_instance, DATASET_MISMATCH, error)
        except Rejected as error:
            return self._refuse(event, sop_instance, CANNOT_UNDERSTAND, error)
        except Exception as error:  # pynetdicom would answer for us, and the log would not know
            log.exception("reception failed", sop_instance=sop_instance)
            return self._refuse(event, sop_instance, PROCESSING_FAILURE, error)
        if outcome is not Outcome.KEPT:
            log.info("instance came before", sop_instance=sop_instance, outcome=outcome)
        return _status(SUCCESS)

    def _keep_to_rate(self, event: evt.Event) -> None:
        """Wait until the peer may send one more; its next instance waits for our answer to this one.

        Raises:
            RetryLater: it is so much too fast that waiting would run into its timeouts.
        """
        admission = self._associations.admission(event.assoc)
        if admission is None:
            return
        wait = admission.wait_for_instance(RATE_PATIENCE_SECONDS)
        if wait is None:
            peer = admission.peer
            raise RetryLater(f"Peer {peer.name} sends more than {peer.instances_per_minute} instances a minute.")
        self._stopping.wait(wait)

    def _received(self, event: evt.Event, request: C_STORE) -> ReceivedInstance:
        named = str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)
        transfer_syntax = str(event.context.transfer_syntax)
        meta = part10_header(*named, transfer_syntax, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION)
        dataset = request.DataSet.getbuffer() if request.DataSet is not None else b""
        return ReceivedInstance(
            part10=b"".join((meta, dataset)),
            dataset_offset=len(meta),
            sop_class_uid=named[0],
            sop_instance_uid=named[1],
            transfer_syntax_uid=transfer_syntax,
            association_id=self._associations.row_id(event.assoc),
        )

    def _refuse(self, event: evt.Event, sop_instance: str, status: int, error: Exception) -> Dataset:
        self._associations.count_refused(event.assoc)
        log.warning(
            "instance refused", status=f"0x{status:04X}", reason=str(error), sop_instance=sop_instance,
            calling=calling(event.assoc), address=event.assoc.requestor.address,
        )  # fmt: skip
        return _status(status, str(error))

    def _echo(self, event: evt.Event) -> int:
        log.info("verified", calling=calling(event.assoc), address=event.assoc.requestor.address)
        return SUCCESS


def _application_entity(settings: NodeSection) -> AE:
    ae = AE(ae_title=settings.ae_title)
    # `access.Gate` decides on who and how many: pynetdicom would count connections that never asked for anything.
    ae.maximum_associations = UNLIMITED
    ae.maximum_pdu_size = settings.max_pdu_bytes
    ae.acse_timeout = settings.acse_timeout_seconds
    ae.dimse_timeout = settings.dimse_timeout_seconds
    ae.network_timeout = settings.network_timeout_seconds
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION
    return ae


def _status(code: int, comment: str | None = None) -> Dataset:
    """A C-STORE response; the comment is cut to what Error Comment (0000,0902) holds."""
    status = Dataset()
    status.Status = code
    if comment is not None:
        status.ErrorComment = comment.encode("ascii", "replace").decode("ascii").replace("\\", "/")[:64]
    return status
