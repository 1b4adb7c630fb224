"""The value that `assess` prints and writes; light, so that showing it needs no model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from ctiqa_node.result_values import ModelResult, NotableResult

OfflineState = Literal["assessed", "skipped", "failed"]


class OfflineSeries(BaseModel):
    """One series of a folder, and what was found. `models` is as in `results --json`."""

    series_instance_uid: str
    study_instance_uid: str
    accession_number: str
    patient_id: str
    description: str
    modality: str
    instances: int
    state: OfflineState
    reason: str | None = None
    slices: int = 0
    completeness: str | None = None
    missing_slices: int | None = None
    window_agreement: str | None = None
    findings: list[str] = []
    notable_slices: list[NotableResult] = []
    models: list[ModelResult] = []
    folder: str | None = None
    """Where its results were written."""
    not_made: dict[str, str] = {}
    """The result objects that could not be made, and why."""

    @property
    def has_values(self) -> bool:
        """Whether any model gave a number."""
        return any(model.measurements for model in self.models)
