"""Rows of a node's database, as they are when reception or assessment has done its part."""

from __future__ import annotations

from pathlib import Path

from pydicom import dcmread
from pydicom.uid import (
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    KeyObjectSelectionDocumentStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from sqlalchemy.orm import Session

from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, OutputKind, SeriesState
from ctiqa_node.db.tables import Base, Delivery, DeliveryTry, Job, Output, Series
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.series import SeriesEvent, apply_event

SOP_CLASSES = {
    OutputKind.STRUCTURED_REPORT: ComprehensiveSRStorage,
    OutputKind.SUMMARY_PAGE: SecondaryCaptureImageStorage,
    OutputKind.QUALITY_MAPS: MultiFrameTrueColorSecondaryCaptureImageStorage,
    OutputKind.PARAMETRIC_MAP: ParametricMapStorage,
    OutputKind.KEY_OBJECTS: KeyObjectSelectionDocumentStorage,
    OutputKind.PDF: EncapsulatedPDFStorage,
    OutputKind.TEXT_REPORT: EnhancedSRStorage,
}


def new_database(path: Path) -> Database:
    """A database with its tables, made without Alembic, which takes longer."""
    database = Database(path)
    Base.metadata.create_all(database._engine)
    return database


def add_series(session: Session, state: SeriesState = SeriesState.RECEIVING, revision: int = 0) -> Series:
    """A series of no instances."""
    moment = now()
    series = Series(
        series_instance_uid=str(generate_uid()), study_instance_uid=str(generate_uid()), state=state,
        state_since=moment, first_instance_at=moment, last_instance_at=moment, revision=revision,
    )  # fmt: skip
    session.add(series)
    session.flush()
    return series


def add_waiting_job(session: Session) -> Job:
    """A series that is complete, with its job."""
    series = add_series(session)
    series.revision = 1
    apply_event(session, series, SeriesEvent.QUIET)
    job = jobs.enqueue(session, series)
    session.flush()
    return job


def add_delivery(
    session: Session, series: Series, kind: OutputKind, state: DeliveryState, destination: str = "pacs"
) -> Delivery:
    """An output of the series' present revision without a file, and its delivery, which was tried once."""
    moment = now()
    delivery = Delivery(destination=destination, state=state, created_at=moment, next_try_at=moment)
    delivery.tries = [DeliveryTry(at=moment, status=None, answer="an answer")]
    delivery.sent_at = moment if state is DeliveryState.SENT else None
    delivery.output = Output(
        series=series, revision=series.revision, kind=kind, sop_class_uid=SOP_CLASSES[kind],
        sop_instance_uid=str(generate_uid()), path=f"{kind}.dcm", sha256="", made_at=moment,
    )  # fmt: skip
    session.add(delivery)
    session.flush()
    return delivery


def add_output(
    session: Session, series: Series, kind: OutputKind, path: str, root: Path, destinations: tuple[str, ...]
) -> Output:
    """An output of the series' present revision that lies in `root`, with a delivery to each destination."""
    header = dcmread(root / path, stop_before_pixels=True)
    moment = now()
    output = Output(
        series=series, revision=series.revision, kind=kind, sop_class_uid=header.SOPClassUID,
        sop_instance_uid=header.SOPInstanceUID, path=path, sha256="", made_at=moment,
        deliveries=[
            Delivery(destination=name, state=DeliveryState.PENDING, created_at=moment, next_try_at=moment)
            for name in destinations
        ],
    )  # fmt: skip
    session.add(output)
    session.flush()
    return output
