"""What is received well: bytes as they came, copies, conflicts, series over associations, and what is not CT."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

from ctiqa_node.ct.writer import SeriesTags
from ctiqa_node.db.states import AssociationOutcome, InstanceState, SeriesState
from ctiqa_node.db.tables import SeriesChange
from ctiqa_node.jobs import embedded as jobs
from support.peers import associated, contexts_for, store, store_encoded
from support.reception import Reception
from support.slices import ct_datasets, ct_files, dataset_offset, part10, peers_bytes
from support.waiting import eventually

SYNTAXES = [
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless,
    JPEGLSLossless, JPEG2000Lossless,
]  # fmt: skip


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_the_peers_bytes_are_kept_as_they_came(reception: Reception, tmp_path: Path, syntax: UID) -> None:
    (path,) = ct_files(tmp_path / "ct", 1, transfer_syntax=syntax)
    dataset, sent = pydicom.dcmread(path), peers_bytes(path.read_bytes())
    with associated(reception.port, contexts_for([dataset])) as association:
        assert store_encoded(association, sent, dataset.SOPInstanceUID).Status == 0x0000
    (row,) = reception.instances()
    kept = reception.spool.path(row.path).read_bytes()
    assert peers_bytes(kept) == sent
    assert (row.transfer_syntax_uid, row.bytes) == (syntax, len(kept))
    assert row.sha256 == hashlib.sha256(sent).hexdigest()
    again = pydicom.dcmread(BytesIO(kept))
    assert again.file_meta.TransferSyntaxUID == syntax
    assert (again.pixel_array == dataset.pixel_array).all()


def test_success_is_answered_only_when_file_and_row_are_there(reception: Reception, tmp_path: Path) -> None:
    datasets = ct_datasets(tmp_path / "ct", 3)
    with associated(reception.port, contexts_for(datasets)) as association:
        for count, dataset in enumerate(datasets, start=1):
            assert association.send_c_store(dataset).Status == 0x0000
            rows = reception.instances()
            assert [row.sop_instance_uid for row in rows] == [d.SOPInstanceUID for d in datasets[:count]]
            assert reception.spool.path(rows[-1].path).stat().st_size == rows[-1].bytes
    assert len(reception.files()) == 3


def test_a_series_is_recorded_with_what_its_header_says(reception: Reception, tmp_path: Path) -> None:
    tags = SeriesTags(patient_name="Müller^Jörg", accession_number="A-17", series_description="Thorax nativ")
    assert store(reception.port, ct_datasets(tmp_path / "ct", 2, tags=tags)) == [0, 0]
    (series,) = reception.series()
    assert (series.patient_name, series.accession_number) == ("Müller^Jörg", "A-17")
    assert (series.description, series.modality, series.study_date) == ("Thorax nativ", "CT", "20260102")
    assert (series.series_instance_uid, series.study_instance_uid) == (tags.series_uid, tags.study_uid)
    assert series.state is SeriesState.RECEIVING


def test_the_same_instance_again_is_kept_once_and_counted(reception: Reception, tmp_path: Path) -> None:
    (dataset,) = ct_datasets(tmp_path / "ct", 1)
    assert store(reception.port, [dataset, dataset]) == [0, 0]
    assert store(reception.port, [dataset]) == [0]
    (row,) = reception.instances()
    assert row.copies == 3
    assert len(reception.files()) == 1
    assert [association.stored for association in reception.associations()] == [2, 1]


def test_a_copy_replaces_a_file_that_has_gone(reception: Reception, tmp_path: Path) -> None:
    (dataset,) = ct_datasets(tmp_path / "ct", 1)
    store(reception.port, [dataset])
    (row,) = reception.instances()
    reception.spool.path(row.path).unlink()
    assert store(reception.port, [dataset]) == [0]
    (again,) = reception.instances()
    assert again.copies == 2
    assert reception.spool.path(again.path).is_file()


def test_the_same_uid_with_other_content_is_kept_apart_and_the_first_wins(reception: Reception, tmp_path: Path) -> None:
    datasets = ct_datasets(tmp_path / "ct", 5)
    store(reception.port, datasets)
    other = pydicom.dcmread(BytesIO(part10(datasets[0])))
    other.PixelData = bytes(reversed(datasets[0].PixelData))
    assert store(reception.port, [other, other]) == [0, 0]
    first, *_, last = reception.instances()
    assert (first.state, last.state) == (InstanceState.KEPT, InstanceState.CONFLICT)
    assert (first.sop_instance_uid, first.copies) == (last.sop_instance_uid, 1)
    assert last.copies == 2
    assert len(reception.files()) == 6
    assert pydicom.dcmread(reception.spool.path(first.path)).PixelData == datasets[0].PixelData
    eventually(lambda: reception.ingest.close_quiet_series())
    (series,) = reception.series()
    assert series.state is SeriesState.COMPLETE
    (change,) = _history(reception)
    assert change.detail == "5 of 5 instances"


def test_a_conflicting_instance_does_not_make_a_finished_series_stale(reception: Reception, tmp_path: Path) -> None:
    datasets = ct_datasets(tmp_path / "ct", 5)
    store(reception.port, datasets)
    eventually(lambda: reception.ingest.close_quiet_series())
    datasets[0].InstanceNumber = 99
    store(reception.port, [datasets[0], datasets[1]])
    assert reception.series()[0].state is SeriesState.COMPLETE


def test_two_associations_bring_one_series_at_once(reception: Reception, tmp_path: Path) -> None:
    datasets = ct_datasets(tmp_path / "ct", 6)
    contexts = contexts_for(datasets)
    with (
        associated(reception.port, contexts, calling="ONE") as one,
        associated(reception.port, contexts, calling="TWO") as two,
    ):
        for first, second in zip(datasets[::2], datasets[1::2], strict=True):
            assert one.send_c_store(first).Status == two.send_c_store(second).Status == 0x0000
    (series,) = reception.series()
    eventually(lambda: reception.ingest.close_quiet_series())
    (series,) = reception.series()
    assert (series.state, series.revision) == (SeriesState.COMPLETE, 1)
    assert len(reception.jobs()) == 1
    assert sorted((a.calling_ae_title, a.stored) for a in reception.associations()) == [("ONE", 3), ("TWO", 3)]


def test_two_series_in_one_association_are_two_series(reception: Reception, tmp_path: Path) -> None:
    one, two = ct_datasets(tmp_path / "a", 5), ct_datasets(tmp_path / "b", 6)
    mixed = [dataset for pair in zip(one, two, strict=False) for dataset in pair] + two[5:]
    assert set(store(reception.port, mixed)) == {0}
    eventually(lambda: len(reception.jobs()) == 2 or reception.ingest.close_quiet_series() < 0)
    assert {series.state for series in reception.series()} == {SeriesState.COMPLETE}
    assert {change.detail for change in _history(reception)} == {"5 of 5 instances", "6 of 6 instances"}


def test_other_modalities_are_kept_and_skipped_with_the_reason(reception: Reception, tmp_path: Path) -> None:
    datasets = ct_datasets(tmp_path / "ct", 5)
    for dataset in datasets:
        dataset.Modality = "MR"
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
    assert set(store(reception.port, datasets)) == {0}
    eventually(lambda: reception.ingest.close_quiet_series())
    (series,) = reception.series()
    assert (series.state, series.reason) == (SeriesState.SKIPPED, "not CT: modality MR")
    assert len(reception.files()) == 5


@pytest.mark.parametrize(
    ("image_type", "reason"),
    [
        (("ORIGINAL", "PRIMARY", "LOCALIZER"), "localizer"),
        (("DERIVED", "SECONDARY", "MPR"), "derived series"),
    ],
)
def test_a_localizer_or_reformat_is_skipped_with_the_reason(
    reception: Reception, tmp_path: Path, image_type: tuple[str, ...], reason: str
) -> None:
    store(reception.port, ct_datasets(tmp_path / "ct", 5, tags=SeriesTags(image_type=image_type)))
    eventually(lambda: reception.ingest.close_quiet_series())
    (series,) = reception.series()
    assert series.state is SeriesState.SKIPPED
    assert reason in (series.reason or "")
    assert not reception.jobs()


def test_too_few_slices_are_skipped_with_the_reason(reception: Reception, tmp_path: Path) -> None:
    store(reception.port, ct_datasets(tmp_path / "ct", 1))
    eventually(lambda: reception.ingest.close_quiet_series())
    (series,) = reception.series()
    assert (series.state, series.reason) == (SeriesState.SKIPPED, "only 1 slice; series.min_slices is 5")


def test_own_results_sent_back_are_kept_and_skipped(reception: Reception, tmp_path: Path) -> None:
    datasets = ct_datasets(tmp_path / "ct", 5)
    for dataset in datasets:
        dataset.ManufacturerModelName = "ctiqa-node"
    assert set(store(reception.port, datasets)) == {0}
    eventually(lambda: reception.ingest.close_quiet_series())
    (series,) = reception.series()
    assert (series.state, series.reason) == (SeriesState.SKIPPED, "a result of this node, sent back")
    assert {row.own_result for row in reception.instances()} == {True}


def test_the_quiet_period_counts_over_all_associations(
    open_reception: Callable[..., Reception], tmp_path: Path
) -> None:
    reception = open_reception(quiet_seconds=600)
    for dataset in ct_datasets(tmp_path / "ct", 6):
        store(reception.port, [dataset])
        reception.let_pass(500)
        assert reception.ingest.close_quiet_series() == 0
    reception.let_pass(101)
    assert reception.ingest.close_quiet_series() == 1
    assert reception.series()[0].state is SeriesState.COMPLETE


def test_copies_of_a_series_that_is_being_received_are_not_quiet(
    open_reception: Callable[..., Reception], tmp_path: Path
) -> None:
    reception = open_reception(quiet_seconds=600)
    datasets = ct_datasets(tmp_path / "ct", 5)
    store(reception.port, datasets)
    for dataset in datasets:
        reception.let_pass(500)
        store(reception.port, [dataset])
        assert reception.ingest.close_quiet_series() == 0
    reception.let_pass(601)
    assert reception.ingest.close_quiet_series() == 1
    store(reception.port, datasets)
    assert reception.series()[0].state is SeriesState.COMPLETE


def test_a_late_slice_makes_a_new_revision_and_supersedes_the_waiting_job(reception: Reception, tmp_path: Path) -> None:
    datasets = ct_datasets(tmp_path / "ct", 6)
    store(reception.port, datasets[:5])
    eventually(lambda: reception.ingest.close_quiet_series())
    store(reception.port, datasets[5:])
    (series,) = reception.series()
    assert series.state is SeriesState.STALE
    assert [job.state for job in reception.jobs()] == ["superseded"]
    eventually(lambda: reception.ingest.close_quiet_series())
    (series,) = reception.series()
    assert (series.state, series.revision) == (SeriesState.COMPLETE, 2)
    assert [(job.state, job.revision) for job in reception.jobs()] == [("superseded", 1), ("todo", 2)]


def test_a_late_slice_takes_the_job_from_a_worker_that_has_it(reception: Reception, tmp_path: Path) -> None:
    datasets = ct_datasets(tmp_path / "ct", 6)
    store(reception.port, datasets[:5])
    eventually(lambda: reception.ingest.close_quiet_series())
    with reception.database.write() as session:
        job = jobs.claim(session, "worker")
        assert job is not None
    store(reception.port, datasets[5:])
    with reception.database.read() as session, pytest.raises(jobs.LostJob):
        jobs.hold(session, job.id, "worker")


@pytest.mark.peers
def test_dcmtk_verifies_and_stores(reception: Reception, tmp_path: Path) -> None:
    paths = ct_files(tmp_path / "ct", 5)
    node = ["-aet", "DCMTK", "-aec", "CTIQA", "127.0.0.1", str(reception.port)]
    subprocess.run(["echoscu", *node], check=True, timeout=30)
    subprocess.run(["storescu", *node, *map(str, paths)], check=True, timeout=30)
    rows = reception.instances()
    assert [peers_bytes(reception.spool.path(row.path).read_bytes()) for row in rows] == [
        peers_bytes(path.read_bytes()) for path in paths
    ]
    eventually(lambda: {a.outcome for a in reception.associations()} == {AssociationOutcome.RELEASED})
    assert [(a.calling_ae_title, a.stored) for a in reception.associations()] == [("DCMTK", 0), ("DCMTK", 5)]


@pytest.mark.peers
def test_dcmtk_stores_a_compressed_series_in_its_own_syntax(reception: Reception, tmp_path: Path) -> None:
    paths = ct_files(tmp_path / "ct", 2, transfer_syntax=JPEGLSLossless)
    node = ["-xt", "-aec", "CTIQA", "127.0.0.1", str(reception.port)]
    subprocess.run(["storescu", *node, *map(str, paths)], check=True, timeout=30)
    assert [row.transfer_syntax_uid for row in reception.instances()] == [JPEGLSLossless] * 2
    for row, path in zip(reception.instances(), paths, strict=True):
        kept = reception.spool.path(row.path).read_bytes()
        assert kept[dataset_offset(kept) :] == peers_bytes(path.read_bytes())


def test_a_file_name_never_comes_from_the_peer(reception: Reception, tmp_path: Path) -> None:
    uid = generate_uid()
    (dataset,) = ct_datasets(tmp_path / "ct", 1)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    store(reception.port, [dataset])
    (path,) = reception.files()
    assert uid not in str(path)


def _history(reception: Reception) -> Sequence[SeriesChange]:
    return reception.rows(SeriesChange)
