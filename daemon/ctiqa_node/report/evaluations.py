"""The qualitative evaluations of the report: what is no number, each as a code with its words (TID 1501)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    ContentItem,
    ContentSequence,
    NumContentItem,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.sr.coding import Code

from ctiqa_node.report import codes as table
from ctiqa_node.report.agreement import window_agreement
from ctiqa_node.report.completeness import completeness
from ctiqa_node.report.content import Report, ReportedClassification, ReportedModel, ReportStatus
from ctiqa_node.report.notable import NotableSlice
from ctiqa_node.report.source import plain
from ctiqa_node.report.verdicts import (
    LDCTIQA_SCORES,
    CompletenessVerdict,
    NotScoredReason,
    quality_category,
)

_PROPERTY = RelationshipTypeValues.HAS_PROPERTIES
_CONTAINS = RelationshipTypeValues.CONTAINS


def series_evaluations(report: Report) -> Iterator[ContentItem]:
    """For each model its verdict, category and classes; then the series' completeness, findings, and the caveat."""
    for model in report.models:
        yield _scoring_status(model)
        yield from _categories(model, None)
        yield from _decisions(model)
        yield from _left_out(model)
    yield from _window_agreement(report)
    yield _completeness(report)
    for finding in report.volume.findings:
        yield _code(table.INPUT_FINDING, table.FINDINGS[finding.code], _text(table.COMMENT, finding.sentence))
    yield _text(table.CAVEAT, table.NOT_FOR_DIAGNOSIS, _CONTAINS)


def slice_evaluations(report: Report, notable: NotableSlice) -> Iterator[ContentItem]:
    """Why the slice is here, its category, and which models left it out."""
    yield _text(table.SLICE_ROLE, notable.sentence, _CONTAINS)
    for model in report.scored:
        yield from _categories(model, notable.slice_index)
        if notable.slice_index in model.unscored_slices:
            reason = f"{table.model_title(model.name)}: {model.unscored_slices[notable.slice_index]}"
            yield _text(table.SLICES_LEFT_OUT, reason, _CONTAINS)


def algorithm(model: ReportedModel) -> AlgorithmIdentification:
    """Name and version, and as a parameter the weights' hash (TID 4019); it stands at every value, so it is short."""
    return _identification(model, _weights(model))


def _whole_algorithm(model: ReportedModel) -> AlgorithmIdentification:
    """The same with what the weights were trained on, and what is computed; once for each model."""
    trained_on = [f"Trained on: {plain(model.trained_on)}"] if model.weights_sha256 is not None else []
    return _identification(model, [*_weights(model), *trained_on, plain(model.summary)])


def _weights(model: ReportedModel) -> list[str]:
    return [] if model.weights_sha256 is None else [f"SHA-256 of the weights: {plain(model.weights_sha256)}"]


def _identification(model: ReportedModel, parameters: list[str]) -> AlgorithmIdentification:
    shown = [parameter for parameter in parameters if parameter]
    return AlgorithmIdentification(name=plain(model.name), version=plain(model.version), parameters=shown or None)


def _scoring_status(model: ReportedModel) -> CodeContentItem:
    """Scored, or not scored with the reason as a code and in the model's own words."""
    if model.status is ReportStatus.SCORED:
        return _code(table.SCORING_STATUS, table.SCORED, *_whole_algorithm(model))
    sentence = model.reason or "no reason given"
    reason = table.NOT_SCORED_REASONS[model.reason_code or NotScoredReason.OTHER]
    coded = CodeContentItem(name=table.REASON, value=reason, relationship_type=_PROPERTY)
    return _code(
        table.SCORING_STATUS, table.NOT_SCORED, *_whole_algorithm(model), coded, _text(table.COMMENT, sentence)
    )


def _categories(model: ReportedModel, slice_index: int | None) -> Iterator[CodeContentItem]:
    for m in model.measurements:
        if m.slice_index == slice_index and m.name in LDCTIQA_SCORES:
            yield _code(table.QUALITY, table.QUALITY_CATEGORIES[quality_category(m.value)], *algorithm(model))


def _decisions(model: ReportedModel) -> Iterator[CodeContentItem]:
    decisions: dict[str, list[ReportedClassification]] = defaultdict(list)
    for classification in model.classifications:
        decisions[classification.name].append(classification)
    for name, classes in decisions.items():
        yield _decision(model, name, sorted(classes, key=lambda c: -c.probability))


def _decision(model: ReportedModel, name: str, classes: Sequence[ReportedClassification]) -> CodeContentItem:
    """The likeliest class with its probability; the others, likeliest first, below it."""
    decision = _class(table.evaluation_code(name), classes[0], _CONTAINS)
    decision.ContentSequence.extend(algorithm(model))
    for other in classes[1:]:
        decision.ContentSequence.append(_class(table.OTHER_CLASS, other, _PROPERTY))
    return decision


def _class(name: Code, classification: ReportedClassification, relationship: RelationshipTypeValues) -> CodeContentItem:
    item = CodeContentItem(
        name=name,
        value=table.class_code(classification.name, classification.label),
        relationship_type=relationship,
    )
    item.ContentSequence = ContentSequence([_number(table.CERTAINTY, 100.0 * classification.probability, "%")])
    return item


def _left_out(model: ReportedModel) -> Iterator[TextContentItem]:
    for reason, ranges in left_out_slices(model):
        sentence = f"{table.model_title(model.name)} left out slices {ranges}: {reason}"
        yield _text(table.SLICES_LEFT_OUT, sentence, _CONTAINS)


def left_out_slices(model: ReportedModel) -> list[tuple[str, str]]:
    """The reasons for which a model left out slices, each with its slices as people count them ("1-3, 7")."""
    by_reason: dict[str, list[int]] = defaultdict(list)
    for z, reason in sorted(model.unscored_slices.items()):
        by_reason[reason].append(z + 1)
    return [(reason, _ranges(numbers)) for reason, numbers in by_reason.items()]


def _ranges(numbers: list[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _window_agreement(report: Report) -> Iterator[CodeContentItem]:
    found = window_agreement(report)
    if found is not None:
        value = table.AGREES if found.agrees else table.MISMATCH
        yield _code(table.WINDOW_AGREEMENT, value, _text(table.COMMENT, found.sentence))


def _completeness(report: Report) -> CodeContentItem:
    found = completeness(report.volume, report.archive)
    missing = [_number(table.MISSING_SLICES, found.missing, "{slices}")]
    below = missing if found.verdict is CompletenessVerdict.GAPS else []
    because = _text(table.COMMENT, "; ".join(found.evidence))
    return _code(table.COMPLETENESS, table.COMPLETENESS_VERDICTS[found.verdict], *below, because)


def _code(name: Code, value: Code, *below: ContentItem) -> CodeContentItem:
    item = CodeContentItem(name=name, value=value, relationship_type=_CONTAINS)
    if below:
        item.ContentSequence = ContentSequence(below)
    return item


def _number(name: Code, value: float, unit: str) -> NumContentItem:
    return NumContentItem(name=name, value=round(value, 6), unit=table.unit_code(unit), relationship_type=_PROPERTY)


def _text(name: Code, value: str, relationship: RelationshipTypeValues = _PROPERTY) -> TextContentItem:
    return TextContentItem(name=name, value=plain(value) or "-", relationship_type=relationship)
