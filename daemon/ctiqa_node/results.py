"""Reading back what was found: the results of series, as values that can be printed or turned into JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, computed_field
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from ctiqa_node.db.tables import AssessedVolume, AssessmentRow, Delivery, MeasurementRow, Series
from ctiqa_node.report.verdicts import Completeness, CompletenessVerdict, category_of


class MeasurementResult(BaseModel):
    """One number of the whole series."""

    name: str
    value: float
    unit: str

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it; mypy knows no decorated property
    @property
    def quality_category(self) -> str | None:
        """The LDCTIQA word of a score of 0 to 4; None for other measurements."""
        return category_of(self.name, self.value)


class SliceResult(BaseModel):
    """One number of one slice."""

    name: str
    value: float
    unit: str

    @computed_field  # type: ignore[prop-decorator]  # as above
    @property
    def quality_category(self) -> str | None:
        """The LDCTIQA word of a score of 0 to 4; None for other measurements."""
        return category_of(self.name, self.value)

    slice_index: int
    sop_instance_uid: str
    frame_number: int | None = None


class ClassificationResult(BaseModel):
    """One class with its probability."""

    name: str
    label: str
    probability: float


class ModelResult(BaseModel):
    """What one model said of the series, and the model's provenance."""

    model: str
    version: str
    weights_sha256: str | None
    trained_on: str
    summary: str = ""
    status: str
    reason: str | None

    reason_code: str | None = None
    """The class of the reason; None for a model that scored."""
    device: str
    seconds: float
    assessed_at: datetime
    measurements: list[MeasurementResult]
    classifications: list[ClassificationResult]
    slices: list[SliceResult]
    unscored_slices: dict[int, str]
    """Why slices were left out, by index along z."""


class FindingResult(BaseModel):
    """What the loader noticed."""

    code: str
    sentence: str


class NotableResult(BaseModel):
    """A slice that a person should look at, and why."""

    slice_index: int
    role: str
    rank: int
    ranked_by: str | None
    sentence: str


class OutputResult(BaseModel):
    """An object that was made of the series."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    made_at: datetime
    removed_at: datetime | None = None
    """When its file was removed here, as `outputs.keep_days` has it."""
    deliveries: dict[str, str]
    warnings: dict[str, str] = {}
    """With which warning a destination stored it."""


class NotMadeResult(BaseModel):
    """An object that could not be made of the series, and why."""

    kind: str
    reason: str
    at: datetime


class SeriesResult(BaseModel):
    """A series and the results of its newest assessed revision."""

    series_instance_uid: str
    study_instance_uid: str
    accession_number: str
    patient_id: str
    patient_name: str
    study_date: str
    description: str
    modality: str
    state: str
    state_since: datetime
    reason: str | None
    revision: int
    instances: int
    slices: int | None = None
    """Of the volume that was assessed; None before that, as is what follows."""
    completeness: str | None = None
    missing_slices: int | None = None
    completeness_evidence: list[str] = []
    """What the verdict on completeness rests on."""
    window_agreement: str | None = None
    findings: list[FindingResult] = []
    notable_slices: list[NotableResult] = []
    """Only where the values of the slices are asked for."""
    models: list[ModelResult]
    outputs: list[OutputResult]
    not_made: list[NotMadeResult] = []


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
    newest = func.max(AssessmentRow.assessed_at).desc()
    found = session.scalars(
        select(Series).join(AssessmentRow).group_by(Series.id).order_by(newest, Series.id.desc()).limit(count)
    )
    return [series_result(session, series, with_slices=False) for series in found]


def series_result(session: Session, series: Series, *, with_slices: bool = True) -> SeriesResult:
    """One series with its values."""
    newest = max((row.revision for row in series.assessments), default=0)
    models = [_model(session, row, with_slices=with_slices) for row in series.assessments if row.revision == newest]
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
        instances=len(series.instances),
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


def _model(session: Session, row: AssessmentRow, *, with_slices: bool) -> ModelResult:
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
            MeasurementResult(name=m.name, value=m.value, unit=m.unit)
            for m in _measurements(session, row, of_slices=False)
        ],
        classifications=[
            ClassificationResult(name=c.name, label=c.label, probability=c.probability) for c in row.classifications
        ],
        unscored_slices={int(index): reason for index, reason in row.unscored_slices.items()},
        slices=[_slice(m) for m in _measurements(session, row, of_slices=True)] if with_slices else [],
    )


def _measurements(session: Session, row: AssessmentRow, *, of_slices: bool) -> Sequence[MeasurementRow]:
    wanted = MeasurementRow.slice_index.is_not(None) if of_slices else MeasurementRow.slice_index.is_(None)
    return session.scalars(
        select(MeasurementRow).where(MeasurementRow.assessment_id == row.id, wanted).order_by(MeasurementRow.id)
    ).all()


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
