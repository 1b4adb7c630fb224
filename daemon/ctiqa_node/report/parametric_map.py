"""The quality maps as numbers: a Parametric Map (DICOM PS3.3 A.75), frame by frame with the source slices."""

from __future__ import annotations

import numpy as np
from highdicom import VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import DS

from ctiqa_node.report.codes import NOT_FOR_DIAGNOSIS, map_code, model_title, unit_code
from ctiqa_node.report.content import Report, ReportedModel
from ctiqa_node.report.frames_on_demand import FramesOnDemand
from ctiqa_node.report.map_frame import MappedSlice, mapped_slices, resampled
from ctiqa_node.report.objects import instance_uid, our_coding_scheme, refer_to_slices, series_uid
from ctiqa_node.report.predecessors import name_replaced_image
from ctiqa_node.report.series_header import attribute
from ctiqa_node.report.source import dress, patient_and_study, plain, source_uid
from ctiqa_node.report.uids import DEVICE_MODEL, ResultKind, derived_uid

SERIES_DESCRIPTION = "CT image quality: parametric map"
NO_VALUE = 0.0
"""Stored where a slice has no map; the real world value mapping leaves it out."""
_LOWEST = 1 / 65535  # stored for a quality of 0, which is a value
_SHOWN = (0.5, 1.0)  # where the maps of usable slices lie
_PLACEHOLDER = "2.25."
_ANATOMY = {
    "CHEST": ("816094009", "SCT", "Chest"),
    "THORAX": ("816094009", "SCT", "Chest"),
    "ABDOMEN": ("818981001", "SCT", "Abdomen"),
    "PELVIS": ("816092008", "SCT", "Pelvis"),
    "HEAD": ("69536005", "SCT", "Head"),
    "NECK": ("45048000", "SCT", "Neck"),
}
"""Codes of PS3.16 CID 4031 for values of Body Part Examined (PS3.16 Annex L); what is not here stays unsaid."""


def parametric_map(report: Report) -> Dataset | None:
    """Write the first model's quality maps as Parametric Map, with file meta information; None without maps.

    One frame for each slice of the volume, in the volume's order, with the rows, columns, position and frame of
    reference of the source, single-frame or Enhanced. Each frame names its slice. float32: the quality itself, from
    1/65535 to 1; 0 is a slice that the model left out. Not integers: OHIF takes stored values a hundredfold, without
    the real world value mapping, and that wraps round in 16 bits. Maps are stretched bilinearly to the slice and not
    cut to the body. Explicit VR Little Endian, uncompressed; the same report gives the same data set, byte for byte.
    """
    mapped = mapped_slices(report)
    if not mapped:
        return None
    model = mapped[0].model
    title = plain(f"{model_title(model.name)} quality map")
    number = report.parametric_map_series_number
    result = ParametricMap(
        source_images=_stand_ins(report),
        pixel_array=np.zeros((len(report.volume.sources), 1, 1), dtype=np.float32),  # as the stand-ins are
        series_instance_uid=series_uid(report, ResultKind.PARAMETRIC_MAP),
        series_number=number,
        sop_instance_uid=instance_uid(report, ResultKind.PARAMETRIC_MAP),
        instance_number=report.revision,
        manufacturer=DEVICE_MODEL,
        manufacturer_model_name=DEVICE_MODEL,
        software_versions=plain(report.device.software_version)[:64],
        device_serial_number=plain(report.device.ae_title)[:64],
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[_mapping(model)],
        voi_lut_transformations=[_window()],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="QUALITY_MAP",
        content_description=title[:64],
        specific_character_set=None,  # dress() sets it: the source's own may be one that highdicom refuses
        coding_schemes=[our_coding_scheme()],
    )
    dress(result, report, ResultKind.PARAMETRIC_MAP, SERIES_DESCRIPTION, number)
    result.DerivationDescription = plain(f"{title} by version {model.version}. {model.summary}")[:1024]
    result.ImageComments = NOT_FOR_DIAGNOSIS
    result.ContentCreatorName = ""  # type 2, which highdicom leaves out
    result.FloatPixelPaddingValue = result.FloatPixelPaddingRangeLimit = NO_VALUE
    _put_in_order(result)
    result.Rows, result.Columns = (int(side) for side in report.volume.hu.shape[1:])
    result.FloatPixelData = _frames(report, mapped)
    _refer(result, report)
    name_replaced_image(result, report)
    _name_anatomy(result, report)
    _fix_dimension_uid(result)
    return result


