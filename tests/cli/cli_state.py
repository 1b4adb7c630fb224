"""Helpers: series made through Ingest and the queue, and what a command leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.filereader import read_file_meta_info
from sqlalchemy.orm import Session

from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import AssociationOutcome, DeliveryState, OutputKind
from ctiqa_node.db.tables import (
    AssessedVolume,
    AssessmentRow,
    Association,
    ClassificationRow,
    Delivery,
    DeliveryTry,
    Heartbeat,
    Job,
    MeasurementRow,
    Output,
)
from ctiqa_node.dicom import ReceivedInstance
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.series import SeriesEvent, apply_event
from ctiqa_node.state import NodeLock, StateFolder

STUDY = "2.25.1001"
ASSESSED = "2.25.2001"
TOO_SHORT = "2.25.2002"
FAILED = "2.25.2003"
WAITING = "2.25.2004"
NO_ANSWER = "PACS@127.0.0.1:1 cannot be reached"


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Standard output, which must be JSON and nothing else."""
        return json.loads(self.stdout)


Run = Callable[..., Ran]


def body(slices: int, noise_hu: float = 15.0, seed: int = 1) -> npt.NDArray[np.float64]:
    """An ellipse of soft tissue with two lungs, 96×96, float64 HU [z, y, x]."""
    y, x = np.mgrid[:96, :96] - 47.5
    hu = np.full((96, 96), -1000.0)
    hu[(x / 44) ** 2 + (y / 34) ** 2 < 1] = 50
    for side in (-20, 20):
        hu[((x - side) / 10) ** 2 + (y / 16) ** 2 < 1] = -850
    noise = np.random.default_rng(seed).normal(0, noise_hu, (slices, 96, 96))
    return hu + noise * (hu > -1000)


@contextmanager
def as_if_running(folder: StateFolder, **more: object) -> Iterator[None]:
    """Hold the node's lock, with a fresh sign of life of the node (with `more` in it) and its worker."""
    database = Database(folder.database)
    detail = {"ae_title": "CTIQA", "address": "0.0.0.0", "port": 11999, "version": "0.1.0", **more}
    with database.write() as session:
        for process, details in (("node", detail), ("worker", {"device": "cpu"})):
            session.merge(Heartbeat(process=process, pid=4711, started_at=now(), at=now(), detail=details))
    with NodeLock(folder):
        yield
    database.close()


def received(path: Path, association: int | None) -> ReceivedInstance:
    """A file as if it had come in a C-STORE request."""
    meta = read_file_meta_info(path)
    return ReceivedInstance(
        part10=path.read_bytes(),
        dataset_offset=144 + int(meta.FileMetaInformationGroupLength),
        sop_class_uid=str(meta.MediaStorageSOPClassUID),
        sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
        transfer_syntax_uid=str(meta.TransferSyntaxUID),
        association_id=association,
    )


def associate(database: Database) -> int:
    with database.write() as session:
        association = Association(
            calling_ae_title="CT_1", called_ae_title="CTIQA", address="10.0.0.7", port=104, opened_at=now(),
            closed_at=now(), outcome=AssociationOutcome.RELEASED,
        )  # fmt: skip
        session.add(association)
        session.flush()
        return association.id


def claim(session: Session) -> Job:
    job = jobs.claim(session, "worker-1")
    assert job is not None
    return job


def record_results(session: Session, job: Job) -> None:
    source = job.series.instances[0].sop_instance_uid
    for model, status, reason in (
        ("noise_level", "scored", None),
        ("n2q", "scored", None),
        ("snr", "not_scored", "no varying tissue"),
    ):
        row = AssessmentRow(
            series=job.series, revision=1, model=model, version="1", weights_sha256="0123456789abcdef" * 4,
            trained_on="phantoms", status=status, reason=reason, reason_code=reason and "too-little",
            device="cpu", seconds=1.5, assessed_at=now(),
        )  # fmt: skip
        if model == "noise_level":
            row.measurements = [
                MeasurementRow(name="noise_level", value=14.25, unit="[hnsf'U]"),
                MeasurementRow(name="noise_level", value=13.5, unit="[hnsf'U]", slice_index=0, sop_instance_uid=source),
            ]
        if model == "n2q":
            row.classifications = [
                ClassificationRow(name="n2q_dose", label="100 %", probability=0.8),
                ClassificationRow(name="n2q_dose", label="25 %", probability=0.2),
            ]
        session.add(row)
    session.add(
        AssessedVolume(
            series=job.series, revision=1, slices=6, completeness="gaps", missing_slices=2, window_agreement="mismatch",
            findings=[{"code": "uneven-gaps", "sentence": "Slices lie 3.00 to 9.00 mm apart."}],
        )
    )  # fmt: skip
    for kind, state in (
        (OutputKind.STRUCTURED_REPORT, DeliveryState.PENDING),
        (OutputKind.SUMMARY_PAGE, DeliveryState.FAILED),
    ):
        delivery = Delivery(destination="pacs", state=state, attempts=1, created_at=now(), next_try_at=now())
        delivery.tries = [DeliveryTry(at=now(), status=None, answer=NO_ANSWER)]
        session.add(
            Output(
                series=job.series, revision=1, kind=kind, sop_class_uid="1.2.840.10008.5.1.4.1.1.88.33",
                sop_instance_uid=f"2.25.300{kind == OutputKind.SUMMARY_PAGE:d}", path=f"1/{kind}.dcm", sha256="0" * 64,
                made_at=now(), deliveries=[delivery],
            )
        )  # fmt: skip
    jobs.finish(job)
    apply_event(session, job.series, SeriesEvent.ASSESSED, "revision 1")
