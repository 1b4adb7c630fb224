"""An independent reader of the structured report: pydicom and the tables of docs/codes.md, and nothing of ours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

Code = tuple[str, str]
"""Coding scheme and value."""

_DCM = {
    "groups": ("DCM", "125007"), "algorithm": ("DCM", "111001"), "version": ("DCM", "111003"),
    "parameter": ("DCM", "111002"), "tracking": ("DCM", "112039"), "region": ("DCM", "111030"),
    "derivation": ("DCM", "121401"), "source": ("DCM", "121112"),
}  # fmt: skip
_SHA256 = "SHA-256 of the weights: "
_TRAINED = "Trained on: "


@dataclass
class Vocabulary:
    """The words of `results --json` for the codes of the report, as the page on codes tells them."""

    concepts: dict[Code, str] = field(default_factory=dict)
    values: dict[tuple[str, Code], str] = field(default_factory=dict)
    """By the value of the concept's code, and the code."""


def read_vocabulary(page: Path) -> Vocabulary:
    """Read the tables of docs/codes.md."""
    found = Vocabulary()
    for section in page.read_text(encoding="utf-8").split("\n## ")[1:]:
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if len(cells) != 5 or not cells[0].startswith("`"):
                continue
            first, code = cells[0].strip("`"), (cells[2], cells[1])
            if section.startswith("Values"):
                found.values[first, code] = cells[4]
            elif first != "–":
                found.concepts[code] = first
    return found


@dataclass
class ReadModel:
    """What the report says of one model."""

    version: str
    weights_sha256: str | None
    trained_on: str | None = None
    status: str = ""
    reason: str | None = None
    reason_code: str | None = None
    quality_category: str | None = None
    measurements: dict[str, tuple[float, str]] = field(default_factory=dict)
    derivations: dict[str, str] = field(default_factory=dict)
    classifications: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass
class ReadSlice:
    """What the report says of one slice."""

    sop_instance_uid: str
    frame_number: int | None
    sentence: str = ""
    outline_points: int = 0
    values: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)
    """By model and measurement."""
    quality_category: str | None = None


@dataclass
class ReadReport:
    """All of it."""

    models: dict[str, ReadModel] = field(default_factory=dict)
    slices: list[ReadSlice] = field(default_factory=list)
    completeness: str | None = None
    missing_slices: int = 0
    window_agreement: str | None = None
    findings: list[tuple[str, str]] = field(default_factory=list)
    predecessors: list[str] = field(default_factory=list)


def read_report(path: Path, words: Vocabulary) -> ReadReport:
    """Read a report from its file."""
    document = dcmread(path)
    found = ReadReport()
    for study in document.get("PredecessorDocumentsSequence", []):
        for series in study.ReferencedSeriesSequence:
            found.predecessors += [str(item.ReferencedSOPInstanceUID) for item in series.ReferencedSOPSequence]
    for item in _walk(document):
        if _name(item) == _DCM["groups"]:
            _read_group(item, words, found)
    return found


