"""What the node needs to know of an instance before its pixels are touched."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from ctiqa_node.ct import headers
from ctiqa_node.ct.selection import InstanceSummary, summarise
from ctiqa_node.report.uids import is_own_result

UNREADABLE = (*headers.UNREADABLE, OSError)
"""What pydicom raises on bytes that are no dataset, whatever they pretend to be; OSError for broken sequences."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the node needs to know of an instance before its pixels are touched."""

    series_instance_uid: str
    study_instance_uid: str
    accession_number: str
    patient_id: str
    patient_name: str
    study_date: str
    series_description: str
    summary: InstanceSummary


def header_of(dataset: Dataset) -> Header:
    """Gather it from a dataset; what is missing is an empty text. Raises one of `UNREADABLE` for what is no dataset."""
    return Header(
        series_instance_uid=_text(dataset, "SeriesInstanceUID"),
        study_instance_uid=_text(dataset, "StudyInstanceUID"),
        accession_number=_text(dataset, "AccessionNumber"),
        patient_id=_text(dataset, "PatientID"),
        patient_name=_text(dataset, "PatientName"),
        study_date=_text(dataset, "StudyDate"),
        series_description=_text(dataset, "SeriesDescription"),
        summary=summarise(dataset, is_own_result=is_own_result(dataset)),
    )


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip()
