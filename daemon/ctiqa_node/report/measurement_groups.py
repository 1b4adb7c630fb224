"""The measurement groups of the report: one for each notable slice, one for the series."""

from __future__ import annotations

from highdicom.sr import (
    ContentSequence,
    ImageRegion,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TrackingIdentifier,
)

from ctiqa_node.ct.volume import CtVolume
from ctiqa_node.report import codes as table
from ctiqa_node.report.content import Report, ReportedMeasurement, ReportedModel
from ctiqa_node.report.evaluations import algorithm, series_evaluations, slice_evaluations
from ctiqa_node.report.image_library import distinct_instances, frames_of
from ctiqa_node.report.notable import NotableSlice, grouped_slices
from ctiqa_node.report.outline import body_outline
from ctiqa_node.report.source import source_uid
from ctiqa_node.report.uids import derived_uid, models_fingerprint


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
    content.extend(slice_evaluations(report, notable))
    return group


def series_group(report: Report) -> MeasurementsAndQualitativeEvaluations:
    """The values, classes and remarks that hold for the whole series, and the images they come from (TID 1501).

    The region is where viewers show them. OHIF (3.12, 3.13) shows nothing of a report that has a group without one.
    """
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(report, "Whole series"),
        measurements=[_measurement(model, measurement) for model, measurement in _series_measurements(report)],
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
    content.append(_region(report.volume, _slice_without_group(report)))
    content.extend(series_evaluations(report))
    return group


def _series_measurements(report: Report) -> list[tuple[ReportedModel, ReportedMeasurement]]:
    """What each model says first, then all else: OHIF shows five numbers of a group."""
    found = [(rank, model, m) for model in report.scored for rank, m in enumerate(model.series_measurements)]
    return [(model, m) for rank, model, m in sorted(found, key=lambda entry: entry[0] > 0)]


def _slice_without_group(report: Report) -> int:
    """The slice nearest to the middle that has no group of its own: viewers write all groups of a slice over it."""
    taken = {notable.slice_index for notable in grouped_slices(report)}
    count = len(report.volume.sources)
    middle = count // 2
    return min(set(range(count)) - taken or {middle}, key=lambda z: (abs(z - middle), z))


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
    entry = table.quantity(measurement.name)
    return Measurement(
        name=entry.code,
        value=float(measurement.value),
        unit=table.unit_code(measurement.unit),
        algorithm_id=algorithm(model),
        derivation=entry.of_series.code if entry.of_series and measurement.slice_index is None else None,
    )