def _walk(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", []):
        yield child
        yield from _walk(child)


def _code(sequence: list[Dataset]) -> Code:
    return str(sequence[0].CodingSchemeDesignator), str(sequence[0].CodeValue)


def _name(item: Dataset) -> Code:
    # A reference to images may stand without a name, by the standard.
    return _code(item.ConceptNameCodeSequence) if "ConceptNameCodeSequence" in item else ("", "")


def _below(item: Dataset, name: Code) -> list[Dataset]:
    return [child for child in item.get("ContentSequence", []) if _name(child) == name]


def _text(item: Dataset, name: Code) -> str | None:
    found = _below(item, name)
    return str(found[0].TextValue) if found else None


def _number(item: Dataset) -> tuple[float, str]:
    measured = item.MeasuredValueSequence[0]
    value = measured.FloatingPointValue if "FloatingPointValue" in measured else measured.NumericValue
    return float(value), str(measured.MeasurementUnitsCodeSequence[0].CodeValue)


def _read_group(group: Dataset, words: Vocabulary, found: ReadReport) -> None:
    if not _below(group, _DCM["source"]):  # what comes from many images is of the whole series
        (region,) = _below(group, _DCM["region"])
        found.slices.append(_read_slice(group, region, words))
        return
    for item in group.ContentSequence:
        concept = words.concepts.get(_name(item))
        if item.ValueType == "NUM":
            model = _model(item, found)
            assert concept is not None, _name(item)
            model.measurements[concept] = _number(item)
            for how in _below(item, _DCM["derivation"]):
                model.derivations[concept] = str(how.ConceptCodeSequence[0].CodeMeaning)
        elif item.ValueType == "CODE" and concept is not None:
            _read_evaluation(item, concept, words, found)


def _word(item: Dataset, words: Vocabulary) -> str:
    return words.values[_name(item)[1], _code(item.ConceptCodeSequence)]


def _read_evaluation(item: Dataset, concept: str, words: Vocabulary, found: ReadReport) -> None:
    word = _word(item, words)
    comment = _text(item, ("DCM", "121106"))
    if concept == "completeness":
        found.completeness = word
        found.missing_slices = sum(int(_number(n)[0]) for n in item.get("ContentSequence", []) if n.ValueType == "NUM")
    elif concept == "window_agreement":
        found.window_agreement = word
    elif concept == "findings":
        found.findings.append((word, comment or ""))
    elif concept == "quality_category":
        _model(item, found).quality_category = word
    elif concept == "status":
        model = _model(item, found)
        model.status, model.reason = word, comment
        for reason in (child for child in item.ContentSequence if words.concepts.get(_name(child)) == "reason_code"):
            model.reason_code = _word(reason, words)
    else:
        _model(item, found).classifications[concept] = dict(_classes(item, item, words))


def _classes(item: Dataset, concept: Dataset, words: Vocabulary) -> Iterator[tuple[str, float]]:
    """A class and the less likely ones below it; those have the values of the same concept."""
    (certainty,) = [child for child in item.ContentSequence if words.concepts.get(_name(child)) == "probability"]
    yield words.values[_name(concept)[1], _code(item.ConceptCodeSequence)], _number(certainty)[0] / 100
    for other in item.ContentSequence:
        if words.concepts.get(_name(other)) == "classifications":
            yield from _classes(other, concept, words)


def _model(item: Dataset, found: ReadReport) -> ReadModel:
    """The model that an item names, known or new."""
    name, version = _text(item, _DCM["algorithm"]), _text(item, _DCM["version"])
    assert name is not None
    assert version is not None
    parameters = [str(child.TextValue) for child in _below(item, _DCM["parameter"])]
    weights = next((text.removeprefix(_SHA256) for text in parameters if text.startswith(_SHA256)), None)
    model = found.models.setdefault(name, ReadModel(version, weights))
    trained = next((text.removeprefix(_TRAINED) for text in parameters if text.startswith(_TRAINED)), None)
    model.trained_on = trained or model.trained_on
    return model


def _read_slice(group: Dataset, region: Dataset, words: Vocabulary) -> ReadSlice:
    (image,) = [child for child in region.ContentSequence if child.ValueType == "IMAGE"]
    reference = image.ReferencedSOPSequence[0]
    frame = reference.get("ReferencedFrameNumber")
    found = ReadSlice(str(reference.ReferencedSOPInstanceUID), None if frame is None else int(frame))
    found.outline_points = len(region.GraphicData) // 2
    for item in group.ContentSequence:
        concept = words.concepts.get(_name(item), "")
        if item.ValueType == "NUM":
            model = _text(item, _DCM["algorithm"])
            assert model is not None
            found.values[model, concept] = _number(item)
        elif concept == "notable_slices":
            found.sentence = str(item.TextValue)
        elif concept == "quality_category":
            found.quality_category = _word(item, words)
    return found
