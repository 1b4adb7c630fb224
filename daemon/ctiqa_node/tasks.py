"""The work on one series: load, assess, report, and record it all in one transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path

from pydicom import dcmwrite
from pydicom.dataset import Dataset
from sqlalchemy import select
from sqlalchemy.orm import Session

from ctiqa_node import __version__
from ctiqa_node.analysis import Analyst, Assessed
from ctiqa_node.config import Config
from ctiqa_node.ct.loader import load_series
from ctiqa_node.ct.selection import choose
from ctiqa_node.ct.volume import CtVolume
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, OutputKind
from ctiqa_node.db.tables import (
    AssessedVolume,
    AssessmentRow,
    ClassificationRow,
    Delivery,
    Job,
    MeasurementRow,
    Output,
    Series,
    now,
)
from ctiqa_node.ingest import kept_instances, summary_of
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.report.agreement import window_agreement
from ctiqa_node.report.completeness import completeness
from ctiqa_node.report.content import DeviceInfo, PredecessorDocument, Report, SliceChoice
from ctiqa_node.report.encapsulated_pdf import encapsulated_pdf
from ctiqa_node.report.key_objects import key_objects
from ctiqa_node.report.parametric_map import parametric_map
from ctiqa_node.report.quality_maps import quality_map_capture
from ctiqa_node.report.secondary_capture import secondary_capture
from ctiqa_node.report.structured_report import structured_report
from ctiqa_node.report.summary_page import summary_page
from ctiqa_node.report.text_report import text_report
from ctiqa_node.routing import STANDARD, new_delivery, to_make, wanted
from ctiqa_node.series import SeriesEvent, apply_event
from ctiqa_node.spool import Spool, make_folder_durably, write_durably

Stage = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class MadeOutput:
    """One result object, encoded as a DICOM file."""

    kind: OutputKind
    dataset: Dataset
    content: bytes


def _summary_page(report: Report) -> Dataset:
    return secondary_capture(report, summary_page(report))


MAKERS: dict[OutputKind, Callable[[Report], Dataset | None]] = {
    OutputKind.STRUCTURED_REPORT: structured_report,
    OutputKind.SUMMARY_PAGE: _summary_page,
    OutputKind.QUALITY_MAPS: quality_map_capture,
    OutputKind.PARAMETRIC_MAP: parametric_map,
    OutputKind.KEY_OBJECTS: key_objects,
    OutputKind.PDF: encapsulated_pdf,
    OutputKind.TEXT_REPORT: text_report,
}
"""How each kind is made, in the order in which they are made and sent; None: there is nothing to show."""


def make_outputs(report: Report, kinds: Set[OutputKind] = STANDARD) -> Iterator[MadeOutput]:
    """The result objects of one report, one after the other: they may be as large as the series."""
    for kind, make in MAKERS.items():
        dataset = make(report) if kind in kinds else None
        if dataset is not None:
            yield MadeOutput(kind, dataset, _encode(dataset))


def make_report(
    volume: CtVolume,
    assessed: Sequence[Assessed],
    revision: int,
    at: datetime,
    config: Config,
    predecessor: PredecessorDocument | None = None,
) -> Report:
    """Everything that the result objects are made from."""
    return Report(
        volume=volume,
        models=tuple(item.model for item in assessed),
        revision=revision,
        device=DeviceInfo(ae_title=config.node.ae_title, software_version=__version__),
        assessed_at=at,
        structured_report_series_number=config.report.sr_series_number,
        secondary_capture_series_number=config.report.summary_series_number,
        quality_maps_series_number=config.report.quality_maps_series_number,
        parametric_map_series_number=config.report.parametric_map_series_number,
        key_objects_series_number=config.report.key_objects_series_number,
        pdf_series_number=config.report.pdf_series_number,
        text_report_series_number=config.report.text_report_series_number,
        slice_groups=SliceChoice(config.report.slice_groups),
        map_slices=SliceChoice(config.report.map_slices),
        predecessor=predecessor,
    )


class Assessing:
    """Carries out `analyse` jobs."""

    def __init__(self, config: Config, database: Database, spool: Spool, outputs: Path, analyst: Analyst) -> None:
        self._config = config
        self._database = database
        self._spool = spool
        self._outputs = outputs
        self._analyst = analyst

    def analyse(self, job_id: int, worker: str, progress: Stage) -> None:
        """Assess the series of a job that this worker holds, and record the results.

        Raises:
            Rejected: the series can never be assessed, and why.
            LostJob: the series moved on meanwhile; nothing was recorded.
        """
        series_id, revision, paths = self._chosen_files(job_id, worker)
        volume = load_series(paths, self._config.series.max_million_voxels * 10**6)
        progress(0.1)
        assessed = self._analyst.assess(volume, lambda share: progress(0.1 + 0.8 * share))
        at = now()
        folder = self._outputs / str(series_id)
        make_folder_durably(folder)
        rows = []
        report = make_report(volume, assessed, revision, at, self._config, self._last_report(series_id, revision))
        for output in make_outputs(report, to_make(self._config.destinations)):
            rows.append(self._write(folder, revision, output, at))
            progress(0.9 + 0.1 * len(rows) / (len(MAKERS) + 1))
        with self._database.write() as session:
            job = jobs.hold(session, job_id, worker)
            session.add(_volume_row(job, report))
            _record_assessments(session, job, assessed, volume, self._analyst.device, at)
            self._record_outputs(session, job.series, rows)
            jobs.finish(job)
            apply_event(session, job.series, SeriesEvent.ASSESSED, f"revision {revision}")

    def _chosen_files(self, job_id: int, worker: str) -> tuple[int, int, list[Path]]:
        with self._database.read() as session:
            job = jobs.hold(session, job_id, worker)
            kept = kept_instances(session, job.series)
            choice = choose([summary_of(i, job.series) for i in kept], self._config.series.min_slices)
            paths = [self._spool.path(kept[index].path) for index in choice.selected]
            return job.series_id, job.revision, paths

    def _last_report(self, series_id: int, revision: int) -> PredecessorDocument | None:
        """The structured report of the newest revision before this one that has one."""
        with self._database.read() as session:
            last = session.scalars(
                select(Output)
                .where(
                    Output.series_id == series_id,
                    Output.kind == OutputKind.STRUCTURED_REPORT,
                    Output.revision < revision,
                )
                .order_by(Output.revision.desc())
                .limit(1)
            ).first()
            return None if last is None else PredecessorDocument(last.sop_class_uid, last.sop_instance_uid)

    def _write(self, folder: Path, revision: int, made: MadeOutput, at: datetime) -> Output:
        path = folder / f"{revision}-{made.kind}.dcm"
        write_durably(path, made.content)
        return Output(
            revision=revision,
            kind=made.kind,
            sop_class_uid=str(made.dataset.SOPClassUID),
            sop_instance_uid=str(made.dataset.SOPInstanceUID),
            path=str(path.relative_to(self._outputs)),
            sha256=hashlib.sha256(made.content).hexdigest(),
            made_at=at,
        )

    def _record_outputs(self, session: Session, series: Series, rows: Sequence[Output]) -> None:
        _supersede_deliveries(session, series)
        for row in rows:
            row.series = series
            row.deliveries = [new_delivery(each) for each in self._config.destinations if row.kind in wanted(each)]
            session.add(row)


def _volume_row(job: Job, report: Report) -> AssessedVolume:
    found, against = completeness(report.volume), window_agreement(report)
    return AssessedVolume(
        series=job.series,
        revision=job.revision,
        slices=len(report.volume.sources),
        completeness=found.verdict.value,
        missing_slices=found.missing,
        window_agreement=None if against is None else against.word,
        findings=[{"code": f.code.value, "sentence": f.sentence} for f in report.volume.findings],
    )


def _record_assessments(
    session: Session, job: Job, assessed: Sequence[Assessed], volume: CtVolume, device: str, at: datetime
) -> None:
    for item in assessed:
        model = item.model
        session.add(
            AssessmentRow(
                series=job.series,
                revision=job.revision,
                model=model.name,
                version=model.version,
                weights_sha256=model.weights_sha256,
                trained_on=model.trained_on,
                summary=model.summary,
                status=model.status.value,
                reason=model.reason,
                unscored_slices={str(index): reason for index, reason in model.unscored_slices.items()},
                device=device,
                seconds=item.seconds,
                assessed_at=at,
                measurements=_measurement_rows(item, volume),
                classifications=[
                    ClassificationRow(name=c.name, label=c.label, probability=c.probability)
                    for c in model.classifications
                ],
            )
        )


def _measurement_rows(item: Assessed, volume: CtVolume) -> list[MeasurementRow]:
    rows = []
    for measurement in item.model.measurements:
        source = volume.sources[measurement.slice_index] if measurement.slice_index is not None else None
        rows.append(
            MeasurementRow(
                name=measurement.name,
                value=measurement.value,
                unit=measurement.unit,
                slice_index=measurement.slice_index,
                sop_instance_uid=source.sop_instance_uid if source else None,
                frame_number=source.frame_number if source else None,
            )
        )
    return rows


def _supersede_deliveries(session: Session, series: Series) -> None:
    """What still waits of an older revision is not sent: the archive shall not get two reports for one."""
    waiting = (
        select(Delivery).join(Output).where(Output.series_id == series.id, Delivery.state == DeliveryState.PENDING)
    )
    for delivery in session.scalars(waiting):
        delivery.state = DeliveryState.SUPERSEDED


def _encode(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
