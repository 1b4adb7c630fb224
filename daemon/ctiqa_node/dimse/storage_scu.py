"""The Storage and Verification SCU: sends files to an Application Entity and tells what it answered to each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.events import EventHandlerType
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at import time

from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.dimse.reach import trouble_reaching
from ctiqa_node.dimse.tls import ClientTls

_config.STORE_SEND_CHUNKED_DATASET = True  # a file that is sent by its path is read a piece at a time

MAX_CONTEXTS = 128
"""Presentation Context IDs are the odd numbers from 1 to 255 (PS3.8 9.3.2.2)."""
PROBE_SECONDS = 10.0
ANSWER_SECONDS = 30.0
_WARNINGS = {
    0xB000: ": elements were changed",
    0xB006: ": elements were discarded",
    0xB007: ": dataset does not match SOP Class",
}
_OTHER_WARNINGS = frozenset({0x0001, 0x0107, 0x0116})
SOP_CLASS_NOT_SUPPORTED = 0x0122
"""PS3.7 C.5.6."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait for a connection, and for each answer over it."""

    connection: float
    answer: float


Timeout = Patience | float
"""A number is of the connection; answers then have ANSWER_SECONDS."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one file: `ok` for Success and warnings; `status` is the DIMSE status where there was one.

    `refused`: the peer does not take objects of this SOP Class, now or later.
    """

    path: Path
    ok: bool
    status: int | None
    sentence: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class NoAssociation:
    """Why there is none; `refused`: the peer takes nothing of what was offered."""

    sentence: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class _Kind:
    """What has to be negotiated for a file."""

    sop_class_uid: str
    transfer_syntax_uid: str

    @property
    def offers(self) -> tuple[tuple[str, str], ...]:
        """SOP Class and transfer syntax of what to offer: the file's own, and DICOM's default one (PS3.5 10.1)."""
        syntaxes = [self.transfer_syntax_uid]
        if self.transfer_syntax_uid == ExplicitVRLittleEndian:
            syntaxes.append(ImplicitVRLittleEndian)
        return tuple((self.sop_class_uid, syntax) for syntax in syntaxes)


_MOST_OFFERS = 2


def echo(peer: ApplicationEntity, calling: str, timeout: Timeout, tls: ClientTls | None = None) -> str | None:
    """Verify an Application Entity with C-ECHO; returns None when it answers well, else why not, in a sentence."""
    ae = application_entity(calling, timeout)
    ae.add_requested_context(Verification)
    association = associate(ae, peer, tls)
    if isinstance(association, NoAssociation):
        return association.sentence
    try:
        status = association.send_c_echo()
        return None if _code(status) == 0 else f"{peer} answered C-ECHO with {_words(_code(status))}"
    finally:
        association.release()


def send(
    peer: ApplicationEntity, calling: str, paths: Sequence[Path], timeout: Timeout, tls: ClientTls | None = None
) -> Iterator[Answer]:
    """Send DICOM files over one association, in their own transfer syntaxes; yields one answer a file.

    More kinds of objects than one association can negotiate go over further ones.
    """
    readable: list[tuple[Path, _Kind]] = []
    for path in paths:
        try:
            readable.append((path, _kind(path)))
        except (InvalidDicomError, OSError, AttributeError) as error:
            yield Answer(path, ok=False, status=None, sentence=f"not a readable DICOM file: {error}")
    kinds = sorted({kind for _, kind in readable}, key=lambda kind: (kind.sop_class_uid, kind.transfer_syntax_uid))
    at_once = MAX_CONTEXTS // _MOST_OFFERS
    for start in range(0, len(kinds), at_once):
        batch = set(kinds[start : start + at_once])
        yield from _send_batch(peer, calling, [(path, kind) for path, kind in readable if kind in batch], timeout, tls)


def _send_batch(
    peer: ApplicationEntity,
    calling: str,
    files: Sequence[tuple[Path, _Kind]],
    timeout: Timeout,
    tls: ClientTls | None,
) -> Iterator[Answer]:
    ae = application_entity(calling, timeout)
    offers = sorted({offer for _, kind in files for offer in kind.offers})
    ae.requested_contexts = [build_context(*offer) for offer in offers]
    waiting = deque(files)
    # A peer that ends the association at one object gets the others over a new one: each round sends at least one.
    while waiting:
        association = associate(ae, peer, tls)
        if isinstance(association, NoAssociation):
            none = association
            yield from (Answer(path, False, None, none.sentence, none.refused) for path, _ in waiting)
            return
        try:
            while waiting and association.is_established:
                yield _send_one(association, peer, *waiting.popleft())
        finally:
            association.release()


