"""What every result object of ours is begun and ended with: its identity, its file meta information, its sources."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import DeviceObserverIdentifyingAttributes, ObserverContext
from pydicom.dataset import Dataset, FileMetaDataset, validate_file_meta
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRLittleEndian

from ctiqa_node.ct.volume import SliceSource
from ctiqa_node.report.codes import PRIVATE_SCHEME, PRIVATE_SCHEME_NAME, model_title
from ctiqa_node.report.content import Report
from ctiqa_node.report.image_library import distinct_instances, frames_of
from ctiqa_node.report.source import patient_and_study, plain, source_uid
from ctiqa_node.report.uids import (
    DEVICE_MODEL,
    ResultKind,
    derived_uid,
    models_fingerprint,
    result_series_uid,
    result_uid,
)


def instance_uid(report: Report, kind: ResultKind) -> str:
    """SOP Instance UID of the result of one kind."""
    series = source_uid(report, "SeriesInstanceUID")
    return result_uid(series, kind, report.revision, models_fingerprint(report.models))


def series_uid(report: Report, kind: ResultKind) -> str:
    """Series Instance UID of the results of one kind."""
    return result_series_uid(source_uid(report, "SeriesInstanceUID"), kind)


def identified(report: Report, kind: ResultKind, sop_class: UID, modality: str) -> Dataset:
    """A data set that has nothing but its UIDs and its modality."""
    result = Dataset()
    result.SOPClassUID = sop_class
    result.SOPInstanceUID = instance_uid(report, kind)
    result.SeriesInstanceUID = series_uid(report, kind)
    result.Modality = modality
    return result


def add_file_meta(result: Dataset) -> None:
    """Complete a data set to a file in place: preamble and file meta information, Explicit VR Little Endian."""
    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # pydicom writes the true length
    meta.MediaStorageSOPClassUID = result.SOPClassUID
    meta.MediaStorageSOPInstanceUID = result.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    validate_file_meta(meta, enforce_standard=True)
    result.preamble = b"\0" * 128
    result.file_meta = meta


def evidence(report: Report, sources: tuple[SliceSource, ...]) -> list[Dataset]:
    """The instances of some slices as highdicom wants them; the first one carries patient and study.

    The names stay empty, as highdicom warns of those that are not of its liking; dress() writes them.
    """
    study, series = source_uid(report, "StudyInstanceUID"), source_uid(report, "SeriesInstanceUID")
    instances: list[Dataset] = []
    for source in distinct_instances(sources):
        instance = Dataset() if instances else patient_and_study(report)
        instance.SOPClassUID = source.sop_class_uid
        instance.SOPInstanceUID = source.sop_instance_uid
        instance.StudyInstanceUID = study
        instance.SeriesInstanceUID = series
        instances.append(instance)
    instances[0].PatientName = instances[0].ReferringPhysicianName = ""
    return instances


def device_observer(report: Report) -> ObserverContext:
    """The node as the observer of a document (DICOM PS3.16 TID 1004)."""
    device = report.device
    return ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=derived_uid("device", device.ae_title, device.station_name),
            name=plain(device.ae_title),
            manufacturer_name=DEVICE_MODEL,
            model_name=f"{DEVICE_MODEL} {plain(device.software_version)}",
            physical_location=plain(device.station_name) or None,
        ),
    )


def our_coding_scheme() -> CodingSchemeIdentificationItem:
    """The declaration of our private codes."""
    return CodingSchemeIdentificationItem(
        PRIVATE_SCHEME, name=PRIVATE_SCHEME_NAME, responsible_organization="ctiqa-node project"
    )


def models_sentence(report: Report) -> str:
    """The models by title and version, in ASCII: "N2Q 1.1, SNR 1.0"; "no model" without any."""
    return plain(", ".join(f"{model_title(m.name)} {m.version}" for m in report.models)) or "no model"


def refer_to_slices(result: Dataset, report: Report, slices: Sequence[int]) -> None:
    """Name slices (indices along z) as the sources of a result, in place: each instance once, with its frames."""
    chosen = tuple(report.volume.sources[z] for z in slices)
    images, instances = [], []
    for source in distinct_instances(chosen):
        instance = Dataset()
        instance.ReferencedSOPClassUID = source.sop_class_uid
        instance.ReferencedSOPInstanceUID = source.sop_instance_uid
        instances.append(instance)
        image = Dataset()
        image.update(instance)
        image.PurposeOfReferenceCodeSequence = [code_item(codes.DCM.SourceImageForImageProcessingOperation)]
        frames = frames_of(chosen, source.sop_instance_uid)
        if frames is not None:
            image.ReferencedFrameNumber = frames
        images.append(image)
    series = Dataset()
    series.SeriesInstanceUID = source_uid(report, "SeriesInstanceUID")
    series.ReferencedInstanceSequence = instances
    result.SourceImageSequence = images
    result.ReferencedSeriesSequence = [series]


def code_item(code: Code) -> Dataset:
    """A code as the item of a sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item
