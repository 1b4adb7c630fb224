"""The measurement groups of the report: one for each notable slice, one for the series."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    ContentItem,
    ContentSequence,
    ImageRegion,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    NumContentItem,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.sr.coding import Code

from ctiqa_node.ct.volume import CtVolume
from ctiqa_node.report import codes as table
from ctiqa_node.report.content import Report, ReportedClassification, ReportedMeasurement, ReportedModel
from ctiqa_node.report.image_library import distinct_instances, frames_of
from ctiqa_node.report.notable import NotableSlice
from ctiqa_node.report.outline import body_outline
from ctiqa_node.report.source import plain, source_uid
from ctiqa_node.report.uids import derived_uid, models_fingerprint

_MODIFIES = RelationshipTypeValues.HAS_CONCEPT_MOD
_PROPERTY = RelationshipTypeValues.HAS_PROPERTIES
_CONTAINS = RelationshipTypeValues.CONTAINS
_CERTAINTY = Code("111012", "DCM", "Certainty of Finding")
_REASON = Code("410666004", "SCT", "Reason")
_COMMENT = Code("121106", "DCM", "Comment")


def slice_group(report: Report, notable: NotableSlice) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    """The values of one slice with the outline of the body on it (TID 1410), so that viewers can show where."""
    z = notable.slice_index
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(report, f"Slice {z + 1} of {len(report.volume.sources)}: {notable.sentence}"),
        referenced_region=_region(report.volume, z),
        measurements=[
            _measurement(model, measurement)
            for model in report.scored
            for measurement in model.measurements
            if measurement.slice_index == z
        ],
    )
    content: ContentSequence = group[0].ContentSequence
    content.append(_text(table.SLICE_ROLE, notable.sentence, _CONTAINS))
    for model in report.scored:
        if z in model.unscored_slices:
            reason = f"{table.model_title(model.name)}: {model.unscored_slices[z]}"
            content.append(_text(table.SLICES_LEFT_OUT, reason, _CONTAINS))
    return group


def series_group(report: Report) -> MeasurementsAndQualitativeEvaluations:
    """The values, classes and remarks that hold for the whole series, and the images they come from (TID 1501)."""
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(report, "Whole series"),
        measurements=[
            _measurement(model, measurement) for model in report.scored for measurement in model.series_measurements
        ],
        source_images=[
            SourceImageForMeasurementGroup(
                source.sop_class_uid,
                source.sop_instance_uid,
                frames_of(report.volume.sources, source.sop_instance_uid),
            )
            for source in distinct_instances(report.volume.sources)
        ],
    )
    content: ContentSequence = group[0].ContentSequence
    for model in report.models:
        content.extend(_evaluations(model))
        content.extend(_left_out(model))
    content.extend(_findings(report))
    content.append(_text(table.CAVEAT, table.NOT_FOR_DIAGNOSIS, _CONTAINS))
    return group


def _tracking(report: Report, identifier: str) -> TrackingIdentifier:
    uid = derived_uid(
        "tracking",
        source_uid(report, "SeriesInstanceUID"),
        report.revision,
        models_fingerprint(report.models),
        identifier,
    )
    return TrackingIdentifier(uid=uid, identifier=identifier)


def _region(volume: CtVolume, z: int) -> ImageRegion:
    source = volume.sources[z]
    frames = None if source.frame_number is None else [source.frame_number]
    return ImageRegion(
        graphic_type="POLYLINE",
        graphic_data=body_outline(volume.hu[z]),
        source_image=SourceImageForRegion(source.sop_class_uid, source.sop_instance_uid, frames),
    )


def _measurement(model: ReportedModel, measurement: ReportedMeasurement) -> Measurement:
    """One number with its algorithm.

    The algorithm stands at each number, as one group holds numbers of several models. (OHIF also needs some content
    below each number of a group without a region; it stumbles over a bare one.)
    """
    return Measurement(
        name=table.quantity(measurement.name).code,
        value=float(measurement.value),
        unit=table.unit_code(measurement.unit),
        algorithm_id=_algorithm(model),
    )


def _algorithm(model: ReportedModel) -> AlgorithmIdentification:
    parameters = [plain(model.summary)]
    if model.weights_sha256 is not None:
        parameters = [
            f"SHA-256 of the weights: {plain(model.weights_sha256)}",
            f"Trained on: {plain(model.trained_on)}",
            *parameters,
        ]
    return AlgorithmIdentification(
        name=plain(model.name), version=plain(model.version), parameters=[p for p in parameters if p]
    )


def _evaluations(model: ReportedModel) -> Iterator[ContentItem]:
    if model.reason is not None:
        status = CodeContentItem(name=table.SCORING_STATUS, value=table.NOT_SCORED, relationship_type=_CONTAINS)
        status.ContentSequence = ContentSequence([*_algorithm(model), _text(_REASON, model.reason, _PROPERTY)])
        yield status
    decisions: dict[str, list[ReportedClassification]] = defaultdict(list)
    for classification in model.classifications:
        decisions[classification.name].append(classification)
    for name, classes in decisions.items():
        yield _decision(model, name, sorted(classes, key=lambda c: -c.probability))


def _decision(model: ReportedModel, name: str, classes: Sequence[ReportedClassification]) -> CodeContentItem:
    """The likeliest class with its probability; the others, likeliest first, below it."""
    decision = _class(table.evaluation_code(name), classes[0], _CONTAINS)
    decision.ContentSequence.extend(_algorithm(model))
    for other in classes[1:]:
        decision.ContentSequence.append(_class(table.OTHER_CLASS, other, _PROPERTY))
    return decision


def _class(name: Code, classification: ReportedClassification, relationship: RelationshipTypeValues) -> CodeContentItem:
    item = CodeContentItem(
        name=name,
        value=table.class_code(classification.name, classification.label),
        relationship_type=relationship,
    )
    certainty = NumContentItem(
        name=_CERTAINTY,
        value=round(100.0 * classification.probability, 2),
        unit=table.unit_code("%"),
        relationship_type=_PROPERTY,
    )
    item.ContentSequence = ContentSequence([certainty])
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


def _findings(report: Report) -> Iterator[CodeContentItem]:
    for finding in report.volume.findings:
        item = CodeContentItem(
            name=table.INPUT_FINDING, value=table.private_code(finding.code.value), relationship_type=_CONTAINS
        )
        item.ContentSequence = ContentSequence([_text(_COMMENT, finding.sentence, _PROPERTY)])
        yield item


def _text(name: Code, value: str, relationship: RelationshipTypeValues) -> TextContentItem:
    return TextContentItem(name=name, value=plain(value) or "-", relationship_type=relationship)
