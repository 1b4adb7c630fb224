"""Reading back what was found: the results of series, as values that can be printed or turned into JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, selectinload

from ctiqa_node.db.tables import AssessedVolume, AssessmentRow, Delivery, Instance, MeasurementRow, Output, Series
from ctiqa_node.report.verdicts import Completeness, CompletenessVerdict
from ctiqa_node.result_values import (
    ClassificationResult,
    FindingResult,
    MeasurementResult,
    ModelResult,
    NotableResult,
    NotMadeResult,
    OutputResult,
    SeriesResult,
    SliceResult,
)

_Item = TypeVar("_Item")

_AT_ONCE = 500
"""So many series, or assessments, go into one query."""


def find_series(session: Session, text: str) -> list[Series]:
    """The series that a person means: by Series or Study Instance UID, accession number or patient ID."""
    return list(
        session.scalars(
            select(Series)
            .where(
                or_(
                    Series.series_instance_uid == text,
                    Series.study_instance_uid == text,
                    Series.accession_number == text,
                    Series.patient_id == text,
                )
            )
            .order_by(Series.id)
        )
    )


def latest_results(session: Session, count: int) -> list[SeriesResult]:
    """The series that were assessed last, newest first, without the values of slices."""
    newest = _assessed_last(session, count)
    found = {series.id: series for series in session.scalars(select(Series).where(Series.id.in_(newest)))}
    return series_results(session, [found[series_id] for series_id in newest], with_slices=False)


def _assessed_last(session: Session, count: int) -> list[int]:
    """The numbers of the series whose values were written down last."""
    found: dict[int, None] = {}
    # By their numbers, which grow with time: so as many rows are read as these series have, and not all.
    rows = select(AssessmentRow.series_id).order_by(AssessmentRow.id.desc()).execution_options(yield_per=20)
    for series_id in session.scalars(rows):
        found[series_id] = None
        if len(found) == count:
            break
    return list(found)


def series_result(session: Session, series: Series, *, with_slices: bool = True) -> SeriesResult:
    """One series with its values."""
    return series_results(session, [series], with_slices=with_slices)[0]


def series_results(session: Session, several: Sequence[Series], *, with_slices: bool) -> list[SeriesResult]:
    """Series with their values, in a number of queries that does not grow with theirs."""
    results: list[SeriesResult] = []
    for some in _portions(several):
        ids = [series.id for series in some]
        session.scalars(select(Series).where(Series.id.in_(ids)).options(*_WITH)).all()
        rows = {series.id: _newest(series) for series in some}
        read = _Read(
            instances=dict(session.execute(_instance_counts(ids)).all()),
            assessments=rows,
            measurements=_measurements(session, [row.id for each in rows.values() for row in each], with_slices),
        )
        results += [_result(series, read) for series in some]
    return results


_WITH = (
    selectinload(Series.assessments).selectinload(AssessmentRow.classifications),
    selectinload(Series.outputs).selectinload(Output.deliveries).selectinload(Delivery.tries),
    selectinload(Series.unmade),
    selectinload(Series.volumes),
)


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read of some series beside their own rows: by series, and by assessment."""

    instances: Mapping[int, int]
    assessments: Mapping[int, list[AssessmentRow]]
    measurements: Mapping[int, list[MeasurementRow]]


def _newest(series: Series) -> list[AssessmentRow]:
    revision = max((row.revision for row in series.assessments), default=0)
    return [row for row in series.assessments if row.revision == revision]


def _instance_counts(series_ids: Sequence[int]) -> Any:
    counted = select(Instance.series_id, func.count(Instance.id)).where(Instance.series_id.in_(series_ids))
    return counted.group_by(Instance.series_id)


def _measurements(
    session: Session, assessment_ids: Sequence[int], with_slices: bool
) -> dict[int, list[MeasurementRow]]:
    found: dict[int, list[MeasurementRow]] = defaultdict(list)
    for some in _portions(assessment_ids):
        query = select(MeasurementRow).where(MeasurementRow.assessment_id.in_(some)).order_by(MeasurementRow.id)
        if not with_slices:
            query = query.where(MeasurementRow.slice_index.is_(None))
        for row in session.scalars(query):
            found[row.assessment_id].append(row)
    return found


