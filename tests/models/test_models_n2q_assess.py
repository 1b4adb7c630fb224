"""The N2Q assessor with its shipped weights: what it says of bodies, and what it declines to judge."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from ctiqa_models import catalog
from ctiqa_models.api import Assessment, HuVolume, ReasonCode, Status
from ctiqa_models.n2q.assess import N2q
from ctiqa_models.n2q.network import DOSE_CLASSES
from ctiqa_models.n2q.scanner import full_dose_mas
from ctiqa_models.simulation.dose import REFERENCE_SCANNER, noise_of_sinogram, project
from ctiqa_models.simulation.phantom import anatomy

_SIZE = 512
_SPACING = (3.0, 0.75, 0.75)


@pytest.fixture(scope="module")
def n2q() -> N2q:
    return N2q(catalog.N2Q_WEIGHTS, device="cpu")


@dataclass(frozen=True, slots=True)
class _Patient:
    """A drawn abdomen that training did not see, and the reference scanner's full-dose noise; HU [z, 512, 512]."""

    clean: npt.NDArray[np.float32]
    noise: npt.NDArray[np.float32]

    def series(self, slices: int, dose: float) -> HuVolume:
        order = np.arange(slices) % len(self.clean)
        return HuVolume(self.clean[order] + self.noise[order] / np.float32(dose**0.5), _SPACING)


@pytest.fixture(scope="module")
def patient() -> _Patient:
    clean = anatomy(seed=1234, slices=2, size=_SIZE, field_of_view_mm=_SIZE * _SPACING[1], slice_mm=90.0)[:1]
    sinogram, geometry = project(torch.from_numpy(clean), _SPACING[1])
    dose = full_dose_mas(sinogram[0], geometry) / REFERENCE_SCANNER.full_mas
    generator = torch.Generator().manual_seed(1)
    noise = noise_of_sinogram(sinogram.expand(2, -1, -1), geometry, dose, generator)
    return _Patient(np.repeat(clean, 2, axis=0), noise.numpy())


def _ellipse(half_height_mm: float, half_width_mm: float) -> npt.NDArray[np.float32]:
    """Soft tissue of 40 HU in air, 256×256 pixels of 1.5 mm."""
    axis = (np.arange(256) - 127.5) * 1.5
    inside = (axis[:, None] / half_height_mm) ** 2 + (axis[None, :] / half_width_mm) ** 2 < 1
    return np.where(inside, 40.0, -1000.0).astype(np.float32)


def _assess(n2q: N2q, volume: HuVolume) -> Assessment:
    return n2q.assess(volume, lambda share: None)


def _quality(assessment: Assessment) -> float:
    assert assessment.status is Status.SCORED, assessment.reason
    return next(m.value for m in assessment.measurements if m.name == "n2q_quality" and m.slice_index is None)


def test_less_dose_is_less_quality(n2q: N2q, patient: _Patient) -> None:
    qualities = [_quality(_assess(n2q, patient.series(1, dose))) for dose in (1.0, 0.5, 0.25, 0.1, 0.05)]
    assert all(better > worse for better, worse in pairwise(qualities)), qualities


def test_an_assessment_holds_slices_series_classes_and_maps(n2q: N2q, patient: _Patient) -> None:
    shares: list[float] = []
    assessment = n2q.assess(patient.series(9, 0.25), shares.append)
    per_slice = [m for m in assessment.measurements if m.slice_index is not None]
    assert [m.slice_index for m in per_slice] == list(range(9))
    values = [m.value for m in per_slice]
    series = {m.name: m.value for m in assessment.measurements if m.slice_index is None}
    assert series["n2q_quality"] == pytest.approx(np.mean(values))
    assert series["n2q_quality_spread"] == pytest.approx(np.std(values))
    assert all(0 <= value <= 1 for value in values)
    assert assessment.maps is not None
    assert assessment.maps.values.shape == (9, 256, 256)
    assert assessment.maps.values.dtype == np.uint8
    assert shares[-1] == 1.0
    assert shares == sorted(shares)


def test_how_far_the_quality_hangs_on_the_patients_side_is_told(n2q: N2q, patient: _Patient) -> None:
    series = {m.name: m.value for m in _assess(n2q, patient.series(2, 0.25)).measurements if m.slice_index is None}
    assert 0 < series["n2q_uncertainty"] < 0.05


def test_the_dose_on_the_reference_scanner_is_right_or_next_to_it(n2q: N2q, patient: _Patient) -> None:
    for index, dose in enumerate(DOSE_CLASSES):
        likeliest = _assess(n2q, patient.series(1, dose)).classifications[0].label
        near = [f"{share:.0%}".replace("%", " %") for share in DOSE_CLASSES[max(0, index - 1) : index + 2]]
        assert likeliest in near


def test_the_five_dose_classes_come_with_the_likeliest_first(n2q: N2q, patient: _Patient) -> None:
    classes = _assess(n2q, patient.series(1, 0.05)).classifications
    assert {found.label for found in classes} == {"5 %", "10 %", "25 %", "50 %", "75 %"}
    probabilities = [found.probability for found in classes]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert {found.name for found in classes} == {"n2q_dose"}


def test_the_map_agrees_with_the_number(n2q: N2q, patient: _Patient) -> None:
    assessment = _assess(n2q, patient.series(1, 0.25))
    assert assessment.maps is not None
    inside = assessment.maps.values[0][70:186, 60:196] / 255
    assert float(inside.mean()) == pytest.approx(_quality(assessment), abs=0.15)


