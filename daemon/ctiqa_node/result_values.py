"""What was found, as values that can be printed or turned into JSON."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, computed_field

from ctiqa_node.report.verdicts import category_of


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