def _portions(everything: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    return (everything[start : start + _AT_ONCE] for start in range(0, len(everything), _AT_ONCE))


def _result(series: Series, read: _Read) -> SeriesResult:
    assessments = read.assessments[series.id]
    models = [_model(row, read.measurements.get(row.id, ())) for row in assessments]
    newest = assessments[0].revision if assessments else 0
    result = SeriesResult(
        series_instance_uid=series.series_instance_uid,
        study_instance_uid=series.study_instance_uid,
        accession_number=series.accession_number,
        patient_id=series.patient_id,
        patient_name=series.patient_name,
        study_date=series.study_date,
        description=series.description,
        modality=series.modality,
        state=series.state.value,
        state_since=series.state_since,
        reason=series.reason,
        revision=newest,
        instances=read.instances.get(series.id, 0),
        models=models,
        outputs=[
            OutputResult(
                kind=output.kind.value,
                sop_class_uid=output.sop_class_uid,
                sop_instance_uid=output.sop_instance_uid,
                made_at=output.made_at,
                removed_at=output.removed_at,
                deliveries={delivery.destination: delivery.state.value for delivery in output.deliveries},
                warnings=dict(filter(None, map(_warning, output.deliveries))),
            )
            for output in series.outputs
            if output.revision == newest
        ],
        not_made=[
            NotMadeResult(kind=unmade.kind.value, reason=unmade.reason, at=unmade.at)
            for unmade in series.unmade
            if unmade.revision == newest and unmade.reason is not None
        ],
    )
    volume = next((row for row in series.volumes if row.revision == newest), None)
    return result if volume is None else result.model_copy(update=_of_volume(volume, models))


def _warning(delivery: Delivery) -> tuple[str, str] | None:
    """The destination and its warning, where what it has now was stored with one."""
    stored = [each.answer for each in delivery.tries if each.at == delivery.sent_at]
    return (delivery.destination, stored[0]) if stored and stored[0].startswith("Warning") else None


def _of_volume(volume: AssessedVolume, models: list[ModelResult]) -> dict[str, Any]:
    return {
        "slices": volume.slices,
        "completeness": str(Completeness(CompletenessVerdict(volume.completeness), volume.missing_slices)),
        "missing_slices": volume.missing_slices,
        "completeness_evidence": volume.evidence,
        "window_agreement": volume.window_agreement,
        "findings": [FindingResult(**finding) for finding in volume.findings],
        "notable_slices": notable_of(models, volume.slices) if any(model.slices for model in models) else [],
    }


def notable_of(models: Sequence[ModelResult], slices: int) -> list[NotableResult]:
    """The slices that the structured report tells one by one, by the values of the slices that the models gave."""
    from ctiqa_node.report.notable import choose_notable  # brings pydicom, which most commands do without

    def values_of(name: str) -> dict[int, float]:
        found = ({s.slice_index: s.value for s in model.slices if s.name == name} for model in models)
        return next((values for values in found if values), {})

    return [
        NotableResult(
            slice_index=n.slice_index, role=n.role.value, rank=n.rank, ranked_by=n.ranked_by, sentence=n.sentence
        )
        for n in choose_notable(slices, values_of)
    ]


def _model(row: AssessmentRow, measurements: Sequence[MeasurementRow]) -> ModelResult:
    of_slices = [m for m in measurements if m.slice_index is not None]
    return ModelResult(
        model=row.model,
        version=row.version,
        weights_sha256=row.weights_sha256,
        trained_on=row.trained_on,
        summary=row.summary,
        status=row.status,
        reason=row.reason,
        reason_code=row.reason_code,
        device=row.device,
        seconds=row.seconds,
        assessed_at=row.assessed_at,
        measurements=[
            MeasurementResult(name=m.name, value=m.value, unit=m.unit) for m in measurements if m.slice_index is None
        ],
        classifications=[
            ClassificationResult(name=c.name, label=c.label, probability=c.probability) for c in row.classifications
        ],
        unscored_slices={int(index): reason for index, reason in row.unscored_slices.items()},
        slices=[_slice(m) for m in of_slices],
    )


def _slice(row: MeasurementRow) -> SliceResult:
    assert row.slice_index is not None
    assert row.sop_instance_uid is not None
    return SliceResult(
        name=row.name,
        value=row.value,
        unit=row.unit,
        slice_index=row.slice_index,
        sop_instance_uid=row.sop_instance_uid,
        frame_number=row.frame_number,
    )
