"""A sender that asks whether its instances are kept, and hears the answer over one association or another."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StorageCommitmentPushModel

from support.peers import contexts_for

WELL_KNOWN = "1.2.840.10008.1.20.1.1"
SAME, OWN = "over the association of the request", "over one of the node's"


class Scanner:
    """Stores, asks, and keeps what it is told: the way it came, the transaction, and the reason of each instance."""

    def __init__(self, ae_title: str = "SCANNER") -> None:
        self.ae_title = ae_title
        self.heard: list[tuple[str, str, dict[str, int | None]]] = []
        self.answer = 0x0000
        """To a report over an association of the node's own."""
        self.port = 0
        self._ae = AE(ae_title=ae_title)
        self._ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)

    @contextmanager
    def listening(self) -> Iterator[Scanner]:
        """While it takes associations; on the same port as before, if there was one."""
        server = self._ae.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._hear, [OWN])]
        )
        self.port = server.socket.getsockname()[1]
        try:
            yield self
        finally:
            self._ae.shutdown()

    @contextmanager
    def associated(self, port: int, datasets: Sequence[Dataset] = ()) -> Iterator[Association]:
        """An association with the node for storing these and asking for commitment."""
        ae = AE(ae_title=self.ae_title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
        ae.requested_contexts = [
            *contexts_for(datasets), build_context(StorageCommitmentPushModel, ExplicitVRLittleEndian)
        ]  # fmt: skip
        association = ae.associate(
            "127.0.0.1", port, ae_title="CTIQA", evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._hear, [SAME])]
        )
        assert association.is_established
        try:
            yield association
        finally:
            association.release()

    def _hear(self, event: evt.Event, way: str) -> tuple[int, None]:
        said = event.event_information
        reasons: dict[str, int | None] = {
            str(item.ReferencedSOPInstanceUID): None for item in said.get("ReferencedSOPSequence", [])
        }
        for item in said.get("FailedSOPSequence", []):
            reasons[str(item.ReferencedSOPInstanceUID)] = int(item.FailureReason)
        assert event.event_type == (2 if "FailedSOPSequence" in said else 1)
        self.heard.append((way, str(said.TransactionUID), reasons))
        return (self.answer if way == OWN else 0x0000), None


def request_for(datasets: Sequence[Dataset], uid: str | None = None) -> Dataset:
    """The action information that asks for these."""
    information = Dataset()
    information.TransactionUID = uid or generate_uid()
    information.ReferencedSOPSequence = []
    for dataset in datasets:
        item = Dataset()
        item.ReferencedSOPClassUID = dataset.SOPClassUID
        item.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
        information.ReferencedSOPSequence.append(item)
    return information


def ask(association: Association, information: Dataset, *, action: int = 1, instance: str = WELL_KNOWN) -> int:
    """Ask; the status of the answer."""
    status, _ = association.send_n_action(information, action, StorageCommitmentPushModel, instance)
    return int(status.Status)


def pause(seconds: float) -> None:
    """Let some time pass."""
    threading.Event().wait(seconds)