def associate(
    ae: AE,
    peer: ApplicationEntity,
    tls: ClientTls | None,
    handlers: Sequence[EventHandlerType] = (),
    negotiate: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
) -> Association | NoAssociation:
    """An association with the peer, or why there is none. `handlers` are of what the peer may send over it."""
    secured = None if tls is None else (tls.context, tls.server_name)
    try:
        # pynetdicom's type has no None for the name, which ssl wants where there is none.
        association = ae.associate(
            peer.host, peer.port, ae_title=peer.ae_title, tls_args=cast(Any, secured), evt_handlers=list(handlers),
            ext_neg=list(negotiate),
        )  # fmt: skip
    except OSError as error:  # the name of the host cannot be resolved
        return NoAssociation(f"{peer} cannot be reached: {error.strerror}")
    return association if association.is_established else _why_not(association, peer, tls, ae.connection_timeout)


def _send_one(association: Association, peer: ApplicationEntity, path: Path, kind: _Kind) -> Answer:
    if not _is_accepted(association, kind):
        name = UID(kind.sop_class_uid).name
        return Answer(path, False, None, f"{peer} accepted no Presentation Context for {name}", refused=True)
    try:
        # As it lies on disk, a piece at a time: read whole and encoded again, a large object is in memory four times.
        as_it_is = (kind.sop_class_uid, kind.transfer_syntax_uid) in _accepted(association)
        status = association.send_c_store(path if as_it_is else dcmread(path))
    except (ValueError, RuntimeError, AttributeError, OSError) as error:
        # pynetdicom's ways to say: no accepted Presentation Context, association gone, dataset not encodable.
        return Answer(path, ok=False, status=None, sentence=f"not sent to {peer}: {error}")
    code = _code(status)
    if code is None:
        return Answer(path, ok=False, status=None, sentence=f"{peer} gave no answer in time or ended the association")
    comment = status.get("ErrorComment")
    sentence = f"{_words(code)}{f' ({comment})' if comment else ''}"
    return Answer(path, code == 0 or _is_warning(code), code, sentence, refused=code == SOP_CLASS_NOT_SUPPORTED)


def _is_accepted(association: Association, kind: _Kind) -> bool:
    return not _accepted(association).isdisjoint(kind.offers)


def _accepted(association: Association) -> set[tuple[str, str]]:
    """SOP Class and transfer syntax of each accepted Presentation Context."""
    return {(str(each.abstract_syntax), str(each.transfer_syntax[0])) for each in association.accepted_contexts}


def application_entity(calling: str, timeout: Timeout) -> AE:
    """An SCU that calls from this AE title and waits so long."""
    ae = AE(ae_title=calling)
    ae.connection_timeout = timeout if isinstance(timeout, float | int) else timeout.connection
    answer = ANSWER_SECONDS if isinstance(timeout, float | int) else timeout.answer
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = answer
    return ae


def _kind(path: Path) -> _Kind:
    meta = read_file_meta_info(path)
    return _Kind(str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))


def _why_not(
    association: Association, peer: ApplicationEntity, tls: ClientTls | None, seconds: float | None
) -> NoAssociation:
    if association.is_rejected:
        answer = association.acceptor.primitive
        reason = f": {answer.reason_str}" if answer else ""
        return NoAssociation(f"{peer} rejected the association{reason}")
    if association.acceptor.primitive is not None and not association.accepted_contexts:
        return NoAssociation(f"{peer} accepts none of the Presentation Contexts that were offered", refused=True)
    return NoAssociation(trouble_reaching(peer, tls, seconds or PROBE_SECONDS))


def _code(status: object) -> int | None:
    code = getattr(status, "Status", None)
    return int(code) if code is not None else None


def _is_warning(code: int) -> bool:
    """PS3.7 Annex C: a warning says that it is stored. Of C-STORE (PS3.4 Table B.2-1): coerced (B000), dataset mismatch
    (B007), elements discarded (B006); and some archives have others.
    """
    return code >> 12 == 0xB or code in _OTHER_WARNINGS


def _words(code: int | None) -> str:
    match code:
        case None:
            return "no status"
        case 0:
            return "Success"
        case _ if _is_warning(code):
            return f"Warning 0x{code:04X}{_WARNINGS.get(code, '')}"
        case _ if code >> 8 == 0xA7:
            return f"Failure 0x{code:04X}: out of resources"
        case _ if code >> 8 == 0xA9:
            return f"Failure 0x{code:04X}: dataset does not match SOP Class"
        case _ if code == SOP_CLASS_NOT_SUPPORTED:
            return "Failure 0x0122: SOP Class not supported"
        case 0x0124:
            return "Failure 0x0124: not authorised"
        case _ if code >> 12 == 0xC:
            return f"Failure 0x{code:04X}: cannot understand"
        case _:
            return f"Failure 0x{code:04X}"
