"""The structured report: a Comprehensive SR by TID 1500 Measurement Report (DICOM PS3.16)."""

from __future__ import annotations

from highdicom.sr import (
    CodedConcept,
    ComprehensiveSR,
    LanguageOfContentItemAndDescendants,
    MeasurementReport,
    ObservationContext,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from ctiqa_node.report.content import Progress, Report, unheeded
from ctiqa_node.report.image_library import image_library
from ctiqa_node.report.measurement_groups import series_group, slice_group
from ctiqa_node.report.notable import grouped_slices
from ctiqa_node.report.objects import device_observer, evidence, our_coding_scheme
from ctiqa_node.report.predecessors import name_replaced_document
from ctiqa_node.report.source import dress, plain, source_uid
from ctiqa_node.report.uids import (
    DEVICE_MODEL,
    ResultKind,
    models_fingerprint,
    result_series_uid,
    result_uid,
)

SERIES_DESCRIPTION = "CT image quality: report"
_ENGLISH = CodedConcept("en-US", "RFC5646", "English (United States)")
_PROCEDURE = CodedConcept("77477000", "SCT", "Computed tomography")


def structured_report(report: Report, progress: Progress = unheeded) -> Dataset:
    """Write a report as Comprehensive SR, with file meta information, Explicit VR Little Endian.

    The groups of the notable slices come before the group of the whole series: OHIF opens the first group. All content
    is ASCII, so that it fits any character set of the source. The same report gives the same data set, byte for byte.
    """
    source_series = source_uid(report, "SeriesInstanceUID")
    kind = ResultKind.STRUCTURED_REPORT
    result = ComprehensiveSR(
        evidence=evidence(report, report.volume.sources),
        content=_content(report, progress),
        series_instance_uid=result_series_uid(source_series, kind),
        series_number=report.structured_report_series_number,
        sop_instance_uid=result_uid(source_series, kind, report.revision, models_fingerprint(report.models)),
        instance_number=report.revision,
        manufacturer=DEVICE_MODEL,
        is_complete=True,
        is_final=True,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_date=report.assessed_at.date(),
        content_time=report.assessed_at.time(),
        specific_character_set=None,  # dress() sets it: the source's own may be one that highdicom refuses
        coding_schemes=[our_coding_scheme()],
    )
    dress(result, report, kind, SERIES_DESCRIPTION, report.structured_report_series_number)
    result["SoftwareVersions"].value = list(_software_versions(report))
    name_replaced_document(result, report)
    return result


def _software_versions(report: Report) -> tuple[str, ...]:
    """The node's, and each model's with its name."""
    models = (f"{plain(m.name)} {plain(m.version)}" for m in report.models)
    return tuple(text.replace("\\", "/")[:64] for text in (plain(report.device.software_version), *models))


def _content(report: Report, progress: Progress) -> MeasurementReport:
    chosen, groups = grouped_slices(report), []
    for notable in chosen:
        groups.append(slice_group(report, notable))
        progress(len(groups) / (len(chosen) + 1))
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=device_observer(report)),
        procedure_reported=_PROCEDURE,
        imaging_measurements=[*groups, series_group(report)],
        title=codes.DCM.ImagingMeasurementReport,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(_ENGLISH),
    )
    items = content[0].ContentSequence
    items.insert(len(items) - 1, image_library(report))  # TID 1500: the library stands before the measurements
    return content
