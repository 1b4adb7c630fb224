"""UIDs of the results, derived from what they are made from, and the recognition of our own results.

A repeated run gives the same UIDs, so that an archive overwrites or ignores the repeat (DICOM PS3.5 B.2 gives the form
2.25.<integer of a UUID>; the UUID is a name-based one, RFC 9562 version 5).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from enum import StrEnum
from uuid import UUID, uuid5

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException

from ctiqa_node.report.content import ReportedModel

DEVICE_MODEL = "ctiqa-node"
_NAMESPACE = UUID("0f6c1e52-5c1b-5f0a-9f25-3d6f1c0a7b11")

# What pydicom raises, on access, for values that it cannot convert.
UNREADABLE = (
    AttributeError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    TypeError,
    ValueError,
    struct.error,
    BytesLengthException,
)


class ResultKind(StrEnum):
    """The objects that the node makes."""

    STRUCTURED_REPORT = "sr"
    SECONDARY_CAPTURE = "sc"
    QUALITY_MAPS = "quality_maps"
    PARAMETRIC_MAP = "parametric_map"
    KEY_OBJECTS = "key_objects"
    PDF = "pdf"
    TEXT_REPORT = "text_report"


def derived_uid(*parts: object) -> str:
    """A UID that depends on nothing but the parts; at most 44 characters."""
    return f"2.25.{uuid5(_NAMESPACE, chr(31).join(str(part) for part in parts)).int}"


def result_uid(series_instance_uid: str, kind: ResultKind, revision: int, models_fingerprint: str) -> str:
    """SOP Instance UID of a result of one revision of one source series by one set of models."""
    return derived_uid("instance", series_instance_uid, ResultKind(kind).value, revision, models_fingerprint)


def result_series_uid(series_instance_uid: str, kind: ResultKind) -> str:
    """Series Instance UID of all results of one kind for one source series, the same for every revision."""
    return derived_uid("series", series_instance_uid, ResultKind(kind).value)


def models_fingerprint(models: tuple[ReportedModel, ...]) -> str:
    """Hexadecimal SHA-256 over name, version and weights of the models, in whatever order they ran."""
    lines = sorted(f"{m.name}\t{m.version}\t{m.weights_sha256 or ''}" for m in models)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def is_own_result(dataset: Dataset) -> bool:
    """Tell whether an object was made by this software, from any node of it; raises for no dataset.

    Three marks, as archives may coerce one or the other: Manufacturer's Model Name, the item of Contributing Equipment
    Sequence, and a Series Instance UID that follows from a source series that the object refers to.
    """
    return _made_by_us(dataset) or _contributed_by_us(dataset) or _series_follows_from_source(dataset)


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "").strip()
    except UNREADABLE:
        return ""


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    try:
        return [item for item in (dataset.get(keyword) or ()) if isinstance(item, Dataset)]
    except UNREADABLE:
        return []


def _made_by_us(dataset: Dataset) -> bool:
    return _text(dataset, "ManufacturerModelName").lower() == DEVICE_MODEL


def _contributed_by_us(dataset: Dataset) -> bool:
    return any(_made_by_us(item) for item in _items(dataset, "ContributingEquipmentSequence"))


def _referred_series(dataset: Dataset) -> Iterator[str]:
    studies = [dataset, *_items(dataset, "CurrentRequestedProcedureEvidenceSequence")]
    for study in studies:
        for series in _items(study, "ReferencedSeriesSequence"):
            yield _text(series, "SeriesInstanceUID")


def _series_follows_from_source(dataset: Dataset) -> bool:
    own_series = _text(dataset, "SeriesInstanceUID")
    return bool(own_series) and any(
        own_series == result_series_uid(source, kind) for source in _referred_series(dataset) for kind in ResultKind
    )
