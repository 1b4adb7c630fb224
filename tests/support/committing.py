"""An archive that is asked to commit, and answers as told: soon or late, over which association, or never."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import StrEnum

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StorageCommitmentPushModel

from support.peers import Archive

WELL_KNOWN = "1.2.840.10008.1.20.1.1"


class Way(StrEnum):
    """How a report goes back."""

    SAME = "over the association of the request"
    NEW = "over an association of its own"
    NEVER = "not at all"


class CommittingArchive(Archive):
    """Commits what it keeps, save what `reasons` has a failure reason for, by SOP Instance UID or for all ("*")."""

    def __init__(self, way: Way, report_to: Callable[[], int] | None = None, *, offers: bool = True) -> None:
        super().__init__()
        self.way = way
        self.reasons: dict[str, int] = {}
        self.answer = 0x0000
        """To each N-ACTION."""
        self.asked: list[Dataset] = []
        self.reported: list[int | None] = []
        """What it was answered."""
        self.may_report = threading.Event()
        self.may_report.set()
        self._report_to = report_to
        self.proposes_role = True
        if offers:
            context = build_context(StorageCommitmentPushModel, ExplicitVRLittleEndian)
            self._ae.supported_contexts = [*self._ae.supported_contexts, context]
        self.more_handlers = [(evt.EVT_N_ACTION, self._action)]

    def stop(self) -> None:
        self.may_report.set()
        super().stop()

    def _action(self, event: evt.Event) -> tuple[int, None]:
        information = event.action_information
        self.asked.append(information)
        if self.answer == 0x0000 and self.way is not Way.NEVER:
            threading.Thread(target=self._report, args=(event.assoc, information), daemon=True).start()
        return self.answer, None

    def report_of(self, information: Dataset) -> tuple[Dataset, int]:
        """What it says to a request, and the event type."""
        report, kept, failed = Dataset(), [], []
        report.TransactionUID = information.TransactionUID
        for item in information.ReferencedSOPSequence:
            reason = self.reasons.get(item.ReferencedSOPInstanceUID, self.reasons.get("*"))
            if reason is None and item.ReferencedSOPInstanceUID not in self.kept:
                reason = 0x0112
            if reason is not None:
                item.FailureReason = reason
            (kept if reason is None else failed).append(item)
        if kept:
            report.ReferencedSOPSequence = kept
        if failed:
            report.FailedSOPSequence = failed
        return report, 2 if failed else 1

    def _report(self, association: Association, information: Dataset) -> None:
        self.may_report.wait(30)
        if self.way is Way.SAME:
            # The response to the N-ACTION goes first: it is sent when the handler has returned.
            threading.Event().wait(0.1)
            self._send(association, information)
        else:
            self.report_anew(information)

    def report_anew(self, information: Dataset) -> None:
        """Report over an association of our own."""
        assert self._report_to is not None
        ae = AE(ae_title=self.ae_title)
        ae.add_requested_context(StorageCommitmentPushModel)
        roles = [build_role(StorageCommitmentPushModel, scp_role=True)] if self.proposes_role else []
        association = ae.associate("127.0.0.1", self._report_to(), ae_title="CTIQA", ext_neg=roles)
        if not association.is_established:
            self.reported.append(None)
            return
        self._send(association, information)
        association.release()

    def _send(self, association: Association, information: Dataset) -> None:
        for context in association.accepted_contexts:
            context._as_scp = True
        report, kind = self.report_of(information)
        status, _ = association.send_n_event_report(report, kind, StorageCommitmentPushModel, WELL_KNOWN)
        self.reported.append(status.get("Status"))
