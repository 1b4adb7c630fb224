"""Each destination: is it there, is TLS as configured, what does it take, does what is sent arrive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom.uid import (
    UID,
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    KeyObjectSelectionDocumentStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
)

from ctiqa_node.config import Config, Destination
from ctiqa_node.destination_settings import Entity
from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.dimse import inspection
from ctiqa_node.dimse.storage_scu import send
from ctiqa_node.dimse.tls import ClientTls, client_tls, destination_tls
from ctiqa_node.doctor.certificates import SOON
from ctiqa_node.doctor.finding import Finding, failed, fine, note
from ctiqa_node.doctor.test_object import write_test_object
from ctiqa_node.errors import ConfigError
from ctiqa_node.profiles import ObjectName

SOP_CLASSES: dict[ObjectName, UID] = {
    "sr": ComprehensiveSRStorage,
    "summary": SecondaryCaptureImageStorage,
    "quality_maps": MultiFrameTrueColorSecondaryCaptureImageStorage,
    "parametric_map": ParametricMapStorage,
    "key_objects": KeyObjectSelectionDocumentStorage,
    "pdf": EncapsulatedPDFStorage,
    "text_report": EnhancedSRStorage,
}
"""What each object is; makers are heavy to import, and a test holds this to what they make."""
FIND_SECONDS = 10.0


def destination(config: Config, wanted: Destination, *, send_test: bool) -> Iterator[Finding]:
    """All that can be told of one destination; with `send_test` a test object is sent and looked for."""
    area = f"to {wanted.name}"
    peer = ApplicationEntity(wanted.ae_title, wanted.host, wanted.port)
    calling = wanted.calling_ae_title or config.node.ae_title
    seconds = config.delivery.connection_timeout_seconds
    try:
        tls = destination_tls(wanted)
    except ConfigError as error:
        yield failed(area, str(error), "give the node's user the files, or set destinations[].tls")
        return
    classes = {name: SOP_CLASSES[name] for name in SOP_CLASSES if name in wanted.wanted}
    found = inspection.inspect(peer, calling, list(classes.values()), seconds, tls)
    if found.trouble is not None:
        yield failed(area, found.trouble, _what_to_do(found.trouble, calling))
        return
    yield fine(area, f"{peer} accepts the association from {calling}, {found.secured}")
    if found.certificate_days is not None and found.certificate_days < SOON.days:
        what = f"its certificate expires in {found.certificate_days:.0f} days, and then nothing can be sent"
        yield note(area, what, "tell who runs the archive")
    yield from _verified(area, found)
    for name, sop_class in classes.items():
        yield _taken(area, name, sop_class, found)
    if wanted.commitment:
        yield from _committing(area, config, wanted, found)
    if config.completeness.archive == wanted.name:
        yield _counting(area, found)
    if send_test:
        yield from _sent(area, peer, calling, seconds, tls, found)


def _what_to_do(trouble: str, calling: str) -> str:
    if "TLS" in trouble or "certificate" in trouble:
        return "set destinations[].tls as the archive has it, or mend the certificates"
    if "rejected the association" in trouble:
        return f"let the archive know the AE title {calling} and this machine's address; see destinations[].ae_title"
    return "see host and port (destinations), the archive itself, and the firewalls between"


def _verified(area: str, found: inspection.Inspection) -> Iterator[Finding]:
    if found.verified is None:
        yield note(area, "it does not offer Verification (C-ECHO)")
    elif not found.verified:
        yield failed(area, "it did not answer C-ECHO with Success", "see the archive's log")


def _taken(area: str, name: str, sop_class: str, found: inspection.Inspection) -> Finding:
    syntaxes = found.accepted.get(sop_class)
    if syntaxes:
        return fine(area, f"takes {name} ({UID(sop_class).name}): {', '.join(UID(each).name for each in syntaxes)}")
    to_do = f"let the archive take this SOP Class, or set objects: {{{name}: false}}"
    what = f"does not take {name} ({UID(sop_class).name})"
    return failed(area, what, to_do) if name == "sr" else note(area, what, to_do)


def queried_archive(config: Config, archive: Entity) -> Iterator[Finding]:
    """Whether an archive that is no destination can be asked how many instances a series has."""
    area = "archive"
    try:
        tls = None if archive.tls is None else client_tls(archive.tls, archive.host, "completeness.archive: tls")
    except ConfigError as error:
        yield failed(area, str(error), "give the node's user the files, or set completeness.archive")
        return
    peer = ApplicationEntity(archive.ae_title, archive.host, archive.port)
    calling = config.node.ae_title
    found = inspection.inspect(peer, calling, (), config.completeness.answer_seconds, tls)
    if found.trouble is not None:
        yield failed(area, found.trouble, _what_to_do(found.trouble, calling))
        return
    yield _counting(area, found)


def _counting(area: str, found: inspection.Inspection) -> Finding:
    if found.finds:
        return fine(area, "offers C-FIND, by which completeness.archive asks how many instances a series has")
    to_do = "let the archive offer it to us, or name another one as completeness.archive"
    return failed(area, "does not offer C-FIND (Study Root), which completeness.archive asks for", to_do)


def _committing(area: str, config: Config, wanted: Destination, found: inspection.Inspection) -> Iterator[Finding]:
    if not found.commits:
        to_do = "let the archive offer it to us, or switch destinations[].commitment off: else every result fails"
        yield failed(area, "does not offer Storage Commitment, which destinations[].commitment asks for", to_do)
        return
    yield fine(area, "offers Storage Commitment")
    titles = (set(peer.ae_titles) for peer in config.peers)
    if not any(not each or wanted.ae_title in each for each in titles):
        what = f"no peer calls from {wanted.ae_title}: its report is turned away when it comes on its own association"
        yield note(area, what, f"name the archive under peers, with ae_titles [{wanted.ae_title}]")


def _sent(
    area: str,
    peer: ApplicationEntity,
    calling: str,
    seconds: float,
    tls: ClientTls | None,
    found: inspection.Inspection,
) -> Iterator[Finding]:
    with TemporaryDirectory(prefix="ctiqa-doctor-") as folder:
        written = write_test_object(Path(folder), calling)
        (answer,) = send(peer, calling, [written.path], seconds, tls)
    if not answer.ok:
        yield failed(area, f"the test object was not taken: {answer.sentence}", "see the archive's log")
        return
    yield fine(area, f"the test object was taken: {answer.sentence}")
    if not found.finds:
        yield note(area, "whether it is kept cannot be asked: C-FIND is not offered (Study Root)")
    elif inspection.is_found(peer, calling, written, FIND_SECONDS, tls):
        yield fine(area, "the test object is found by C-FIND")
    else:
        yield failed(
            area,
            f"the test object is not found by C-FIND within {FIND_SECONDS:.0f} s",
            "see what the archive does with it",
        )
