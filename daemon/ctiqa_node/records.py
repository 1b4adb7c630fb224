"""What the models said of a series, as rows of the database."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from ctiqa_node.analysis import Assessed
from ctiqa_node.ct.volume import CtVolume
from ctiqa_node.db.tables import (
    AssessedVolume,
    AssessmentRow,
    ClassificationRow,
    Job,
    MeasurementRow,
    Series,
)
from ctiqa_node.report.agreement import window_agreement
from ctiqa_node.report.completeness import completeness
from ctiqa_node.report.content import Report


def settle_revision(session: Session, job: Job, assessed: Sequence[Assessed]) -> int:
    """The revision that these results are: the job's own, or the next one.

    A job that is done again, because its first try was cut short, gives the same results once more; but other models
    than the first time give new ones, whose objects must not have the UIDs of the old.
    """
    rows = session.scalars(select(AssessmentRow).where(*_of(job.series, job.revision))).all()
    before = {(row.model, row.version, row.weights_sha256) for row in rows}
    if before and before != {(each.model.name, each.model.version, each.model.weights_sha256) for each in assessed}:
        job.series.revision += 1
        job.revision = job.series.revision
    return job.revision


def record_values(session: Session, job: Job, assessed: Sequence[Assessed], report: Report, device: str) -> None:
    """Write down the values of the job's revision, in the place of those that an earlier try gave."""
    _forget(session, job.series, job.revision)
    session.add(_volume_row(job, report))
    session.add_all(_assessment_row(job, item, report, device) for item in assessed)


def _forget(session: Session, series: Series, revision: int) -> None:
    old = select(AssessmentRow.id).where(*_of(series, revision))
    session.execute(delete(MeasurementRow).where(MeasurementRow.assessment_id.in_(old)))
    session.execute(delete(ClassificationRow).where(ClassificationRow.assessment_id.in_(old)))
    session.execute(delete(AssessmentRow).where(*_of(series, revision)))
    session.execute(
        delete(AssessedVolume).where(AssessedVolume.series_id == series.id, AssessedVolume.revision == revision)
    )


def _of(series: Series, revision: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return AssessmentRow.series_id == series.id, AssessmentRow.revision == revision


def _volume_row(job: Job, report: Report) -> AssessedVolume:
    found, against = completeness(report.volume, report.archive), window_agreement(report)
    return AssessedVolume(
        series=job.series,
        revision=job.revision,
        slices=len(report.volume.sources),
        completeness=found.verdict.value,
        missing_slices=found.missing,
        evidence=list(found.evidence),
        window_agreement=None if against is None else against.word,
        findings=[{"code": f.code.value, "sentence": f.sentence} for f in report.volume.findings],
    )


def _assessment_row(job: Job, item: Assessed, report: Report, device: str) -> AssessmentRow:
    model = item.model
    return AssessmentRow(
        series=job.series,
        revision=job.revision,
        model=model.name,
        version=model.version,
        weights_sha256=model.weights_sha256,
        trained_on=model.trained_on,
        summary=model.summary,
        status=model.status.value,
        reason=model.reason,
        reason_code=None if model.reason_code is None else model.reason_code.value,
        unscored_slices={str(index): reason for index, reason in model.unscored_slices.items()},
        device=device,
        seconds=item.seconds,
        assessed_at=report.assessed_at,
        measurements=_measurement_rows(item, report.volume),
        classifications=[
            ClassificationRow(name=c.name, label=c.label, probability=c.probability) for c in model.classifications
        ],
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
