"""Storage Commitment Push Model (PS3.4 Annex J): what is asked and answered, as datasets and over associations."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_role, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]  # made at import time

from ctiqa_node.dicom import ApplicationEntity, is_uid
from ctiqa_node.dimse.storage_scu import NoAssociation, Timeout, application_entity, associate
from ctiqa_node.dimse.tls import ClientTls
from ctiqa_node.errors import Rejected

WELL_KNOWN_INSTANCE = "1.2.840.10008.1.20.1.1"
REQUEST_COMMITMENT = 1
ALL_COMMITTED, SOME_FAILED = 1, 2
"""Action type and event types (PS3.4 J.3.2, J.3.3)."""
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
MOST_REFERENCES = 100_000
LOOK_SECONDS = 0.05
UNREADABLE = (ValueError, TypeError, AttributeError, KeyError, IndexError, EOFError, OverflowError, NotImplementedError)
"""What pydicom raises, now or when an element is looked at, over bytes that are no dataset."""

# Failure reasons (PS3.3 C.14.1.1)
PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
RESOURCE_LIMITATION = 0x0213
CLASS_NOT_SUPPORTED = 0x0122
CLASS_INSTANCE_CONFLICT = 0x0119
DUPLICATE_TRANSACTION = 0x0131

_REASONS = {
    PROCESSING_FAILURE: "processing failure",
    NO_SUCH_INSTANCE: "no such object instance",
    RESOURCE_LIMITATION: "resource limitation",
    CLASS_NOT_SUPPORTED: "it commits no objects of this SOP Class",
    CLASS_INSTANCE_CONFLICT: "it has the instance as one of another SOP Class",
    DUPLICATE_TRANSACTION: "duplicate Transaction UID",
}


@dataclass(frozen=True, slots=True)
class Reference:
    """One SOP Instance that is asked for or answered about."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Request:
    """What an N-ACTION asks for."""

    transaction_uid: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What an N-EVENT-REPORT says: which instances are committed, and the reason for each that is not."""

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: Mapping[Reference, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Said:
    """What a peer answered to N-ACTION or N-EVENT-REPORT: a status where there was one, and a sentence."""

    ok: bool
    status: int | None
    sentence: str


def context() -> PresentationContext:
    """What our SCP accepts: whoever asks us is SCU, and an archive that reports to us may say that it is SCP."""
    made = build_context(StorageCommitmentPushModel, list(SYNTAXES))
    made.scu_role = made.scp_role = True
    return made


def reason_in_words(code: int) -> str:
    """A failure reason, as a sentence goes on after "does not commit"."""
    return f"0x{code:04X}, {_REASONS.get(code, 'a reason that the standard does not have')}"


def read_request(information: Dataset) -> Request:
    """The action information of an N-ACTION (PS3.4 Table J.3-1).

    Raises:
        Rejected: it has no Transaction UID, or names no instance, or more than can be answered.
    """
    found = _references(information, "ReferencedSOPSequence")
    if not found:
        raise Rejected("The Referenced SOP Sequence names no SOP Instance.")
    if len(found) > MOST_REFERENCES:
        raise Rejected(f"The Referenced SOP Sequence has more than {MOST_REFERENCES} items.")
    return Request(_transaction(information), tuple(dict.fromkeys(found)))


def read_report(information: Dataset) -> Report:
    """The event information of an N-EVENT-REPORT (PS3.4 Table J.3-2).

    Raises:
        Rejected: it has no Transaction UID, or an item without UIDs.
    """
    failed = {}
    for item in information.get("FailedSOPSequence") or ():
        failed[_reference(item)] = int(item.get("FailureReason") or PROCESSING_FAILURE)
    committed = _references(information, "ReferencedSOPSequence")
    return Report(_transaction(information), tuple(each for each in committed if each not in failed), failed)


def ask(
    peer: ApplicationEntity,
    calling: str,
    request: Request,
    timeout: Timeout,
    tls: ClientTls | None,
    told: Callable[[Said], None],
    on_report: Callable[[Report], int],
    linger: Callable[[], bool],
) -> None:
    """Ask a peer to commit; `told` is called with what became of that.

    While `linger` says so, and the peer keeps the association, its report may come over it: `on_report` takes it, in
    another thread, and returns the status to answer it with.
    """
    ae = application_entity(calling, timeout)
    ae.requested_contexts = [build_context(StorageCommitmentPushModel, list(SYNTAXES))]
    handlers = [(evt.EVT_N_EVENT_REPORT, lambda event: answer_report(event, on_report))]
    association = associate(ae, peer, tls, handlers)
    if isinstance(association, NoAssociation):
        offers_none = f"{peer} does not offer Storage Commitment"
        told(Said(False, None, offers_none if association.refused else association.sentence))
        return
    try:
        said = _action(association, peer, request)
        told(said)
        pause = threading.Event()
        while said.ok and association.is_established and linger():
            pause.wait(LOOK_SECONDS)
    finally:
        association.release()


def _action(association: Association, peer: ApplicationEntity, request: Request) -> Said:
    information = Dataset()
    information.TransactionUID = request.transaction_uid
    information.ReferencedSOPSequence = [_item(each) for each in request.references]
    try:
        status, _ = association.send_n_action(
            information, REQUEST_COMMITMENT, StorageCommitmentPushModel, WELL_KNOWN_INSTANCE
        )
    except (ValueError, RuntimeError) as error:
        return Said(False, None, f"{peer} was not asked to commit: {error}")
    return _said(status, f"{peer} was asked to commit", f"{peer} cannot be asked to commit")


def send_report(peer: ApplicationEntity, calling: str, report: Report, timeout: Timeout, tls: ClientTls | None) -> Said:
    """Report to a peer over an association of its own, in which we are the SCP."""
    ae = application_entity(calling, timeout)
    ae.requested_contexts = [build_context(StorageCommitmentPushModel, list(SYNTAXES))]
    role = build_role(StorageCommitmentPushModel, scp_role=True)
    association = associate(ae, peer, tls, (), [role])
    if isinstance(association, NoAssociation):
        return Said(False, None, association.sentence)
    try:
        return report_over(association, str(peer), report)
    finally:
        association.release()


def report_over(association: Association, peer: str, report: Report) -> Said:
    """Report over an association that is established."""
    for each in association.accepted_contexts:
        # A peer that accepts without a word on roles takes reports all the same; PS3.7 D.3.3.4 has it answer.
        if each.abstract_syntax == StorageCommitmentPushModel:
            each._as_scp = True  # noqa: SLF001  # send_n_event_report looks for nothing else
    information = Dataset()
    information.TransactionUID = report.transaction_uid
    if report.committed:
        information.ReferencedSOPSequence = [_item(each) for each in report.committed]
    if report.failed:
        information.FailedSOPSequence = [_item(each, reason) for each, reason in report.failed.items()]
    kind = SOME_FAILED if report.failed else ALL_COMMITTED
    try:
        status, _ = association.send_n_event_report(information, kind, StorageCommitmentPushModel, WELL_KNOWN_INSTANCE)
    except (ValueError, RuntimeError) as error:
        return Said(False, None, f"{peer} could not be told: {error}")
    return _said(status, f"{peer} was told", f"{peer} does not take our report")


def answer_report(event: evt.Event, on_report: Callable[[Report], int]) -> tuple[int, None]:
    """The handler of an N-EVENT-REPORT: reads it, hands it on, and answers."""
    try:
        report = read_report(event.event_information)
    except (Rejected, *UNREADABLE):
        return 0x0115, None  # invalid argument value (PS3.7 C.5.4)
    return on_report(report), None


def _said(status: Dataset, well: str, badly: str) -> Said:
    code = getattr(status, "Status", None)
    if code is None:
        return Said(False, None, f"{badly}: no answer in time, or it ended the association")
    comment = f" ({status.ErrorComment})" if status.get("ErrorComment") else ""
    if code == 0 or code >> 12 == 0xB:
        return Said(True, code, f"{well}{comment}")
    return Said(False, code, f"{badly}: Failure 0x{code:04X}{comment}")


def _transaction(information: Dataset) -> str:
    uid = str(information.get("TransactionUID") or "")
    if not is_uid(uid):
        raise Rejected("The Transaction UID is missing, or no UID.")
    return uid


def _references(information: Dataset, keyword: str) -> Sequence[Reference]:
    return [_reference(item) for item in information.get(keyword) or ()]


def _reference(item: Dataset) -> Reference:
    found = Reference(str(item.get("ReferencedSOPClassUID") or ""), str(item.get("ReferencedSOPInstanceUID") or ""))
    if not is_uid(found.sop_class_uid) or not is_uid(found.sop_instance_uid):
        raise Rejected("An item names no SOP Class or no SOP Instance.")
    return found


def _item(reference: Reference, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    if reason is not None:
        item.FailureReason = reason
    return item