def test_the_same_volume_gives_the_same_numbers(n2q: N2q, patient: _Patient) -> None:
    volume = patient.series(2, 0.5)
    first, second = _assess(n2q, volume), _assess(n2q, volume)
    assert first.measurements == second.measurements
    assert first.classifications == second.classifications


def test_a_slice_is_judged_the_same_alone_and_among_others(n2q: N2q, patient: _Patient) -> None:
    volume = patient.series(9, 0.5)
    together = [m.value for m in _assess(n2q, volume).measurements if m.slice_index == 8]
    alone = _quality(_assess(n2q, HuVolume(volume.hu[8:], _SPACING)))
    assert together == pytest.approx([alone], abs=1e-5)


def test_a_256_matrix_and_padding_are_fine(n2q: N2q, patient: _Patient) -> None:
    coarse = patient.series(1, 0.5).hu.reshape(1, 256, 2, 256, 2).mean(axis=(2, 4))
    coarse[:, :10] = -3024.0
    assert 0 < _quality(_assess(n2q, HuVolume(coarse, (3.0, 1.5, 1.5)))) < 1


@pytest.mark.parametrize(
    ("hu", "words"),
    [
        (np.full((4, 64, 64), -1000, dtype=np.float32), "no body"),
        (np.full((4, 64, 64), np.nan, dtype=np.float32), "no body"),
        (np.full((4, 256, 256), 40, dtype=np.float32), "cm²"),
        (np.tile(_ellipse(80, 60), (4, 1, 1)), "cm²"),
        (np.tile(_ellipse(110, 160), (4, 1, 1)), "the noise in soft tissue is 0 HU"),
    ],
    ids=["air", "not a number", "constant", "as narrow as a head", "body without noise"],
)
def test_what_training_never_saw_is_not_scored_and_the_reason_told(
    n2q: N2q, hu: npt.NDArray[np.float32], words: str
) -> None:
    assessment = _assess(n2q, HuVolume(hu, (3.0, 1.5, 1.5)))
    assert assessment.status is Status.NOT_SCORED
    assert assessment.reason is not None
    assert words in assessment.reason
    assert assessment.reason.startswith("4 of 4 slices")
    assert assessment.measurements == ()
    assert assessment.maps is None


def test_more_noise_than_in_training_is_not_scored(n2q: N2q, patient: _Patient) -> None:
    assessment = _assess(n2q, patient.series(1, 0.01))
    assert assessment.status is Status.NOT_SCORED
    assert assessment.reason is not None
    assert "the noise in soft tissue is" in assessment.reason
    assert assessment.reason_code is ReasonCode.OUT_OF_RANGE


def test_slices_that_are_not_square_are_not_scored(n2q: N2q, patient: _Patient) -> None:
    assessment = _assess(n2q, HuVolume(np.zeros((2, 64, 128), dtype=np.float32), _SPACING))
    assert assessment.status is Status.NOT_SCORED
    assert assessment.reason is not None
    assert "square" in assessment.reason


def test_one_odd_slice_is_left_out_and_named(n2q: N2q, patient: _Patient) -> None:
    volume = patient.series(5, 0.5)
    volume.hu[2] = -1000.0
    assessment = _assess(n2q, volume)
    assert assessment.status is Status.SCORED
    assert assessment.unscored_slices == {2: "no body was found in the slice"}
    assert [m.slice_index for m in assessment.measurements if m.slice_index is not None] == [0, 1, 3, 4]
    assert assessment.maps is not None
    assert assessment.maps.values[2].max() == 0


@pytest.mark.data
def test_full_dose_is_judged_better_than_a_quarter_of_it_in_every_real_pair(n2q: N2q, ctiqa_data: Path) -> None:
    files = sorted((ctiqa_data / "pairs").glob("*.npz"))
    assert len(files) == 21
    for file in files:
        with np.load(file) as pair:
            spacing = (float(pair["thickness"]), float(pair["spacing"][0]), float(pair["spacing"][1]))
            full, quarter = (
                _quality(_assess(n2q, HuVolume(pair[dose][None].astype(np.float32), spacing)))
                for dose in ("full", "quarter")
            )
        assert quarter < full, file.name


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("abdomen-ge-standard", Status.SCORED),
        ("abdomen-siemens-b30s", Status.SCORED),
        ("chest-siemens-b31f", Status.SCORED),
        ("head-phantom-philips-ub", Status.NOT_SCORED),
    ],
)
def test_adult_trunks_are_scored_and_a_plastic_head_is_not(
    n2q: N2q, ctiqa_data: Path, name: str, status: Status
) -> None:
    assessment = _assess(n2q, _read_series(ctiqa_data / "series" / name))
    assert assessment.status is status, assessment.reason


def _read_series(folder: Path) -> HuVolume:
    """Enough of a reader for a test: this package must not know the node's loader."""
    pydicom = pytest.importorskip("pydicom")
    processing = pytest.importorskip("pydicom.pixels.processing")
    datasets = sorted(map(pydicom.dcmread, folder.iterdir()), key=lambda d: float(d.ImagePositionPatient[2]))
    hu = np.stack([processing.apply_rescale(d.pixel_array, d) for d in datasets]).astype(np.float32)
    row, column = map(float, datasets[0].PixelSpacing)
    return HuVolume(hu, (float(datasets[0].SliceThickness), row, column))