def _frames(report: Report, mapped: list[MappedSlice]) -> FramesOnDemand:
    """The frames in the volume's order."""
    count, rows, columns = report.volume.hu.shape
    maps = {one.slice_index: one.values for one in mapped}

    def stored(index: int) -> bytes:
        values = maps.get(index)
        if values is None:
            return np.full((rows, columns), NO_VALUE, dtype="<f4").tobytes()
        return np.clip(resampled(values, (rows, columns)), _LOWEST, 1.0).astype("<f4").tobytes()

    return FramesOnDemand(count, 4 * rows * columns, stored)


def _mapping(model: ReportedModel) -> RealWorldValueMapping:
    return RealWorldValueMapping(
        lut_label="QUALITY",
        lut_explanation="Quality from 0 (worst) to 1 (best)",
        unit=unit_code("1"),
        value_range=(_LOWEST, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=map_code(model.name),
    )


def _window() -> VOILUTTransformation:
    low, high = _SHOWN
    return VOILUTTransformation(
        window_center=(low + high) / 2,
        window_width=high - low,
        voi_lut_function="LINEAR_EXACT",  # LINEAR has no windows narrower than 1
    )


def _stand_ins(report: Report) -> list[Dataset]:
    """The slices as highdicom wants source images: single-frame, with nothing but what it reads.

    Frames of an Enhanced CT are no instances of their own, so each slice goes by a placeholder that tells its index.
    """
    geometry = report.volume.geometry
    study, series = source_uid(report, "StudyInstanceUID"), source_uid(report, "SeriesInstanceUID")
    orientation = [DS(x, auto_format=True) for x in (*geometry.row_cosine, *geometry.column_cosine)]
    spacing = [DS(x, auto_format=True) for x in geometry.spacing_mm[1:]]
    thickness = attribute(report, "SliceThickness") or DS(geometry.spacing_mm[0], auto_format=True)
    images: list[Dataset] = []
    for z, position in enumerate(geometry.positions):
        image = Dataset() if images else patient_and_study(report)
        image.SOPClassUID = CTImageStorage
        image.SOPInstanceUID = f"{_PLACEHOLDER}{z + 1}"
        image.StudyInstanceUID, image.SeriesInstanceUID = study, series
        image.FrameOfReferenceUID = source_uid(report, "FrameOfReferenceUID")
        image.Rows = image.Columns = 1  # highdicom keeps several copies of all pixels: it gets one of each
        image.ImageOrientationPatient = orientation
        image.ImagePositionPatient = [DS(x, auto_format=True) for x in position]
        image.PixelSpacing = spacing
        image.SliceThickness = thickness
        images.append(image)
    images[0].PatientName = images[0].ReferringPhysicianName = ""
    return images


def _put_in_order(result: Dataset) -> None:
    """Sort the frames as the volume's slices: highdicom begins with the last, and dcmqi takes that for the first."""
    frames = result.PerFrameFunctionalGroupsSequence
    order = np.argsort([_index_of(frame.DerivationImageSequence[0].SourceImageSequence[0]) for frame in frames])
    result.PerFrameFunctionalGroupsSequence = [frames[int(index)] for index in order]


def _index_of(placeholder: Dataset) -> int:
    return int(placeholder.ReferencedSOPInstanceUID.removeprefix(_PLACEHOLDER)) - 1


def _refer(result: Dataset, report: Report) -> None:
    """Put the real instances and frames in the place of the placeholders."""
    refer_to_slices(result, report, range(len(report.volume.sources)))
    for frame in result.PerFrameFunctionalGroupsSequence:
        for derivation in frame.DerivationImageSequence:
            for item in derivation.SourceImageSequence:
                source = report.volume.sources[_index_of(item)]
                item.ReferencedSOPClassUID = source.sop_class_uid
                item.ReferencedSOPInstanceUID = source.sop_instance_uid
                if source.frame_number is not None:
                    item.ReferencedFrameNumber = source.frame_number


def _name_anatomy(result: Dataset, report: Report) -> None:
    """Say which part of the body the frames show, if the source does (PS3.3 C.7.6.16.2.8).

    It is optional, but dcmqi, through which Slicer reads such maps, crashes on one without it.
    """
    region = _ANATOMY.get(attribute(report, "BodyPartExamined").upper().replace(" ", ""))
    if region is None:
        result.Laterality = ""  # type 2C: a CT series is of neither side
        return
    coded, anatomy = Dataset(), Dataset()
    coded.CodeValue, coded.CodingSchemeDesignator, coded.CodeMeaning = region
    anatomy.FrameLaterality = "U"  # unpaired
    anatomy.AnatomicRegionSequence = [coded]
    result.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy]


def _fix_dimension_uid(result: Dataset) -> None:
    """Derive the UID that highdicom draws at random, so that a repeat gives the same bytes."""
    uid = derived_uid("dimensions", result.SOPInstanceUID)
    for item in (*result.DimensionOrganizationSequence, *result.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
