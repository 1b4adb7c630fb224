"""Asking an archive what it takes, and whether it has an object: for `doctor`."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at import time
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.dimse.storage_scu import NoAssociation, application_entity, associate
from ctiqa_node.dimse.tls import ClientTls

FIND_PAUSE_SECONDS = 0.5
PENDING = (0xFF00, 0xFF01)
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What an archive accepts: transfer syntaxes by SOP Class; `trouble` when there was no association."""

    trouble: str | None
    secured: str = ""
    """Whether TLS is spoken, in words."""
    certificate_days: float | None = None
    """How long the archive's certificate is still good for, where it showed one."""
    accepted: dict[str, list[str]] = field(default_factory=dict)
    verified: bool | None = None
    """The answer to C-ECHO; None when it is not offered."""
    finds: bool = False
    commits: bool = False
    """Whether it offers Storage Commitment."""


@dataclass(frozen=True, slots=True)
class SentObject:
    """An object, and where it belongs."""

    path: Path
    study_uid: str
    series_uid: str
    sop_instance_uid: str


def inspect(
    peer: ApplicationEntity, calling: str, sop_classes: Sequence[str], seconds: float, tls: ClientTls | None
) -> Inspection:
    """Associate, offer all SOP Classes in each transfer syntax, and verify."""
    ae = application_entity(calling, seconds)
    services = (Verification, StudyRootQueryRetrieveInformationModelFind, StorageCommitmentPushModel)
    ae.requested_contexts = [
        build_context(each, syntax) for each in (*services, *dict.fromkeys(sop_classes)) for syntax in SYNTAXES
    ]
    association = associate(ae, peer, tls)
    if isinstance(association, NoAssociation):
        return Inspection(association.sentence)
    accepted: dict[str, list[str]] = {}
    for context in association.accepted_contexts:
        accepted.setdefault(str(context.abstract_syntax), []).append(str(context.transfer_syntax[0]))
    verified = None
    if Verification in accepted:
        verified = getattr(association.send_c_echo(), "Status", None) == 0
    association.release()
    finds = StudyRootQueryRetrieveInformationModelFind in accepted
    commits = StorageCommitmentPushModel in accepted
    return Inspection(None, *_secured(peer, tls, seconds), accepted, verified, finds, commits)


def _secured(peer: ApplicationEntity, tls: ClientTls | None, seconds: float) -> tuple[str, float | None]:
    """How the connection is secured, and for how many days the archive's certificate is still good.

    A connection of its own looks, since pynetdicom keeps its socket to itself.
    """
    if tls is None:
        return "without TLS, as configured", None
    try:
        with (
            socket.create_connection((peer.host, peer.port), seconds) as connection,
            tls.context.wrap_socket(connection, server_hostname=tls.server_name) as secured,
        ):
            cipher, certificate = secured.cipher(), secured.getpeercert() or {}
            name = cipher[0] if cipher else "no cipher"
            days = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / 86400
            return f"over {secured.version()} ({name}), its certificate is good for {days:.0f} days", days
    except (OSError, KeyError):
        return "over TLS", None


def is_found(peer: ApplicationEntity, calling: str, wanted: SentObject, seconds: float, tls: ClientTls | None) -> bool:
    """Whether the archive finds the object within some seconds: archives answer C-STORE before they have filed it."""
    ae = application_entity(calling, seconds)
    ae.requested_contexts = [build_context(StudyRootQueryRetrieveInformationModelFind, list(SYNTAXES))]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        association = associate(ae, peer, tls)
        if isinstance(association, NoAssociation):
            return False
        try:
            answers = association.send_c_find(_query(wanted), StudyRootQueryRetrieveInformationModelFind)
            if any(getattr(status, "Status", None) in PENDING for status, _ in answers):
                return True
        finally:
            association.release()
        time.sleep(FIND_PAUSE_SECONDS)
    return False


def _query(wanted: SentObject) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = wanted.study_uid
    query.SeriesInstanceUID = wanted.series_uid
    query.SOPInstanceUID = wanted.sop_instance_uid
    return query
