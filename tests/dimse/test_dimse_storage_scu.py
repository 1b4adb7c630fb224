"""The Storage and Verification SCU: each file gets an answer, whatever the peer is like."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.uid import (
    ComprehensiveSRStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
    SecondaryCaptureImageStorage,
)

from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.dimse.storage_scu import echo, send
from support.peers import Archive
from support.slices import ct_datasets, ct_files, result_files


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """A folder with files to be sent."""
    return result_files(tmp_path / "outputs")


def test_an_unknown_host_is_an_answer_like_any_other(outputs: Path) -> None:
    peer = ApplicationEntity("ARCHIVE", "no-such-host.invalid", 104)
    (answer,) = send(peer, "CTIQA", [outputs / "sr.dcm"], 2)
    assert not answer.ok
    assert "cannot be reached" in answer.sentence
    assert "cannot be reached" in (echo(peer, "CTIQA", 2) or "")


def test_an_archive_under_another_title_rejects(outputs: Path) -> None:
    with Archive(ae_title="OTHER") as archive:
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port)
        (answer,) = send(peer, "CTIQA", [outputs / "sr.dcm"], 2)
        assert answer.sentence.endswith("rejected the association: Called AE title not recognised")
        assert "Called AE title not recognised" in (echo(peer, "CTIQA", 2) or "")


def test_echo_finds_a_living_archive() -> None:
    with Archive() as archive:
        assert echo(ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port), "CTIQA", 2) is None


@pytest.mark.parametrize(("status", "ok"), [(0xB000, True), (0xB007, True), (0xA700, False), (0x0122, False)])
def test_a_warning_is_as_good_as_sent_and_a_failure_is_not(outputs: Path, status: int, ok: bool) -> None:
    with Archive() as archive:
        archive.answers[ComprehensiveSRStorage] = status
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port)
        (answer,) = send(peer, "CTIQA", [outputs / "sr.dcm"], 2)
    assert (answer.ok, answer.status) == (ok, status)


@pytest.mark.parametrize(("status", "refused"), [(0x0122, True), (0xA900, False), (0xC000, False), (0x0000, False)])
def test_only_the_status_that_is_about_the_sop_class_is_a_refusal(outputs: Path, status: int, refused: bool) -> None:
    with Archive() as archive:
        archive.answers[ComprehensiveSRStorage] = status
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port)
        (answer,) = send(peer, "CTIQA", [outputs / "sr.dcm"], 2)
    assert answer.refused is refused


def test_a_sop_class_without_an_accepted_context_is_refused_and_the_others_are_sent(outputs: Path) -> None:
    with Archive(refused_classes=[ComprehensiveSRStorage]) as archive:
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port)
        report, page = send(peer, "CTIQA", [outputs / "sr.dcm", outputs / "summary.dcm"], 2)
    assert (report.ok, report.refused, report.status) == (False, True, None)
    assert report.sentence.endswith("accepted no Presentation Context for Comprehensive SR Storage")
    assert (page.ok, page.refused) == (True, False)
    assert archive.requests == archive.kept


def test_a_peer_that_takes_nothing_refuses_everything(outputs: Path) -> None:
    with Archive(refused_classes=[ComprehensiveSRStorage, SecondaryCaptureImageStorage]) as archive:
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port)
        answers = list(send(peer, "CTIQA", [outputs / "sr.dcm", outputs / "summary.dcm"], 2))
    assert [(answer.ok, answer.refused) for answer in answers] == [(False, True)] * 2
    assert answers[0].sentence.endswith("accepts none of the Presentation Contexts that were offered")


def test_a_peer_that_rejects_or_is_down_refuses_nothing(outputs: Path) -> None:
    with Archive(ae_title="OTHER") as archive:
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port)
        (rejected,) = send(peer, "CTIQA", [outputs / "sr.dcm"], 2)
    (down,) = send(peer, "CTIQA", [outputs / "sr.dcm"], 2)
    assert not rejected.refused
    assert not down.refused


def test_a_peer_that_takes_only_dicoms_default_encoding_gets_that(outputs: Path) -> None:
    with Archive(transfer_syntaxes=[ImplicitVRLittleEndian]) as archive:
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port)
        (answer,) = send(peer, "CTIQA", [outputs / "sr.dcm"], 2)
    assert answer.ok
    assert archive.kept_syntaxes == [ImplicitVRLittleEndian]


def test_a_peer_that_takes_both_gets_the_encoding_of_the_file(outputs: Path) -> None:
    with Archive() as archive:
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port)
        assert [answer.ok for answer in send(peer, "CTIQA", [outputs / "sr.dcm"], 2)] == [True]
    assert archive.kept_syntaxes == [ExplicitVRLittleEndian]


def test_compressed_files_are_not_converted(tmp_path: Path) -> None:
    files = ct_files(tmp_path / "ct", 1, transfer_syntax=JPEG2000Lossless)
    with Archive() as archive:
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port)
        (answer,) = send(peer, "CTIQA", files, 2)
    assert answer.refused
    assert archive.requests == []


def test_what_is_no_dicom_file_gets_an_answer_and_the_rest_is_sent(outputs: Path) -> None:
    (outputs / "text.txt").write_text("no DICOM")
    with Archive() as archive:
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port)
        paths = [outputs / "text.txt", outputs / "gone.dcm", outputs / "sr.dcm"]
        answers = {answer.path.name: answer for answer in send(peer, "CTIQA", paths, 2)}
    assert [answers[name].ok for name in ("text.txt", "gone.dcm", "sr.dcm")] == [False, False, True]
    assert "not a readable DICOM file" in answers["text.txt"].sentence


def test_a_whole_folder_of_many_kinds_goes_over_as_many_associations_as_it_takes(tmp_path: Path) -> None:
    datasets = ct_datasets(tmp_path / "ct", 3)
    for dataset, sop_class in zip(datasets, (CTImageStorage, MRImageStorage, ComprehensiveSRStorage), strict=True):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
        dataset.save_as(tmp_path / f"{sop_class}.dcm")
    with Archive() as archive:
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port)
        answers = list(send(peer, "CTIQA", sorted(tmp_path.glob("*.dcm")), 2))
        assert all(answer.ok for answer in answers)
        assert sorted(archive.kept) == sorted(str(pydicom.dcmread(a.path).SOPInstanceUID) for a in answers)
