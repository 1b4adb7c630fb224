"""Simulated CT as one valid Enhanced CT Image Storage object (DICOM PS3.3 A.38), for the tests of its reception."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from ctiqa_node.ct.writer import PixelCoding, Placement, SeriesTags, decimals, save, series_header


def write_enhanced(
    hu: npt.NDArray[np.floating],
    spacing_mm: tuple[float, float, float],
    path: Path,
    *,
    tags: SeriesTags | None = None,
    placement: Placement | None = None,
    coding: PixelCoding | None = None,
    transfer_syntax: UID = ExplicitVRLittleEndian,
) -> Path:
    """Write `hu` [z, y, x] as one multi-frame file, a frame for each z, and answer its path.

    `spacing_mm` is (z, y, x). The rescale is shared by all frames.
    """
    tags, placement, coding = tags or SeriesTags(), placement or Placement(), coding or PixelCoding()
    dataset = series_header(tags, EnhancedCTImageStorage)
    _describe_image(dataset, tags, len(hu))
    dataset.SharedFunctionalGroupsSequence = [_shared_groups(tags, spacing_mm, placement, coding)]
    event = str(generate_uid())
    dataset.PerFrameFunctionalGroupsSequence = [
        _frame_groups(tags, event, index, placement.position(index, spacing_mm[0])) for index in range(len(hu))
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    save(dataset, coding.encode(hu), coding, transfer_syntax, path)
    return path


def _item(**attributes: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def _code(value: str, scheme: str, meaning: str) -> list[Dataset]:
    return [_item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)]


def _image_type(tags: SeriesTags) -> list[str]:
    """Enhanced CT says VOLUME where CT says AXIAL, and has a fourth value (DICOM PS3.3 C.8.16.1)."""
    flavour = "VOLUME" if tags.image_type[2] == "AXIAL" else tags.image_type[2]
    return [*tags.image_type[:2], flavour, "NONE"]


def _describe_image(dataset: Dataset, tags: SeriesTags, frames: int) -> None:
    dataset.InstanceNumber, dataset.NumberOfFrames = 1, frames
    dataset.ImageType = _image_type(tags)
    dataset.PixelPresentation, dataset.VolumetricProperties = "MONOCHROME", "VOLUME"
    dataset.VolumeBasedCalculationTechnique = "NONE"
    dataset.MultienergyCTAcquisition = "NO"
    dataset.AcquisitionNumber, dataset.AcquisitionDateTime = 1, tags.date + tags.time
    dataset.AcquisitionDuration, dataset.ContentQualification = 1.0, "RESEARCH"
    dataset.LossyImageCompression, dataset.PresentationLUTShape = "00", "IDENTITY"
    dataset.AcquisitionContextSequence = DicomSequence()
    organization = str(generate_uid())
    dataset.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=organization)]
    dataset.DimensionOrganizationType = "3D"
    dataset.DimensionIndexSequence = [
        _item(
            DimensionOrganizationUID=organization,
            DimensionIndexPointer=pointer,
            FunctionalGroupPointer=0x00209111,  # Frame Content Sequence
            DimensionDescriptionLabel=label,
        )
        for pointer, label in ((0x00209056, "Stack ID"), (0x00209057, "In-Stack Position Number"))
    ]


def _shared_groups(
    tags: SeriesTags, spacing_mm: tuple[float, float, float], placement: Placement, coding: PixelCoding
) -> Dataset:
    slope, intercept = decimals((coding.slope, coding.intercept))
    centre, width = decimals(tags.window)
    groups = _item(
        PixelMeasuresSequence=[
            _item(PixelSpacing=decimals(spacing_mm[1:]), SliceThickness=decimals(spacing_mm[:1])[0])
        ],
        PlaneOrientationSequence=[
            _item(ImageOrientationPatient=decimals((*placement.row_cosine, *placement.column_cosine)))
        ],
        FrameAnatomySequence=[
            _item(AnatomicRegionSequence=_code("51185008", "SCT", "Chest"), FrameLaterality="U"),
        ],
        PixelValueTransformationSequence=[_item(RescaleIntercept=intercept, RescaleSlope=slope, RescaleType="HU")],
        FrameVOILUTSequence=[_item(WindowCenter=centre, WindowWidth=width)],
    )
    _add_acquisition(groups, tags, spacing_mm)
    return groups


def _add_acquisition(groups: Dataset, tags: SeriesTags, spacing_mm: tuple[float, float, float]) -> None:
    """The CT macros that an ORIGINAL image must have (DICOM PS3.3 C.8.15.3)."""
    current, seconds = float(tags.tube_current_ma), tags.exposure_time_ms / 1000
    groups.CTAcquisitionTypeSequence = [_item(AcquisitionType="SPIRAL", ConstantVolumeFlag="NO", FluoroscopyFlag="NO")]
    groups.CTAcquisitionDetailsSequence = [
        _item(
            RotationDirection="CW",
            RevolutionTime=seconds,
            SingleCollimationWidth=spacing_mm[0],
            TotalCollimationWidth=spacing_mm[0],
            TableHeight=0.0,
            GantryDetectorTilt="0",
            DataCollectionDiameter="500",
        )
    ]
    groups.CTReconstructionSequence = [
        _item(
            ReconstructionAlgorithm="FILTER_BACK_PROJ",
            ConvolutionKernel=tags.convolution_kernel,
            ConvolutionKernelGroup="GENERAL",
            ReconstructionDiameter="500",
            ReconstructionPixelSpacing=list(spacing_mm[1:]),
            ReconstructionAngle=360.0,
            ImageFilter="NONE",
        )
    ]
    groups.CTExposureSequence = [
        _item(
            ExposureTimeInms=float(tags.exposure_time_ms),
            XRayTubeCurrentInmA=current,
            ExposureInmAs=current * seconds,
            ExposureModulationType="NONE",
        )
    ]
    groups.CTXRayDetailsSequence = [
        _item(
            KVP=decimals((tags.kvp,))[0],
            FocalSpots=[1.0],
            FilterType="FLAT",
            FilterMaterial="ALUMINUM",
            CalciumScoringMassFactorPatient=1.0,
            CalciumScoringMassFactorDevice=[1.0, 1.0, 1.0],
            EnergyWeightingFactor=1.0,
        )
    ]


def _frame_groups(tags: SeriesTags, event: str, index: int, position: npt.NDArray[np.float64]) -> Dataset:
    moment = tags.date + tags.time
    return _item(
        FrameContentSequence=[
            _item(
                FrameAcquisitionNumber=1,
                FrameReferenceDateTime=moment,
                FrameAcquisitionDateTime=moment,
                FrameAcquisitionDuration=float(tags.exposure_time_ms),
                StackID="1",
                InStackPositionNumber=index + 1,
                DimensionIndexValues=[1, index + 1],
            )
        ],
        PlanePositionSequence=[_item(ImagePositionPatient=decimals(position))],
        CTImageFrameTypeSequence=[
            _item(
                FrameType=_image_type(tags),
                PixelPresentation="MONOCHROME",
                VolumetricProperties="VOLUME",
                VolumeBasedCalculationTechnique="NONE",
            )
        ],
        CTPositionSequence=[
            _item(
                DataCollectionCenterPatient=[float(value) for value in position],
                ReconstructionTargetCenterPatient=[float(value) for value in position],
                TablePosition=float(position[2]),
            )
        ],
        CTTableDynamicsSequence=[_item(TableSpeed=10.0, TableFeedPerRotation=5.0, SpiralPitchFactor=1.0)],
        CTGeometrySequence=[_item(DistanceSourceToDetector="1000", DistanceSourceToDataCollectionCenter=500.0)],
        IrradiationEventIdentificationSequence=[_item(IrradiationEventUID=event)],
    )
