"""A structured report as plain text: an indented tree for people, without codes."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

_STEP = "  "
_MOST_IMAGES = 5


def as_text(report: Dataset) -> str:
    """Render a structured report, one content item a line, the children of an item indented below it.

    Of a run of image references the first few are written and the rest counted. Any SR of any template can be
    rendered; what an item lacks is left out.
    """
    heading = [
        f"Patient: {report.get('PatientName', '')}  ID: {report.get('PatientID', '')}",
        f"Study: {report.get('StudyDate', '')}  accession: {report.get('AccessionNumber', '')}",
        f"Report: {report.get('SeriesDescription', '')}",
        f"Written: {report.get('ContentDate', '')} {report.get('ContentTime', '')}",
        "",
        _name(report),
    ]
    return "\n".join([*heading, *_lines(report, 1)]) + "\n"


def _lines(parent: Dataset, depth: int) -> Iterator[str]:
    items = list(parent.get("ContentSequence") or [])
    images = [item for item in items if item.get("ValueType") == "IMAGE"]
    left_out = {id(item) for item in images[_MOST_IMAGES:]}
    for item in items:
        if left_out and item is images[_MOST_IMAGES]:
            yield f"{_STEP * depth}and {len(left_out)} more images"
        if id(item) in left_out:
            continue
        text = ": ".join(part for part in (_name(item), _value(item)) if part)
        yield f"{_STEP * depth}{text}"
        yield from _lines(item, depth + 1)


def _name(item: Dataset) -> str:
    return _meaning(item, "ConceptNameCodeSequence")


def _meaning(item: Dataset, keyword: str) -> str:
    sequence = item.get(keyword) or []
    return str(sequence[0].get("CodeMeaning", "")) if sequence else ""


def _value(item: Dataset) -> str:
    match item.get("ValueType"):
        case "TEXT":
            return str(item.get("TextValue", ""))
        case "CODE":
            return _meaning(item, "ConceptCodeSequence")
        case "NUM":
            return _number(item)
        case "UIDREF":
            return str(item.get("UID", ""))
        case "IMAGE":
            return _image(item)
        case "SCOORD":
            return f"{item.get('GraphicType', '')} of {len(item.get('GraphicData') or []) // 2} points"
        case _:
            return ""


def _number(item: Dataset) -> str:
    measured = item.get("MeasuredValueSequence") or []
    if not measured:
        return "no value"
    unit = (measured[0].get("MeasurementUnitsCodeSequence") or [Dataset()])[0].get("CodeValue", "")
    value = f"{float(measured[0].NumericValue):.6g}"
    return value if unit == "1" else f"{value} {unit}"


def _image(item: Dataset) -> str:
    references = item.get("ReferencedSOPSequence") or []
    if not references:
        return ""
    frames = references[0].get("ReferencedFrameNumber")
    return f"{references[0].ReferencedSOPInstanceUID}{f' frames {frames}' if frames else ''}"
