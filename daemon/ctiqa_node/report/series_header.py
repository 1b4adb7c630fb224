"""What people want to read of a series' header, from single-frame and Enhanced CT."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

from ctiqa_node.report.coding import shortened
from ctiqa_node.report.content import Report
from ctiqa_node.report.kernels import LUNG, window_of_kernel
from ctiqa_node.report.source import patient_and_study, text_of

_SOFT_TISSUE = (40.0, 400.0)
_LUNG = (-600.0, 1500.0)
_LONGEST = 56  # of the words before what must not be pushed out of its line


@dataclass(frozen=True, slots=True)
class VoiWindow:
    """A VOI window: centre and width in HU (DICOM PS3.3 C.11.2)."""

    center: float
    width: float

    @property
    def limits(self) -> tuple[float, float]:
        """The HU shown black and white."""
        return self.center - self.width / 2, self.center + self.width / 2


def attribute(report: Report, keyword: str, slice_index: int = 0) -> str:
    """An attribute of a slice as text, wherever an Enhanced CT keeps it; empty where there is none."""
    for holder in _holders(report, slice_index):
        value = text_of(holder, keyword)
        if value:
            return value
    return ""


def voi_window(report: Report, slice_index: int) -> VoiWindow:
    """The first VOI window of a slice's header; without one a lung window for lung kernels, else soft tissue."""
    center = _number(attribute(report, "WindowCenter", slice_index))
    width = _number(attribute(report, "WindowWidth", slice_index))
    if center is not None and width is not None and width >= 1.0:
        return VoiWindow(center, width)
    kernel = attribute(report, "ConvolutionKernel", slice_index)
    return VoiWindow(*(_LUNG if window_of_kernel(kernel) == LUNG else _SOFT_TISSUE))


def patient_line(report: Report) -> str:
    """Patient ID, birth date and sex."""
    identity = patient_and_study(report)
    return _joined(
        _labelled("ID", str(identity.PatientID)),
        _labelled("born", date_text(str(identity.PatientBirthDate))),
        _labelled("sex", str(identity.PatientSex)),
    )


def study_line(report: Report) -> str:
    """Study date and accession number."""
    identity = patient_and_study(report)
    return _joined(
        _labelled("Study of", date_text(str(identity.StudyDate))),
        _labelled("accession", str(identity.AccessionNumber)),
    )


def series_line(report: Report) -> str:
    """Series number and description, and how it was made."""
    middle = len(report.volume.sources) // 2
    count, rows, columns = report.volume.hu.shape
    number = attribute(report, "SeriesNumber")
    description = shortened(attribute(report, "SeriesDescription"), _LONGEST) or "without description"
    thickness = _number(attribute(report, "SliceThickness", middle)) or report.volume.geometry.spacing_mm[0]
    return _joined(
        f"Series {number}: {description}" if number else f"Series: {description}",
        f"{count} slice{'' if count == 1 else 's'} of {columns} × {rows}, {thickness:g} mm thick",
    )


def acquisition_line(report: Report) -> str:
    """Scanner, kernel, tube voltage and current."""
    middle = len(report.volume.sources) // 2
    tube_voltage = _number(attribute(report, "KVP", middle))
    scanner = f"{attribute(report, 'Manufacturer')} {attribute(report, 'ManufacturerModelName')}".strip()
    return _joined(
        shortened(scanner, _LONGEST) or "Scanner not named",
        _labelled("kernel", kernel_of(report)),
        "" if tube_voltage is None else f"{tube_voltage:g} kVp",
        _tube_current(report),
    )


def tags_of_class(report: Report, name: str) -> str:
    """What the tags say of that which a classification tells: kernel, or tube current and voltage; may be empty."""
    if name.endswith("_window"):
        return _labelled("kernel", kernel_of(report))
    if name.endswith("_exposure"):
        exposure = _number(attribute(report, "Exposure", len(report.volume.sources) // 2))
        return "" if exposure is None else f"{exposure:.0f} mAs"
    if name.endswith("_dose"):
        return _tube_current(report)
    return ""


def _tube_current(report: Report) -> str:
    """The tube current of the slices; from the lowest to the highest where it was modulated."""
    texts = (
        attribute(report, keyword, z)
        for z in range(len(report.volume.sources))
        for keyword in ("XRayTubeCurrent", "XRayTubeCurrentInmA")
    )
    values = [value for text in texts if (value := _number(text)) is not None]
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{low:.0f} mA" if low == high else f"{low:.0f}–{high:.0f} mA"


def kernel_of(report: Report) -> str:
    """The convolution kernel of the middle slice; empty where the header names none."""
    return attribute(report, "ConvolutionKernel", len(report.volume.sources) // 2)


def date_text(value: str) -> str:
    """A DICOM date with hyphens."""
    return f"{value[:4]}-{value[4:6]}-{value[6:]}" if len(value) == 8 else value


def _holders(report: Report, slice_index: int) -> Iterator[Dataset]:
    """Where an attribute of a slice may stand: the header, its frame's functional groups, the shared ones."""
    header = report.volume.headers[slice_index]
    yield header
    frame = report.volume.sources[slice_index].frame_number
    if frame is None:
        return
    groups = [
        *list(header.get("PerFrameFunctionalGroupsSequence") or [])[frame - 1 : frame],
        *list(header.get("SharedFunctionalGroupsSequence") or []),
    ]
    for group in groups:
        for element in group:
            if element.VR == "SQ" and element.value:
                yield element.value[0]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _labelled(label: str, value: str) -> str:
    return f"{label} {value}" if value else ""


def _joined(*parts: str) -> str:
    return "  ·  ".join(part for part in parts if part)
