"""Peers of the node: an SCU that can also send what no SCU should, and an archive that answers as told."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import EventHandlerType
from pynetdicom.presentation import AllStoragePresentationContexts, PresentationContext, build_context
from pynetdicom.sop_class import Verification


def request(
    port: int,
    contexts: Sequence[PresentationContext] = (),
    *,
    calling: str = "SCANNER",
    called: str = "CTIQA",
    source: str = "127.0.0.1",
    host: str = "127.0.0.1",
) -> Association:
    """Ask for an association with the node on this machine; whether it is established is the caller's to look at.

    `source` is the address to call from: any of 127.0.0.0/8, or ::1 for a `host` of the same kind.
    """
    ae = AE(ae_title=calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
    ae.requested_contexts = list(contexts) or [build_context(CTImageStorage, ExplicitVRLittleEndian)]
    return ae.associate(host, port, ae_title=called, bind_address=(source, 0))


@contextmanager
def associated(
    port: int, contexts: Sequence[PresentationContext] = (), *, calling: str = "SCANNER"
) -> Iterator[Association]:
    """An association that is released at the end."""
    association = request(port, contexts, calling=calling)
    assert association.is_established
    try:
        yield association
    finally:
        association.release()


def contexts_for(datasets: Sequence[Dataset]) -> list[PresentationContext]:
    """What has to be negotiated for these datasets, each in its own transfer syntax."""
    kinds = {(d.file_meta.MediaStorageSOPClassUID, d.file_meta.TransferSyntaxUID) for d in datasets}
    return [build_context(sop_class, syntax) for sop_class, syntax in sorted(kinds)]


def store(port: int, datasets: Sequence[Dataset], *, calling: str = "SCANNER") -> list[int]:
    """Send datasets over one association; the statuses that came back."""
    with associated(port, contexts_for(datasets), calling=calling) as association:
        return [int(association.send_c_store(dataset).Status) for dataset in datasets]


def store_encoded(
    association: Association, encoded: bytes | None, sop_instance_uid: str, sop_class_uid: str = CTImageStorage
) -> Dataset | C_STORE:
    """Send bytes of any kind as the dataset of a C-STORE request; the response as it came."""
    primitive = C_STORE()
    primitive.MessageID = 1
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = UID(sop_class_uid), UID(sop_instance_uid)
    primitive.Priority = 2
    if encoded is not None:
        primitive.DataSet = BytesIO(encoded)
    context = association.accepted_contexts[0]
    association._reactor_checkpoint.clear()
    try:
        association.dimse.send_msg(primitive, context.context_id)
        _, response = association.dimse.get_msg(block=True)
    finally:
        association._reactor_checkpoint.set()
    assert isinstance(response, C_STORE), "no answer in time"
    return response


class Archive:
    """A Storage SCP that keeps what it gets, unless told to answer otherwise for a SOP Class."""

    def __init__(
        self,
        ae_title: str = "ARCHIVE",
        refused_classes: Sequence[str] = (),
        abort_at: str | None = None,
        transfer_syntaxes: Sequence[str] = (ImplicitVRLittleEndian, ExplicitVRLittleEndian),
    ) -> None:
        self.ae_title = ae_title
        self.answers: dict[str, int] = {}
        self.abort_at = abort_at
        """A SOP Class at which it aborts the association."""
        self.kept: list[str] = []
        self.kept_classes: list[str] = []
        self.kept_syntaxes: list[str] = []
        self.requests: list[str] = []
        self.callers: list[str] = []
        self.proposed: list[str] = []
        """The SOP Classes of the Presentation Contexts that were proposed to it."""
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.tls: ssl.SSLContext | None = None
        """What `start` listens with."""
        self._ae = AE(ae_title=ae_title)
        self._ae.require_called_aet = True
        self._ae.supported_contexts = [
            build_context(context.abstract_syntax, list(transfer_syntaxes))
            for context in AllStoragePresentationContexts
            if context.abstract_syntax not in refused_classes
        ]
        self._ae.add_supported_context(Verification)
        self.port = 0
        self.more_handlers: list[EventHandlerType] = []

    def start(self) -> Archive:
        """Listen, on the same port as before if there was one."""
        handlers = [
            (evt.EVT_C_STORE, self._store), (evt.EVT_ESTABLISHED, self._established), *self.more_handlers
        ]  # fmt: skip
        server = self._ae.start_server(
            ("127.0.0.1", self.port), block=False, ssl_context=self.tls, evt_handlers=handlers
        )
        self.port = server.socket.getsockname()[1]
        return self

    def stop(self) -> None:
        self._ae.shutdown()

    def __enter__(self) -> Archive:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.may_answer.set()
        self.stop()

    def _established(self, event: evt.Event) -> None:
        self.callers.append(str(event.assoc.requestor.ae_title))
        self.proposed += [str(context.abstract_syntax) for context in event.assoc.requestor.requested_contexts]

    def _store(self, event: evt.Event) -> int:
        sop_class = str(event.request.AffectedSOPClassUID)
        self.requests.append(str(event.request.AffectedSOPInstanceUID))
        self.may_answer.wait(20)
        if sop_class == self.abort_at:
            event.assoc.abort()
            return 0x0000
        status = self.answers.get(sop_class, 0x0000)
        if status == 0x0000:
            self.kept.append(str(event.request.AffectedSOPInstanceUID))
            self.kept_classes.append(sop_class)
            self.kept_syntaxes.append(str(event.context.transfer_syntax))
        return status
